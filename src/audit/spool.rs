//! The spool: the audit record on this replica's disk, and the port through which events enter it.
//!
//! An event is serialised by its caller, queued, and answered when it is as safe as was asked for. If
//! it cannot be, the answer is an error and the call must not go on.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::directory::Claimed;
use super::record::LONGEST_PAYLOAD;
use super::recover::Tail;
use super::state::SpoolState;
use super::syncer::stopped;
use super::writer::{Job, OpenSegment, Writer, files_in};
use crate::access::{AuditError, AuditSink, Durability, Event};
use crate::clock::Clock;

/// Callers that may wait for the writer at once; further ones wait for a place.
const QUEUE: usize = 4096;

pub struct Spool {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
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
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|error| AuditError(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), state })
    }

    /// Forces everything appended so far to the disk; answers with its last seq.
    pub async fn sync(&self) -> Result<u64, AuditError> {
        self.ask(|reply| Job::Sync { reply }).await
    }

    /// Ends the chain cleanly and releases the directory. Later appends are refused.
    pub async fn close(&self) -> Result<(), AuditError> {
        self.state.close();
        self.ask(|reply| Job::Close { reply }).await.map(|_| ())
    }

    pub fn state(&self) -> &Arc<SpoolState> {
        &self.state
    }

    async fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<u64, AuditError>>) -> Job,
    ) -> Result<u64, AuditError> {
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        let (reply, answer) = oneshot::channel();
        jobs.send(job(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
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
        self.ask(|reply| Job::Append { payload, durability, reply }).await.map(|_| ())
    }

    fn writable(&self) -> bool {
        self.state.is_open()
            && self.state.check_room(1).is_ok()
            && self.jobs.as_ref().is_some_and(|jobs| !jobs.is_closed())
    }
}

impl Drop for Spool {
    /// Without [`Spool::close`] this is what a crash is: what was appended stays, the chain has no end.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
