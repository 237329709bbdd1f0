//! The spool: the audit record on this replica's disk, and the port through which events enter it.
//!
//! An event is serialised and written by its caller, who is answered when it is as safe as was asked
//! for. If it cannot be, the answer is an error and the call must not go on.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::checkpoint::Line;
use super::record::LONGEST_PAYLOAD;
use super::signing::SigningKey;
use super::state::SpoolState;
use super::syncer::stopped;
use super::writer::{Beginning, OnDisk, Writer};
use crate::access::{AuditError, AuditSink, Durability, Event};
use crate::clock::UnixMillis;

pub struct Spool {
    /// None once the chain is closed.
    writer: Mutex<Option<Writer>>,
    state: Arc<SpoolState>,
    signed: Arc<Mutex<Vec<Line>>>,
}

impl Spool {
    pub fn start(beginning: Beginning) -> Result<Self, AuditError> {
        let state = Arc::clone(&beginning.state);
        let writer = Writer::start(beginning)?;
        Ok(Self { signed: writer.signed(), writer: Mutex::new(Some(writer)), state })
    }

    /// Signs for everything appended so far, with a new key if there is one.
    pub fn checkpoint(&self, key_file: &Path) -> Result<(), AuditError> {
        let in_file = SigningKey::load(key_file);
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or_else(stopped)?;
        match (in_file, writer.public_key()) {
            (Ok(Some(key)), Some(current)) if key.public() != current => {
                let notices = key.notices_after(Some(current), UnixMillis(0)).unwrap_or_default();
                // A key that nobody announced is taken at a start alone, when somebody looks.
                if notices.first().is_some_and(|notice| notice.is_announced_by(current)) {
                    writer.change_key(key, notices)?;
                } else {
                    let file = key_file.display();
                    tracing::warn!(%file, "the signing key is not announced by the one in use, which signs on");
                }
            }
            (Ok(Some(_)), _) => {}
            (result, _) => {
                let error = result.err().map(|error| error.to_string());
                let file = key_file.display();
                tracing::warn!(%file, error, "the signing key cannot be read; the one in memory signs on");
            }
        }
        writer.checkpoint()
    }

    /// What was signed and is not in the ledger yet.
    pub fn signed(&self) -> &Mutex<Vec<Line>> {
        &self.signed
    }

    /// Puts on record that everything up to a record is removed, on the disk when it returns.
    pub async fn pruned(&self, through: u64, why: &str) -> Result<(), AuditError> {
        self.writer.lock().as_mut().ok_or_else(stopped)?.pruned(through, why)?;
        self.sync().await.map(|_| ())
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
