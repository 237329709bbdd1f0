//! Requests for access: anybody asks for itself and says why; whoever manages the securable decides.
//!
//! Asking looks at nothing but the request: the answer is the same for what exists, what is hidden and what
//! there is not. Nobody decides its own request, administrators included; they have other ways to everything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Refusal, Trail, managing, sent_as};
use crate::access::{
    Caller, Check, Effect, ExperimentId, Grant, NewGrant, PolicyChange, Privilege, Securable, SecurableKind,
};
use crate::http::changes::settle;
use crate::store::{AccessRequest, Asked, Decided, NewAccessRequest, Purpose, RequestFilter, RequestState};
use crate::wire::Malformed;

/// A reason that says something, in characters.
const SHORTEST_REASON: usize = 10;
const LONGEST_REASON: usize = 500;
/// The longest time that is asked for or granted, in minutes: a year.
const MOST_MINUTES: u64 = 366 * 24 * 60;
const PAGE: u32 = 100;
/// Requests that one page looks through for those that the caller may see.
const MOST_READ: u32 = 5000;

/// What is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// What for, as `experiment:12`. It need not be visible to who asks.
    #[schemars(with = "String")]
    securable: Securable,
    /// A level, such as `CAN_READ`, or a privilege, such as `trace.read`.
    privilege: String,
    /// Why, in 10 characters or more.
    reason: String,
    /// For how long, from the approval on; without an end if absent.
    minutes: Option<u64>,
}

/// How a request is approved.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    reason: Option<String>,
    /// For how long from now, instead of what was asked.
    minutes: Option<u64>,
    /// Grants without an end. Needed where neither the request nor the approval says for how long.
    #[serde(default)]
    without_end: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    /// Why not; whoever asked reads it.
    reason: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Answered {
    request: AccessRequest,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Approved {
    request: AccessRequest,
    /// What was granted, or the grant that lasts longer and stays as it is.
    grant: Option<Grant>,
    policy_version: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    /// Newest first.
    requests: Vec<AccessRequest>,
    /// To be sent as `after` for the next page; null at the end.
    next: Option<String>,
}

/// `POST access-requests`
pub(super) async fn create(call: &mut Call<'_>, trail: &Trail) -> Result<Answered, Refusal> {
    let ask: Ask = sent_as(call).await?;
    let reason = readable("reason", &ask.reason, SHORTEST_REASON)?;
    let new = NewAccessRequest {
        id: uuid::Uuid::now_v7().to_string(),
        principal: call.caller.principal.clone(),
        securable: ask.securable,
        privilege: ask.privilege,
        reason,
        duration_ms: duration(ask.minutes)?,
    };
    let (app, by) = (call.app, call.caller.principal.to_string());
    let known = app.store.ensure_principal(&new.principal, &by, app.clock.now()).await?;
    settle(app, trail, known).await?;
    let request = match app.store.ask_access(&new, app.clock.now()).await? {
        Asked::Waits(request) => request,
        Asked::TooMany(problem) => return Err(Malformed::new("request", problem).into()),
        Asked::Made(request) => {
            let change = PolicyChange {
                action: "access_request.ask".to_owned(),
                before: Value::Null,
                after: json!(request),
            };
            trail.policy_change(change, app.policy.version()).await?;
            request
        }
    };
    Ok(Answered { request })
}

/// `GET access-requests?state&principal&securable&after&limit`: one's own, those on what one manages, or all.
pub(super) async fn list(call: &Call<'_>) -> Result<Listed, Refusal> {
    let query = &call.head.query;
    let principal = query.one("principal")?.map(str::parse).transpose()?;
    let securable: Option<Securable> = query.one("securable")?.map(str::parse).transpose()?;
    let limit = super::audit::limit(call)?.unwrap_or(PAGE);
    let state = query.one("state")?.map(state).transpose()?;
    let context = format!("access-requests|{}", call.caller.principal);
    let before = match query.one("after")? {
        Some(token) => Some(opened(call, &context, token).await?),
        None => None,
    };
    let mut filter = RequestFilter { principal, securable, state, before };
    let (mut requests, mut read) = (Vec::new(), 0);
    let mut next = None;
    // What others may not see is looked through, not shown; the place reached is sealed, so that it tells nothing.
    'pages: loop {
        let page = call.app.store.access_requests(&filter, call.app.clock.now(), limit).await?;
        let last_page = page.len() < limit as usize;
        for request in page {
            if requests.len() == limit as usize || read == MOST_READ {
                next = filter.before.clone();
                break 'pages;
            }
            read += 1;
            filter.before = Some(request.id.clone());
            if sees(call, &request).await? {
                requests.push(request);
            }
        }
        if last_page {
            break;
        }
    }
    let next = next.map(|id| sealed(call, &context, &id)).transpose()?;
    Ok(Listed { requests, next })
}

