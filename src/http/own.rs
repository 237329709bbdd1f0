//! Our own API under `/api/tracegate/v1`, one file per noun, and the pages that monitoring reads.

mod access_requests;
mod access_reviews;
mod adoption;
mod api_page;
mod archives;
mod audit;
mod audit_export;
mod audit_review;
mod audit_seen;
mod break_glass;
mod checkpoints;
mod contract;
mod contracts;
mod explain;
mod grants;
mod keys;
mod limits;
mod openapi;
mod policy;
mod principals;
pub(super) mod secrets;
mod sessions;
mod shadow;
pub(super) mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::call::Call;
use super::convert;
use super::error::{Refusal, Shape};
use super::trail::Trail;
use crate::access::{Caller, Check};
use crate::app::App;
use crate::backend::Backend;
use crate::classify::{Access, Operation};
use crate::policy::managing;
use crate::store::audit_index::Subject;
use crate::wire::{Body, BodyStream, Head, Headers, Reply};

/// Bodies of our own API are small, in bytes.
pub(super) const BODY_LIMIT: u64 = 1024 * 1024;

/// Answers an operation of our own API. Its coarse needs are already decided.
pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let family = call.operation.name.split('.').next().unwrap_or_default();
    match family {
        "browser" => return super::browser::answer(call, trail).await,
        "oauth" => return super::oauth::answer(call, trail).await,
        "scim" => return super::scim::answer(call, trail).await,
        "permissions" => return super::permissions::answer(call, trail).await,
        "mlflow_auth" => return super::mlflow_auth::answer(call, trail).await,
        "catalog" => return super::catalog::answer(call, trail).await,
        "sql" => return super::sql::answer(call, trail).await,
        "files" => return super::files::answer(call, trail).await,
        "tracing" => return super::tracing::answer(call, trail).await,
        "archive" => return super::archive::answer(call, trail).await,
        _ => {}
    }
    contracts::of(&call.operation.name).ok_or(Refusal::UnknownEndpoint)?.check_query(call)?;
    match call.operation.name.as_str() {
        "tracegate.policy.export" => policy::export(call).await,
        "tracegate.policy.casbin" => policy::casbin(call).await,
        "tracegate.policy.plan" => answered(&policy::plan(call).await?),
        "tracegate.policy.apply" => answered(&policy::apply(call, trail).await?),
        "tracegate.policy.test" => answered(&policy::test(call).await?),
        "tracegate.whoami" => answered(&explain::whoami(call).await?),
        "tracegate.explain" => answered(&explain::explain(call).await?),
        "tracegate.policy.get" => answered(&explain::policy(call).await?),
        "tracegate.token.list" => answered(&tokens::list(call).await?),
        "tracegate.token.create" => answered(&tokens::create(call, trail).await?),
        "tracegate.token.revoke" => answered(&tokens::revoke(call, trail).await?),
        "tracegate.grant.list" => answered(&grants::list(call).await?),
        "tracegate.grant.create" => answered(&grants::create(call, trail).await?),
        "tracegate.grant.delete" => answered(&grants::delete(call, trail).await?),
        "tracegate.break_glass" => answered(&break_glass::take(call, trail).await?),
        "tracegate.principal.list" => answered(&principals::list(call).await?),
        "tracegate.principal.create" => answered(&principals::create(call, trail).await?),
        "tracegate.principal.active" => answered(&principals::set_active(call, trail).await?),
        "tracegate.group.list" => answered(&principals::groups(call).await?),
        "tracegate.group.add" => answered(&principals::add_member(call, trail).await?),
        "tracegate.group.remove" => answered(&principals::remove_member(call, trail).await?),
        "tracegate.audit.events" => answered(&audit::events(call).await?),
        "tracegate.audit.checkpoints" => answered(&checkpoints::list(call).await?),
        "tracegate.audit.seen" => answered(&audit_seen::seen(call).await?),
        "tracegate.audit.subjects" => answered(&audit_seen::traces(call).await?),
        "tracegate.audit.erase" => answered(&audit_seen::erase(call).await?),
        "tracegate.audit.addresses" => answered(&audit_review::addresses(call).await?),
        "tracegate.audit.review" => answered(&audit_review::review(call).await?),
        "tracegate.audit.export" => audit_export::export(call).await,
        "tracegate.principal.get" => answered(&principals::get(call).await?),
        "tracegate.principal.delete" => answered(&principals::delete(call, trail).await?),
        "tracegate.access_request.create" => answered(&access_requests::create(call, trail).await?),
        "tracegate.access_request.list" => answered(&access_requests::list(call).await?),
        "tracegate.access_request.get" => answered(&access_requests::get(call).await?),
        "tracegate.access_request.approve" => answered(&access_requests::approve(call, trail).await?),
        "tracegate.access_request.refuse" => answered(&access_requests::refuse(call, trail).await?),
        "tracegate.access_request.withdraw" => answered(&access_requests::withdraw(call, trail).await?),
        "tracegate.access_review.list" => answered(&access_reviews::list(call).await?),
        "tracegate.access_review.decide" => answered(&access_reviews::decide(call, trail).await?),
        "tracegate.adoption.experiments" => answered(&adoption::experiments(call).await?),
        "tracegate.adoption.traces" => answered(&adoption::traces(call).await?),
        "tracegate.adoption.runs" => answered(&adoption::runs(call).await?),
        "tracegate.adoption.held" => answered(&adoption::held(call).await?),
        "tracegate.shadow.list" => answered(&shadow::list(call).await?),
        "tracegate.shadow.start" => answered(&shadow::start(call, trail).await?),
        "tracegate.shadow.end" => answered(&shadow::end(call, trail).await?),
        "tracegate.shadow.report" => answered(&shadow::report(call).await?),
        "tracegate.key.list" => answered(&keys::list(call).await?),
        "tracegate.key.rotate" => answered(&keys::rotate(call, trail).await?),
        "tracegate.key.retire" => answered(&keys::retire(call, trail).await?),
        "tracegate.limit.list" => answered(&limits::list(call).await?),
        "tracegate.limit.set" => answered(&limits::set(call, trail).await?),
        "tracegate.limit.clear" => answered(&limits::clear(call, trail).await?),
        "tracegate.archive.list" => answered(&archives::list(call).await?),
        "tracegate.archive.get" => answered(&archives::get(call).await?),
        "tracegate.archive.set" => answered(&archives::set(call, trail).await?),
        "tracegate.archive.end" => answered(&archives::end(call, trail).await?),
        "tracegate.session.list" => answered(&sessions::list(call).await?),
        "tracegate.session.end" => answered(&sessions::end(call, trail).await?),
        "tracegate.session.end_all" => answered(&sessions::end_all(call, trail).await?),
        "tracegate.secret.list" => answered(&secrets::list(call).await?),
        "tracegate.secret.create" => answered(&secrets::create(call, trail).await?),
        "tracegate.secret.revoke" => answered(&secrets::revoke(call, trail).await?),
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// What an operation answers, as JSON.
pub(super) fn answered(value: &impl serde::Serialize) -> Result<Reply, Refusal> {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::Internal(error.to_string()))?;
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    Ok(Reply { status: 200, headers, body: Body::memory(text) })
}

