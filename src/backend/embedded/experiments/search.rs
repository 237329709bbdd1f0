//! Searching experiments.

mod conditions;

use serde_json::json;

use super::read::{self, COLUMNS, Experiment};
use crate::backend::embedded::filter::order::{Key, KeyKind, Order};
use crate::backend::embedded::filter::page::Search;
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::filter::{self, Rules, parse_order_by, python_set, unquote_key};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply, view};
use crate::wire::Reply;

const LARGEST_PAGE: i64 = 50_000;

const ATTRIBUTES: [&str; 4] = ["creation_time", "experiment_id", "last_update_time", "name"];

#[derive(serde::Serialize)]
struct Page {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<Experiment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub async fn search(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let view = view::parse(request, "view_type")?;
    let size = page_size(request)?;
    let text = request.text("filter")?.unwrap_or_default();
    let order_by = request.texts("order_by")?;
    let clauses = filter::parse(text, Rules::PLAIN)?;
    let dialect = store.database.dialect;
    let order = order(&order_by)?;
    let all_orders = json!(order_by).to_string();
    let search = Search::of(&["experiment.search", text, &all_orders, view.name()]);
    let token = search.token(request.text("page_token")?, &order)?;

    let mut query = Query::new(dialect, "SELECT ");
    query.push(COLUMNS).push(&order.columns()).push(" FROM experiments e WHERE 1 = 1");
    view.restrict(&mut query, "e.lifecycle_stage");
    for clause in &clauses {
        conditions::add(&mut query, clause)?;
    }
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(dialect)).push(" LIMIT ").bind(size + 1);

    let mut moment = store.database.begin_read().await?;
    let mut found = query.fetch_all(&mut *moment).await?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut next_page_token = None;
    if found.len() > size {
        found.truncate(size);
        next_page_token = found.last().map(|last| search.token_after(last, &order)).transpose()?;
    }
    let mut experiments: Vec<Experiment> = found.iter().map(Experiment::of_row).collect::<Result<_, _>>()?;
    read::load_tags(&mut moment, dialect, &mut experiments).await?;
    moment.commit().await?;
    reply::json(&Page { experiments, next_page_token })
}

/// Without a size MLflow takes 0 for it, and refuses that.
fn page_size(request: &Request) -> Result<i64, Problem> {
    let size = request.integer("max_results")?.unwrap_or_default();
    let must_be = match size {
        ..1 => "a positive integer".to_owned(),
        1..=LARGEST_PAGE => return Ok(size),
        _ => format!("at most {LARGEST_PAGE}"),
    };
    Err(Problem::invalid(format!(
        "Invalid value {size} for parameter 'max_results' supplied. It must be {must_be}"
    )))
}

/// The key of an attribute or of a tag, or why there is none.
fn identify<'a>((entity, key): (Option<&str>, &'a str)) -> Result<(bool, &'a str), String> {
    let is_tag = match entity {
        None | Some("attribute") => false,
        Some("tag" | "tags") => true,
        Some(other) => {
            return Err(format!(
                "Invalid entity type '{other}'. Valid entity types are ('attribute', 'tag', 'tags')"
            ));
        }
    };
    let key = unquote_key(key);
    if !is_tag && !ATTRIBUTES.contains(&key) {
        let known = python_set(&ATTRIBUTES);
        return Err(format!("Invalid attribute key '{key}' specified. Valid keys are '{known}'"));
    }
    Ok((is_tag, key))
}

/// The order as asked for, or the newest first; then by id.
fn order(clauses: &[String]) -> Result<Order, Problem> {
    let mut keys = Vec::new();
    for clause in clauses {
        let asked = parse_order_by(clause)?;
        let (is_tag, key) = identify(asked.split()).map_err(Problem::invalid)?;
        if is_tag {
            return Err(Problem::invalid("Invalid order_by entity: tag"));
        }
        let kind = if key == "name" { KeyKind::Text } else { KeyKind::Integer };
        keys.push(Key::new(format!("e.{key}"), kind, asked.ascending));
    }
    if clauses.is_empty() {
        keys.push(Key::new("e.creation_time", KeyKind::Integer, false));
        keys.push(Key::new("e.experiment_id", KeyKind::Integer, true));
    } else if !keys.iter().any(|key| key.expression == "e.experiment_id") {
        keys.push(Key::new("e.experiment_id", KeyKind::Integer, false));
    }
    Ok(Order(keys))
}
