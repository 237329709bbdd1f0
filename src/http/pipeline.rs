//! The life of a request, in order: canonical, identify, classify, look up, authorize, audit begin,
//! forward, narrow or mask, audit complete.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use tracing::Instrument;

use super::call::Call;
use super::error::{Refusal, Shape};
use super::front::{Arrival, Pace, Shown};
use super::trail::Trail;
use super::{
    archive, browser, changes, convert, files, handle, health, limited, oauth, on_behalf, own, signed,
};
use crate::access::{Caller, Durability, Outcome, Sight};
use crate::app::{App, strangers};
use crate::backend::{Backend, BackendError, Outgoing, SpoolLimits, spool};
use crate::classify::{Access, Handling, Matched, Operation, extract};
use crate::identity::{IdentityError, without_secrets};
use crate::limits::Reservation;
use crate::policy::Requirement;
use crate::wire::{Body, BodyStream, Head, Headers, Malformed, Method, Reply, json};

/// Answers one request in a task of its own: a connection that breaks drops this future, and what was
/// begun (an experiment's first grant, a claim, a record) must be finished all the same.
pub(super) async fn serve(
    app: Arc<App>,
    backend: Rc<dyn Backend>,
    arrival: Rc<Arrival>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let (shared, kept, arrived) = (Arc::clone(&app), request.clone(), Rc::clone(&arrival));
    let work =
        actix_web::rt::spawn(async move { answer(&shared, &*backend, &arrived, request, payload).await });
    let response = match work.await {
        Ok(response) => response,
        Err(error) => panicked(&app, &arrival, &kept, &error.to_string()).await,
    };
    arrival.finish(response, kept.path())
}

/// What is answered to a request of which nobody knows where it came from; none is.
pub(super) fn without_connection() -> HttpResponse {
    let refusal = Refusal::Internal("a request came without its connection".to_owned());
    convert::response(refusal.into_reply("none", Shape::Mlflow))
}

/// A panic is one request's 500, recorded.
async fn panicked(app: &Arc<App>, arrival: &Arrival, request: &HttpRequest, detail: &str) -> HttpResponse {
    let trail = Trail::new(app, convert::context(request, arrival));
    let (decision_id, version) = (trail.decision_id().to_owned(), trail.policy_version());
    let refusal = Refusal::Internal(detail.to_owned());
    let recorded = trail.refuse(&refusal.to_string(), refusal.outcome(), refusal.status()).await;
    let refusal = recorded.map_or_else(Refusal::from, |()| refusal);
    decorated(refusal.into_reply(&decision_id, Shape::Mlflow), &decision_id, version)
}

/// Answers one request. Whatever happens inside, the answer has the clients' error shape, the decision
/// headers, and a record.
async fn answer(
    app: &Arc<App>,
    backend: &dyn Backend,
    arrival: &Arrival,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let context = convert::context(&request, arrival);
    let span = tracing::info_span!(
        "request",
        method = context.method,
        path = context.path,
        operation = tracing::field::Empty,
        status = tracing::field::Empty
    );
    crate::telemetry::take_parent(&span, context.trace_parent.as_deref());
    let work = async {
        let mut trail = Trail::new(app, context);
        let decision_id = trail.decision_id().to_owned();
        let outcome = run(app, backend, arrival, &request, payload, &mut trail).await;
        let (version, shape) = (trail.policy_version(), Shape::of(trail.operation_name()));
        let reply = match outcome {
            Ok(Answer::Unrecorded(reply)) => reply,
            Ok(Answer::Recorded(mut reply)) => {
                if trail.is_shadowed() {
                    reply.headers.set("x-tracegate-shadow", "lacks-privileges");
                }
                match trail.complete(reply).await {
                    Ok(reply) => reply,
                    Err(error) => Refusal::from(error).into_reply(&decision_id, shape),
                }
            }
            Err(refusal) => {
                let refusal = match refusal {
                    // What shadow mode does not let pass, credentials may: they are what is missing first.
                    Refusal::Denied(_) | Refusal::NotFound(_) if trail.is_anonymous() => no_credentials(),
                    refusal => refusal,
                };
                let reason = refusal.to_string();
                let reason = without_secrets(&reason);
                tracing::info!(decision_id, status = refusal.status(), %reason, "refused");
                if refusal.outcome() == Outcome::Refused {
                    trail.refused();
                }
                let unknown = matches!(refusal, Refusal::Unauthenticated(_));
                match record_refusal(app, trail, &refusal).await {
                    Ok(()) => {
                        let reply = refusal.into_reply(&decision_id, shape);
                        if unknown { browser::for_browsers(app, &request, reply) } else { reply }
                    }
                    Err(error) => Refusal::from(error).into_reply(&decision_id, shape),
                }
            }
        };
        tracing::Span::current().record("status", reply.status);
        let mut response = decorated(reply, &decision_id, version);
        if request.path().trim_end_matches('/') == "/v1/traces" {
            explain_to_exporter(&mut response);
        }
        response
    };
    work.instrument(span).await
}

