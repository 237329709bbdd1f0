//! Registered models and prompts: an ACL of their own, kept in step with creation, renames and deletion.

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::lookup::Demand;
use super::super::trail::Trail;
use super::super::{changes, edit};
use super::After;
use crate::access::{Check, Effect, NewGrant, Privilege, Securable};
use crate::wire::{Malformed, Reply};

pub(super) fn create(call: &mut Call<'_>) -> Result<After, Refusal> {
    let name = named(call, "name")?;
    Securable::registered_model(&name)?;
    Ok(After::ModelCreated(name))
}

pub(super) async fn created(
    call: &mut Call<'_>,
    trail: &Trail,
    name: &str,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let grant = NewGrant {
        principal: call.caller.principal.clone(),
        securable: Securable::registered_model(name)?,
        privilege: "CAN_MANAGE".to_owned(),
        effect: Effect::Allow,
        reason: Some("created it".to_owned()),
        expires_at: None,
    };
    changes::add_grant(call.app, trail, &grant, &call.caller.principal).await?;
    Ok(reply)
}

/// A name that a hidden model has is refused without saying that it exists.
pub(super) async fn name_refused(call: &mut Call<'_>, name: &str, reply: Reply) -> Result<Reply, Refusal> {
    if call.allows(Check::new(Privilege::ModelRead, Securable::registered_model(name)?))? {
        return Ok(reply);
    }
    Err(Refusal::Denied(format!(
        "`{}` does not have `{}` for the name `{name}`; choose another name or ask an administrator",
        call.caller.principal,
        Privilege::ModelCreate
    )))
}

/// Renaming gives up one name and takes another.
pub(super) fn rename(call: &mut Call<'_>) -> Result<After, Refusal> {
    let (old, new) = (named(call, "name")?, named(call, "new_name")?);
    Securable::registered_model(&new)?;
    call.demands.push(Demand::on(Privilege::ModelCreate, Securable::workspace()));
    Ok(After::ModelRenamed { old, new })
}

/// The grants move with the name.
pub(super) async fn renamed(
    call: &mut Call<'_>,
    trail: &Trail,
    old: &str,
    new: &str,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let (from, to) = (Securable::registered_model(old)?, Securable::registered_model(new)?);
    for held in call.app.store.grants(None, Some(&from)).await? {
        let grant = NewGrant { securable: to.clone(), ..held.grant };
        changes::add_grant(call.app, trail, &grant, &call.caller.principal).await?;
        changes::remove_grant(call.app, trail, held.id, &call.caller.principal).await?;
    }
    Ok(reply)
}

pub(super) fn delete(call: &mut Call<'_>) -> Result<After, Refusal> {
    Ok(After::ModelDeleted(named(call, "name")?))
}

/// Whoever takes the name next starts with a clean ACL.
pub(super) async fn deleted(
    call: &mut Call<'_>,
    trail: &Trail,
    name: &str,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let securable = Securable::registered_model(name)?;
    for held in call.app.store.grants(None, Some(&securable)).await? {
        changes::remove_grant(call.app, trail, held.id, &call.caller.principal).await?;
    }
    Ok(reply)
}

fn named(call: &Call<'_>, field: &str) -> Result<String, Refusal> {
    let name = match &call.json {
        Some(object) => edit::text(object, field)?.map(str::to_owned),
        None => call.head.query.one(field)?.map(str::to_owned),
    };
    name.filter(|name| !name.is_empty()).ok_or_else(|| Malformed::new(field, "is missing").into())
}
