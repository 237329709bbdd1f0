//! Grants: listed, made and withdrawn by whoever manages the securable.

use super::{Call, Refusal, Trail, demand, managing, sent_as};
use crate::access::{Check, Grant, GrantId, NewGrant, Principal, Privilege, Securable};
use crate::http::changes;
use crate::wire::Malformed;

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Grants {
    /// In force and ended ones.
    grants: Vec<Grant>,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Granted {
    pub grant: Grant,
    pub policy_version: i64,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Removed {
    removed: GrantId,
    policy_version: i64,
}

/// `GET grants?principal=P&securable=S`: one's own, those on what one manages, or all.
pub(super) async fn list(call: &Call<'_>) -> Result<Grants, Refusal> {
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
    Ok(Grants { grants })
}

/// `POST grants`
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Granted, Refusal> {
    let grant: NewGrant = sent_as(call).await?;
    demand(call, managing(&grant.securable))?;
    crate::http::catalog::may_grant(call, &grant).await?;
    if grant.expires_at.is_some_and(|end| end <= call.app.clock.now()) {
        return Err(Malformed::new("expires_at_ms", "has already passed").into());
    }
    let grant = changes::add_grant(call.app, trail, &grant, &call.caller.principal).await?;
    Ok(Granted { grant, policy_version: call.app.policy.version() })
}

/// `DELETE grants/{id}`
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Removed, Refusal> {
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
    Ok(Removed { removed: GrantId(id), policy_version: call.app.policy.version() })
}
