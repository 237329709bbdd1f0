//! Explanations: why a decision is as it is, and who one is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Call, Refusal, demand, managing};
use crate::access::{
    Caller, Check, ExperimentId, Grant, Principal, Privilege, Proof, Scheme, Scope, Securable, SecurableKind,
    Verdict,
};
use crate::clock::UnixMillis;
use crate::policy::Explanation;
use crate::store::PolicyChangeRecord;
use crate::store::audit_index::{AuditEntry, AuditQuery};
use crate::wire::Malformed;

/// How long an explanation waits for the record of the decision.
const RECORD_WAIT: Duration = Duration::from_secs(5);

/// Who calls.
#[derive(Serialize, JsonSchema)]
pub(super) struct Whoami {
    /// `user:NAME` or `service_principal:NAME`.
    principal: String,
    /// Which kind of credential proved it.
    proved_by: &'static str,
    /// Which credential it was, without it: a token's id, or an issuer and the id it gave.
    credential: String,
    /// Whether the caller administers Tracegate, with nothing that narrows it.
    administrator: bool,
    /// What the credential is for, if for less than all that the principal may do.
    scopes: Option<Vec<Scope>>,
    /// The service principal that really calls, on behalf of `principal`.
    actor: Option<String>,
    /// When the token ends, if it is one of ours and does (milliseconds since 1970).
    expires_at_ms: Option<i64>,
}

/// `GET whoami`
pub(super) async fn whoami(call: &Call<'_>) -> Result<Whoami, Refusal> {
    let caller = call.caller;
    // What was shown is the actor's.
    let shown = caller.actor.as_deref().unwrap_or(caller);
    let token = match shown.proof.scheme {
        Scheme::Token => call.app.store.token(&shown.proof.credential).await?,
        _ => None,
    };
    Ok(Whoami {
        principal: caller.principal.to_string(),
        proved_by: shown.proof.scheme.as_str(),
        credential: shown.proof.credential.clone(),
        administrator: call.view()?.is_admin(caller),
        scopes: shown.scopes.as_ref().map(|scopes| scopes.to_vec()),
        actor: caller.actor.as_ref().map(|actor| actor.principal.to_string()),
        expires_at_ms: token.and_then(|token| token.expires_at).map(|end| end.0),
    })
}

/// `GET explain?principal=P&privilege=X&on=TYPE:ID`: about oneself, about what one manages, or about all.
/// `GET explain?decision=ID`: a recorded decision, explained by the policy in force now.
pub(super) async fn explain(call: &Call<'_>) -> Result<Explained, Refusal> {
    if let Some(decision) = call.head.query.one("decision")? {
        return explain_recorded(call, decision).await;
    }
    let needed = |key: &str| -> Result<String, Refusal> {
        let given = call.head.query.one(key)?.map(str::to_owned);
        given.ok_or_else(|| Malformed::new(format!("query parameter `{key}`"), "is missing").into())
    };
    let on: Securable = needed("on")?.parse()?;
    let privilege: Privilege = needed("privilege")?.parse()?;
    let principal: Principal = match call.head.query.one("principal")? {
        Some(text) => text.parse()?,
        None => call.caller.principal.clone(),
    };
    let explained = explained(call, principal, Check::new(privilege, on)).await?;
    Ok(Explained { explained: Some(explained), recorded: None })
}

/// Why a decision is as it is, by the policy in force now.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Explained {
    #[serde(flatten)]
    explained: Option<OfOne>,
    /// What the record says of the decision that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Recorded>,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
struct OfOne {
    #[serde(flatten)]
    explanation: Explanation,
    principal: Principal,
    privilege: Privilege,
    on: Securable,
    deciding_grants: Vec<Grant>,
    /// Whether the experiment is in shadow mode: what is denied here passes there, and is noted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    in_shadow: bool,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Recorded {
    decision_id: String,
    time_ms: UnixMillis,
    operation: String,
    securables: Vec<String>,
    privileges: Vec<String>,
    decision: Verdict,
    reason: Option<String>,
    policy_version: i64,
}

/// Everything in force, and the latest changes.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct InForce {
    policy_version: i64,
    grants: Vec<Grant>,
    memberships: Vec<Membership>,
    /// The last 100.
    latest_changes: Vec<PolicyChangeRecord>,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Membership {
    pub group: Principal,
    pub member: Principal,
}

