//! The Gemini command line: its messages are wrapped as its interface has them, so that they are shown as a
//! chat.

use serde_json::{Value, json};

use super::super::super::python_json::{ascii, dumps};
use super::Attributes;

pub(super) fn is_gemini(attributes: &Attributes) -> bool {
    attributes.get("gen_ai.agent.name").is_some_and(|json| attributes.plain(json) == "gemini-cli")
}

pub(super) fn input(json: &str, attributes: &Attributes) -> String {
    match serde_json::from_str(json) {
        Ok(Value::Object(map)) if map.contains_key("contents") => json.to_owned(),
        Ok(Value::Array(mut contents)) => {
            // Compared as it stands: a client that writes the name as JSON is not heard.
            if attributes.get("gen_ai.operation.name") == Some("system_prompt") {
                for content in &mut contents {
                    if content.get("role").and_then(Value::as_str) == Some("user") {
                        content["role"] = json!("system");
                    }
                }
            }
            ascii(&dumps(&json!({ "contents": contents })))
        }
        Ok(Value::String(text)) => ascii(&dumps(&json!({ "contents": text }))),
        Ok(_) => json.to_owned(),
        Err(_) => ascii(&dumps(&json!({ "contents": json }))),
    }
}

/// One content for each step, of which the parts become one answer.
pub(super) fn output(json: &str) -> String {
    let Ok(Value::Array(contents)) = serde_json::from_str::<Value>(json) else { return json.to_owned() };
    let parts: Vec<Value> =
        contents.iter().filter_map(|content| content.get("parts")?.as_array()).flatten().cloned().collect();
    if parts.is_empty() {
        return json.to_owned();
    }
    ascii(&dumps(&json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})))
}
