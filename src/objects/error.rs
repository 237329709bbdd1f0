//! Why objects could not be stored or read.

/// What kind of thing went wrong: whose it is to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectsFault {
    /// The path cannot name an object here.
    Path,
    /// The sender broke off, or sent another length than it said.
    BrokenOff,
    /// Something has this path already.
    Exists,
    /// A directory that still holds something.
    NotEmpty,
    /// It may work later: the disk is full, or a bucket did not answer.
    Unavailable,
    /// What only some stores can keep.
    NotOffered,
    Internal,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectsError {
    pub fault: ObjectsFault,
    pub message: String,
}

impl ObjectsError {
    pub fn new(fault: ObjectsFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }

    pub fn path(message: impl Into<String>) -> Self {
        Self::new(ObjectsFault::Path, message)
    }

    /// Ours to mend: the log has the cause, the caller is told that it is not theirs.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a file of the artifact store failed");
        Self::new(ObjectsFault::Internal, "the artifact store failed; the log of the gateway says why")
    }
}
