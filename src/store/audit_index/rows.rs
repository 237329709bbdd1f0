//! How records become rows. A whole batch goes to the database as one JSON array per table, which is
//! one statement instead of thousands, and the same for SQLite and PostgreSQL.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::access::Event;
use crate::clock::UnixMillis;

/// A record of the spool, to be indexed.
#[derive(Debug, Clone)]
pub struct IndexRow {
    pub seq: u64,
    pub body: RowBody,
    /// The payload as it stands in the spool.
    pub json: String,
}

#[derive(Debug, Clone)]
pub enum RowBody {
    Event(Box<Event>),
    /// A record of the chain's own (`recovered`, `closed`), or one of a later version (`unreadable`).
    Chain {
        kind: &'static str,
        time: UnixMillis,
    },
}

pub const SQLITE_SOURCE: &str = "json_each($1) WHERE true";
pub const POSTGRES_SOURCE: &str = "json_array_elements(CAST($1 AS JSON)) AS source(value)";

pub struct Batch {
    events: Vec<Value>,
    trace_ids: Vec<Value>,
    securables: Vec<Value>,
}

impl Batch {
    pub fn of(replica: &str, records: &[IndexRow]) -> Self {
        let mut batch = Self { events: Vec::new(), trace_ids: Vec::new(), securables: Vec::new() };
        for record in records {
            match &record.body {
                RowBody::Event(event) => batch.event(replica, record, event),
                RowBody::Chain { kind, time } => batch.events.push(json!([
                    replica,
                    record.seq,
                    time,
                    kind,
                    null,
                    null,
                    null,
                    null,
                    null,
                    null,
                    text(&record.json),
                ])),
            }
        }
        batch
    }

    fn event(&mut self, replica: &str, record: &IndexRow, event: &Event) {
        self.events.push(json!([
            replica,
            record.seq,
            event.time,
            event.kind,
            text(&event.decision_id),
            event.principal.as_deref().map(text),
            text(&event.operation),
            event.decision,
            event.outcome,
            event.status,
            text(&record.json),
        ]));
        // An id named twice in one event is one row.
        for trace_id in event.trace_ids.iter().collect::<BTreeSet<_>>() {
            self.trace_ids.push(json!([text(trace_id), event.time, replica, record.seq]));
        }
        for securable in event.securables.iter().collect::<BTreeSet<_>>() {
            self.securables.push(json!([text(securable), event.time, replica, record.seq]));
        }
    }

    /// Each table's statement and its rows.
    pub fn inserts(self, source: &str) -> Vec<(AssertSqlSafe<String>, String)> {
        let event_columns = [
            ("replica", "TEXT"),
            ("seq", "BIGINT"),
            ("time_ms", "BIGINT"),
            ("kind", "TEXT"),
            ("decision_id", "TEXT"),
            ("principal", "TEXT"),
            ("operation", "TEXT"),
            ("decision", "TEXT"),
            ("outcome", "TEXT"),
            ("status", "BIGINT"),
            ("json", "TEXT"),
        ];
        let key_columns =
            |key| [(key, "TEXT"), ("time_ms", "BIGINT"), ("replica", "TEXT"), ("seq", "BIGINT")];
        [
            ("audit_events", event_columns.as_slice(), self.events),
            ("audit_trace_ids", key_columns("trace_id").as_slice(), self.trace_ids),
            ("audit_securables", key_columns("securable").as_slice(), self.securables),
        ]
        .into_iter()
        .filter(|(_, _, rows)| !rows.is_empty())
        .map(|(table, columns, rows)| (insert(table, columns, source), Value::Array(rows).to_string()))
        .collect()
    }
}

/// Made of names in this file alone; every value is bound.
fn insert(table: &str, columns: &[(&str, &str)], source: &str) -> AssertSqlSafe<String> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, (_, sql_type))| format!("CAST(value ->> {index} AS {sql_type})"))
        .collect();
    AssertSqlSafe(format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {source}",
        names.join(", "),
        values.join(", ")
    ))
}

/// PostgreSQL's text cannot hold NUL; one such value would keep a batch out for ever.
pub fn text(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}
