//! Questions to the audit index, answered newest first in pages that stay put: a page goes on after
//! the last record seen, however many came in since.

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;

use super::{AuditIndex, AuditIndexError, Database, columns::text, on, seq_of};
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
    /// `user:alice`, whether it called itself, was acted for, or acted for somebody.
    pub principal: Option<String>,
    /// `experiment:12`
    pub securable: Option<String>,
    pub trace_id: Option<String>,
    pub decision: Option<Verdict>,
    pub operation: Option<String>,
    /// Every record of one call.
    pub decision_id: Option<String>,
    /// `policy_change` and the like.
    pub kind: Option<String>,
    /// The HTTP status answered: 401 are the failed logins.
    pub status: Option<u16>,
    pub order: Order,
    /// 1 to 1000; 100 if not given.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub after: Option<AuditCursor>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

impl AuditQuery {
    pub const DEFAULT_LIMIT: u32 = 100;
    pub const LARGEST_LIMIT: u32 = 1000;

    /// Whether it asks for every record of a period.
    pub fn is_of_a_period(&self) -> bool {
        let texts = [
            &self.principal,
            &self.securable,
            &self.trace_id,
            &self.operation,
            &self.decision_id,
            &self.kind,
        ];
        texts.into_iter().all(Option::is_none)
            && self.decision.is_none()
            && self.status.is_none()
            && self.after.is_none()
    }
}

/// The place of a record in the order of pages, written `TIME_MS:ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    pub time: UnixMillis,
    /// The record's own number in this index.
    pub id: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an audit cursor; pass on the one that came with the page before")]
pub struct MalformedCursor(String);

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.time.0, self.id)
    }
}

impl FromStr for AuditCursor {
    type Err = MalformedCursor;

    fn from_str(cursor: &str) -> Result<Self, MalformedCursor> {
        let parse = || {
            let (time, id) = cursor.split_once(':')?;
            Some(Self { time: UnixMillis(time.parse().ok()?), id: id.parse().ok()? })
        };
        parse().ok_or_else(|| MalformedCursor(cursor.chars().take(80).collect()))
    }
}

/// A record as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub replica: String,
    pub seq: u64,
    pub id: i64,
    pub time: UnixMillis,
    /// An event's kind (`begin`, `returned`, `complete`, `policy_change`), or `recovered`, `closed`.
    pub kind: String,
    /// The record's hash in its chain; absent for records that an earlier version indexed.
    pub hash: Option<Vec<u8>>,
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
        AuditCursor { time: self.time, id: self.id }
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

