//! HTTP/2: our own loop around the `h2` crate, since actix-web's takes header lists of 16 MiB and as many
//! streams as a client likes, and keeps connections as long as they answer pings.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_http::{BoxedPayloadStream, Payload, Request, Response};
use actix_service::Service;
use actix_web::HttpMessage;
use actix_web::body::{BodySize, MessageBody};
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap, HeaderValue, HttpDate};
use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::Front;
use super::connection::Connection;
use super::guard::Guarded;
use super::pace::Pace;

/// What a client may send ahead of our reading, on a stream and on a whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What waits to be sent on a stream.
const SEND_BUFFER: usize = 64 * 1024;
/// The largest piece that room is asked for.
const PIECE: usize = 16 * 1024;

/// What is known of an HTTP/2 request beside its head.
#[derive(Debug, Clone)]
pub(in crate::http) struct Http2 {
    pub connection: Rc<Connection>,
    /// Without a length that is said, only the frames tell.
    pub has_body: bool,
}

/// Serves one connection to its end.
pub(in crate::http) async fn serve<S, B>(
    front: &Arc<Front>,
    io: Guarded,
    service: Rc<S>,
    stopping: impl Future<Output = ()>,
) where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let config = &front.app.config.server;
    let patience = Duration::from_millis(config.header_timeout_ms);
    let connection = Rc::clone(io.connection());
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(config.header_bytes)
        .max_concurrent_streams(config.max_calls_per_connection)
        .max_send_buffer_size(SEND_BUFFER);
    let Ok(Ok(mut http2)) = tokio::time::timeout(patience, builder.handshake(io)).await else { return };
    let mut stopping = pin!(stopping);
    // One more of it for each call that is worked on.
    let calls = Rc::new(());
    // Since when no new calls are taken.
    let mut closing: Option<Instant> = None;
    loop {
        let look = match (closing, connection.deadline()) {
            (Some(since), _) => since + patience,
            (None, Some(deadline)) => deadline,
            (None, None) => Instant::now() + Duration::from_millis(config.keep_alive_ms),
        };
        let look = look.max(Instant::now() + Duration::from_millis(10));
        tokio::select! {
            accepted = poll_fn(|context| http2.poll_accept(context)) => {
                let Some(Ok((request, mut respond))) = accepted else { return };
                // A call that the client took back is no stream to `h2` any more, but still our work.
                if Rc::strong_count(&calls) > config.max_calls_per_connection as usize {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let (front, connection) = (Arc::clone(front), Rc::clone(&connection));
                let (service, call) = (Rc::clone(&service), Rc::clone(&calls));
                actix_web::rt::spawn(async move {
                    answer(&front, connection, &*service, request, respond).await;
                    drop(call);
                });
            }
            () = &mut stopping, if closing.is_none() => {
                http2.graceful_shutdown();
                closing = Some(Instant::now());
            }
            () = tokio::time::sleep_until(look.into()) => {
                let now = Instant::now();
                match closing {
                    // Its calls may end, but it is waited for no longer.
                    Some(since) if !connection.is_busy() && since + patience <= now => return,
                    Some(_) => closing = Some(now),
                    None if connection.deadline().is_some_and(|deadline| deadline <= now) => {
                        http2.graceful_shutdown();
                        closing = Some(now);
                    }
                    None => {}
                }
            }
        }
    }
}

async fn answer<S, B>(
    front: &Front,
    connection: Rc<Connection>,
    service: &S,
    request: http02::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    B: MessageBody,
{
    let (parts, body) = request.into_parts();
    let is_head = parts.method == actix_web::http::Method::HEAD;
    let http2 = Http2 { connection: Rc::clone(&connection), has_body: !body.is_end_stream() };
    let mut request = Request::with_payload(Payload::Stream { payload: payload(body) });
    let head = request.head_mut();
    head.headers = HeaderMap::from(parts.headers);
    as_in_http1(&mut head.headers, parts.uri.authority().map(|authority| authority.as_str()));
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.peer_addr = Some((connection.peer, 0).into());
    keep(&request, http2);
    let Ok(response) = service.call(request).await else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    };
    let (response, body) = response.into().into_parts();
    let size = body.size();
    let mut head = http02::Response::new(());
    *head.status_mut() = response.status();
    for (name, value) in response.headers() {
        // What is about an HTTP/1.1 connection has no place here.
        if ![header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name) {
            head.headers_mut().append(name.clone(), value.clone());
        }
    }
    let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(front.app.clock.now().0).unwrap_or(0));
    if let Ok(date) = HeaderValue::try_from(HttpDate::from(date).to_string()) {
        head.headers_mut().insert(header::DATE, date);
    }
    if let BodySize::Sized(length) = size {
        head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let over = is_head || size.is_eof();
    let Ok(stream) = respond.send_response(head, over) else { return };
    if !over {
        send(front, stream, body).await;
    }
}

