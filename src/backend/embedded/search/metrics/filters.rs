//! The filters of metrics: one comparison each, such as ``trace.tag.`a b` = 'x'`` or `span.name = 'llm'`.

use super::super::super::filter::{self, Clause, Comparator, Rules, Value, unquote_key, within};
use super::super::super::problem::Problem;
use super::super::super::python;
use super::super::meaning::{Attribute, Condition, SOURCE_RUN};
use super::ask::{Ask, View};

/// Columns of spans or assessments, and what they must be.
pub type More = Vec<(&'static str, String)>;

/// Conditions on traces, and on the spans or assessments of the view.
pub fn read(ask: &Ask) -> Result<(Vec<Condition>, More), Problem> {
    let mut conditions = Vec::new();
    let mut more = Vec::new();
    let parsed: Vec<(Place, String)> = ask.filters.iter().map(|text| one(text)).collect::<Result<_, _>>()?;
    for (place, value) in parsed {
        let equal = Comparator::Equal;
        match place {
            Place::Status => {
                conditions.push(Condition::Attribute(Attribute::State, equal, Value::Text(value)));
            }
            Place::Mark { metadata: true, key } if key == SOURCE_RUN => {
                conditions.push(Condition::Run(value))
            }
            Place::Mark { metadata, key } => {
                let value = Some(Value::Text(value));
                conditions.push(Condition::Mark { metadata, key, comparator: equal, value });
            }
            Place::Span(column) if ask.view == View::Spans => more.push((column, value)),
            Place::Span(_) => {
                return Err(Problem::invalid(format!(
                    "Filtering by span is only supported for SPANS view type, got {}",
                    ask.view.name()
                )));
            }
            Place::Assessment(column) if ask.view == View::Assessments => more.push((column, value)),
            Place::Assessment(_) => {
                return Err(Problem::invalid(format!(
                    "Filtering by assessment is only supported for ASSESSMENTS view type, got {}",
                    ask.view.name()
                )));
            }
        }
    }
    Ok((conditions, more))
}

enum Place {
    Status,
    Mark { metadata: bool, key: String },
    Span(&'static str),
    Assessment(&'static str),
}

fn one(text: &str) -> Result<(Place, String), Problem> {
    let clauses = filter::parse(text, Rules::METRICS)?;
    let read: Vec<(Place, String)> = clauses.iter().map(comparison).collect::<Result<_, _>>()?;
    match <[_; 1]>::try_from(read) {
        Ok([one]) => Ok(one),
        Err(_) => Err(Problem::invalid(format!("Invalid filter: '{text}'. Expected one filter clause."))),
    }
}

fn comparison(clause: &Clause<'_>) -> Result<(Place, String), Problem> {
    let (place, entity) = place(clause.identifier.text).map_err(|told| clause.identifier.refuse(told))?;
    if clause.comparator_text != "=" {
        return Err(clause.refuse_comparator(&[], |_, _| {
            format!("Invalid comparator: '{}', only '=' operator is supported", clause.comparator_text)
        }));
    }
    let value = clause.text_value(|got| {
        format!("Expected a quoted string value for {entity} value (e.g. 'my-value'). Got value {got}")
    })?;
    Ok((place, value))
}

/// What an identifier means, and the name of its entity.
fn place(identifier: &str) -> Result<(Place, &str), String> {
    let mut parts = identifier.splitn(3, '.');
    let (Some(view), Some(entity), key) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!(
            "Invalid identifier {}. Columns should be specified as 'trace.<key>', 'span.<key>', \
             'assessment.<key>'.",
            python::repr(identifier)
        ));
    };
    let view = within(view, '`').unwrap_or(view);
    let entities: &[&str] = match view {
        "trace" => &["status", "tag", "metadata"],
        "span" => &["name", "status", "type"],
        "assessment" => &["name", "type"],
        _ => {
            return Err(format!(
                "Invalid view type '{view}'. Valid values are dict_keys(['trace', 'span', 'assessment'])"
            ));
        }
    };
    if !entities.contains(&entity) {
        return Err(format!(
            "Invalid entity '{entity}' specified for view type '{view}'. Valid entities are {}",
            python::repr_list(entities.iter().copied())
        ));
    }
    let keyed = matches!((view, entity), ("trace", "tag" | "metadata"));
    let place = match (view, entity, key) {
        ("trace", _, Some(key)) if keyed => {
            Place::Mark { metadata: entity == "metadata", key: unquote_key(key).to_owned() }
        }
        _ if keyed => {
            return Err(format!(
                "Filtering by {entity} requires a key, e.g. '{view}.{entity}.<key> = <value>'"
            ));
        }
        (_, _, Some(_)) => {
            return Err(format!(
                "Filtering by {entity} does not require a key, use '{view}.{entity}' instead"
            ));
        }
        ("trace", _, None) => Place::Status,
        ("span", "name", None) => Place::Span("s.name"),
        ("span", "status", None) => Place::Span("s.status"),
        ("span", _, None) => Place::Span("s.type"),
        (_, "name", None) => Place::Assessment("a.name"),
        (_, _, None) => Place::Assessment("a.kind"),
    };
    Ok((place, entity))
}
