//! The tables, by the place where each lies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;

use crate::LakeError;

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
#[derive(Debug, Clone)]
pub struct Lake {
    #[allow(dead_code)]
    settings: Arc<LakeSettings>,
}

impl Lake {
    pub fn new(settings: LakeSettings) -> Result<Self, LakeError> {
        Ok(Self { settings: Arc::new(settings) })
    }

    /// Makes the table at `place` (`file:///…` or `s3://…`). There already, with these columns: nothing happens.
    pub async fn create(
        &self,
        place: &str,
        columns: SchemaRef,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), LakeError> {
        let _ = (place, columns, properties);
        unimplemented!()
    }

    /// The columns of the table's latest version.
    pub async fn columns(&self, place: &str) -> Result<SchemaRef, LakeError> {
        let _ = place;
        unimplemented!()
    }

    /// Appends rows, together with those that others append to the same table meanwhile. Returns once they are
    /// committed; what is acknowledged is never lost and in the table once. Columns that the rows lack are null.
    pub async fn append(&self, place: &str, rows: RecordBatch) -> Result<Committed, LakeError> {
        let _ = (place, rows);
        unimplemented!()
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
        let _ = (place, rows, writer, sequence);
        unimplemented!()
    }

    /// The last sequence number of a writer that the table has.
    pub async fn last_sequence(&self, place: &str, writer: &str) -> Result<Option<i64>, LakeError> {
        let _ = (place, writer);
        unimplemented!()
    }

    /// Merges small files, ordered by time, and removes files that no reader needs any more.
    pub async fn maintain(&self, place: &str) -> Result<Maintained, LakeError> {
        let _ = place;
        unimplemented!()
    }

    /// The table as DataFusion reads it, at its latest committed version.
    pub async fn provider(&self, place: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
        let _ = place;
        unimplemented!()
    }
}
