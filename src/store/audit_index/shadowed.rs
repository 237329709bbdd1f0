//! What shadow mode let pass: who would be denied what, counted as records come in.

use serde::Serialize;

use super::{AuditIndex, AuditIndexError, Database, on};
use crate::clock::UnixMillis;

pub(super) const HOUR_MS: i64 = 3_600_000;

/// Calls of one kind that enforcement would refuse, or listings that it would make shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Shadowed {
    pub principal: String,
    /// From where, if nobody was identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub operation: String,
    pub securable: String,
    /// What is missing; `authenticate` if it is credentials.
    pub privilege: String,
    /// True: nothing would be refused, but an answer would show less.
    pub narrows: bool,
    pub calls: i64,
    #[serde(rename = "first_ms")]
    pub first: UnixMillis,
    #[serde(rename = "last_ms")]
    pub last: UnixMillis,
}

type Row = (String, String, String, String, String, i64, i64, i64, i64);

impl AuditIndex {
    /// From the hour of `since` on, on one securable or all; at most one row more than `limit`.
    pub async fn shadowed(
        &self,
        securable: Option<&str>,
        since: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Shadowed>, AuditIndexError> {
        let sql = "SELECT principal, address, operation, securable, privilege, narrows, CAST(SUM(calls) AS BIGINT), \
             MIN(first_ms), MAX(last_ms) FROM audit_shadowed WHERE hour >= $1 AND ($2 = '' OR securable = $2) \
             GROUP BY principal, address, operation, securable, privilege, narrows \
             ORDER BY securable, principal, address, operation, privilege, narrows LIMIT $3";
        let found: Vec<Row> = on!(&self.database, readers, pool => {
            sqlx::query_as(sql)
                .bind(since.0.div_euclid(HOUR_MS))
                .bind(securable.unwrap_or_default())
                .bind(i64::from(limit) + 1)
                .fetch_all(pool)
                .await?
        });
        Ok(found
            .into_iter()
            .map(|(principal, address, operation, securable, privilege, narrows, calls, first, last)| {
                Shadowed {
                    principal,
                    address: Some(address).filter(|address| !address.is_empty()),
                    operation,
                    securable,
                    privilege,
                    narrows: narrows != 0,
                    calls,
                    first: UnixMillis(first),
                    last: UnixMillis(last),
                }
            })
            .collect())
    }
}
