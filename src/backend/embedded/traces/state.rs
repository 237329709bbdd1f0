//! Traces in the database: read to be changed, and written with the marks by which searches find them.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::super::many;
use super::super::problem::Problem;
use super::info::cut;
use super::merge::State;
use super::usage::{self, COST, TOKEN_USAGE};
use crate::database::Dialect;

/// How much of a value a mark holds, in characters.
const MARKED: usize = 256;
/// A longer key has no mark: no index takes any length.
const LONGEST_MARKED_KEY: usize = 250;

const READ: &str = "trace_no, trace_id, experiment_id, request_time, duration, state, client_request_id, \
    request_preview, response_preview, tags, metadata, head, spans_start, spans_end, span_tags";

const INSERT: &str = "INSERT INTO traces (trace_id, experiment_id, request_time, duration, state, \
    client_request_id, request_preview, response_preview, tags, metadata, head, spans_start, spans_end, \
    span_tags, input_tokens, output_tokens, total_tokens, cache_read_input_tokens, \
    cache_creation_input_tokens, cache_creation_input_tokens_above_1hr, input_cost, output_cost, total_cost) \
    VALUES ";
const COLUMNS: usize = 23;

/// The experiment of a trace is never changed.
const UPDATE: &str = " ON CONFLICT (trace_id) DO UPDATE SET request_time = excluded.request_time, \
    duration = excluded.duration, state = excluded.state, client_request_id = excluded.client_request_id, \
    request_preview = excluded.request_preview, response_preview = excluded.response_preview, \
    tags = excluded.tags, metadata = excluded.metadata, head = excluded.head, \
    spans_start = excluded.spans_start, spans_end = excluded.spans_end, span_tags = excluded.span_tags, \
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, \
    total_tokens = excluded.total_tokens, cache_read_input_tokens = excluded.cache_read_input_tokens, \
    cache_creation_input_tokens = excluded.cache_creation_input_tokens, \
    cache_creation_input_tokens_above_1hr = excluded.cache_creation_input_tokens_above_1hr, \
    input_cost = excluded.input_cost, output_cost = excluded.output_cost, total_cost = excluded.total_cost \
    RETURNING trace_no, trace_id";

/// A trace as it is in the database, by our number.
#[derive(Debug, Clone)]
pub(in crate::backend::embedded) struct Found {
    pub trace_no: i64,
    pub state: State,
}

fn read(row: &AnyRow) -> Result<Found, Problem> {
    let map = |column: &str| -> Result<Map<String, Value>, Problem> {
        serde_json::from_str(&row.try_get::<String, _>(column)?).map_err(Problem::internal)
    };
    let span_tags: Option<String> = row.try_get("span_tags")?;
    let state = State {
        trace_id: row.try_get("trace_id")?,
        experiment_id: row.try_get("experiment_id")?,
        request_time: row.try_get("request_time")?,
        duration: row.try_get("duration")?,
        state: row.try_get("state")?,
        client_request_id: row.try_get("client_request_id")?,
        request_preview: row.try_get("request_preview")?,
        response_preview: row.try_get("response_preview")?,
        tags: map("tags")?,
        metadata: map("metadata")?,
        head: row.try_get("head")?,
        spans_start: row.try_get("spans_start")?,
        spans_end: row.try_get("spans_end")?,
        span_tags: match span_tags {
            Some(text) => serde_json::from_str(&text).map_err(Problem::internal)?,
            None => Vec::new(),
        },
    };
    Ok(Found { trace_no: row.try_get("trace_no")?, state })
}

/// Those of the traces that exist, locked until the transaction ends.
pub(in crate::backend::embedded) async fn load(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_ids: &[String],
) -> Result<HashMap<String, Found>, Problem> {
    super::lock(connection, dialect, trace_ids).await?;
    let sql = format!("SELECT {READ} FROM traces WHERE trace_id IN {}", many::texts(dialect, 1));
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(many::list(trace_ids)).fetch_all(connection).await?;
    rows.iter().map(|row| read(row).map(|found| (found.state.trace_id.clone(), found))).collect()
}

/// The trace, locked, or that there is none.
pub(in crate::backend::embedded) async fn load_one(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_id: &str,
) -> Result<Found, Problem> {
    let mut found = load(connection, dialect, &[trace_id.to_owned()]).await?;
    found.remove(trace_id).ok_or_else(|| super::not_found(trace_id))
}

/// What was there, and what is to be.
pub(in crate::backend::embedded) type Change = (Option<Found>, State);

