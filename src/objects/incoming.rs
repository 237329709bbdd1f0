//! A body on its way into the store, taken in pieces of a chosen size. It must keep coming, and end where it
//! said that it would.

use std::collections::VecDeque;
use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Objects, ObjectsError, ObjectsFault};
use crate::wire::{Body, BodyStream, ReplayBody};

/// How long the sender may say nothing.
const STALL: Duration = Duration::from_secs(60);
/// Bytes that one read of a spooled body takes.
const READ: usize = 256 * 1024;

pub(super) struct Incoming {
    stream: BodyStream,
    declared: Option<u64>,
    received: u64,
    pending: BytesMut,
    ended: bool,
}

impl Incoming {
    pub fn new(body: Body) -> Self {
        let declared = body.length();
        let stream: BodyStream = match body {
            Body::Empty => Box::pin(stream::empty()),
            Body::Replay(body) => match body.as_memory() {
                Some(bytes) => Box::pin(stream::iter([Ok(bytes.clone())])),
                None => spooled(&body),
            },
            Body::Stream { stream, .. } => stream,
        };
        Self { stream, declared, received: 0, pending: BytesMut::new(), ended: false }
    }

    /// What the sender said the length would be.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// The next `size` bytes, or those that are left; nothing at the end.
    pub async fn next(&mut self, size: usize) -> Result<Option<Bytes>, ObjectsError> {
        while self.pending.len() < size && !self.ended {
            match tokio::time::timeout(STALL, self.stream.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.received += chunk.len() as u64;
                    if self.declared.is_some_and(|declared| self.received > declared) {
                        return Err(broken_off());
                    }
                    self.pending.extend_from_slice(&chunk);
                }
                Ok(None) => self.ended = true,
                Ok(Some(Err(error))) => {
                    tracing::info!(%error, "an upload broke off");
                    return Err(broken_off());
                }
                Err(_) => return Err(broken_off()),
            }
        }
        if self.ended && self.declared.is_some_and(|declared| self.received != declared) {
            return Err(broken_off());
        }
        let length = self.pending.len().min(size);
        Ok((length > 0).then(|| self.pending.split_to(length).freeze()))
    }
}

fn broken_off() -> ObjectsError {
    ObjectsError::new(ObjectsFault::BrokenOff, "the upload stalled or ended early; nothing of it was kept")
}

/// A body in a file, read off the reactor.
fn spooled(body: &ReplayBody) -> BodyStream {
    Box::pin(stream::try_unfold(body.reader(), |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; READ];
            let length = reader.read(&mut chunk)?;
            chunk.truncate(length);
            Ok((Bytes::from(chunk), reader))
        });
        let (chunk, reader) = read.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)))?;
        Ok((!chunk.is_empty()).then_some((chunk, reader)))
    }))
}

/// Objects one after the other, each opened when the one before has ended.
pub(super) fn in_a_row(objects: Objects, paths: Vec<String>) -> BodyStream {
    let opened = stream::try_unfold((objects, VecDeque::from(paths)), |(objects, mut paths)| async move {
        let Some(path) = paths.pop_front() else { return Ok(None) };
        let found = objects.get(&path, None).await.map_err(std::io::Error::other)?;
        let (_, bytes) = found.ok_or_else(|| std::io::Error::other("a part is gone"))?;
        Ok::<_, std::io::Error>(Some((bytes, (objects, paths))))
    });
    Box::pin(futures_util::TryStreamExt::try_flatten(opened))
}

/// A body that must be small, as a whole; nothing if it is longer than `limit`.
pub async fn collect(body: Body, limit: usize) -> Result<Option<Bytes>, ObjectsError> {
    let bytes = Incoming::new(body).next(limit + 1).await?.unwrap_or_default();
    Ok((bytes.len() <= limit).then_some(bytes))
}
