//! Limits: set and lifted by whoever manages what they are on.
//!
//! What the configuration limits every experiment to, its managers may lower; more than that is an
//! administrator's to give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access_requests::exists;
use super::{Call, Refusal, Trail, demand, managing, sent_as};
use crate::access::{Check, ExperimentId, Principal, PrincipalKind, Privilege, Securable, SecurableKind};
use crate::http::changes::settle;
use crate::store::{LimitKey, LimitName};
use crate::wire::Malformed;

/// A limit to be set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `experiment:ID`, or `workspace:default` for all experiments together.
    #[schemars(with = "String")]
    securable: Securable,
    /// Whom it bounds, as `user:NAME`; everybody together if absent.
    #[schemars(with = "Option<String>")]
    principal: Option<Principal>,
    name: LimitName,
    /// Calls in a second, at least 1; or traces held.
    value: u64,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// Somebody set it.
    Set,
    /// From the configuration, for every experiment.
    Default,
}

/// A limit in force.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InForce {
    #[serde(flatten)]
    key: LimitKey,
    value: u64,
    source: Source,
    set_by: Option<String>,
    set_at_ms: Option<i64>,
    /// What is used of it now: traces that the experiment holds, or calls in the running second on the
    /// replica that answers. Null where it was not asked for.
    used: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    limits: Vec<InForce>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Changed {
    /// What is in force now; null: nothing.
    limit: Option<InForce>,
    policy_version: i64,
}

/// `GET limits?securable=S&principal=P`: on what one may see, with what is used; or all that were set.
pub(super) async fn list(call: &Call<'_>) -> Result<Shown, Refusal> {
    let principal = call.head.query.one("principal")?.map(str::parse::<Principal>).transpose()?;
    let reads_all = call.allows(Check::new(Privilege::PolicyRead, Securable::workspace()))?;
    let own = |key: &LimitKey| key.principal.as_ref() == Some(&call.caller.principal);
    let Some(securable) = call.head.query.one("securable")?.map(str::parse::<Securable>).transpose()? else {
        if !reads_all && principal.as_ref() != Some(&call.caller.principal) {
            demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?;
        }
        let set = call.app.limits.all_set().into_iter().map(|limit| limit.key);
        let wanted = |key: &LimitKey| principal.is_none() || key.principal == principal;
        let keys: Vec<LimitKey> = set.filter(|key| wanted(key) && (reads_all || own(key))).collect();
        return shown(call, keys, reads_all, false).await;
    };
    exists(call, &securable).await?;
    let sees_all = reads_all || call.allows(managing(&securable))?;
    if !sees_all && securable.kind == SecurableKind::Experiment {
        demand(call, Check::new(Privilege::ExperimentView, securable.clone()))?;
    }
    let mut keys: Vec<LimitKey> = [LimitName::RequestsPerSecond, LimitName::Traces]
        .map(|name| LimitKey { securable: securable.clone(), principal: None, name })
        .into();
    let set = call.app.limits.all_set().into_iter().map(|limit| limit.key);
    keys.extend(set.filter(|key| key.securable == securable && key.principal.is_some()));
    keys.retain(|key| sees_all || key.principal.is_none() || own(key));
    keys.retain(|key| principal.is_none() || key.principal == principal);
    shown(call, keys, sees_all, true).await
}

async fn shown(
    call: &Call<'_>,
    mut keys: Vec<LimitKey>,
    sees_all: bool,
    with_traces: bool,
) -> Result<Shown, Refusal> {
    let order = |key: &LimitKey| (key.securable.clone(), key.principal.clone(), key.name.as_str());
    keys.sort_by_key(order);
    let mut limits = Vec::new();
    for key in keys {
        if let Some(mut limit) = in_force(call, key, with_traces).await? {
            if !sees_all {
                limit.set_by = None;
            }
            limits.push(limit);
        }
    }
    Ok(Shown { limits })
}

