//! Policy changes: one after another, each in one transaction with its line in the log.

use std::collections::HashSet;

use serde_json::Value;
use sqlx::{Any, Row, Transaction};

use super::error::StoreError;
use super::groups::Nesting;
use super::{Store, edits, feed, rows};
use crate::access::{PolicyChange, PolicyEdit, Principal};
use crate::clock::UnixMillis;
use crate::database::{Database, Dialect};

/// What a mutation did. When nothing changed, `version` is the one in force and before equals after.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub version: i64,
    pub changed: bool,
    pub policy_change: PolicyChange,
}

/// A line of the log of changes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct PolicyChangeRecord {
    pub version: i64,
    #[serde(rename = "at_ms")]
    pub at: UnixMillis,
    pub by: String,
    #[serde(flatten)]
    pub change: PolicyChange,
}

/// A transaction that holds the policy lock: what it reads is what it changes.
pub(super) struct PolicyTransaction {
    pub transaction: Transaction<'static, Any>,
    /// The version that is changed.
    pub version: i64,
    dialect: Dialect,
    edits: Vec<PolicyEdit>,
    /// Principals that certainly are in the store, so that many steps do not ask again and again.
    pub known: HashSet<Principal>,
    /// The groups within groups, once a step needed them.
    pub nesting: Option<Nesting>,
}

impl PolicyTransaction {
    pub async fn begin(database: &Database) -> Result<Self, StoreError> {
        let mut transaction = database.begin_write().await?;
        // Updating the row to itself takes its lock on PostgreSQL until the end of the transaction.
        let row = sqlx::query("UPDATE policy_head SET version = version WHERE id = 1 RETURNING version")
            .fetch_one(&mut *transaction)
            .await?;
        let version = row.try_get(0)?;
        Ok(Self {
            transaction,
            version,
            dialect: database.dialect,
            edits: Vec::new(),
            known: HashSet::new(),
            nesting: None,
        })
    }

    /// Notes a step. Whatever a change does to policy must be noted, or other replicas never learn of it.
    pub fn edit(&mut self, edit: PolicyEdit) {
        self.edits.push(edit);
    }

    pub fn has_edits(&self) -> bool {
        !self.edits.is_empty()
    }

    /// Commits the change as the next version.
    pub async fn commit(
        mut self,
        by: &str,
        now: UnixMillis,
        action: &str,
        before: Value,
        after: Value,
    ) -> Result<Change, StoreError> {
        let version = self.version + 1;
        sqlx::query("UPDATE policy_head SET version = $1 WHERE id = 1")
            .bind(version)
            .execute(&mut *self.transaction)
            .await?;
        sqlx::query(
            "INSERT INTO policy_changes (version, at_ms, changed_by, action, before_json, after_json, edits) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(version)
        .bind(now.0)
        .bind(by)
        .bind(action)
        .bind(before.to_string())
        .bind(after.to_string())
        .bind(edits::write(&self.edits)?)
        .execute(&mut *self.transaction)
        .await?;
        if self.dialect == Dialect::Postgres {
            // Delivered with the commit, or not at all.
            sqlx::query("SELECT 1 FROM pg_notify($1, $2)")
                .bind(feed::CHANNEL)
                .bind(version.to_string())
                .execute(&mut *self.transaction)
                .await?;
        }
        self.transaction.commit().await?;
        let policy_change = PolicyChange { action: action.to_owned(), before, after };
        Ok(Change { version, changed: true, policy_change })
    }

    /// Ends without a change: everything is as asked for already.
    pub async fn unchanged(self, action: &str, state: Value) -> Result<Change, StoreError> {
        self.transaction.rollback().await?;
        let policy_change = PolicyChange { action: action.to_owned(), before: state.clone(), after: state };
        Ok(Change { version: self.version, changed: false, policy_change })
    }
}

impl Store {
    /// Begins a change, if policy is still as whoever asks for it looked at it.
    pub(super) async fn begin_policy(&self) -> Result<PolicyTransaction, StoreError> {
        let policy = PolicyTransaction::begin(&self.database).await?;
        match self.expected {
            Some(expected) if expected != policy.version => {
                Err(StoreError::Moved { expected, current: policy.version })
            }
            _ => Ok(policy),
        }
    }

    /// This store for changes at one version alone: at another they are [`StoreError::Moved`]. For those who
    /// were let in because of what a version says.
    pub fn at_version(&self, version: i64) -> Self {
        Self { expected: Some(version), ..self.clone() }
    }

    /// The version of the last policy change; 0 before the first.
    pub async fn policy_version(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT version FROM policy_head WHERE id = 1")
            .fetch_one(&self.database.reader)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The changes after version `since`, oldest first, at most `limit`.
    pub async fn policy_changes(
        &self,
        since: i64,
        limit: i64,
    ) -> Result<Vec<PolicyChangeRecord>, StoreError> {
        let found = sqlx::query(
            "SELECT version, at_ms, changed_by, action, before_json, after_json FROM policy_changes \
             WHERE version > $1 ORDER BY version LIMIT $2",
        )
        .bind(since)
        .bind(limit.max(0))
        .fetch_all(&self.database.reader)
        .await?;
        let json = |text: String| {
            serde_json::from_str(&text)
                .map_err(|error| StoreError::Corrupt(format!("policy change: {error}")))
        };
        found
            .iter()
            .map(|row| {
                Ok(PolicyChangeRecord {
                    version: rows::number(row, "version")?,
                    at: rows::time(row, "at_ms")?,
                    by: rows::text(row, "changed_by")?,
                    change: PolicyChange {
                        action: rows::text(row, "action")?,
                        before: json(rows::text(row, "before_json")?)?,
                        after: json(rows::text(row, "after_json")?)?,
                    },
                })
            })
            .collect()
    }
}
