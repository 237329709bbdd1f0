//! The Files API as Databricks' clients call it: files of volumes under the volume's privileges, and the artifacts and
//! spans of experiments under the experiment's, by the paths and signed URLs that those clients use.
//!
//! What a path names is read once ([`place`]); the privilege is decided before any of the body is read, and again
//! whenever a URL that was handed out is used.

mod artifacts;
mod credentials;
mod locations;
mod parts;
pub(super) mod payload;
mod place;
mod spans;
mod trace_data;
mod volume;

use serde_json::{Value, json};

pub(super) use self::locations::in_the_clients_words;
pub(super) use self::place::{Place, demand, demand_volume};
use super::call::Call;
use super::error::{CatalogFault, Refusal};
use super::handle::multipart::origin;
use super::trail::Trail;
use super::{pages, signed};
use crate::objects::{Existing, ObjectsError, ObjectsFault};
use crate::wire::{Body, Headers, Malformed, Method, Query, Reply};

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let name = call.operation.name.clone();
    let verb = name.strip_prefix("files.").unwrap_or_default();
    match verb {
        "trace_url_upload" | "trace_url_download" | "run_url_write" | "run_url_read" | "model_url_write"
        | "model_url_read" => return credentials::answer(call, trail, verb).await,
        "trace_put" => return trace_data::put(call, trail).await,
        "trace_get" => return trace_data::get(call).await,
        _ => {}
    }
    let place = call.place.take().ok_or(Refusal::UnknownEndpoint)?;
    match &place {
        Place::Volume { .. } => volume::answer(call, trail, verb, &place).await,
        Place::Artifact { path } => artifacts::answer(call, trail, verb, path).await,
        Place::Elsewhere => Err(Refusal::NotOffered(
            "the artifacts of this experiment lie in a store that is not reached by this path".to_owned(),
        )),
    }
}

impl From<ObjectsError> for Refusal {
    fn from(error: ObjectsError) -> Self {
        let refused = |fault, code| Self::Catalog { fault, code, message: error.message.clone() };
        match error.fault {
            ObjectsFault::Path => Malformed::new("path", error.message.clone()).into(),
            ObjectsFault::BrokenOff => Self::Client(error.message),
            ObjectsFault::Exists => refused(CatalogFault::Taken, "ALREADY_EXISTS"),
            ObjectsFault::NotEmpty => refused(CatalogFault::Refused, "DIRECTORY_IS_NOT_EMPTY"),
            ObjectsFault::Unavailable => Self::Backend(crate::backend::BackendError::Store),
            ObjectsFault::NotOffered => Self::NotOffered(error.message),
            ObjectsFault::Internal => Self::Internal(error.message),
        }
    }
}

/// What lies nowhere; said to those alone who may read there.
fn absent(what: &str) -> Refusal {
    Refusal::Catalog {
        fault: CatalogFault::Missing,
        code: "NOT_FOUND",
        message: format!("`{what}` does not exist"),
    }
}

fn done(status: u16) -> Reply {
    Reply { status, headers: Headers::new(), body: Body::Empty }
}

/// Whether a file that is there may be replaced.
fn existing(call: &Call<'_>) -> Result<Existing, Refusal> {
    match call.head.query.one("overwrite")? {
        None | Some("" | "false" | "False") => Ok(Existing::Keep),
        Some("true" | "True") => Ok(Existing::Replace),
        Some(_) => Err(Malformed::new("query parameter `overwrite`", "must be `true` or `false`").into()),
    }
}

/// A URL of ours with what must be sent along, for one request of this caller.
struct SignedUrl {
    url: String,
    headers: Value,
}

impl SignedUrl {
    fn new(call: &Call<'_>, method: Method, path: &str, query: &Query, until: i64) -> Result<Self, Refusal> {
        let path = encoded(path)?;
        let query = query.to_encoded();
        let separator = if query.is_empty() { "" } else { "?" };
        let target = format!("{path}{separator}{query}");
        let signature = signed::sign_until(call.app, call.caller, method, &target, until)?;
        Ok(Self {
            url: format!("{}{target}", origin(call)?),
            headers: json!([{ "name": signed::HEADER, "value": signature }]),
        })
    }
}

/// When the client wants a URL to end.
fn until(text: Option<&str>) -> Result<i64, Refusal> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(i64::MAX),
        Some(text) => crate::objects::parse_timestamp(text).ok_or_else(|| {
            Malformed::new("expire_time", "must be a time such as `2026-01-01T00:00:00Z`").into()
        }),
    }
}

/// A decoded path in the one spelling that requests have.
fn encoded(path: &str) -> Result<String, Malformed> {
    let raw = percent_encoding::utf8_percent_encode(path, KEPT).to_string();
    Ok(crate::wire::CanonicalPath::parse(&raw)?.to_encoded())
}

const KEPT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn query(pairs: &[(&str, &str)]) -> Result<Query, Malformed> {
    let mut query = Query::parse("")?;
    for (key, value) in pairs {
        query.set(key, value);
    }
    Ok(query)
}

fn answered(status: u16, body: Value) -> Reply {
    pages::written_text(status, body.to_string())
}
