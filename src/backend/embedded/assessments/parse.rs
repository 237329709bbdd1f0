//! An assessment as a client sends it, in protobuf's JSON.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::super::problem::Problem;
use super::super::protobuf_json::parse_timestamp;
use super::super::python_json;
use super::super::request::wrong_type;
use super::storable;
use crate::wire::json::field;

/// The metadata that names the run by which an assessment was made.
const SOURCE_RUN: &str = "mlflow.assessment.sourceRunId";

#[derive(Debug, Clone, PartialEq)]
pub(in crate::backend::embedded) struct Assessment {
    pub id: String,
    pub name: String,
    pub kind: Kind,
    pub value: Value,
    /// A JSON object.
    pub error: Option<String>,
    pub span_id: Option<String>,
    pub run_id: Option<String>,
    pub source_type: String,
    pub source_id: Option<String>,
    pub rationale: Option<String>,
    pub metadata: Map<String, Value>,
    pub overrides: Option<String>,
    pub created: i64,
    pub updated: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::embedded) enum Kind {
    Feedback,
    Expectation,
    Issue,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Expectation => "expectation",
            Self::Issue => "issue",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Feedback, Self::Expectation, Self::Issue].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Assessment {
    /// Reads one that gets a new id unless it has one.
    pub fn parse(given: &Map<String, Value>, now: i64) -> Result<Self, Problem> {
        let fresh = || format!("a-{}", uuid::Uuid::now_v7().simple());
        Self::parse_with(given, now, fresh)
    }

    /// Reads one that came with its trace. If it has no id, what it says gives it one: a repeated request
    /// makes no second assessment.
    pub fn parse_of_trace(
        given: &Map<String, Value>,
        now: i64,
        trace: &str,
        index: usize,
    ) -> Result<Self, Problem> {
        let said = || {
            let digest = Sha256::digest(format!("{trace}\n{index}\n{}", Value::Object(given.clone())));
            format!("a-{}", hex::encode(&digest[..16]))
        };
        Self::parse_with(given, now, said)
    }

    fn parse_with(
        given: &Map<String, Value>,
        now: i64,
        make_id: impl FnOnce() -> String,
    ) -> Result<Self, Problem> {
        let (kind, value, error) = parse_value(given)?;
        let metadata = parse_metadata(given)?;
        let id = optional(given, "assessment_id")?.unwrap_or_else(make_id);
        let (source_type, source_id) = parse_source(given)?;
        let created = parse_time(given, "create_time", now)?;
        let updated = parse_time(given, "last_update_time", now)?;
        let rationale = optional(given, "rationale")?.filter(|_| kind != Kind::Expectation);
        let overrides = optional(given, "overrides")?.filter(|_| kind == Kind::Feedback);
        Ok(Self {
            id,
            name: text(given, "assessment_name")?.unwrap_or_default(),
            kind,
            value,
            error,
            span_id: optional(given, "span_id")?,
            run_id: metadata.get(SOURCE_RUN).and_then(Value::as_str).map(str::to_owned),
            source_type,
            source_id,
            rationale,
            metadata,
            overrides,
            created,
            updated,
        })
    }
}

pub(super) fn get<'a>(given: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, Problem> {
    field(given, name).map_err(|error| Problem::invalid(error.to_string()))
}

pub(super) fn text(given: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    match get(given, name)? {
        None => Ok(None),
        Some(Value::String(text)) => {
            storable(name, text)?;
            Ok(Some(text.clone()))
        }
        Some(other) => Err(wrong_type(name, other)),
    }
}

/// A text; nothing if it is empty.
fn optional(given: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    Ok(text(given, name)?.filter(|text| !text.is_empty()))
}

fn object<'a>(given: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Problem> {
    match get(given, name)? {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(wrong_type(name, other)),
    }
}

type ParsedValue = (Kind, Value, Option<String>);