/// One record for each refusal, but for a flood of them from callers that nobody knows: they are counted.
async fn record_refusal(app: &App, trail: Trail, refusal: &Refusal) -> Result<(), crate::access::AuditError> {
    let status = refusal.status();
    let kind = strangers::Kind { status, outcome: refusal.outcome() };
    if trail.is_of_a_stranger() && !app.strangers.admit(trail.source_address(), kind, app.clock.now()) {
        trail.only_count(status);
        return Ok(());
    }
    trail.refuse(&refusal.to_string(), refusal.outcome(), status).await
}

/// What `run` leaves to be recorded.
enum Answer {
    Recorded(Reply),
    /// Liveness, readiness and metrics: asked for every second, touching nothing.
    Unrecorded(Reply),
}

async fn run(
    app: &Arc<App>,
    backend: &dyn Backend,
    arrival: &Arrival,
    request: &HttpRequest,
    payload: web::Payload,
    trail: &mut Trail,
) -> Result<Answer, Refusal> {
    let limit = u64::from(app.config.server.header_bytes);
    if convert::head_bytes(request) > limit {
        return Err(Refusal::HeadTooLarge { limit });
    }
    if let Some(limit) = arrival.is_one_too_many() {
        return Err(Refusal::one_too_many("this address", limit, "max_connections_per_address"));
    }
    // Canonical: one reading, or a 400.
    let mut head = convert::head(request)?.ok_or(Refusal::UnknownEndpoint)?;
    trail.path(&head.path.to_encoded());
    let classified = app.manifest.classify(head.method, &head.path);
    let reads_credentials =
        matches!(&classified, Ok(Some(matched)) if oauth::reads_credentials(&matched.operation.name));
    // Identify: a credential that is bad stops the call, even where none is needed.
    let identified = match signed::caller(app, &head).await? {
        Some(caller) => Ok(Some(caller)),
        // What is sent there is no caller's: a client's id and secret.
        None if reads_credentials => Ok(None),
        // What the request itself says decides alone; the connection's certificate is for those who say nothing.
        None if head.headers.get("authorization").is_some() => {
            app.identity.identify_from(&head.headers, trail.source_address()).await
        }
        None => match arrival.shown() {
            Shown::Certificate(certificate) if app.identity.knows_certificates() => {
                app.identity.identify_certificate(certificate).await.map(Some)
            }
            Shown::Untrusted => {
                return Err(Refusal::Unauthenticated(
                    "the client certificate's authority is no longer trusted".to_owned(),
                ));
            }
            // Without rules it opens the connection and names nobody; a browser's cookie still does.
            Shown::Certificate(_) | Shown::Nothing => {
                app.identity.identify_from(&head.headers, trail.source_address()).await
            }
        },
    };
    let caller = match identified {
        Ok(caller) => caller,
        Err(IdentityError::Refused { .. }) if browser::starts_over(&head) => None,
        Err(error) => {
            if let Some(known) = app.identity.claimed(&head.headers).await {
                trail.claimed(&known);
            }
            return Err(error.into());
        }
    };
    if let Some(caller) = &caller {
        trail.caller(caller);
        let who = &caller.actor.as_deref().unwrap_or(caller).principal;
        arrival
            .take_place(who)
            .map_err(|limit| Refusal::one_too_many(&who.to_string(), limit, "max_calls_per_principal"))?;
    }
    if let Some(wanted) = head.headers.one("x-tracegate-minimum-policy-version")? {
        let refuse = |_| Malformed::new("header `x-tracegate-minimum-policy-version`", "must be a number");
        app.at_least(wanted.parse().map_err(refuse)?).await?;
    }
    // Classify: unknown means deny.
    let matched = classified?.ok_or(Refusal::UnknownEndpoint)?;
    let operation = matched.operation;
    trail.operation(&operation.name);
    let caller = on_behalf::acting(app, &head.headers, caller).await?;
    if let Some(caller) = &caller {
        trail.caller(caller);
    }
    tracing::Span::current().record("operation", &operation.name);
    let (stream, length) = convert::body(request, payload, arrival, Pace::new(&app.config.server));
    if operation.template.len() > 1 && operation.template.ends_with('/') {
        head.path.end_with_slash();
    }
    trail.sees(match (operation.mutates, head.method) {
        (true, _) => Sight::Wrote,
        // Without a body, but that it is there and how long.
        (false, Method::Head) => Sight::Listed,
        (false, _) => Sight::Read,
    });
    if head.method == Method::Head && handle::reads_the_answer(operation.handling) {
        // What is read and changed must be there; the server sends the head of the outcome alone.
        head.method = Method::Get;
    }
    // Reads are recorded after they were forwarded: without a record nothing is asked of the backend.
    if operation.handling != Handling::Own && !app.audit.writable() {
        return Err(Refusal::Audit);
    }
    if operation.access == Access::Public {
        if operation.handling == Handling::Own && own::is_open(&operation.name) {
            let (decision, _) = app.policy.view()?.authorize(None, &Requirement::Public)?;
            trail.decision(&decision);
            let caller = caller.as_ref();
            let open = own::Open { app, caller, operation: &operation.name, head, stream, length };
            let reply = own::open(open, trail).await?;
            // A page that asks somebody to sign in or out tells and changes nothing, and anybody can ask for
            // it as fast as he likes.
            let tells = operation.mutates || !trail.is_of_a_stranger();
            return Ok(if tells { Answer::Recorded(reply) } else { Answer::Unrecorded(reply) });
        }
        return public(app, backend, head, &matched, trail).await;
    }
    let caller = match caller {
        None if passes_in_shadow(app, operation)? => {
            let nobody = Caller::anonymous();
            trail.caller(&nobody);
            Some(nobody)
        }
        caller => caller,
    };
    let Some(caller) = &caller else {
        return Err(no_credentials());
    };
    if operation.access == Access::Refused {
        return Err(Refusal::NotOffered(format!(
            "`{}` hands out URLs of the store, which would go round access control; \
             use the artifact proxy instead",
            operation.name
        )));
    }
    if caller.is_scoped() && operation.handling == Handling::Own && !own::is_for_scoped(&operation.name) {
        // A token for less must not make one for more.
        return Err(Refusal::Denied(format!(
            "this token is for some privileges alone, and `{}` is not among them; use one without scopes",
            operation.name
        )));
    }
    if caller.actor.is_some() && operation.handling == Handling::Own && !own::is_for_actors(operation) {
        // What a person gets for himself alone, such as a token, would outlive what the actor may do.
        return Err(Refusal::Denied(format!(
            "`{}` cannot be done on behalf of somebody else",
            operation.name
        )));
    }
    refuse_other_workspaces(&head.headers)?;
    refuse_other_sites(app, &head)?;
    browser::prove_own_page(app, caller, &head, operation.mutates).await?;
    if let Some(entered) = app.enroll(&app.policy.view()?, caller).await? {
        changes::settle(app, trail, entered).await?;
    }
    // What has a path of the Files API reads it by itself.
    let by_path = !operation.name.starts_with("files.");
    for key in ["path", "artifact_path", "artifact_file_path", "artifact_directory_path"] {
        if by_path && let Some(path) = head.query.one(key)? {
            crate::app::roots::segments(path)?;
        }
    }
    let (body, object) = read_body(app, &matched, &head, stream, length, trail).await?;
    // Look up: every thing named, resolved to securables.
    let named = extract(&matched, &head, object.as_ref())?;
    if let Some(parent) = crate::telemetry::outgoing_traceparent(&tracing::Span::current()) {
        head.headers.set("traceparent", &parent);
    }
    let mut call = Call::new(app, backend, caller, &matched, head, (body, object));
    trail.question(own::question(&call));
    for named in &named {
        call.resolve(named).await?;
    }
    let mut after = handle::prepare(&mut call).await?;
    files::payload::demand_volumes(&mut call).await?;
    trail.traces(&call.trace_ids);
    if call.reads_back {
        trail.sees(Sight::Read);
    }
    // Authorize: everything demanded, at one policy version.
    let (_, permit) = call.authorize(trail)?;
    if operation.handling == Handling::Own {
        trail.begin(if operation.mutates { Durability::Synced } else { Durability::Written }).await?;
        let marked = archive::mark(&call).await?;
        let answered = own::answer(&mut call, trail).await;
        archive::unmark(&call, marked).await;
        return Ok(Answer::Recorded(answered?));
    }
    limited::count(&call).await?;
    let claimed = handle::claim(&mut call, &mut after, trail).await?;
    // Audit begin, forward, and release nothing of a read before its record is written.
    if operation.mutates {
        trail.begin(Durability::Synced).await?;
    }
    let marked = archive::mark(&call).await?;
    let reply = match files::payload::from_volume(&mut call).await? {
        Some(reply) => reply,
        None => {
            let reply = call.forward(permit).await?;
            files::payload::if_absent(&mut call, reply).await?
        }
    };
    if (400..500).contains(&reply.status) {
        call.reserved.drain(..).for_each(Reservation::cancel);
        handle::unclaim(&call, claimed).await?;
    }
    if reply.status < 300 {
        handle::made_room(&call);
        for (trace, key, value) in &call.marks {
            app.subjects.learn(trace, [(key.as_str(), value.as_str())]);
        }
    }
    let released = handle::finish(after, &mut call, trail, reply).await?;
    archive::unmark(&call, marked).await;
    let mut released = files::in_the_clients_words(&call, released).await?;
    trail.shadowed(call.widened());
    if !operation.mutates {
        trail.answered(released.status);
        released.body = whole_if_small(released.body).await?;
        // What is whole is recorded once, before it is released; what streams is recorded twice.
        if matches!(released.body, Body::Stream { .. }) || trail.has_many_traces() {
            trail.begin(Durability::Written).await?;
        }
    }
    Ok(Answer::Recorded(released))
}

