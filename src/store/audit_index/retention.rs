//! What keeps the index in step with the chain: its rows in the order of the chain, and their removal
//! when their time is over.

use serde_json::{Value, json};

use super::{AuditIndex, AuditIndexError, Database, IndexPosition, on, rows::text, signed};
use crate::access::Event;
use crate::clock::UnixMillis;

/// A record as it stands in its replica's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRow {
    pub seq: u64,
    /// `begin`, `complete` … for events, `checkpoint` … for the chain's own.
    pub kind: String,
    /// The payload.
    pub json: String,
}

/// An event whose rows go.
#[derive(Debug, Clone)]
pub struct Removal {
    pub seq: u64,
    pub event: Event,
}

impl AuditIndex {
    /// The replicas whose records are here.
    pub async fn replicas(&self) -> Result<Vec<String>, AuditIndexError> {
        let found: Vec<(String,)> = on!(&self.database, readers, pool => {
            sqlx::query_as("SELECT replica FROM audit_positions ORDER BY replica").fetch_all(pool).await?
        });
        Ok(found.into_iter().map(|(replica,)| replica).collect())
    }

    /// How far a replica's chain is in the index, without making it known; `None` if it is not.
    pub async fn taken(&self, replica: &str) -> Result<Option<IndexPosition>, AuditIndexError> {
        let found: Option<(i64, Vec<u8>)> = on!(&self.database, readers, pool => {
            sqlx::query_as("SELECT seq, hash FROM audit_positions WHERE replica = $1")
                .bind(replica)
                .fetch_optional(pool)
                .await?
        });
        let malformed = || AuditIndexError::MalformedPosition(replica.to_owned());
        let Some((seq, hash)) = found else { return Ok(None) };
        Ok(Some(IndexPosition {
            seq: u64::try_from(seq).map_err(|_| malformed())?,
            hash: hash.try_into().map_err(|_| malformed())?,
        }))
    }

    /// A replica's records after a seq, in order, of before a time if one is given.
    pub async fn chain_rows(
        &self,
        replica: &str,
        after: u64,
        before: Option<UnixMillis>,
        limit: u32,
    ) -> Result<Vec<ChainRow>, AuditIndexError> {
        let found: Vec<(i64, String, String)> = on!(&self.database, readers, pool => {
            sqlx::query_as(
                "SELECT seq, kind, json FROM audit_events \
                 WHERE replica = $1 AND seq > $2 AND time_ms < $3 ORDER BY seq LIMIT $4",
            )
            .bind(replica)
            .bind(signed(after))
            .bind(before.map_or(i64::MAX, |before| before.0))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        });
        let row = |(seq, kind, json)| ChainRow { seq: u64::try_from(seq).unwrap_or_default(), kind, json };
        Ok(found.into_iter().map(row).collect())
    }

    /// Removes events and everything by which they were found, all of them or none.
    pub async fn remove(&self, replica: &str, removals: &[Removal]) -> Result<(), AuditIndexError> {
        let events: Vec<Value> = removals.iter().map(|removal| json!([removal.seq])).collect();
        let by_key = |keys: fn(&Event) -> &Vec<String>| -> Vec<Value> {
            let rows = removals.iter().flat_map(|Removal { seq, event }| {
                keys(event).iter().map(move |key| json!([seq, event.time, text(key)]))
            });
            rows.collect()
        };
        let trace_ids = by_key(|event| &event.trace_ids);
        let securables = by_key(|event| &event.securables);
        let source = match self.database {
            Database::Sqlite { .. } => "json_each($2)",
            Database::Postgres(_) => "json_array_elements(CAST($2 AS JSON)) AS source(value)",
        };
        let seq = "CAST(value ->> 0 AS BIGINT)";
        let statements = [
            (
                format!(
                    "DELETE FROM audit_events WHERE replica = $1 AND seq IN (SELECT {seq} FROM {source})"
                ),
                events,
            ),
            (keyed("audit_trace_ids", "trace_id", source), trace_ids),
            (keyed("audit_securables", "securable", source), securables),
        ];
        on!(&self.database, writer, pool => {
            let mut transaction = pool.begin().await?;
            for (statement, rows) in statements {
                sqlx::query(sqlx::AssertSqlSafe(statement))
                    .bind(replica)
                    .bind(Value::Array(rows).to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        });
        Ok(())
    }
}

/// By the whole key, so that the database finds each row by its index.
fn keyed(table: &str, key: &str, source: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE ({key}, time_ms, replica, seq) IN (SELECT CAST(value ->> 2 AS TEXT), \
         CAST(value ->> 1 AS BIGINT), $1, CAST(value ->> 0 AS BIGINT) FROM {source})"
    )
}

#[cfg(test)]
impl AuditIndex {
    /// Does to the index what somebody with access to the database could. `SEQ_IS(n)` and `SEQ_SET(n)` in
    /// the statement stand for how a record is found and numbered.
    pub(crate) async fn tamper(&self, statement: &str) {
        let sql = statement.replace("SEQ_IS(", "(seq = ").replace("SEQ_SET(", "seq = (");
        let changed = on!(&self.database, writer, pool => {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap().rows_affected()
        });
        assert_eq!(changed, 1, "{statement}");
    }
}
