//! Why the store did not do what it was asked.

use crate::database::OpenError;

/// `is_refusal` tells what the asker got wrong from what is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Another writer was in the way; the same call may succeed when repeated.
    #[error("the database is contended: {0}")]
    Contended(String),
    #[error("the disk of the database is full")]
    Full,
    #[error("the database refused a statement: {0}")]
    Database(String),
    #[error("the database cannot be brought to this version: {0}")]
    Migration(String),
    #[error("the database holds what this version cannot read: {0}")]
    Corrupt(String),
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("`{0}` is not a group and cannot have members")]
    NotAGroup(String),
    #[error("`{member}` already contains `{group}`, and groups cannot contain each other")]
    Cycle { group: String, member: String },
    #[error("`{member}` in `{group}` would nest groups deeper than {limit}")]
    TooDeep { group: String, member: String, limit: usize },
    #[error("the last administrator cannot be removed; add another to `group:admins` first")]
    LastAdministrator,
    #[error(
        "no administrator would have a token that is good; give one to another administrator first, or make a \
         new one before this one goes"
    )]
    LastCredential,
    #[error("`{0}` was deleted; whoever manages identities can create it anew, with nothing")]
    Deleted(String),
    #[error("`{0}` exists already")]
    Exists(String),
    #[error("`{0}` is neither a level (such as `CAN_READ`) nor a privilege (such as `trace.read`)")]
    UnknownPrivilege(String),
    /// A change was asked for on the condition that nobody else changed policy meanwhile.
    #[error("policy is at version {current} and no longer at {expected}; look at what changed and ask again")]
    Moved { expected: i64, current: i64 },
    /// What is wrong with one of many steps, counted from 0.
    #[error("step {index}: {problem}")]
    Step { index: usize, problem: Box<StoreError> },
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the request itself was wrong: repeating it cannot help.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound(_)
            | Self::NotAGroup(_)
            | Self::Cycle { .. }
            | Self::TooDeep { .. }
            | Self::LastAdministrator
            | Self::LastCredential
            | Self::Deleted(_)
            | Self::Exists(_)
            | Self::UnknownPrivilege(_)
            | Self::Moved { .. }
            | Self::Refused(_) => true,
            Self::Step { problem, .. } => problem.is_refusal(),
            Self::Unavailable(_)
            | Self::Contended(_)
            | Self::Full
            | Self::Database(_)
            | Self::Migration(_)
            | Self::Corrupt(_) => false,
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connect(error) => error.into(),
            OpenError::Migrate(_) | OpenError::Mismatch(_) => Self::Migration(error.to_string()),
            OpenError::Url | OpenError::File { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) => match refusal.code().as_deref() {
                // PostgreSQL: serialization failure, deadlock. SQLite: busy, also as seen by a snapshot.
                Some("40001" | "40P01" | "5" | "517") => Self::Contended(refusal.message().to_owned()),
                // SQLite, PostgreSQL: no room.
                Some("13" | "53100") => Self::Full,
                // PostgreSQL: shutting down or starting up, too many connections.
                Some("57P01" | "57P02" | "57P03" | "53300") => {
                    Self::Unavailable(refusal.message().to_owned())
                }
                _ => Self::Database(refusal.message().to_owned()),
            },
            sqlx::Error::RowNotFound
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
