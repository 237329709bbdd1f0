//! What comes back: an answer with exactly one reading, without what concerns only the hop behind us.
//!
//! The HTTP client is lenient where a proxy must not be. It prefers `Transfer-Encoding` when a
//! `Content-Length` stands beside it, takes an answer without either for an empty one (and leaves its
//! body in the connection, for the next caller to read), and ends a cut-off body like a complete one.
//! Each is an error here.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use awc::ClientResponse;
use awc::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use awc::http::{Method, StatusCode, Version};
use futures_util::{StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connection::Connection;
use super::exchange::Answer;
use crate::backend::BackendError;
use crate::config::mlflow::UpstreamUrl;
use crate::wire::{Body, BodyStream, Headers, Reply};

/// Never passed on: the hop's own, the server's identity, and what would steer the caller's browser.
const DROPPED: [&str; 18] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "date",
    "server",
    "set-cookie",
    "www-authenticate",
    "alt-svc",
    "refresh",
    "strict-transport-security",
    "clear-site-data",
];

/// Whether a status and method can have a body at all.
fn is_bodiless(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Refuses an answer whose end is ambiguous; says why, for the log.
pub(super) fn check_framing(response: &ClientResponse, method: &Method) -> Result<(), &'static str> {
    let headers = response.headers();
    let (length, encoding) = (headers.contains_key(CONTENT_LENGTH), headers.contains_key(TRANSFER_ENCODING));
    if response.status().is_informational() {
        return Err("informational status");
    }
    if headers.contains_key(UPGRADE) {
        return Err("upgrade");
    }
    if length && encoding {
        return Err("both content-length and transfer-encoding");
    }
    if is_bodiless(response.status(), method) {
        return Ok(());
    }
    if encoding {
        let value = headers.get(TRANSFER_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.version() != Version::HTTP_11 || !value.trim().eq_ignore_ascii_case("chunked") {
            return Err("transfer-encoding other than chunked");
        }
    } else if !length {
        return Err("neither content-length nor transfer-encoding");
    }
    Ok(())
}

/// The reply for the caller. A body-less one keeps its `Content-Length` header (it describes what a GET
/// would answer); everywhere else the length travels with the body.
pub(super) fn into_reply(
    answer: Answer,
    method: &Method,
    url: &UpstreamUrl,
    idle: Duration,
) -> Result<Reply, BackendError> {
    let status = answer.response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
        answer.connection.poison();
        return Err(BackendError::CredentialRefused);
    }
    let mut headers = passed_on(answer.response.headers());
    if let Err(problem) = localize(&mut headers, status, url) {
        tracing::warn!(problem, "the backend redirected");
        answer.connection.poison();
        return Err(BackendError::BrokenOff);
    }
    let length = declared_length(answer.response.headers());
    let body = if is_bodiless(status, method) {
        if let Some(length) = length {
            headers.set("content-length", &length.to_string());
        }
        // Should a body follow after all, it must not be there for the next request.
        answer.connection.poison();
        Body::Empty
    } else if length == Some(0) {
        Body::Empty
    } else {
        Body::Stream { stream: body_stream(answer, length, idle), length }
    };
    Ok(Reply { status: status.as_u16(), headers, body })
}

pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn passed_on(theirs: &HeaderMap) -> Headers {
    let named: Vec<String> = theirs
        .get_all("connection")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut headers = Headers::new();
    for (name, value) in theirs {
        let name = name.as_str();
        if DROPPED.contains(&name) || named.iter().any(|hop| hop == name) {
            continue;
        }
        match value.to_str() {
            Ok(text) => headers.push(name, text),
            // Latin-1 (a file name in Content-Disposition): kept, since dropping it would turn a download
            // into a page.
            Err(_) => {
                headers.push(name, &value.as_bytes().iter().copied().map(char::from).collect::<String>())
            }
        }
    }
    headers
}

/// Makes `Location` a path on the gateway. A redirect anywhere else is refused; beside a status that does
/// not redirect, such a header is dropped.
fn localize(headers: &mut Headers, status: StatusCode, url: &UpstreamUrl) -> Result<(), &'static str> {
    let local = match headers.one("location") {
        Ok(None) => return Ok(()),
        Ok(Some(location)) => local_location(location, url),
        Err(_) => None,
    };
    match local {
        Some(local) => headers.set("location", &local),
        None if status.is_redirection() => return Err("to somewhere else"),
        None => headers.remove("location"),
    }
    Ok(())
}

