//! Pages: their tokens are our own, sealed for one caller and one request; a narrowed page is filled up
//! again, so that neither its length nor its token counts what is hidden.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::call::Call;
use super::convert;
use super::error::Refusal;
use crate::backend::BackendError;
use crate::store::Purpose;
use crate::wire::{Body, Malformed, Reply, json};

/// How a listing without a named securable is narrowed.
pub(super) struct Narrowed {
    /// The list in the answer.
    pub list: &'static str,
    /// How many entries of the upstream page are already released.
    pub skip: usize,
    /// How long the upstream pages are; none where upstream has no pages.
    pub size: Option<usize>,
    /// How long the upstream pages after the first are at least.
    pub refill: usize,
    /// How many entries the client wants.
    pub wanted: usize,
    /// Which entries the caller may see.
    pub keep: Keep,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    Experiments,
    Models,
    ScorerConfigs,
}

/// What a sealed token carries.
#[derive(Serialize, Deserialize)]
struct Position {
    /// The backend's own token of the page to read; none for its first page.
    token: Option<String>,
    /// Entries of that page that were released before.
    skip: usize,
    /// How long that page is, whatever the client asks for by now: `skip` counts in it.
    size: Option<usize>,
}

/// Where a client's token says to go on.
#[derive(Default)]
pub(super) struct Resumed {
    pub skip: usize,
    /// The length of the backend's pages, where a page before this one set it.
    pub size: Option<usize>,
}

/// Replaces the client's page token by the backend's. Answers where in that page to go on.
pub(super) async fn open(call: &mut Call<'_>) -> Result<Resumed, Refusal> {
    call.page_context = context(call);
    let given = match &call.json {
        Some(object) => match json::field(object, "page_token")? {
            Some(Value::String(token)) => Some(token.clone()),
            Some(_) => return Err(Malformed::new("page_token", "must be a string").into()),
            None => None,
        },
        None => call.head.query.one("page_token")?.map(str::to_owned),
    };
    let Some(given) = given.filter(|token| !token.is_empty()) else { return Ok(Resumed::default()) };
    let refuse = || Malformed::new("page_token", "is not one that was issued to you for this request");
    let ring = call.app.keys.ring_for(Purpose::Sealing, &given).await;
    let sealed = ring.open(&call.page_context, &given).map_err(|_| refuse())?;
    let position: Position = serde_json::from_slice(&sealed).map_err(|_| refuse())?;
    set_token(call, position.token.as_deref());
    if let Some(size) = position.size {
        set_size(call, size);
    }
    Ok(Resumed { skip: position.skip, size: position.size })
}

/// Seals the token of the next page.
pub(super) async fn seal(call: &mut Call<'_>, reply: Reply) -> Result<Reply, Refusal> {
    let mut page = read(call, &reply.headers, reply.body).await?;
    seal_in(call, &mut page)?;
    Ok(written(reply.status, &page))
}

/// Seals the token in a page that is already read.
pub(super) fn seal_in(call: &Call<'_>, page: &mut Map<String, Value>) -> Result<(), Refusal> {
    if let Some(token) = next_token(page) {
        page.insert("next_page_token".to_owned(), Value::String(sealed_token(call, &token)?));
    }
    Ok(())
}

/// Seals the backend's token of the next page.
pub(super) fn sealed_token(call: &Call<'_>, token: &str) -> Result<String, Refusal> {
    position(call, Position { token: Some(token.to_owned()), skip: 0, size: None })
}

