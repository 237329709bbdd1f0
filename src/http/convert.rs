//! Between actix-web's types and ours.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::access::RequestContext;
use crate::identity::without_secrets;
use crate::wire::{
    Body, BodyStream, CanonicalPath, Head, Headers, Malformed, MemoryOrFile, Method, Query, Reply,
};

/// What the audit record says of a request, readable or not.
pub(super) fn context(request: &HttpRequest) -> RequestContext {
    let header = |name: &str| {
        let value = request.headers().get(name)?.to_str().ok()?;
        Some(value.chars().take(300).collect::<String>())
    };
    RequestContext {
        source_address: request.peer_addr().map(|address| address.ip().to_string()),
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

/// A request's body as our stream.
pub(super) fn body(request: &HttpRequest, payload: web::Payload) -> (BodyStream, Option<u64>) {
    let length = request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let has_body = length.is_some() || request.headers().contains_key("transfer-encoding");
    let stream = payload.map(|chunk| chunk.map_err(|error| std::io::Error::other(error.to_string())));
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
