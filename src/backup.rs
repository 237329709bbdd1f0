//! Backups: everything that a gateway keeps, as a directory of plain files that can be checked without it.
//!
//! ```text
//! backup/
//!   manifest.json        what is here, with the SHA-256 of each file; its own hash is the backup's id
//!   state/*.jsonl        the state, a file a table, a row a line: the same from SQLite and from PostgreSQL
//!   traces.db            the store of our own in SQLite, or traces/*.jsonl from PostgreSQL
//!   artifacts/…          what lies beside it on the disk
//!   audit.db             the index in SQLite
//!   audit/…              the spool of this replica, with its checkpoints
//! ```
//!
//! The state is taken first and the record last: so the record holds every change that the state holds.

mod files;
mod make;
mod manifest;
mod restore;
mod verify;

pub use make::{Wanted, make};
pub use manifest::Manifest;
pub use restore::{Choices, Restored, restore};
pub use verify::{Checked, verify};

use crate::backend::EmbeddedShared;
use crate::config::Config;
use crate::database::rows::RowsError;
use crate::database::{OpenError, Place, Schema};
use crate::store::Store;
use crate::store::audit_index::{AuditIndex, AuditIndexLocation};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{what}: {error}")]
    File { what: String, error: std::io::Error },
    /// What was asked for cannot be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The backup is not as it was made.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    #[error("the {what}: {error}")]
    Rows { what: &'static str, error: RowsError },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the record: {0}")]
    Record(String),
}

/// What people see while it goes on.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

/// Everything that a gateway of this configuration keeps in databases.
struct Databases {
    state: Schema,
    /// None before an MLflow server, which keeps them.
    traces: Option<Schema>,
    index: Schema,
}

impl Databases {
    fn of(config: &Config) -> Self {
        let data_dir = &config.server.data_dir;
        let file = data_dir.join("audit.db");
        let location = match config.database.url.as_deref() {
            Some(url) => AuditIndexLocation::Postgres(url),
            None => AuditIndexLocation::Sqlite(&file),
        };
        Self {
            state: Store::schema(&config.database, data_dir),
            traces: config.mlflow.url.is_none().then(|| EmbeddedShared::schema(config)),
            index: AuditIndex::schema(&location),
        }
    }
}

fn file_of(schema: &Schema) -> Option<&std::path::Path> {
    match &schema.place {
        Place::Sqlite(file) => Some(file),
        Place::Postgres(_) => None,
    }
}

/// Where artifacts lie, if on this disk.
fn artifacts(config: &Config) -> Option<std::path::PathBuf> {
    match config.mlflow.artifacts.as_deref() {
        None => Some(config.server.data_dir.join("artifacts")),
        Some(place) if place.contains("://") => None,
        Some(place) => Some(place.into()),
    }
}