pub(super) fn parse_value(given: &Map<String, Value>) -> Result<ParsedValue, Problem> {
    let (feedback, expectation, issue) =
        (object(given, "feedback")?, object(given, "expectation")?, object(given, "issue")?);
    match (feedback, expectation, issue) {
        (Some(feedback), None, None) => parse_feedback(feedback),
        (None, Some(expectation), None) => Ok((Kind::Expectation, parse_expectation(expectation)?, None)),
        (None, None, Some(issue)) => {
            let mut value = Map::new();
            let name = text(issue, "issue_name")?.unwrap_or_default();
            value.insert("issue_name".to_owned(), Value::String(name));
            Ok((Kind::Issue, Value::Object(value), None))
        }
        (None, None, None) => Err(Problem::invalid("Unknown assessment type: None")),
        _ => {
            Err(Problem::invalid("Exactly one of `expectation`, `feedback`, or `issue` should be specified."))
        }
    }
}

fn parse_feedback(feedback: &Map<String, Value>) -> Result<ParsedValue, Problem> {
    let error = match object(feedback, "error")? {
        None => None,
        Some(error) => {
            let mut kept = Map::new();
            for name in ["error_code", "error_message", "stack_trace"] {
                let said = optional(error, name)?;
                let said = if name == "error_code" { Some(said.unwrap_or_default()) } else { said };
                kept.insert(name.to_owned(), said.map_or(Value::Null, Value::String));
            }
            Some(python_json::ascii(&python_json::dumps(&Value::Object(kept))))
        }
    };
    let value = get(feedback, "value")?.cloned().unwrap_or(Value::Null);
    Ok((Kind::Feedback, with_floats(value), error))
}

fn parse_expectation(expectation: &Map<String, Value>) -> Result<Value, Problem> {
    let value = match object(expectation, "serialized_value")? {
        Some(serialized) => {
            let format = text(serialized, "serialization_format")?.unwrap_or_default();
            if format != "JSON_FORMAT" {
                return Err(Problem::invalid(format!(
                    "Unknown serialization format: {format}. Only JSON_FORMAT is supported."
                )));
            }
            let json = text(serialized, "value")?.unwrap_or_default();
            serde_json::from_str(&json)
                .map_err(|error| Problem::invalid(format!("`serialized_value.value` is not JSON: {error}")))?
        }
        None => with_floats(get(expectation, "value")?.cloned().unwrap_or(Value::Null)),
    };
    if value.is_null() {
        return Err(Problem::invalid("The `value` field must be specified."));
    }
    Ok(value)
}

/// Protobuf's `Value` knows no whole numbers.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => Value::Array(items.into_iter().map(with_floats).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, with_floats(value))).collect())
        }
        other => other,
    }
}

fn parse_source(given: &Map<String, Value>) -> Result<(String, Option<String>), Problem> {
    const UNSPECIFIED: &str = "SOURCE_TYPE_UNSPECIFIED";
    let Some(source) = object(given, "source")? else { return Ok((UNSPECIFIED.to_owned(), None)) };
    // Numbered as in the protobuf; a name that it does not know is as none.
    let names = [UNSPECIFIED, "HUMAN", "LLM_JUDGE", "CODE"];
    let named = match get(source, "source_type")? {
        Some(Value::String(name)) => names.iter().find(|known| *known == name),
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|number| names.get(usize::try_from(number).ok()?))
        }
        _ => None,
    };
    Ok((named.unwrap_or(&UNSPECIFIED).to_string(), optional(source, "source_id")?))
}

pub(super) fn parse_metadata(given: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let metadata = object(given, "metadata")?.cloned().unwrap_or_default();
    for (key, value) in &metadata {
        let Value::String(text) = value else { return Err(wrong_type("metadata", value)) };
        storable("metadata", key)?;
        storable("metadata", text)?;
    }
    Ok(metadata)
}

/// A time in milliseconds; now if it is absent or zero.
fn parse_time(given: &Map<String, Value>, name: &str, now: i64) -> Result<i64, Problem> {
    match text(given, name)? {
        None => Ok(now),
        Some(text) => Ok(match parse_timestamp(name, &text)? {
            0 => now,
            milliseconds => milliseconds,
        }),
    }
}
