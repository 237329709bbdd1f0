//! Gives each record its place in the chain and hands it to the operating system.
//!
//! Its caller holds a lock and writes itself: a write into the page cache takes microseconds, and a
//! hand-over to another thread and back takes more. Callers that asked for [`Durability::Written`] are
//! done then; the others wait for the syncer.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::checkpoint::{Line, Signer};
use super::directory::{self, Claimed};
use super::record::{Position, RecordKind, SegmentHeader, encode, encoded_len};
use super::recover::Tail;
use super::segment::{Reserving, SegmentFile, no_room};
use super::signing::{KeyNotice, PublicKey, SigningKey};
use super::state::SpoolState;
use super::syncer::{SyncRequest, Syncer, Waiter};
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
    /// None in tests of the chain alone.
    signer: Option<Signer>,
    /// What was signed and is not in the ledger yet.
    signed: Arc<Mutex<Vec<Line>>>,
}

/// What a writer needs to go on with a chain.
pub struct Beginning {
    pub claimed: Claimed,
    pub tail: Tail,
    pub state: Arc<SpoolState>,
    pub clock: Arc<dyn Clock>,
    pub segment_bytes: u64,
    pub open_segment: OpenSegment,
    /// Who signs checkpoints, and what must go on record before.
    pub signer: Option<(Signer, Vec<KeyNotice>)>,
}

impl Writer {
    /// Takes up the chain at its end; a chain without a clean end gets a record that says so.
    pub fn start(beginning: Beginning) -> Result<Self, AuditError> {
        let Beginning { claimed, tail, state, clock, segment_bytes, open_segment, signer } = beginning;
        let (signer, notices) =
            signer.map_or((None, Vec::new()), |(signer, notices)| (Some(signer), notices));
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
            signer,
            signed: Arc::default(),
        };
        if !tail.clean {
            tracing::warn!(cut = ?tail.cut, "the audit chain had no clean end; it goes on with a marker");
            writer.mark(RecordKind::Recovered, &serde_json::json!(tail.cut))?;
        }
        let new_key = !notices.is_empty();
        for notice in notices {
            writer.own(RecordKind::Key, &serde_json::json!(notice))?;
            writer.signed.lock().push(Line::Key(notice));
        }
        if new_key {
            writer.checkpoint()?;
        }
        if new_key || !tail.clean {
            // Not by way of the syncer: nothing else is under way yet, and this may be an async caller.
            writer.force()?;
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
        let before = self.last;
        encode(&mut self.buffer, RecordKind::Event, payload, &mut self.last);
        match self.write() {
            // None of it was written: the call is refused, and the next may find room again.
            Err(error) if no_room(&error) => {
                self.last = before;
                return Err(full());
            }
            written => self.settle(written)?,
        }
        Ok((durability == Durability::Synced).then(|| self.sync()))
    }

    /// Asks for everything written so far to be forced to the disk.
    pub fn sync(&mut self) -> OnDisk {
        let (reply, answer) = oneshot::channel();
        let waiters = vec![Waiter { seq: self.last.seq, reply }];
        self.syncer.sync(SyncRequest { file: Arc::clone(&self.file), waiters });
        answer
    }

    /// Signs for everything written so far.
    pub fn checkpoint(&mut self) -> Result<(), AuditError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let checkpoint = signer.checkpoint(&self.claimed.replica, self.last, self.clock.now());
        self.own(RecordKind::Checkpoint, &serde_json::json!(checkpoint))?;
        self.signed.lock().push(Line::Checkpoint(checkpoint));
        Ok(())
    }

    /// Hands over to a key that the one before announced.
    pub fn change_key(&mut self, key: SigningKey, notices: Vec<KeyNotice>) -> Result<(), AuditError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        signer.key = key;
        for notice in notices {
            self.own(RecordKind::Key, &serde_json::json!(notice))?;
            self.signed.lock().push(Line::Key(notice));
        }
        Ok(())
    }

    pub fn public_key(&self) -> Option<PublicKey> {
        self.signer.as_ref().map(|signer| signer.key.public())
    }

    /// Where what was signed waits for the ledger.
    pub fn signed(&self) -> Arc<Mutex<Vec<Line>>> {
        Arc::clone(&self.signed)
    }

    /// Says that everything up to a record is removed on purpose.
    pub fn pruned(&mut self, through: u64, why: &str) -> Result<(), AuditError> {
        self.mark(RecordKind::Pruned, &serde_json::json!({ "through": through, "why": why }))
    }

    /// Ends the chain cleanly.
    pub fn close(mut self) -> Result<(), AuditError> {
        self.state.close();
        self.checkpoint()?;
        self.mark(RecordKind::Closed, &serde_json::json!({}))?;
        self.force()
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        self.state.check()?;
        let written = self.write();
        self.settle(written)
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        if written.is_ok() {
            self.file_bytes += self.buffer.len() as u64;
            self.state.wrote(self.last.seq, self.buffer.len() as u64);
        }
        self.buffer.clear();
        written
    }

    /// Shuts the spool if a write failed.
    fn settle(&self, written: io::Result<()>) -> Result<(), AuditError> {
        if let Err(error) = written {
            self.state.fail(format!("a segment cannot be written: {error}"));
        }
        self.state.check()
    }

    fn force(&self) -> Result<(), AuditError> {
        if let Err(error) = self.file.sync() {
            self.state.fail(format!("a segment cannot be forced to the disk: {error}"));
        }
        self.state.check()
    }

    /// Begins the next segment. The one before is on the disk first, so that only the last segment can
    /// ever be torn. The new one begins with a checkpoint of it, which can stand for it when it is pruned.
    fn roll(&mut self) -> Result<(), AuditError> {
        self.force()?;
        match (self.open_segment)(Open::New(&header_after(self.last, &self.claimed.replica))) {
            Ok(file) => {
                self.file = file;
                self.file_bytes = 0;
            }
            Err(error) if no_room(&error) => return Err(full()),
            Err(error) => self.state.fail(format!("a segment cannot be created: {error}")),
        }
        self.state.check()?;
        self.checkpoint()
    }

    /// Appends a record of the chain's own, with the time.
    fn mark(&mut self, kind: RecordKind, detail: &serde_json::Value) -> Result<(), AuditError> {
        let mut payload = serde_json::json!({ "time_ms": self.clock.now() });
        if let (Some(payload), Some(detail)) = (payload.as_object_mut(), detail.as_object()) {
            payload.extend(detail.clone());
        }
        self.own(kind, &payload)
    }

    fn own(&mut self, kind: RecordKind, payload: &serde_json::Value) -> Result<(), AuditError> {
        encode(&mut self.buffer, kind, payload.to_string().as_bytes(), &mut self.last);
        self.flush()
    }
}

fn full() -> AuditError {
    AuditError("the disk of the audit spool is full".to_owned())
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
        Ok(Arc::new(Reserving::new(file)?))
    })
}
