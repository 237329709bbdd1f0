//! An artifact as an answer: whole, or the range of it that was asked for. Always as an attachment: no browser
//! is to run what somebody has uploaded.

use unicode_normalization::UnicodeNormalization as _;

use super::media_type;
use crate::backend::embedded::EmbeddedShared;
use crate::backend::embedded::problem::{Code, Problem};
use crate::objects::{About, Asked, http_date, parse_range, tag};
use crate::wire::{Body, Headers, Reply};

pub(super) enum Found {
    File(About),
    Directory,
    Nothing,
}

pub(super) async fn find(store: &EmbeddedShared, path: &str) -> Result<Found, Problem> {
    if !path.is_empty()
        && let Some(about) = store.objects.about(path).await?
    {
        return Ok(Found::File(about));
    }
    Ok(if store.objects.list(path).await?.is_empty() { Found::Nothing } else { Found::Directory })
}

pub(super) fn absent(path: &str) -> Problem {
    Problem::missing(format!("No such artifact: '{path}'"))
}

pub(super) fn directory(path: &str) -> Problem {
    Problem::invalid(format!("Artifact path refers to a directory, not a file: '{path}'"))
}

pub(super) async fn send(
    store: &EmbeddedShared,
    path: &str,
    about: About,
    asked: &Headers,
) -> Result<Reply, Problem> {
    let mut headers = Headers::default();
    let name = path.rsplit('/').next().unwrap_or(path);
    let tag = tag(&about);
    let modified = http_date(about.modified);
    headers.set("content-type", media_type::guess(path));
    headers.set("content-disposition", &attachment(name));
    headers.set("x-content-type-options", "nosniff");
    headers.set("accept-ranges", "bytes");
    headers.set("last-modified", &modified);
    headers.set("etag", &tag);
    // A range of what the caller has seen before; if it is another file by now, all of it.
    let same = asked.get("if-range").is_none_or(|seen| seen == tag || seen == modified);
    let range = match asked.get("range").filter(|_| same).map(|text| parse_range(text, about.size)) {
        Some(Asked::Part(range)) => Some(range),
        Some(Asked::BehindTheEnd) => {
            let mut headers = Headers::default();
            headers.set("content-type", "text/plain; charset=utf-8");
            headers.set("content-range", &format!("bytes */{}", about.size));
            return Ok(Reply { status: 416, headers, body: Body::Empty });
        }
        Some(Asked::Whole) | None => None,
    };
    let (size, stream) = store.objects.get(path, range.clone()).await?.ok_or_else(|| absent(path))?;
    if size != about.size {
        return Err(Problem::new(
            Code::TemporarilyUnavailable,
            format!("'{path}' was replaced while it was read; try again"),
        ));
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

/// RFC 6266: the name as it is if it is ASCII; else a name of the plain letters in it, and the real one encoded.
fn attachment(name: &str) -> String {
    if name.is_ascii() {
        return format!("attachment; filename={}", quoted(name));
    }
    let ascii: String = name.nfkd().filter(char::is_ascii).collect();
    let fallback = if ascii.is_empty() { "download" } else { &ascii };
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename={}; filename*=UTF-8''{encoded}", quoted(fallback))
}

fn quoted(text: &str) -> String {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(token) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_attachment_in_any_script() {
        assert_eq!(attachment("a.json"), "attachment; filename=a.json");
        assert_eq!(attachment("a \"b\".txt"), "attachment; filename=\"a \\\"b\\\".txt\"");
        assert_eq!(attachment("ü.bin"), "attachment; filename=u.bin; filename*=UTF-8''%C3%BC.bin");
        assert_eq!(attachment("日"), "attachment; filename=download; filename*=UTF-8''%E6%97%A5");
    }
}
