//! The conventions, in the order in which they are asked: which attribute says what.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::super::python_json;
use super::{Attributes, claude_code, gemini, livekit, vercel, voltagent};

/// Names by which one way of instrumenting says what a span is.
pub(super) struct Convention {
    pub name: &'static str,
    /// The attribute that names the kind of span, and MLflow's type of each kind.
    pub kind: &'static str,
    pub kinds: &'static [(&'static str, &'static str)],
    /// Input, output, and both.
    pub token_keys: [&'static str; 3],
    pub cache_read: &'static str,
    pub cache_written: &'static [&'static str],
    pub input_keys: &'static [&'static str],
    pub output_keys: &'static [&'static str],
    pub models: &'static [&'static str],
    pub provider: Option<&'static str>,
}

const NONE: Convention = Convention {
    name: "",
    kind: "",
    kinds: &[],
    token_keys: ["", "", ""],
    cache_read: "",
    cache_written: &[],
    input_keys: &[],
    output_keys: &[],
    models: &[],
    provider: None,
};

const GEN_AI: Convention = Convention {
    name: "gen_ai",
    kind: "gen_ai.operation.name",
    kinds: &[
        ("chat", "CHAT_MODEL"),
        ("create_agent", "AGENT"),
        ("embeddings", "EMBEDDING"),
        ("execute_tool", "TOOL"),
        ("generate_content", "LLM"),
        ("invoke_agent", "AGENT"),
        ("text_completion", "LLM"),
        ("response", "LLM"),
    ],
    token_keys: ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", ""],
    cache_read: "gen_ai.usage.cache_read.input_tokens",
    cache_written: &["gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"],
    input_keys: &["gen_ai.input.messages", "gen_ai.tool.call.arguments"],
    output_keys: &["gen_ai.output.messages", "gen_ai.tool.call.result"],
    models: &["gen_ai.response.model", "gen_ai.request.model"],
    provider: Some("gen_ai.provider.name"),
};

pub(super) const CONVENTIONS: &[Convention] = &[
    Convention {
        name: "openinference",
        kind: "openinference.span.kind",
        kinds: &[
            ("TOOL", "TOOL"),
            ("CHAIN", "CHAIN"),
            ("LLM", "LLM"),
            ("RETRIEVER", "RETRIEVER"),
            ("EMBEDDING", "EMBEDDING"),
            ("AGENT", "AGENT"),
            ("RERANKER", "RERANKER"),
            ("UNKNOWN", "UNKNOWN"),
            ("GUARDRAIL", "GUARDRAIL"),
            ("EVALUATOR", "EVALUATOR"),
        ],
        token_keys: ["llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total"],
        cache_read: "llm.token_count.prompt_details.cache_read",
        cache_written: &["llm.token_count.prompt_details.cache_write"],
        input_keys: &["input.value"],
        output_keys: &["output.value"],
        models: &[
            "llm.response.model_name",
            "llm.model_name",
            "llm.request.model_name",
            "embedding.model_name",
        ],
        provider: Some("llm.provider"),
    },
    // Its tokens and models are those of the next but one, asked before it.
    Convention {
        name: "gemini",
        kinds: &[("llm_call", "LLM"), ("tool_call", "TOOL"), ("agent_call", "AGENT")],
        ..GEN_AI
    },
    Convention { name: "claude_code", ..NONE },
    GEN_AI,
    Convention {
        name: "traceloop",
        kind: "traceloop.span.kind",
        kinds: &[
            ("workflow", "WORKFLOW"),
            ("task", "TASK"),
            ("agent", "AGENT"),
            ("tool", "TOOL"),
            ("unknown", "UNKNOWN"),
        ],
        token_keys: [
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.usage.total_tokens",
        ],
        input_keys: &["traceloop.entity.input"],
        output_keys: &["traceloop.entity.output"],
        provider: Some("gen_ai.system"),
        ..NONE
    },
    Convention {
        name: "google_adk",
        input_keys: &["gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args"],
        output_keys: &["gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response"],
        ..NONE
    },
    Convention {
        name: "vercel",
        kind: "ai.operationId",
        kinds: &[
            ("ai.generateText", "LLM"),
            ("ai.generateText.doGenerate", "LLM"),
            ("ai.toolCall", "TOOL"),
            ("ai.streamText", "LLM"),
            ("ai.streamText.doStream", "LLM"),
            ("ai.generateObject", "LLM"),
            ("ai.generateObject.doGenerate", "LLM"),
            ("ai.streamObject", "LLM"),
            ("ai.streamObject.doStream", "LLM"),
            ("ai.embed", "EMBEDDING"),
            ("ai.embed.doEmbed", "EMBEDDING"),
            ("ai.embedMany", "EMBEDDING"),
        ],
        input_keys: &["ai.prompt", "ai.toolCall.args", "ai.value", "ai.values"],
        output_keys: &[
            "ai.response.text",
            "ai.toolCall.result",
            "ai.response.object",
            "ai.embedding",
            "ai.embeddings",
        ],
        ..NONE
    },
    Convention {
        name: "voltagent",
        input_keys: &["agent.messages", "llm.messages", "input"],
        output_keys: &["output"],
        ..NONE
    },
    Convention {
        name: "livekit",
        input_keys: &["lk.user_input", "lk.user_transcript", "lk.chat_ctx", "lk.input_text"],
        output_keys: &["lk.response.text", "lk.response.function_calls"],
        ..NONE
    },
    Convention {
        name: "laminar",
        kind: "lmnr.span.type",
        kinds: &[
            ("LLM", "LLM"),
            ("TOOL", "TOOL"),
            ("DEFAULT", "CHAIN"),
            ("PIPELINE", "CHAIN"),
            ("EXECUTOR", "AGENT"),
            ("EVALUATOR", "EVALUATOR"),
            ("HUMAN_EVALUATOR", "EVALUATOR"),
            ("EVALUATION", "EVALUATOR"),
            ("CACHED", "LLM"),
        ],
        input_keys: &["lmnr.span.input"],
        output_keys: &["lmnr.span.output"],
        ..NONE
    },
    Convention {
        name: "langfuse",
        kind: "langfuse.observation.type",
        kinds: &[
            ("generation", "LLM"),
            ("embedding", "EMBEDDING"),
            ("tool", "TOOL"),
            ("retriever", "RETRIEVER"),
            ("agent", "AGENT"),
            ("chain", "CHAIN"),
            ("evaluator", "EVALUATOR"),
            ("guardrail", "GUARDRAIL"),
            ("span", "UNKNOWN"),
        ],
        input_keys: &["langfuse.observation.input"],
        output_keys: &["langfuse.observation.output"],
        ..NONE
    },
];

