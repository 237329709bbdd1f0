//! What can go wrong with a table.

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("there is no table at `{0}`")]
    NoTable(String),
    /// The rows do not fit the table's columns, or the bytes are no OTLP.
    #[error("{0}")]
    Malformed(String),
    /// A table that others may read or write, and Tracegate does not.
    #[error("{0}")]
    Unsupported(String),
    /// Other writers came first, again and again.
    #[error("the table at `{0}` is written to by others all the while")]
    Contended(String),
    /// More rows wait to be committed than are held in memory.
    #[error("too many rows wait to be written")]
    Busy,
    #[error("the table's storage: {0}")]
    Storage(String),
    #[error("{0}")]
    Internal(String),
}
