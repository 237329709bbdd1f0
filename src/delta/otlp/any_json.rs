//! OpenTelemetry's values as JSON text, written straight from the message.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::LakeError;

/// Values nest so deep and no deeper.
const DEEPEST: usize = 24;

/// An object of attributes; of keys that come twice the last counts.
pub(super) fn object(attributes: &[KeyValue]) -> Result<String, LakeError> {
    let mut text = String::with_capacity(32 * attributes.len() + 2);
    pairs(&mut text, attributes, 0)?;
    Ok(text)
}

/// A value as a text of its own: a string as it is, anything else as JSON.
pub(super) fn text(value: Option<&AnyValue>) -> Result<Option<String>, LakeError> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Ok(None),
        Some(Value::StringValue(text)) => Ok(Some(text.clone())),
        Some(_) => {
            let mut text = String::new();
            any(&mut text, value, 0)?;
            Ok(Some(text))
        }
    }
}

fn pairs(out: &mut String, attributes: &[KeyValue], depth: usize) -> Result<(), LakeError> {
    out.push('{');
    let mut first = true;
    for (index, pair) in attributes.iter().enumerate() {
        if attributes[index + 1..].iter().any(|later| later.key == pair.key) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        string(out, &pair.key);
        out.push(':');
        any(out, pair.value.as_ref(), depth + 1)?;
    }
    out.push('}');
    Ok(())
}

fn any(out: &mut String, value: Option<&AnyValue>, depth: usize) -> Result<(), LakeError> {
    if depth > DEEPEST {
        return Err(LakeError::Malformed(format!("has attributes that nest deeper than {DEEPEST}")));
    }
    match value.and_then(|value| value.value.as_ref()) {
        None => out.push_str("null"),
        Some(Value::StringValue(text)) => string(out, text),
        Some(Value::BoolValue(value)) => out.push_str(if *value { "true" } else { "false" }),
        Some(Value::IntValue(value)) => {
            let _ = write!(out, "{value}");
        }
        // JSON has no other numbers; what is none is told by its name.
        Some(Value::DoubleValue(value)) if !value.is_finite() => string(out, &value.to_string()),
        Some(Value::DoubleValue(value)) => {
            let _ = write!(out, "{value:?}");
        }
        Some(Value::BytesValue(bytes)) => string(out, &base64(bytes)),
        Some(Value::ArrayValue(list)) => {
            out.push('[');
            for (index, value) in list.values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                any(out, Some(value), depth + 1)?;
            }
            out.push(']');
        }
        Some(Value::KvlistValue(list)) => pairs(out, &list.values, depth)?,
        #[allow(unreachable_patterns, reason = "values that a later version of the protocol may add")]
        Some(_) => out.push_str("null"),
    }
    Ok(())
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
