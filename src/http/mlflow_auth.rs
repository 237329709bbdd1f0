//! MLflow's own users, roles and permissions, answered from principals, groups and grants.
//!
//! A user is a user, a role is a group, a permission is what a grant comes to (`policy::mlflow_permissions`). Whoever
//! asks here can do no more than through Tracegate's own API, and no more than MLflow's server would let them.

mod asked;
mod change;
mod directory;
mod passwords;
mod permissions;
mod role_permissions;
mod roles;
mod users;

pub(super) use passwords::{ImportedPasswords, ImportedPasswordsAnswer};

use serde_json::{Value, json};

use super::call::Call;
use super::error::Refusal;
use super::pages;
use super::trail::Trail;
use crate::access::{Check, Principal, Privilege, Securable};
use crate::wire::Reply;

/// The one workspace there is.
const WORKSPACE: &str = "default";
/// How the name of a role begins that stands for what one user was granted directly; no group is called so.
const DIRECT_ROLE: &str = "__user_";

/// What a caller may ask.
pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let value = match call.operation.name.as_str() {
        "mlflow_auth.users.create" => users::create(call, trail).await?,
        "mlflow_auth.users.get" => users::get(call).await?,
        "mlflow_auth.users.list" => users::list(call).await?,
        "mlflow_auth.users.current" => users::current(call).await?,
        "mlflow_auth.users.update_password" => passwords::update(call, trail).await?,
        "mlflow_auth.users.update_admin" => users::update_admin(call, trail).await?,
        "mlflow_auth.users.delete" => users::delete(call, trail).await?,
        "mlflow_auth.users.current.permissions" => permissions::of_caller(call).await?,
        "mlflow_auth.users.permissions.list" => permissions::of_user(call).await?,
        "mlflow_auth.users.permissions.grant" => permissions::grant(call, trail).await?,
        "mlflow_auth.users.permissions.revoke" => permissions::revoke(call, trail).await?,
        "mlflow_auth.users.permissions.get" => permissions::resolved(call).await?,
        "mlflow_auth.users.roles.list" => roles::of_user(call).await?,
        "mlflow_auth.roles.create" => roles::create(call, trail).await?,
        "mlflow_auth.roles.get" => roles::get(call).await?,
        "mlflow_auth.roles.list" => roles::list(call).await?,
        "mlflow_auth.roles.update" => roles::update(call, trail).await?,
        "mlflow_auth.roles.delete" => roles::delete(call, trail).await?,
        "mlflow_auth.roles.assign" => roles::assign(call, trail).await?,
        "mlflow_auth.roles.unassign" => roles::unassign(call, trail).await?,
        "mlflow_auth.roles.users.list" => roles::users(call).await?,
        "mlflow_auth.roles.permissions.add" => role_permissions::add(call, trail).await?,
        "mlflow_auth.roles.permissions.remove" => role_permissions::remove(call, trail).await?,
        "mlflow_auth.roles.permissions.list" => role_permissions::list(call).await?,
        "mlflow_auth.roles.permissions.update" => role_permissions::update(call, trail).await?,
        "mlflow_auth.passwords.import" => passwords::import(call, trail).await?,
        // Signing up by oneself, and the page's form that does it, are not offered.
        _ => return Err(Refusal::UnknownEndpoint),
    };
    Ok(pages::written(200, &super::own::object(value)))
}

fn nothing() -> Value {
    json!({})
}

fn manages_identities(call: &Call<'_>) -> Result<bool, Refusal> {
    call.allows(Check::new(Privilege::IdentityManage, Securable::workspace()))
}

fn demand_identities(call: &Call<'_>) -> Result<(), Refusal> {
    super::own::demand(call, Check::new(Privilege::IdentityManage, Securable::workspace()))
}

/// Whether the caller may see what others were granted.
fn sees_others(call: &Call<'_>) -> Result<bool, Refusal> {
    Ok(manages_identities(call)? || call.allows(Check::new(Privilege::PolicyRead, Securable::workspace()))?)
}

/// Those who see others may; whoever asks about itself may too. Nobody else learns whether there is such a user.
fn demand_sight_of(call: &Call<'_>, name: &str) -> Result<(), Refusal> {
    if is_caller(call, name) || sees_others(call)? {
        return Ok(());
    }
    Err(call.denied(Privilege::IdentityManage, &Securable::workspace()))
}

/// To make or unmake an administrator takes one: `identity.manage` is not enough.
fn demand_administrator(call: &Call<'_>) -> Result<(), Refusal> {
    if call.view()?.is_admin(call.caller) {
        return Ok(());
    }
    let who = &call.caller.principal;
    Err(Refusal::Denied(format!("`{who}` is not an administrator, and only they change who is one")))
}

fn is_caller(call: &Call<'_>, name: &str) -> bool {
    Principal::user(name).is_ok_and(|user| user == call.caller.principal)
}

fn already_there(message: String) -> Refusal {
    Refusal::Mlflow { code: "RESOURCE_ALREADY_EXISTS", message }
}
