//! Principals and groups.

use serde_json::{Map, Value, json};

use super::{Call, Refusal, Trail, object, sent_as};
use crate::access::Principal;
use crate::http::changes::settle;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPrincipal {
    principal: Principal,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Active {
    active: bool,
}

/// `GET principals`
pub(super) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    Ok(object(json!({ "principals": call.app.store.principals().await? })))
}

/// `POST principals`
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let new: NewPrincipal = sent_as(call).await?;
    let by = call.caller.principal.to_string();
    let change = call.app.store.ensure_principal(&new.principal, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "principal": new.principal })))
}

/// `PUT principals/{principal}/active`: a deactivated principal is refused everything at once.
pub(super) async fn set_active(call: &mut Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let principal: Principal = call.param("principal").parse()?;
    let wanted: Active = sent_as(call).await?;
    let by = call.caller.principal.to_string();
    let change = call.app.store.set_active(&principal, wanted.active, &by, call.app.clock.now()).await?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "principal": principal, "active": wanted.active })))
}

/// `GET groups`
pub(super) async fn groups(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let view = call.view()?;
    let members: Vec<Value> = view
        .snapshot()
        .memberships()
        .map(|(group, member)| json!({ "group": group, "member": member }))
        .collect();
    Ok(object(json!({ "memberships": members })))
}

/// `PUT groups/{group}/members/{member}`
pub(super) async fn add_member(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let (group, member) = membership(call)?;
    let by = call.caller.principal.to_string();
    let change = call.app.store.add_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "group": group, "member": member, "policy_version": call.app.policy.version() })))
}

/// `DELETE groups/{group}/members/{member}`
pub(super) async fn remove_member(call: &Call<'_>, trail: &Trail) -> Result<Map<String, Value>, Refusal> {
    let (group, member) = membership(call)?;
    let by = call.caller.principal.to_string();
    let change = call.app.store.remove_member(&group, &member, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    Ok(object(json!({ "removed": member, "group": group, "policy_version": call.app.policy.version() })))
}

fn membership(call: &Call<'_>) -> Result<(Principal, Principal), Refusal> {
    Ok((call.param("group").parse()?, call.param("member").parse()?))
}
