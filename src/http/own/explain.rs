//! Explanations: why a decision is as it is, and who one is.

use serde_json::{Map, Value, json};

use super::{Call, Refusal, demand, managing, object};
use crate::access::{
    Caller, Check, ExperimentId, Principal, Privilege, Proof, Scheme, Securable, SecurableKind,
};
use crate::wire::Malformed;

/// `GET whoami`
pub(super) fn whoami(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    Ok(object(json!({
        "principal": call.caller.principal,
        "proved_by": call.caller.proof.scheme.as_str(),
        "administrator": call.view()?.is_admin(call.caller),
    })))
}

/// `GET explain?principal=P&privilege=X&on=TYPE:ID`: about oneself, about what one manages, or about all.
pub(super) async fn explain(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
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
    if principal != call.caller.principal && !call.allows(managing(&on))? {
        demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?;
    }
    if on.kind == SecurableKind::Experiment {
        call.app.owners.experiment(call.app, call.backend, &ExperimentId::parse(&on.id)?).await?;
    }
    // Groups that only a credential asserts are known for the caller alone.
    let asked = if principal == call.caller.principal {
        call.caller.clone()
    } else {
        let proof = Proof { scheme: Scheme::Token, credential: "explained".to_owned() };
        Caller { principal, asserted_groups: Vec::new(), proof }
    };
    let explanation = call.view()?.explain(&asked, &Check::new(privilege, on))?;
    let deciding = explanation.deciding.clone();
    let value = serde_json::to_value(explanation).map_err(|error| Refusal::Internal(error.to_string()))?;
    let mut answer = object(value);
    let grants = call.app.store.grants(None, None).await?;
    let decided: Vec<_> = grants.into_iter().filter(|grant| deciding.contains(&grant.id)).collect();
    answer.insert("deciding_grants".to_owned(), json!(decided));
    Ok(answer)
}

/// `GET policy`: everything in force, and the latest changes.
pub(super) async fn policy(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let state = call.app.store.policy().await?;
    let since = (state.version - 100).max(0);
    let changes = call.app.store.policy_changes(since, 100).await?;
    let memberships: Vec<Value> =
        state.memberships.iter().map(|(group, member)| json!({ "group": group, "member": member })).collect();
    Ok(object(json!({
        "policy_version": state.version,
        "grants": state.grants,
        "memberships": memberships,
        "latest_changes": changes,
    })))
}
