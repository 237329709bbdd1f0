//! The content of a span as OTLP's message in protobuf's JSON: what `traces/get` answers. Fields that hold
//! their defaults are left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::problem::Problem;

/// Answers JSON text.
pub(in crate::backend::embedded) fn otlp(content: &str) -> Result<String, Problem> {
    let span = parse(content).map_err(Problem::internal)?;
    let Value::Object(span) = span else { return Err(Problem::internal("a span that is no object")) };
    let mut shown = Map::new();
    let mut copy = |name: &str| {
        if let Some(value) = span.get(name).filter(|value| !is_default(value)) {
            shown.insert(name.to_owned(), value.clone());
        }
    };
    for name in
        ["trace_id", "span_id", "parent_span_id", "name", "start_time_unix_nano", "end_time_unix_nano"]
    {
        copy(name);
    }
    let mut put = |name: &str, items: Vec<Value>| {
        if !items.is_empty() {
            shown.insert(name.to_owned(), Value::Array(items));
        }
    };
    put("attributes", dumped_attributes(&span));
    put("events", items(&span, "events").filter_map(event).collect());
    put("links", items(&span, "links").filter_map(link).collect());
    shown.insert("status".to_owned(), status(span.get("status")));
    Ok(Value::Object(shown).to_string())
}

/// Begins the texts that stand for `NaN` and its like in what [`parse`] reads.
const NO_NUMBER: char = '\u{fdd0}';

/// JSON as Python writes it, which has words for floats that are no numbers.
fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        match ["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
            true => serde_json::from_str(&with_words_quoted(text)),
            false => Err(error),
        }
    })
}

fn with_words_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let (mut rest, mut quoted) = (text, false);
    while let Some(next) = rest.chars().next() {
        let word =
            ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| !quoted && rest.starts_with(word));
        let length = match (word, next) {
            (Some(word), _) => word.len(),
            (None, '\\') if quoted => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => next.len_utf8(),
        };
        match word {
            Some(word) => out.push_str(&format!("\"{NO_NUMBER}{word}\"")),
            None => out.push_str(&rest[..length]),
        }
        quoted ^= next == '"';
        rest = &rest[length..];
    }
    out
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn items<'s>(span: &'s Map<String, Value>, name: &str) -> impl Iterator<Item = &'s Value> + use<'s> {
    span.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The attributes of a span are texts of JSON; one that is none is the text itself.
fn dumped_attributes(span: &Map<String, Value>) -> Vec<Value> {
    let attributes = span.get("attributes").and_then(Value::as_object).into_iter().flatten();
    attributes
        .map(|(key, value)| {
            let value = match value.as_str() {
                Some(text) => any_value(parse(text).unwrap_or_else(|_| Value::from(text))),
                None => any_value(value.clone()),
            };
            key_value(key, value)
        })
        .collect()
}

fn plain_attributes(holder: &Value) -> Vec<Value> {
    let attributes = holder.get("attributes").and_then(Value::as_object).into_iter().flatten();
    attributes.map(|(key, value)| key_value(key, any_value(value.clone()))).collect()
}

/// Null is a pair without a value.
fn key_value(key: &str, value: Value) -> Value {
    match &value {
        Value::Object(kind) if kind.is_empty() => json!({ "key": key }),
        _ => json!({ "key": key, "value": value }),
    }
}

fn any_value(value: Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(truth) => json!({ "bool_value": truth }),
        Value::Number(number) if number.is_i64() => json!({ "int_value": number }),
        Value::Number(number) => json!({ "double_value": number.as_f64() }),
        Value::String(text) => match text.strip_prefix(NO_NUMBER) {
            Some(word) => json!({ "double_value": word }),
            None => json!({ "string_value": text }),
        },
        Value::Array(items) if items.is_empty() => json!({ "array_value": {} }),
        Value::Array(items) => {
            let values: Vec<Value> = items.into_iter().map(any_value).collect();
            json!({ "array_value": { "values": values } })
        }
        Value::Object(map) if map.is_empty() => json!({ "kvlist_value": {} }),
        Value::Object(map) => {
            let values: Vec<Value> =
                map.into_iter().map(|(key, value)| key_value(&key, any_value(value))).collect();
            json!({ "kvlist_value": { "values": values } })
        }
    }
}

fn event(event: &Value) -> Option<Value> {
    let mut shown = Map::new();
    for name in ["time_unix_nano", "name"] {
        if let Some(value) = event.get(name).filter(|value| !is_default(value)) {
            shown.insert(name.to_owned(), value.clone());
        }
    }
    let attributes = plain_attributes(event);
    if !attributes.is_empty() {
        shown.insert("attributes".to_owned(), Value::Array(attributes));
    }
    Some(Value::Object(shown))
}

/// Ids of links are hex in the content and base64 here. Some clients send longer ones than there are.
fn link(link: &Value) -> Option<Value> {
    let id = |name: &str, length: usize| {
        let text = link.get(name)?.as_str()?;
        let bytes = hex::decode(text.rsplit('/').next()?.trim_start_matches("tr-")).ok()?;
        (bytes.len() == length).then(|| STANDARD.encode(bytes))
    };
    let mut shown = json!({ "trace_id": id("trace_id", 16)?, "span_id": id("span_id", 8)? });
    let attributes = plain_attributes(link);
    if !attributes.is_empty() {
        shown["attributes"] = Value::Array(attributes);
    }
    Some(shown)
}

fn status(status: Option<&Value>) -> Value {
    let mut shown = Map::new();
    let text = |name: &str| status?.get(name)?.as_str().filter(|text| !text.is_empty());
    if let Some(message) = text("message") {
        shown.insert("message".to_owned(), json!(message));
    }
    if let Some(code) = text("code").filter(|code| *code != "STATUS_CODE_UNSET") {
        shown.insert("code".to_owned(), json!(code));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_that_are_no_numbers_are_words() {
        let content = r#"{"name": "NaN \" -Infinity", "attributes": {"x": "[NaN, 1.5]", "y": "Infinity", "z": "\"NaN\""},
            "events": [{"name": "e", "attributes": {"a": -Infinity, "b": ["NaN"]}}]}"#;
        let shown: Value = serde_json::from_str(&otlp(content).unwrap()).unwrap();
        assert_eq!(shown["name"], "NaN \" -Infinity");
        let values = |holder: &Value| -> Vec<Value> {
            holder["attributes"].as_array().unwrap().iter().map(|pair| pair["value"].clone()).collect()
        };
        let list = |first| json!({ "array_value": { "values": first } });
        assert_eq!(
            values(&shown),
            [
                list(json!([{ "double_value": "NaN" }, { "double_value": 1.5 }])),
                json!({ "double_value": "Infinity" }),
                json!({ "string_value": "NaN" }),
            ]
        );
        assert_eq!(
            values(&shown["events"][0]),
            [json!({ "double_value": "-Infinity" }), list(json!([{ "string_value": "NaN" }]))]
        );
    }
}
