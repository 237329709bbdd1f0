//! A call as bytes mean it: one reading of path, query, headers and body, shared by the classifier and
//! the backend. What was classified is exactly what is forwarded, because both hold the same value.
//!
//! No framework here: `http` converts from actix-web, `backend::upstream` to its client.

mod body;
pub mod decompress;
mod headers;
pub mod json;
mod path;
mod percent;
mod query;
pub mod wire_format;

pub use body::{Body, BodyStream, MemoryOrFile, ReplayBody};
pub use headers::Headers;
pub use path::CanonicalPath;
pub use query::Query;

use std::fmt;

/// A request that has more than one reading, or none. Answered 400; `field` says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Malformed {
    pub field: String,
    pub problem: String,
}

impl Malformed {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// Why a body that is read piece by piece cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("content encoding `{0}` is not supported; send `gzip`, `deflate` or none")]
    Encoding(String),
    #[error("the body is larger than {limit} bytes when decompressed")]
    TooLarge { limit: u64 },
    #[error("{0}")]
    Malformed(String),
    #[error("the body could not be read: {0}")]
    Io(#[from] std::io::Error),
}

impl StreamError {
    pub fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed(problem.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Reads may be retried and need no durable intent.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The canonical request line and headers; the body travels beside it.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    pub path: CanonicalPath,
    pub query: Query,
    pub headers: Headers,
}

/// A backend's answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    pub body: Body,
}
