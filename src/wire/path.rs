//! The canonical path: split first, each segment decoded once, everything with two readings refused.

use super::Malformed;

/// Decoded segments of an absolute path. `/` is no segments; one trailing slash folds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    segments: Vec<String>,
}

impl CanonicalPath {
    /// Parses the raw path of a request target (without its query).
    pub fn parse(_raw: &str) -> Result<Self, Malformed> {
        todo!()
    }

    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The one spelling of this path, as it is forwarded and recorded.
    pub fn to_encoded(&self) -> String {
        todo!()
    }
}
