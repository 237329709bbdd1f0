//! What leaves the gateway: a target rebuilt from the canonical form, an allow-list of headers, and a body
//! whose length is said when it is known.
//!
//! An allow-list, because what is not on it cannot be smuggled: the caller's credentials, cookies and
//! forwarding headers never reach the MLflow server, nor does a header that MLflow learns to trust later
//! (`X-MLFLOW-WORKSPACE` is one today).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use awc::http::header::{HeaderName, HeaderValue};
use awc::http::{Method as HttpMethod, Uri};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::Instant;

use super::UpstreamShared;
use crate::backend::BackendError;
use crate::wire::{Body, BodyStream, Headers, MemoryOrFile, Method};

/// The caller's headers that are passed on, each once, in its first value.
const FORWARDED: [&str; 12] = [
    "content-type",
    "content-encoding",
    "accept",
    "user-agent",
    "x-mlflow-client-version",
    "x-mlflow-experiment-id",
    "x-mlflow-run-id",
    "range",
    "if-none-match",
    "if-modified-since",
    "traceparent",
    "tracestate",
];

/// Bytes read from a spilled body at once.
const FILE_CHUNK_BYTES: u64 = 64 * 1024;

/// A request line and its headers as they will be sent; may be sent again when the body can.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) method: HttpMethod,
    pub(super) uri: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Prepared {
    /// `target` is an encoded absolute path with its query, relative to the base URL.
    pub(super) fn new(
        shared: &UpstreamShared,
        method: Method,
        target: &str,
        caller: Option<&Headers>,
    ) -> Result<Self, BackendError> {
        let path = format!("{}{target}", shared.url.base_path);
        let uri =
            Uri::try_from(format!("{}{path}", shared.url.origin())).map_err(|_| BackendError::Unsendable)?;
        // A URI parser has opinions (it drops a fragment, for one); what it kept must be what we meant.
        let kept = uri.path_and_query().is_some_and(|kept| kept.as_str() == path);
        if !target.starts_with('/') || !kept {
            return Err(BackendError::Unsendable);
        }
        let mut headers = shared.headers.clone();
        for name in FORWARDED {
            if let Some(value) = caller.and_then(|caller| caller.get(name)) {
                let value = HeaderValue::from_str(value).map_err(|_| BackendError::Unsendable)?;
                headers.push((HeaderName::from_static(name), value));
            }
        }
        Ok(Self { method: http_method(method), uri, headers })
    }
}

fn http_method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Head => HttpMethod::HEAD,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Patch => HttpMethod::PATCH,
        Method::Delete => HttpMethod::DELETE,
    }
}

/// How far the request body has come; says whom a silence is to be blamed on.
#[derive(Debug)]
pub(super) struct Progress {
    moved: Cell<Instant>,
    waiting_for_caller: Cell<bool>,
}

impl Progress {
    pub(super) fn started() -> Rc<Self> {
        Rc::new(Self { moved: Cell::new(Instant::now()), waiting_for_caller: Cell::new(false) })
    }

    pub(super) fn last_moved(&self) -> Instant {
        self.moved.get()
    }

    pub(super) fn is_waiting_for_caller(&self) -> bool {
        self.waiting_for_caller.get()
    }
}

/// A body as a stream with its length if that is known, or nothing to send.
pub(super) enum Sendable {
    Nothing,
    Whole(Bytes),
    Sized(BodyStream, u64),
    Chunked(BodyStream),
}

impl Sendable {
    pub(super) fn new(body: Body, progress: &Rc<Progress>) -> Self {
        match body {
            Body::Empty => Self::Nothing,
            Body::Replay(replay) => match replay.0 {
                MemoryOrFile::Memory(bytes) => Self::Whole(bytes),
                MemoryOrFile::File { file, length } => {
                    let stream = file_stream(file, length);
                    let progress = Rc::clone(progress);
                    let watched = Watched { stream, left: Some(length), progress, of_caller: false };
                    Self::Sized(Box::pin(watched), length)
                }
            },
            Body::Stream { stream, length } => {
                let progress = Rc::clone(progress);
                let watched = Watched { stream, left: length, progress, of_caller: true };
                match length {
                    Some(length) => Self::Sized(Box::pin(watched), length),
                    None => Self::Chunked(Box::pin(watched)),
                }
            }
        }
    }
}

/// Reads a spilled body from its start, off the reactor, as fast as it is sent.
fn file_stream(file: std::sync::Arc<std::fs::File>, length: u64) -> BodyStream {
    Box::pin(stream::try_unfold(0_u64, move |position| {
        let file = std::sync::Arc::clone(&file);
        async move {
            let wanted = (length - position).min(FILE_CHUNK_BYTES);
            if wanted == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || {
                use std::os::unix::fs::FileExt as _;
                let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
                file.read_exact_at(&mut bytes, position)?;
                Ok::<_, io::Error>(Bytes::from(bytes))
            });
            let bytes = read.await.map_err(io::Error::other)??;
            Ok(Some((bytes, position + wanted)))
        }
    }))
}

/// A stream, watched: no longer and no shorter than it said, and when it moved last.
struct Watched {
    stream: BodyStream,
    left: Option<u64>,
    progress: Rc<Progress>,
    /// A silence is the caller's, not our disk's.
    of_caller: bool,
}

impl Stream for Watched {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.as_mut().poll_next(context);
        self.progress.waiting_for_caller.set(polled.is_pending() && self.of_caller);
        let Poll::Ready(item) = polled else { return Poll::Pending };
        self.progress.moved.set(Instant::now());
        let wrong_length = || io::Error::new(io::ErrorKind::InvalidData, "body differs from its length");
        Poll::Ready(match (item, self.left) {
            (Some(Ok(chunk)), Some(left)) => match left.checked_sub(chunk.len() as u64) {
                None => Some(Err(wrong_length())),
                Some(left) => {
                    self.left = Some(left);
                    Some(Ok(chunk))
                }
            },
            (None, Some(left)) if left > 0 => Some(Err(wrong_length())),
            (item, _) => item,
        })
    }
}
