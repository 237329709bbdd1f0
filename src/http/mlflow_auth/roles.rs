//! Roles: groups, and who is in them.

use serde_json::{Value, json};

use super::change::change;
use super::directory::{Directory, Role, assignment_json};
use super::{
    DIRECT_ROLE, WORKSPACE, already_there, asked, demand_identities, demand_sight_of, nothing, sees_others,
};
use crate::access::{Principal, Privilege, Securable};
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::governors;
use crate::http::trail::Trail;
use crate::store::{StoreError, Wanted, Wish};
use crate::wire::Malformed;

/// Characters of a role's description, as MLflow keeps it.
const DESCRIPTION: usize = 1024;

/// What tells of the role with a number, to who may see it: everybody sees the roles that they have, those who see
/// others see all. Whether there are others nobody else learns.
pub(super) async fn seen(call: &Call<'_>, number: i64) -> Result<Directory, Refusal> {
    let caller = call.caller;
    let directory = Directory::about(call, &caller.principal, &caller.asserted_groups).await?;
    let own = directory.roles_of(&caller.principal, &caller.asserted_groups);
    if own.iter().any(|role| role.account.number == number) {
        return Ok(directory);
    }
    if sees_others(call)? {
        return Directory::read(call).await;
    }
    Err(call.denied(Privilege::IdentityManage, &Securable::workspace()))
}

/// The group that a role of this name is.
fn group_named(name: &str) -> Result<Principal, Refusal> {
    if name.trim().is_empty() {
        return Err(Malformed::new("name", "must not be empty").into());
    }
    if name.starts_with(DIRECT_ROLE) {
        let problem =
            format!("names that begin with `{DIRECT_ROLE}` stand for what users were granted directly");
        return Err(Malformed::new("name", problem).into());
    }
    Ok(Principal::group(name)?)
}

fn described(call: &Call<'_>) -> Result<Option<String>, Refusal> {
    let text = asked::optional_text(call, "description")?;
    if text.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION) {
        return Err(Malformed::new("description", format!("has more than {DESCRIPTION} characters")).into());
    }
    Ok(text)
}

/// `POST roles/create`
pub(super) async fn create(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let group = group_named(&asked::text(call, "name")?)?;
    if asked::text(call, "workspace")? != WORKSPACE {
        return Err(Malformed::new("workspace", "only the workspace `default` is served").into());
    }
    let description = described(call)?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let wish = Wish { description, ..Wish::of(group.clone()) };
    let created = match app.store.create_principal(&wish, &by, app.clock.now()).await {
        Err(StoreError::Exists(_)) => return Err(taken(&group)),
        other => other?,
    };
    settle(app, trail, created).await?;
    told(call, &group).await
}

async fn describe(call: &Call<'_>, trail: &Trail, group: &Principal, text: &str) -> Result<(), Refusal> {
    let (app, by) = (call.app, call.caller.principal.to_string());
    let wish = Wish { description: Some(text.to_owned()), ..Wish::of(group.clone()) };
    let change = app.store.change_principal(&wish, &by, app.clock.now()).await?;
    settle(app, trail, change).await
}

fn taken(group: &Principal) -> Refusal {
    already_there(format!("role `{}` exists already", group.name))
}

async fn told(call: &Call<'_>, group: &Principal) -> Result<Value, Refusal> {
    let directory = Directory::read(call).await?;
    let account = directory.account(group);
    let account = account.ok_or_else(|| Refusal::Conflict("the role is gone again".to_owned()))?;
    Ok(json!({ "role": directory.role_json(&Role { account }) }))
}

/// `GET roles/get`
pub(super) async fn get(call: &Call<'_>) -> Result<Value, Refusal> {
    let number = asked::number(call, "role_id")?;
    let directory = seen(call, number).await?;
    Ok(json!({ "role": directory.role_json(&directory.role(number)?) }))
}

/// `GET roles/list`: of a workspace those that the caller may see; of all of them, only for who sees others.
pub(super) async fn list(call: &Call<'_>) -> Result<Value, Refusal> {
    let asked: Vec<&str> = call.head.query.all("workspace").collect();
    if asked.iter().any(|workspace| workspace.trim().is_empty()) {
        return Err(Malformed::new("workspace", "must not be empty").into());
    }
    let all = sees_others(call)?;
    if asked.is_empty() && !all {
        return Err(call.denied(Privilege::IdentityManage, &Securable::workspace()));
    }
    let caller = call.caller;
    let directory = match all {
        true => Directory::read(call).await?,
        false => Directory::about(call, &caller.principal, &caller.asserted_groups).await?,
    };
    let roles = match all {
        true => directory.roles(),
        false => directory.roles_of(&caller.principal, &caller.asserted_groups),
    };
    let named = asked.is_empty() || asked.contains(&WORKSPACE);
    let roles = roles.iter().filter(|_| named).map(|role| directory.role_json(role));
    Ok(json!({ "roles": roles.collect::<Vec<Value>>() }))
}

