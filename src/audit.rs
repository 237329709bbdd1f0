//! The record of every call: it cannot be skipped and it cannot be quietly changed.
//!
//! An event enters through [`AuditSink`] and is written to this replica's [spool](spool), a chain of
//! hashed records in files, before its caller goes on. From there the [shipper](shipper) moves it to
//! the [index](crate::store::audit_index), where people ask who saw what. The spool is the truth; the
//! index answers questions, and remembers how far the chain reached, so that an end that was cut off
//! shows. If either is not what it should be, calls are refused rather than made without a record.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc, time::Duration};
//! use tracegate::{audit::Audit, clock::SystemClock, config::audit::AuditConfig};
//! use tracegate::store::audit_index::AuditQuery;
//!
//! let audit = Audit::open(&AuditConfig::default(), None, Path::new("data"), Arc::new(SystemClock)).await?;
//! let sink = audit.sink(); // hand this to whoever records
//! audit.flush(Duration::from_secs(2)).await?;
//! let page = audit.query(&AuditQuery { trace_id: Some("tr-…".into()), ..Default::default() }).await?;
//! audit.close().await?;
//! # Ok(()) }
//! ```

mod call;
mod directory;
pub mod export;
mod reader;
mod record;
mod recover;
mod shipper;
mod spool;
mod state;
mod syncer;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

use self::shipper::{Shipper, Signals, index_position};
use self::spool::Spool;
use self::state::SpoolState;
use crate::access::{AuditError, AuditSink};
use crate::clock::Clock;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{
    AuditIndex, AuditIndexError, AuditIndexLocation, AuditPage, AuditQuery, IndexPosition,
};

pub use self::call::{Call, fold_calls};
pub use self::directory::DirectoryError;
pub use self::reader::{ChainFault, FaultKind};
pub use self::record::{Hash, Position};
pub use self::verify::{Known, Verified, VerifyError, verify};

