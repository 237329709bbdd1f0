//! One entry of a table's log that adds files: written once, after whatever others have written meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Add, Transaction, Version};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use uuid::Uuid;

use super::group::Numbered;
use super::head::Head;
use super::table::{Table, failed};
use crate::LakeError;

/// How often what the store failed to do is tried again.
pub(super) const ATTEMPTS: usize = 8;
/// How often a commit gives way to others' before it counts as failed.
const GIVES_WAY: usize = 200;

pub(super) fn operation() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
}

/// An entry, and the mark by which it is known again: nobody can tell from a call that failed whether it took place.
pub(super) struct Entry {
    pub bytes: CommitOrBytes,
    mark: String,
}

impl Entry {
    pub fn new(
        actions: Vec<Action>,
        operation: DeltaOperation,
        transactions: Vec<Transaction>,
    ) -> Result<Self, LakeError> {
        let mark = Uuid::new_v4().to_string();
        let said = HashMap::from([("tracegateCommit".to_owned(), mark.clone().into())]);
        let bytes = CommitData::new(actions, operation, said, transactions).get_bytes();
        let bytes = bytes.map_err(|error| LakeError::Internal(error.to_string()))?;
        Ok(Self { bytes: CommitOrBytes::LogBytes(bytes), mark })
    }

    pub fn is(&self, bytes: &Bytes) -> bool {
        String::from_utf8_lossy(bytes).contains(&self.mark)
    }
}

/// Commits files whose rows have these columns; answers the version that has them.
pub(super) async fn commit(
    table: &Arc<Table>,
    head: &mut Head,
    columns: &SchemaRef,
    adds: Vec<Add>,
    numbered: &HashMap<String, Numbered>,
) -> Result<Version, LakeError> {
    let transactions = numbered.values().map(|one| Transaction::new(&one.writer, one.sequence)).collect();
    let entry = Entry::new(adds.into_iter().map(Action::Add).collect(), operation(), transactions)?;
    // Up to here nobody has to look for the entry.
    let mut looked = head.version();
    let (mut failures, mut gave_way) = (0, 0);
    loop {
        let version = head.version() + 1;
        match table.log_store.write_commit_entry(version, entry.bytes.clone(), Uuid::new_v4()).await {
            Ok(()) => {
                head.follow(version);
                return Ok(version);
            }
            Err(TransactionError::VersionAlreadyExists(_)) => {
                gave_way += 1;
                if gave_way > GIVES_WAY {
                    return Err(LakeError::Contended(table.place.clone()));
                }
                if gave_way % 8 == 0 {
                    pause(1).await;
                }
            }
            Err(error) => failed_again(&mut failures, LakeError::Storage(error.to_string())).await?,
        }
        // Until it is known what took place, nothing is written: a second entry with these files must not come.
        loop {
            match standing(table, head, columns, numbered, &mut looked, &entry).await {
                Ok(Some(version)) => return Ok(version),
                Ok(None) => break,
                Err(error @ LakeError::Storage(_)) => failed_again(&mut failures, error).await?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits before what failed is tried again, or gives up.
pub(super) async fn failed_again(failures: &mut usize, error: LakeError) -> Result<(), LakeError> {
    *failures += 1;
    if *failures == ATTEMPTS {
        return Err(error);
    }
    pause(*failures).await;
    Ok(())
}

/// What became of an entry that was perhaps not written: the version that has it, or that it may still be written after
/// what others wrote.
async fn standing(
    table: &Table,
    head: &mut Head,
    columns: &SchemaRef,
    numbered: &HashMap<String, Numbered>,
    looked: &mut Version,
    ours: &Entry,
) -> Result<Option<Version>, LakeError> {
    head.catch_up(table).await?;
    for version in *looked + 1..=head.version() {
        let entry = table.log_store.read_commit_entry(version).await;
        let entry = entry.map_err(|error| LakeError::Storage(error.to_string()))?;
        if entry.is_some_and(|bytes| ours.is(&bytes)) {
            return Ok(Some(version));
        }
        *looked = version;
    }
    let still_fit = columns.fields().iter().all(|column| {
        head.columns().field_with_name(column.name()).is_ok_and(|now| now.data_type() == column.data_type())
    });
    if !still_fit {
        return Err(LakeError::Contended(table.place.clone()));
    }
    if !numbered.is_empty() {
        let latest = table.latest().await?;
        for one in numbered.values() {
            if !one.may_follow(latest.last_sequence(&one.writer).await?) {
                // Another process wrote the same rows first; ours must not come on top.
                return Err(LakeError::Contended(table.place.clone()));
            }
        }
    }
    Ok(None)
}

/// Sums up the log, so that nobody has to read all of it. Nobody waits for this; the next one does what this could not.
pub(super) async fn sum_up(place: String, log_store: LogStoreRef) {
    let work = async {
        let mut opened = DeltaTable::new(log_store);
        opened.load().await?;
        deltalake_core::checkpoints::create_checkpoint(&opened, None).await
    };
    if let Err(error) = work.await.map_err(|error| failed(&place, error)) {
        tracing::warn!(%error, "a table's log was not summed up; it is read entry by entry until it is");
    }
}

/// A little longer each time, and not as long as others who failed with us.
pub(super) async fn pause(attempt: usize) {
    let most = 20_u64 << attempt.min(6);
    let random = u64::from_le_bytes(Uuid::new_v4().into_bytes()[..8].try_into().unwrap_or_default());
    tokio::time::sleep(Duration::from_millis(most / 2 + random % most)).await;
}
