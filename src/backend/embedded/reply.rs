//! Answers of the store.

use serde::Serialize;

use super::problem::Problem;
use crate::wire::{Body, Headers, Reply};

/// 200 with a JSON body.
pub fn json(value: &impl Serialize) -> Result<Reply, Problem> {
    Ok(json_text(serde_json::to_vec(value).map_err(Problem::internal)?))
}

/// 200 with a body that is JSON already.
pub fn json_text(text: impl Into<bytes::Bytes>) -> Reply {
    with_body(200, "application/json", text)
}

/// 200 with `{}`.
pub fn empty_object() -> Reply {
    json_text("{}")
}

pub fn json_with_status(status: u16, value: &serde_json::Value) -> Reply {
    with_body(status, "application/json", value.to_string())
}

pub fn with_body(status: u16, content_type: &str, body: impl Into<bytes::Bytes>) -> Reply {
    let mut headers = Headers::default();
    headers.set("content-type", content_type);
    Reply { status, headers, body: Body::memory(body) }
}

/// The answer to HEAD: what GET would answer, without its body. The length is that of the body that is not
/// sent.
pub fn without_body(reply: Reply) -> Reply {
    let length = reply.body.length();
    let body = Body::Stream { stream: Box::pin(futures_util::stream::empty()), length };
    Reply { body, ..reply }
}
