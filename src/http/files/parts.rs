//! Large files in parts. What a client carries from call to call is a token that we sealed for it, the volume and the
//! file; each part has a URL of ours, signed for the caller. Both are worth nothing once the grant is gone.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::own;
use super::{SignedUrl, answered, done, existing, query, until};
use crate::access::Principal;
use crate::objects::parts::{LIFETIME, MAX_PARTS};
use crate::objects::{Existing, Volume};
use crate::store::{CatalogObject, Purpose};
use crate::wire::{Body, Malformed, Method, Reply};

/// Where parts are sent to.
const PARTS: &str = "/api/2.0/fs/upload-parts";
/// URLs that one call hands out.
const MOST_URLS: u32 = 1000;

/// What the token of an upload holds.
#[derive(Serialize, Deserialize)]
struct Session {
    upload: Uuid,
    principal: Principal,
    /// Whoever acts for it; one cannot end what the other began.
    actor: Option<Principal>,
    /// The volume by what stays when it is renamed, and another does not have.
    volume: String,
    replaces: bool,
    began_at_ms: i64,
}

pub(super) async fn answer(
    call: &mut Call<'_>,
    verb: &str,
    volume: &Volume,
    object: &CatalogObject,
    path: &str,
    shown: &str,
) -> Result<Reply, Refusal> {
    match verb {
        "upload" => {
            let action = call.head.query.one("action")?.unwrap_or_default().to_owned();
            match action.as_str() {
                "initiate-upload" => begin(call, volume, object, path).await,
                "complete-upload" => complete(call, volume, object, path).await,
                _ => Err(Malformed::new(
                    "query parameter `action`",
                    "must be `initiate-upload` or `complete-upload`",
                )
                .into()),
            }
        }
        "url_parts" => part_urls(call, object, path, shown).await,
        "url_abort" => {
            let token = text(call, "session_token")?;
            open(call, object, path, &token).await?;
            let until = until(Some(&text(call, "expire_time").unwrap_or_default()))?;
            let pairs = query(&[("session_token", &token)])?;
            let signed = SignedUrl::new(call, Method::Delete, &format!("{PARTS}{shown}"), &pairs, until)?;
            Ok(answered(200, json!({ "abort_upload_url": { "url": signed.url, "headers": signed.headers } })))
        }
        "part_put" => {
            let session = of_query(call, object, path).await?;
            let number = number(call.head.query.one("part_number")?.and_then(|text| text.parse().ok()))?;
            let body = std::mem::replace(&mut call.body, Body::Empty);
            let tag = volume.put_part(session.upload, number, body).await?;
            let mut reply = done(200);
            reply.headers.set("etag", &format!("\"{tag}\""));
            Ok(reply)
        }
        "part_abort" => {
            let session = of_query(call, object, path).await?;
            volume.abort(session.upload).await?;
            Ok(done(200))
        }
        _ => Err(Refusal::UnknownEndpoint),
    }
}

async fn begin(
    call: &Call<'_>,
    volume: &Volume,
    object: &CatalogObject,
    path: &str,
) -> Result<Reply, Refusal> {
    let existing = existing(call)?;
    if existing == Existing::Keep && volume.about(path).await?.is_some() {
        return Err(crate::objects::ObjectsError::new(
            crate::objects::ObjectsFault::Exists,
            format!("'{path}' exists already"),
        )
        .into());
    }
    let now = call.app.clock.now();
    volume.clear_expired(u64::try_from(now.0 / 1000).unwrap_or_default()).await?;
    let session = Session {
        upload: Uuid::now_v7(),
        principal: call.caller.principal.clone(),
        actor: call.caller.actor.as_ref().map(|actor| actor.principal.clone()),
        volume: object.id.clone(),
        replaces: existing == Existing::Replace,
        began_at_ms: now.0,
    };
    let content = serde_json::to_vec(&session).map_err(|error| Refusal::Internal(error.to_string()))?;
    let token = call.app.keys.ring(Purpose::Sealing).seal(now, &context(path), &content);
    let token = token.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(answered(200, json!({ "multipart_upload": { "session_token": token } })))
}

