//! Gives each record its place in the chain and hands it to the operating system.
//!
//! Its caller holds a lock and writes itself: a write into the page cache takes microseconds, and a
//! hand-over to another thread and back takes more. Callers that asked for [`Durability::Written`] are
//! done then; the others wait for the syncer.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::directory::{self, Claimed};
use super::record::{Position, RecordKind, SegmentHeader, encode, encoded_len};
use super::recover::Tail;
use super::state::SpoolState;
use super::syncer::{SegmentFile, SyncRequest, Syncer, Waiter};
use crate::access::{AuditError, Durability};
use crate::clock::Clock;

/// Answers once the record is on the disk.
pub type OnDisk = oneshot::Receiver<Result<u64, AuditError>>;

/// Gives a new segment, its header written, or the one to go on with; in tests one that fails.
pub type OpenSegment = Box<dyn Fn(Open<'_>) -> io::Result<Arc<dyn SegmentFile>> + Send>;

pub enum Open<'a> {
    New(&'a SegmentHeader),
    Existing { first_seq: u64 },
}

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
        };
        if !tail.clean {
            tracing::warn!(cut = ?tail.cut, "the audit chain had no clean end; it goes on with a marker");
            writer.mark(RecordKind::Recovered, serde_json::json!(tail.cut))?;
            // Not by way of the syncer: nothing else is under way yet, and this may be an async caller.
            writer.file.sync().map_err(|error| AuditError(error.to_string()))?;
        }
        Ok(writer)
    }

    /// Writes one record. Who asked for more than that gets what to wait for.
    pub fn append(&mut self, payload: &[u8], durability: Durability) -> Result<Option<OnDisk>, AuditError> {
        self.state.check()?;
        let length = encoded_len(payload.len());
        self.state.check_room(length)?;
        if self.file_bytes > 0 && self.file_bytes + length > self.segment_bytes {
            self.roll()?;
        }
        encode(&mut self.buffer, RecordKind::Event, payload, &mut self.last);
        self.flush()?;
        Ok((durability == Durability::Synced).then(|| self.sync()))
    }

    /// Asks for everything written so far to be forced to the disk.
    pub fn sync(&mut self) -> OnDisk {
        let (reply, answer) = oneshot::channel();
        let waiters = vec![Waiter { seq: self.last.seq, reply }];
        self.syncer.sync(SyncRequest { file: Arc::clone(&self.file), waiters });
        answer
    }

    /// Ends the chain cleanly.
    pub fn close(mut self) -> Result<(), AuditError> {
        self.state.close();
        self.mark(RecordKind::Closed, serde_json::json!({}))?;
        self.force()
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        self.state.check()?;
        match self.file.write_all(&self.buffer) {
            Ok(()) => {
                self.file_bytes += self.buffer.len() as u64;
                self.state.wrote(self.last.seq, self.buffer.len() as u64);
            }
            Err(error) => self.state.fail(format!("a segment cannot be written: {error}")),
        }
        self.buffer.clear();
        self.state.check()
    }

    fn force(&self) -> Result<(), AuditError> {
        if let Err(error) = self.file.sync() {
            self.state.fail(format!("a segment cannot be forced to the disk: {error}"));
        }
        self.state.check()
    }

    /// Begins the next segment. The one before is on the disk first, so that only the last segment can
    /// ever be torn.
    fn roll(&mut self) -> Result<(), AuditError> {
        self.force()?;
        match (self.open_segment)(Open::New(&header_after(self.last, &self.claimed.replica))) {
            Ok(file) => {
                self.file = file;
                self.file_bytes = 0;
            }
            Err(error) => self.state.fail(format!("a segment cannot be created: {error}")),
        }
        self.state.check()
    }

    /// Appends a record of the chain's own.
    fn mark(&mut self, kind: RecordKind, detail: serde_json::Value) -> Result<(), AuditError> {
        let mut payload = serde_json::json!({ "time_ms": self.clock.now() });
        if let (Some(payload), serde_json::Value::Object(detail)) = (payload.as_object_mut(), detail) {
            payload.extend(detail);
        }
        encode(&mut self.buffer, kind, payload.to_string().as_bytes(), &mut self.last);
        self.flush()
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
