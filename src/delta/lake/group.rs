//! Group commit: what arrives while a commit runs goes into the next one together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::parquet_file::{self, Encoded};
use super::table::{Latest, Table};
use super::{Committed, durable, fit};
use crate::LakeError;

/// Rows of a commit, at most; more wait for the next.
const MOST_ROWS: usize = 200_000;
/// Rows from which a commit is encoded by two threads.
const TWO_FILES: usize = 20_000;
/// How often a commit that failed is tried again.
const ATTEMPTS: usize = 8;
/// How often a commit gives way to others' before it counts as failed.
const GIVES_WAY: usize = 30;

/// The place of rows among those of a writer that numbers them.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub writer: String,
    pub sequence: i64,
    pub follows: Follows,
}

/// What must be the last that the table has of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Anything before it.
    Lower,
    Exactly(Option<i64>),
}

impl Numbered {
    fn may_follow(&self, last: Option<i64>) -> bool {
        match self.follows {
            Follows::Lower => last.is_none_or(|last| last < self.sequence),
            Follows::Exactly(wanted) => last == wanted,
        }
    }
}

/// Rows that wait for their commit, and who waits for it.
pub(super) struct Append {
    pub rows: RecordBatch,
    pub numbered: Option<Numbered>,
    pub answer: oneshot::Sender<Result<Committed, LakeError>>,
    pub _room: OwnedSemaphorePermit,
}

pub(super) async fn run(table: Weak<Table>, mut appends: mpsc::Receiver<Append>) {
    while let Some(first) = appends.recv().await {
        let Some(table) = table.upgrade() else { return };
        let mut group = vec![first];
        let mut rows = group.iter().map(|append| append.rows.num_rows()).sum::<usize>();
        while rows < MOST_ROWS
            && let Ok(more) = appends.try_recv()
        {
            rows += more.rows.num_rows();
            group.push(more);
        }
        commit(&table, group).await;
    }
}

/// Commits a group, and tells everybody in it what came of it.
async fn commit(table: &Arc<Table>, group: Vec<Append>) {
    // What is numbered may have been written by another process meanwhile.
    let latest = match opened(table, group.iter().any(|append| append.numbered.is_some())).await {
        Ok(latest) => latest,
        Err(error) => return refuse(group, &error),
    };
    let columns = match latest.columns() {
        Ok(columns) => columns,
        Err(error) => return refuse(group, &error),
    };
    let mut written: HashMap<String, Numbered> = HashMap::new();
    let (mut batches, mut waiting) = (Vec::new(), Vec::new());
    for append in group {
        if let Some(numbered) = &append.numbered {
            let writer = &numbered.writer;
            let last = match written.get(writer) {
                Some(last) => Ok(Some(last.sequence)),
                None => latest.last_sequence(writer).await,
            };
            match last {
                Err(error) => {
                    let _ = append.answer.send(Err(error));
                    continue;
                }
                Ok(last) if !numbered.may_follow(last) => {
                    let version = i64::try_from(latest.state.version()).unwrap_or(i64::MAX);
                    // Of this group's own it is known only once the group is committed.
                    match written.contains_key(writer) {
                        true => waiting.push((append.answer, false)),
                        false => {
                            let _ = append.answer.send(Ok(Committed { version, written: false }));
                        }
                    }
                    continue;
                }
                Ok(_) => {}
            }
        }
        match fit::fit(&append.rows, &columns) {
            Ok(rows) => {
                if let Some(numbered) = append.numbered {
                    // Of several in one group the first says what the commit as a whole must follow.
                    let follows = written.get(&numbered.writer).map(|first| first.follows);
                    let follows = follows.unwrap_or(numbered.follows);
                    written.insert(numbered.writer.clone(), Numbered { follows, ..numbered });
                }
                batches.push(rows);
                waiting.push((append.answer, true));
            }
            Err(error) => {
                let _ = append.answer.send(Err(error));
            }
        }
    }
    if batches.is_empty() {
        return;
    }
    let done = write(table, latest, &columns, batches, &written).await;
    for (answer, written) in waiting {
        let _ = answer.send(match &done {
            Ok(version) => Ok(Committed { version: *version, written }),
            Err(error) => Err(again(error)),
        });
    }
}

/// The table to commit to; a store that fails now and then is asked again.
async fn opened(table: &Table, newest: bool) -> Result<Latest, LakeError> {
    let mut attempt = 0;
    loop {
        let found = if newest { table.latest().await } else { table.known().await };
        attempt += 1;
        match found {
            Err(LakeError::Storage(_)) if attempt < ATTEMPTS => pause(attempt).await,
            other => return other,
        }
    }
}

fn refuse(group: Vec<Append>, error: &LakeError) {
    for append in group {
        let _ = append.answer.send(Err(again(error)));
    }
}