/// How long a shutdown waits for the index to take what is left; the next start ships the rest.
const LAST_SHIPMENT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Index(#[from] AuditIndexError),
    /// No crash does this. Keep the directory and the index as they are and look into it; a new
    /// directory with a new replica name starts a new chain.
    #[error("the audit record was tampered with or lost, and stays shut: {0}")]
    Damaged(ChainFault),
    #[error("the audit record cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Spool(#[from] AuditError),
    #[error("the audit record cannot be opened: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl From<reader::ReadError> for AuditOpenError {
    fn from(error: reader::ReadError) -> Self {
        match error {
            reader::ReadError::Fault(fault) => Self::Damaged(fault),
            reader::ReadError::Io(error) => Self::Io(error),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    #[error(transparent)]
    Spool(#[from] AuditError),
    #[error("the index has not taken every audit record within the time allowed; {0} wait")]
    Late(u64),
}

/// The spool, the index and what runs between them.
pub struct Audit {
    replica: String,
    directory: PathBuf,
    spool: Arc<Spool>,
    index: AuditIndex,
    signals: Arc<Signals>,
    /// The last seq in the index.
    shipped: watch::Receiver<u64>,
    shipper: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens this replica's record and starts shipping. The index is in `database_url` if that is
    /// PostgreSQL, else in `audit.db` in the data directory.
    pub async fn open(
        config: &AuditConfig,
        database_url: Option<&str>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditOpenError> {
        let directory = config.directory_in(data_dir);
        let claimed = directory::claim(&directory, config.replica.as_deref())?;
        let replica = claimed.replica.clone();
        let index = open_index(database_url, data_dir).await?;
        let floor = known_position(&index, &replica).await?;

        let (path, name) = (directory.clone(), replica.clone());
        let (tail, reader, waiting) = tokio::task::spawn_blocking(move || {
            let tail = recover::recover(&path, &name, floor)?;
            let reader = recover::seek(&path, &name, floor)?;
            let waiting = bytes_after(&path, reader.place())?;
            Ok::<_, reader::ReadError>((tail, reader, waiting))
        })
        .await??;
        let state = Arc::new(SpoolState::new(tail.last.seq, floor.seq, waiting, config.max_spool_bytes));
        let segment_bytes = config.segment_bytes;
        let start = move || Spool::start(claimed, tail, state, clock, segment_bytes);
        let spool = Arc::new(tokio::task::spawn_blocking(start).await??);

        let signals = Arc::new(Signals { hurry: Notify::new(), finish: watch::Sender::new(false) });
        let (shipper, shipped) = Shipper::new(
            (directory.clone(), replica.clone()),
            Arc::clone(&spool),
            index.clone(),
            config.keep_segments,
            Arc::clone(&signals),
            reader,
        );
        let shipper = Mutex::new(Some(tokio::spawn(shipper.run())));
        Ok(Self { replica, directory, spool, index, signals, shipped, shipper })
    }

    pub fn sink(&self) -> Arc<dyn AuditSink> {
        Arc::clone(&self.spool) as Arc<dyn AuditSink>
    }

    pub fn replica(&self) -> &str {
        &self.replica
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Records of this replica, and of the others if they share the index.
    pub async fn query(&self, query: &AuditQuery) -> Result<AuditPage, AuditIndexError> {
        self.index.query(query).await
    }

    /// The index itself, for questions beyond [`query`](Self::query).
    pub fn index(&self) -> &AuditIndex {
        &self.index
    }

    /// How many records of this replica the index has not taken.
    pub fn backlog(&self) -> u64 {
        let state = self.spool.state();
        state.written_seq().saturating_sub(state.shipped_seq())
    }

    /// How many bytes those take.
    pub fn backlog_bytes(&self) -> u64 {
        self.spool.state().waiting_bytes()
    }

    /// Waits until the index holds everything appended so far, so that a query sees it. Fails at once
    /// if nothing more will be shipped.
    pub async fn flush(&self, at_most: Duration) -> Result<(), FlushError> {
        let target = self.spool.sync().await?;
        let mut shipped = self.shipped.clone();
        self.signals.hurry.notify_one();
        match tokio::time::timeout(at_most, shipped.wait_for(|seq| *seq >= target)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(FlushError::Late(self.backlog())),
        }
    }

    /// Ends the chain cleanly, ships what is left and releases the directory. Later appends are refused.
    pub async fn close(&self) -> Result<(), AuditError> {
        let closed = self.spool.close().await;
        self.signals.finish.send_replace(true);
        if let Some(mut shipper) = self.shipper.lock().await.take()
            && tokio::time::timeout(LAST_SHIPMENT, &mut shipper).await.is_err()
        {
            tracing::warn!(
                backlog = self.backlog(),
                "the index takes the last audit records at the next start"
            );
            shipper.abort();
        }
        self.index.close().await;
        closed
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some(shipper) = self.shipper.get_mut().take() {
            shipper.abort();
        }
    }
}

/// The last record that the index holds of the replica whose spool is in `directory`, to
/// [`verify`] against; `None` before the first start.
pub async fn known_to_index(
    config: &AuditConfig,
    database_url: Option<&str>,
    data_dir: &Path,
) -> Result<Option<Position>, AuditOpenError> {
    let Some(replica) = directory::replica(&config.directory_in(data_dir))? else { return Ok(None) };
    let index = open_index(database_url, data_dir).await?;
    let position = known_position(&index, &replica).await;
    index.close().await;
    position.map(Some)
}

async fn open_index(database_url: Option<&str>, data_dir: &Path) -> Result<AuditIndex, AuditIndexError> {
    let is_postgres = |url: &&str| url.starts_with("postgres://") || url.starts_with("postgresql://");
    match database_url.filter(is_postgres) {
        Some(url) => AuditIndex::open(AuditIndexLocation::Postgres(url)).await,
        None => AuditIndex::open(AuditIndexLocation::Sqlite(&data_dir.join("audit.db"))).await,
    }
}

async fn known_position(index: &AuditIndex, replica: &str) -> Result<Position, AuditOpenError> {
    let genesis = index_position(Position::genesis(replica));
    let IndexPosition { seq, hash } = index.position(replica, genesis).await?;
    Ok(Position { seq, hash })
}

/// The bytes of records after a place in the spool; headers of segments do not count.
fn bytes_after(directory: &Path, place: Option<(u64, u64)>) -> std::io::Result<u64> {
    let (first_seq, offset) = place.unwrap_or_default();
    let mut bytes = 0;
    for segment in directory::segments(directory)?.into_iter().filter(|segment| *segment >= first_seq) {
        let path = directory.join(directory::segment_name(segment));
        let length = std::fs::metadata(&path)?.len();
        let before = if segment == first_seq { offset } else { directory::header_len(&path)? };
        bytes += length.saturating_sub(before);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
