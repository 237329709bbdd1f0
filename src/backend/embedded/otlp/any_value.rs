//! OTLP's values as JSON texts in the form of Python's `json.dumps`.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::super::python_json::{shown_bytes, write_float, write_list, write_object, write_text};

/// A value as JSON.
pub(super) fn dumps(value: Option<&AnyValue>) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// A text itself, if the value is one.
pub(super) fn as_text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(super) fn write(value: Option<&AnyValue>, out: &mut String) {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Kind::StringValue(text)) => write_text(text, out),
        Some(Kind::BoolValue(truth)) => out.push_str(if *truth { "true" } else { "false" }),
        Some(Kind::IntValue(number)) => out.push_str(&number.to_string()),
        Some(Kind::DoubleValue(float)) => write_float(*float, out),
        Some(Kind::BytesValue(bytes)) => write_text(&shown_bytes(bytes), out),
        Some(Kind::ArrayValue(list)) => write_list(&list.values, out, |item, out| write(Some(item), out)),
        Some(Kind::KvlistValue(map)) => write_map(&map.values, out),
        _ => out.push_str("null"),
    }
}

/// An object; of a doubled key the last value counts.
pub(super) fn write_map(pairs: &[KeyValue], out: &mut String) {
    let pairs = distinct(pairs);
    write_object(pairs.iter().map(|pair| (pair.key.as_str(), pair.value.as_ref())), out, write);
}

/// Pairs in the order in which their keys first appear, each with its last value.
pub(super) fn distinct(pairs: &[KeyValue]) -> Vec<&KeyValue> {
    let mut index: HashMap<&str, usize> = HashMap::with_capacity(pairs.len());
    let mut kept: Vec<&KeyValue> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        match index.get(pair.key.as_str()) {
            Some(at) => kept[*at] = pair,
            None => {
                index.insert(&pair.key, kept.len());
                kept.push(pair);
            }
        }
    }
    kept
}
