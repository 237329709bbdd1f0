//! A call's parameters, read as MLflow's server reads them: of GET from the query, of the others from the
//! JSON body; those of the path beside them. A field may be spelled `experiment_id` or `experimentId`, as
//! protobuf has it: what was authorized by one spelling must not be missing by the other.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::python;
use crate::access::{Caller, ExperimentId};
use crate::backend::Outgoing;
use crate::policy::Permit;
use crate::wire::{Body, Head, json};

/// A permitted call on its way to the noun that answers it.
#[derive(Debug)]
pub struct Request {
    pub operation: String,
    pub params: Vec<(String, String)>,
    pub head: Head,
    pub json: Map<String, Value>,
    pub body: Body,
    pub caller: Option<Caller>,
}

impl Request {
    pub fn new(permit: &Permit, outgoing: Outgoing) -> Self {
        let Outgoing { operation, params, head, json, body } = outgoing;
        Self {
            operation,
            params,
            head,
            json: json
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (json::snake(key), value))
                .collect(),
            body,
            caller: permit.caller().cloned(),
        }
    }

    /// A parameter of the path; the manifest's template has it, or this is empty.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// A text of the query or of the body; nothing if it is absent or null.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        if self.head.method.is_read() {
            return self.head.query.one(name).map_err(|error| Problem::invalid(error.to_string()));
        }
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// As [`text`](Self::text), but it must be there and not empty.
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
    }

    /// A whole number, which JSON may hold as a text (protobuf writes 64-bit numbers so).
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Problem> {
        if self.head.method.is_read() {
            let Some(text) = self.text(name)? else { return Ok(None) };
            return text.parse().map(Some).map_err(|_| wrong_type(name, &Value::String(text.to_owned())));
        }
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => integer(value).map(Some).ok_or_else(|| wrong_type(name, value)),
        }
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        if self.head.method.is_read() {
            let Some(text) = self.text(name)? else { return Ok(None) };
            return match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(Problem::invalid(format!(
                    "Invalid boolean value: {text}, must be 'true' or 'false'."
                ))),
            };
        }
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// A list of texts: a repeated query parameter, or a JSON array. Empty if absent.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Problem> {
        if self.head.method.is_read() {
            return Ok(self.head.query.all(name).map(str::to_owned).collect());
        }
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list @ Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name, list)))
                .collect(),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// A list of the body. Empty if absent.
    pub fn list(&self, name: &str) -> Result<&[Value], Problem> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// Refuses what PostgreSQL cannot keep, in either database, so that both take the same calls. A path or a query
    /// with that has not come so far: `wire` refuses it.
    pub fn refuse_nul(&self) -> Result<(), Problem> {
        match self.json.iter().find(|(key, value)| key.contains('\0') || holds_nul(value)) {
            Some((key, _)) => Err(Problem::invalid(format!("parameter '{key}' holds the character U+0000"))),
            None => Ok(()),
        }
    }

    /// An experiment's id as the number that the store keeps.
    pub fn experiment(&self, name: &str) -> Result<i64, Problem> {
        experiment_number(self.required(name)?)
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(object) => object.iter().any(|(key, item)| key.contains('\0') || holds_nul(item)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The store's number of an experiment id. One too large for it exists nowhere.
pub fn experiment_number(text: &str) -> Result<i64, Problem> {
    let none = || Problem::missing(format!("No Experiment with id={text} exists"));
    if text.strip_prefix('-').is_some_and(|digits| digits.parse::<u64>().is_ok()) {
        return Err(none());
    }
    let id = ExperimentId::parse(text).map_err(|_| {
        Problem::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer."))
    })?;
    id.as_str().parse().map_err(|_| none())
}

/// A whole number of JSON, written as a number or as a text.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            // Protobuf takes 5.0 for 5.
            .or_else(|| {
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|f| f as i64)
            }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub fn missing(name: &str) -> Problem {
    Problem::invalid(format!(
        "Missing value for required parameter '{name}'. See the API docs for more information about request \
         parameters."
    ))
}

pub fn wrong_type(name: &str, value: &Value) -> Problem {
    let kind = type_name(value);
    Problem::invalid(format!(
        "Invalid value {} for parameter '{name}' supplied:  Hint: Value was of type '{kind}'. See the API docs \
         for more information about request parameters.",
        python::json(value)
    ))
}

/// The name of the type that Python reads a value as.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}