/// What a call asks of the record, to be recorded with it: its query. The value of a subject, which may be
/// an end user's name, is hashed, as the record cannot be erased.
pub(super) fn question(call: &Call<'_>) -> BTreeMap<String, String> {
    const MOST: usize = 20;
    const LONGEST: usize = 300;
    if !call.operation.name.starts_with("tracegate.audit.") {
        return BTreeMap::new();
    }
    let pairs = call.head.query.pairs();
    let key = pairs.iter().find(|(key, _)| key == "key").map_or("", |(_, value)| value.as_str());
    let told = |(name, value): &(String, String)| {
        let value = match name.as_str() {
            "value" => call.app.subjects.hash(&Subject { key: key.to_owned(), value: value.clone() }),
            _ => value.chars().take(LONGEST).collect(),
        };
        (name.chars().take(LONGEST).collect(), value)
    };
    pairs.iter().take(MOST).map(told).collect()
}

/// An operation that needs no caller and is recorded all the same: signing in, asking for a token.
pub(super) struct Open<'a> {
    pub app: &'a Arc<App>,
    /// Who sent a credential along; it was good.
    pub caller: Option<&'a Caller>,
    pub operation: &'a str,
    pub head: Head,
    pub stream: BodyStream,
    pub length: Option<u64>,
}

impl Open<'_> {
    /// The body as it was sent, which is small.
    pub async fn body(&mut self) -> Result<bytes::Bytes, Refusal> {
        let too_large = || Refusal::Oversized { what: "body", limit: BODY_LIMIT, name: "own_body_bytes" };
        if self.length.is_some_and(|length| length > BODY_LIMIT) {
            return Err(too_large());
        }
        let stream = std::mem::replace(&mut self.stream, Box::pin(futures_util::stream::empty()));
        let bytes = convert::collect(stream, BODY_LIMIT).await;
        bytes.map_err(|error| Refusal::Client(error.to_string()))?.ok_or_else(too_large)
    }
}

/// What a caller with scopes may ask of Tracegate itself: who it is, and why it was refused.
pub(super) fn is_for_scoped(operation: &str) -> bool {
    // What a call of the Files API needs is decided within the scopes.
    matches!(operation, "tracegate.whoami" | "tracegate.explain" | "scim.me")
        || operation.starts_with("files.")
}

