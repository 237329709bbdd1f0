//! What of a trace's inputs and outputs is shown in lists: the last message of a chat, or the beginning.

use serde_json::{Map, Value};

use super::super::names::cut;

/// Characters of a preview.
const LONGEST: usize = 1000;

/// The preview of inputs (`user`) or outputs (`assistant`), which are JSON.
pub(super) fn preview(json: &str, role: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(json).ok();
    let message = parsed.as_ref().and_then(messages).and_then(|messages| last(&messages, role).cloned());
    let content = message.as_ref().and_then(content).filter(|text| !text.is_empty());
    let text = content.unwrap_or(json);
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    format!("{}...", cut(LONGEST - 3, text))
}

/// The messages of the requests and answers of the chat and responses interfaces; nothing if there are none.
fn messages(value: &Value) -> Option<Vec<Map<String, Value>>> {
    let object = value.as_object()?;
    let list = |name: &str| object.get(name).and_then(Value::as_array).filter(|list| !list.is_empty());
    let of = |list: &Vec<Value>| Some(list.iter().filter_map(message).cloned().collect::<Vec<_>>());
    let found = if let Some(messages) = list("messages") {
        of(messages)
    } else if let Some(message) =
        list("choices").and_then(|choices| choices[0].get("message")).and_then(message)
    {
        Some(vec![message.clone()])
    } else if let Some(input) = list("input") {
        of(input)
    } else if let Some(output) = list("output") {
        of(output)
    } else {
        object.get("request").and_then(messages)
    };
    found.filter(|messages| !messages.is_empty())
}

fn message(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object().filter(|object| object.contains_key("role") && object.contains_key("content"))
}

fn last<'m>(messages: &'m [Map<String, Value>], role: &str) -> Option<&'m Map<String, Value>> {
    let of_role = messages.iter().rev().find(|message| message["role"].as_str() == Some(role));
    of_role.or(messages.last())
}

fn content(message: &Map<String, Value>) -> Option<&str> {
    match message.get("content")? {
        Value::String(text) => Some(text),
        Value::Array(parts) => parts.iter().find_map(|part| match part {
            Value::String(text) => Some(text.as_str()),
            _ if matches!(part["type"].as_str(), Some("text" | "output_text")) => part["text"].as_str(),
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::preview;

    #[test]
    fn a_preview_is_the_last_message_or_the_beginning() {
        for (json, role, shown) in [
            (r#"{"q": "hi"}"#, "user", r#"{"q": "hi"}"#),
            (r#""out""#, "user", r#""out""#),
            (
                r#"{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}"#,
                "user",
                "a",
            ),
            (r#"{"messages": [{"role": "system", "content": "b"}]}"#, "user", "b"),
            (r#"{"choices": [{"message": {"role": "assistant", "content": "x"}}]}"#, "assistant", "x"),
            (
                r#"{"request": {"input": [{"role": "user", "content": [{"type": "text", "text": "y"}]}]}}"#,
                "user",
                "y",
            ),
            (r#"{"messages": []}"#, "user", r#"{"messages": []}"#),
            (
                r#"{"messages": [{"role": "user", "content": ""}]}"#,
                "user",
                r#"{"messages": [{"role": "user", "content": ""}]}"#,
            ),
        ] {
            assert_eq!(preview(json, role), shown);
        }
        let long = "é".repeat(1001);
        assert_eq!(preview(&long, "user"), format!("{}...", "é".repeat(997)));
        assert_eq!(preview(&"é".repeat(1000), "user"), "é".repeat(1000));
    }
}
