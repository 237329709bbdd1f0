//! Keeping a table quick to read: small files merged, files that nobody needs removed.

use std::num::NonZeroU64;
use std::sync::Arc;

use deltalake_core::logstore::LogStoreRef;
use deltalake_core::{DeltaTable, checkpoints};

use super::Maintained;
use super::table::{Table, failed};
use crate::LakeError;

/// How large merged files become, in bytes.
const TARGET: NonZeroU64 = NonZeroU64::new(128 * 1024 * 1024).unwrap();
/// Files from which merging is worth it.
const SMALL_FILES: usize = 16;

/// Appends in other processes go on meanwhile: a merge that meets a conflict leaves it to the next round.
pub(super) async fn maintain(table: &Arc<Table>) -> Result<Maintained, LakeError> {
    let mut done = Maintained::default();
    let mut opened = DeltaTable::new(LogStoreRef::clone(&table.log_store));
    opened.load().await.map_err(|error| failed(&table.place, error))?;
    let count = |table: &DeltaTable| table.get_file_uris().map(Iterator::count);
    done.files_before = count(&opened).map_err(|error| failed(&table.place, error))?;
    if done.files_before >= SMALL_FILES {
        match opened.clone().optimize().with_target_size(TARGET).with_max_concurrent_tasks(1).await {
            Ok((merged, _)) => opened = merged,
            Err(error) => tracing::info!(%error, "files were not merged this time; others wrote meanwhile"),
        }
    }
    done.files_after = count(&opened).map_err(|error| failed(&table.place, error))?;
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
