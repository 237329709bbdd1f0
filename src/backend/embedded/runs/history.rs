//! The histories of metrics, in the order of time, step and value.

use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::read::{Metric, Number};
use super::run_id;
use crate::backend::embedded::filter::order::{Key, KeyKind, Order};
use crate::backend::embedded::filter::page::Search;
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::{Request, wrong_type};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

/// Values and runs that one answer about several runs has at most.
const BULK_VALUES: i64 = 25_000;
const BULK_RUNS: usize = 100;

/// What [`metric`] reads, in its order.
const COLUMNS: &str = "h.value, h.is_nan, h.time, h.step";

fn metric(row: &AnyRow, key: &str) -> Result<Metric, Problem> {
    Ok(Metric {
        key: key.to_owned(),
        value: Number::of(row.try_get(0)?, row.try_get(1)?),
        timestamp: row.try_get(2)?,
        step: row.try_get(3)?,
        run_id: None,
    })
}

/// One metric of one run, whole or page by page.
pub async fn of_run(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?;
    let key = request.required("metric_key")?;
    let limit = request.integer("max_results")?;
    if let Some(limit) = limit.filter(|limit| *limit <= 0) {
        return Err(Problem::invalid(format!(
            "Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer."
        )));
    }
    let order = Order(vec![
        Key::new("h.time", KeyKind::Integer, true),
        Key::new("h.step", KeyKind::Integer, true),
        Key::new("h.value", KeyKind::Float, true),
        Key::new("h.is_nan", KeyKind::Integer, true),
    ]);
    let search = Search::of(&["run.metric_history", run_id, key]);
    let token = search.token(request.text("page_token")?, &order)?;
    let dialect = store.database.dialect;
    let mut query = Query::new(dialect, "SELECT ");
    query.push(COLUMNS).push(&order.columns());
    query.push(" FROM metric_history h WHERE h.run_no = (SELECT run_no FROM runs WHERE run_id = ");
    query.bind(run_id).push(") AND h.key = ").bind(key);
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(dialect));
    let limit = limit.map(|limit| limit.min(i64::from(i32::MAX)));
    if let Some(limit) = limit {
        query.push(" LIMIT ").bind(limit + 1);
    }
    let mut found = query.fetch_all(&store.database.reader).await?;
    let size = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let mut answer = Map::new();
    if found.len() > size {
        found.truncate(size);
        if let Some(last) = found.last() {
            answer.insert("next_page_token".to_owned(), search.token_after(last, &order)?.into());
        }
    }
    let metrics: Vec<Metric> = found.iter().map(|row| metric(row, key)).collect::<Result<_, _>>()?;
    if !metrics.is_empty() {
        answer.insert("metrics".to_owned(), json!(metrics));
    }
    reply::json(&answer)
}

/// One metric of several runs. MLflow's web UI reads this answer, in which a value may be a bare `NaN`.
pub async fn of_runs(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let runs = request.texts("run_id")?;
    if runs.is_empty() {
        return Err(Problem::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
    }
    if runs.len() > BULK_RUNS {
        return Err(Problem::invalid(format!(
            "GetMetricHistoryBulk request cannot specify more than {BULK_RUNS} run_ids. Received {} run_ids.",
            runs.len()
        )));
    }
    let Some(key) = request.text("metric_key")? else {
        return Err(Problem::invalid("GetMetricHistoryBulk request must specify a metric_key."));
    };
    let limit = request.integer("max_results")?.unwrap_or(BULK_VALUES);
    if limit < 0 {
        return Err(wrong_type("max_results", &Value::from(limit)));
    }
    let dialect = store.database.dialect;
    let order = Order(vec![
        Key::new("r.run_id", KeyKind::Text, true),
        Key::new("h.time", KeyKind::Integer, true),
        Key::new("h.step", KeyKind::Integer, true),
        Key::new("h.value", KeyKind::Float, true),
        Key::new("h.is_nan", KeyKind::Integer, true),
    ]);
    let mut query = Query::new(dialect, "SELECT ");
    query.push(COLUMNS).push(", r.run_id FROM metric_history h JOIN runs r ON r.run_no = h.run_no");
    query.push(" WHERE h.key = ").bind(key).push(" AND r.run_id IN ").bind_all(runs);
    query.push(&order.clause(dialect)).push(" LIMIT ").bind(limit.min(BULK_VALUES));
    let found = query.fetch_all(&store.database.reader).await?;
    let key = python::json_text(key);
    let mut values = Vec::with_capacity(found.len());
    for row in &found {
        let metric = metric(row, "")?;
        let value = match metric.value {
            Number::Is(value) => format!("{value:?}"),
            Number::Nan => "NaN".to_owned(),
        };
        let run = python::json_text(row.try_get(4)?);
        values.push(format!(
            "{{\"key\":{key},\"run_id\":{run},\"step\":{},\"timestamp\":{},\"value\":{value}}}",
            metric.step, metric.timestamp
        ));
    }
    Ok(reply::json_text(format!("{{\"metrics\":[{}]}}", values.join(","))))
}
