//! Sessions of browsers: everybody's own; other people's with `identity.manage`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Call, Refusal, Trail, demand};
use crate::access::{Check, Principal, Privilege, Securable};
use crate::clock::UnixMillis;
use crate::http::browser::record_ended;
use crate::store::{SessionRecord, Sessions};

/// A session that has not ended.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct SessionView {
    /// By which it can be ended.
    id: String,
    /// Whose it is: `user:NAME`.
    #[schemars(with = "String")]
    principal: Principal,
    /// The issuer where the person signed in.
    issuer: String,
    /// Groups that the issuer asserted when it was last asked.
    #[schemars(with = "Vec<String>")]
    groups: Vec<Principal>,
    /// When it began (milliseconds since 1970).
    #[schemars(with = "i64")]
    created_at_ms: UnixMillis,
    /// About when it was last used.
    #[schemars(with = "i64")]
    last_used_at_ms: UnixMillis,
    /// When it is over at the latest.
    #[schemars(with = "i64")]
    expires_at_ms: UnixMillis,
    /// From which address it began.
    source_address: Option<String>,
    /// With which browser it began.
    user_agent: Option<String>,
}

/// The answer to `GET sessions`.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct SessionList {
    sessions: Vec<SessionView>,
}

/// The answer to `DELETE sessions` and `DELETE sessions/{id}`.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct SessionsEnded {
    /// The ids of the sessions that were ended by this call.
    ended: Vec<String>,
}

fn view(session: SessionRecord) -> SessionView {
    SessionView {
        id: session.id,
        principal: session.principal,
        issuer: session.issuer,
        groups: session.groups,
        created_at_ms: session.created_at,
        last_used_at_ms: session.last_used_at,
        expires_at_ms: session.expires_at,
        source_address: session.source_address,
        user_agent: session.user_agent,
    }
}

fn manage_identities(call: &Call<'_>) -> Result<(), Refusal> {
    demand(call, Check::new(Privilege::IdentityManage, Securable::workspace()))
}

/// Whose sessions: one's own unless another is named, which takes `identity.manage`.
fn whose(call: &Call<'_>) -> Result<Principal, Refusal> {
    let own = &call.caller.principal;
    let whose = call.head.query.one("principal")?.map_or_else(|| Ok(own.clone()), str::parse)?;
    if whose != *own {
        manage_identities(call)?;
    }
    Ok(whose)
}

/// `GET sessions?principal=P`
pub(super) async fn list(call: &Call<'_>) -> Result<SessionList, Refusal> {
    let sessions = call.app.store.sessions(Some(&whose(call)?), call.app.clock.now()).await?;
    Ok(SessionList { sessions: sessions.into_iter().map(view).collect() })
}

/// `DELETE sessions/{id}`: refused from now on here, and within a second by every replica.
pub(super) async fn end(call: &Call<'_>, trail: &Trail) -> Result<SessionsEnded, Refusal> {
    let id = call.param("id");
    let own = call.app.store.sessions(Some(&call.caller.principal), call.app.clock.now()).await?;
    if !own.iter().any(|session| session.id == id) {
        // Asked first, so that nobody learns which ids there are.
        manage_identities(call)?;
    }
    let ended = end_which(call, trail, Sessions::One(id)).await?;
    if ended.ended.is_empty() {
        return Err(Refusal::NotFound(format!("session `{id}` does not exist or has ended already")));
    }
    Ok(ended)
}

/// `DELETE sessions?principal=P`: all of one.
pub(super) async fn end_all(call: &Call<'_>, trail: &Trail) -> Result<SessionsEnded, Refusal> {
    end_which(call, trail, Sessions::Of(&whose(call)?)).await
}

async fn end_which(call: &Call<'_>, trail: &Trail, which: Sessions<'_>) -> Result<SessionsEnded, Refusal> {
    let why = format!("ended by {}", call.caller.principal);
    let ended = call.app.identity.browsers().end(which, &why).await?;
    record_ended(call.app, trail, &ended, &why).await?;
    Ok(SessionsEnded { ended: ended.into_iter().map(|(id, _)| id).collect() })
}