/// The one place that puts something where the pipeline's caller finds it.
#[expect(
    clippy::disallowed_methods,
    reason = "actix-web takes a connection's data from its own dispatchers alone"
)]
fn keep(request: &Request, http2: Http2) {
    request.extensions_mut().insert(http2);
}

/// Brings headers into the form that HTTP/1.1 has: one reading for both.
fn as_in_http1(headers: &mut HeaderMap, authority: Option<&str>) {
    if let Some(value) = authority.and_then(|authority| HeaderValue::from_str(authority).ok())
        && headers.get(header::HOST) != Some(&value)
    {
        // Beside another `Host` it is the second one, and two are refused.
        headers.append(header::HOST, value);
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::COOKIE).cloned().collect();
    if cookies.len() > 1 {
        let joined = cookies.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

fn payload(body: RecvStream) -> BoxedPayloadStream {
    Box::pin(futures_util::stream::unfold(body, |mut body| async move {
        let piece = body.data().await?;
        let piece = piece.and_then(|bytes| {
            // Room for more, now that this is taken.
            body.flow_control().release_capacity(bytes.len())?;
            Ok(bytes)
        });
        Some((piece.map_err(|error| PayloadError::Io(io::Error::other(error))), body))
    }))
}

/// Sends a body piece by piece, each once the client has room for it.
async fn send<B: MessageBody>(front: &Front, mut stream: SendStream<Bytes>, body: B) {
    let mut pace = Pace::new(&front.app.config.server);
    let mut body = pin!(body);
    loop {
        let next = tokio::select! {
            next = poll_fn(|context| body.as_mut().poll_next(context)) => next,
            // Nobody wants the rest.
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        let mut piece = match next {
            Some(Ok(piece)) => piece,
            Some(Err(_)) => return stream.send_reset(Reason::INTERNAL_ERROR),
            None => break,
        };
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len().min(PIECE));
            let until = pace.waits(Instant::now());
            let room =
                tokio::time::timeout_at(until.into(), poll_fn(|context| stream.poll_capacity(context))).await;
            let Ok(Some(Ok(room))) = room else { return stream.send_reset(Reason::CANCEL) };
            let part = piece.split_to(room.min(piece.len()));
            if !pace.moved(Instant::now(), part.len() as u64) {
                return stream.send_reset(Reason::CANCEL);
            }
            if stream.send_data(part, false).is_err() {
                return;
            }
        }
    }
    let _ = stream.send_data(Bytes::new(), true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(header::HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn all(map: &HeaderMap, name: header::HeaderName) -> Vec<String> {
        map.get_all(name).map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_authority_is_the_host_and_another_host_stands_beside_it() {
        for (before, authority, after) in [
            (&[][..], Some("a.example"), &["a.example"][..]),
            (&[("host", "a.example")], Some("a.example"), &["a.example"]),
            (&[("host", "b.example")], Some("a.example"), &["b.example", "a.example"]),
            (&[("host", "b.example")], None, &["b.example"]),
        ] {
            let mut map = headers(before);
            as_in_http1(&mut map, authority);
            assert_eq!(all(&map, header::HOST), after, "{before:?} {authority:?}");
        }
    }

    #[test]
    fn several_cookie_headers_are_one() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("accept", "x")]);
        as_in_http1(&mut map, None);
        assert_eq!(all(&map, header::COOKIE), ["a=1; b=2; c=3"]);
        assert_eq!(all(&map, header::ACCEPT), ["x"]);
    }
}
