//! What other conventions than MLflow's say of a span, said in MLflow's words: its type, inputs and outputs,
//! tokens, model and cost. Those who instrument agents and models each have their own names for these.
//!
//! Conventions are asked in one order and the first that answers counts. Attributes are never removed.

mod attributes;
mod claude_code;
mod conventions;
mod events;
mod gemini;
mod livekit;
mod vercel;
mod voltagent;

use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::Value;

pub(super) use self::attributes::Attributes;
use self::conventions::CONVENTIONS;
use super::super::python_json;
use super::super::traces::usage;
use super::prices;
use super::span::{CHAT_USAGE, INPUTS, LLM_COST, MODEL, OUTPUTS, PROVIDER, SPAN_TYPE};

const MESSAGE_FORMAT: &str = "mlflow.message.format";
const CHAT_TOOLS: &str = "mlflow.chat.tools";

pub(super) fn translate(attributes: &mut Attributes, events: &[Event]) {
    if attributes.untyped()
        && let Some(span_type) = span_type(attributes)
    {
        attributes.set(SPAN_TYPE, quoted(span_type));
    }
    if attributes.get(INPUTS).is_none() {
        let value = inputs(attributes).or_else(|| events::inputs(events));
        attributes.set_if(INPUTS, value);
    }
    if attributes.get(OUTPUTS).is_none() {
        let value = outputs(attributes).or_else(|| events::outputs(events, attributes));
        attributes.set_if(OUTPUTS, value);
    }
    if attributes.get(CHAT_USAGE).is_none() {
        let used = CONVENTIONS.iter().find_map(|convention| convention.tokens(attributes));
        attributes.set_if(CHAT_USAGE, used);
    }
    if attributes.get(MESSAGE_FORMAT).is_none() {
        attributes.set_if(MESSAGE_FORMAT, message_format(attributes).map(quoted));
    }
    if attributes.get(CHAT_TOOLS).is_none() {
        let tools = attributes.meaningful("gen_ai.tool.definitions").map(str::to_owned);
        attributes.set_if(CHAT_TOOLS, tools);
    }
    if attributes.get(MODEL).is_none() {
        attributes.set_if(MODEL, model(attributes));
    }
    if attributes.get(PROVIDER).is_none() {
        let found = CONVENTIONS
            .iter()
            .find_map(|convention| attributes.meaningful(convention.provider?).map(str::to_owned));
        attributes.set_if(PROVIDER, found);
    }
    if attributes.get(LLM_COST).is_none() {
        attributes.set_if(LLM_COST, cost(attributes));
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn span_type(attributes: &Attributes) -> Option<&'static str> {
    CONVENTIONS.iter().find_map(|convention| convention.span_type(attributes))
}

fn inputs(attributes: &mut Attributes) -> Option<String> {
    if vercel::is_chat(attributes) {
        // Asked before those that come after it, and it says how its messages are to be shown.
        let before = CONVENTIONS.iter().take_while(|convention| convention.name != "vercel");
        let found = before.filter_map(|convention| convention.inputs(attributes)).next();
        if found.is_some() {
            return found;
        }
        attributes.set(MESSAGE_FORMAT, "vercel_ai".to_owned());
    }
    CONVENTIONS.iter().find_map(|convention| convention.inputs(attributes))
}

fn outputs(attributes: &Attributes) -> Option<String> {
    CONVENTIONS.iter().find_map(|convention| convention.outputs(attributes))
}

/// How the messages of a span are to be shown.
fn message_format(attributes: &Attributes) -> Option<&'static str> {
    if gemini::is_gemini(attributes) {
        return Some("gemini");
    }
    let has = |key: &str| attributes.get(key).is_some();
    if has("voltagent.operation_id") || has("voltagent.conversation_id") {
        return Some("voltagent");
    }
    if attributes.iter().any(|(key, _)| key.starts_with("lk.")) {
        return Some("livekit");
    }
    has("lmnr.span.type").then_some("openai")
}

/// The model, as JSON: by an attribute, or as inputs or outputs name it.
fn model(attributes: &Attributes) -> Option<String> {
    let named = CONVENTIONS
        .iter()
        .flat_map(|convention| convention.models)
        .find_map(|key| attributes.meaningful(key))
        .map(|text| match serde_json::from_str::<Value>(text) {
            Ok(value) => python_json::dumps(&value),
            Err(_) => quoted(text),
        });
    named.or_else(|| [INPUTS, OUTPUTS].into_iter().find_map(|key| model_in(attributes.get(key)?)))
}

fn model_in(json: &str) -> Option<String> {
    // Most have none: they need not be read.
    if !json.contains("\"model\"") {
        return None;
    }
    let value: Value = serde_json::from_str(json).ok()?;
    let name = value.get("model")?.as_str().filter(|name| !name.is_empty())?;
    Some(quoted(name))
}

fn cost(attributes: &Attributes) -> Option<String> {
    let Some(Value::Object(used)) = attributes.parsed(CHAT_USAGE) else { return None };
    let model = attributes.text(MODEL)?;
    let provider = attributes.text(PROVIDER);
    usage::costs_text(&prices::cost(&model, provider.as_deref(), &usage::tokens(&used))?)
}
