//! One comparison of a filter of experiments as SQL.

use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::filter::{Clause, Comparator, Number, Value, python_set, refuse};
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::experiment_number;

use Comparator::{Equal, ILike, In, IsNotNull, IsNull, Like, NotEqual, NotIn};

const TEXT_OR_LIST: &[Comparator] = &[NotEqual, Equal, Like, ILike, In, NotIn];

/// ` AND …`: what the clause says of the experiment `e`.
pub fn add(query: &mut Query, clause: &Clause<'_>) -> Result<(), Problem> {
    let found = super::identify(clause.identifier.split());
    let (is_tag, key) = found.map_err(|message| clause.identifier.refuse(message))?;
    if clause.asks_for_null() && !is_tag {
        return Err(clause
            .identifier
            .refuse(format!("IS NULL / IS NOT NULL is only supported for tags, not for attribute '{key}'")));
    }
    query.push(" AND ");
    match (is_tag, key) {
        (true, _) => tag(query, clause, key),
        (false, "experiment_id") => id(query, clause),
        (false, "name") => name(query, clause),
        (false, _) => time(query, clause, key),
    }
}

/// Unlike elsewhere the comparators of experiments are written in upper case.
fn one_of(
    clause: &Clause<'_>,
    allowed: &[Comparator],
    message: impl FnOnce(&str) -> String,
) -> Result<Comparator, Problem> {
    let asked = clause.comparator().filter(|known| known.text() == clause.comparator_text);
    asked
        .filter(|known| allowed.contains(known))
        .ok_or_else(|| refuse(&message(&clause.comparator_text), clause.comparator_position))
}

fn not_one_of(asked: &str) -> String {
    let names: Vec<&str> = TEXT_OR_LIST.iter().map(|comparator| comparator.text()).collect();
    format!("Invalid comparator '{asked}' not one of '{}", python_set(&names))
}

fn expected_text(found: &str) -> String {
    format!("Expected a quoted string value for attributes. Got value {found}")
}

fn tag(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let exists =
        "EXISTS (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t.key = ";
    match clause.comparator() {
        Some(IsNull) => drop(query.push("NOT ").push(exists).bind(key).push(")")),
        Some(IsNotNull) => drop(query.push(exists).bind(key).push(")")),
        _ => {
            let value = clause.text_value(|found| {
                format!("Expected a quoted string value for tag (e.g. 'my-value'). Got value {found}")
            })?;
            let comparator = one_of(clause, &[Equal, NotEqual, Like, ILike], |asked| {
                format!("Invalid comparator for tag: {asked}")
            })?;
            query.push(exists).bind(key).push(" AND ");
            query.compare("t.value", comparator, &Value::Text(value))?;
            query.push(")");
        }
    }
    Ok(())
}

fn id(query: &mut Query, clause: &Clause<'_>) -> Result<(), Problem> {
    let texts = match &clause.value {
        Some(piece) if piece.is_list() => piece.list()?,
        _ => vec![clause.text_value(expected_text)?],
    };
    let is_list = clause.value.as_ref().is_some_and(|piece| piece.is_list());
    let comparator = one_of(clause, &[Equal, NotEqual, In, NotIn], |asked| {
        format!("Invalid comparator for experiment_id: {asked}")
    })?;
    let number = |text: &String| match experiment_number(text) {
        // A number too large for the store is no experiment's.
        Err(problem) if problem.code == Code::ResourceDoesNotExist => Ok(-1),
        other => other,
    };
    let numbers: Vec<i64> = texts.iter().map(number).collect::<Result<_, _>>()?;
    if is_list != matches!(comparator, In | NotIn) {
        let message = format!("Invalid comparator for experiment_id: {}", comparator.text());
        return Err(refuse(&message, clause.comparator_position));
    }
    let negated = matches!(comparator, NotEqual | NotIn);
    query.push(if negated { "e.experiment_id NOT IN " } else { "e.experiment_id IN " }).bind_all(numbers);
    Ok(())
}

fn name(query: &mut Query, clause: &Clause<'_>) -> Result<(), Problem> {
    if let Some(piece) = clause.value.as_ref().filter(|piece| piece.is_list()) {
        return Err(piece.refuse(
            "Only ['experiment_id'] attributes support comparison with a list of quoted string values.",
        ));
    }
    let value = clause.text_value(expected_text)?;
    let comparator = one_of(clause, &[Equal, NotEqual, Like, ILike], |asked| not_one_of(asked) + "'")?;
    query.compare("e.name", comparator, &Value::Text(value))
}

fn time(query: &mut Query, clause: &Clause<'_>, key: &str) -> Result<(), Problem> {
    let value = clause.number_value(|found| {
        format!("Expected numeric value type for numeric attribute: {key}. Found {found}")
    })?;
    let comparator = one_of(clause, Comparator::NUMERIC, not_one_of)?;
    if let (Number::Float(_), Some(piece)) = (value, &clause.value) {
        let message = format!("Invalid value for numeric attribute '{key}': '{}'", piece.text);
        return Err(piece.refuse(message));
    }
    query.compare(&format!("e.{key}"), comparator, &Value::Number(value))
}
