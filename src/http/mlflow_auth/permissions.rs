//! What one user was granted: shown, granted, revoked, and what it comes to.

use serde_json::{Value, json};

use super::change::change;
use super::directory::{Directory, as_caller, shown};
use super::{WORKSPACE, already_there, asked, demand_sight_of, nothing};
use crate::access::{Principal, Securable};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::demand;
use crate::http::trail::Trail;
use crate::policy::managing;
use crate::policy::mlflow_permissions::{Permission, Resource, ResourceType, Row, rows};
use crate::store::Wanted;
use crate::wire::Malformed;

pub(super) fn bad(field: &'static str) -> impl Fn(String) -> Refusal {
    move |problem| Malformed::new(field, problem).into()
}

/// `GET users/current/permissions`
pub(super) async fn of_caller(call: &Call<'_>) -> Result<Value, Refusal> {
    let caller = call.caller;
    let directory = Directory::about(call, &caller.principal, &caller.asserted_groups).await?;
    Ok(listed(&directory, &caller.principal, &caller.asserted_groups, directory.view.is_admin(caller)))
}

/// `GET users/permissions/list`
pub(super) async fn of_user(call: &Call<'_>) -> Result<Value, Refusal> {
    let name = asked::text(call, "username")?;
    demand_sight_of(call, &name)?;
    let (directory, user) = Directory::about_user(call, &name).await?;
    Ok(listed(&directory, &user, &[], directory.is_admin(&user)))
}

fn listed(directory: &Directory, principal: &Principal, asserted: &[Principal], is_admin: bool) -> Value {
    let mut permissions = Vec::new();
    for role in directory.roles_of(principal, asserted) {
        for row in directory.rows(&role.account.principal) {
            permissions.push(json!({
                "role_id": role.account.number,
                "role_name": role.name(),
                "workspace": WORKSPACE,
                "resource_type": row.resource.kind.as_str(),
                "resource_pattern": row.resource.pattern(),
                "permission": row.permission.as_str(),
            }));
        }
    }
    json!({ "is_admin": is_admin, "permissions": permissions })
}

/// The resource that a call for one user names.
fn resource(call: &Call<'_>) -> Result<Resource, Refusal> {
    let (kind, id) = (asked::text(call, "resource_type")?, asked::text(call, "resource_id")?);
    if kind == ResourceType::Workspace.as_str() {
        let problem = "`workspace` is for roles; grant it with roles/permissions/add".to_owned();
        return Err(bad("resource_type")(problem));
    }
    Resource::parse(&kind, &id).map_err(bad("resource_type"))
}

/// Of a principal's permissions the one on a resource. By its name a model is a prompt or it is not: one securable.
fn on<'r>(rows: &'r [Row], resource: &Resource) -> Option<&'r Row> {
    let same = |row: &&Row| match (&row.resource.id, &resource.id) {
        (Some(_), Some(_)) => row.resource.securable() == resource.securable(),
        (None, None) => row.resource.kind == resource.kind,
        _ => false,
    };
    rows.iter().find(same)
}

async fn rows_of(
    call: &Call<'_>,
    snapshot: &crate::policy::Snapshot,
    whose: &Principal,
) -> Result<Vec<Row>, Refusal> {
    let grants = call.app.store.grants(Some(whose), None).await?;
    Ok(rows(snapshot.levels(), &grants, call.app.clock.now()))
}

/// Writes a permission that is not there yet.
pub(super) async fn write(
    call: &Call<'_>,
    trail: &Trail,
    whose: &Principal,
    resource: &Resource,
    permission: Permission,
) -> Result<(), Refusal> {
    let securable = resource.securable().map_err(bad("resource_id"))?;
    change(call, trail, async |snapshot| {
        demand(call, managing(&securable))?;
        let there = rows_of(call, &snapshot, whose).await?;
        if let Some(row) = on(&there, resource) {
            return Err(already_there(format!(
                "`{whose}` has {} on {} `{}` already",
                row.permission.as_str(),
                row.resource.kind.as_str(),
                shown(row.resource.pattern())
            )));
        }
        let grants = resource.grants(snapshot.levels(), whose, permission).map_err(bad("permission"))?;
        Ok(grants.into_iter().map(Wanted::Grant).collect())
    })
    .await
}