impl Membership {
    pub fn all(found: Vec<(Principal, Principal)>) -> Vec<Self> {
        found.into_iter().map(|(group, member)| Self { group, member }).collect()
    }
}

async fn explained(call: &Call<'_>, principal: Principal, check: Check) -> Result<OfOne, Refusal> {
    let on = &check.securable;
    if principal != call.caller.principal && !call.allows(managing(on))? {
        demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?;
    }
    if on.kind == SecurableKind::Experiment {
        call.app.owners.experiment(call.app, call.backend, &ExperimentId::parse(&on.id)?).await?;
    }
    let asked = as_caller(call, principal);
    let view = call.view()?;
    let mut explanation = view.explain(&asked, &check)?;
    if crate::http::catalog::hides(call, on)? {
        // Who manages it would say that it is there.
        explanation.who_can_help = vec![Principal::group(Principal::ADMINS)?];
    }
    let in_shadow = view.shadowed_experiments().iter().any(|id| Securable::experiment(id) == check.securable);
    let deciding = call.app.store.grants_by_id(&explanation.deciding).await?;
    Ok(OfOne {
        explanation,
        principal: asked.principal,
        privilege: check.privilege,
        on: check.securable,
        deciding_grants: deciding,
        in_shadow,
    })
}

/// Groups that only a credential asserts are known for the caller alone.
fn as_caller(call: &Call<'_>, principal: Principal) -> Caller {
    if principal == call.caller.principal {
        // What policy says of the principal; what narrows this call stands in `whoami`.
        let caller = call.caller;
        return Caller::new(principal, caller.asserted_groups.clone(), caller.proof.clone());
    }
    let proof = Proof { scheme: Scheme::Token, credential: "explained".to_owned() };
    Caller::new(principal, Vec::new(), proof)
}

/// One's own decisions, or with `audit.read` those of others: of what the call needed, the first thing that is
/// denied now, else the first.
async fn explain_recorded(call: &Call<'_>, decision: &str) -> Result<Explained, Refusal> {
    let missing = || Refusal::NotFound(format!("decision `{decision}` is not on record, or is not yours"));
    // A refusal is asked about at once: its record may still be on the way.
    let _ = call.app.records.flush(RECORD_WAIT).await;
    let query = AuditQuery { decision_id: Some(decision.to_owned()), ..AuditQuery::default() };
    let page = call.app.records.query(&query).await.map_err(|error| {
        tracing::error!(%error, "the audit index failed");
        Refusal::Internal("the audit index cannot be read".to_owned())
    })?;
    let records = page.entries.iter().filter_map(AuditEntry::event);
    let event = records.max_by_key(|event| event.time).ok_or_else(missing)?;
    let principal: Principal = event.principal.as_deref().ok_or_else(missing)?.parse()?;
    let reads_records = Check::new(Privilege::AuditRead, Securable::workspace());
    if principal != call.caller.principal && !call.allows(reads_records)? {
        return Err(missing());
    }
    let asked = as_caller(call, principal.clone());
    let mut checks = Vec::new();
    for securable in event.securables.iter().filter_map(|text| text.parse::<Securable>().ok()) {
        for privilege in event.privileges.iter().filter_map(|text| text.parse::<Privilege>().ok()) {
            if privilege.applies_to(securable.kind) {
                checks.push(Check::new(privilege, securable.clone()));
            }
        }
    }
    let view = call.view()?;
    let mut chosen = checks.first().cloned();
    for check in checks {
        if !view.allows(&asked, check.clone())? {
            chosen = Some(check);
            break;
        }
    }
    let explained = match chosen {
        Some(check) => Some(explained(call, principal, check).await?),
        None => None,
    };
    let recorded = Recorded {
        decision_id: decision.to_owned(),
        time_ms: event.time,
        operation: event.operation,
        securables: event.securables,
        privileges: event.privileges,
        decision: event.decision,
        reason: event.reason,
        policy_version: event.policy_version,
    };
    Ok(Explained { explained, recorded: Some(recorded) })
}

/// `GET policy`: everything in force, and the latest changes.
pub(super) async fn policy(call: &Call<'_>) -> Result<InForce, Refusal> {
    let state = call.app.store.policy().await?;
    let since = (state.version - 100).max(0);
    let changes = call.app.store.policy_changes(since, 100).await?;
    Ok(InForce {
        policy_version: state.version,
        grants: state.grants,
        memberships: Membership::all(state.memberships),
        latest_changes: changes,
    })
}
