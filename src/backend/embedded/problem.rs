//! How the store says no: MLflow's error codes, in its JSON shape, with its statuses.

use serde_json::json;

use super::reply;
use crate::objects::{ObjectsError, ObjectsFault};
use crate::wire::Reply;

/// MLflow's error codes, as far as this store gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidParameterValue,
    /// The same, where it is a field that is not known.
    UnknownAttribute,
    BadRequest,
    ResourceDoesNotExist,
    /// Of files.
    NotFound,
    ResourceAlreadyExists,
    InvalidState,
    Internal,
    NotImplemented,
    TemporarilyUnavailable,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidParameterValue | Self::UnknownAttribute => "INVALID_PARAMETER_VALUE",
            Self::BadRequest => "BAD_REQUEST",
            Self::ResourceDoesNotExist => "RESOURCE_DOES_NOT_EXIST",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceAlreadyExists => "RESOURCE_ALREADY_EXISTS",
            Self::InvalidState => "INVALID_STATE",
            Self::Internal => "INTERNAL_ERROR",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::TemporarilyUnavailable => "TEMPORARILY_UNAVAILABLE",
        }
    }

    /// The class and the SQLSTATE that MLflow 3 says beside the code, of those codes that have them.
    fn class(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::InvalidParameterValue | Self::BadRequest => ("INVALID_PARAMETER_VALUE", "KAM00"),
            Self::UnknownAttribute => ("ATTRIBUTE_NOT_FOUND", "KAM04"),
            Self::ResourceDoesNotExist | Self::NotFound => ("RESOURCE_NOT_FOUND", "KAM00"),
            Self::ResourceAlreadyExists => ("RESOURCE_ALREADY_EXISTS", "KAM00"),
            Self::InvalidState | Self::Internal | Self::TemporarilyUnavailable => {
                ("CLIENT_INTERNAL_ERROR", "XXM00")
            }
            Self::NotImplemented => return None,
        })
    }

    fn status(self) -> u16 {
        match self {
            Self::InvalidParameterValue
            | Self::UnknownAttribute
            | Self::BadRequest
            | Self::ResourceAlreadyExists => 400,
            Self::ResourceDoesNotExist | Self::NotFound => 404,
            Self::InvalidState | Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::TemporarilyUnavailable => 503,
        }
    }
}

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub code: Code,
    pub message: String,
}

impl Problem {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceDoesNotExist, message)
    }

    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceAlreadyExists, message)
    }

    /// Ours to mend: the log has the cause, the caller is told that it is not theirs.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "the trace store failed");
        Self::new(Code::Internal, "the trace store failed; the log of the gateway says why")
    }

    /// What only a real MLflow server does.
    pub fn not_offered(operation: &str) -> Self {
        Self::new(
            Code::NotImplemented,
            format!(
                "`{operation}` is not offered by Tracegate's own store; to use it, run an MLflow server and \
                 set `mlflow.url`"
            ),
        )
    }

    pub fn into_reply(self) -> Reply {
        let mut body = json!({ "error_code": self.code.name(), "message": self.message });
        if let Some((class, state)) = self.code.class() {
            body["sqlstate"] = state.into();
            body["error_class"] = class.into();
        }
        let mut reply = reply::json_with_status(self.code.status(), &body);
        if self.code == Code::TemporarilyUnavailable {
            reply.headers.set("retry-after", "1");
        }
        reply
    }
}

impl From<ObjectsError> for Problem {
    fn from(error: ObjectsError) -> Self {
        let code = match error.fault {
            ObjectsFault::Path => Code::InvalidParameterValue,
            ObjectsFault::BrokenOff | ObjectsFault::NotEmpty => Code::BadRequest,
            ObjectsFault::Exists => Code::ResourceAlreadyExists,
            ObjectsFault::Unavailable => Code::TemporarilyUnavailable,
            ObjectsFault::NotOffered => Code::NotImplemented,
            ObjectsFault::Internal => Code::Internal,
        };
        Self::new(code, error.message)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(refusal) => refusal.code().map(|code| code.into_owned()),
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_) => {
                tracing::warn!(%error, "the database of traces cannot be reached");
                return Self::new(
                    Code::TemporarilyUnavailable,
                    "the trace store cannot be reached; try again",
                );
            }
            _ => None,
        };
        match code.as_deref() {
            // SQLite: full. PostgreSQL: disk full.
            Some("13" | "53100") => {
                tracing::error!(%error, "the disk of the trace store is full");
                Self::new(
                    Code::TemporarilyUnavailable,
                    "the disk of the trace store is full; nothing of this call was kept",
                )
            }
            // SQLite: busy. PostgreSQL: serialization failure, deadlock, shutting down, too many connections.
            Some("5" | "517" | "40001" | "40P01" | "57P01" | "57P02" | "57P03" | "53300") => {
                tracing::warn!(%error, "the trace store is contended");
                Self::new(Code::TemporarilyUnavailable, "the trace store is busy; try again")
            }
            _ => Self::internal(error),
        }
    }
}