impl Convention {
    pub fn span_type(&self, attributes: &Attributes) -> Option<&'static str> {
        match self.name {
            "gemini" if !gemini::is_gemini(attributes) => None,
            "claude_code" => claude_code::span_type(attributes),
            "voltagent" => voltagent::span_type(attributes),
            "livekit" => livekit::span_type(attributes),
            _ => self.of_kind(&attributes.plain(attributes.get(self.kind)?)),
        }
    }

    pub fn of_kind(&self, kind: &str) -> Option<&'static str> {
        self.kinds.iter().find(|(known, _)| *known == kind).map(|(_, mlflow)| *mlflow)
    }

    pub fn inputs(&self, attributes: &Attributes) -> Option<String> {
        let plain = || self.first(attributes, self.input_keys);
        match self.name {
            "gemini" => {
                gemini::is_gemini(attributes).then(plain)?.map(|json| gemini::input(&json, attributes))
            }
            "claude_code" => claude_code::input(attributes),
            "traceloop" => plain().or_else(|| {
                static NUMBERED: OnceLock<[Option<Regex>; 2]> = OnceLock::new();
                let patterns = NUMBERED.get_or_init(|| {
                    [
                        Regex::new(r"^gen_ai\.prompt\.\d+\.content").ok(),
                        Regex::new(r"^gen_ai\.completion\.\d+\.tool_calls\.\d+\.arguments").ok(),
                    ]
                });
                patterns.iter().flatten().find_map(|pattern| matching(attributes, pattern))
            }),
            "vercel" if vercel::is_chat(attributes) => vercel::input(attributes),
            _ => plain(),
        }
    }

    pub fn outputs(&self, attributes: &Attributes) -> Option<String> {
        let plain = || self.first(attributes, self.output_keys);
        match self.name {
            "gemini" => gemini::is_gemini(attributes).then(plain)?.map(|json| gemini::output(&json)),
            "claude_code" => claude_code::output(attributes),
            "traceloop" => plain().or_else(|| {
                static NUMBERED: OnceLock<Option<Regex>> = OnceLock::new();
                let pattern = NUMBERED.get_or_init(|| Regex::new(r"^gen_ai\.completion\.\d+\.content").ok());
                matching(attributes, pattern.as_ref()?)
            }),
            "vercel" if vercel::is_chat(attributes) => vercel::output(attributes),
            _ => plain(),
        }
    }

    /// Tokens as JSON, if the span says any.
    pub fn tokens(&self, attributes: &Attributes) -> Option<String> {
        let [input, output, total, read, written] = match self.name {
            "claude_code" => claude_code::tokens(attributes),
            "voltagent" => voltagent::tokens(attributes),
            _ => {
                let [input, output, total] = self.token_keys.map(|key| attributes.integer(key));
                let written = self.cache_written.iter().find_map(|key| attributes.integer(key));
                [input, output, total, attributes.integer(self.cache_read), written]
            }
        };
        let both = || Some(input?.saturating_add(output?));
        let total = total.or_else(both);
        if input.is_none() && output.is_none() && total.is_none() {
            return None;
        }
        let mut used = Map::new();
        for (name, count) in [
            ("input_tokens", input),
            ("output_tokens", output),
            ("total_tokens", total),
            ("cache_read_input_tokens", read),
            ("cache_creation_input_tokens", written),
        ] {
            if let Some(count) = count {
                used.insert(name.to_owned(), Value::from(count));
            }
        }
        Some(python_json::dumps(&Value::Object(used)))
    }

    fn first(&self, attributes: &Attributes, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| attributes.meaningful(key)).map(str::to_owned)
    }
}

fn matching(attributes: &Attributes, pattern: &Regex) -> Option<String> {
    let mut keys = attributes.iter().map(|(key, _)| key).filter(|key| pattern.is_match(key));
    keys.find_map(|key| attributes.meaningful(key)).map(str::to_owned)
}
