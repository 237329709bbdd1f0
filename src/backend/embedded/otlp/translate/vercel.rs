//! Vercel's AI SDK: the parts of a chat's prompt and answer are attributes of their own.

use serde_json::{Map, Value};

use super::super::super::python_json::{ascii, dumps};
use super::Attributes;

pub(super) fn is_chat(attributes: &Attributes) -> bool {
    let kind = attributes.get("ai.operationId").map(loaded);
    matches!(
        kind.as_ref().and_then(Value::as_str),
        Some("ai.generateText.doGenerate" | "ai.streamText.doStream")
    )
}

pub(super) fn input(attributes: &Attributes) -> Option<String> {
    let mut parts = unpacked(attributes, "ai.prompt.");
    if let Some(Value::Array(tools)) = parts.get_mut("tools") {
        for tool in tools {
            if let Value::String(text) = tool {
                *tool = loaded(text);
            }
        }
    }
    (!parts.is_empty()).then(|| ascii(&dumps(&Value::Object(parts))))
}

pub(super) fn output(attributes: &Attributes) -> Option<String> {
    let parts = unpacked(attributes, "ai.response.");
    (!parts.is_empty()).then(|| ascii(&dumps(&Value::Object(parts))))
}

fn unpacked(attributes: &Attributes, prefix: &str) -> Map<String, Value> {
    attributes
        .iter()
        .filter_map(|(key, json)| Some((key.strip_prefix(prefix)?.to_owned(), loaded(json))))
        .collect()
}

/// JSON, which may be in a text of JSON, which may be in one again.
fn loaded(json: &str) -> Value {
    let mut value = Value::from(json);
    for _ in 0..3 {
        let Value::String(text) = &value else { break };
        match serde_json::from_str(text) {
            Ok(inner) => value = inner,
            Err(_) => break,
        }
    }
    value
}
