//! Searching runs.

mod conditions;
mod identifiers;
mod ordering;

use serde_json::{Value, json};

use super::read::{self, ModelInputs};
use super::row::{COLUMNS, RunRow};
use crate::backend::embedded::filter::page::Search;
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::filter::{self, Rules};
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::{Request, experiment_number, wrong_type};
use crate::backend::embedded::{EmbeddedShared, reply, rows, view};
use crate::wire::Reply;

const DEFAULT_PAGE: i64 = 1000;
const LARGEST_PAGE: i64 = 50_000;

pub async fn search(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let size = page_size(request)?;
    let view = view::parse(request, "run_view_type")?;
    let text = request.text("filter")?.unwrap_or_default();
    let order_by = request.texts("order_by")?;
    let ids = request.texts("experiment_ids")?;
    let clauses = filter::parse(text, Rules::QUOTED)?;
    let ordering = ordering::parse(&order_by)?;
    let experiments: Vec<i64> =
        ids.iter().map(|id| experiment_number_or_none(id)).collect::<Result<_, _>>()?;

    let all_ids = json!(ids).to_string();
    let all_orders = json!(order_by).to_string();
    let search = Search::of(&["run.search", &all_ids, text, &all_orders, view.name()]);
    let token = search.token(request.text("page_token")?, &ordering.order)?;

    let dialect = store.database.dialect;
    let mut query = Query::new(dialect, "SELECT ");
    query.push(COLUMNS).push(&ordering.order.columns()).push(" FROM runs r");
    ordering.join(&mut query);
    query.push(" WHERE r.experiment_id ");
    match experiments.as_slice() {
        // In this form the index has the order, too.
        [one] => query.push("= ").bind(*one),
        several => {
            let (before, after) = rows::numbers_around(dialect);
            query.push("IN ").push(before).bind(json!(several).to_string()).push(after)
        }
    };
    view.restrict(&mut query, "r.lifecycle_stage");
    for clause in &clauses {
        conditions::add(&mut query, clause)?;
    }
    if let Some(token) = &token {
        ordering.order.after(&mut query, token);
    }
    query.push(&ordering.order.clause(dialect)).push(" LIMIT ").bind(size + 1);

    let mut moment = store.database.begin_read().await?;
    let mut found = query.fetch_all(&mut *moment).await?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut next_page_token = None;
    if found.len() > size {
        found.truncate(size);
        next_page_token = found.last().map(|last| search.token_after(last, &ordering.order)).transpose()?;
    }
    let found: Vec<RunRow> = found.iter().map(RunRow::of_row).collect::<Result<_, _>>()?;
    let runs = read::load(&mut moment, dialect, &found, ModelInputs::Untold).await?;
    moment.commit().await?;
    reply::json(&Page { runs, next_page_token })
}

#[derive(serde::Serialize)]
struct Page {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<read::Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

fn page_size(request: &Request) -> Result<i64, Problem> {
    let size = request.integer("max_results")?.unwrap_or(DEFAULT_PAGE);
    if size > LARGEST_PAGE {
        return Err(wrong_type("max_results", request.json.get("max_results").unwrap_or(&Value::Null)));
    }
    if size < 1 {
        return Err(Problem::invalid(format!(
            "Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer"
        )));
    }
    Ok(size)
}

/// A number too large for the store is no experiment's.
fn experiment_number_or_none(id: &str) -> Result<i64, Problem> {
    match experiment_number(id) {
        Err(problem) if problem.code == Code::ResourceDoesNotExist => Ok(-1),
        other => other,
    }
}
