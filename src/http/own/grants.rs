//! Grants: listed, made and withdrawn by whoever manages the securable.

use serde_json::{Map, Value, json};

use super::{Call, Refusal, Trail, demand, managing, object, sent_as};
use crate::access::{Check, GrantId, NewGrant, Principal, Privilege, Securable};
use crate::http::changes;
use crate::wire::Malformed;

/// `GET grants?principal=P&securable=S`: one's own, those on what one manages, or all.
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let principal = call.head.query.one("principal")?.map(str::parse::<Principal>).transpose()?;
    let securable = call.head.query.one("securable")?.map(str::parse::<Securable>).transpose()?;
    let own = principal.as_ref() == Some(&call.caller.principal);
    if !own {
        match &securable {
            Some(securable) if call.allows(managing(securable))? => {}
            _ => demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?,
        }
    }
    let grants = call.app.store.grants(principal.as_ref(), securable.as_ref()).await?;
    Ok(object(json!({ "grants": grants })))
}

/// `POST grants`
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let grant: NewGrant = sent_as(call).await?;
    demand(call, managing(&grant.securable))?;
    if grant.expires_at.is_some_and(|end| end <= call.app.clock.now()) {
        return Err(Malformed::new("expires_at_ms", "has already passed").into());
    }
    let grant = changes::add_grant(call.app, trail, &grant, &call.caller.principal).await?;
    Ok(object(json!({ "grant": grant, "policy_version": call.app.policy.version() })))
}

/// `DELETE grants/{id}`
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let id = call.param("id").parse().map_err(|_| Malformed::new("id", "must be a grant's number"))?;
    match call.app.store.grants_by_id(&[GrantId(id)]).await?.first() {
        Some(grant) => demand(call, managing(&grant.grant.securable))?,
        // Who manages nothing learns nothing: missing and foreign grants look alike.
        None => demand(call, Check::new(Privilege::PolicyManage, Securable::workspace()))?,
    }
    let removed = changes::remove_grant(call.app, trail, GrantId(id), &call.caller.principal).await?;
    if !removed {
        return Err(Refusal::NotFound(format!("grant `{id}` does not exist")));
    }
    Ok(object(json!({ "removed": id, "policy_version": call.app.policy.version() })))
}
