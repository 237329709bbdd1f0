//! A trace, as its store tells it, as a row of an archive.
//!
//! Spans come in the three forms that MLflow's stores have: OpenTelemetry's messages, and the files that clients of
//! MLflow 3 and 2 keep as an artifact.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::http::tracing::time;

/// The trace's head (`trace_info` of version 3) and its spans.
pub(super) struct Trace {
    pub info: Map<String, Value>,
    pub spans: Vec<Value>,
}

impl Trace {
    /// The answer to `traces/get` or `traces/{id}`.
    pub fn of_answer(answer: &Value) -> Option<Self> {
        let trace = answer.get("trace")?;
        let info = trace.get("trace_info")?.as_object()?.clone();
        Some(Self { info, spans: list(trace.get("spans")).to_vec() })
    }

    pub fn is_in_progress(&self) -> bool {
        self.text("state").is_none_or(|state| state == "IN_PROGRESS")
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.info.get(field).and_then(Value::as_str)
    }

    /// The row without `archived_at`.
    pub fn row(&self) -> Value {
        let spans: Vec<Value> = self.spans.iter().filter_map(span_of).collect();
        let root = spans.iter().find(|span| span["parent_id"].is_null());
        let of_root = |key: &str| {
            let attributes: Map<String, Value> =
                serde_json::from_str(root?.get("attributes")?.as_str()?).ok()?;
            attributes.get(key).map(written)
        };
        let metadata = |key: &str| self.info.get("trace_metadata")?.get(key)?.as_str().map(str::to_owned);
        let said = |preview: &str, attribute: &str, copied: &str| {
            let preview = || self.text(preview).map(str::to_owned);
            of_root(attribute).or_else(preview).or_else(|| metadata(copied))
        };
        let millis = self
            .text("execution_duration")
            .and_then(|duration| time::nanos(duration, "execution_duration").ok())
            .map(|nanos| nanos as f64 / 1e6);
        let assessments: Vec<Value> = list(self.info.get("assessments")).iter().map(assessment).collect();
        json!({
            "trace_id": self.text("trace_id"),
            "client_request_id": self.text("client_request_id"),
            "request_time": micros(self.info.get("request_time")),
            "state": self.text("state"),
            "execution_duration_ms": millis,
            "request": said("request_preview", "mlflow.spanInputs", "mlflow.traceInputs"),
            "response": said("response_preview", "mlflow.spanOutputs", "mlflow.traceOutputs"),
            "trace_metadata": texts(self.info.get("trace_metadata")),
            "tags": texts(self.info.get("tags")),
            "trace_location": {
                "type": self.info.get("trace_location").and_then(|location| location.get("type")),
                "mlflow_experiment": {"experiment_id": self.info.get("trace_location")
                    .and_then(|location| location.get("mlflow_experiment"))
                    .and_then(|experiment| experiment.get("experiment_id"))},
            },
            "assessments": assessments,
            "spans": spans,
        })
    }
}

/// What a row says, hashed, whatever order its store wrote it in; and how many bytes it is as text.
pub(super) fn digest(row: &Value) -> (String, usize) {
    let mut text = String::new();
    ordered(row, &mut text);
    (hex::encode(Sha256::digest(&text)), text.len())
}

fn ordered(value: &Value, to: &mut String) {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            to.push('{');
            for key in keys {
                to.push_str(&Value::from(key.as_str()).to_string());
                to.push(':');
                ordered(&object[key], to);
                to.push(',');
            }
            to.push('}');
        }
        Value::Array(values) => {
            to.push('[');
            for value in values {
                ordered(value, to);
                to.push(',');
            }
            to.push(']');
        }
        plain => to.push_str(&plain.to_string()),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn micros(time: Option<&Value>) -> Option<i64> {
    time::micros(time?.as_str()?, "time").ok()
}

/// A text as it is, anything else as JSON.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(map: Option<&Value>) -> Value {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    Value::Object(entries.map(|(key, value)| (key.clone(), Value::from(written(value)))).collect())
}