async fn in_force(call: &Call<'_>, key: LimitKey, with_traces: bool) -> Result<Option<InForce>, Refusal> {
    let limits = &call.app.limits;
    let Some(value) = limits.value(&key) else { return Ok(None) };
    let set = limits.set(&key);
    let used = match key.name {
        LimitName::RequestsPerSecond => Some(limits.calls_now(&key)),
        LimitName::Traces if with_traces => {
            Some(call.backend.held_traces(&ExperimentId::parse(&key.securable.id)?).await?)
        }
        LimitName::Traces => None,
    };
    Ok(Some(InForce {
        key,
        value,
        source: if set.is_some() { Source::Set } else { Source::Default },
        set_by: set.as_ref().map(|set| set.set_by.clone()),
        set_at_ms: set.as_ref().map(|set| set.set_at.0),
        used,
    }))
}

/// `PUT limits`
pub(super) async fn set(call: &mut Call<'_>, trail: &Trail) -> Result<Changed, Refusal> {
    let wanted: Wanted = sent_as(call).await?;
    let key = LimitKey { securable: wanted.securable, principal: wanted.principal, name: wanted.name };
    may_change(call, &key).await?;
    if key.name == LimitName::RequestsPerSecond && wanted.value == 0 {
        return Err(Malformed::new("value", "must be 1 or more; to refuse all, deny access instead").into());
    }
    if call.app.limits.default_of(&key).is_some_and(|default| wanted.value > default) {
        demand(call, Check::new(Privilege::WorkspaceManage, Securable::workspace()))?;
    }
    change(call, trail, key, Some(wanted.value)).await
}

/// `DELETE limits?securable=S&principal=P&name=N`: back to the configuration's.
pub(super) async fn clear(call: &Call<'_>, trail: &Trail) -> Result<Changed, Refusal> {
    let needed = |name: &str| -> Result<String, Refusal> { Ok(super::audit::needed(call, name)?) };
    let name = serde_json::from_value(Value::String(needed("name")?))
        .map_err(|_| Malformed::new("query parameter `name`", "must be `requests_per_second` or `traces`"))?;
    let principal = call.head.query.one("principal")?.map(str::parse::<Principal>).transpose()?;
    let key = LimitKey { securable: needed("securable")?.parse()?, principal, name };
    may_change(call, &key).await?;
    change(call, trail, key, None).await
}

async fn change(
    call: &Call<'_>,
    trail: &Trail,
    key: LimitKey,
    value: Option<u64>,
) -> Result<Changed, Refusal> {
    let app = call.app;
    let by = call.caller.principal.to_string();
    let change = app.store.set_usage_limit(&key, value, &by, app.clock.now()).await?;
    settle(app, trail, change).await?;
    let limit = in_force(call, key, true).await?;
    Ok(Changed { limit, policy_version: app.policy.version() })
}

async fn may_change(call: &Call<'_>, key: &LimitKey) -> Result<(), Refusal> {
    let exists = exists(call, &key.securable).await?;
    demand(call, managing(&key.securable))?;
    if !exists {
        return Err(Refusal::NotFound(format!("`{}` does not exist", key.securable)));
    }
    match (key.securable.kind, &key.principal, key.name) {
        (_, Some(principal), _) if principal.kind == PrincipalKind::Group => {
            Err(Malformed::new("principal", "must be a user or a service principal: groups do not call")
                .into())
        }
        (_, Some(_), LimitName::Traces) => {
            Err(Malformed::new("principal", "cannot be given for `traces`, which experiments hold").into())
        }
        (SecurableKind::Experiment, _, _) | (SecurableKind::Workspace, Some(_), _) => Ok(()),
        (SecurableKind::Workspace, None, _) => Err(Malformed::new(
            "principal",
            "is missing: all experiments together are limited for one principal at a time",
        )
        .into()),
        _ => Err(Malformed::new("securable", "must be an experiment, or `workspace:default`").into()),
    }
}
