//! Searching traces, and what is computed over them: metrics and the correlation of two filters.
//!
//! [`meaning`] says what a filter asks, [`compile`] makes SQL of it, and [`page`] finds a page of traces.
//! [`content`] keeps an index of what spans hold.

mod compile;
mod content;
mod correlation;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod like;
mod meaning;
mod metrics;
mod page;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use self::compile::Compiled;
pub(super) use self::content::ContentIndex;
use self::page::Asked;
use super::EmbeddedShared;
use super::filter::page::Search;
use super::many;
use super::problem::Problem;
use super::reply;
use super::request::{Request, missing, wrong_type};
use super::traces::info::{self, TraceRow};
use crate::wire::Reply;

/// Traces on a page if none are asked for, and at most.
const DEFAULT_PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 500;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    match request.operation.as_str() {
        "trace.search" => search(store, &request).await,
        "trace.search_v2" => search_v2(store, &request).await,
        "trace.metrics" => metrics::answer(store, &request).await,
        "trace.correlation" => correlation::answer(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

async fn search(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    if request.json.get("locations").is_none_or(Value::is_null) {
        return Err(missing("locations"));
    }
    let mut experiments = Vec::new();
    for location in request.list("locations")? {
        let experiment = location.get("mlflow_experiment").filter(|value| !value.is_null());
        match experiment.map(|experiment| experiment.get("experiment_id")) {
            None => {}
            Some(Some(Value::String(id))) => experiments.push(id.clone()),
            Some(other) => {
                return Err(experiment_problem(other.map_or(String::new(), Value::to_string).as_str()));
            }
        }
    }
    let (rows, next) = find(store, request, &experiments).await?;
    page(info::v3(store, &rows).await?, next)
}

async fn search_v2(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiments = request.texts("experiment_ids")?;
    if experiments.is_empty() {
        return Err(missing("experiment_ids"));
    }
    let (rows, next) = find(store, request, &experiments).await?;
    page(rows.iter().map(info::v2).collect::<Result<_, _>>()?, next)
}

fn page(traces: Vec<String>, next: Option<String>) -> Result<Reply, Problem> {
    let mut parts = Vec::new();
    if !traces.is_empty() {
        parts.push(format!("\"traces\":[{}]", traces.join(",")));
    }
    if let Some(token) = next {
        parts.push(format!("\"next_page_token\":{}", Value::String(token)));
    }
    Ok(reply::json_text(format!("{{{}}}", parts.join(","))))
}

/// The rows of a page, and the token of the next one.
async fn find(
    store: &EmbeddedShared,
    request: &Request,
    experiments: &[String],
) -> Result<(Vec<TraceRow>, Option<String>), Problem> {
    let filter = request.text("filter")?.unwrap_or_default();
    let limit = limit(request)?;
    let orders = order_by(request)?;
    let token = request.text("page_token")?;
    let experiments = experiment_numbers(experiments)?;
    let order = meaning::orders(&orders)?;
    let conditions = meaning::conditions(filter)?;
    let place = many::list(&experiments);
    let mut identity = vec![request.operation.as_str(), filter, &place];
    identity.extend(orders.iter().map(String::as_str));
    let search = Search::of(&identity);
    let compiled = Compiled::new(store, &experiments, conditions).await?;
    let found = page::find(store, compiled, Asked { order, limit, token, search }).await?;
    Ok((rows(store, &found.traces).await?, found.next))
}

fn limit(request: &Request) -> Result<i64, Problem> {
    let name = "max_results";
    let limit = request.integer(name)?.unwrap_or(DEFAULT_PAGE);
    if limit > LARGEST_PAGE {
        let given = match request.text(name) {
            Ok(Some(text)) => Value::String(text.to_owned()),
            _ => Value::from(limit),
        };
        return Err(wrong_type(name, &given));
    }
    if limit < 1 {
        return Err(Problem::invalid(format!(
            "Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer"
        )));
    }
    Ok(limit)
}

/// MLflow names the whole list if one of it is no text.
fn order_by(request: &Request) -> Result<Vec<String>, Problem> {
    request.texts("order_by").map_err(|problem| match request.json.get("order_by") {
        Some(list @ Value::Array(_)) => wrong_type("order_by", list),
        _ => problem,
    })
}

/// Experiments by number, each once. One whose number is too large for us holds no traces.
fn experiment_numbers(ids: &[String]) -> Result<Vec<i64>, Problem> {
    let mut numbers = Vec::new();
    for id in ids {
        let digits = id.strip_prefix('-').unwrap_or(id);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(experiment_problem(id));
        }
        if let Ok(number) = id.parse()
            && !numbers.contains(&number)
        {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn experiment_problem(id: &str) -> Problem {
    Problem::invalid(format!("Invalid experiment ID '{id}'. Experiment ID must be a valid integer."))
}

/// Traces by number, in their order.
async fn rows(store: &EmbeddedShared, traces: &[i64]) -> Result<Vec<TraceRow>, Problem> {
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = many::integers(store.database.dialect, 1);
    let sql = format!("SELECT {} FROM traces WHERE trace_no IN {wanted}", info::COLUMNS);
    let found =
        sqlx::query(AssertSqlSafe(sql)).bind(many::list(traces)).fetch_all(&store.database.reader).await?;
    let mut by_number: HashMap<i64, TraceRow> = HashMap::with_capacity(found.len());
    for row in &found {
        let row = TraceRow::read(row)?;
        by_number.insert(row.trace_no, row);
    }
    Ok(traces.iter().filter_map(|number| by_number.remove(number)).collect())
}