/// An error, for one more of those who wait.
fn again(error: &LakeError) -> LakeError {
    match error {
        LakeError::NoTable(place) => LakeError::NoTable(place.clone()),
        LakeError::Malformed(problem) => LakeError::Malformed(problem.clone()),
        LakeError::Contended(place) => LakeError::Contended(place.clone()),
        LakeError::Busy => LakeError::Busy,
        LakeError::Storage(problem) => LakeError::Storage(problem.clone()),
        LakeError::Internal(problem) => LakeError::Internal(problem.clone()),
    }
}

/// Writes the rows as files and commits these; answers the version that has them.
async fn write(
    table: &Arc<Table>,
    latest: Latest,
    columns: &SchemaRef,
    batches: Vec<RecordBatch>,
    numbered: &HashMap<String, Numbered>,
) -> Result<i64, LakeError> {
    let mut adds = Vec::new();
    let batches: Vec<RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
    for Encoded { add, bytes } in encoded(columns, batches).await? {
        let path = Path::from(add.path.as_str());
        let (store, bytes) = (table.log_store.object_store(None), bytes::Bytes::from(bytes));
        // The same path again is the same file.
        let put = || async { store.put(&path, bytes.clone().into()).await };
        let mut attempt = 0;
        while let Err(error) = put().await {
            attempt += 1;
            if attempt == ATTEMPTS {
                return Err(LakeError::Storage(error.to_string()));
            }
            pause(attempt).await;
        }
        adds.push(add);
    }
    let files: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
    durable::sync(table.directory.as_deref(), &files)?;
    let version = committed(table, latest, &adds, numbered).await?;
    durable::sync(table.directory.as_deref(), &[durable::commit_file(version)])?;
    i64::try_from(version).map_err(|error| LakeError::Internal(error.to_string()))
}

/// Rows as one file, or as two that are made at the same time.
async fn encoded(columns: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<Vec<Encoded>, LakeError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    if rows >= TWO_FILES && batches.len() > 1 {
        parts.push(batches.split_off(batches.len() / 2));
    }
    parts.push(batches);
    let now = jiff::Timestamp::now().as_millisecond();
    let works: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let columns = SchemaRef::clone(columns);
            tokio::task::spawn_blocking(move || parquet_file::encode(&columns, &part, now))
        })
        .collect();
    let mut files = Vec::new();
    for work in works {
        files.push(work.await.map_err(|error| LakeError::Internal(error.to_string()))??);
    }
    Ok(files)
}

/// Commits files. Whether a commit that failed took place all the same is found out before it is tried again: a
/// file that is there is not added twice, even if it was merged into another meanwhile.
async fn committed(
    table: &Arc<Table>,
    mut latest: Latest,
    adds: &[Add],
    numbered: &HashMap<String, Numbered>,
) -> Result<u64, LakeError> {
    let first = latest.state.version();
    let mut last_error = LakeError::Contended(table.place.clone());
    for attempt in 1..=ATTEMPTS {
        let transactions = numbered.values().map(|one| Transaction::new(&one.writer, one.sequence)).collect();
        let properties = CommitProperties::default()
            .with_max_retries(GIVES_WAY)
            .with_application_transactions(transactions);
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let done = CommitBuilder::from(properties)
            .with_actions(adds.iter().cloned().map(Action::Add).collect())
            .build(Some(&latest.state), LogStoreRef::clone(&table.log_store), operation)
            .await;
        match done {
            Ok(done) => {
                let version = done.version();
                table.learn(done.snapshot()).await;
                return Ok(version);
            }
            Err(error) => last_error = LakeError::Storage(error.to_string()),
        }
        pause(attempt).await;
        match table.latest().await {
            Ok(now) => latest = now,
            Err(error) => {
                last_error = error;
                continue;
            }
        }
        if let Some(version) = found(table, first, latest.state.version(), adds).await? {
            return Ok(version);
        }
        for one in numbered.values() {
            if !one.may_follow(latest.last_sequence(&one.writer).await?) {
                // Another process wrote the same rows first; ours must not come on top.
                return Err(LakeError::Contended(table.place.clone()));
            }
        }
    }
    Err(last_error)
}

/// The version after `first` that adds these files.
async fn found(table: &Table, first: u64, last: u64, adds: &[Add]) -> Result<Option<u64>, LakeError> {
    let Some(add) = adds.first() else { return Ok(None) };
    for version in first + 1..=last {
        let entry = table.log_store.read_commit_entry(version).await;
        let entry = entry.map_err(|error| LakeError::Storage(error.to_string()))?;
        let holds = |bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).contains(&add.path);
        if entry.is_some_and(holds) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// A little longer each time, and not as long as others who failed with us.
async fn pause(attempt: usize) {
    let most = 20_u64 << attempt.min(6);
    let random = u64::from_le_bytes(uuid::Uuid::new_v4().into_bytes()[..8].try_into().unwrap_or_default());
    tokio::time::sleep(Duration::from_millis(most / 2 + random % most)).await;
}
