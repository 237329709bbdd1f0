//! Claude Code: `span.type` says which of its spans it is; what it was asked and answered is redacted unless
//! its user wants otherwise.

use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::{Map, Value};

use super::super::super::python_json::{ascii, dumps};
use super::super::any_value;
use super::Attributes;

const REDACTED: &str = "<REDACTED>";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Interaction,
    LlmRequest,
    Tool,
}

fn kind(attributes: &Attributes) -> Option<Kind> {
    let name = attributes.text("span.type")?;
    match name.strip_prefix("claude_code.").unwrap_or(&name) {
        "interaction" => Some(Kind::Interaction),
        "llm_request" => Some(Kind::LlmRequest),
        "tool" => Some(Kind::Tool),
        _ => None,
    }
}

pub(super) fn span_type(attributes: &Attributes) -> Option<&'static str> {
    Some(match kind(attributes)? {
        Kind::Interaction => "AGENT",
        Kind::LlmRequest => "LLM",
        Kind::Tool => "TOOL",
    })
}

/// Input, output, both, read from the cache, written to it. The input is said without the cache.
pub(super) fn tokens(attributes: &Attributes) -> [Option<i64>; 5] {
    if kind(attributes) != Some(Kind::LlmRequest) {
        return [None; 5];
    }
    let [input, output, read, written] =
        ["input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"]
            .map(|key| attributes.integer(key));
    let input = input.map(|input| input + read.unwrap_or_default() + written.unwrap_or_default());
    [input, output, None, read, written]
}

fn content(attributes: &Attributes, key: &str) -> Option<String> {
    let json = attributes.meaningful(key)?;
    (attributes.plain(json) != REDACTED).then(|| json.to_owned())
}

pub(super) fn input(attributes: &Attributes) -> Option<String> {
    let of = |key: &str| content(attributes, key);
    match kind(attributes)? {
        Kind::Interaction => of("user_prompt").or_else(|| of("new_context")),
        Kind::LlmRequest => of("new_context"),
        Kind::Tool => of("tool_input").or_else(|| {
            let keys = ["full_command", "file_path", "skill_name", "subagent_type"];
            let details: Map<String, Value> = keys
                .into_iter()
                .filter_map(|key| {
                    let json = of(key)?;
                    let value = serde_json::from_str(&json).unwrap_or(Value::String(json));
                    Some((key.to_owned(), value))
                })
                .collect();
            (!details.is_empty()).then(|| ascii(&dumps(&Value::Object(details))))
        }),
    }
}

pub(super) fn output(attributes: &Attributes) -> Option<String> {
    match kind(attributes)? {
        Kind::Interaction => None,
        Kind::LlmRequest => content(attributes, "response.model_output"),
        Kind::Tool => content(attributes, "new_context"),
    }
}

/// The output of a tool is in an event.
pub(super) fn output_of_events(events: &[Event], attributes: &Attributes) -> Option<String> {
    if kind(attributes) != Some(Kind::Tool) {
        return None;
    }
    let outputs = events.iter().filter(|event| event.name == "tool.output");
    outputs
        .flat_map(|event| {
            ["output", "content", "diff"].into_iter().filter_map(|key| {
                let value = event.attributes.iter().rfind(|pair| pair.key == key)?.value.as_ref();
                let value: Value = match any_value::as_text(value) {
                    Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
                    None => serde_json::from_str(&any_value::dumps(value)).ok()?,
                };
                let empty = matches!(&value, Value::Null | Value::Bool(false))
                    || value.as_str().is_some_and(|text| text.is_empty() || text == REDACTED);
                (!empty).then(|| dumps(&value))
            })
        })
        .next()
}
