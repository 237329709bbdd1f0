//! LiveKit's agents: what a span is shows in which attributes it has.

use super::Attributes;
use super::conventions::CONVENTIONS;

pub(super) fn span_type(attributes: &Attributes) -> Option<&'static str> {
    if attributes.get("gen_ai.request.model").is_some() {
        return Some("LLM");
    }
    if let Some(operation) = attributes.get("gen_ai.operation.name") {
        let operation = attributes.plain(operation).to_lowercase();
        let general = CONVENTIONS.iter().find(|convention| convention.name == "gen_ai")?;
        if let Some(known) = general.of_kind(&operation) {
            return Some(known);
        }
    }
    attributes.iter().find_map(|(key, _)| match key {
        "lk.retry_count" => Some("LLM"),
        _ if key.starts_with("lk.function_tool") => Some("TOOL"),
        "lk.agent_name" | "lk.instructions" | "lk.generation_id" => Some("AGENT"),
        "lk.input_text" | "lk.user_transcript" | "lk.transcript_confidence" | "lk.transcription_delay" => {
            Some("UNKNOWN")
        }
        _ if key.starts_with("lk.tts") => Some("UNKNOWN"),
        _ => None,
    })
}