/// `GET access-requests/{id}`
pub(super) async fn get(call: &Call<'_>) -> Result<Answered, Refusal> {
    Ok(Answered { request: visible(call).await? })
}

/// `POST access-requests/{id}/approve`
pub(super) async fn approve(call: &mut Call<'_>, trail: &Trail) -> Result<Approved, Refusal> {
    let body: Approve = sent_as(call).await?;
    let request = deciding(call).await?;
    let reason = body.reason.as_deref().map(|reason| readable("reason", reason, 1)).transpose()?;
    let duration = match (duration(body.minutes)?, body.without_end) {
        (Some(_), true) => {
            return Err(Malformed::new("minutes", "cannot be given together with `without_end`").into());
        }
        (Some(duration), false) => Some(duration),
        (None, true) => None,
        (None, false) => Some(request.duration_ms.ok_or_else(|| {
            Malformed::new("minutes", "is missing: the request has no end; say `minutes`, or `without_end`")
        })?),
    };
    if !exists(call, &request.securable).await? {
        return Err(Refusal::Conflict(format!(
            "`{}` is not known, so access to it cannot be approved",
            request.securable
        )));
    }
    let wanted = NewGrant {
        principal: request.principal.clone(),
        securable: request.securable.clone(),
        privilege: request.privilege.clone(),
        effect: Effect::Allow,
        reason: None,
        expires_at: None,
    };
    crate::http::catalog::may_grant(call, &wanted).await?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let now = app.clock.now();
    let decided = app.store.approve_access(&request.id, duration, reason.as_deref(), &by, now).await?;
    let (request, grant) = settled(call, trail, decided).await?;
    Ok(Approved { request, grant, policy_version: app.policy.version() })
}

/// `POST access-requests/{id}/refuse`
pub(super) async fn refuse(call: &mut Call<'_>, trail: &Trail) -> Result<Answered, Refusal> {
    let body: Refuse = sent_as(call).await?;
    let request = deciding(call).await?;
    let reason = readable("reason", &body.reason, 1)?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let state = RequestState::Refused;
    let decided = app.store.close_access(&request.id, state, Some(&reason), &by, app.clock.now()).await?;
    Ok(Answered { request: settled(call, trail, decided).await?.0 })
}

/// `DELETE access-requests/{id}`: by who asked.
pub(super) async fn withdraw(call: &Call<'_>, trail: &Trail) -> Result<Answered, Refusal> {
    let request = visible(call).await?;
    if request.principal != call.caller.principal {
        return Err(Refusal::Denied("only who asked can withdraw a request; refuse it instead".to_owned()));
    }
    let (app, by) = (call.app, call.caller.principal.to_string());
    let state = RequestState::Withdrawn;
    let decided = app.store.close_access(&request.id, state, None, &by, app.clock.now()).await?;
    Ok(Answered { request: settled(call, trail, decided).await?.0 })
}

/// Records what was decided, and puts it in force.
async fn settled(
    call: &Call<'_>,
    trail: &Trail,
    decided: Decided,
) -> Result<(AccessRequest, Option<Grant>), Refusal> {
    match decided {
        Decided::Done { request, grant, change } => {
            if change.changed {
                settle(call.app, trail, *change).await?;
            } else {
                trail.policy_change(change.policy_change, change.version).await?;
            }
            Ok((*request, grant.map(|grant| *grant)))
        }
        Decided::Over(request) => Err(Refusal::Conflict(format!(
            "request `{}` does not wait any more: it is {}",
            request.id,
            request.state.as_str()
        ))),
        Decided::Inactive => {
            Err(Refusal::Conflict("who asked is not active any more and can be given nothing".to_owned()))
        }
        Decided::Missing => Err(missing(call)),
    }
}

fn missing(call: &Call<'_>) -> Refusal {
    Refusal::NotFound(format!("request `{}` does not exist, or is not yours to see", call.param("id")))
}

/// The request that the path names, if the caller may see it.
async fn visible(call: &Call<'_>) -> Result<AccessRequest, Refusal> {
    let found = call.app.store.access_request(call.param("id"), call.app.clock.now()).await?;
    match found {
        Some(request) if sees(call, &request).await? => Ok(request),
        _ => Err(missing(call)),
    }
}

/// The request that the path names, if it is the caller's to decide.
async fn deciding(call: &Call<'_>) -> Result<AccessRequest, Refusal> {
    let request = visible(call).await?;
    let manages = managing(&request.securable);
    place(call, &request.securable).await?;
    if !call.allows(manages.clone())? {
        return Err(call.denied(manages.privilege, &manages.securable));
    }
    if involves(call.caller, &request) {
        return Err(Refusal::Denied("nobody decides its own request; another must".to_owned()));
    }
    Ok(request)
}

/// Whether the caller asked, itself or through somebody on whose behalf it calls.
fn involves(caller: &Caller, request: &AccessRequest) -> bool {
    std::iter::successors(Some(caller), |one| one.actor.as_deref())
        .any(|one| one.principal == request.principal)
}

