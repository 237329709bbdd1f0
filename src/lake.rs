//! The catalog's tables: what permitted calls write to them, and the SQL that reads them.
//!
//! Nothing is read or written without a permit. What each table that a statement names means to the caller is asked
//! of a [`sql::Governor`] while the statement is planned; only what it lets in is read, under the rules it gives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use tracegate_delta::{Committed, LakeError, Maintained, arrow, otlp, schemas, sql};

use crate::access::Location;
use crate::config::lake::LakeConfig;
use crate::policy::Permit;

/// Bytes of rows that may wait for their commit, over all tables.
const WAITING: usize = 256 * 1024 * 1024;
/// How often small files of the tables that are in use are merged.
const MAINTAINED_EVERY: std::time::Duration = std::time::Duration::from_secs(300);

pub struct Lake {
    tables: tracegate_delta::Lake,
    engine: sql::Engine,
    /// Below which the tables lie whose places we chose.
    root: Option<Location>,
}

impl Lake {
    pub fn open(config: &LakeConfig, data_dir: &Path) -> Result<Self, LakeError> {
        let root = config.root(data_dir);
        let local = |location: &Location| location.as_str().trim_start_matches("file://").into();
        let mut directories: Vec<std::path::PathBuf> =
            root.iter().filter(|root| root.is_local()).map(local).collect();
        directories.extend(config.external_directories.iter().map(std::path::PathBuf::from));
        let settings = tracegate_delta::LakeSettings { directories, waiting_bytes: WAITING };
        let tables = tracegate_delta::Lake::new(settings)?;
        let engine = sql::Engine::new(tables.clone(), config.query_memory_bytes)?;
        Ok(Self { tables, engine, root })
    }

    /// Merges small files of the tables that this process writes and reads, again and again. It shows and changes
    /// nothing of what is in them. A round that fails, or that others' writes get in the way of, is followed by the next.
    pub async fn keep_tables_small(&self) {
        loop {
            tokio::time::sleep(MAINTAINED_EVERY).await;
            for place in self.tables.used() {
                // What lies where somebody else chose is kept by whoever keeps it.
                let location = Location::kept(place.clone());
                if !self.root.as_ref().is_some_and(|root| location.lies_in(root)) {
                    continue;
                }
                match self.tables.maintain(&place).await {
                    Ok(done) if done.files_after < done.files_before || done.files_vacuumed > 0 => {
                        tracing::info!(
                            place,
                            before = done.files_before,
                            after = done.files_after,
                            removed = done.files_vacuumed,
                            "the files of a table were merged"
                        );
                    }
                    Ok(_) => {}
                    Err(LakeError::NoTable(_)) => self.tables.forget(&place),
                    Err(error) => tracing::warn!(place, %error, "a table was not maintained"),
                }
            }
        }
    }

    /// Makes a table for an object of the catalog.
    pub async fn create(
        &self,
        _permit: &Permit,
        place: &Location,
        columns: arrow::datatypes::SchemaRef,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), LakeError> {
        self.tables.create(place.as_str(), columns, properties).await
    }

    /// Adds columns to a table, null in the rows that are there.
    pub async fn add_columns(
        &self,
        _permit: &Permit,
        place: &Location,
        columns: arrow::datatypes::SchemaRef,
    ) -> Result<(), LakeError> {
        self.tables.add_columns(place.as_str(), columns).await
    }

    /// Appends rows; they are committed once this returns.
    pub async fn append(
        &self,
        _permit: &Permit,
        place: &Location,
        rows: arrow::array::RecordBatch,
    ) -> Result<Committed, LakeError> {
        self.tables.append(place.as_str(), rows).await
    }

    /// Appends rows under a number of their writer, if the last number that the table has of it is `after`. Whether it
    /// was; if not, nothing is written.
    pub async fn append_after(
        &self,
        _permit: &Permit,
        place: &Location,
        rows: arrow::array::RecordBatch,
        writer: &str,
        after: Option<i64>,
        sequence: i64,
    ) -> Result<bool, LakeError> {
        Ok(self.tables.append_after(place.as_str(), rows, writer, after, sequence).await?.written)
    }

    /// The last number that a table has of a writer.
    pub async fn last_sequence(
        &self,
        _permit: &Permit,
        place: &Location,
        writer: &str,
    ) -> Result<Option<i64>, LakeError> {
        self.tables.last_sequence(place.as_str(), writer).await
    }

    pub async fn columns(
        &self,
        _permit: &Permit,
        place: &Location,
    ) -> Result<arrow::datatypes::SchemaRef, LakeError> {
        self.tables.columns(place.as_str()).await
    }

    /// Runs a query; the governor is asked of every table it names.
    pub async fn run(
        &self,
        _permit: &Permit,
        query: &sql::Query,
        parameters: &[sql::Parameter],
        defaults: &sql::Defaults,
        governor: Arc<dyn sql::Governor>,
        limits: &sql::QueryLimits,
    ) -> Result<sql::Rows, sql::SqlError> {
        self.engine.run(query, parameters, defaults, governor, limits).await
    }
}

/// Rows of JSON as a batch of a table's columns; times are numbers in the column's unit.
pub fn batch(
    schema: arrow::datatypes::SchemaRef,
    rows: &[serde_json::Value],
) -> Result<arrow::array::RecordBatch, LakeError> {
    let internal = |error: arrow::error::ArrowError| LakeError::Internal(error.to_string());
    let mut decoder =
        arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().map_err(internal)?;
    decoder.serialize(rows).map_err(internal)?;
    let batch = decoder.flush().map_err(internal)?;
    Ok(batch.unwrap_or_else(|| arrow::array::RecordBatch::new_empty(schema)))
}

/// A batch as rows of JSON; nulls are left out.
pub fn json_rows(
    batch: &arrow::array::RecordBatch,
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, LakeError> {
    let internal = |error: String| LakeError::Internal(error);
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    writer.write(batch).map_err(|error| internal(error.to_string()))?;
    writer.finish().map_err(|error| internal(error.to_string()))?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(|error| internal(error.to_string()))
}
