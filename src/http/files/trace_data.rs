//! The spans of a trace as one file, `traces.json`, as Databricks' clients send and fetch them. What is sent becomes an
//! export of spans, so that it is found and shown by every other door; what is fetched is made of the spans.

use super::super::call::Call;
use super::super::convert;
use super::super::error::Refusal;
use super::super::handle;
use super::super::limited;
use super::super::trail::Trail;
use super::{absent, done, query, spans};
use crate::access::TraceId;
use crate::backend::{BackendError, Outgoing};
use crate::wire::{Body, CanonicalPath, Head, Headers, Method, Query, Reply};

/// The largest file that is taken, in bytes: it is read as a whole.
const LARGEST: u64 = 128 * 1024 * 1024;

pub(super) async fn put(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let trace = TraceId::parse(call.param("request_id"))?;
    let claim = call.app.owners.of_trace(call.app, call.backend, &trace).await?;
    let claim = claim.ok_or_else(|| absent(&format!("trace {trace}")))?;
    limited::count(call).await?;
    let limit = LARGEST.min(call.app.config.limits.otlp_body_bytes);
    let too_large = || Refusal::TooLarge { what: "body", limit, key: "otlp_body_bytes" };
    let Body::Stream { stream, length } = std::mem::replace(&mut call.body, Body::Empty) else {
        return Err(crate::wire::Malformed::new("body", "is missing").into());
    };
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let bytes = convert::collect(stream, limit).await.map_err(|error| Refusal::of_client(&error))?;
    let bytes = bytes.ok_or_else(too_large)?;
    trail.bytes_in(bytes.len() as u64);
    let (own, most) = (trace.clone(), call.app.config.limits.otlp_spans);
    let read = tokio::task::spawn_blocking(move || spans::export(&bytes, &own, most)).await;
    let export = read.map_err(|error| Refusal::Internal(error.to_string()))??;
    let Some(export) = export else { return Ok(done(200)) };
    let mut headers = Headers::new();
    headers.set("content-type", "application/json");
    headers.set("x-mlflow-experiment-id", claim.experiment.as_str());
    headers.set("content-length", &export.len().to_string());
    let head = Head {
        method: Method::Post,
        path: CanonicalPath::parse("/v1/traces")?,
        query: Query::parse("")?,
        headers,
    };
    handle::refuse_reserved_spans(call, &export, &trace)?;
    let permit = call.permit_again()?;
    let outgoing = Outgoing {
        operation: "otlp.export".to_owned(),
        params: Vec::new(),
        head,
        json: None,
        body: Body::memory(export),
    };
    let reply = call.backend.forward(permit, outgoing).await?;
    match reply.status {
        200..300 => Ok(done(200)),
        400..500 => Ok(reply),
        status => {
            tracing::warn!(status, "the backend did not take the spans of a trace");
            Err(BackendError::BrokenOff.into())
        }
    }
}

pub(super) async fn get(call: &mut Call<'_>) -> Result<Reply, Refusal> {
    let trace = TraceId::parse(call.param("request_id"))?;
    limited::count(call).await?;
    let mut headers = call.head.headers.clone();
    headers.remove("range");
    let head = Head {
        method: Method::Get,
        path: CanonicalPath::parse("/ajax-api/3.0/mlflow/get-trace-artifact")?,
        query: query(&[("request_id", trace.as_str())])?,
        headers,
    };
    let permit = call.permit_again()?;
    let outgoing = Outgoing {
        operation: "trace.artifact".to_owned(),
        params: Vec::new(),
        head,
        json: None,
        body: Body::Empty,
    };
    Ok(call.backend.forward(permit, outgoing).await?)
}
