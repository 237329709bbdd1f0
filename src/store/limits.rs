//! Limits on use, and what was used of those that replicas share.
//!
//! A limit that is set or lifted is a change of policy: it has a version, a line in the log, and other
//! replicas are told at once.

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, principals, rows};
use crate::access::{Principal, Securable};
use crate::clock::UnixMillis;
use crate::database::Dialect;

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// Calls in one second.
    RequestsPerSecond,
    /// Traces that an experiment holds.
    Traces,
}

impl LimitName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests_per_second",
            Self::Traces => "traces",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "requests_per_second" => Ok(Self::RequestsPerSecond),
            "traces" => Ok(Self::Traces),
            other => Err(StoreError::Corrupt(format!("`{other}` is not a limit"))),
        }
    }
}

/// What a limit is on: a securable, for all who use it together or for one principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
pub struct LimitKey {
    #[schemars(with = "String")]
    pub securable: Securable,
    /// Whom it bounds; null: all together.
    #[schemars(with = "Option<String>")]
    pub principal: Option<Principal>,
    pub name: LimitName,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct UsageLimit {
    #[serde(flatten)]
    pub key: LimitKey,
    pub value: u64,
    pub set_by: String,
    #[serde(rename = "set_at_ms")]
    #[schemars(with = "i64")]
    pub set_at: UnixMillis,
}

const SELECT: &str = "SELECT securable, principal, name, value, set_by, set_at_ms FROM usage_limits";

impl Store {
    /// Whether other replicas may work on the same state.
    pub fn is_shared(&self) -> bool {
        self.database.dialect == Dialect::Postgres
    }

    /// Every limit that was set, and the version of policy at which they are these.
    pub async fn usage_limits(&self) -> Result<(i64, Vec<UsageLimit>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version: i64 = sqlx::query("SELECT version FROM policy_head WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        let found = sqlx::query(SELECT).fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok((version, found.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Sets a limit, or lifts it.
    pub async fn set_usage_limit(
        &self,
        key: &LimitKey,
        value: Option<u64>,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let action = if value.is_some() { "limit.set" } else { "limit.clear" };
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let principal = key.principal.as_ref().map(ToString::to_string).unwrap_or_default();
        let before = sqlx::query(
            "SELECT securable, principal, name, value, set_by, set_at_ms FROM usage_limits \
             WHERE securable = $1 AND principal = $2 AND name = $3",
        )
        .bind(key.securable.to_string())
        .bind(principal.clone())
        .bind(key.name.as_str())
        .fetch_optional(&mut *policy.transaction)
        .await?;
        let before = before.as_ref().map(read).transpose()?;
        if before.as_ref().map(|before| before.value) == value {
            return policy.unchanged(action, json!(before)).await;
        }
        let Some(value) = value else {
            sqlx::query("DELETE FROM usage_limits WHERE securable = $1 AND principal = $2 AND name = $3")
                .bind(key.securable.to_string())
                .bind(principal)
                .bind(key.name.as_str())
                .execute(&mut *policy.transaction)
                .await?;
            return policy.commit(by, now, action, json!(before), json!(null)).await;
        };
        if let Some(principal) = &key.principal {
            principals::ensure(&mut policy, principal, by, now).await?;
        }
        let stored = i64::try_from(value)
            .map_err(|_| StoreError::Refused("a limit is at most 9223372036854775807".to_owned()))?;
        sqlx::query(
            "INSERT INTO usage_limits (securable, principal, name, value, set_by, set_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (securable, principal, name) DO UPDATE SET value = $4, set_by = $5, set_at_ms = $6",
        )
        .bind(key.securable.to_string())
        .bind(principal)
        .bind(key.name.as_str())
        .bind(stored)
        .bind(by)
        .bind(now.0)
        .execute(&mut *policy.transaction)
        .await?;
        let after = UsageLimit { key: key.clone(), value, set_by: by.to_owned(), set_at: now };
        policy.commit(by, now, action, json!(before), json!(after)).await
    }

    /// Takes `share` of what a span of time allows, all of it or nothing. Over all replicas no more is taken
    /// than `most`.
    pub async fn take_share(
        &self,
        subject: &str,
        span_start: UnixMillis,
        share: u64,
        most: u64,
    ) -> Result<bool, StoreError> {
        let bounded = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if share > most {
            return Ok(false);
        }
        let taken = sqlx::query(
            "INSERT INTO usage_counts (subject, span_start_ms, used) VALUES ($1, $2, $3) \
             ON CONFLICT (subject, span_start_ms) DO UPDATE SET used = usage_counts.used + $3 \
             WHERE usage_counts.used <= $4 RETURNING used",
        )
        .bind(subject)
        .bind(span_start.0)
        .bind(bounded(share))
        .bind(bounded(most) - bounded(share))
        .fetch_optional(&self.database.writer)
        .await?;
        Ok(taken.is_some())
    }

    /// Forgets what was used in spans before this one.
    pub async fn prune_usage(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM usage_counts WHERE span_start_ms < $1")
            .bind(before.0)
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected())
    }
}

fn read(row: &AnyRow) -> Result<UsageLimit, StoreError> {
    let principal = rows::text(row, "principal")?;
    let principal = if principal.is_empty() { None } else { Some(rows::parsed(row, "principal")?) };
    Ok(UsageLimit {
        key: LimitKey {
            securable: rows::parsed(row, "securable")?,
            principal,
            name: LimitName::parse(&rows::text(row, "name")?)?,
        },
        value: u64::try_from(rows::number(row, "value")?)
            .map_err(|_| StoreError::Corrupt("a limit below 0".to_owned()))?,
        set_by: rows::text(row, "set_by")?,
        set_at: rows::time(row, "set_at_ms")?,
    })
}
