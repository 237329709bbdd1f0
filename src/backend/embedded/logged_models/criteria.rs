//! Filters of logged models.
//!
//! They are looser than those of other things: a value may stand without quotes, and single ones alone are
//! taken off.

use super::super::filter::order::KeyKind;
use super::super::filter::value::{Number, Value};
use super::super::filter::{self, Clause, Comparator, Query, Rules};
use super::super::problem::Problem;
use super::super::python;

/// A data set that metrics were measured on.
pub struct Dataset {
    pub name: String,
    /// Without one, those metrics count whose data set has none.
    pub digest: Option<String>,
}

/// The column of an attribute, by the names that it has in filters and orders.
pub fn column(attribute: &str) -> Option<(&'static str, KeyKind)> {
    Some(match attribute {
        "model_id" => ("l.model_id", KeyKind::Text),
        "experiment_id" => ("l.experiment_id", KeyKind::Integer),
        "name" => ("l.name", KeyKind::Text),
        "artifact_location" => ("l.artifact_location", KeyKind::Text),
        "creation_time" | "creation_timestamp" | "creation_timestamp_ms" => {
            ("l.creation_time", KeyKind::Integer)
        }
        "last_updated_timestamp" | "last_updated_timestamp_ms" => ("l.last_update_time", KeyKind::Integer),
        "status" => ("l.status", KeyKind::Integer),
        "lifecycle_stage" => ("l.lifecycle_stage", KeyKind::Text),
        "model_type" => ("l.model_type", KeyKind::Text),
        "source_run_id" => ("l.source_run_id", KeyKind::Text),
        _ => return None,
    })
}

