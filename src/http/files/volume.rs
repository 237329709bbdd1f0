//! Files and directories of a volume.

use serde_json::json;

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::trail::Trail;
use super::{Place, SignedUrl, absent, answered, done, existing, parts, query, until};
use crate::objects::{About, Asked, Volume, http_date, parse_http_date, parse_range, tag};
use crate::store::Purpose;
use crate::wire::{Body, Headers, Malformed, Method, Reply};

/// Entries of a page where the client does not say, and the most that it gets.
const PAGE: usize = 1000;

pub(super) async fn answer(
    call: &mut Call<'_>,
    trail: &mut Trail,
    verb: &str,
    place: &Place,
) -> Result<Reply, Refusal> {
    let (volume, path, object) = place.volume(call).await?;
    let shown = format!("/Volumes/{}/{path}", object.securable.id.replace('.', "/"));
    let file = || match path {
        "" => Err(Refusal::from(Malformed::new("path", "names a volume and no file in it"))),
        path => Ok(path),
    };
    match verb {
        "put" => {
            let (path, existing) = (file()?, existing(call)?);
            let body = std::mem::replace(&mut call.body, Body::Empty);
            trail.bytes_in(volume.store(path, body, existing).await?);
            Ok(done(204))
        }
        "get" => get(call, &volume, file()?, &shown).await,
        "delete" => match volume.delete(file()?).await? {
            true => Ok(done(204)),
            false => Err(absent(&shown)),
        },
        "directory_make" => {
            volume.make_directory(path).await?;
            Ok(done(204))
        }
        "directory_list" => list(call, &volume, path, &shown).await,
        "directory_remove" => match volume.remove_directory(file()?).await? {
            true => Ok(done(204)),
            false => Err(absent(&shown)),
        },
        "url_download" => {
            let until = until(call.head.query.one("expire_time")?)?;
            if volume.about(file()?).await?.is_none() {
                return Err(absent(&shown));
            }
            let target = format!("/api/2.0/fs/files{shown}");
            let signed = SignedUrl::new(call, Method::Get, &target, &query(&[])?, until)?;
            Ok(answered(200, json!({ "url": signed.url, "headers": signed.headers })))
        }
        _ => parts::answer(call, verb, &volume, object, file()?, &shown).await,
    }
}

pub(super) async fn get(call: &Call<'_>, volume: &Volume, path: &str, shown: &str) -> Result<Reply, Refusal> {
    let about = volume.about(path).await?.ok_or_else(|| absent(shown))?;
    let asked = &call.head.headers;
    let mut headers = described(&about);
    if let Some(text) = asked.one("if-unmodified-since")?
        && let Some(seen) = parse_http_date(text)
        && about.modified.div_euclid(1000) * 1000 > seen
    {
        return Ok(Reply { status: 412, headers, body: Body::Empty });
    }
    if call.head.method == Method::Head {
        let body = Body::Stream { stream: Box::pin(futures_util::stream::empty()), length: Some(about.size) };
        return Ok(Reply { status: 200, headers, body });
    }
    let range = match asked.one("range")?.map(|text| parse_range(text, about.size)) {
        Some(Asked::Part(range)) => Some(range),
        Some(Asked::BehindTheEnd) => {
            headers.set("content-range", &format!("bytes */{}", about.size));
            return Ok(Reply { status: 416, headers, body: Body::Empty });
        }
        Some(Asked::Whole) | None => None,
    };
    let (size, stream) = volume.get(path, range.clone()).await?.ok_or_else(|| absent(shown))?;
    if size != about.size {
        return Err(Refusal::Conflict(format!("`{shown}` was replaced while it was read; try again")));
    }
    let (status, length) = match range {
        None => (200, size),
        Some(range) => {
            headers.set("content-range", &format!("bytes {}-{}/{size}", range.start, range.end - 1));
            (206, range.end - range.start)
        }
    };
    Ok(Reply { status, headers, body: Body::Stream { stream, length: Some(length) } })
}

/// Always as an attachment of no type: no browser is to run what somebody has put there.
fn described(about: &About) -> Headers {
    let mut headers = Headers::new();
    headers.set("content-type", "application/octet-stream");
    headers.set("content-disposition", "attachment");
    headers.set("accept-ranges", "bytes");
    headers.set("last-modified", &http_date(about.modified));
    headers.set("etag", &tag(about));
    headers
}

async fn list(call: &Call<'_>, volume: &Volume, path: &str, shown: &str) -> Result<Reply, Refusal> {
    let shown = shown.trim_end_matches('/');
    let mut entries = volume.directory(path).await?.ok_or_else(|| absent(shown))?;
    if call.head.method == Method::Head {
        return Ok(done(200));
    }
    let size = match call.head.query.one("page_size")?.filter(|text| !text.is_empty()) {
        None => PAGE,
        Some(text) => match text.parse::<usize>() {
            Ok(0) => PAGE,
            Ok(size) => size.min(PAGE),
            Err(_) => return Err(Malformed::new("query parameter `page_size`", "must be a number").into()),
        },
    };
    let context = format!("files {} {shown}", call.caller.principal);
    if let Some(token) = call.head.query.one("page_token")?.filter(|token| !token.is_empty()) {
        let refuse = || Malformed::new("page_token", "is not one that was issued to you for this directory");
        let ring = call.app.keys.ring_for(Purpose::Sealing, token).await;
        let after = ring.open(&context, token).map_err(|_| refuse())?;
        let after = String::from_utf8(after).map_err(|_| refuse())?;
        entries.retain(|entry| entry.name > after);
    }
    let more = entries.len() > size;
    entries.truncate(size);
    let contents: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!({
                "path": format!("{shown}/{}", entry.name),
                "name": entry.name,
                "is_directory": entry.size.is_none(),
                "file_size": entry.size.unwrap_or(0),
                "last_modified": entry.modified.unwrap_or(0),
            })
        })
        .collect();
    let mut body = json!({ "contents": contents });
    if let Some(last) = entries.last().filter(|_| more) {
        let ring = call.app.keys.ring(Purpose::Sealing);
        let token = ring.seal(call.app.clock.now(), &context, last.name.as_bytes());
        body["next_page_token"] = token.map_err(|error| Refusal::Internal(error.to_string()))?.into();
    }
    Ok(answered(200, body))
}
