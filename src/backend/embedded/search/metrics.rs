//! Counts, sums, means and percentiles over traces, spans or assessments, by name, status and time.

mod ask;
mod filters;

use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use self::ask::{Aggregation, Ask, View};
use super::super::EmbeddedShared;
use super::super::filter::Query;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::Request;
use super::compile::{Compiled, TraceText};
use super::meaning::{SESSION, TRACE_NAME};
use crate::database::Dialect;
use crate::wire::Reply;

const NANOSECONDS: i64 = 1_000_000;

pub(super) async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let ask = Ask::read(request)?;
    let (conditions, more) = filters::read(&ask)?;
    let compiled = Compiled::new(store, &ask.experiments, conditions).await?;
    if ask.experiments.is_empty() || ask.limit == 0 || ask.aggregations.is_empty() {
        // A count over nothing is 0, and without groups it is told.
        let told = ask.limit > 0 && ask.dimensions.is_empty() && ask.interval.is_none() && ask.counts();
        return points(if told { vec![point(&ask, Map::new(), &[Some(0.0)])] } else { Vec::new() });
    }
    let query = statement(compiled, &ask, &more)?;
    let rows = query.fetch_all(&store.database.reader).await?;
    points(rows.iter().filter_map(|row| read(row, &ask).transpose()).collect::<Result<_, _>>()?)
}

fn points(points: Vec<Value>) -> Result<Reply, Problem> {
    let mut answer = Map::new();
    if !points.is_empty() {
        answer.insert("data_points".to_owned(), Value::Array(points));
    }
    reply::json(&Value::Object(answer))
}

/// One statement: the groups, with their aggregates.
fn statement(compiled: Compiled, ask: &Ask, more: &filters::More) -> Result<Query, Problem> {
    let scope = compiled.scope();
    let mut query = compiled.query;
    let dialect = query.dialect;
    let value = value(ask, &mut query);
    let mut groups = Vec::new();
    if let Some(seconds) = ask.interval {
        groups.push(bucket(ask, seconds, &mut query));
    }
    for dimension in &ask.dimensions {
        groups.push(dimension_column(ask.view, dimension, &mut query));
    }
    let from = match ask.view {
        View::Traces => "traces t",
        View::Spans => "traces t JOIN spans s ON s.trace_no = t.trace_no",
        View::Assessments => "traces t JOIN assessments a ON a.trace_no = t.trace_no",
    };
    let mut conditions = vec![format!("t.experiment_id IN {scope}"), format!("{value} IS NOT NULL")];
    if ask.view == View::Assessments {
        conditions.push("a.valid = 1".to_owned());
    }
    conditions.extend(compiled.plain);
    conditions.extend(compiled.sets.into_iter().map(|set| set.condition));
    conditions.extend(times(ask, &mut query));
    conditions
        .extend(more.iter().map(|(column, value)| format!("{column} = {}", query.place(value.as_str()))));
    conditions.extend(groups.iter().map(|group| format!("({group}) IS NOT NULL")));
    let columns: String =
        groups.iter().enumerate().map(|(index, group)| format!(", {group} AS group_{index}")).collect();
    let names: Vec<String> = (0..groups.len()).map(|index| format!("group_{index}")).collect();
    let ranks = if dialect == Dialect::Sqlite && ask.has_percentile() {
        let partition =
            if names.is_empty() { String::new() } else { format!("PARTITION BY {} ", names.join(", ")) };
        format!(
            ", ROW_NUMBER() OVER ({partition}ORDER BY value) - 1 AS place, COUNT(*) OVER ({partition}) AS size"
        )
    } else {
        String::new()
    };
    let inner = format!("SELECT {value} AS value{columns} FROM {from} WHERE {}", conditions.join(" AND "));
    let inner = if ranks.is_empty() { inner } else { format!("SELECT plain.*{ranks} FROM ({inner}) plain") };
    let mut selected = names.clone();
    for aggregation in &ask.aggregations {
        selected.extend(aggregate(aggregation, ask, &mut query));
    }
    query.push(&format!("SELECT {} FROM ({inner}) rows_of_groups", selected.join(", ")));
    if !names.is_empty() {
        let ordered: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let text = !(index == 0 && ask.interval.is_some());
                if dialect == Dialect::Postgres && text {
                    format!("{name} COLLATE \"C\"")
                } else {
                    name.clone()
                }
            })
            .collect();
        query.push(&format!(" GROUP BY {} ORDER BY {}", names.join(", "), ordered.join(", ")));
    }
    query.push(" LIMIT ").bind(ask.limit);
    Ok(query)
}

