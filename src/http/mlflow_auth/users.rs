//! Users: made, shown, made administrators, deleted.

use serde_json::{Value, json};

use super::change::change;
use super::directory::{Directory, leads_to_admins};
use super::{
    already_there, asked, demand_administrator, demand_identities, demand_sight_of, manages_identities,
    nothing,
};
use crate::access::{Principal, Scheme};
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::governors;
use crate::http::trail::Trail;
use crate::store::{StoreError, Wanted, Wish};
use crate::wire::Malformed;

/// `POST users/create`
pub(super) async fn create(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let (name, password) = (asked::text(call, "username")?, asked::text(call, "password")?);
    if name.is_empty() || password.is_empty() {
        return Err(Malformed::new("username", "and password must not be empty").into());
    }
    let user = Principal::user(&name)?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let taken = || already_there(format!("user `{name}` exists already"));
    if app.store.directory_of(&user).await?.is_some() {
        return Err(taken());
    }
    let hash = super::passwords::hashed(call, &password).await?;
    let created = match app.store.create_principal(&Wish::of(user.clone()), &by, app.clock.now()).await {
        Err(StoreError::Exists(_)) => return Err(taken()),
        other => other?,
    };
    settle(app, trail, created).await?;
    super::passwords::put(call, trail, &user, &hash).await?;
    let (directory, _) = Directory::about_user(call, &name).await?;
    Ok(json!({ "user": directory.user_json(directory.user(&name)?) }))
}

/// `GET users/get`
pub(super) async fn get(call: &Call<'_>) -> Result<Value, Refusal> {
    let name = asked::text(call, "username")?;
    demand_sight_of(call, &name)?;
    let (directory, _) = Directory::about_user(call, &name).await?;
    Ok(json!({ "user": directory.user_json(directory.user(&name)?) }))
}

/// `GET users/list`: all of them for who manages them, and for everybody else themselves.
pub(super) async fn list(call: &Call<'_>) -> Result<Value, Refusal> {
    let all = manages_identities(call)?;
    let directory = match all {
        true => Directory::read(call).await?,
        false => Directory::about(call, &call.caller.principal, &[]).await?,
    };
    let users = directory.users().into_iter().filter(|user| all || user.principal == call.caller.principal);
    let users: Vec<Value> = users
        .map(|user| {
            let roles = directory.roles_of(&user.principal, &[]);
            let mut told = directory.user_json(user);
            told["roles"] = roles.iter().map(|role| directory.role_json(role)).collect();
            told
        })
        .collect();
    Ok(json!({ "users": users }))
}

/// `GET users/current`. MLflow's pages offer to change a password only if one was used.
pub(super) async fn current(call: &Call<'_>) -> Result<Value, Refusal> {
    let caller = call.caller;
    let account = call.app.store.directory_of(&caller.principal).await?;
    Ok(json!({
        "user": {
            "id": account.map_or(0, |account| account.number),
            "username": caller.principal.name,
            "is_admin": call.view()?.is_admin(caller),
        },
        "is_basic_auth": caller.proof.scheme == Scheme::Password,
    }))
}

/// `PATCH users/update-admin`
pub(super) async fn update_admin(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_administrator(call)?;
    let (name, wanted) = (asked::text(call, "username")?, asked::truth(call, "is_admin")?);
    let (_, user) = Directory::about_user(call, &name).await?;
    let admins = Principal::group(Principal::ADMINS)?;
    change(call, trail, async |snapshot| {
        demand_administrator(call)?;
        let is_in =
            |group: &Principal| snapshot.memberships().any(|(one, member)| one == group && *member == user);
        if wanted {
            return Ok(match is_in(&admins) {
                true => Vec::new(),
                false => vec![Wanted::Join { group: admins.clone(), member: user.clone() }],
            });
        }
        let through: Vec<String> = snapshot
            .memberships()
            .filter(|(group, member)| {
                **member == user && **group != admins && leads_to_admins(&snapshot, group)
            })
            .map(|(group, _)| format!("`{group}`"))
            .collect();
        if !through.is_empty() {
            let problem = format!("is an administrator through {}; take it out of there", through.join(", "));
            return Err(Malformed::new("username", problem).into());
        }
        Ok(match is_in(&admins) {
            true => vec![Wanted::Leave { group: admins.clone(), member: user.clone() }],
            false => Vec::new(),
        })
    })
    .await?;
    Ok(nothing())
}

/// `DELETE users/delete`: its grants, memberships and credentials go, and nobody else gets its name unasked.
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let name = asked::text(call, "username")?;
    if super::is_caller(call, &name) {
        let message = "users do not delete their own account; ask another administrator".to_owned();
        return Err(Refusal::Mlflow { code: "BAD_REQUEST", message });
    }
    let (_, user) = Directory::about_user(call, &name).await?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let store = governors::store_for(call, &[&user])?;
    let change = store.delete_principal(&user, &by, app.clock.now()).await?;
    app.identity.forget();
    settle(app, trail, change).await?;
    Ok(nothing())
}
