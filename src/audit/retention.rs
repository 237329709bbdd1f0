//! Removes what is past its time: whole segments from the spool, single events from the index.
//!
//! A hash chain cannot lose a record from its middle. So the spool gives up segments from its start, each
//! when every record in it is past the retention of its class and in the index. The segment that is then
//! the first begins with a checkpoint, which stands for what is gone; and a `pruned` record says, before
//! anything is removed, that it is on purpose. The index gives up each event when its own class is due.
//!
//! Under a legal hold nothing is removed at all.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::directory;
use super::reader::{ChainReader, ReadError};
use super::record::RecordKind;
use super::spool::Spool;
use crate::access::{Event, EventKind, Verdict};
use crate::clock::{Clock, UnixMillis};
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{AuditIndex, AuditQuery, Order, Removal};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a record is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Read,
    Change,
    Denial,
}

impl Class {
    /// What is not known to be a read is a change.
    pub fn of(event: &Event) -> Self {
        if event.decision == Verdict::Deny {
            return Self::Denial;
        }
        let ends = |name: &str, with: &[&str]| with.iter().any(|end| name.ends_with(end));
        let reads = match event.privileges.as_slice() {
            _ if event.kind == EventKind::PolicyChange => false,
            [] => {
                matches!(event.request.method.as_str(), "GET" | "HEAD")
                    || ends(&event.operation, &[".search", ".list", ".get"])
            }
            privileges => privileges.iter().all(|name| ends(name, &[".read", ".list", ".view"])),
        };
        if reads { Self::Read } else { Self::Change }
    }
}

/// How long records are kept, in days; `None` is for ever.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    reads: Option<u32>,
    changes: Option<u32>,
    denials: Option<u32>,
}

impl Retention {
    pub fn of(config: &AuditConfig) -> Self {
        Self {
            reads: config.retention_days_reads,
            changes: config.retention_days_changes,
            denials: config.retention_days_denials,
        }
    }

    /// From when on an event may go.
    pub fn due(&self, event: &Event) -> Option<UnixMillis> {
        let days = match Class::of(event) {
            Class::Read => self.reads,
            Class::Change => self.changes,
            Class::Denial => self.denials,
        };
        days.map(|days| UnixMillis(event.time.0.saturating_add(i64::from(days) * DAY_MILLIS)))
    }

    pub fn shortest(&self) -> Option<u32> {
        [self.reads, self.changes, self.denials].into_iter().flatten().min()
    }

    /// When nothing is left of a day; `None` if something is kept for ever.
    pub fn longest(&self) -> Option<u32> {
        Some(self.reads?.max(self.changes?).max(self.denials?))
    }
}

pub struct Pruner {
    directory: PathBuf,
    replica: String,
    spool: Arc<Spool>,
    index: AuditIndex,
    clock: Arc<dyn Clock>,
    keep_segments: bool,
    retention: Retention,
    legal_hold: Option<String>,
    /// When each segment may go, once it was looked through; it does not change any more.
    due: HashMap<u64, Option<UnixMillis>>,
}

#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Spool(#[from] crate::access::AuditError),
    #[error(transparent)]
    Index(#[from] crate::store::audit_index::AuditIndexError),
}

