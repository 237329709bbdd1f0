//! Who saw a trace: answered from the rows of the trace's ids alone, by person and level.

use serde::Serialize;

use super::columns::text;
use super::{AuditIndex, AuditIndexError, Database, Subject, on};
use crate::clock::UnixMillis;

/// What a caller got of a trace by one record. The numbers are those in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Asked for it and got nothing of it.
    Nothing = 0,
    /// Wrote to it.
    Wrote = 1,
    /// What a listing shows: ids, times, states, tags.
    Listed = 2,
    /// Contents or metadata.
    Read = 3,
}

impl Level {
    fn of(number: i64) -> Self {
        match number {
            1 => Self::Wrote,
            2 => Self::Listed,
            3 => Self::Read,
            _ => Self::Nothing,
        }
    }
}

/// Whose readers are asked for.
#[derive(Debug, Clone)]
pub enum ReadersOf {
    Trace(String),
    /// Every trace that was known to be of this session, end user or the like.
    Subject(Subject),
}

/// One person's sightings on one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Reader {
    pub principal: String,
    /// Who called on behalf of the principal, and so saw it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    pub level: Level,
    pub operation: String,
    /// Of a subject's traces, how many different ones.
    pub traces: u64,
    /// How often: once for each trace in each record that released something of it.
    pub times: u64,
    #[serde(rename = "first_ms")]
    pub first: UnixMillis,
    #[serde(rename = "last_ms")]
    pub last: UnixMillis,
}

/// Which sightings count, in every question.
const COUNTED: &str = "k.level >= $3 AND k.time_ms >= $4 AND k.time_ms < $5 AND k.principal IS NOT NULL";
const ORDER: &str = "ORDER BY principal, level DESC, operation, actor LIMIT 10001";

/// Grouped twice for a subject: counting what is distinct would sort every sighting.
pub(super) fn readers_sql(of: &ReadersOf) -> String {
    match of {
        ReadersOf::Trace(_) => format!(
            "SELECT k.principal, k.level, k.operation, CAST(1 AS BIGINT), COUNT(*), MIN(k.time_ms), MAX(k.time_ms), k.actor \
             FROM audit_trace_ids k WHERE k.trace_id = $1 AND $2 = '' AND {COUNTED} \
             GROUP BY k.principal, k.level, k.operation, k.actor {ORDER}"
        ),
        ReadersOf::Subject(_) => format!(
            "SELECT principal, level, operation, COUNT(*), CAST(SUM(times) AS BIGINT), MIN(first_ms), MAX(last_ms), actor FROM ( \
             SELECT k.principal, k.level, k.operation, k.actor, k.trace_id, COUNT(*) AS times, MIN(k.time_ms) AS first_ms, \
             MAX(k.time_ms) AS last_ms FROM audit_subjects s JOIN audit_trace_ids k ON k.trace_id = s.trace_id \
             WHERE s.key = $1 AND s.value = $2 AND {COUNTED} \
             GROUP BY k.principal, k.level, k.operation, k.actor, k.trace_id) sightings \
             GROUP BY principal, level, operation, actor {ORDER}"
        ),
    }
}

type Row = (String, i64, String, i64, i64, i64, i64, Option<String>);

impl AuditIndex {
    /// Who got at least `level` of it, between two times.
    pub async fn readers(
        &self,
        of: &ReadersOf,
        level: Level,
        since: Option<UnixMillis>,
        until: Option<UnixMillis>,
    ) -> Result<Vec<Reader>, AuditIndexError> {
        // The second value is there so that both questions have the same places.
        let (first, second) = match of {
            ReadersOf::Trace(trace) => (text(trace), String::new()),
            ReadersOf::Subject(subject) => (text(&subject.key), text(&subject.value)),
        };
        let sql = readers_sql(of);
        let found: Vec<Row> = on!(&self.database, readers, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(first)
                .bind(second)
                .bind(level as i64)
                .bind(since.map_or(i64::MIN, |time| time.0))
                .bind(until.map_or(i64::MAX, |time| time.0))
                .fetch_all(pool)
                .await?
        });
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(found
            .into_iter()
            .map(|(principal, level, operation, traces, times, first, last, actor)| Reader {
                principal,
                actor,
                level: Level::of(level),
                operation,
                traces: number(traces),
                times: number(times),
                first: UnixMillis(first),
                last: UnixMillis(last),
            })
            .collect())
    }
}
