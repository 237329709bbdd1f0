//! Moves records from the spool to the index: in order, each exactly once, and only what is on the disk.
//!
//! "Only what is on the disk" is what makes the index a witness: whatever it holds, a crash cannot have
//! taken from the spool, so a spool that lacks it was tampered with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::reader::{ChainReader, FaultKind, ReadError};
use super::record::{Position, RecordKind, encoded_len};
use super::recover::seek;
use super::spool::Spool;
use crate::access::Event;
use crate::clock::UnixMillis;
use crate::store::audit_index::{AuditIndex, AuditIndexError, IndexPosition, IndexRow, RowBody};

/// Lets records gather, so that reads alone do not cost an fsync each.
const GATHER: Duration = Duration::from_millis(200);
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: u64 = 4 << 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error(transparent)]
    Index(#[from] AuditIndexError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Spool(String),
}

/// How others talk to the shipper while it runs.
#[derive(Debug)]
pub struct Signals {
    /// Somebody waits for what is in the spool now.
    pub hurry: Notify,
    /// The spool is closed: ship what it holds, then stop.
    pub finish: watch::Sender<bool>,
}

pub struct Shipper {
    directory: PathBuf,
    replica: String,
    spool: Arc<Spool>,
    index: AuditIndex,
    signals: Arc<Signals>,
    /// Tells the last seq in the index; closed when the shipper ends.
    shipped: watch::Sender<u64>,
    /// The last record in the index.
    position: Position,
    /// Reads what follows `position`; opened anew after a failure.
    reader: Option<ChainReader>,
}

struct Batch {
    rows: Vec<IndexRow>,
    last: Position,
    bytes: u64,
}

impl Shipper {
    /// A shipper of what `reader` gives, and where it tells how far it came.
    pub fn new(
        claimed: (PathBuf, String),
        spool: Arc<Spool>,
        index: AuditIndex,
        signals: Arc<Signals>,
        reader: ChainReader,
    ) -> (Self, watch::Receiver<u64>) {
        let (directory, replica) = claimed;
        let position = reader.position();
        let (shipped, told) = watch::channel(position.seq);
        let reader = Some(reader);
        (Self { directory, replica, spool, index, signals, shipped, position, reader }, told)
    }

    pub async fn run(mut self) {
        let mut finish = self.signals.finish.subscribe();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let finishing = *finish.borrow_and_update();
            match self.ship(finishing).await {
                Ok(()) if finishing => return,
                Ok(()) => {
                    pause = SHORTEST_PAUSE;
                    self.wait_for_more(&mut finish).await;
                }
                Err(ShipError::Read(ReadError::Fault(fault))) => {
                    // Somebody changes the record while we run: stop answering for it.
                    self.spool.state().fail(format!("the audit record was tampered with: {fault}"));
                    return;
                }
                Err(_) if finishing && self.spool.state().check().is_err() => return,
                Err(error) => {
                    tracing::warn!(%error, "audit records wait for the index");
                    self.reader = None;
                    // A hurry does not shorten this pause: whoever waits has a limit of their own.
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = finish.changed() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn wait_for_more(&self, finish: &mut watch::Receiver<bool>) {
        tokio::select! {
            () = async {
                self.spool.state().appended.notified().await;
                tokio::time::sleep(GATHER).await;
            } => {}
            () = self.signals.hurry.notified() => {}
            _ = finish.changed() => {}
        }
    }

    /// Ships everything that was in the spool when it was called.
    async fn ship(&mut self, finishing: bool) -> Result<(), ShipError> {
        let state = Arc::clone(self.spool.state());
        if state.written_seq() == self.position.seq {
            return Ok(());
        }
        let on_disk = if finishing {
            // A spool that closed is on the disk; one that failed says so here.
            state.check().map_err(|error| ShipError::Spool(error.0))?;
            state.written_seq()
        } else if state.is_open() {
            self.spool.sync().await.map_err(|error| ShipError::Spool(error.0))?
        } else {
            return Ok(());
        };
        while self.position.seq < on_disk {
            let batch = self.read(on_disk).await?;
            self.insert(&batch).await?;
            self.position = batch.last;
            state.shipped(batch.last.seq, batch.bytes);
            self.shipped.send_replace(batch.last.seq);
        }
        Ok(())
    }

    async fn read(&mut self, until: u64) -> Result<Batch, ShipError> {
        let (directory, replica, position) = (self.directory.clone(), self.replica.clone(), self.position);
        let reader = self.reader.take();
        let work = move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => seek(&directory, &replica, position)?,
            };
            let batch = read_batch(&mut reader, until)?;
            Ok::<_, ReadError>((reader, batch))
        };
        let (reader, batch) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ShipError::Spool(error.to_string()))??;
        self.reader = Some(reader);
        Ok(batch)
    }

    async fn insert(&self, batch: &Batch) -> Result<(), ShipError> {
        let (after, last) = (index_position(self.position), index_position(batch.last));
        match self.index.insert(&self.replica, after, last, &batch.rows).await {
            // A commit whose answer was lost is a commit all the same.
            Err(error @ AuditIndexError::Moved { .. }) => {
                let genesis = index_position(Position::genesis(&self.replica));
                if self.index.position(&self.replica, genesis).await? == last {
                    Ok(())
                } else {
                    Err(error.into())
                }
            }
            result => Ok(result?),
        }
    }
}

pub fn index_position(position: Position) -> IndexPosition {
    IndexPosition { seq: position.seq, hash: position.hash }
}

fn read_batch(reader: &mut ChainReader, until: u64) -> Result<Batch, ReadError> {
    let mut batch = Batch { rows: Vec::new(), last: reader.position(), bytes: 0 };
    while batch.last.seq < until && batch.rows.len() < BATCH_RECORDS && batch.bytes < BATCH_BYTES {
        let Some(record) = reader.next()? else {
            return Err(reader.fault(FaultKind::Missing { known: until }).into());
        };
        batch.bytes += encoded_len(record.payload.len());
        batch.rows.push(row(record.position, record.kind, record.payload));
        batch.last = record.position;
    }
    Ok(batch)
}

/// A record as the index takes it.
pub fn row(at: Position, kind: RecordKind, payload: &[u8]) -> IndexRow {
    let event = match kind {
        RecordKind::Event => serde_json::from_slice::<Event>(payload).ok(),
        _ => None,
    };
    let body = event.map_or_else(
        || RowBody::Chain {
            kind: match kind {
                // Written by a later version: indexed all the same, so that nothing is held up.
                RecordKind::Event => "unreadable",
                other => other.as_str(),
            },
            time: time_of(payload),
        },
        |event| RowBody::Event(Box::new(event)),
    );
    IndexRow { seq: at.seq, body, json: String::from_utf8_lossy(payload).into_owned(), hash: at.hash }
}

fn time_of(payload: &[u8]) -> UnixMillis {
    let time = serde_json::from_slice::<serde_json::Value>(payload)
        .ok()
        .and_then(|payload| payload.get("time_ms")?.as_i64());
    UnixMillis(time.unwrap_or_default())
}
