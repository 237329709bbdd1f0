//! Merges files into others with the same rows, ordered by time.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake_core::kernel::transaction::{PROTOCOL, TransactionError};
use deltalake_core::kernel::{Action, LogicalFileView, Version};
use deltalake_core::logstore::get_actions;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use uuid::Uuid;

use super::cluster::{BIN, Clock, Small, bins};
use super::commit::{Entry, failed_again};
use super::parquet_file::{self, Encoded};
use super::table::{Latest, Table};
use super::{durable, fit};
use crate::LakeError;

/// Bytes of rows in memory. A file of little may hold much.
const MOST_BYTES: usize = 192 * 1024 * 1024;
const ROWS_AT_ONCE: usize = 1024;

/// Files of one version of a table that can be merged here.
pub(super) struct Files {
    state: DeltaTableState,
    views: Vec<LogicalFileView>,
    small: Vec<Small>,
    clock: Option<Clock>,
    columns: SchemaRef,
}

impl Files {
    /// `None` for a table of which more must be known than here: one with partitions, with rows that were deleted in
    /// place, or with columns that have other names in the files.
    pub fn of(latest: &Latest) -> Result<Option<Self>, LakeError> {
        let state = &latest.state;
        let renamed = state.metadata().configuration().get("delta.columnMapping.mode");
        if !state.metadata().partition_columns().is_empty() || renamed.is_some_and(|mode| mode != "none") {
            return Ok(None);
        }
        let views: Vec<LogicalFileView> = state.log_data().iter().collect();
        if views.iter().any(|view| view.deletion_vector_descriptor().is_some()) {
            return Ok(None);
        }
        let columns = latest.columns()?;
        let clock = Clock::of(&columns);
        let small = views
            .iter()
            .enumerate()
            .filter_map(|(place, view)| {
                let bytes = u64::try_from(view.size()).ok()?;
                Small::of(place, bytes, view.stats().as_deref(), clock.as_ref())
            })
            .collect();
        let state = state.clone();
        Ok(Some(Self { state, views, small, clock, columns }))
    }

    /// How many are worth merging.
    pub fn small(&self) -> usize {
        self.small.len()
    }
}

/// Merges what is worth it, bin by bin. The first that meets a conflict ends it: others maintain the table too.
///
/// All follow the version in which the files were found, and each looks at what has been written since.
pub(super) async fn merge(table: &Arc<Table>, files: Files) -> Result<(), LakeError> {
    let Files { state, views, small, clock, columns } = files;
    for bin in bins(small) {
        let apart = bin.iter().any(Small::is_of_several_days);
        let bin: Vec<&LogicalFileView> = bin.iter().filter_map(|small| views.get(small.file)).collect();
        let (read, rows) = read(table, &bin, &columns).await?;
        if rows.is_empty() || (read.len() < 2 && !apart) {
            continue;
        }
        let (columns, clock) = (SchemaRef::clone(&columns), clock.clone());
        let encoded = tokio::task::spawn_blocking(move || encode(&columns, clock.as_ref(), rows)).await;
        let encoded = encoded.map_err(|error| LakeError::Internal(error.to_string()))??;
        replace(table, &state, read, encoded).await?;
    }
    Ok(())
}

/// The rows of files, and the files. What would take too much memory is left for another time.
async fn read<'a>(
    table: &Table,
    bin: &[&'a LogicalFileView],
    columns: &SchemaRef,
) -> Result<(Vec<&'a LogicalFileView>, Vec<RecordBatch>), LakeError> {
    let (mut files, mut rows, mut room) = (Vec::new(), Vec::new(), MOST_BYTES);
    for view in bin {
        let store = table.log_store.object_store(None);
        let found = async { store.get(&view.object_store_path()).await?.bytes().await }.await;
        let bytes = found.map_err(|error| LakeError::Storage(error.to_string()))?;
        let columns = SchemaRef::clone(columns);
        let decoded = tokio::task::spawn_blocking(move || decode(bytes, &columns, room)).await;
        let Some(batches) = decoded.map_err(|error| LakeError::Internal(error.to_string()))?? else {
            continue;
        };
        room -= batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        files.push(*view);
        rows.extend(batches);
    }
    Ok((files, rows))
}

