//! The list of what a backup holds.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::clock::UnixMillis;
use crate::database::rows::LastIds;

pub const FILE: &str = "manifest.json";
/// The form of this list; another is refused.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The program that made it.
    pub tracegate: String,
    pub made_at_ms: UnixMillis,
    pub policy_version: i64,
    pub state: Rows,
    /// Of a store of our own in PostgreSQL.
    pub traces: Option<Rows>,
    pub record: Record,
    /// What it does not hold, and why.
    pub left_out: Vec<String>,
    /// By their paths in the backup.
    pub files: BTreeMap<String, FileFacts>,
}

/// Tables as rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The last migration that they had.
    pub schema_version: i64,
    pub rows: BTreeMap<String, u64>,
    pub last_ids: LastIds,
}

/// How far the spool reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub replica: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub last_hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |problem: String| BackupError::Damaged(format!("`{FILE}`: {problem}"));
        let any: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        match any.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => {
                return Err(BackupError::Refused(format!(
                    "the backup has the form {format}, and this program reads the form {FORMAT}; use the program that made it"
                )));
            }
            _ => {}
        }
        let manifest: Self = serde_json::from_value(any).map_err(|error| damaged(error.to_string()))?;
        match manifest.files.keys().find(|path| !is_plain(path)) {
            Some(path) => Err(damaged(format!("`{path}` is no path within a backup"))),
            None => Ok(manifest),
        }
    }
}

/// Whether a path leads nowhere but further down.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        // As `Path` would fold them, so that a file has one name.
        && !path.contains("//") && !path.ends_with('/') && !path.split('/').any(|part| part == ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_nowhere_else() {
        for path in ["state/grants.jsonl", "artifacts/1/a b/..c"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "./a", "a/./b", "a//b", "a/"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