/// Keeps what the caller may see of a page, and reads on until the page is full.
pub(super) async fn narrow(call: &mut Call<'_>, narrowed: Narrowed, reply: Reply) -> Result<Reply, Refusal> {
    let status = reply.status;
    let mut page = read(call, &reply.headers, reply.body).await?;
    let mut current = current_token(call);
    let mut skip = narrowed.skip;
    let mut kept: Vec<Value> = Vec::new();
    let mut pages = 1;
    let mut size = narrowed.size;
    let next = loop {
        let entries = match page.remove(narrowed.list) {
            Some(Value::Array(entries)) => entries,
            None => Vec::new(),
            Some(_) => return Err(BackendError::BrokenOff.into()),
        };
        let mut full_at = None;
        for (index, entry) in entries.iter().enumerate().skip(skip) {
            if kept.len() == narrowed.wanted {
                full_at = Some(index);
                break;
            }
            if super::handle::keep(call, narrowed.keep, entry).await? {
                kept.push(entry.clone());
            }
        }
        if let Some(index) = full_at {
            break Some(Position { token: current, skip: index, size });
        }
        let Some(token) = next_token(&page) else { break None };
        if kept.len() == narrowed.wanted || pages >= call.app.config.limits.refill_pages {
            break Some(Position { token: Some(token), skip: 0, size });
        }
        set_token(call, Some(&token));
        if let Some(now) = size.filter(|now| *now < narrowed.refill) {
            // Short pages would reach the cap, and so tell of what is hidden, after a few entries.
            size = Some(now.max(narrowed.refill));
            set_size(call, narrowed.refill);
        }
        let permit = call.permit_again()?;
        let more = call.forward(permit).await?;
        if more.status != 200 {
            return Ok(more);
        }
        page = read(call, &more.headers, more.body).await?;
        current = Some(token);
        skip = 0;
        pages += 1;
    };
    page.remove("next_page_token");
    // What an answer without entries looks like must not tell whether there were hidden ones: it is
    // empty where MLflow writes protobuf, and an empty list where it does not.
    if !kept.is_empty() || matches!(narrowed.keep, Keep::ScorerConfigs) {
        page.insert(narrowed.list.to_owned(), Value::Array(kept));
    }
    if let Some(next) = next {
        page.insert("next_page_token".to_owned(), Value::String(position(call, next)?));
    }
    Ok(written(status, &page))
}

/// Reads an answer that must be one JSON object.
pub(super) async fn read(
    call: &Call<'_>,
    _headers: &crate::wire::Headers,
    body: Body,
) -> Result<Map<String, Value>, Refusal> {
    parsed(&collected(call, body).await?)
}

/// An answer's bytes, up to the limit for pages.
pub(super) async fn collected(call: &Call<'_>, body: Body) -> Result<bytes::Bytes, Refusal> {
    let limit = call.app.config.limits.page_bytes;
    Ok(match body {
        Body::Empty => bytes::Bytes::new(),
        Body::Replay(replay) => replay.as_memory().cloned().unwrap_or_default(),
        Body::Stream { stream, .. } => convert::collect(stream, limit)
            .await
            .map_err(|_| BackendError::BrokenOff)?
            .ok_or(Refusal::TooLarge { what: "answer", limit, key: "page_bytes" })?,
    })
}

pub(super) fn parsed(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(BackendError::BrokenOff.into()),
    }
}

/// A JSON answer.
pub(super) fn written(status: u16, object: &Map<String, Value>) -> Reply {
    written_text(status, serde_json::to_string(object).unwrap_or_default())
}

pub(super) fn written_text(status: u16, json: String) -> Reply {
    let mut headers = crate::wire::Headers::new();
    headers.push("content-type", "application/json");
    Reply { status, headers, body: Body::memory(json) }
}

/// How many entries the client asks for; the backend's own default and cap apply beyond that.
pub(super) fn wanted(call: &Call<'_>, default: usize) -> Result<usize, Refusal> {
    let refuse = || Malformed::new("max_results", "must be a positive number");
    let given = match &call.json {
        Some(object) => match json::field(object, "max_results")? {
            None => None,
            Some(Value::Number(number)) => Some(number.as_u64().ok_or_else(refuse)?),
            Some(Value::String(text)) => Some(text.parse().map_err(|_| refuse())?),
            Some(_) => return Err(refuse().into()),
        },
        None => match call.head.query.one("max_results")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| refuse())?),
        },
    };
    Ok(given.map_or(default, |given| usize::try_from(given).unwrap_or(default)))
}