/// What is asked of the database for a page.
#[cfg(test)]
pub(super) fn page_sql(query: &AuditQuery) -> String {
    Statement::of(query, 100).0
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

    /// A record is of two people if one acted for the other. Each has an index in the order of pages: the
    /// database reads both from their ends and stops at the end of the page.
    fn of(query: &AuditQuery, limit: u32) -> (String, Vec<Bind>) {
        let mut statement = Self { conditions: Vec::new(), binds: Vec::new() };
        let (mut rows, k) = statement.rows(query, "principal");
        let mut of = format!("{k}.");
        if query.principal.is_some() {
            let (acted, _) = statement.rows(query, "actor");
            rows = format!("{rows} UNION ALL {acted}");
            // Of both together only the names of what is selected are known.
            of.clear();
        }
        let direction = match query.order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        let limit = statement.number(i64::from(limit));
        let sql = format!("{rows} ORDER BY {of}time_ms {direction}, {of}id {direction} LIMIT {limit}");
        (sql, statement.binds)
    }

    /// What a page is taken from, for those whom the column `whose` names.
    fn rows(&mut self, query: &AuditQuery, whose: &str) -> (String, &'static str) {
        let (from, k) = self.filtered(query, whose);
        let beyond = if query.order == Order::NewestFirst { "<" } else { ">" };
        if let Some(after) = &query.after {
            let (time, id) = (self.number(after.time.0), self.number(after.id));
            self.conditions.push(format!("({k}.time_ms, {k}.id) {beyond} ({time}, {id})"));
        }
        let conditions = self.r#where();
        (
            format!(
                "SELECT {k}.id AS id, {k}.time_ms AS time_ms, e.kind, e.hash, e.json FROM {from}{conditions}"
            ),
            k,
        )
    }

    fn count(query: &AuditQuery) -> (String, Vec<Bind>) {
        let mut statement = Self { conditions: Vec::new(), binds: Vec::new() };
        let called = statement.counted(query, "principal");
        let Some(_) = query.principal else { return (called, statement.binds) };
        let acted = statement.counted(query, "actor");
        (format!("SELECT ({called}) + ({acted})"), statement.binds)
    }

    fn counted(&mut self, query: &AuditQuery, whose: &str) -> String {
        let (from, _) = self.filtered(query, whose);
        format!("SELECT COUNT(*) FROM {from}{}", self.r#where())
    }

    fn r#where(&self) -> String {
        match self.conditions.as_slice() {
            [] => String::new(),
            conditions => format!(" WHERE {}", conditions.join(" AND ")),
        }
    }

    /// The tables with every condition but the page's; the principal is looked for in the column `whose`.
    fn filtered(&mut self, query: &AuditQuery, whose: &str) -> (&'static str, &'static str) {
        self.conditions.clear();
        let (from, k) = self.source(query);
        let whose = format!("e.{whose}");
        for (column, value) in [
            (whose.as_str(), &query.principal),
            ("e.operation", &query.operation),
            ("e.decision_id", &query.decision_id),
        ] {
            if let Some(value) = value {
                let place = self.text(value);
                self.conditions.push(format!("{column} = {place}"));
            }
        }
        // What has an index of its own is written out, not bound: only so can that index serve.
        if let Some(decision) = query.decision {
            self.conditions.push(format!("e.decision = '{}'", decision.as_str()));
        }
        match query.kind.as_deref() {
            Some("policy_change") => self.conditions.push("e.kind = 'policy_change'".to_owned()),
            Some(kind) => {
                let place = self.text(kind);
                self.conditions.push(format!("e.kind = {place}"));
            }
            None => {}
        }
        if let Some(status) = query.status {
            self.conditions.push(format!("e.status = {status}"));
        }
        if let Some(since) = query.since {
            let place = self.number(since.0);
            self.conditions.push(format!("{k}.time_ms >= {place}"));
        }
        if let Some(until) = query.until {
            let place = self.number(until.0);
            self.conditions.push(format!("{k}.time_ms < {place}"));
        }
        (from, k)
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
                         AND s.time_ms = k.time_ms AND s.id = k.id)"
                    ));
                }
                ("audit_trace_ids k JOIN audit_events e ON e.id = k.id AND e.time_ms = k.time_ms", "k")
            }
            (None, Some(securable)) => {
                let place = self.text(securable);
                self.conditions.push(format!("k.securable = {place}"));
                ("audit_securables k JOIN audit_events e ON e.id = k.id AND e.time_ms = k.time_ms", "k")
            }
        }
    }
}

/// Binds a statement's values, on whichever database it is.
macro_rules! bound {
    ($statement:expr, $binds:expr) => {{
        let mut statement = $statement;
        for bind in $binds {
            statement = match bind {
                Bind::Text(value) => statement.bind(value),
                Bind::Number(value) => statement.bind(value),
            };
        }
        statement
    }};
}

type Row = (i64, i64, String, Option<Vec<u8>>, String);

impl AuditIndex {
    pub async fn query(&self, query: &AuditQuery) -> Result<AuditPage, AuditIndexError> {
        let limit = query.limit.unwrap_or(AuditQuery::DEFAULT_LIMIT).clamp(1, AuditQuery::LARGEST_LIMIT);
        // One more than asked for tells whether there is a next page.
        let (sql, binds) = Statement::of(query, limit + 1);
        let mut found: Vec<Row> = on!(&self.database, readers, pool => {
            bound!(sqlx::query_as(AssertSqlSafe(sql)), binds).fetch_all(pool).await?
        });
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut entries = Vec::with_capacity(found.len());
        for (id, time, kind, hash, json) in found {
            let replica = self.replica_of(id).await?;
            entries.push(AuditEntry {
                replica,
                seq: seq_of(id),
                id,
                time: UnixMillis(time),
                kind,
                hash,
                json,
            });
        }
        let next = if more { entries.last().map(AuditEntry::cursor) } else { None };
        Ok(AuditPage { entries, next })
    }

    /// How many records a query finds, pages aside.
    pub async fn count(&self, query: &AuditQuery) -> Result<u64, AuditIndexError> {
        let (sql, binds) = Statement::count(query);
        let found: i64 = on!(&self.database, readers, pool => {
            bound!(sqlx::query_scalar(AssertSqlSafe(sql)), binds).fetch_one(pool).await?
        });
        Ok(u64::try_from(found).unwrap_or_default())
    }
}