/// What is compared.
enum Subject<'a> {
    Number(&'static str),
    Text(String),
    Metric(&'a str),
    Param(&'a str),
    Tag(&'a str),
}

/// Adds the conditions of a filter and of data sets, with ` AND ` before each.
pub fn push(query: &mut Query, text: &str, datasets: &[Dataset]) -> Result<(), Problem> {
    let clauses = filter::parse(text, Rules::QUOTED).map_err(|problem| in_other_words(problem, text))?;
    let mut on_metrics = false;
    for clause in &clauses {
        let subject = subject(clause)?;
        let comparator = comparator(clause, &subject)?;
        query.push(" AND ");
        match subject {
            Subject::Number(column) => push_number(query, column, comparator, clause)?,
            Subject::Text(column) => push_text(query, &column, comparator, clause)?,
            Subject::Metric(name) => {
                on_metrics = true;
                query.push(
                    "EXISTS (SELECT 1 FROM logged_model_metrics x WHERE x.model_id = l.model_id AND x.key = ",
                );
                query.bind(name).push(" AND ");
                push_number(query, "x.value", comparator, clause)?;
                push_datasets(query, datasets);
                query.push(")");
            }
            Subject::Param(key) => push_pair(query, "logged_model_params", key, comparator, clause)?,
            Subject::Tag(key) => push_pair(query, "logged_model_tags", key, comparator, clause)?,
        }
    }
    if !datasets.is_empty() && !on_metrics {
        query.push(" AND EXISTS (SELECT 1 FROM logged_model_metrics x WHERE x.model_id = l.model_id");
        push_datasets(query, datasets);
        query.push(")");
    }
    Ok(())
}

fn push_pair(
    query: &mut Query,
    table: &str,
    key: &str,
    comparator: Comparator,
    clause: &Clause<'_>,
) -> Result<(), Problem> {
    query.push("EXISTS (SELECT 1 FROM ").push(table).push(" t WHERE t.model_no = l.model_no AND t.key = ");
    query.bind(key).push(" AND ");
    push_text(query, "t.value", comparator, clause)?;
    query.push(")");
    Ok(())
}

fn push_datasets(query: &mut Query, datasets: &[Dataset]) {
    for (index, dataset) in datasets.iter().enumerate() {
        query.push(if index == 0 { " AND (" } else { " OR " });
        query.push("(x.dataset_name = ").bind(dataset.name.as_str()).push(" AND x.dataset_digest");
        match &dataset.digest {
            Some(digest) => query.push(" = ").bind(digest.as_str()),
            None => query.push(" IS NULL"),
        };
        query.push(")");
    }
    if !datasets.is_empty() {
        query.push(")");
    }
}

fn subject<'a>(clause: &Clause<'a>) -> Result<Subject<'a>, Problem> {
    let text = clause.identifier.text;
    let entity = text.split_once('.').filter(|(entity, key)| {
        !entity.is_empty() && entity.bytes().all(|byte| byte.is_ascii_lowercase()) && !key.is_empty()
    });
    let (entity, key) = entity.unwrap_or(("attributes", text));
    let key = key.trim_matches('`');
    Ok(match entity {
        "metrics" => Subject::Metric(key),
        "params" => Subject::Param(key),
        "tags" => Subject::Tag(key),
        "attributes" => match column(key) {
            Some((column @ ("l.creation_time" | "l.last_update_time"), _)) => Subject::Number(column),
            // Other numbers are compared as texts.
            Some((column, KeyKind::Integer)) => Subject::Text(format!("CAST({column} AS TEXT)")),
            Some((column, _)) => Subject::Text(column.to_owned()),
            None => {
                return Err(clause.identifier.refuse(format!("Invalid attribute key '{key}' specified.")));
            }
        },
        other => {
            return Err(clause.identifier.refuse(format!(
                "Invalid entity type: {}. Expected one of ['attributes', 'metrics', 'params', 'tags'].",
                python::repr(other)
            )));
        }
    })
}

fn comparator(clause: &Clause<'_>, subject: &Subject<'_>) -> Result<Comparator, Problem> {
    const NUMBERS: [Comparator; 6] = [
        Comparator::Less,
        Comparator::LessOrEqual,
        Comparator::Greater,
        Comparator::GreaterOrEqual,
        Comparator::Equal,
        Comparator::NotEqual,
    ];
    const TEXTS: [Comparator; 6] = [
        Comparator::Equal,
        Comparator::NotEqual,
        Comparator::Like,
        Comparator::ILike,
        Comparator::In,
        Comparator::NotIn,
    ];
    if clause.asks_for_null() {
        return Err(clause.identifier.refuse(format!(
            "Invalid comparison: {}{}. Expected a comparison with 3 tokens.",
            clause.identifier.text, clause.comparator_text
        )));
    }
    let allowed = match subject {
        Subject::Number(_) | Subject::Metric(_) => NUMBERS,
        Subject::Text(_) | Subject::Param(_) | Subject::Tag(_) => TEXTS,
    };
    clause.one_of(&allowed, |asked, _| {
        let named = clause.identifier.text.replace('`', "");
        let named = if named.contains('.') { named } else { format!("attributes.{named}") };
        let allowed: Vec<String> = allowed.iter().map(|comparator| python::repr(comparator.text())).collect();
        format!(
            "Invalid comparison operator for {named}: {}. Expected one of ({}).",
            python::repr(asked),
            allowed.join(", ")
        )
    })
}

fn push_number(
    query: &mut Query,
    column: &str,
    comparator: Comparator,
    clause: &Clause<'_>,
) -> Result<(), Problem> {
    let Some(piece) = &clause.value else { return Ok(()) };
    let number: f64 = piece.text.parse().map_err(|_| {
        piece.refuse(format!("could not convert string to float: {}", python::repr(piece.text)))
    })?;
    if number.is_nan() {
        // Nothing compares with it; databases differ.
        query.push("1 = 0");
        return Ok(());
    }
    query.compare(column, comparator, &Value::Number(Number::Float(number)))
}

fn push_text(
    query: &mut Query,
    column: &str,
    comparator: Comparator,
    clause: &Clause<'_>,
) -> Result<(), Problem> {
    let Some(piece) = &clause.value else { return Ok(()) };
    if !piece.is_list() {
        return query.compare(column, comparator, &Value::Text(piece.text.trim_matches('\'').to_owned()));
    }
    let empty = piece.text.trim_matches(['(', ')']).trim().is_empty();
    match comparator {
        Comparator::In if empty => query.push("1 = 0"),
        Comparator::NotIn if empty => query.push("1 = 1"),
        _ => return query.compare(column, comparator, &Value::Texts(piece.list()?)),
    };
    Ok(())
}

/// What MLflow says of the same fault in a filter of logged models.
fn in_other_words(problem: Problem, text: &str) -> Problem {
    let expected = if problem.message.starts_with("Invalid clause(s)") {
        "Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
    } else if problem.message.starts_with("Search filter contained")
        || problem.message.starts_with("Invalid filter")
    {
        "Expected a single SQL expression."
    } else {
        return problem;
    };
    let place = problem.message.rfind(" (at character ").map_or("", |start| &problem.message[start..]);
    Problem::invalid(format!("Invalid filter string: {}. {expected}{place}", python::repr(text)))
}
