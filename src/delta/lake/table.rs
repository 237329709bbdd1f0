//! One table: its latest version as far as it is known here, and its writer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use deltalake_core::delta_datafusion::TableProviderBuilder;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::{StructType, Version};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError, ObjectStoreError};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::group::{self, Append, Numbered};
use super::place::Opened;
use super::{Committed, contained, durable};
use crate::LakeError;

/// Commits after which the log is summed up, so that nobody has to read all of it.
const CHECKPOINT_EVERY: &str = "100";

/// How long entries of the log stay that a sum has made superfluous. Every commit looks at the names of all, and a busy
/// table has a million a day.
const LOG_KEPT: &str = "interval 1 day";

/// Versions that are read one by one before all is read anew.
const MOST_PIECES: Version = 100;

/// Appends that may wait for one table; more are sent back.
const MOST_WAITING: usize = 10_000;

pub(super) struct Table {
    pub place: String,
    pub log_store: LogStoreRef,
    pub directory: Option<PathBuf>,
    known: tokio::sync::Mutex<Option<Known>>,
    writer: Mutex<Option<mpsc::Sender<Append>>>,
}

/// What was read of a table, and since which version only what was new: each such piece is gone through by whoever
/// reads, so that from time to time all is read anew.
struct Known {
    state: DeltaTableState,
    whole: Version,
}

/// A table at one version.
pub(super) struct Latest {
    pub state: DeltaTableState,
    pub log_store: LogStoreRef,
}

pub(super) fn failed(place: &str, error: DeltaTableError) -> LakeError {
    match error {
        DeltaTableError::NotATable(_) | DeltaTableError::InvalidTableLocation(_) => {
            LakeError::NoTable(place.to_owned())
        }
        DeltaTableError::ObjectStore { source: ObjectStoreError::NotFound { .. } } => {
            LakeError::NoTable(place.to_owned())
        }
        other => LakeError::Storage(other.to_string()),
    }
}

impl Table {
    pub fn new(opened: Opened) -> Self {
        let Opened { place, log_store, directory } = opened;
        Self { place, log_store, directory, known: Default::default(), writer: Mutex::default() }
    }

    pub async fn create(
        &self,
        columns: &SchemaRef,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), LakeError> {
        let fields: StructType = columns
            .as_ref()
            .try_into_kernel()
            .map_err(|error| LakeError::Malformed(format!("a column cannot be held: {error}")))?;
        let mut configuration: Vec<(String, Option<String>)> =
            properties.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        for (key, value) in [("checkpointInterval", CHECKPOINT_EVERY), ("logRetentionDuration", LOG_KEPT)] {
            let key = format!("delta.{key}");
            if !properties.contains_key(&key) {
                configuration.push((key, Some(value.to_owned())));
            }
        }
        CreateBuilder::new()
            .with_log_store(LogStoreRef::clone(&self.log_store))
            .with_columns(fields.fields().cloned())
            .with_configuration(configuration)
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .await
            .map_err(|error| failed(&self.place, error))?;
        durable::sync(self.directory.as_deref(), &[durable::commit_file(0)])?;
        self.latest().await.map(|_| ())
    }

    pub async fn add_columns(&self, columns: &SchemaRef) -> Result<(), LakeError> {
        let latest = self.latest().await?;
        let there = latest.columns()?;
        let mut new = Vec::new();
        for column in columns.fields() {
            match there.fields().iter().find(|known| known.name().eq_ignore_ascii_case(column.name())) {
                Some(known) if known.name() == column.name() && known.data_type() == column.data_type() => {}
                Some(known) => {
                    return Err(LakeError::Malformed(format!("it has a column `{}` already", known.name())));
                }
                None => new.push(column.as_ref().clone().with_nullable(true)),
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let fields: StructType = (&arrow::datatypes::Schema::new(new))
            .try_into_kernel()
            .map_err(|error| LakeError::Malformed(format!("a column cannot be held: {error}")))?;
        let mut opened = DeltaTable::new(LogStoreRef::clone(&self.log_store));
        opened.load().await.map_err(|error| failed(&self.place, error))?;
        let fields: Vec<_> = fields.fields().cloned().collect();
        let done = opened.add_columns().with_fields(fields).await;
        let done = done.map_err(|error| failed(&self.place, error))?;
        if let Some(version) = done.version() {
            durable::sync(self.directory.as_deref(), &[durable::commit_file(version)])?;
        }
        self.latest().await.map(|_| ())
    }

    /// The latest version, others' commits included.
    pub async fn latest(&self) -> Result<Latest, LakeError> {
        let mut known = self.known.lock().await;
        let newer = match known.take() {
            Some(Known { mut state, whole }) => match state.update(&*self.log_store, None).await {
                Ok(()) if state.version().saturating_sub(whole) <= MOST_PIECES => Known { state, whole },
                // Many pieces, or perhaps another table lies there by now.
                _ => self.load().await?,
            },
            None => self.load().await?,
        };
        let state = newer.state.clone();
        *known = Some(newer);
        Ok(Latest { state, log_store: LogStoreRef::clone(&self.log_store) })
    }

    async fn load(&self) -> Result<Known, LakeError> {
        let state = DeltaTableState::try_new(&*self.log_store, None).await;
        let state = state.map_err(|error| failed(&self.place, error))?;
        Ok(Known { whole: state.version(), state })
    }

    pub async fn append(
        self: &Arc<Self>,
        handle: &Handle,
        rows: RecordBatch,
        numbered: Option<Numbered>,
        room: OwnedSemaphorePermit,
    ) -> Result<Committed, LakeError> {
        let (answer, answered) = oneshot::channel();
        let append = Append { rows, numbered, answer, _room: room };
        self.writer(handle).try_send(append).map_err(|error| match error {
            TrySendError::Full(_) => LakeError::Busy,
            TrySendError::Closed(_) => LakeError::Internal("a table's writer is gone".to_owned()),
        })?;
        answered.await.map_err(|_| LakeError::Internal("a table's writer broke off".to_owned()))?
    }

    /// The one task that commits to this table here.
    fn writer(self: &Arc<Self>, handle: &Handle) -> mpsc::Sender<Append> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*writer {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, appends) = mpsc::channel(MOST_WAITING);
                // It holds the table weakly, or neither would ever end.
                handle.spawn(group::run(Arc::downgrade(self), appends));
                *writer = Some(sender.clone());
                sender
            }
        }
    }
}

pub(super) fn columns(fields: &StructType) -> Result<SchemaRef, LakeError> {
    let schema: arrow::datatypes::Schema = fields
        .try_into_arrow()
        .map_err(|error| LakeError::Storage(format!("a table's columns cannot be read: {error}")))?;
    Ok(Arc::new(schema))
}

impl Latest {
    pub fn columns(&self) -> Result<SchemaRef, LakeError> {
        columns(&self.state.schema())
    }

    pub async fn last_sequence(&self, writer: &str) -> Result<Option<i64>, LakeError> {
        let found = self.state.transaction_version(&*self.log_store, writer).await;
        found.map_err(|error| LakeError::Storage(error.to_string()))
    }

    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>, LakeError> {
        contained::check(&self.state)?;
        let provider = TableProviderBuilder::default()
            .with_log_store(LogStoreRef::clone(&self.log_store))
            .with_eager_snapshot(self.state.snapshot().clone())
            .build()
            .await
            .map_err(|error| LakeError::Storage(error.to_string()))?;
        Ok(Arc::new(provider))
    }
}
