//! Long histories in few points, for charts: evenly spaced, the first and the last among them.

use std::collections::HashMap;

use serde_json::{Map, json};
use sqlx::Row as _;

use super::read::{Metric, Number};
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{self, Request};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

const RUNS: usize = 100;
const POINTS: i64 = 2500;

const SEE_DOCS: &str = "See the API docs for more information about request parameters.";

pub async fn interval(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let runs = request.texts("run_ids")?;
    if runs.is_empty() {
        return Err(request::missing("run_ids"));
    }
    if runs.len() > RUNS {
        return Err(Problem::invalid(format!(
            "GetMetricHistoryBulkInterval request must specify at most {RUNS} run_ids. Received {} run_ids. \
             {SEE_DOCS}",
            runs.len()
        )));
    }
    let key = request.required("metric_key")?;
    let points = request.integer("max_results")?.unwrap_or(POINTS);
    if !(1..=POINTS).contains(&points) {
        return Err(Problem::invalid(format!("max_results must be between 1 and {POINTS}. {SEE_DOCS}")));
    }
    let steps = steps(request)?;
    let mut sampled = sample(store, &runs, key, points, steps).await?;
    let mut metrics = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        if runs[place + 1..].contains(run) {
            // Asked for again: answered again.
            metrics.extend(sampled.get(run).into_iter().flatten().cloned());
        } else {
            metrics.extend(sampled.remove(run).into_iter().flatten());
        }
    }
    let mut answer = Map::new();
    if !metrics.is_empty() {
        answer.insert("metrics".to_owned(), json!(metrics));
    }
    reply::json(&answer)
}

fn steps(request: &Request) -> Result<Option<(i64, i64)>, Problem> {
    match (request.integer("start_step")?, request.integer("end_step")?) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) if start <= end => Ok(Some((start, end))),
        (Some(start), Some(end)) => Err(Problem::invalid(format!(
            "end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        ))),
        _ => Err(Problem::invalid("If either start step or end step are specified, both must be specified.")),
    }
}

/// The points of each run: the first of each of as many equal parts, and the last of all.
async fn sample(
    store: &EmbeddedShared,
    runs: &[String],
    key: &str,
    points: i64,
    steps: Option<(i64, i64)>,
) -> Result<HashMap<String, Vec<Metric>>, Problem> {
    let forth = "step, time, value, is_nan";
    let back = "step DESC, time DESC, value DESC, is_nan DESC";
    let mut query =
        Query::new(store.database.dialect, "SELECT run_id, value, is_nan, time, step, place FROM (");
    query.push("SELECT run_id, value, is_nan, time, step, ");
    query.push(&format!("row_number() OVER (PARTITION BY run_id, part ORDER BY {forth}) AS place, "));
    query.push(&format!("row_number() OVER (PARTITION BY run_id ORDER BY {back}) AS from_end FROM ("));
    query.push("SELECT r.run_id, h.value, h.is_nan, h.time, h.step, ");
    query.push(&format!(
        "ntile({points}) OVER (PARTITION BY r.run_id ORDER BY h.step, h.time, h.value, h.is_nan)"
    ));
    query.push(" AS part FROM metric_history h JOIN runs r ON r.run_no = h.run_no WHERE h.key = ").bind(key);
    query.push(" AND r.run_id IN ").bind_all(runs.iter().map(String::as_str));
    if let Some((start, end)) = steps {
        query.push(" AND h.step BETWEEN ").bind(start).push(" AND ").bind(end);
    }
    query.push(") AS parts) AS places WHERE place = 1 OR from_end = 1 ORDER BY run_id, ").push(forth);
    let found = query.fetch_all(&store.database.reader).await?;
    let most = usize::try_from(points).unwrap_or(usize::MAX);
    let mut sampled: HashMap<String, Vec<Metric>> = HashMap::new();
    for row in &found {
        let run: String = row.try_get(0)?;
        let values = sampled.entry(run.clone()).or_default();
        let first_of_part = row.try_get::<i64, _>(5)? == 1;
        if !first_of_part && values.len() >= most {
            // The last value of all, which takes the place of the last sample.
            values.pop();
        }
        values.push(Metric {
            key: key.to_owned(),
            value: Number::of(row.try_get(1)?, row.try_get(2)?),
            timestamp: row.try_get(3)?,
            step: row.try_get(4)?,
            run_id: Some(run),
        });
    }
    Ok(sampled)
}