async fn sees(call: &Call<'_>, request: &AccessRequest) -> Result<bool, Refusal> {
    if request.principal == call.caller.principal {
        return Ok(true);
    }
    if call.allows(Check::new(Privilege::PolicyRead, Securable::workspace()))? {
        return Ok(true);
    }
    call.allows(managing(&request.securable))
}

/// Makes an experiment's place in the tree known, by which it may be managed.
pub(super) async fn place(call: &Call<'_>, securable: &Securable) -> Result<(), Refusal> {
    exists(call, securable).await.map(|_| ())
}

/// Whether there is such a thing. Of what the backend cannot be asked, policy must have heard.
pub(super) async fn exists(call: &Call<'_>, securable: &Securable) -> Result<bool, Refusal> {
    match securable.kind {
        SecurableKind::Workspace | SecurableKind::Metastore => Ok(true),
        SecurableKind::Experiment => {
            let id = ExperimentId::parse(&securable.id)?;
            Ok(call.app.owners.experiment(call.app, call.backend, &id).await?.is_some())
        }
        _ => Ok(call.view()?.snapshot().securable_index(securable).is_some()),
    }
}

fn state(text: &str) -> Result<RequestState, Refusal> {
    serde_json::from_value(json!(text)).map_err(|_| {
        let problem = "must be pending, approved, refused, withdrawn or expired";
        Malformed::new("query parameter `state`", problem).into()
    })
}

fn duration(minutes: Option<u64>) -> Result<Option<i64>, Refusal> {
    match minutes {
        None => Ok(None),
        Some(minutes @ 1..=MOST_MINUTES) => {
            Ok(Some(i64::try_from(minutes).unwrap_or(i64::MAX / 60_000) * 60_000))
        }
        Some(_) => Err(Malformed::new("minutes", format!("must be 1 to {MOST_MINUTES}")).into()),
    }
}

/// A reason that somebody else will read.
pub(super) fn readable(field: &str, text: &str, shortest: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let length = text.chars().count();
    if length < shortest {
        let problem = format!("must say why, in {shortest} characters or more");
        return Err(Malformed::new(field, problem).into());
    }
    if length > LONGEST_REASON || text.chars().any(char::is_control) {
        let problem = format!("must have at most {LONGEST_REASON} characters and no control characters");
        return Err(Malformed::new(field, problem).into());
    }
    Ok(text.to_owned())
}

/// A place in a list as a token that tells nothing of what lies there.
pub(super) fn sealed(call: &Call<'_>, context: &str, place: &str) -> Result<String, Refusal> {
    let ring = call.app.keys.ring(Purpose::Sealing);
    let sealed = ring.seal(call.app.clock.now(), context, place.as_bytes());
    sealed.map_err(|_| Refusal::Internal("a page token could not be sealed".to_owned()))
}

pub(super) async fn opened(call: &Call<'_>, context: &str, token: &str) -> Result<String, Refusal> {
    let ring = call.app.keys.ring_for(Purpose::Sealing, token).await;
    let opened = ring.open(context, token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    opened
        .ok_or_else(|| Malformed::new("query parameter `after`", "is not a token of an earlier page").into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{Proof, Scheme};
    use crate::clock::UnixMillis;

    fn caller(principal: &str) -> Caller {
        let proof = Proof { scheme: Scheme::Token, credential: "t".to_owned() };
        Caller::new(principal.parse().unwrap(), Vec::new(), proof)
    }

    #[test]
    fn who_asked_is_involved_also_behind_somebody_on_whose_behalf_it_calls() {
        let request = AccessRequest {
            id: "r".to_owned(),
            principal: "service_principal:agent".parse().unwrap(),
            securable: "experiment:1".parse().unwrap(),
            privilege: "CAN_EDIT".to_owned(),
            reason: "because of a test".to_owned(),
            duration_ms: None,
            asked_at: UnixMillis(0),
            state: RequestState::Pending,
            decided_by: None,
            decided_at: None,
            decision_reason: None,
            grant_id: None,
        };
        let mut manager = caller("user:manager");
        assert!(!involves(&manager, &request));
        manager.actor = Some(Arc::new(caller("service_principal:agent")));
        assert!(involves(&manager, &request));
        assert!(involves(&caller("service_principal:agent"), &request));
    }

    #[test]
    fn reasons_are_said_and_cannot_forge_lines() {
        assert_eq!(readable("reason", "  on call this week ", 10).unwrap(), "on call this week");
        for bad in ["because  ", "on call\nuser:root approved", &"x".repeat(501)] {
            assert!(readable("reason", bad, 10).is_err(), "{bad}");
        }
        assert!(duration(Some(0)).is_err() && duration(Some(MOST_MINUTES + 1)).is_err());
        assert_eq!(duration(Some(2)).unwrap(), Some(120_000));
    }
}
