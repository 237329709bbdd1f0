//! `GET Me`: who a caller is, to itself.

use serde_json::{Map, Value, json};

use super::resource::{Related, project, write};
use super::{Kind, base, written};
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::oauth;
use crate::http::trail::Trail;
use crate::store::DirectoryEntry;
use crate::wire::Reply;

pub(super) async fn me(call: &Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let kind = Kind::of(call.caller.principal.kind);
    let entry = entry(call, trail).await?;
    let view = call.view()?;
    let groups = view.snapshot().groups_of(call.caller);
    let mut all = groups.clone();
    all.push(&call.caller.principal);
    let related = Related::named(call, all).await?;
    let mut resource = write(call, kind, view.snapshot(), &related, &entry);
    resource.insert("groups".to_owned(), json!(related.references(&base(call), &groups, true)));
    if kind == Kind::ServicePrincipal {
        // Clients ask for a user's name, and a service principal's is its application id.
        resource.insert("userName".to_owned(), json!(entry.principal.name));
    }
    let mut reply = written(200, &projected(call, kind, resource)?);
    reply.headers.set("x-databricks-org-id", oauth::WORKSPACE);
    Ok(reply)
}

fn projected(
    call: &Call<'_>,
    kind: Kind,
    resource: Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let user_name = resource.get("userName").cloned();
    let mut projected = project(call, kind, resource)?;
    if let Some(user_name) = user_name {
        projected.insert("userName".to_owned(), user_name);
    }
    Ok(projected)
}

/// Whoever comes with a good credential of others is known from then on, as its id must stay the same.
async fn entry(call: &Call<'_>, trail: &Trail) -> Result<DirectoryEntry, Refusal> {
    let principal = &call.caller.principal;
    if let Some(entry) = call.app.store.directory_of(principal).await? {
        return Ok(entry);
    }
    let by = principal.to_string();
    let change = call.app.store.ensure_principal(principal, &by, call.app.clock.now()).await?;
    settle(call.app, trail, change).await?;
    let entry = call.app.store.directory_of(principal).await?;
    entry.ok_or_else(|| Refusal::Internal(format!("`{principal}` has no number")))
}
