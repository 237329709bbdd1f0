//! One comparison of a filter of runs as SQL.

use super::identifiers::{self, Entity};
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::filter::{Clause, Comparator, Number, Value};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::runs::tags::RUN_NAME;

use Comparator::{Equal, ILike, In, IsNotNull, IsNull, Like, NotEqual, NotIn};

const TEXT: &[Comparator] = &[NotEqual, Equal, Like, ILike, IsNull, IsNotNull];
const TEXT_OR_LIST: &[Comparator] = &[NotEqual, Equal, Like, ILike, In, NotIn];

/// ` AND …`: what the clause says of the run `r`.
pub fn add(query: &mut Query, clause: &Clause<'_>) -> Result<(), Problem> {
    let found = identifiers::identify(clause.identifier.split(), &identifiers::SEARCHABLE);
    let (entity, key) = found.map_err(|message| clause.identifier.refuse(message))?;
    if clause.asks_for_null() && !matches!(entity, Entity::Param | Entity::Tag) {
        return Err(clause.identifier.refuse(format!(
            "IS NULL / IS NOT NULL is only supported for tags and params, not for '{}' '{key}'",
            entity.name()
        )));
    }
    query.push(" AND ");
    match entity {
        Entity::Attribute if identifiers::is_time(key) => time(query, clause, key),
        Entity::Attribute => attribute(query, clause, key),
        Entity::Metric => metric(query, clause, key),
        Entity::Param => pair(query, clause, (entity, "run_params"), key),
        Entity::Tag => pair(query, clause, (entity, "run_tags"), key),
        Entity::Dataset => dataset(query, clause, key),
    }
}

fn time(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let value = clause.number_value(|found| {
        format!("Expected numeric value type for numeric attribute: {key}. Found {found}")
    })?;
    // MLflow names the comparators of texts here.
    let comparator = clause.one_of(Comparator::NUMERIC, |asked, _| {
        format!("Invalid comparator '{asked}' not one of '{}", set(TEXT_OR_LIST))
    })?;
    query.compare(identifiers::column(key), comparator, &Value::Number(value))
}

fn attribute(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let value = match &clause.value {
        Some(piece) if piece.is_list() && key != "run_id" => {
            return Err(piece.refuse(
                "Only ['run_id'] attributes support comparison with a list of quoted string values.",
            ));
        }
        Some(piece) if piece.is_list() => Value::Texts(piece.list()?),
        _ => Value::Text(clause.text_value(|found| {
            format!("Expected a quoted string value for attributes. Got value {found}")
        })?),
    };
    let comparator = clause.one_of(TEXT_OR_LIST, |asked, allowed| {
        format!("Invalid comparator '{asked}' not one of '{allowed}'")
    })?;
    let column = identifiers::column(key);
    if column != "r.name" {
        return query.compare(column, comparator, &value);
    }
    // As MLflow does: the tag is what the name was before it had a column.
    query.push("EXISTS (SELECT 1 FROM run_tags f WHERE f.run_no = r.run_no AND f.key = ").bind(RUN_NAME);
    query.push(" AND ");
    query.compare("f.value", comparator, &value)?;
    query.push(")");
    Ok(())
}

fn metric(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let value =
        clause.number_value(|found| format!("Expected numeric value type for metric. Found {found}"))?;
    let comparator = clause.one_of(Comparator::NUMERIC, |asked, allowed| {
        format!("Invalid comparator '{asked}' not one of '{allowed}")
    })?;
    query.push("EXISTS (SELECT 1 FROM run_metrics f WHERE f.run_no = r.run_no AND f.key = ").bind(key);
    query.push(" AND (");
    query.compare("f.value", comparator, &Value::Number(Number::Float(value.float())))?;
    // What is no number differs from every number, and is nothing else.
    query.push(if comparator == NotEqual { " OR f.is_nan = 1))" } else { " AND f.is_nan = 0))" });
    Ok(())
}

fn pair(
    query: &mut Query,
    clause: &Clause<'_>,
    (entity, table): (Entity, &str),
    key: &str,
) -> Result<(), Problem> {
    let exists = format!("EXISTS (SELECT 1 FROM {table} f WHERE f.run_no = r.run_no AND f.key = ");
    match clause.comparator() {
        Some(IsNull) => drop(query.push("NOT ").push(&exists).bind(key).push(")")),
        Some(IsNotNull) => drop(query.push(&exists).bind(key).push(")")),
        _ => {
            let value = clause.text_value(|found| {
                format!(
                    "Expected a quoted string value for {} (e.g. 'my-value'). Got value {found}",
                    entity.name()
                )
            })?;
            let comparator = clause.one_of(TEXT, |asked, allowed| {
                let end = if entity == Entity::Param { "'" } else { "" };
                format!("Invalid comparator '{asked}' not one of '{allowed}{end}")
            })?;
            query.push(&exists).bind(key).push(" AND ");
            query.compare("f.value", comparator, &Value::Text(value))?;
            query.push(")");
        }
    }
    Ok(())
}

fn dataset(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let value = match &clause.value {
        Some(piece) if piece.is_list() => Value::Texts(piece.list()?),
        _ => Value::Text(clause.text_value(|found| {
            format!("Expected a quoted string value for dataset attributes. Got value {found}")
        })?),
    };
    let comparator = clause.one_of(TEXT_OR_LIST, |asked, allowed| {
        format!("Invalid comparator '{asked}' not one of '{allowed}")
    })?;
    let (table, column) = match key {
        "context" => {
            ("run_input_tags f WHERE f.run_no = r.run_no AND f.key = 'mlflow.data.context'", "f.value")
        }
        "digest" => (INPUTS, "d.digest"),
        _ => (INPUTS, "d.name"),
    };
    query.push("EXISTS (SELECT 1 FROM ").push(table).push(" AND ");
    query.compare(column, comparator, &value)?;
    query.push(")");
    Ok(())
}

const INPUTS: &str =
    "run_inputs f JOIN run_datasets d ON d.dataset_no = f.dataset_no WHERE f.run_no = r.run_no";

fn set(comparators: &[Comparator]) -> String {
    let names: Vec<&str> = comparators.iter().map(|comparator| comparator.text()).collect();
    crate::backend::embedded::filter::python_set(&names)
}
