//! What the spool's threads, its callers and the shipper know of one another.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::access::AuditError;

/// Counters only grow; bytes count records without segment headers, since the spool was opened.
#[derive(Debug)]
pub struct SpoolState {
    failure: OnceLock<String>,
    closed: AtomicBool,
    written_seq: AtomicU64,
    written_bytes: AtomicU64,
    shipped_seq: AtomicU64,
    shipped_bytes: AtomicU64,
    max_waiting_bytes: u64,
    /// Told when there is more to ship.
    pub appended: Notify,
}

impl SpoolState {
    /// The state of a spool whose records up to `shipped_seq` of `written_seq` are in the index, and
    /// whose others take `waiting_bytes`.
    pub fn new(written_seq: u64, shipped_seq: u64, waiting_bytes: u64, max_waiting_bytes: u64) -> Self {
        Self {
            failure: OnceLock::new(),
            closed: AtomicBool::new(false),
            written_seq: AtomicU64::new(written_seq),
            written_bytes: AtomicU64::new(waiting_bytes),
            shipped_seq: AtomicU64::new(shipped_seq),
            shipped_bytes: AtomicU64::new(0),
            max_waiting_bytes,
            appended: Notify::new(),
        }
    }

    /// Ends all writing, for good: after a failed write or fsync nobody knows what the disk holds.
    pub fn fail(&self, why: String) {
        tracing::error!(why, "the audit spool is shut; every call is refused until a restart");
        let _ = self.failure.set(why);
    }

    pub fn check(&self) -> Result<(), AuditError> {
        match self.failure.get() {
            Some(why) => Err(AuditError(why.clone())),
            None => Ok(()),
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.failure.get().is_none() && !self.closed.load(Ordering::Acquire)
    }

    pub fn wrote(&self, seq: u64, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.written_seq.store(seq, Ordering::Release);
        self.appended.notify_one();
    }

    pub fn shipped(&self, seq: u64, bytes: u64) {
        self.shipped_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.shipped_seq.store(seq, Ordering::Release);
    }

    pub fn written_seq(&self) -> u64 {
        self.written_seq.load(Ordering::Acquire)
    }

    pub fn shipped_seq(&self) -> u64 {
        self.shipped_seq.load(Ordering::Acquire)
    }

    /// Bytes of records that the index has not taken.
    pub fn waiting_bytes(&self) -> u64 {
        let shipped = self.shipped_bytes.load(Ordering::Acquire);
        self.written_bytes.load(Ordering::Acquire).saturating_sub(shipped)
    }

    /// Whether so many more bytes may wait for the index.
    pub fn check_room(&self, more: u64) -> Result<(), AuditError> {
        let waiting = self.waiting_bytes();
        if waiting.saturating_add(more) > self.max_waiting_bytes {
            return Err(AuditError(format!(
                "{waiting} bytes of records wait for the index; `audit.max_spool_bytes` is {}",
                self.max_waiting_bytes
            )));
        }
        Ok(())
    }
}
