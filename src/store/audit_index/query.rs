//! Questions to the audit index, answered newest first in pages that stay put: a page goes on after
//! the last record seen, however many came in since.

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;

use super::{AuditIndex, AuditIndexError, Database, on, rows::text, signed};
use crate::access::{Event, Verdict};
use crate::clock::UnixMillis;

/// What to look for; every field given must match.
///
/// `AuditQuery { trace_id, decision: Some(Verdict::Allow), .. }` asks who saw a trace.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Inclusive.
    pub since: Option<UnixMillis>,
    /// Exclusive.
    pub until: Option<UnixMillis>,
    /// `user:alice`
    pub principal: Option<String>,
    /// `experiment:12`
    pub securable: Option<String>,
    pub trace_id: Option<String>,
    pub decision: Option<Verdict>,
    pub operation: Option<String>,
    /// Every record of one call.
    pub decision_id: Option<String>,
    /// 1 to 1000; 100 if not given.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub after: Option<AuditCursor>,
}

impl AuditQuery {
    pub const DEFAULT_LIMIT: u32 = 100;
    pub const LARGEST_LIMIT: u32 = 1000;
}

/// The place of a record in the order of pages, written `TIME_MS:SEQ:REPLICA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor {
    pub time: UnixMillis,
    pub replica: String,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an audit cursor; pass on the one that came with the page before")]
pub struct MalformedCursor(String);

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.time.0, self.seq, self.replica)
    }
}

impl FromStr for AuditCursor {
    type Err = MalformedCursor;

    fn from_str(cursor: &str) -> Result<Self, MalformedCursor> {
        let parse = || {
            let (time, rest) = cursor.split_once(':')?;
            let (seq, replica) = rest.split_once(':')?;
            let replica = (replica.len() <= 255).then(|| replica.to_owned())?;
            Some(Self { time: UnixMillis(time.parse().ok()?), seq: seq.parse().ok()?, replica })
        };
        parse().ok_or_else(|| MalformedCursor(cursor.chars().take(80).collect()))
    }
}

/// A record as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub replica: String,
    pub seq: u64,
    pub time: UnixMillis,
    /// An event's kind (`begin`, `returned`, `complete`, `policy_change`), or `recovered`, `closed`.
    pub kind: String,
    /// The payload as it stands in the spool.
    pub json: String,
}

impl AuditEntry {
    /// The event, unless the record is of the chain's own.
    pub fn event(&self) -> Option<Event> {
        serde_json::from_str(&self.json).ok()
    }

    /// The payload with the record's place, for people and programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let mut entry = serde_json::json!({ "replica": self.replica, "seq": self.seq, "kind": self.kind });
        if let (Some(entry), Ok(serde_json::Value::Object(payload))) =
            (entry.as_object_mut(), serde_json::from_str(&self.json))
        {
            entry.extend(payload);
        }
        entry
    }

    pub fn cursor(&self) -> AuditCursor {
        AuditCursor { time: self.time, replica: self.replica.clone(), seq: self.seq }
    }
}

#[derive(Debug, Clone)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page goes on; `None` at the end.
    pub next: Option<AuditCursor>,
}

enum Bind {
    Text(String),
    Number(i64),
}

/// A statement under construction: conditions, and the values they are bound to.
struct Statement {
    conditions: Vec<String>,
    binds: Vec<Bind>,
}

impl Statement {
    fn text(&mut self, value: &str) -> String {
        self.binds.push(Bind::Text(text(value)));
        format!("${}", self.binds.len())
    }

    fn number(&mut self, value: i64) -> String {
        self.binds.push(Bind::Number(value));
        format!("${}", self.binds.len())
    }

