//! Removal of what is past its time: events with everything by which they are found, and what was counted
//! of them.

use serde_json::{Value, json};

use super::{AuditIndex, AuditIndexError, Database, columns::text, on};
use crate::access::Event;
use crate::clock::UnixMillis;

const DAY_MS: i64 = 86_400_000;

/// An event whose rows go.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Its number in the index.
    pub id: i64,
    pub event: Event,
}

impl AuditIndex {
    /// Removes events and everything by which they were found, all of them or none.
    pub async fn remove(&self, removals: &[Removal]) -> Result<(), AuditIndexError> {
        let events: Vec<Value> =
            removals.iter().map(|Removal { id, event }| json!([id, event.time])).collect();
        let by_key = |keys: fn(&Event) -> &Vec<String>| -> Vec<Value> {
            let rows = removals.iter().flat_map(|Removal { id, event }| {
                keys(event).iter().map(move |key| json!([id, event.time, text(key)]))
            });
            rows.collect()
        };
        let trace_ids = by_key(|event| &event.trace_ids);
        let securables = by_key(|event| &event.securables);
        let source = match self.database {
            Database::Sqlite { .. } => "json_each($1)",
            Database::Postgres(_) => "json_array_elements(CAST($1 AS JSON)) AS source(value)",
        };
        let statements = [
            (
                format!(
                    "DELETE FROM audit_events WHERE (id, time_ms) IN (SELECT {ID}, {TIME} FROM {source})"
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
                    .bind(Value::Array(rows).to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        });
        Ok(())
    }

    /// Removes what was counted of days before a time, and addresses that were first seen before it: whoever
    /// comes from there again is first seen there anew.
    pub async fn remove_counts(&self, before: UnixMillis) -> Result<(), AuditIndexError> {
        on!(&self.database, writer, pool => {
            let mut transaction = pool.begin().await?;
            sqlx::query("DELETE FROM audit_days WHERE day < $1")
                .bind(before.0.div_euclid(DAY_MS))
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM audit_shadowed WHERE hour < $1")
                .bind(before.0.div_euclid(super::shadowed::HOUR_MS))
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM audit_addresses WHERE first_ms < $1")
                .bind(before.0)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        });
        Ok(())
    }
}

const ID: &str = "CAST(value ->> 0 AS BIGINT)";
const TIME: &str = "CAST(value ->> 1 AS BIGINT)";

/// By the whole key, so that the database finds each row by its index.
fn keyed(table: &str, key: &str, source: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE ({key}, time_ms, id) IN \
         (SELECT CAST(value ->> 2 AS TEXT), {TIME}, {ID} FROM {source})"
    )
}
