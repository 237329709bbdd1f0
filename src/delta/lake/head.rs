//! What a writer knows of its table: the latest version, and how rows must look. Which files the table has is of no
//! matter to an append, and to keep up with it would cost more with every commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::transaction::PROTOCOL;
use deltalake_core::kernel::{Snapshot, Version};
use deltalake_core::table::state::DeltaTableState;

use super::commit;
use super::table::{Table, columns, failed};
use crate::LakeError;

/// How long a writer goes by what it knows. Far below the time after which anybody removes entries of the log: the
/// number of one that was removed looks free.
const TRUSTED: Duration = Duration::from_secs(10);

pub(super) struct Head {
    snapshot: Arc<Snapshot>,
    /// Versions after the snapshot's are this writer's own, which change neither columns nor rules.
    version: Version,
    asked: Instant,
    columns: SchemaRef,
}

impl Head {
    /// A table that may be written to.
    pub async fn open(table: &Table) -> Result<Self, LakeError> {
        let asked = Instant::now();
        let latest = table.latest().await?;
        PROTOCOL
            .can_commit(&latest.state, &[], &commit::operation())
            .map_err(|error| LakeError::Unsupported(format!("it cannot be written to here: {error}")))?;
        without_rules(&latest.state)?;
        let version = latest.state.version();
        let snapshot = Snapshot::try_new(&*table.log_store, Some(version)).await;
        let snapshot = Arc::new(snapshot.map_err(|error| failed(&table.place, error))?);
        let columns = columns(&snapshot.schema())?;
        Ok(Self { snapshot, version, asked, columns })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    pub fn is_old(&self) -> bool {
        self.asked.elapsed() > TRUSTED
    }

    /// Commits after which the log is summed up.
    pub fn checkpoint_every(&self) -> u64 {
        self.snapshot.table_properties().checkpoint_interval.map_or(100, std::num::NonZero::get)
    }

    /// The writer has committed this version, the one after the latest.
    pub fn follow(&mut self, version: Version) {
        self.version = version;
        self.asked = Instant::now();
    }

    /// Learns what others have committed.
    pub async fn catch_up(&mut self, table: &Table) -> Result<(), LakeError> {
        let asked = Instant::now();
        let newer = Arc::clone(&self.snapshot).update(table.log_store.engine(None), None).await;
        match newer {
            Ok(newer)
                if newer.version() >= self.version
                    && newer.metadata() == self.snapshot.metadata()
                    && newer.protocol() == self.snapshot.protocol() =>
            {
                (self.version, self.snapshot, self.asked) = (newer.version(), newer, asked);
                Ok(())
            }
            // Other columns, other rules, or perhaps another table by now.
            _ => {
                *self = Self::open(table).await?;
                Ok(())
            }
        }
    }
}

/// What other programs have given a table and rows that come by us would break: they would lie in no partition, under
/// names that the table does not look for, or against its rules.
fn without_rules(state: &DeltaTableState) -> Result<(), LakeError> {
    let metadata = state.metadata();
    let configured = metadata.configuration();
    let renamed = configured.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none");
    let checked = configured.keys().any(|key| key.starts_with("delta.constraints."));
    let rule = |key: &String| {
        matches!(key.as_str(), "delta.invariants" | "delta.generationExpression")
            || key.starts_with("delta.identity.")
    };
    let computed = state.schema().fields().any(|field| field.metadata().keys().any(rule));
    let what = [
        (!metadata.partition_columns().is_empty(), "partitions"),
        (renamed, "columns of other names in its files (`delta.columnMapping.mode`)"),
        (checked, "constraints"),
        (computed, "columns with invariants, or that are generated"),
    ];
    match what.into_iter().find(|(has, _)| *has) {
        Some((_, what)) => Err(LakeError::Unsupported(format!(
            "it has {what}, which only the program that made it so keeps to; it is read here and not written"
        ))),
        None => Ok(()),
    }
}