fn assessment(made: &Value) -> Value {
    let field = |name: &str| made.get(name).cloned().unwrap_or_default();
    let source = |name: &str| made.get("source").and_then(|source| source.get(name)).cloned();
    let json_text = |name: &str| made.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    json!({
        "assessment_id": field("assessment_id"),
        "trace_id": field("trace_id"),
        "assessment_name": field("assessment_name"),
        "source": {"source_id": source("source_id"), "source_type": source("source_type")},
        "create_time": micros(made.get("create_time")),
        "last_update_time": micros(made.get("last_update_time")),
        "expectation": json_text("expectation"),
        "feedback": json_text("feedback"),
        "rationale": field("rationale"),
        "metadata": texts(made.get("metadata")),
        "span_id": field("span_id"),
    })
}

/// A span in one of its forms; nothing if it has no id.
fn span_of(span: &Value) -> Option<Value> {
    let context = |name: &str| span.get("context").and_then(|context| context.get(name));
    let id = |name: &str| identifier(span.get(name).or_else(|| context(name)));
    let time = |names: [&str; 2]| names.iter().find_map(|name| nanos(span.get(*name)));
    let parent = ["parent_span_id", "parent_id"].iter().find_map(|name| identifier(span.get(*name)));
    let status = |name: &str| span.get("status").and_then(|status| status.get(name));
    let events: Vec<Value> = list(span.get("events"))
        .iter()
        .map(|event| {
            let at = ["time_unix_nano", "timestamp"].iter().find_map(|name| nanos(event.get(*name)));
            json!({
                "name": event.get("name"), "timestamp": at,
                "attributes": attributes(event.get("attributes")).to_string(),
            })
        })
        .collect();
    let code = status("code").or_else(|| span.get("status_code")).map(status_code);
    Some(json!({
        "span_id": id("span_id")?,
        "trace_id": id("trace_id"),
        "parent_id": parent,
        "start_time_unix_nano": time(["start_time_unix_nano", "start_time"]),
        "end_time_unix_nano": time(["end_time_unix_nano", "end_time"]),
        "status_code": code,
        "status_message": status("message").or_else(|| span.get("status_message")),
        "name": span.get("name"),
        "attributes": attributes(span.get("attributes")).to_string(),
        "events": events,
    }))
}

/// An id in hexadecimal digits, with which it may be written, or in base64.
fn identifier(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str().filter(|text| !text.is_empty())?;
    let plain = text.strip_prefix("0x").unwrap_or(text);
    if matches!(plain.len(), 16 | 32) && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(plain.to_ascii_lowercase());
    }
    match STANDARD.decode(text) {
        Ok(bytes) if matches!(bytes.len(), 8 | 16) => Some(hex::encode(bytes)),
        _ => Some(text.to_owned()),
    }
}

/// Nanoseconds, which protobuf's JSON writes as text.
fn nanos(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        number => number.as_i64(),
    }
}

/// The name of a status, which may be a number.
fn status_code(code: &Value) -> String {
    match code.as_i64() {
        Some(0) => "STATUS_CODE_UNSET".to_owned(),
        Some(1) => "STATUS_CODE_OK".to_owned(),
        Some(2) => "STATUS_CODE_ERROR".to_owned(),
        Some(other) => other.to_string(),
        None => written(code),
    }
}

/// Attributes as one object. MLflow's clients write each value as JSON in a text.
fn attributes(value: Option<&Value>) -> Value {
    let pairs: Vec<(String, Value)> = match value {
        Some(Value::Object(object)) => {
            object.iter().map(|(key, value)| (key.clone(), opened(value))).collect()
        }
        Some(Value::Array(pairs)) => pairs
            .iter()
            .filter_map(|pair| {
                let key = pair.get("key")?.as_str()?.to_owned();
                Some((key, opened(&any(pair.get("value").unwrap_or(&Value::Null)))))
            })
            .collect(),
        _ => Vec::new(),
    };
    Value::Object(pairs.into_iter().collect())
}

/// The value that a text of JSON holds; any other as it is.
fn opened(value: &Value) -> Value {
    match value.as_str() {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        None => value.clone(),
    }
}

