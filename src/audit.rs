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
mod checkpoint;
mod directory;
pub mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod ledger;
mod mirror;
mod publisher;
mod reader;
mod record;
mod recover;
mod retention;
mod segment;
mod shipper;
mod signing;
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

use self::ledger::Ledger;
use self::mirror::Mirror;
use self::publisher::{Outlet, Publisher};
use self::retention::Pruner;
use self::shipper::{Shipper, Signals, index_position};
use self::spool::Spool;
use self::state::SpoolState;
use self::writer::{Beginning, files_in};
use crate::access::{AuditError, AuditSink, Durability, Event};
use crate::clock::Clock;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{
    AuditIndex, AuditIndexError, AuditIndexLocation, AuditPage, AuditQuery, IndexPosition,
};

pub use self::call::{Call, fold_calls};
pub use self::checkpoint::{Checkpoint, Line};
pub use self::directory::DirectoryError;
pub use self::reader::{ChainFault, FaultKind};
pub use self::record::{Hash, Position};
pub use self::signing::{KeyError, KeyNotice, PublicKey, SigningKey};
pub use self::verify::{
    IndexVerified, Known, Progress, Verified, VerifyError, VerifyIndexError, export, read_checkpoints,
    verify, verify_export, verify_index, verify_index_alone,
};

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
    #[error(transparent)]
    Key(#[from] KeyError),
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
    key_file: PathBuf,
    outlet: Arc<Outlet>,
    publisher: Mutex<Option<JoinHandle<()>>>,
    /// Aborted with the record: the mirror and the pruning.
    others: Vec<JoinHandle<()>>,
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
        let key_file = config.signing_key_in(data_dir);
        let settings = config.clone();
        let (key_path, time) = (key_file.clone(), Arc::clone(&clock));
        let start = move || {
            let tail = recover::recover(&path, &name, floor)?;
            let ledger = Ledger::open(&path, &name)?;
            let signer = Some(ledger.signer(&key_path, time.now())?);
            let reader = recover::seek(&path, &name, floor)?;
            let waiting = bytes_after(&path, reader.place())?;
            let state =
                Arc::new(SpoolState::new(tail.last.seq, floor.seq, waiting, settings.max_spool_bytes));
            let (segment_bytes, open_segment) = (settings.segment_bytes, files_in(path));
            let beginning =
                Beginning { claimed, tail, state, clock: time, segment_bytes, open_segment, signer };
            Ok::<_, AuditOpenError>((Spool::start(beginning)?, reader))
        };
        let (spool, reader) = tokio::task::spawn_blocking(start).await??;
        let spool = Arc::new(spool);

        let signals = Arc::new(Signals { hurry: Notify::new(), finish: watch::Sender::new(false) });
        let (shipper, shipped) = Shipper::new(
            (directory.clone(), replica.clone()),
            Arc::clone(&spool),
            index.clone(),
            Arc::clone(&signals),
            reader,
        );
        let mirror = match &config.checkpoint_mirror {
            Some(target) => Some(Arc::new(Mirror::new(&directory, target)?)),
            None => None,
        };
        let outlet = Arc::new(Outlet {
            directory: directory.clone(),
            spool: Arc::clone(&spool),
            mirror: mirror.clone(),
            one_at_a_time: Mutex::new(()),
        });
        outlet.publish().await?;
        let publisher = Publisher {
            outlet: Arc::clone(&outlet),
            key_file: key_file.clone(),
            every: Duration::from_secs(60 * u64::from(config.checkpoint_minutes)),
            finish: signals.finish.subscribe(),
        };
        let pruner = Pruner::new(config, &directory, &replica, Arc::clone(&spool), index.clone(), clock);
        let mut others = vec![tokio::spawn(pruner.run(shipped.clone()))];
        others.extend(mirror.clone().map(|mirror| tokio::spawn(mirror.run())));
        let shipper = Mutex::new(Some(tokio::spawn(shipper.run())));
        let publisher = Mutex::new(Some(tokio::spawn(publisher.run())));
        Ok(Self {
            replica,
            directory,
            spool,
            index,
            signals,
            shipped,
            shipper,
            key_file,
            outlet,
            publisher,
            others,
        })
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

    /// Signs for everything appended so far, now instead of when it is due.
    pub async fn checkpoint(&self) -> Result<(), AuditError> {
        self.spool.checkpoint(&self.key_file)?;
        self.outlet.publish().await.map_err(|error| AuditError(error.to_string()))
    }

    /// What this replica has signed, oldest first: checkpoints, and the notices of the keys.
    pub async fn signed(&self) -> std::io::Result<Vec<Line>> {
        let file = self.directory.join(ledger::CHECKPOINTS);
        tokio::task::spawn_blocking(move || ledger::read(&file)).await.map_err(std::io::Error::other)?
    }

    /// How many signed lines are not in the mirror, as last known.
    pub fn mirror_lag(&self) -> u64 {
        self.outlet.mirror.as_ref().map_or(0, |mirror| mirror.lag())
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
        if let Some(publisher) = self.publisher.lock().await.take() {
            let _ = publisher.await;
        }
        if let Some(mirror) = &self.outlet.mirror
            && !matches!(tokio::time::timeout(LAST_SHIPMENT, mirror.send_all()).await, Ok(Ok(())))
        {
            tracing::warn!(lag = mirror.lag(), "the mirror takes the last checkpoints at the next start");
        }
        for other in &self.others {
            other.abort();
        }
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
        for task in [self.shipper.get_mut().take(), self.publisher.get_mut().take()].into_iter().flatten() {
            task.abort();
        }
        for other in &self.others {
            other.abort();
        }
    }
}

/// Writes one record at the end of the chain that no process holds, and ends it cleanly; its seq. The index takes it
/// in at the next start.
pub async fn note(
    config: &AuditConfig,
    data_dir: &Path,
    clock: Arc<dyn Clock>,
    event: Event,
) -> Result<u64, AuditOpenError> {
    let directory = config.directory_in(data_dir);
    let claimed = directory::claim(&directory, config.replica.as_deref())?;
    let name = claimed.replica.clone();
    let tail = recover::recover(&directory, &name, Position::genesis(&name))?;
    let ledger = Ledger::open(&directory, &name)?;
    let signer = Some(ledger.signer(&config.signing_key_in(data_dir), clock.now())?);
    let state = Arc::new(SpoolState::new(tail.last.seq, tail.last.seq, 0, config.max_spool_bytes));
    let (segment_bytes, open_segment) = (config.segment_bytes, files_in(directory));
    let spool = Spool::start(Beginning { claimed, tail, state, clock, segment_bytes, open_segment, signer })?;
    spool.append(event, Durability::Synced).await?;
    let noted = spool.state().written_seq();
    spool.close().await?;
    Ok(noted)
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
    let position = index.known_position(&replica).await;
    index.close().await;
    Ok(position?.map(|IndexPosition { seq, hash }| Position { seq, hash }))
}

/// Where the index of a gateway with this configuration is.
pub async fn open_index(database_url: Option<&str>, data_dir: &Path) -> Result<AuditIndex, AuditIndexError> {
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
