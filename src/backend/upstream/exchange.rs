//! One request and its answer: admitted by the breaker, limited in time, retried only where that is safe.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::CONTENT_LENGTH;
use awc::{ClientResponse, SendClientRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::Connection;
use super::request::{Prepared, Progress, Sendable};
use super::{Upstream, reply};
use crate::backend::BackendError;
use crate::wire::{Body, ReplayBody};

/// An answer whose headers have arrived and whose framing is sound.
pub(super) struct Answer {
    pub(super) response: ClientResponse,
    pub(super) connection: Rc<Connection>,
    /// The place among this worker's connections, held until the body is over.
    pub(super) place: OwnedSemaphorePermit,
    /// Keeps the pool alive: one that is gone closes connections, which would look like a cut-off body.
    pub(super) client: awc::Client,
}

/// How one attempt failed.
struct Failure {
    error: BackendError,
    /// The server was not there or was silent: the breaker counts it.
    counts: bool,
    /// The connection failed before any byte of an answer.
    no_answer_byte: bool,
}

impl Upstream {
    /// Sends a request. A read without a streaming body is tried once more when the connection failed.
    pub(super) async fn exchange(
        &self,
        prepared: Prepared,
        body: Body,
        patience: Duration,
    ) -> Result<Answer, BackendError> {
        let now = Instant::now();
        let admission = self.shared.breaker.admit(now).map_err(overloaded)?;
        let again = match (&body, prepared.method.is_safe()) {
            (Body::Empty, true) => Some(None),
            (Body::Replay(replay), true) => Some(Some(replay.clone())),
            _ => None,
        };
        let mut result = self.attempt(&prepared, body, patience).await;
        if let (Err(Failure { no_answer_byte: true, error, .. }), Some(body)) = (&result, again) {
            tracing::debug!(%error, "reading again from the backend");
            let body: Option<ReplayBody> = body;
            result = self.attempt(&prepared, body.map_or(Body::Empty, Body::Replay), patience).await;
        }
        match result {
            Ok(answer) => {
                admission.succeeded();
                Ok(answer)
            }
            Err(failure) if failure.counts => {
                admission.failed(Instant::now());
                Err(failure.error)
            }
            Err(failure) => {
                // The server is there, as far as we know: neither a success nor a failure of its.
                drop(admission);
                Err(failure.error)
            }
        }
    }

    async fn attempt(&self, prepared: &Prepared, body: Body, patience: Duration) -> Result<Answer, Failure> {
        let config = &self.shared.limits;
        let place =
            timeout(config.connect_timeout, std::sync::Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let error = overloaded(config.connect_timeout);
            return Err(Failure { error, counts: false, no_answer_byte: false });
        };
        let mut request = self.client.request(prepared.method.clone(), prepared.uri.clone()).no_decompress();
        for (name, value) in &prepared.headers {
            request = request.insert_header((name.clone(), value.clone()));
        }
        let progress = Progress::started();
        let sending = match Sendable::new(body, &progress) {
            Sendable::Nothing if prepared.method.is_safe() => request.send(),
            // A request that could have had a body says that it has none.
            Sendable::Nothing => request.insert_header((CONTENT_LENGTH, 0)).send(),
            Sendable::Whole(bytes) => request.send_body(bytes),
            Sendable::Sized(stream, length) => request.send_body(awc::body::SizedStream::new(length, stream)),
            Sendable::Chunked(stream) => request.send_stream(stream),
        };
        let (response, connection) = self.answer(sending, &progress, patience).await?;
        match reply::check_framing(&response, &prepared.method) {
            Ok(()) => Ok(Answer { response, connection, place, client: self.client.clone() }),
            Err(problem) => {
                tracing::warn!(problem, "the backend's answer has more than one reading");
                connection.poison();
                Err(Failure { error: BackendError::BrokenOff, counts: false, no_answer_byte: false })
            }
        }
    }

    /// Waits for the response headers, for as long as the request keeps moving plus `patience`.
    async fn answer(
        &self,
        mut sending: SendClientRequest,
        progress: &Progress,
        patience: Duration,
    ) -> Result<(ClientResponse, Rc<Connection>), Failure> {
        let mut deadline = Box::pin(sleep_until(progress.last_moved() + patience));
        let result = poll_fn(|context| {
            self.last_read.take();
            if let Poll::Ready(result) = std::pin::Pin::new(&mut sending).poll(context) {
                return Poll::Ready(Some(result));
            }
            while deadline.as_mut().poll(context).is_ready() {
                let due = progress.last_moved() + patience;
                if due <= Instant::now() {
                    return Poll::Ready(None);
                }
                deadline.as_mut().reset(due);
            }
            Poll::Pending
        });
        match (result.await, self.last_read.take()) {
            (Some(Ok(response)), Some(connection)) => Ok((response, connection)),
            (Some(Ok(_)), None) => {
                Err(Failure { error: BackendError::BrokenOff, counts: false, no_answer_byte: false })
            }
            (Some(Err(error)), _) => Err(classify(&error)),
            (None, _) if progress.is_waiting_for_caller() => {
                Err(Failure { error: BackendError::RequestBody, counts: false, no_answer_byte: false })
            }
            (None, _) => Err(Failure { error: BackendError::Timeout, counts: true, no_answer_byte: false }),
        }
    }
}

fn overloaded(wait: Duration) -> BackendError {
    BackendError::Overloaded { retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) }
}

fn classify(error: &SendRequestError) -> Failure {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let failure = |error, counts, no_answer_byte| Failure { error, counts, no_answer_byte };
    let failure = match error {
        // The connection ended where an answer should have begun.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            failure(BackendError::BrokenOff, false, true)
        }
        SendRequestError::Connect(_) => failure(BackendError::Unreachable, true, true),
        SendRequestError::Send(_) => failure(BackendError::BrokenOff, false, true),
        SendRequestError::Response(parse) => {
            let io =
                std::error::Error::source(parse).and_then(|cause| cause.downcast_ref::<std::io::Error>());
            let reset =
                io.is_some_and(|io| matches!(io.kind(), ConnectionReset | ConnectionAborted | BrokenPipe));
            failure(BackendError::BrokenOff, false, reset)
        }
        SendRequestError::Body(_) => failure(BackendError::RequestBody, false, false),
        SendRequestError::Url(_) | SendRequestError::Http(_) => {
            failure(BackendError::Unsendable, false, false)
        }
        _ => failure(BackendError::BrokenOff, false, false),
    };
    tracing::warn!(%error, counts = failure.counts, "the backend did not answer");
    failure
}
