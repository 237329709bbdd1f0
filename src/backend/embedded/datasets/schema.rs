//! The schema of a dataset: the fields that its records have had, and the type of each where it was met
//! first.

use serde_json::{Map, Value, json};

use super::merge::Given;
use crate::backend::embedded::evaluation;
use crate::backend::embedded::python;

/// The schema after records were added. Nothing for a dataset that never had any.
pub(super) fn extended(existing: Option<&str>, records: &[Given]) -> Option<String> {
    if records.is_empty() && existing.is_none() {
        return None;
    }
    let mut schema = existing.and_then(evaluation::object).unwrap_or_else(|| {
        let empty = || json!({});
        Map::from_iter([
            ("inputs".to_owned(), empty()),
            ("outputs".to_owned(), empty()),
            ("expectations".to_owned(), empty()),
            ("version".to_owned(), json!("1.0")),
        ])
    });
    for record in records {
        extend(&mut schema, "inputs", &record.inputs);
        match &record.outputs {
            None | Some(Value::Null) => {}
            Some(Value::Object(outputs)) => extend(&mut schema, "outputs", outputs),
            Some(other) => {
                // Outputs that are no objects have one type, if nothing else is known of them.
                if schema.get("outputs").and_then(Value::as_object).is_some_and(Map::is_empty) {
                    schema.insert("outputs".to_owned(), json!(type_of(other)));
                }
            }
        }
        if let Some(expectations) = &record.expectations {
            extend(&mut schema, "expectations", expectations);
        }
    }
    Some(python::json_spaced(&Value::Object(schema)))
}

fn extend(schema: &mut Map<String, Value>, part: &str, fields: &Map<String, Value>) {
    let Some(Value::Object(known)) = schema.get_mut(part) else { return };
    for (name, value) in fields {
        if !known.contains_key(name) {
            known.insert(name.clone(), json!(type_of(value)));
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
