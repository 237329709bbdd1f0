//! Explanations: why a decision is as it is, and who one is.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Call, Refusal, demand, managing, object};
use crate::access::{
    Caller, Check, ExperimentId, Principal, Privilege, Proof, Scheme, Securable, SecurableKind,
};
use crate::store::audit_index::{AuditEntry, AuditQuery};
use crate::wire::Malformed;

/// How long an explanation waits for the record of the decision.
const RECORD_WAIT: Duration = Duration::from_secs(5);

/// `GET whoami`
pub(super) fn whoami(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    Ok(object(json!({
        "principal": call.caller.principal,
        "proved_by": call.caller.proof.scheme.as_str(),
        "administrator": call.view()?.is_admin(call.caller),
    })))
}

/// `GET explain?principal=P&privilege=X&on=TYPE:ID`: about oneself, about what one manages, or about all.
/// `GET explain?decision=ID`: a recorded decision, explained by the policy in force now.
pub(super) async fn explain(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
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
    explained(call, principal, Check::new(privilege, on)).await
}

async fn explained(
    call: &Call<'_>,
    principal: Principal,
    check: Check,
) -> Result<Map<String, Value>, Refusal> {
    let on = &check.securable;
    if principal != call.caller.principal && !call.allows(managing(on))? {
        demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?;
    }
    if on.kind == SecurableKind::Experiment {
        call.app.owners.experiment(call.app, call.backend, &ExperimentId::parse(&on.id)?).await?;
    }
    let asked = as_caller(call, principal);
    let explanation = call.view()?.explain(&asked, &check)?;
    let deciding = call.app.store.grants_by_id(&explanation.deciding).await?;
    let value = serde_json::to_value(explanation).map_err(|error| Refusal::Internal(error.to_string()))?;
    let mut answer = object(value);
    answer.insert("principal".to_owned(), json!(asked.principal));
    answer.insert("privilege".to_owned(), json!(check.privilege));
    answer.insert("on".to_owned(), json!(check.securable));
    answer.insert("deciding_grants".to_owned(), json!(deciding));
    Ok(answer)
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
async fn explain_recorded(call: &Call<'_>, decision: &str) -> Result<Map<String, Value>, Refusal> {
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
    let mut answer = match chosen {
        Some(check) => explained(call, principal, check).await?,
        None => Map::new(),
    };
    answer.insert(
        "recorded".to_owned(),
        json!({
            "decision_id": decision,
            "time_ms": event.time,
            "operation": event.operation,
            "securables": event.securables,
            "privileges": event.privileges,
            "decision": event.decision,
            "reason": event.reason,
            "policy_version": event.policy_version,
        }),
    );
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