/// `PATCH roles/update`: another name, another description.
pub(super) async fn update(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let number = asked::number(call, "role_id")?;
    let (name, description) = (asked::optional_text(call, "name")?, described(call)?);
    if name.is_none() && description.is_none() {
        return Err(Malformed::new("name", "or description must be given").into());
    }
    let renamed = name.as_deref().map(group_named).transpose()?;
    let mut group = changeable(call, number).await?;
    if let Some(to) = renamed.filter(|to| *to != group) {
        let (app, by) = (call.app, call.caller.principal.to_string());
        let store = governors::store_for(call, &[&group])?;
        let change = match store.rename_group(&group, &to, &by, app.clock.now()).await {
            Err(StoreError::Exists(_)) => return Err(taken(&to)),
            other => other?,
        };
        settle(app, trail, change).await?;
        group = to;
    }
    if let Some(text) = description {
        describe(call, trail, &group, &text).await?;
    }
    told(call, &group).await
}

/// The group of a role that may be changed or deleted by this caller.
async fn changeable(call: &Call<'_>, number: i64) -> Result<Principal, Refusal> {
    let directory = Directory::read(call).await?;
    let group = directory.role(number)?.group()?.clone();
    governors::store_for(call, &[&group])?;
    Ok(group)
}

/// `DELETE roles/delete`
pub(super) async fn delete(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let number = asked::number(call, "role_id")?;
    let group = changeable(call, number).await?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let store = governors::store_for(call, &[&group])?;
    let change = store.delete_principal(&group, &by, app.clock.now()).await?;
    settle(app, trail, change).await?;
    Ok(nothing())
}

/// Who is to have which role: the user, the group, and both numbers.
async fn pair(call: &Call<'_>) -> Result<(Principal, Principal, i64, i64), Refusal> {
    demand_identities(call)?;
    let (name, number) = (asked::text(call, "username")?, asked::number(call, "role_id")?);
    let directory = Directory::read(call).await?;
    let user = directory.user(&name)?;
    let group = directory.role(number)?.group()?.clone();
    if group.name == Principal::USERS {
        return Err(Malformed::new("role_id", "everybody is in `users`").into());
    }
    Ok((user.principal.clone(), group, user.number, number))
}

/// `POST roles/assign`
pub(super) async fn assign(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    let (user, group, user_number, number) = pair(call).await?;
    change(call, trail, async |snapshot| {
        governors::store_for(call, &[&group])?;
        if snapshot.memberships().any(|(one, member)| *one == group && *member == user) {
            return Err(already_there(format!("`{user}` has the role `{}` already", group.name)));
        }
        Ok(vec![Wanted::Join { group: group.clone(), member: user.clone() }])
    })
    .await?;
    Ok(json!({ "assignment": assignment_json(number, user_number) }))
}

/// `DELETE roles/unassign`
pub(super) async fn unassign(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    let (user, group, _, _) = pair(call).await?;
    change(call, trail, async |snapshot| {
        governors::store_for(call, &[&group])?;
        if !snapshot.memberships().any(|(one, member)| *one == group && *member == user) {
            let message = format!("`{user}` was not given the role `{}` directly", group.name);
            return Err(Refusal::NotFound(message));
        }
        Ok(vec![Wanted::Leave { group: group.clone(), member: user.clone() }])
    })
    .await?;
    Ok(nothing())
}

/// `GET users/roles/list`
pub(super) async fn of_user(call: &Call<'_>) -> Result<Value, Refusal> {
    let name = asked::text(call, "username")?;
    demand_sight_of(call, &name)?;
    let (directory, user) = Directory::about_user(call, &name).await?;
    let roles = directory.roles_of(&user, &[]);
    let roles: Vec<Value> = roles.iter().map(|role| directory.role_json(role)).collect();
    Ok(json!({ "roles": roles }))
}

/// `GET roles/users/list`: everybody who has the role, through whatever groups.
pub(super) async fn users(call: &Call<'_>) -> Result<Value, Refusal> {
    if !sees_others(call)? {
        return Err(call.denied(Privilege::IdentityManage, &Securable::workspace()));
    }
    let number = asked::number(call, "role_id")?;
    let directory = Directory::read(call).await?;
    let role = directory.role(number)?;
    let users = directory.users_with(&role);
    let assignments: Vec<Value> = users.iter().map(|user| assignment_json(number, user.number)).collect();
    Ok(json!({ "assignments": assignments }))
}