/// Answers up to this size are read whole before they are released, in bytes.
const SMALL: u64 = 64 * 1024;

/// A small answer in memory: one record tells all of it, and one that is cut off is no answer at all.
async fn whole_if_small(body: Body) -> Result<Body, Refusal> {
    match body {
        Body::Stream { stream, length: Some(length) } if length <= SMALL => {
            let bytes = convert::collect(stream, SMALL).await.map_err(|_| BackendError::BrokenOff)?;
            Ok(Body::memory(bytes.ok_or(BackendError::BrokenOff)?))
        }
        other => Ok(other),
    }
}

fn no_credentials() -> Refusal {
    Refusal::Unauthenticated(
        "no credentials were sent; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
         MLFLOW_TRACKING_TOKEN, or an `Authorization` header on the exporter"
            .to_owned(),
    )
}

/// Whether a caller without credentials goes on, to what shadow mode lets pass and nothing else.
fn passes_in_shadow(app: &App, operation: &Operation) -> Result<bool, Refusal> {
    Ok(app.config.policy.shadow_anonymous
        && operation.handling != Handling::Own
        && app.policy.view()?.has_shadow())
}

/// The few operations that need no caller.
async fn public(
    app: &Arc<App>,
    backend: &dyn Backend,
    head: Head,
    matched: &Matched<'_>,
    trail: &mut Trail,
) -> Result<Answer, Refusal> {
    if matched.operation.handling == Handling::Own {
        if health::answers_alone(app, &matched.operation.name) {
            return Err(Refusal::UnknownEndpoint);
        }
        return Ok(Answer::Unrecorded(own::public(app, backend, &matched.operation.name).await));
    }
    let (decision, permit) = app.policy.view()?.authorize(None, &Requirement::Public)?;
    trail.decision(&decision);
    let permit = permit.ok_or_else(|| Refusal::Denied("nothing is public here".to_owned()))?;
    let outgoing = Outgoing {
        operation: matched.operation.name.clone(),
        params: matched.params.clone(),
        head,
        json: None,
        body: Body::Empty,
    };
    let reply = backend.forward(permit, outgoing).await?;
    let reply = match matched.operation.handling {
        Handling::ServerInfo => handle::server_info(app, reply).await?,
        _ => reply,
    };
    Ok(Answer::Recorded(reply))
}

