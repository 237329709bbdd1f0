//! The tables, by the place where each lies.

mod cluster;
mod commit;
mod contained;
mod durable;
mod fit;
mod group;
mod head;
mod maintain;
mod merge;
mod parquet_file;
mod place;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::LakeError;
use group::{Follows, Numbered};
use place::Places;
use table::Table;

/// How the lake works.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    /// Directories in which local tables may lie, symlinks resolved. A place outside of all is refused.
    pub directories: Vec<PathBuf>,
    /// Bytes of rows that may wait for their commit, over all tables.
    pub waiting_bytes: usize,
}

/// A commit that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The version of the table that has the rows.
    pub version: i64,
    /// Whether this call wrote them; `false` if they were there already.
    pub written: bool,
}

/// What a round of maintenance did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintained {
    pub files_before: usize,
    pub files_after: usize,
    pub files_vacuumed: usize,
}

/// All tables. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

impl fmt::Debug for Lake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lake({:?})", self.inner.places)
    }
}

struct Inner {
    places: Places,
    /// Kilobytes that may wait.
    waiting: Arc<Semaphore>,
    tables: Mutex<HashMap<String, Arc<Table>>>,
    /// Encoding and committing run beside whoever asks, so that a worker that answers calls never waits for them.
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What one permit of [`Inner::waiting`] stands for, in bytes.
const UNIT: usize = 1024;

impl Lake {
    pub fn new(settings: LakeSettings) -> Result<Self, LakeError> {
        Self::over(Places::new(&settings.directories), settings.waiting_bytes)
    }

    fn over(places: Places, waiting_bytes: usize) -> Result<Self, LakeError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lake")
            .enable_all()
            .build()
            .map_err(|error| LakeError::Internal(error.to_string()))?;
        let inner = Inner {
            places,
            waiting: Arc::new(Semaphore::new((waiting_bytes / UNIT).max(1))),
            tables: Mutex::default(),
            runtime: Some(runtime),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn handle(&self) -> Result<Handle, LakeError> {
        let runtime = self.inner.runtime.as_ref().map(|runtime| runtime.handle().clone());
        runtime.ok_or_else(|| LakeError::Internal("the lake is closed".to_owned()))
    }

    /// Runs beside the caller; goes on if the caller goes away.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, LakeError>> + Send + 'static,
    ) -> Result<T, LakeError> {
        let done = self.handle()?.spawn(work).await;
        done.map_err(|error| LakeError::Internal(format!("work on a table broke off: {error}")))?
    }

    fn table(&self, place: &str) -> Result<Arc<Table>, LakeError> {
        let mut tables = self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(place) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::new(self.inner.places.open(place)?));
        tables.insert(place.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// Makes the table at `place` (`file:///…` or `s3://…`). There already: nothing happens.
    pub async fn create(
        &self,
        place: &str,
        columns: SchemaRef,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), LakeError> {
        let (table, properties) = (self.table(place)?, properties.clone());
        self.beside(async move { table.create(&columns, &properties).await }).await
    }

    /// The columns of the table's latest version.
    pub async fn columns(&self, place: &str) -> Result<SchemaRef, LakeError> {
        let table = self.table(place)?;
        self.beside(async move { table.latest().await?.columns() }).await
    }

    /// Adds columns, null in the rows that are there. Those that it has already, of the same type, stay as they are.
    pub async fn add_columns(&self, place: &str, columns: SchemaRef) -> Result<(), LakeError> {
        let table = self.table(place)?;
        self.beside(async move { table.add_columns(&columns).await }).await
    }

    /// Appends rows, together with those that others append to the same table meanwhile. Returns once they are
    /// committed; what is acknowledged is never lost and in the table once. Columns that the rows lack are null.
    pub async fn append(&self, place: &str, rows: RecordBatch) -> Result<Committed, LakeError> {
        self.write(place, rows, None).await
    }

    /// Appends rows that a writer numbered. If the table has `sequence` or a later one of this writer already, nothing
    /// is written: what is sent again after a crash is there once.
    pub async fn append_once(
        &self,
        place: &str,
        rows: RecordBatch,
        writer: &str,
        sequence: i64,
    ) -> Result<Committed, LakeError> {
        let writer = writer.to_owned();
        self.write(place, rows, Some(Numbered { writer, sequence, follows: Follows::Lower })).await
    }

    /// As [`append_once`](Self::append_once), and only if the last that the table has of this writer is `after`. What
    /// somebody else may still be about to commit after `after` is kept out by this, even without rows.
    pub async fn append_after(
        &self,
        place: &str,
        rows: RecordBatch,
        writer: &str,
        after: Option<i64>,
        sequence: i64,
    ) -> Result<Committed, LakeError> {
        let (writer, follows) = (writer.to_owned(), Follows::Exactly(after));
        self.write(place, rows, Some(Numbered { writer, sequence, follows })).await
    }

    async fn write(
        &self,
        place: &str,
        rows: RecordBatch,
        numbered: Option<Numbered>,
    ) -> Result<Committed, LakeError> {
        let table = self.table(place)?;
        let units = (rows.get_array_memory_size() / UNIT).max(1);
        let permits = u32::try_from(units).map_err(|_| LakeError::Busy)?;
        // Nobody waits for room: whoever sends can do so again, and what waits here is lost in a crash unsaid.
        let waiting = Arc::clone(&self.inner.waiting);
        let room = waiting.try_acquire_many_owned(permits).map_err(|_| LakeError::Busy)?;
        table.append(&self.handle()?, rows, numbered, room).await
    }

    /// The last sequence number of a writer that the table has.
    pub async fn last_sequence(&self, place: &str, writer: &str) -> Result<Option<i64>, LakeError> {
        let (table, writer) = (self.table(place)?, writer.to_owned());
        self.beside(async move { table.latest().await?.last_sequence(&writer).await }).await
    }

    /// Merges small files and removes files that no reader needs any more.
    pub async fn maintain(&self, place: &str) -> Result<Maintained, LakeError> {
        let table = self.table(place)?;
        self.beside(async move { maintain::maintain(&table).await }).await
    }

    /// The table as DataFusion reads it, at its latest committed version.
    pub async fn provider(&self, place: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
        let table = self.table(place)?;
        self.beside(async move { table.latest().await?.provider().await }).await
    }

    /// The places of all tables that this lake has written to or read since it was opened.
    pub fn used(&self) -> Vec<String> {
        let tables = self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.keys().cloned().collect()
    }

    /// Gives up what is kept in memory of a table, until it is asked for again.
    pub fn forget(&self, place: &str) {
        self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }
}
