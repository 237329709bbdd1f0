//! Inputs and outputs that are said in events and not in attributes.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::{Value, json};

use super::super::super::python_json::{ascii, dumps};
use super::super::any_value;
use super::{Attributes, claude_code};

pub(super) fn inputs(events: &[Event]) -> Option<String> {
    spring(events, "gen_ai.content.prompt", "gen_ai.prompt").or_else(|| {
        let roles = [
            ("gen_ai.system.message", "system"),
            ("gen_ai.user.message", "user"),
            ("gen_ai.assistant.message", "assistant"),
        ];
        messages(events, |event| {
            let (_, role) = roles.iter().find(|(name, _)| *name == event.name)?;
            Some(json!(role))
        })
    })
}

pub(super) fn outputs(events: &[Event], attributes: &Attributes) -> Option<String> {
    spring(events, "gen_ai.content.completion", "gen_ai.completion")
        .or_else(|| {
            messages(events, |event| {
                let role = || value_of(event, "role").map_or_else(|| json!("assistant"), decoded);
                (event.name == "gen_ai.choice").then(role)
            })
        })
        .or_else(|| claude_code::output_of_events(events, attributes))
}

fn value_of<'e>(event: &'e Event, key: &str) -> Option<&'e AnyValue> {
    event.attributes.iter().rfind(|pair| pair.key == key)?.value.as_ref()
}

/// Spring says it in one attribute of one event: a text is taken as it stands.
fn spring(events: &[Event], name: &str, key: &str) -> Option<String> {
    events.iter().filter(|event| event.name == name).find_map(|event| {
        let value = Some(value_of(event, key)?);
        let text = any_value::as_text(value).map_or_else(|| any_value::dumps(value), str::to_owned);
        (!text.is_empty()).then_some(text)
    })
}

/// One message for each event that has a role.
fn messages(events: &[Event], role: impl Fn(&Event) -> Option<Value>) -> Option<String> {
    let messages: Vec<Value> = events
        .iter()
        .filter_map(|event| {
            let role = role(event)?;
            let content = decoded(value_of(event, "content")?);
            (content != json!("")).then(|| json!({ "role": role, "content": content }))
        })
        .collect();
    (!messages.is_empty()).then(|| ascii(&dumps(&Value::Array(messages))))
}

/// A text that is JSON is what it says.
fn decoded(value: &AnyValue) -> Value {
    match any_value::as_text(Some(value)) {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        None => serde_json::from_str(&any_value::dumps(Some(value))).unwrap_or_default(),
    }
}
