//! The spool: the audit record on this replica's disk, and the port through which events enter it.
//!
//! An event is serialised and written by its caller, who is answered when it is as safe as was asked
//! for. If it cannot be, the answer is an error and the call must not go on.

use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::Claimed;
use super::record::LONGEST_PAYLOAD;
use super::recover::Tail;
use super::state::SpoolState;
use super::syncer::stopped;
use super::writer::{OnDisk, OpenSegment, Writer, files_in};
use crate::access::{AuditError, AuditSink, Durability, Event};
use crate::clock::Clock;

pub struct Spool {
    /// None once the chain is closed.
    writer: Mutex<Option<Writer>>,
    state: Arc<SpoolState>,
}

impl Spool {
    pub fn start(
        claimed: Claimed,
        tail: Tail,
        state: Arc<SpoolState>,
        clock: Arc<dyn Clock>,
        segment_bytes: u64,
    ) -> Result<Self, AuditError> {
        let files = files_in(claimed.path.clone());
        Self::start_with(claimed, tail, state, clock, segment_bytes, files)
    }

    pub(super) fn start_with(
        claimed: Claimed,
        tail: Tail,
        state: Arc<SpoolState>,
        clock: Arc<dyn Clock>,
        segment_bytes: u64,
        open_segment: OpenSegment,
    ) -> Result<Self, AuditError> {
        let writer = Writer::start(claimed, tail, Arc::clone(&state), clock, segment_bytes, open_segment)?;
        Ok(Self { writer: Mutex::new(Some(writer)), state })
    }

    /// Forces everything appended so far to the disk; answers with its last seq.
    pub async fn sync(&self) -> Result<u64, AuditError> {
        let on_disk = self.writer.lock().as_mut().ok_or_else(stopped)?.sync();
        wait(on_disk).await
    }

    /// Ends the chain cleanly and releases the directory. Later appends are refused.
    pub async fn close(&self) -> Result<(), AuditError> {
        let writer = self.writer.lock().take().ok_or_else(stopped)?;
        let closed = tokio::task::spawn_blocking(move || writer.close()).await;
        closed.unwrap_or_else(|_| Err(stopped()))
    }

    pub fn state(&self) -> &Arc<SpoolState> {
        &self.state
    }
}

async fn wait(on_disk: OnDisk) -> Result<u64, AuditError> {
    on_disk.await.map_err(|_| stopped())?
}

#[async_trait::async_trait]
impl AuditSink for Spool {
    async fn append(&self, event: Event, durability: Durability) -> Result<(), AuditError> {
        self.state.check()?;
        let payload = serde_json::to_vec(&event).map_err(|error| AuditError(error.to_string()))?;
        if payload.len() > LONGEST_PAYLOAD {
            return Err(AuditError(format!(
                "the event takes {} bytes; the limit is {LONGEST_PAYLOAD}",
                payload.len()
            )));
        }
        let appended = self.writer.lock().as_mut().ok_or_else(stopped)?.append(&payload, durability)?;
        match appended {
            Some(on_disk) => wait(on_disk).await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn writable(&self) -> bool {
        self.state.is_open() && self.state.check_room(1).is_ok()
    }
}
