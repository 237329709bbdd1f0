//! VoltAgent: a child inherits `entity.type` from its agent, so `span.type` is asked first.

use super::Attributes;

pub(super) fn span_type(attributes: &Attributes) -> Option<&'static str> {
    ["span.type", "entity.type"].into_iter().find_map(|key| {
        match attributes.plain(attributes.get(key)?).as_str() {
            "agent" => Some("AGENT"),
            "llm" => Some("LLM"),
            "tool" => Some("TOOL"),
            "memory" => Some("MEMORY"),
            _ => None,
        }
    })
}

/// Input, output, both, and nothing of the cache.
pub(super) fn tokens(attributes: &Attributes) -> [Option<i64>; 5] {
    let count = |name: &str| {
        let own = format!("usage.{name}");
        let key = if attributes.get(&own).is_some() { own } else { format!("llm.usage.{name}") };
        attributes.integer(&key)
    };
    [count("prompt_tokens"), count("completion_tokens"), count("total_tokens"), None, None]
}
