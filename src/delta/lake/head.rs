//! What a writer knows of its table: the latest version, and how rows must look. Which files the table has is of no
//! matter to an append, and to keep up with it would cost more with every commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::transaction::PROTOCOL;
use deltalake_core::kernel::{Snapshot, Version};

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
            .map_err(|error| LakeError::Storage(format!("the table cannot be written to: {error}")))?;
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