/// What is aggregated.
fn value(ask: &Ask, query: &mut Query) -> String {
    let metric = ask.metric.as_str();
    match (ask.view, metric) {
        (View::Traces, "session_count") => mark(query, true, SESSION),
        (View::Traces, "latency") => "t.duration".to_owned(),
        (View::Traces, "trace_count") => "t.trace_no".to_owned(),
        (View::Traces, tokens) => format!("t.{tokens}"),
        (View::Spans, "span_count") => "s.trace_no".to_owned(),
        (View::Spans, "latency") => format!("((s.end_time - s.start_time) / {NANOSECONDS})"),
        (View::Spans, cost) => format!("s.{cost}"),
        (View::Assessments, "assessment_count") => "a.trace_no".to_owned(),
        (View::Assessments, _) => "a.aggregate_value".to_owned(),
    }
}

/// A tag or a metadata entry; from the marks, which have it in full unless it is long.
fn mark(query: &mut Query, metadata: bool, key: &str) -> String {
    let whole = TraceText::Mark { metadata, key: key.to_owned() }.expression(query);
    let kind = i64::from(metadata);
    format!(
        "(SELECT CASE WHEN length(m.value) < 256 THEN m.value ELSE {whole} END FROM trace_marks m WHERE \
         m.trace_no = t.trace_no AND m.kind = {kind} AND m.key = '{key}')"
    )
}

fn dimension_column(view: View, dimension: &str, query: &mut Query) -> String {
    match (view, dimension) {
        (View::Traces, "trace_name") => mark(query, false, TRACE_NAME),
        (View::Traces, _) => "t.state".to_owned(),
        (View::Spans, name) => format!("s.{}", name.trim_start_matches("span_")),
        (View::Assessments, "assessment_name") => "a.name".to_owned(),
        (View::Assessments, _) => "a.value".to_owned(),
    }
}

/// The beginning of a row's interval, in milliseconds.
fn bucket(ask: &Ask, seconds: i64, query: &mut Query) -> String {
    let (column, units) = match ask.view {
        View::Spans => ("s.start_time", 1000 * NANOSECONDS),
        View::Traces | View::Assessments => ("t.request_time", 1000),
    };
    let size = query.place(seconds.saturating_mul(units));
    // Rounded down, before 1970 too.
    let start = format!("({column} - (({column} % {size}) + {size}) % {size})");
    if ask.view == View::Spans { format!("({start} / {NANOSECONDS})") } else { start }
}

/// The bounds of time, both inclusive. Costs count when their span began, all else when the trace did.
fn times(ask: &Ask, query: &mut Query) -> Vec<String> {
    let mut conditions = Vec::new();
    let of_span = ask.view == View::Spans && ask.metric.ends_with("_cost");
    let column = if of_span { "s.start_time" } else { "t.request_time" };
    let units = if of_span { NANOSECONDS } else { 1 };
    if let Some(start) = ask.start {
        conditions.push(match start.checked_mul(units) {
            Some(start) => format!("{column} >= {}", query.place(start)),
            None if start > 0 => "1 = 0".to_owned(),
            None => "1 = 1".to_owned(),
        });
    }
    if let Some(end) = ask.end {
        conditions.push(match end.checked_add(1).and_then(|end| end.checked_mul(units)) {
            Some(end) => format!("{column} < {}", query.place(end)),
            None if end < 0 => "1 = 0".to_owned(),
            None => "1 = 1".to_owned(),
        });
    }
    conditions
}