/// The rows of a file, or `None` if they are larger than `room`.
fn decode(bytes: Bytes, columns: &SchemaRef, room: usize) -> Result<Option<Vec<RecordBatch>>, LakeError> {
    let failed =
        |error: &dyn std::fmt::Display| LakeError::Storage(format!("a file cannot be read: {error}"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
        .map_err(|error| failed(&error))?;
    let (mut batches, mut taken) = (Vec::new(), 0);
    for batch in reader {
        let batch = fit::fit(&batch.map_err(|error| failed(&error))?, columns)?;
        taken += batch.get_array_memory_size();
        if taken > room {
            return Ok(None);
        }
        batches.push(batch);
    }
    Ok(Some(batches))
}

/// A file for each day.
fn encode(
    columns: &SchemaRef,
    clock: Option<&Clock>,
    rows: Vec<RecordBatch>,
) -> Result<Vec<Encoded>, LakeError> {
    let internal = |error: arrow::error::ArrowError| LakeError::Internal(error.to_string());
    let now = jiff::Timestamp::now().as_millisecond();
    let Some(clock) = clock else {
        return Ok(vec![parquet_file::encode(columns, &rows, now)?]);
    };
    let all = concat_batches(columns, &rows).map_err(internal)?;
    drop(rows);
    let Some(times) = all.column_by_name(&clock.column) else {
        return Err(LakeError::Internal("rows lost the column of their times".to_owned()));
    };
    let order = sort_to_indices(times, None, None).map_err(internal)?;
    let ordered = take_record_batch(&all, &order).map_err(internal)?;
    drop(all);
    clock
        .days(&ordered)
        .into_iter()
        .map(|day| parquet_file::encode(columns, &[ordered.slice(day.start, day.len())], now))
        .collect()
}

/// One version without the files that were read, and with those that have their rows.
async fn replace(
    table: &Arc<Table>,
    found: &DeltaTableState,
    read: Vec<&LogicalFileView>,
    encoded: Vec<Encoded>,
) -> Result<(), LakeError> {
    let removed: HashSet<String> = read.iter().map(|view| view.path().into_owned()).collect();
    let mut actions: Vec<Action> =
        read.iter().map(|view| Action::Remove(view.remove_action(false))).collect();
    let mut paths = Vec::new();
    for Encoded { mut add, bytes } in encoded {
        let path = Path::from(add.path.as_str());
        let put = table.log_store.object_store(None).put(&path, Bytes::from(bytes).into()).await;
        put.map_err(|error| LakeError::Storage(error.to_string()))?;
        paths.push(add.path.clone());
        // Those who follow the table's changes have seen these rows.
        add.data_change = false;
        actions.push(Action::Add(add));
    }
    // The files that had the rows so far are on the disk, and are given up for these.
    durable::sync(table.directory.as_deref(), &paths)?;
    let operation =
        DeltaOperation::Optimize { predicate: None, target_size: i64::try_from(BIN).unwrap_or(i64::MAX) };
    PROTOCOL
        .can_commit(found, &actions, &operation)
        .map_err(|error| LakeError::Storage(format!("the table cannot be written to: {error}")))?;
    let entry = Entry::new(actions, operation, Vec::new())?;
    let version = after(table, found.version(), &entry, &removed).await?;
    durable::sync(table.directory.as_deref(), &[durable::commit_file(version)])
}

/// Writes an entry as the next one after a version and what others have written since. If somebody has removed one of
/// the same files meanwhile, it must not be: the rows of that file would be there twice, or come back.
async fn after(
    table: &Table,
    mut version: Version,
    entry: &Entry,
    removed: &HashSet<String>,
) -> Result<Version, LakeError> {
    let storage = |error: &dyn std::fmt::Display| LakeError::Storage(error.to_string());
    let mut failures = 0;
    loop {
        let next = version + 1;
        match table.log_store.write_commit_entry(next, entry.bytes.clone(), Uuid::new_v4()).await {
            Ok(()) => return Ok(next),
            Err(TransactionError::VersionAlreadyExists(_)) => {}
            // If it took place all the same, its version exists when it is tried again.
            Err(error) => {
                failed_again(&mut failures, storage(&error)).await?;
                continue;
            }
        }
        let bytes = match table.log_store.read_commit_entry(next).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(LakeError::Contended(table.place.clone())),
            Err(error) => {
                failed_again(&mut failures, storage(&error)).await?;
                continue;
            }
        };
        if entry.is(&bytes) {
            return Ok(next);
        }
        let conflicts = get_actions(next, &bytes).map_err(|error| storage(&error))?.into_iter().any(
            |action| match action {
                Action::Remove(remove) => removed.contains(&remove.path),
                Action::Metadata(_) | Action::Protocol(_) => true,
                _ => false,
            },
        );
        if conflicts {
            return Err(LakeError::Contended(table.place.clone()));
        }
        version = next;
    }
}