/// OpenTelemetry's `AnyValue`, with its fields in either spelling.
fn any(value: &Value) -> Value {
    let Some((kind, held)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "int_value" | "intValue" => nanos(Some(held)).map_or_else(|| held.clone(), Value::from),
        "array_value" | "arrayValue" => list(held.get("values")).iter().map(any).collect(),
        "kvlist_value" | "kvlistValue" => attributes(held.get("values")),
        _ => held.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> Map<String, Value> {
        let info = json!({
            "trace_id": "tr-a5", "state": "OK", "request_time": "1970-01-01T00:00:05Z", "execution_duration": "0.118s",
            "request_preview": "short", "tags": {"a": "1"}, "trace_metadata": {"mlflow.user": "ann"},
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}},
            "assessments": [{"assessment_id": "a-1", "assessment_name": "good", "feedback": {"value": true},
                "source": {"source_type": "HUMAN", "source_id": "bob"}, "create_time": "1970-01-01T00:00:06Z"}],
        });
        info.as_object().unwrap().clone()
    }

    #[test]
    fn a_span_is_the_same_row_in_each_of_its_forms() {
        let message = json!({
            "trace_id": STANDARD.encode([0xab; 16]), "span_id": STANDARD.encode([0xcd; 8]), "name": "f",
            "start_time_unix_nano": "5", "end_time_unix_nano": "9", "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": [{"key": "mlflow.spanInputs", "value": {"string_value": "{\"x\": 1}"}}],
            "events": [{"name": "e", "time_unix_nano": "7", "attributes": []}],
        });
        let third = json!({
            "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "parent_span_id": null, "name": "f",
            "start_time_unix_nano": 5, "end_time_unix_nano": 9, "status": {"code": 1, "message": ""},
            "attributes": {"mlflow.spanInputs": "{\"x\": 1}"},
            "events": [{"name": "e", "time_unix_nano": 7, "attributes": {}}],
        });
        let second = json!({
            "context": {"trace_id": format!("0x{}", "ab".repeat(16)), "span_id": format!("0x{}", "cd".repeat(8))},
            "parent_id": null, "name": "f", "start_time": 5, "end_time": 9, "status_code": "STATUS_CODE_OK",
            "status_message": "", "attributes": {"mlflow.spanInputs": "{\"x\": 1}"},
            "events": [{"name": "e", "timestamp": 7, "attributes": {}}],
        });
        let expected = span_of(&message).unwrap();
        assert_eq!(expected["attributes"], r#"{"mlflow.spanInputs":{"x":1}}"#);
        assert_eq!(span_of(&third).unwrap(), expected);
        assert_eq!(span_of(&second).unwrap(), expected);
        assert!(span_of(&json!({"name": "without an id"})).is_none());
        let row = Trace { info: info(), spans: vec![message] }.row();
        assert_eq!(row["request"], r#"{"x":1}"#);
        assert_eq!(row["request_time"], 5_000_000);
        assert_eq!(row["execution_duration_ms"], 118.0);
        assert_eq!(row["assessments"][0]["feedback"], r#"{"value":true}"#);
    }

    #[test]
    fn a_row_fits_the_table() {
        let mut row = Trace { info: info(), spans: vec![json!({"span_id": "cd".repeat(8)})] }.row();
        row["archived_at"] = json!(7);
        let batch = crate::lake::batch(crate::lake::schemas::archive(), &[row]).unwrap();
        assert_eq!(batch.num_rows(), 1);
        let read = crate::lake::json_rows(&batch).unwrap();
        assert_eq!(read[0]["tags"]["a"], "1");
        assert_eq!(read[0]["trace_location"]["mlflow_experiment"]["experiment_id"], "1");
        assert_eq!(read[0]["request"], "short");
    }

    #[test]
    fn a_digest_tells_changes_and_not_the_order() {
        let one = json!({"a": 1, "b": [{"c": 2, "d": 3}]});
        let other = json!({"b": [{"d": 3, "c": 2}], "a": 1});
        assert_eq!(digest(&one), digest(&other));
        assert_ne!(digest(&one), digest(&json!({"a": 1, "b": [{"c": 3, "d": 2}]})));
    }
}
