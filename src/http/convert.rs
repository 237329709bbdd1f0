//! Between actix-web's types and ours.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::StreamExt;

use super::front::{Arrival, Pace};
use crate::access::RequestContext;
use crate::identity::without_secrets;
use crate::wire::{
    Body, BodyStream, CanonicalPath, Head, Headers, Malformed, MemoryOrFile, Method, Query, Reply,
};

/// What the audit record says of a request, readable or not.
pub(super) fn context(request: &HttpRequest, arrival: &Arrival) -> RequestContext {
    let header = |name: &str| {
        let value = request.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(300).collect::<String>())
    };
    RequestContext {
        source_address: Some(arrival.address().to_string()),
        user_agent: header("user-agent"),
        request_id: header("x-request-id").unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        trace_parent: header("traceparent"),
        method: request.method().as_str().chars().take(20).collect(),
        // Somebody may have put a token where an id belongs.
        path: without_secrets(request.uri().path()).chars().filter(|c| !c.is_control()).take(500).collect(),
    }
}

/// The one reading of a request's line and headers.
pub(super) fn head(request: &HttpRequest) -> Result<Option<Head>, Malformed> {
    let headers = headers(request)?;
    // Whose site we are must have one answer, for whoever reads it later.
    headers.one("host")?;
    let uri = request.uri();
    if uri.authority().is_some() && request.method() == actix_web::http::Method::CONNECT {
        return Err(Malformed::new("request target", "must be a path"));
    }
    let path = CanonicalPath::parse(uri.path())?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let Some(method) = Method::parse(request.method().as_str()) else { return Ok(None) };
    Ok(Some(Head { method, path, query, headers }))
}

fn headers(request: &HttpRequest) -> Result<Headers, Malformed> {
    let mut headers = Headers::new();
    for (name, value) in request.headers() {
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Malformed::new(format!("header `{name}`"), "must be UTF-8"))?;
        headers.push(name.as_str(), text);
    }
    Ok(headers)
}

/// How large the head of a request is, as it came: names and values, and a little for each header.
pub(super) fn head_bytes(request: &HttpRequest) -> u64 {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    (headers.sum::<usize>() + target) as u64
}

/// A request's body as our stream. It ends with an error of the kind `TimedOut` if the client sends too slowly.
pub(super) fn body(
    request: &HttpRequest,
    payload: web::Payload,
    arrival: &Arrival,
    pace: Pace,
) -> (BodyStream, Option<u64>) {
    let length = request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let has_body = arrival
        .has_body()
        .unwrap_or_else(|| length.is_some() || request.headers().contains_key("transfer-encoding"));
    let stream = futures_util::stream::unfold(Some((payload, pace)), |state| async move {
        let (mut payload, mut pace) = state?;
        let too_slow = || std::io::Error::new(std::io::ErrorKind::TimedOut, "the client sends too slowly");
        let until = pace.waits(Instant::now());
        match tokio::time::timeout_at(until.into(), payload.next()).await {
            Ok(Some(Ok(piece))) if pace.moved(Instant::now(), piece.len() as u64) => {
                Some((Ok(piece), Some((payload, pace))))
            }
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error.to_string())), None)),
            Ok(None) => None,
            Ok(Some(Ok(_))) | Err(_) => Some((Err(too_slow()), None)),
        }
    });
    (Box::pin(stream), if has_body { length } else { Some(0) })
}

/// Our reply as actix-web's response.
pub(super) fn response(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut builder = HttpResponseBuilder::new(status);
    for (name, value) in reply.headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value))
            && name != "content-length"
        {
            builder.append_header((name, value));
        }
    }
    match reply.body {
        Body::Empty => builder.finish(),
        Body::Replay(body) => match body.0 {
            MemoryOrFile::Memory(bytes) => builder.body(bytes),
            MemoryOrFile::File { .. } => HttpResponse::InternalServerError().finish(),
        },
        Body::Stream { stream, length: Some(length) } => {
            builder.body(actix_web::body::SizedStream::new(length, stream))
        }
        Body::Stream { stream, length: None } => builder.body(actix_web::body::BodyStream::new(stream)),
    }
}

/// Reads a stream that must stay small into memory.
pub(super) async fn collect(mut stream: BodyStream, limit: u64) -> Result<Option<Bytes>, std::io::Error> {
    let mut collected = bytes::BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if (collected.len() + chunk.len()) as u64 > limit {
            return Ok(None);
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(Some(collected.freeze()))
}
