//! SCIM 2.0: users, groups and service principals, as identity providers and databricks-sdk keep them.
//!
//! A user's `userName`, a service principal's `applicationId` and a group's `displayName` are the names by which
//! grants and records speak of them, so they never change. A change is made at the version of policy that it was
//! worked out at, and worked out again when another came first: two at once lose nothing.

mod discovery;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod list;
mod me;
mod patch;
mod resource;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use serde_json::{Map, Value};

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use super::{own, pages};
use crate::access::PrincipalKind;
use crate::store::{DirectoryEntry, StoreError};
use crate::wire::{Body, Headers, Reply};

/// How often a change is worked out anew because another came first.
const ATTEMPTS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Group,
    ServicePrincipal,
}

impl Kind {
    const ALL: [Self; 3] = [Self::User, Self::Group, Self::ServicePrincipal];

    fn principals(self) -> PrincipalKind {
        match self {
            Self::User => PrincipalKind::User,
            Self::Group => PrincipalKind::Group,
            Self::ServicePrincipal => PrincipalKind::ServicePrincipal,
        }
    }

    fn of(kind: PrincipalKind) -> Self {
        match kind {
            PrincipalKind::User => Self::User,
            PrincipalKind::Group => Self::Group,
            PrincipalKind::ServicePrincipal => Self::ServicePrincipal,
        }
    }

    fn resource_type(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal => "ServicePrincipal",
        }
    }

    /// The last part of the path.
    fn plural(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
            Self::ServicePrincipal => "ServicePrincipals",
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::User => schema::CORE_USER,
            Self::Group => schema::CORE_GROUP,
            Self::ServicePrincipal => schema::SERVICE_PRINCIPAL,
        }
    }

    /// The attribute that is the principal's name.
    fn name_attribute(self) -> &'static str {
        match self {
            Self::User => "userName",
            Self::Group => "displayName",
            Self::ServicePrincipal => "applicationId",
        }
    }
}

/// What a caller may ask.
pub(super) async fn answer(call: &mut Call<'_>, trail: &Trail) -> Result<Reply, Refusal> {
    let mut parts = call.operation.name.split('.').skip(1);
    let (noun, verb) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let kind = match noun {
        "me" => return me::me(call, trail).await,
        "users" => Kind::User,
        "groups" => Kind::Group,
        "service_principals" => Kind::ServicePrincipal,
        _ => return discovery::answer(call, noun),
    };
    match verb {
        "list" => return list::list(call, kind).await,
        "get" => {
            let entry = find(call, kind).await?;
            return list::get(call, kind, &entry).await;
        }
        _ => {}
    }
    let sent = if verb == "delete" { Map::new() } else { own::sent(call).await? };
    for _ in 0..ATTEMPTS {
        let done = match verb {
            "create" => write::create(call, trail, kind, &sent).await,
            "replace" => write::replace(call, trail, kind, &sent).await,
            "patch" => write::patch(call, trail, kind, &sent).await,
            "delete" => write::delete(call, trail, kind).await,
            _ => Err(Refusal::UnknownEndpoint),
        };
        match done {
            Err(Refusal::Conflict(_)) => call.app.confirm_policy().await?,
            other => return other,
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

/// Whoever the path names. An id of another kind, or in another spelling, is nobody's.
async fn find(call: &Call<'_>, kind: Kind) -> Result<DirectoryEntry, Refusal> {
    let id = call.param("id");
    let missing = || Refusal::NotFound(format!("there is no {} `{id}`", kind.resource_type()));
    let number = number(id).ok_or_else(missing)?;
    let found = call.app.store.directory_entry(number).await?;
    found.filter(|entry| entry.principal.kind == kind.principals()).ok_or_else(missing)
}

/// The number that an id writes in the one way it is written.
fn number(id: &str) -> Option<i64> {
    let number: i64 = id.parse().ok()?;
    (number > 0 && number.to_string() == id).then_some(number)
}

/// A refusal of the store in SCIM's words.
fn refused(error: StoreError) -> Refusal {
    let message = error.to_string();
    match error {
        StoreError::Exists(_) => refuse("uniqueness", message),
        StoreError::NotFound(_) => Refusal::NotFound(message),
        StoreError::LastAdministrator | StoreError::LastCredential | StoreError::Refused(_) => {
            refuse("mutability", message)
        }
        other => other.into(),
    }
}

fn refuse(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::Scim { kind, message: message.into() }
}

/// What stands before `/Users` in the request's path.
fn base(call: &Call<'_>) -> String {
    let path = call.head.path.to_encoded();
    let end = path.find("/scim/v2").map_or(0, |start| start + "/scim/v2".len());
    let public = call.app.config.server.public_url.as_deref().unwrap_or_default();
    format!("{}{}", public.trim_end_matches('/'), &path[..end])
}

fn written(status: u16, resource: &Map<String, Value>) -> Reply {
    let mut reply = pages::written(status, resource);
    reply.headers.set("content-type", "application/scim+json");
    reply
}

fn nothing() -> Reply {
    Reply { status: 204, headers: Headers::new(), body: Body::Empty }
}