async fn complete(
    call: &mut Call<'_>,
    volume: &Volume,
    object: &CatalogObject,
    path: &str,
) -> Result<Reply, Refusal> {
    let session = of_query(call, object, path).await?;
    let sent = own::sent(call).await?;
    let refuse = || Malformed::new("parts", "must be a list of `part_number` and `etag`");
    let Some(Value::Array(named)) = sent.get("parts") else { return Err(refuse().into()) };
    let mut parts = Vec::with_capacity(named.len());
    for part in named {
        let part_number = number(part.get("part_number").and_then(Value::as_u64))?;
        let tag = part.get("etag").and_then(Value::as_str).ok_or_else(refuse)?;
        parts.push((part_number, tag.trim_matches('"').to_owned()));
    }
    if parts.is_empty() {
        return Err(refuse().into());
    }
    let existing = if session.replaces { Existing::Replace } else { Existing::Keep };
    volume.complete(path, session.upload, parts, existing).await?;
    Ok(answered(200, json!({})))
}

async fn part_urls(
    call: &Call<'_>,
    object: &CatalogObject,
    path: &str,
    shown: &str,
) -> Result<Reply, Refusal> {
    let token = text(call, "session_token")?;
    open(call, object, path, &token).await?;
    let sent = call.json.as_ref();
    let integer = |name: &str| sent.and_then(|sent| sent.get(name)).and_then(Value::as_u64);
    let first = number(integer("start_part_number"))?;
    let count = integer("count").filter(|count| (1..=u64::from(MOST_URLS)).contains(count));
    let count = count.ok_or_else(|| Malformed::new("count", format!("must be 1 to {MOST_URLS}")))?;
    let last = number(Some(u64::from(first) + count - 1))?;
    let until = until(Some(&text(call, "expire_time").unwrap_or_default()))?;
    let mut urls = Vec::new();
    for part in first..=last {
        let pairs = query(&[("session_token", &token), ("part_number", &part.to_string())])?;
        let signed = SignedUrl::new(call, Method::Put, &format!("{PARTS}{shown}"), &pairs, until)?;
        urls.push(json!({ "part_number": part, "url": signed.url, "headers": signed.headers }));
    }
    Ok(answered(200, json!({ "upload_part_urls": urls })))
}

fn number(given: Option<u64>) -> Result<u32, Refusal> {
    given
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=MAX_PARTS).contains(number))
        .ok_or_else(|| Malformed::new("part_number", format!("must be 1 to {MAX_PARTS}")).into())
}

fn text(call: &Call<'_>, name: &str) -> Result<String, Refusal> {
    let sent = call.json.as_ref().and_then(|sent| sent.get(name)).and_then(Value::as_str);
    sent.map(str::to_owned).ok_or_else(|| Malformed::new(name, "must be a string").into())
}

async fn of_query(call: &Call<'_>, object: &CatalogObject, path: &str) -> Result<Session, Refusal> {
    let token = call.head.query.one("session_token")?.unwrap_or_default().to_owned();
    open(call, object, path, &token).await
}

/// The upload that a token is for, if it was begun by this caller, for this file of this volume.
async fn open(call: &Call<'_>, object: &CatalogObject, path: &str, token: &str) -> Result<Session, Refusal> {
    let refuse = || Malformed::new("session_token", "is not that of an upload which you began for this file");
    let ring = call.app.keys.ring_for(Purpose::Sealing, token).await;
    let content = ring.open(&context(path), token).map_err(|_| refuse())?;
    let session: Session = serde_json::from_slice(&content).map_err(|_| refuse())?;
    let actor = call.caller.actor.as_ref().map(|actor| &actor.principal);
    let own = session.principal == call.caller.principal && session.actor.as_ref() == actor;
    let lifetime_ms = i64::try_from(LIFETIME * 1000).unwrap_or(i64::MAX);
    let in_time = call.app.clock.now().0 - session.began_at_ms < lifetime_ms;
    if own && session.volume == object.id && in_time { Ok(session) } else { Err(refuse().into()) }
}

fn context(path: &str) -> String {
    format!("upload of {path}")
}
