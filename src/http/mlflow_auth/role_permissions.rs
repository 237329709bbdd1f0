//! Permissions of a role: grants to its group. Changing them takes both `identity.manage`, which roles need, and the
//! right to manage what is granted on.

use serde_json::{Value, json};

use super::directory::{Directory, permission_json};
use super::permissions::{bad, replace, write};
use super::roles::seen;
use super::{asked, demand_identities, nothing};
use crate::access::Principal;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::demand;
use crate::http::trail::Trail;
use crate::policy::managing;
use crate::policy::mlflow_permissions::{Permission, Resource, Row};

/// `POST roles/permissions/add`
pub(super) async fn add(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let number = asked::number(call, "role_id")?;
    let (kind, pattern) = (asked::text(call, "resource_type")?, asked::text(call, "resource_pattern")?);
    let resource = Resource::parse(&kind, &pattern).map_err(bad("resource_type"))?;
    demand(call, managing(&resource.securable().map_err(bad("resource_pattern"))?))?;
    let permission = Permission::parse(&asked::text(call, "permission")?).map_err(bad("permission"))?;
    let whose = Directory::read(call).await?.role(number)?.account.principal.clone();
    write(call, trail, &whose, &resource, permission).await?;
    told(call, number, |row| row.resource == resource).await
}

/// `DELETE roles/permissions/remove`
pub(super) async fn remove(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let id = asked::number(call, "role_permission_id")?;
    let whose = holder(call, id).await?.1;
    replace(call, trail, &whose, |row| row.id == id, None).await?;
    Ok(nothing())
}

/// `PATCH roles/permissions/update`: the answer has the id of what is in its place now.
pub(super) async fn update(call: &Call<'_>, trail: &Trail) -> Result<Value, Refusal> {
    demand_identities(call)?;
    let id = asked::number(call, "role_permission_id")?;
    let permission = Permission::parse(&asked::text(call, "permission")?).map_err(bad("permission"))?;
    let (number, whose) = holder(call, id).await?;
    let resource = Directory::read(call).await?.rows(&whose).into_iter().find(|row| row.id == id);
    let resource = resource.ok_or_else(|| missing(id))?.resource;
    replace(call, trail, &whose, |row| row.id == id, Some(permission)).await?;
    told(call, number, |row| row.resource == resource).await
}

/// `GET roles/permissions/list`
pub(super) async fn list(call: &Call<'_>) -> Result<Value, Refusal> {
    let number = asked::number(call, "role_id")?;
    let directory = seen(call, number).await?;
    let rows = directory.rows(&directory.role(number)?.account.principal);
    let rows: Vec<Value> = rows.iter().map(|row| permission_json(number, row)).collect();
    Ok(json!({ "role_permissions": rows }))
}

fn missing(id: i64) -> Refusal {
    Refusal::NotFound(format!("role permission {id} does not exist"))
}

/// The role, by its number and its principal, whose permission this is.
async fn holder(call: &Call<'_>, id: i64) -> Result<(i64, Principal), Refusal> {
    let grants = call.app.store.grants_by_id(&[Row::grant_of(id)]).await?;
    let grant = grants.first().ok_or_else(|| missing(id))?;
    let directory = Directory::read(call).await?;
    let account = directory.account(&grant.grant.principal).ok_or_else(|| missing(id))?;
    directory.role(account.number).map_err(|_| missing(id))?;
    Ok((account.number, account.principal.clone()))
}

async fn told(call: &Call<'_>, number: i64, is_it: impl Fn(&Row) -> bool) -> Result<Value, Refusal> {
    let directory = Directory::read(call).await?;
    let rows = directory.rows(&directory.role(number)?.account.principal);
    let row = rows.iter().find(|row| is_it(row));
    // Somebody else took it away at once.
    let row = row.ok_or_else(|| Refusal::Conflict("the permission is gone again".to_owned()))?;
    Ok(json!({ "role_permission": permission_json(number, row) }))
}
