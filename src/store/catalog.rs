//! The catalog's objects: catalogs, schemas, tables, views, volumes, functions and external locations.
//!
//! Each is a securable that lies where its name says, so a place in the tree needs no row of its own; who owns one
//! is a grant of `OWNER`. Whatever makes, names, moves or ends an object is a change of policy: grants go with the
//! object that they were given on, and a name that is used again starts without any.

mod change;
mod create;
mod delete;
mod metastore;
mod object;
mod read;
mod rename;

use super::error::StoreError;

pub use change::ObjectChange;
pub use create::NewObject;
pub use delete::Deletion;
pub use metastore::Metastore;
pub use object::{CatalogObject, Column, ColumnMask, Detail, RowFilter, TableFormat};
pub use read::Found;

/// Why an object was not made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name is taken.
    #[error("`{0}` exists already")]
    Exists(String),
    #[error("`{0}` does not exist")]
    Missing(String),
    /// Somebody made something in it since the caller looked, or nobody said that all of it may go.
    #[error("`{0}` is not empty")]
    NotEmpty(String),
    #[error("the location overlaps with one that is in use")]
    Overlaps,
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