fn position(call: &Call<'_>, position: Position) -> Result<String, Refusal> {
    let content = serde_json::to_vec(&position).map_err(|error| Refusal::Internal(error.to_string()))?;
    let sealed =
        call.app.keys.ring(Purpose::Sealing).seal(call.app.clock.now(), &call.page_context, &content);
    sealed.map_err(|error| Refusal::Internal(error.to_string()))
}

/// What a token is bound to: the caller, the operation, and the request but for its page.
fn context(call: &Call<'_>) -> String {
    let question = match &call.json {
        Some(object) => digest(object.iter().map(|(key, value)| (key.as_str(), value.to_string()))),
        None => digest(call.head.query.pairs().iter().map(|(key, value)| (key.as_str(), value.clone()))),
    };
    format!("{} {} {question}", call.caller.principal, call.operation.name)
}

/// One text for one question. JSON written anew and queries hold no NUL, which ends each part.
fn digest<'q>(pairs: impl Iterator<Item = (&'q str, String)>) -> String {
    let mut hash = Sha256::new();
    let of_page = |key: &str| matches!(key, "page_token" | "pageToken" | "max_results" | "maxResults");
    for (key, value) in pairs.filter(|(key, _)| !of_page(key)) {
        if key.contains('\0') {
            // A key of JSON may hold one, and would end early. No key begins with this byte.
            hash.update([0xff]);
            hash.update(Value::String(key.to_owned()).to_string().as_bytes());
        } else {
            hash.update(key.as_bytes());
        }
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

fn next_token(page: &Map<String, Value>) -> Option<String> {
    page.get("next_page_token")?.as_str().filter(|token| !token.is_empty()).map(str::to_owned)
}

fn current_token(call: &Call<'_>) -> Option<String> {
    match &call.json {
        Some(object) => object.get("page_token").and_then(Value::as_str).map(str::to_owned),
        None => call.head.query.one("page_token").ok().flatten().map(str::to_owned),
    }
}

fn set_token(call: &mut Call<'_>, token: Option<&str>) {
    if call.json.is_none() {
        match token {
            Some(token) => call.head.query.set("page_token", token),
            None => call.head.query.remove("page_token"),
        }
        return;
    }
    let object = call.edit();
    object.remove("pageToken");
    object.remove("page_token");
    if let Some(token) = token {
        object.insert("page_token".to_owned(), Value::String(token.to_owned()));
    }
}

fn set_size(call: &mut Call<'_>, size: usize) {
    if call.json.is_none() {
        return call.head.query.set("max_results", &size.to_string());
    }
    let object = call.edit();
    object.remove("maxResults");
    object.insert("max_results".to_owned(), Value::from(size));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_questions_have_one_digest() {
        let digest = |text: &str| {
            let object = json::parse_object(text.as_bytes()).unwrap();
            digest(object.iter().map(|(key, value)| (key.as_str(), value.to_string())))
        };
        let texts = [
            r#"{"a":"b","c":"d"}"#,
            r#"{"a\u0000\"b\"\u0000c":"d"}"#,
            r#"{"\"a\\u0000\\\"b\\\"\\u0000c\"":"d"}"#,
            r#"{"a":"b\u0000c\u0000d"}"#,
            r#"{"c":"d","a":"b"}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"ab":"","c":"d"}"#,
            "{}",
        ];
        for (index, text) in texts.iter().enumerate() {
            for other in &texts[..index] {
                assert_ne!(digest(text), digest(other), "{text} {other}");
            }
        }
        assert_eq!(digest(r#"{"a":1,"page_token":"x","maxResults":5}"#), digest(r#"{"a":1}"#));
    }
}
