//! The steps of policy changes, from which another replica makes its own picture without reading it all.
//!
//! Whoever applies the steps of versions 8, 9 and 10 to the picture of version 7 has the picture that
//! [`Store::read_policy`] would read at version 10. Versions are without gaps: one that is missing, or that
//! comes without its steps, means reading everything.

use super::error::StoreError;
use super::{Store, rows};
use crate::access::PolicyEdit;
use sqlx::Row;

/// One version of policy and how it came from the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyStep {
    pub version: i64,
    /// `None`: the steps were not kept, or this program does not know one of them.
    pub edits: Option<Vec<PolicyEdit>>,
}

impl Store {
    /// The steps after version `since`, oldest first, at most `limit`.
    pub async fn policy_edits(&self, since: i64, limit: i64) -> Result<Vec<PolicyStep>, StoreError> {
        let found = sqlx::query(
            "SELECT version, edits FROM policy_changes WHERE version > $1 ORDER BY version LIMIT $2",
        )
        .bind(since)
        .bind(limit.max(0))
        .fetch_all(&self.database.reader)
        .await?;
        found
            .iter()
            .map(|row| {
                let version = rows::number(row, "version")?;
                let text: Option<String> = row.try_get("edits")?;
                Ok(PolicyStep { version, edits: text.and_then(|text| read(version, &text)) })
            })
            .collect()
    }
}

/// A newer program beside this one may write steps of a kind that this one does not know. The tables still
/// say what is in force, so that reading them is the answer and not an error.
fn read(version: i64, text: &str) -> Option<Vec<PolicyEdit>> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, version, "the steps of a policy change cannot be read"))
        .ok()
}

pub(super) fn write(edits: &[PolicyEdit]) -> Result<String, StoreError> {
    serde_json::to_string(edits)
        .map_err(|error| StoreError::Refused(format!("a policy change cannot be written down: {error}")))
}
