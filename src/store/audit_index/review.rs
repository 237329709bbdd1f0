//! What reviews of access ask for, counted as records come in: uses of grants, first addresses, calls by
//! day.

use serde::Serialize;

use super::{AuditIndex, AuditIndexError, Database, on};
use crate::clock::UnixMillis;

const DAY_MS: i64 = 86_400_000;

/// How often a grant decided a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantUse {
    pub grant_id: i64,
    pub uses: i64,
    #[serde(rename = "first_ms")]
    pub first: UnixMillis,
    #[serde(rename = "last_ms")]
    pub last: UnixMillis,
}

/// When a principal was first seen at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct FirstAddress {
    pub principal: String,
    pub address: String,
    #[serde(rename = "first_ms")]
    pub first: UnixMillis,
    /// Whether the principal had been seen at another address before.
    pub known_elsewhere: bool,
}

/// How often somebody did something to something, in a period of whole days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DayCount {
    pub principal: String,
    pub securable: String,
    pub operation: String,
    pub decision: String,
    pub calls: i64,
}

impl AuditIndex {
    /// Every grant that ever decided a call.
    pub async fn grant_uses(&self) -> Result<Vec<GrantUse>, AuditIndexError> {
        let found: Vec<(i64, i64, i64, i64)> = on!(&self.database, readers, pool => {
            sqlx::query_as("SELECT grant_id, uses, first_ms, last_ms FROM audit_grant_uses ORDER BY grant_id")
                .fetch_all(pool)
                .await?
        });
        let of = |(grant_id, uses, first, last)| GrantUse {
            grant_id,
            uses,
            first: UnixMillis(first),
            last: UnixMillis(last),
        };
        Ok(found.into_iter().map(of).collect())
    }

    /// The uses of those of these grants that ever decided a call.
    pub async fn uses_of_grants(&self, grants: &[i64]) -> Result<Vec<GrantUse>, AuditIndexError> {
        const CHUNK: usize = 500;
        let mut uses = Vec::new();
        for chunk in grants.chunks(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let statement = format!(
                "SELECT grant_id, uses, first_ms, last_ms FROM audit_grant_uses WHERE grant_id IN ({})",
                ids.join(", ")
            );
            let found: Vec<(i64, i64, i64, i64)> = on!(&self.database, readers, pool => {
                sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await?
            });
            uses.extend(found.into_iter().map(|(grant_id, uses, first, last)| GrantUse {
                grant_id,
                uses,
                first: UnixMillis(first),
                last: UnixMillis(last),
            }));
        }
        Ok(uses)
    }

    /// First sights at an address, newest first, from before (time, principal, address).
    pub async fn first_addresses(
        &self,
        since: Option<UnixMillis>,
        before: (UnixMillis, &str, &str),
        limit: u32,
    ) -> Result<Vec<FirstAddress>, AuditIndexError> {
        let (time, principal, address) = before;
        let found: Vec<(String, String, i64, i64)> = on!(&self.database, readers, pool => {
            sqlx::query_as(
                "SELECT a.principal, a.address, a.first_ms, CAST((SELECT COUNT(*) FROM (SELECT 1 FROM audit_addresses b \
                     WHERE b.principal = a.principal AND b.first_ms < a.first_ms LIMIT 1) earlier) AS BIGINT) \
                 FROM audit_addresses a WHERE a.first_ms >= $1 AND (a.first_ms, a.principal, a.address) < ($2, $3, $4) \
                 ORDER BY a.first_ms DESC, a.principal DESC, a.address DESC LIMIT $5",
            )
            .bind(since.map_or(i64::MIN, |time| time.0))
            .bind(time.0)
            .bind(principal)
            .bind(address)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        });
        let of = |(principal, address, first, earlier): (String, String, i64, i64)| FirstAddress {
            principal,
            address,
            first: UnixMillis(first),
            known_elsewhere: earlier > 0,
        };
        Ok(found.into_iter().map(of).collect())
    }

    /// Who did what how often, on the UTC days that a period touches.
    pub async fn calls_by_person(
        &self,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<DayCount>, AuditIndexError> {
        let found: Vec<(String, String, String, String, i64)> = on!(&self.database, readers, pool => {
            sqlx::query_as(
                "SELECT principal, securable, operation, decision, CAST(SUM(calls) AS BIGINT) FROM audit_days \
                 WHERE day >= $1 AND day <= $2 GROUP BY principal, securable, operation, decision \
                 ORDER BY principal, securable, operation, decision",
            )
            .bind(since.0.div_euclid(DAY_MS))
            .bind((until.0 - 1).div_euclid(DAY_MS))
            .fetch_all(pool)
            .await?
        });
        let of = |(principal, securable, operation, decision, calls)| DayCount {
            principal,
            securable,
            operation,
            decision,
            calls,
        };
        Ok(found.into_iter().map(of).collect())
    }
}
