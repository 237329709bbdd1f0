//! Group commit: what arrives while a commit runs goes into the next one together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::commit::{ATTEMPTS, commit, pause, sum_up};
use super::head::Head;
use super::parquet_file::{self, Encoded};
use super::table::{Latest, Table};
use super::{Committed, durable, fit};
use crate::LakeError;

/// Rows of a commit, at most; more wait for the next.
const MOST_ROWS: usize = 200_000;
/// Rows from which a commit is encoded by two threads.
const TWO_FILES: usize = 20_000;

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
    pub fn may_follow(&self, last: Option<i64>) -> bool {
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
    let mut head = None;
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
        together(&table, &mut head, group).await;
    }
}

/// Commits a group, and tells everybody in it what came of it.
async fn together(table: &Arc<Table>, head: &mut Option<Head>, group: Vec<Append>) {
    let (head, latest) = match opened(table, head, &group).await {
        Ok(opened) => opened,
        Err(error) => return refuse(group, &error),
    };
    let columns = SchemaRef::clone(head.columns());
    let mut written: HashMap<String, Numbered> = HashMap::new();
    let (mut batches, mut waiting) = (Vec::new(), Vec::new());
    for append in group {
        if let Some(numbered) = &append.numbered {
            let writer = &numbered.writer;
            let last = match (written.get(writer), &latest) {
                (Some(last), _) => Ok(Some(last.sequence)),
                (None, Some(latest)) => latest.last_sequence(writer).await,
                (None, None) => {
                    Err(LakeError::Internal("numbered rows without the newest version".to_owned()))
                }
            };
            match last {
                Err(error) => {
                    let _ = append.answer.send(Err(error));
                    continue;
                }
                Ok(last) if !numbered.may_follow(last) => {
                    let version = i64::try_from(head.version()).unwrap_or(i64::MAX);
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
    let done = write(table, head, &columns, batches, &written).await;
    for (answer, written) in waiting {
        let _ = answer.send(match &done {
            Ok(version) => Ok(Committed { version: *version, written }),
            Err(error) => Err(again(error)),
        });
    }
}

/// The table to commit to, and for what is numbered its newest version, which another process may have written.
async fn opened<'a>(
    table: &Table,
    head: &'a mut Option<Head>,
    group: &[Append],
) -> Result<(&'a mut Head, Option<Latest>), LakeError> {
    let numbered = group.iter().any(|append| append.numbered.is_some());
    let mut attempt = 0;
    let latest = loop {
        let found = async {
            match head {
                None => *head = Some(Head::open(table).await?),
                Some(head)
                    if numbered || head.is_old() || !group.iter().all(|append| knows(head, append)) =>
                {
                    head.catch_up(table).await?;
                }
                Some(_) => {}
            }
            // After the head: what it says is then never newer than this.
            if numbered { table.latest().await.map(Some) } else { Ok(None) }
        };
        attempt += 1;
        match found.await {
            Err(LakeError::Storage(_)) if attempt < ATTEMPTS => pause(attempt).await,
            other => break other?,
        }
    };
    match head {
        Some(head) => Ok((head, latest)),
        None => Err(LakeError::Internal("a table was not opened".to_owned())),
    }
}

/// Whether the head has all columns of the rows; somebody may have added one since.
fn knows(head: &Head, append: &Append) -> bool {
    let fields = append.rows.schema_ref().fields();
    fields.iter().all(|field| head.columns().field_with_name(field.name()).is_ok())
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
        LakeError::Unsupported(problem) => LakeError::Unsupported(problem.clone()),
        LakeError::Internal(problem) => LakeError::Internal(problem.clone()),
    }
}

/// Writes the rows as files and commits these; answers the version that has them.
async fn write(
    table: &Arc<Table>,
    head: &mut Head,
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
    let version = commit(table, head, columns, adds, numbered).await?;
    durable::sync(table.directory.as_deref(), &[durable::commit_file(version)])?;
    if (version + 1).is_multiple_of(head.checkpoint_every()) {
        tokio::spawn(sum_up(table.place.clone(), LogStoreRef::clone(&table.log_store)));
    }
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
