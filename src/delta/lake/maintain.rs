//! Keeping a table quick to read: small files merged, files that nobody needs removed.

use std::sync::Arc;

use deltalake_core::logstore::LogStoreRef;
use deltalake_core::{DeltaTable, checkpoints};

use super::commit::sum_up;
use super::merge::{Files, merge};
use super::table::{Table, failed};
use super::{Maintained, contained};
use crate::LakeError;

/// Files from which merging is worth it.
const SMALL_FILES: usize = 16;

/// Appends in other processes go on meanwhile: a merge that meets a conflict leaves it to the next round.
pub(super) async fn maintain(table: &Arc<Table>) -> Result<Maintained, LakeError> {
    let files_before = count(table, &open(table).await?)?;
    let mut done = Maintained { files_before, ..Maintained::default() };
    let latest = table.latest().await?;
    contained::check(&latest.state)?;
    let files = Files::of(&latest)?.filter(|files| files.small() >= SMALL_FILES);
    let merged = match files {
        Some(files) => merge(table, files).await,
        None => Ok(()),
    };
    if let Err(error) = merged {
        tracing::info!(%error, "files were not merged this time; others wrote meanwhile");
    }
    let opened = open(table).await?;
    done.files_after = count(table, &opened)?;
    if done.files_after < done.files_before {
        // Readers need not go through the files that are gone.
        sum_up(table.place.clone(), LogStoreRef::clone(&table.log_store)).await;
    }
    let cleans = opened.snapshot().map(|snapshot| snapshot.table_config().enable_expired_log_cleanup);
    if cleans.map_err(|error| failed(&table.place, error))?.unwrap_or(true) {
        checkpoints::cleanup_metadata(&opened, None).await.map_err(|error| failed(&table.place, error))?;
    }
    // What is older than a week and of no version that readers may still hold.
    match opened.vacuum().await {
        Ok((_, vacuumed)) => done.files_vacuumed = vacuumed.files_deleted.len(),
        Err(error) => return Err(failed(&table.place, error)),
    }
    table.latest().await?;
    Ok(done)
}

async fn open(table: &Table) -> Result<DeltaTable, LakeError> {
    let mut opened = DeltaTable::new(LogStoreRef::clone(&table.log_store));
    opened.load().await.map_err(|error| failed(&table.place, error))?;
    Ok(opened)
}

fn count(table: &Table, opened: &DeltaTable) -> Result<usize, LakeError> {
    opened.get_file_uris().map(Iterator::count).map_err(|error| failed(&table.place, error))
}