fn local_location(location: &str, url: &UpstreamUrl) -> Option<String> {
    // Browsers read a backslash as a slash and skip control characters: either changes where this leads.
    if location.is_empty() || location.bytes().any(|byte| byte == b'\\' || byte <= b' ' || byte >= 0x7f) {
        return None;
    }
    let origin = url.origin();
    let path = match location.get(..origin.len()) {
        Some(start) if start.eq_ignore_ascii_case(&origin) && location[origin.len()..].starts_with('/') => {
            &location[origin.len()..]
        }
        _ => location,
    };
    if path.starts_with("//") {
        return None;
    }
    if path.starts_with('/') {
        let inside = path.strip_prefix(url.base_path.as_str())?;
        return match inside.bytes().next() {
            None => Some("/".to_owned()),
            Some(b'/') if !inside.starts_with("//") => Some(inside.to_owned()),
            Some(b'?') => Some(format!("/{inside}")),
            _ => None,
        };
    }
    let first = path.split(['/', '?', '#']).next().unwrap_or_default();
    (!first.contains(':')).then(|| path.to_owned())
}

struct Streaming {
    response: Option<ClientResponse>,
    connection: Rc<Connection>,
    left: Option<u64>,
    idle: Duration,
    _place: OwnedSemaphorePermit,
    _client: awc::Client,
}

impl Streaming {
    /// Whether the body that just ended was complete.
    fn is_complete(&mut self) -> bool {
        if let Some(left) = self.left {
            return left == 0;
        }
        // Chunked: only after the last chunk does the client let go of the connection, to its pool or by
        // closing it. After a cut-off the connection stays with the response and is dropped with it.
        let closed_after_the_last_chunk = self.connection.is_gone();
        self.response = None;
        closed_after_the_last_chunk || !self.connection.is_gone()
    }
}

/// The body as it arrives. Reads no further than it is polled; an early end is an error.
pub(super) fn body_stream(answer: Answer, length: Option<u64>, idle: Duration) -> BodyStream {
    let state = Streaming {
        response: Some(answer.response),
        connection: answer.connection,
        left: length,
        idle,
        _place: answer.place,
        _client: answer.client,
    };
    Box::pin(stream::try_unfold(state, |mut state| async move {
        let Some(response) = state.response.as_mut() else { return Ok(None) };
        match timeout(state.idle, response.next()).await {
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the backend stopped sending")),
            Ok(Some(Ok(chunk))) => {
                state.left = state.left.map(|left| left.saturating_sub(chunk.len() as u64));
                Ok(Some((chunk, state)))
            }
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            Ok(None) if state.is_complete() => Ok(None),
            Ok(None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the backend broke off")),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_back_to_the_gateway_or_nowhere() {
        let plain = UpstreamUrl::parse("http://ml:5000").unwrap();
        let based = UpstreamUrl::parse("http://ml:5000/base").unwrap();
        let local = |location: &str, url: &UpstreamUrl| local_location(location, url);
        assert_eq!(local("/a?b", &plain).unwrap(), "/a?b");
        assert_eq!(local("HTTP://ML:5000/a", &plain).unwrap(), "/a");
        assert_eq!(local("../a", &plain).unwrap(), "../a");
        assert_eq!(local("http://ml:5000/base/a", &based).unwrap(), "/a");
        assert_eq!(local("/base", &based).unwrap(), "/");
        assert_eq!(local("/base?x", &based).unwrap(), "/?x");
        for bad in [
            "http://evil/",
            "http://ml:5000@evil/",
            "http://ml:50001/",
            "//evil",
            "/\\evil",
            "http:evil",
            "javascript:alert(1)",
            "\t//evil",
            "http://ml:5000",
            "http://ml:5000//evil",
            "https://ml:5000/a",
            "",
        ] {
            assert_eq!(local(bad, &plain), None, "{bad}");
        }
        for bad in ["/other", "/basement", "/base//evil", "http://ml:5000/a"] {
            assert_eq!(local(bad, &based), None, "{bad}");
        }
    }
}
