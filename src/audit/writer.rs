//! The one thread that writes: it gives each record its place in the chain and hands whole batches to
//! the operating system.
//!
//! Whatever queued up while the last write ran is written with one call. Callers that asked for
//! [`Durability::Written`] are answered then; the others go on to the syncer.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::directory::{self, Claimed};
use super::record::{Position, RecordKind, SegmentHeader, encode, encoded_len};
use super::recover::Tail;
use super::state::SpoolState;
use super::syncer::{SegmentFile, SyncRequest, Syncer, Waiter};
use crate::access::{AuditError, Durability};
use crate::clock::Clock;

pub type Reply = oneshot::Sender<Result<u64, AuditError>>;

pub enum Job {
    Append {
        payload: Vec<u8>,
        durability: Durability,
        reply: Reply,
    },
    /// Answered once everything queued before is on the disk.
    Sync {
        reply: Reply,
    },
    Close {
        reply: Reply,
    },
}

/// Gives a new segment, its header written, or the one to go on with; in tests one that fails.
pub type OpenSegment = Box<dyn Fn(Open<'_>) -> io::Result<Arc<dyn SegmentFile>> + Send>;

pub enum Open<'a> {
    New(&'a SegmentHeader),
    Existing { first_seq: u64 },
}

const LARGEST_BATCH: usize = 1024;
const LARGEST_WRITE: usize = 1 << 20;

pub struct Writer {
    claimed: Claimed,
    state: Arc<SpoolState>,
    syncer: Syncer,
    clock: Arc<dyn Clock>,
    open_segment: OpenSegment,
    segment_bytes: u64,
    file: Arc<dyn SegmentFile>,
    file_bytes: u64,
    last: Position,
    buffer: Vec<u8>,
    waiters: Vec<(Durability, Waiter)>,
}

impl Writer {
    /// Takes up the chain at its end; a chain without a clean end gets a record that says so.
    pub fn start(
        claimed: Claimed,
        tail: Tail,
        state: Arc<SpoolState>,
        clock: Arc<dyn Clock>,
        segment_bytes: u64,
        open_segment: OpenSegment,
    ) -> Result<Self, AuditError> {
        let syncer = Syncer::start(Arc::clone(&state)).map_err(|error| AuditError(error.to_string()))?;
        let (file, file_bytes) = match tail.segment {
            Some((first_seq, bytes)) => (open_segment(Open::Existing { first_seq }), bytes),
            None => (open_segment(Open::New(&header_after(tail.last, &claimed.replica))), 0),
        };
        let file = file.map_err(|error| AuditError(format!("a segment cannot be opened: {error}")))?;
        let mut writer = Self {
            claimed,
            state,
            syncer,
            clock,
            open_segment,
            segment_bytes,
            file,
            file_bytes,
            last: tail.last,
            buffer: Vec::new(),
            waiters: Vec::new(),
        };
        if !tail.clean {
            tracing::warn!(cut = ?tail.cut, "the audit chain had no clean end; it goes on with a marker");
            writer.mark(RecordKind::Recovered, serde_json::json!(tail.cut))?;
            // Not by way of the syncer: nothing else is under way yet, and this may be an async caller.
            writer.file.sync().map_err(|error| AuditError(error.to_string()))?;
        }
        Ok(writer)
    }

    /// Writes what is queued until the queue ends or a job closes the spool.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, LARGEST_BATCH) > 0 {
            for job in batch.drain(..) {
                match job {
                    Job::Append { payload, durability, reply } => self.append(&payload, durability, reply),
                    Job::Sync { reply } => {
                        let waiter = Waiter { seq: self.last.seq, reply };
                        self.waiters.push((Durability::Synced, waiter));
                    }
                    Job::Close { reply } => {
                        let result = self.close();
                        let seq = self.last.seq;
                        // The lock goes before the answer does: who was answered may open the spool again.
                        drop(self);
                        return Waiter { seq, reply }.answer(result);
                    }
                }
            }
            self.flush();
        }
    }

    fn append(&mut self, payload: &[u8], durability: Durability, reply: Reply) {
        let length = encoded_len(payload.len());
        if let Err(error) = self.state.check_room(self.buffer.len() as u64 + length) {
            return Waiter { seq: 0, reply }.answer(Err(error));
        }
        let filled = self.file_bytes + self.buffer.len() as u64;
        if filled > 0 && filled + length > self.segment_bytes {
            self.flush();
            self.roll();
        } else if self.buffer.len() + payload.len() > LARGEST_WRITE {
            self.flush();
        }
        encode(&mut self.buffer, RecordKind::Event, payload, &mut self.last);
        self.waiters.push((durability, Waiter { seq: self.last.seq, reply }));
    }

    /// Writes the buffer and answers, or passes on, whoever waits for it.
    fn flush(&mut self) {
        let mut result = self.state.check();
        if result.is_ok() && !self.buffer.is_empty() {
            match self.file.write_all(&self.buffer) {
                Ok(()) => {
                    self.file_bytes += self.buffer.len() as u64;
                    self.state.wrote(self.last.seq, self.buffer.len() as u64);
                }
                Err(error) => {
                    self.state.fail(format!("a segment cannot be written: {error}"));
                    result = self.state.check();
                }
            }
        }
        self.buffer.clear();
        let mut to_sync = Vec::new();
        for (durability, waiter) in self.waiters.drain(..) {
            match durability {
                Durability::Synced if result.is_ok() => to_sync.push(waiter),
                _ => waiter.answer(result.clone()),
            }
        }
        if !to_sync.is_empty() {
            self.syncer.sync(SyncRequest { file: Arc::clone(&self.file), waiters: to_sync });
        }
    }

    /// Begins the next segment. The one before is on the disk first, so that only the last segment can
    /// ever be torn.
    fn roll(&mut self) {
        if self.state.check().is_err() {
            return;
        }
        if let Err(error) = self.syncer.sync_now(Arc::clone(&self.file)) {
            return self.state.fail(error.0);
        }
        match (self.open_segment)(Open::New(&header_after(self.last, &self.claimed.replica))) {
            Ok(file) => {
                self.file = file;
                self.file_bytes = 0;
            }
            Err(error) => self.state.fail(format!("a segment cannot be created: {error}")),
        }
    }

    fn close(&mut self) -> Result<(), AuditError> {
        self.flush();
        self.state.close();
        self.mark(RecordKind::Closed, serde_json::json!({}))?;
        self.syncer.sync_now(Arc::clone(&self.file))
    }

    /// Appends a record of the chain's own.
    fn mark(&mut self, kind: RecordKind, detail: serde_json::Value) -> Result<(), AuditError> {
        let mut payload = serde_json::json!({ "time_ms": self.clock.now() });
        if let (Some(payload), serde_json::Value::Object(detail)) = (payload.as_object_mut(), detail) {
            payload.extend(detail);
        }
        encode(&mut self.buffer, kind, payload.to_string().as_bytes(), &mut self.last);
        self.flush();
        self.state.check()
    }
}

fn header_after(last: Position, replica: &str) -> SegmentHeader {
    SegmentHeader { first_seq: last.seq + 1, previous: last.hash, replica: replica.to_owned() }
}

/// Segments as files of the directory.
pub fn files_in(path: std::path::PathBuf) -> OpenSegment {
    Box::new(move |open| {
        let file = match open {
            Open::New(header) => directory::create_segment(&path, header)?,
            Open::Existing { first_seq } => directory::open_segment(&path, first_seq)?,
        };
        Ok(Arc::new(file))
    })
}