impl Pruner {
    pub fn new(
        config: &AuditConfig,
        directory: &Path,
        replica: &str,
        spool: Arc<Spool>,
        index: AuditIndex,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            replica: replica.to_owned(),
            spool,
            index,
            clock,
            keep_segments: config.keep_segments,
            retention: Retention::of(config),
            legal_hold: config.legal_hold.clone(),
            due: HashMap::new(),
        }
    }

    /// Removes what is due, now and then, as long as the spool is open.
    pub async fn run(mut self, mut shipped: watch::Receiver<u64>) {
        if let Some(reason) = &self.legal_hold {
            tracing::info!(reason, "audit records are under a legal hold: none is removed");
            return;
        }
        if self.keep_segments && self.retention.shortest().is_none() {
            return;
        }
        loop {
            let held = *shipped.borrow_and_update();
            if let Err(error) = self.prune(held).await {
                tracing::warn!(%error, "audit records that are past their time cannot be removed");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                changed = shipped.changed(), if !self.keep_segments => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Removes what is due, given the last record that the index holds.
    pub async fn prune(&mut self, shipped: u64) -> Result<(), PruneError> {
        if self.legal_hold.is_some() {
            return Ok(());
        }
        self.prune_spool(shipped).await?;
        self.prune_index().await
    }

    async fn prune_spool(&mut self, shipped: u64) -> Result<(), PruneError> {
        let mut look = Look {
            directory: self.directory.clone(),
            replica: self.replica.clone(),
            retention: self.keep_segments.then_some(self.retention),
            due: std::mem::take(&mut self.due),
        };
        let now = self.clock.now();
        let found = tokio::task::spawn_blocking(move || {
            let found = look.due_segments(shipped, now);
            (look.due, found)
        });
        let (due, found) = found.await.map_err(io::Error::other)?;
        self.due = due;
        let going = found?;
        let Some((_, through)) = going.last().copied() else { return Ok(()) };
        let why = if self.keep_segments { "retention" } else { "keep_segments is off" };
        self.spool.pruned(through, why).await?;
        // Oldest first: a crash in between leaves a chain that begins later, and no hole.
        for (first_seq, _) in going {
            std::fs::remove_file(self.directory.join(directory::segment_name(first_seq)))?;
            self.due.remove(&first_seq);
        }
        directory::sync_directory(&self.directory)?;
        tracing::info!(through, why, "audit segments were removed");
        Ok(())
    }

    /// Whichever replica's records they are: one that is gone removes its own no more.
    async fn prune_index(&self) -> Result<(), PruneError> {
        let Some(shortest) = self.retention.shortest() else { return Ok(()) };
        let now = self.clock.now();
        let before = UnixMillis(now.0.saturating_sub(i64::from(shortest) * DAY_MILLIS).saturating_add(1));
        let mut query = AuditQuery {
            until: Some(before),
            order: Order::OldestFirst,
            limit: Some(AuditQuery::LARGEST_LIMIT),
            ..AuditQuery::default()
        };
        loop {
            let page = self.index.query(&query).await?;
            let removals: Vec<Removal> = page
                .entries
                .iter()
                .filter_map(|entry| Some(Removal { id: entry.id, event: entry.event()? }))
                .filter(|removal| self.retention.due(&removal.event).is_some_and(|due| due <= now))
                .collect();
            if !removals.is_empty() {
                self.index.remove(&removals).await?;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        if let Some(longest) = self.retention.longest() {
            let before = now.0.saturating_sub(i64::from(longest) * DAY_MILLIS);
            self.index.remove_counts(UnixMillis(before)).await?;
        }
        Ok(())
    }
}

/// Reads segments, which takes a while, on a thread that may wait.
struct Look {
    directory: PathBuf,
    replica: String,
    /// `None` if all may go as soon as the index has it.
    retention: Option<Retention>,
    due: HashMap<u64, Option<UnixMillis>>,
}

impl Look {
    /// The segments that may go, oldest first, each with its last seq; never the one that is written.
    fn due_segments(&mut self, shipped: u64, now: UnixMillis) -> Result<Vec<(u64, u64)>, PruneError> {
        let segments = directory::segments(&self.directory)?;
        let mut going = Vec::new();
        let mut vouched_for = 0;
        for pair in segments.windows(2) {
            let [first_seq, next] = *pair else { break };
            if next > shipped + 1 || !self.is_due(first_seq, now)? {
                break;
            }
            going.push((first_seq, next - 1));
            // Only what a checkpoint stands for can go.
            let mut reader = ChainReader::at_segment(&self.directory, &self.replica, next)?;
            if reader.next()?.is_some_and(|record| record.kind == RecordKind::Checkpoint) {
                vouched_for = going.len();
            }
        }
        going.truncate(vouched_for);
        Ok(going)
    }

    fn is_due(&mut self, first_seq: u64, now: UnixMillis) -> Result<bool, ReadError> {
        let Some(retention) = self.retention else { return Ok(true) };
        let due = match self.due.get(&first_seq) {
            Some(due) => *due,
            None => {
                let due = self.last_due(first_seq, retention)?;
                self.due.insert(first_seq, due);
                due
            }
        };
        Ok(due.is_some_and(|due| due <= now))
    }

    /// When the last event of a sealed segment may go; `None` if one stays for ever.
    fn last_due(&self, first_seq: u64, retention: Retention) -> Result<Option<UnixMillis>, ReadError> {
        let mut reader = ChainReader::at_segment(&self.directory, &self.replica, first_seq)?;
        let mut last = UnixMillis(i64::MIN);
        loop {
            let Some(record) = reader.next()? else { return Ok(Some(last)) };
            let due = match record.kind {
                // One that cannot be read is of a later version, and its class is not known.
                RecordKind::Event => serde_json::from_slice::<Event>(record.payload)
                    .ok()
                    .and_then(|event| retention.due(&event)),
                _ => Some(last),
            };
            if reader.place().is_some_and(|(segment, _)| segment != first_seq) {
                return Ok(Some(last));
            }
            match due {
                Some(due) => last = last.max(due),
                None => return Ok(None),
            }
        }
    }
}