    fn of(query: &AuditQuery, limit: u32) -> (String, Vec<Bind>) {
        let mut statement = Self { conditions: Vec::new(), binds: Vec::new() };
        let (from, k) = statement.source(query);
        for (column, value) in [
            ("e.principal", &query.principal),
            ("e.operation", &query.operation),
            ("e.decision_id", &query.decision_id),
        ] {
            if let Some(value) = value {
                let place = statement.text(value);
                statement.conditions.push(format!("{column} = {place}"));
            }
        }
        if let Some(decision) = query.decision {
            // Written out, not bound: only so can the index of refusals serve.
            statement.conditions.push(format!("e.decision = '{}'", decision.as_str()));
        }
        if let Some(since) = query.since {
            let place = statement.number(since.0);
            statement.conditions.push(format!("{k}.time_ms >= {place}"));
        }
        if let Some(until) = query.until {
            let place = statement.number(until.0);
            statement.conditions.push(format!("{k}.time_ms < {place}"));
        }
        if let Some(after) = &query.after {
            let (time, replica) = (statement.number(after.time.0), statement.text(&after.replica));
            let seq = statement.number(signed(after.seq));
            statement
                .conditions
                .push(format!("({k}.time_ms, {k}.replica, {k}.seq) < ({time}, {replica}, {seq})"));
        }
        let limit = statement.number(i64::from(limit));
        let conditions = match statement.conditions.as_slice() {
            [] => String::new(),
            conditions => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let sql = format!(
            "SELECT e.replica, e.seq, e.time_ms, e.kind, e.json FROM {from}{conditions} \
             ORDER BY {k}.time_ms DESC, {k}.replica DESC, {k}.seq DESC LIMIT {limit}"
        );
        (sql, statement.binds)
    }

    /// The tables, and which of them leads: the one whose index is in the order of pages, so that the
    /// database stops at the end of the page.
    fn source(&mut self, query: &AuditQuery) -> (&'static str, &'static str) {
        match (&query.trace_id, &query.securable) {
            (None, None) => ("audit_events e", "e"),
            (Some(trace_id), securable) => {
                let place = self.text(trace_id);
                self.conditions.push(format!("k.trace_id = {place}"));
                if let Some(securable) = securable {
                    let place = self.text(securable);
                    self.conditions.push(format!(
                        "EXISTS (SELECT 1 FROM audit_securables s WHERE s.securable = {place} \
                         AND s.time_ms = k.time_ms AND s.replica = k.replica AND s.seq = k.seq)"
                    ));
                }
                ("audit_trace_ids k JOIN audit_events e ON e.replica = k.replica AND e.seq = k.seq", "k")
            }
            (None, Some(securable)) => {
                let place = self.text(securable);
                self.conditions.push(format!("k.securable = {place}"));
                ("audit_securables k JOIN audit_events e ON e.replica = k.replica AND e.seq = k.seq", "k")
            }
        }
    }
}

impl AuditIndex {
    pub async fn query(&self, query: &AuditQuery) -> Result<AuditPage, AuditIndexError> {
        let limit = query.limit.unwrap_or(AuditQuery::DEFAULT_LIMIT).clamp(1, AuditQuery::LARGEST_LIMIT);
        // One more than asked for tells whether there is a next page.
        let (sql, binds) = Statement::of(query, limit + 1);
        let found: Vec<(String, i64, i64, String, String)> = on!(&self.database, readers, pool => {
            let mut statement = sqlx::query_as(AssertSqlSafe(sql));
            for bind in binds {
                statement = match bind {
                    Bind::Text(value) => statement.bind(value),
                    Bind::Number(value) => statement.bind(value),
                };
            }
            statement.fetch_all(pool).await?
        });
        let mut entries: Vec<AuditEntry> = found
            .into_iter()
            .map(|(replica, seq, time, kind, json)| AuditEntry {
                replica,
                seq: u64::try_from(seq).unwrap_or_default(),
                time: UnixMillis(time),
                kind,
                json,
            })
            .collect();
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = if more { entries.last().map(AuditEntry::cursor) } else { None };
        Ok(AuditPage { entries, next })
    }
}
