//! A record as it is given, and what it becomes: records with the same inputs are one, whose expectations and
//! tags grow and whose outputs are those that were given last.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::USER;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;

const SOURCES: [&str; 5] = ["UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE"];

/// A record of a request.
#[derive(Debug)]
pub(super) struct Given {
    pub inputs: Map<String, Value>,
    /// Nothing if they were not given; null if they are none.
    pub outputs: Option<Value>,
    pub expectations: Option<Map<String, Value>>,
    tags: Map<String, Value>,
    source: Option<Value>,
    pub hash: String,
}

impl Given {
    /// Reads the `records` of a request.
    pub fn all(text: &str) -> Result<Vec<Self>, Problem> {
        let records = match serde_json::from_str(text) {
            Ok(Value::Array(records)) => records,
            Ok(Value::Object(none)) if none.is_empty() => Vec::new(),
            _ => return Err(Problem::invalid("`records` must be the text of a JSON array")),
        };
        records.into_iter().enumerate().map(|(index, record)| Self::parse(index, record)).collect()
    }

    fn parse(index: usize, record: Value) -> Result<Self, Problem> {
        let Value::Object(mut record) = record else {
            return Err(Problem::invalid(format!("Record {index} must be an object")));
        };
        let object = |name: &str, value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Problem::invalid(format!("`{name}` of record {index} must be an object"))),
        };
        let inputs = match record.remove("inputs") {
            Some(Value::Null) => {
                return Err(Problem::invalid(format!("`inputs` of record {index} must be provided")));
            }
            given => object("inputs", given)?.unwrap_or_default(),
        };
        let expectations = object("expectations", record.remove("expectations"))?;
        let tags = object("tags", record.remove("tags"))?.unwrap_or_default();
        let source = object("source", record.remove("source"))?.filter(|source| !source.is_empty());
        let source = source.map(|source| checked_source(index, source)).transpose()?;
        let sorted = python::json_sorted_spaced(&Value::Object(inputs.clone()));
        let hash = hex::encode(Sha256::digest(sorted));
        Ok(Self { inputs, outputs: record.remove("outputs"), expectations, tags, source, hash })
    }

    pub fn user(&self) -> Option<&str> {
        self.tags.get(USER).and_then(Value::as_str)
    }
}

/// A source in the form in which it is kept.
fn checked_source(index: usize, source: Map<String, Value>) -> Result<Value, Problem> {
    let refuse = |what: &str| Err(Problem::invalid(format!("`source` of record {index} {what}")));
    if source.keys().any(|key| !matches!(key.as_str(), "source_type" | "source_data")) {
        return refuse("has `source_type` and `source_data` only");
    }
    let Some(Value::String(kind)) = source.get("source_type") else {
        return refuse("must have a `source_type`");
    };
    let kind = kind.to_uppercase();
    if !SOURCES.contains(&kind.as_str()) {
        return Err(Problem::invalid(format!(
            "Invalid dataset record source type: {kind}. Valid source types: {}",
            python::repr_list(SOURCES)
        )));
    }
    let data = match source.get("source_data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data.clone(),
        Some(_) => return refuse("must have an object as `source_data`"),
    };
    Ok(Value::Object(Map::from_iter([
        ("source_type".to_owned(), Value::String(kind)),
        ("source_data".to_owned(), Value::Object(data)),
    ])))
}

/// A record as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub id: String,
    pub hash: String,
    pub inputs: Value,
    /// Null if there are none.
    pub outputs: Value,
    pub expectations: Option<Map<String, Value>>,
    pub tags: Map<String, Value>,
    pub source: Option<Value>,
    pub created_time: i64,
    pub last_update_time: i64,
    pub created_by: Option<String>,
    pub last_updated_by: Option<String>,
}

impl Record {
    pub fn new(given: &Given, now: i64) -> Self {
        let user = given.user().map(str::to_owned);
        Self {
            // Ordered as they are made, so that records of one call come back in their order.
            id: format!("dr-{}", Uuid::now_v7().simple()),
            hash: given.hash.clone(),
            inputs: Value::Object(given.inputs.clone()),
            outputs: given.outputs.clone().unwrap_or_else(|| Value::Object(Map::new())),
            expectations: given.expectations.clone(),
            tags: given.tags.clone(),
            source: given.source.clone(),
            created_time: now,
            last_update_time: now,
            created_by: user.clone(),
            last_updated_by: user,
        }
    }

    /// Takes what is new. Who made it, when and from what stays.
    pub fn merge(&mut self, given: &Given, now: i64) {
        if let Some(outputs) = &given.outputs {
            self.outputs = outputs.clone();
        }
        if let Some(expectations) = given.expectations.as_ref().filter(|map| !map.is_empty()) {
            self.expectations.get_or_insert_default().extend(expectations.clone());
        }
        self.tags.extend(given.tags.clone());
        self.last_update_time = now;
        if let Some(user) = given.user() {
            self.last_updated_by = Some(user.to_owned());
        }
    }

    /// As MLflow's clients read it.
    pub fn shown(self, dataset: &str) -> Value {
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        put("dataset_record_id", Value::String(self.id));
        put("dataset_id", Value::String(dataset.to_owned()));
        put("inputs", self.inputs);
        if let Some(expectations) = self.expectations {
            put("expectations", Value::Object(expectations));
        }
        put("tags", Value::Object(self.tags));
        if let Some(source) = self.source {
            let kind = source["source_type"].clone();
            let key = if kind == "TRACE" { "trace_id" } else { "source_id" };
            let id = source["source_data"].get(key).filter(|id| id.is_string()).cloned();
            put("source", source);
            if let Some(id) = id {
                put("source_id", id);
            }
            put("source_type", kind);
        }
        put("created_time", Value::from(self.created_time));
        put("last_update_time", Value::from(self.last_update_time));
        for (name, user) in [("created_by", self.created_by), ("last_updated_by", self.last_updated_by)] {
            if let Some(user) = user {
                put(name, Value::String(user));
            }
        }
        if !self.outputs.is_null() {
            put("outputs", self.outputs);
        }
        Value::Object(shown)
    }
}