/// The columns of an aggregate: one, but for percentiles on SQLite the two values between which it lies and
/// the number of values.
fn aggregate(aggregation: &Aggregation, ask: &Ask, query: &mut Query) -> Vec<String> {
    let dialect = query.dialect;
    let float = |text: String| match dialect {
        Dialect::Sqlite => format!("CAST({text} AS REAL)"),
        Dialect::Postgres => format!("CAST({text} AS DOUBLE PRECISION)"),
    };
    match aggregation {
        Aggregation::Count if ask.metric == "session_count" => {
            vec![float("COUNT(DISTINCT value)".to_owned())]
        }
        Aggregation::Count => vec![float("COUNT(value)".to_owned())],
        Aggregation::Sum => vec![float("SUM(value)".to_owned())],
        Aggregation::Average => vec![float("AVG(value)".to_owned())],
        Aggregation::Least => vec![float("MIN(value)".to_owned())],
        Aggregation::Most => vec![float("MAX(value)".to_owned())],
        Aggregation::Percentile(percent) => {
            let ratio = query.place(percent / 100.0);
            if dialect == Dialect::Postgres {
                return vec![float(format!("percentile_cont({ratio}) WITHIN GROUP (ORDER BY value)"))];
            }
            let place = format!("CAST({ratio} * (size - 1) AS INTEGER)");
            vec![
                float(format!("MAX(CASE WHEN place = {place} THEN value END)")),
                float(format!("MAX(CASE WHEN place = MIN({place} + 1, size - 1) THEN value END)")),
                float("MAX(size)".to_owned()),
            ]
        }
    }
}

/// A group as the client gets it; nothing if none of its aggregates has a value.
fn read(row: &AnyRow, ask: &Ask) -> Result<Option<Value>, Problem> {
    let mut dimensions = Map::new();
    let mut column = 0;
    if ask.interval.is_some() {
        let milliseconds: i64 = row.try_get(column)?;
        dimensions.insert("time_bucket".to_owned(), json!(iso(milliseconds)));
        column += 1;
    }
    for dimension in &ask.dimensions {
        dimensions.insert(dimension.clone(), json!(row.try_get::<String, _>(column)?));
        column += 1;
    }
    let mut values: Vec<Option<f64>> = Vec::new();
    for aggregation in &ask.aggregations {
        let first: Option<f64> = row.try_get(column)?;
        column += 1;
        let Aggregation::Percentile(percent) = aggregation else {
            values.push(first);
            continue;
        };
        let both = column + 2 <= row.len() && row_has_ranks(ask, row);
        if !both {
            values.push(first);
            continue;
        }
        let second: Option<f64> = row.try_get(column)?;
        let size: Option<f64> = row.try_get(column + 1)?;
        column += 2;
        values.push(match (first, second, size) {
            (Some(low), Some(high), Some(size)) => {
                let place = percent / 100.0 * (size - 1.0);
                Some(low + (place - place.trunc()) * (high - low))
            }
            _ => None,
        });
    }
    Ok(values.iter().any(Option::is_some).then(|| point(ask, dimensions, &values)))
}

/// Whether percentiles came as three columns.
fn row_has_ranks(ask: &Ask, row: &AnyRow) -> bool {
    let groups = usize::from(ask.interval.is_some()) + ask.dimensions.len();
    row.len() > groups + ask.aggregations.len()
}

fn point(ask: &Ask, dimensions: Map<String, Value>, values: &[Option<f64>]) -> Value {
    let mut told = Map::new();
    for (aggregation, value) in ask.aggregations.iter().zip(values) {
        if let Some(value) = value {
            told.insert(aggregation.label(), json!(value));
        }
    }
    let mut point = Map::new();
    point.insert("metric_name".to_owned(), json!(ask.metric));
    if !dimensions.is_empty() {
        point.insert("dimensions".to_owned(), Value::Object(dimensions));
    }
    point.insert("values".to_owned(), Value::Object(told));
    Value::Object(point)
}

/// `2026-11-22T04:40:00+00:00`.
fn iso(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
