//! An assessment as MLflow answers it, in protobuf's JSON.

use serde_json::{Map, Value, json};

use super::super::problem::Problem;
use super::super::protobuf_json::timestamp;
use super::parse::Kind;
use super::row::{Stored, stored_value};

const LONGEST_TRACE: usize = 10_000;
const TRUNCATED: &str = "[Stack trace is truncated]\n...\n";

pub(super) fn json(stored: &Stored) -> Result<Value, Problem> {
    let assessment = &stored.assessment;
    let mut shown = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    put("assessment_id", Some(json!(assessment.id)));
    put("assessment_name", Some(json!(assessment.name)));
    put("trace_id", Some(json!(stored.trace_id)));
    put("span_id", text(&assessment.span_id));
    let mut source = json!({"source_type": assessment.source_type});
    if let (Some(id), Some(source)) = (&assessment.source_id, source.as_object_mut()) {
        source.insert("source_id".to_owned(), json!(id));
    }
    put("source", Some(source));
    put("create_time", Some(json!(timestamp(assessment.created))));
    put("last_update_time", Some(json!(timestamp(assessment.updated))));
    let value = match assessment.kind {
        Kind::Feedback => feedback(&assessment.value, assessment.error.as_deref())?,
        Kind::Expectation => expectation(&assessment.value),
        Kind::Issue => assessment.value.clone(),
    };
    put(assessment.kind.as_str(), Some(value));
    put("rationale", text(&assessment.rationale));
    let metadata = &assessment.metadata;
    put("metadata", (!metadata.is_empty()).then(|| Value::Object(metadata.clone())));
    put("overrides", text(&assessment.overrides));
    put("valid", Some(json!(stored.valid)));
    Ok(Value::Object(shown))
}

fn feedback(value: &Value, error: Option<&str>) -> Result<Value, Problem> {
    let mut feedback = json!({"value": value});
    if let (Some(error), Some(feedback)) = (error, feedback.as_object_mut()) {
        let error: Map<String, Value> = serde_json::from_str(error).map_err(Problem::internal)?;
        let shown = error.into_iter().filter_map(|(key, value)| match value {
            Value::String(text) if key == "stack_trace" => Some((key, Value::String(truncated(text)))),
            Value::Null => None,
            value => Some((key, value)),
        });
        feedback.insert("error".to_owned(), Value::Object(shown.collect()));
    }
    Ok(feedback)
}

/// The end of a long stack trace: there the error is.
fn truncated(trace: String) -> String {
    let characters = trace.chars().count();
    if characters <= LONGEST_TRACE {
        return trace;
    }
    let kept = LONGEST_TRACE - TRUNCATED.chars().count();
    let end: String = trace.chars().skip(characters - kept).collect();
    format!("{TRUNCATED}{end}")
}

/// Lists and objects travel as JSON in a text.
fn expectation(value: &Value) -> Value {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => json!({"serialized_value": {
            "serialization_format": "JSON_FORMAT",
            "value": stored_value(value),
        }}),
        plain => json!({"value": plain}),
    }
}
