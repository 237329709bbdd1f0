//! Reads a trace in its archive's name, by the same way as any call: what it may not read is not archived.

use std::sync::Arc;

use serde_json::Value;

use super::row::Trace;
use crate::access::Caller;
use crate::app::App;
use crate::backend::{Backend, BackendError};
use crate::classify::extract;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::http::{convert, files};
use crate::wire::{Body, CanonicalPath, Head, Headers, Method, Query, Reply};

/// The largest trace that is archived, in bytes of JSON.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What became of a trace that was looked for.
pub(super) enum Found {
    Trace(Trace),
    /// It is not there any more.
    Gone,
    /// It is too large.
    TooLarge,
}

pub(super) struct Reader<'a> {
    pub app: &'a Arc<App>,
    pub backend: &'a dyn Backend,
    pub caller: &'a Caller,
}

impl Reader<'_> {
    pub async fn trace(&self, trace: &str, trail: &mut Trail) -> Result<Found, Refusal> {
        let whole = [("trace_id", trace), ("allow_partial", "true")];
        let reply = self.get("/api/3.0/mlflow/traces/get", &whole, trail).await?;
        let missing = reply.status == 404;
        if reply.status == 200 {
            let Some(answer) = whole_json(reply.body).await? else { return Ok(Found::TooLarge) };
            return Ok(Trace::of_answer(&answer).map_or(Found::Gone, Found::Trace));
        }
        // Its spans are kept as an artifact, or it is not there.
        let path = format!("/api/3.0/mlflow/traces/{trace}");
        let reply = self.get(&path, &[], trail).await?;
        match reply.status {
            200 => {}
            404 => return Ok(Found::Gone),
            status => return Err(failed(status, trace)),
        }
        let Some(answer) = whole_json(reply.body).await? else { return Ok(Found::TooLarge) };
        let Some(mut found) = Trace::of_answer(&answer) else { return Ok(Found::Gone) };
        if missing {
            // Known by its head alone.
            return Ok(Found::Trace(found));
        }
        let asked = [("request_id", trace)];
        let reply = self.get("/ajax-api/3.0/mlflow/get-trace-artifact", &asked, trail).await?;
        match reply.status {
            200 => {
                let Some(artifact) = whole_json(reply.body).await? else { return Ok(Found::TooLarge) };
                let spans = artifact.get("spans").and_then(Value::as_array).cloned();
                found.spans = spans.unwrap_or_default();
            }
            // Not written yet: that write will mark it again.
            400 | 404 => {}
            // What MLflow says of an artifact that is not there.
            500 if !self.app.backend.is_own() => {}
            status => return Err(failed(status, trace)),
        }
        Ok(Found::Trace(found))
    }

    /// One call, decided like those that come from outside.
    async fn get(&self, path: &str, query: &[(&str, &str)], trail: &mut Trail) -> Result<Reply, Refusal> {
        let path = CanonicalPath::parse(path)?;
        let matched = self.app.manifest.classify(Method::Get, &path)?.ok_or(Refusal::UnknownEndpoint)?;
        let mut text = String::new();
        for (name, value) in query {
            let sign = if text.is_empty() { "" } else { "&" };
            text.push_str(&format!("{sign}{name}={value}"));
        }
        let head = Head { method: Method::Get, path, query: Query::parse(&text)?, headers: Headers::new() };
        let named = extract(&matched, &head, None)?;
        let mut call = Call::without_body(self.app, self.backend, self.caller, &matched, head);
        for named in &named {
            call.resolve(named).await?;
        }
        files::payload::demand_volumes(&mut call).await?;
        let (_, permit) = call.authorize(trail)?;
        match files::payload::from_volume(&mut call).await? {
            Some(reply) => Ok(reply),
            None => {
                let reply = call.forward(permit).await?;
                files::payload::if_absent(&mut call, reply).await
            }
        }
    }
}

fn failed(status: u16, trace: &str) -> Refusal {
    Refusal::Internal(format!("the store answered {status} when trace `{trace}` was read"))
}

/// A body as JSON, null if it is none: a client may have kept anything as its spans. None if it is too large.
async fn whole_json(body: Body) -> Result<Option<Value>, Refusal> {
    let bytes = match body {
        Body::Empty => bytes::Bytes::new(),
        Body::Replay(replay) => replay.as_memory().cloned().unwrap_or_default(),
        Body::Stream { stream, .. } => {
            let read = convert::collect(stream, LARGEST).await;
            match read.map_err(|_| BackendError::BrokenOff)? {
                Some(bytes) => bytes,
                None => return Ok(None),
            }
        }
    };
    Ok(Some(serde_json::from_slice(&bytes).unwrap_or_default()))
}
