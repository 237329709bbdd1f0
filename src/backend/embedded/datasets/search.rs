//! Searching datasets by name, times, users and tags.

use serde_json::{Map, Value};

use super::{COLUMNS, shown};
use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::order::{Key, KeyKind, Order};
use crate::backend::embedded::filter::page::Search;
use crate::backend::embedded::filter::{
    self, Clause, Comparator, Number, OrderBy, Query, Rules, Value as Compared, python_set, unquote_key,
};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

const PAGE: i64 = 1000;
const ATTRIBUTES: [&str; 5] = ["name", "created_time", "last_update_time", "created_by", "last_updated_by"];
const ORDERED: [&str; 3] = ["name", "created_time", "last_update_time"];
const TEXT: [Comparator; 4] = [Comparator::Equal, Comparator::NotEqual, Comparator::Like, Comparator::ILike];

pub(super) async fn search(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let size = evaluation::search_size(request.integer("max_results")?, PAGE)?;
    let experiments = request.texts("experiment_ids")?;
    let text = request.text("filter_string")?.unwrap_or_default();
    let clauses = request.texts("order_by")?;
    let order = order(&clauses)?;
    let search = Search::of(&["dataset.search", &experiments.join(","), text, &clauses.join("\u{1}")]);
    let token = search.token(request.text("page_token")?, &order)?;

    let mut query = Query::new(store.database.dialect, COLUMNS);
    query.push(&order.columns()).push(" FROM evaluation_datasets d WHERE 1 = 1");
    for clause in filter::parse(text, Rules::PLAIN)? {
        compare(&mut query, &clause)?;
    }
    if !experiments.is_empty() {
        // What is no number is no experiment.
        let numbers: Vec<i64> = experiments.iter().filter_map(|id| id.parse().ok()).collect();
        query.push(" AND EXISTS (SELECT 1 FROM evaluation_dataset_experiments e WHERE ");
        query.push("e.dataset_id = d.dataset_id AND e.experiment_id IN ");
        query.bind_all(if numbers.is_empty() { vec![-1] } else { numbers }).push(")");
    }
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(store.database.dialect)).push(" LIMIT ").bind(size + 1);
    let mut rows = query.fetch_all(&store.database.reader).await?;
    let size = usize::try_from(size).map_err(Problem::internal)?;
    let more = rows.len() > size;
    rows.truncate(size);
    let mut page = Map::new();
    let datasets: Vec<Value> = shown(store, &rows).await?.into_iter().map(Value::Object).collect();
    if !datasets.is_empty() {
        page.insert("datasets".to_owned(), Value::Array(datasets));
    }
    if let Some(last) = rows.last().filter(|_| more) {
        page.insert("next_page_token".to_owned(), Value::String(search.token_after(last, &order)?));
    }
    reply::json(&page)
}

fn compare(query: &mut Query, clause: &Clause<'_>) -> Result<(), Problem> {
    if clause.asks_for_null() && clause.identifier.split().0.is_none() {
        let key = python::repr(clause.identifier.text);
        return Err(clause.identifier.refuse(format!(
            "IS NULL / IS NOT NULL is only supported for tags and params, not for 'attribute' {key}"
        )));
    }
    match clause.identifier.split() {
        (None, key) => {
            let key = unquote_key(key);
            let Some(key) = ATTRIBUTES.iter().find(|known| **known == key) else {
                return Err(clause.identifier.refuse(unknown(key, &ATTRIBUTES)));
            };
            let column = format!("d.{key}");
            query.push(" AND ");
            if key.ends_with("_time") {
                number(query, clause, key, &column)
            } else {
                text(query, clause, key, &column)
            }
        }
        (Some("tags"), key) => {
            let comparator =
                clause.one_of(&TEXT, |asked, _| format!("Invalid comparator for tag: {asked}"))?;
            let value = clause.text_value(|found| {
                format!("Expected a quoted string value for tag (e.g. 'my-value'). Got value {found}")
            })?;
            query.push(
                " AND EXISTS (SELECT 1 FROM evaluation_dataset_tags t WHERE t.dataset_id = d.dataset_id",
            );
            query.push(" AND t.key = ").bind(unquote_key(key)).push(" AND ");
            query.compare("t.value", comparator, &Compared::Text(value))?;
            query.push(")");
            Ok(())
        }
        (Some(entity), _) => {
            Err(clause.identifier.refuse(format!("Invalid identifier token '{entity}' specified")))
        }
    }
}

fn number(query: &mut Query, clause: &Clause<'_>, key: &str, column: &str) -> Result<(), Problem> {
    let value = clause.number_value(|found| {
        format!("Expected numeric value type for numeric attribute: {key}. Found {found}")
    })?;
    let comparator = clause.one_of(Comparator::NUMERIC, |asked, _| {
        format!("Invalid comparator for numeric attribute: {asked}")
    })?;
    if let (Number::Float(_), Some(piece)) = (value, &clause.value) {
        return Err(piece.refuse(format!("Invalid value for numeric attribute '{key}': '{}'", piece.text)));
    }
    query.compare(column, comparator, &Compared::Number(value))
}

fn text(query: &mut Query, clause: &Clause<'_>, key: &str, column: &str) -> Result<(), Problem> {
    if let Some(piece) = clause.value.as_ref().filter(|piece| piece.is_list()) {
        let only = || "List values for 'name' are only supported with the IN comparator.".to_owned();
        if key != "name" {
            return Err(piece
                .refuse("Only ['name'] attributes support comparison with a list of quoted string values."));
        }
        let comparator = clause.one_of(&[Comparator::In], |_, _| only())?;
        return query.compare(column, comparator, &Compared::Texts(piece.list()?));
    }
    let comparators = [&TEXT[..], Comparator::NUMERIC].concat();
    let comparator = clause
        .one_of(&comparators, |asked, _| format!("Invalid comparator for string attribute: {asked}"))?;
    let value = clause
        .text_value(|found| format!("Expected a quoted string value for attributes. Got value {found}"))?;
    query.compare(column, comparator, &Compared::Text(value))
}

fn order(clauses: &[String]) -> Result<Order, Problem> {
    let mut keys = Vec::new();
    for clause in clauses {
        let OrderBy { identifier, ascending } = filter::parse_order_by(clause)?;
        match identifier.split_once('.') {
            None => {
                let known = ORDERED.iter().find(|known| **known == unquote_key(&identifier));
                let column = known.ok_or_else(|| Problem::invalid(unknown(&identifier, &ORDERED)))?;
                let kind = if *column == "name" { KeyKind::Text } else { KeyKind::Integer };
                keys.push(Key::new(format!("d.{column}"), kind, ascending));
            }
            Some(("tags", _)) => return Err(Problem::invalid("Invalid order_by entity: tag")),
            Some((entity, _)) => {
                return Err(Problem::invalid(format!("Invalid identifier token '{entity}' specified")));
            }
        }
    }
    if keys.is_empty() {
        keys.push(Key::new("d.created_time", KeyKind::Integer, false));
    }
    keys.push(Key::new("d.dataset_id", KeyKind::Text, false));
    Ok(Order(keys))
}

fn unknown(key: &str, known: &[&str]) -> String {
    format!("Invalid attribute key '{key}' specified. Valid keys are: {}", python_set(known))
}