/// What may be asked of Tracegate itself on behalf of somebody: who it is and why it was refused, and what
/// policy decides of both. Never what a person gets or changes of his own by being himself.
pub(super) fn is_for_actors(operation: &Operation) -> bool {
    // What is shown of the catalog is decided for both.
    let shows_catalog = operation.name.starts_with("catalog.") && !operation.mutates;
    is_for_scoped(&operation.name) || operation.access == Access::Needs || shows_catalog
}

/// Whether an operation that needs no caller is recorded.
pub(super) fn is_open(operation: &str) -> bool {
    operation.starts_with("oauth.") || operation.starts_with("browser.")
}

pub(super) async fn open(open: Open<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match open.operation.split('.').next() {
        Some("oauth") => super::oauth::open(open, trail).await,
        Some("browser") => super::browser::open(open, trail).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// Answers an operation that needs no caller.
pub(super) async fn public(app: &Arc<App>, backend: &dyn Backend, operation: &str) -> Reply {
    match operation {
        "tracegate.live" => plain(200, &Live { status: "alive" }),
        "tracegate.ready" => ready(app, backend).await,
        "tracegate.metrics" => {
            app.metrics.policy_age(app.policy.age());
            let mut headers = Headers::new();
            headers.push("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8");
            Reply { status: 200, headers, body: Body::memory(app.metrics.encode()) }
        }
        "tracegate.openapi" => plain(200, &openapi::document(&app.manifest)),
        "tracegate.docs" => api_page::page(&openapi::document(&app.manifest)),
        _ => Refusal::UnknownEndpoint.into_reply("none", Shape::Mlflow),
    }
}

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Live {
    status: &'static str,
}

/// `ok`, or what is wrong, of each part.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Ready {
    ready: bool,
    policy: String,
    policy_version: i64,
    store: String,
    audit: String,
    mlflow: String,
}

/// Ready: a policy is loaded and fresh, our state and the backend answer, records can be written.
async fn ready(app: &App, backend: &dyn Backend) -> Reply {
    let state = |problem: Option<String>| problem.unwrap_or_else(|| "ok".to_owned());
    let policy = app.policy.view().err().map(|error| error.to_string());
    let store = app.store.ping().await.err().map(|_| "cannot be reached".to_owned());
    let audit = (!app.audit.writable()).then(|| "cannot be written".to_owned());
    let upstream = backend.ready().await.err().map(|error| error.to_string());
    let ready = [&policy, &store, &audit, &upstream].iter().all(|problem| problem.is_none());
    let body = Ready {
        ready,
        policy: state(policy),
        policy_version: app.policy.version(),
        store: state(store),
        audit: state(audit),
        mlflow: state(upstream),
    };
    plain(if ready { 200 } else { 503 }, &body)
}

/// Not ready, since the process was told to stop.
pub(super) fn stopping() -> Reply {
    plain(503, &serde_json::json!({ "ready": false, "stopping": true }))
}

fn plain(status: u16, body: &impl serde::Serialize) -> Reply {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    Reply { status, headers, body: Body::memory(body) }
}

/// The JSON object that was sent to our own API.
pub(super) async fn sent(call: &mut Call<'_>) -> Result<Map<String, Value>, Refusal> {
    sent_within(call, BODY_LIMIT, "own_body_bytes").await
}

/// As [`sent`], with a limit of its own, which is named when it is passed.
pub(super) async fn sent_within(
    call: &mut Call<'_>,
    limit: u64,
    name: &'static str,
) -> Result<Map<String, Value>, Refusal> {
    let bytes = match std::mem::replace(&mut call.body, Body::Empty) {
        Body::Empty => bytes::Bytes::new(),
        Body::Replay(replay) => replay.as_memory().cloned().unwrap_or_default(),
        Body::Stream { stream, .. } => convert::collect(stream, limit)
            .await
            .map_err(|error| Refusal::Client(error.to_string()))?
            .ok_or(Refusal::Oversized { what: "body", limit, name })?,
    };
    Ok(crate::wire::json::parse_object(&bytes)?)
}

/// The sent object as a type whose unknown and missing fields are named.
pub(super) async fn sent_as<T: serde::de::DeserializeOwned>(call: &mut Call<'_>) -> Result<T, Refusal> {
    let object = sent(call).await?;
    serde_json::from_value(Value::Object(object))
        .map_err(|error| crate::wire::Malformed::new("body", error.to_string()).into())
}

/// Demands a check in the middle of an own operation.
pub(super) fn demand(call: &Call<'_>, check: Check) -> Result<(), Refusal> {
    if call.allows(check.clone())? { Ok(()) } else { Err(call.denied(check.privilege, &check.securable)) }
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