/// Writes traces, each as it was loaded and as it is now. Answers the number of each.
pub(in crate::backend::embedded) async fn save(
    connection: &mut AnyConnection,
    dialect: Dialect,
    changes: &[Change],
) -> Result<HashMap<String, i64>, Problem> {
    let mut numbers = HashMap::new();
    for piece in many::pieces(changes) {
        let sql = format!(
            "{INSERT}{}{UPDATE}",
            many::placeholders_with_floats(dialect, piece.len(), COLUMNS, COLUMNS - 3..COLUMNS)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (_, state) in piece {
            query = bind(query, dialect, state)?;
        }
        for row in &query.fetch_all(&mut *connection).await? {
            numbers.insert(row.try_get("trace_id")?, row.try_get("trace_no")?);
        }
    }
    save_marks(connection, dialect, changes, &numbers).await?;
    Ok(numbers)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind<'q>(query: Query<'q>, dialect: Dialect, state: &'q State) -> Result<Query<'q>, Problem> {
    storable(state)?;
    let told = |key: &str| state.metadata.get(key).and_then(Value::as_str).map(usage::object);
    let tokens = told(TOKEN_USAGE).map(|object| usage::tokens(&object)).unwrap_or_default();
    let costs = told(COST).map(|object| usage::costs(&object)).unwrap_or_default();
    let text = |map: &Map<String, Value>| serde_json::to_string(map).map_err(Problem::internal);
    let mut query = query
        .bind(&state.trace_id)
        .bind(state.experiment_id)
        .bind(state.request_time)
        .bind(state.duration)
        .bind(&state.state)
        .bind(&state.client_request_id)
        .bind(&state.request_preview)
        .bind(&state.response_preview)
        .bind(text(&state.tags)?)
        .bind(text(&state.metadata)?)
        .bind(state.head)
        .bind(state.spans_start)
        .bind(state.spans_end)
        .bind((!state.span_tags.is_empty()).then(|| many::list(&state.span_tags)));
    for count in tokens {
        query = query.bind(count);
    }
    for amount in costs {
        query = many::bind_float(query, dialect, amount);
    }
    Ok(query)
}

/// PostgreSQL's texts hold no U+0000; what one database takes, both take.
fn storable(state: &State) -> Result<(), Problem> {
    let maps = state.tags.iter().chain(&state.metadata);
    let texts = maps.flat_map(|(key, value)| [Some(key.as_str()), value.as_str()]);
    let others =
        [&state.client_request_id, &state.request_preview, &state.response_preview].map(Option::as_deref);
    if texts.chain(others).flatten().chain([state.trace_id.as_str()]).any(|text| text.contains('\0')) {
        return Err(Problem::invalid("a trace's tags, metadata and previews may not hold U+0000"));
    }
    Ok(())
}

/// A mark to write.
struct Mark<'s> {
    trace_no: i64,
    kind: i64,
    key: &'s str,
    value: &'s str,
    state: &'s State,
}

async fn save_marks(
    connection: &mut AnyConnection,
    dialect: Dialect,
    changes: &[Change],
    numbers: &HashMap<String, i64>,
) -> Result<(), Problem> {
    let none = Map::new();
    let mut marks: Vec<Mark> = Vec::new();
    for (before, state) in changes {
        let trace_no =
            *numbers.get(&state.trace_id).ok_or_else(|| Problem::internal("a trace got no number"))?;
        // The time is part of each mark.
        let moved = before.as_ref().is_some_and(|found| found.state.request_time != state.request_time);
        let old = before.as_ref().map_or([&none, &none], |found| [&found.state.tags, &found.state.metadata]);
        for ((kind, old), new) in (0..).zip(old).zip([&state.tags, &state.metadata]) {
            let gone: Vec<&String> = old.keys().filter(|key| !new.contains_key(*key)).collect();
            if !gone.is_empty() {
                let sql = format!(
                    "DELETE FROM trace_marks WHERE trace_no = $1 AND kind = $2 AND key IN {}",
                    many::texts(dialect, 3)
                );
                let query = sqlx::query(AssertSqlSafe(sql)).bind(trace_no).bind(kind).bind(many::list(&gone));
                query.execute(&mut *connection).await?;
            }
            let changed = new.iter().filter(|(key, value)| moved || old.get(*key) != Some(*value));
            marks.extend(changed.filter(|(key, _)| key.len() <= LONGEST_MARKED_KEY).map(|(key, value)| {
                let value = cut(value.as_str().unwrap_or_default(), MARKED);
                Mark { trace_no, kind, key, value, state }
            }));
        }
    }
    for piece in many::pieces(&marks) {
        let sql = format!(
            "INSERT INTO trace_marks (trace_no, kind, key, value, experiment_id, request_time) VALUES {} \
             ON CONFLICT (trace_no, kind, key) DO UPDATE SET value = excluded.value, \
             request_time = excluded.request_time",
            many::placeholders(piece.len(), 6)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for mark in piece {
            query = query.bind(mark.trace_no).bind(mark.kind).bind(mark.key).bind(mark.value);
            query = query.bind(mark.state.experiment_id).bind(mark.state.request_time);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