/// Reads as much of the body as classification needs: JSON into memory, OTLP into memory or a file;
/// anything else streams through.
async fn read_body(
    app: &Arc<App>,
    matched: &Matched<'_>,
    head: &Head,
    stream: BodyStream,
    length: Option<u64>,
    trail: &mut Trail,
) -> Result<(Body, Option<serde_json::Map<String, serde_json::Value>>), Refusal> {
    let limits = &app.config.limits;
    let too_large = |limit, key| Refusal::TooLarge { what: "body", limit, key };
    if matched.operation.handling == Handling::Otlp {
        let limit = limits.otlp_body_bytes;
        if length.is_some_and(|length| length > limit) {
            return Err(too_large(limit, "otlp_body_bytes"));
        }
        let directory = app.config.server.data_dir.clone();
        let spool_limits = SpoolLimits { memory_bytes: limits.spill_bytes, max_bytes: limit, directory };
        let body = spool(stream, spool_limits).await?;
        trail.bytes_in(body.len());
        return Ok((Body::Replay(body), None));
    }
    if matched.operation.json_body {
        if head.headers.one("content-encoding")?.is_some_and(|encoding| encoding != "identity") {
            return Err(Malformed::new("header `content-encoding`", "is not supported here").into());
        }
        let limit = limits.json_body_bytes;
        if length.is_some_and(|length| length > limit) {
            return Err(too_large(limit, "json_body_bytes"));
        }
        let bytes = convert::collect(stream, limit)
            .await
            .map_err(|error| Refusal::of_client(&error))?
            .ok_or_else(|| too_large(limit, "json_body_bytes"))?;
        trail.bytes_in(bytes.len() as u64);
        let object = json::parse_object(&bytes)?;
        return Ok((Body::memory(bytes), Some(object)));
    }
    let empty = length == Some(0);
    if head.method == Method::Delete {
        // Its ids are in the path and the query; a body could only name others.
        return Ok((Body::Empty, None));
    }
    if head.method.is_read() && !empty {
        return Err(Malformed::new("body", format!("is not read by {} here", head.method)).into());
    }
    trail.bytes_in(length.unwrap_or(0));
    Ok((if empty { Body::Empty } else { Body::Stream { stream, length } }, None))
}

