//! A row of a spans table as the JSON of an OpenTelemetry span.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::place::Place;
use super::read::Row;
use crate::lake::otlp::Version;

/// A span as far as answers and the head of a trace need it.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub trace: String,
    pub id: String,
    pub is_root: bool,
    pub name: String,
    pub start_nanos: i64,
    pub end_nanos: i64,
    /// `STATUS_CODE_…`.
    pub status: String,
    pub attributes: Map<String, Value>,
    row: Row,
}

/// The statement's part that reads spans of traces.
pub(super) fn select(place: &Place, part: super::place::Part, condition: &str) -> String {
    let table = place.quoted(part);
    format!(
        "SELECT trace_id, span_id, parent_span_id, trace_state, flags, name, kind, start_time_unix_nano, \
         end_time_unix_nano, attributes, events, links, status FROM {table} WHERE trace_id {condition}"
    )
}

impl Span {
    pub fn of_row(version: Version, row: Row) -> Option<Self> {
        let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |field: &str| row.get(field).and_then(Value::as_i64).unwrap_or_default();
        let status = row.get("status").and_then(|status| status.get("code")).and_then(Value::as_str);
        Some(Self {
            trace: Some(text("trace_id")).filter(|id| !id.is_empty())?,
            id: Some(text("span_id")).filter(|id| !id.is_empty())?,
            is_root: text("parent_span_id").is_empty(),
            name: text("name"),
            start_nanos: number("start_time_unix_nano"),
            end_nanos: number("end_time_unix_nano"),
            status: status.unwrap_or("STATUS_CODE_UNSET").to_owned(),
            attributes: attributes(version, row.get("attributes")),
            row,
        })
    }

    /// As protobuf's JSON writes it.
    pub fn to_json(&self, version: Version) -> Value {
        let field = |name: &str| self.row.get(name).cloned().unwrap_or_default();
        let mut span = json!({
            "trace_id": bytes(&self.trace), "span_id": bytes(&self.id),
            "trace_state": field("trace_state").as_str().unwrap_or_default(),
            "name": self.name, "kind": kind(field("kind").as_str()),
            "start_time_unix_nano": self.start_nanos.to_string(),
            "end_time_unix_nano": self.end_nanos.to_string(),
            "attributes": pairs(&self.attributes),
            "events": list(&field("events")).iter().map(|event| self.event(version, event)).collect::<Vec<_>>(),
            "links": list(&field("links")).iter().map(|link| self.link(version, link)).collect::<Vec<_>>(),
            "status": {
                "code": self.status,
                "message": field("status").get("message").and_then(Value::as_str).unwrap_or_default(),
            },
        });
        if let Some(parent) = field("parent_span_id").as_str().filter(|parent| !parent.is_empty()) {
            span["parent_span_id"] = json!(bytes(parent));
        }
        if let Some(flags) = field("flags").as_i64() {
            span["flags"] = json!(flags as u32);
        }
        span
    }

    fn event(&self, version: Version, event: &Value) -> Value {
        json!({
            "time_unix_nano": event.get("time_unix_nano").and_then(Value::as_i64).unwrap_or_default().to_string(),
            "name": event.get("name").and_then(Value::as_str).unwrap_or_default(),
            "attributes": pairs(&attributes(version, event.get("attributes"))),
        })
    }

    fn link(&self, version: Version, link: &Value) -> Value {
        let id = |field: &str| bytes(link.get(field).and_then(Value::as_str).unwrap_or_default());
        json!({
            "trace_id": id("trace_id"), "span_id": id("span_id"),
            "attributes": pairs(&attributes(version, link.get("attributes"))),
        })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Hexadecimal digits as protobuf's JSON writes bytes.
fn bytes(hex_digits: &str) -> String {
    STANDARD.encode(hex::decode(hex_digits).unwrap_or_default())
}

fn kind(name: Option<&str>) -> &str {
    name.filter(|name| name.starts_with("SPAN_KIND_")).unwrap_or("SPAN_KIND_INTERNAL")
}

/// Attributes as values: JSON text in version 2, a map of texts in version 1.
fn attributes(version: Version, value: Option<&Value>) -> Map<String, Value> {
    match (version, value) {
        (Version::V2, Some(Value::String(text))) => match serde_json::from_str(text) {
            Ok(Value::Object(attributes)) => attributes,
            _ => Map::new(),
        },
        (Version::V1, Some(Value::Object(texts))) => {
            texts.iter().map(|(key, text)| (key.clone(), of_text(key, text))).collect()
        }
        _ => Map::new(),
    }
}

/// A text of version 1, which does not say what it was. What holds a value of the traced program is JSON; of others
/// only what can be nothing else.
fn of_text(key: &str, text: &Value) -> Value {
    let Some(raw) = text.as_str() else { return text.clone() };
    let parsed: Option<Value> = serde_json::from_str(raw).ok();
    match parsed {
        Some(value) if key.starts_with("mlflow.") || value.is_object() || value.is_array() => value,
        _ => text.clone(),
    }
}

fn pairs(attributes: &Map<String, Value>) -> Vec<Value> {
    attributes.iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect()
}

/// A value as OpenTelemetry's `AnyValue`.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"bool_value": value}),
        Value::Number(number) => match number.as_i64() {
            Some(number) => json!({"int_value": number.to_string()}),
            None => json!({"double_value": number.as_f64()}),
        },
        Value::String(text) => json!({"string_value": text}),
        Value::Array(values) => {
            json!({"array_value": {"values": values.iter().map(any).collect::<Vec<_>>()}})
        }
        Value::Object(object) => json!({"kvlist_value": {"values": pairs(object)}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_a_span() {
        let row = json!({
            "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "parent_span_id": "", "name": "f",
            "kind": "SPAN_KIND_SERVER", "start_time_unix_nano": 5, "end_time_unix_nano": 9,
            "attributes": r#"{"mlflow.spanInputs":{"x":1},"n":1.5,"none":null}"#,
            "status": {"code": "STATUS_CODE_ERROR", "message": "no"},
            "events": [{"time_unix_nano": 7, "name": "e", "attributes": "{}"}],
        });
        let span = Span::of_row(Version::V2, row.as_object().unwrap().clone()).unwrap();
        assert!(span.is_root);
        let json = span.to_json(Version::V2);
        assert_eq!(json["trace_id"], STANDARD.encode([0xab; 16]));
        assert_eq!(json["status"]["code"], "STATUS_CODE_ERROR");
        assert_eq!(json["attributes"][0]["value"]["kvlist_value"]["values"][0]["value"]["int_value"], "1");
        assert_eq!(json["events"][0]["time_unix_nano"], "7");
        assert!(json.get("parent_span_id").is_none());
    }

    #[test]
    fn texts_of_version_1_are_read_as_what_they_were() {
        let texts =
            json!({"mlflow.spanOutputs": "4", "count": "4", "mlflow.spanType": "CHAIN", "list": "[1]"});
        let read = attributes(Version::V1, Some(&texts));
        assert_eq!(
            Value::Object(read),
            json!({
                "mlflow.spanOutputs": 4, "count": "4", "mlflow.spanType": "CHAIN", "list": [1],
            })
        );
    }
}