/// Takes a permission away, or puts another in its place. `found` picks it.
pub(super) async fn replace(
    call: &Call<'_>,
    trail: &Trail,
    whose: &Principal,
    found: impl Fn(&Row) -> bool,
    by: Option<Permission>,
) -> Result<(), Refusal> {
    change(call, trail, async |snapshot| {
        let there = rows_of(call, &snapshot, whose).await?;
        let row = there.iter().find(|row| found(row));
        let row = row.ok_or_else(|| Refusal::NotFound("there is no such permission".to_owned()))?;
        demand(call, managing(&row.resource.securable().map_err(bad("resource_id"))?))?;
        if let Some(problem) = &row.fixed {
            return Err(bad("permission")(problem.clone()));
        }
        if by == Some(row.permission) {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<Wanted> = row.grants.iter().copied().map(Wanted::Revoke).collect();
        if let Some(permission) = by {
            let grants =
                row.resource.grants(snapshot.levels(), whose, permission).map_err(bad("permission"))?;
            wanted.extend(grants.into_iter().map(Wanted::Grant));
        }
        Ok(wanted)
    })
    .await
}

/// `POST users/permissions/grant`, for who manages the resource.
pub(super) async fn grant(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    let (name, resource) = (asked::text(call, "username")?, resource(call)?);
    // Before anything else is told.
    demand(call, managing(&resource.securable().map_err(bad("resource_id"))?))?;
    let permission = Permission::parse(&asked::text(call, "permission")?).map_err(bad("permission"))?;
    let user = known(call, &name).await?;
    write(call, trail, &user, &resource, permission).await?;
    Ok(nothing())
}

/// `POST users/permissions/revoke`, for who manages the resource.
pub(super) async fn revoke(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    let (name, resource) = (asked::text(call, "username")?, resource(call)?);
    demand(call, managing(&resource.securable().map_err(bad("resource_id"))?))?;
    let user = known(call, &name).await?;
    replace(call, trail, &user, |row| on(std::slice::from_ref(row), &resource).is_some(), None).await?;
    Ok(nothing())
}

async fn known(call: &Call<'_>, name: &str) -> Result<Principal, Refusal> {
    let missing = || Refusal::NotFound(format!("user `{}` does not exist", shown(name)));
    let user = Principal::user(name).map_err(|_| missing())?;
    match call.app.store.directory_of(&user).await? {
        Some(_) => Ok(user),
        None => Err(missing()),
    }
}

/// `GET users/permissions/get`: what a user may do to a resource, through whatever grants, as the decision has it.
pub(super) async fn resolved(call: &Call<'_>) -> Result<Value, Refusal> {
    let name = asked::text(call, "username")?;
    let resource = resource(call)?;
    demand_sight_of(call, &name)?;
    let (mut directory, user) = Directory::about_user(call, &name).await?;
    let mut whom = as_caller(&user);
    if user == call.caller.principal {
        whom = call.caller.clone();
        directory = Directory::about(call, &user, &whom.asserted_groups).await?;
    }
    let securable = resource.securable().map_err(bad("resource_id"))?;
    let has = directory.view.effective(&whom, &securable);
    let nearest = resource.kind.nearest(directory.view.snapshot().levels(), has);
    let said = |permission: Permission| {
        let roles = directory.roles_of(&user, &whom.asserted_groups);
        let mut rows = roles.iter().flat_map(|role| directory.rows(&role.account.principal));
        rows.any(|row| row.permission == permission && reaches(&row, &resource, &securable))
    };
    let (permission, uses) = match nearest {
        Some(Permission::Read) if said(Permission::Use) => ("USE", true),
        Some(permission) => (permission.as_str(), permission > Permission::Read),
        None if said(Permission::Deny) => ("DENY", false),
        None => ("NO_PERMISSIONS", false),
    };
    Ok(json!({ "allowed": uses, "permission": permission }))
}

fn reaches(row: &Row, resource: &Resource, securable: &Securable) -> bool {
    match row.resource.id {
        Some(_) => row.resource.securable().as_ref() == Ok(securable),
        None => row.resource.kind == resource.kind,
    }
}