fn refuse_other_workspaces(headers: &Headers) -> Result<(), Refusal> {
    match headers.one("x-mlflow-workspace")? {
        None | Some("" | "default") => Ok(()),
        Some(_) => {
            Err(Malformed::new("header `x-mlflow-workspace`", "only the workspace `default` is served")
                .into())
        }
    }
}

/// A browser sends Basic credentials along with whatever page asks it to. Pages of other sites get
/// nothing done, and as the upstream never sees `Origin`, that is for us to see to.
fn refuse_other_sites(app: &App, head: &Head) -> Result<(), Refusal> {
    let refuse = || Refusal::Denied("the request comes from a page of another site".to_owned());
    if matches!(head.headers.get("sec-fetch-site"), Some("cross-site" | "same-site"))
        && !head.method.is_read()
    {
        return Err(refuse());
    }
    let Some(origin) = head.headers.one("origin")? else { return Ok(()) };
    let authority = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let public = app.config.server.public_url.as_deref().map(authority);
    let own = [head.headers.one("host")?.map(str::to_owned), public];
    if own.contains(&Some(authority(origin))) { Ok(()) } else { Err(refuse()) }
}

/// OpenTelemetry exporters log the reason phrase and not the body: it says what is missing.
fn explain_to_exporter(response: &mut HttpResponse) {
    let reason = match response.status().as_u16() {
        401 => "Unauthorized: set an `Authorization` header on the exporter (Basic or Bearer, with a token)",
        403 => "Forbidden: `trace.write` on the experiment or trace is missing",
        429 => "Too Many Requests: the experiment's limit on traces or on requests per second is reached",
        _ => return,
    };
    response.head_mut().reason = Some(reason);
}

fn decorated(mut reply: Reply, decision_id: &str, version: i64) -> HttpResponse {
    reply.headers.set("x-tracegate-decision-id", decision_id);
    reply.headers.set("x-tracegate-policy-version", &version.to_string());
    reply.headers.set("x-content-type-options", "nosniff");
    convert::response(reply)
}
