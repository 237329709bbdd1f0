//! What a serialized scorer may hold. Whoever loads one builds objects from it: what would run code, or send
//! requests to a host of the writer's choice, is refused when it is registered.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::type_name;

/// Options that choose where a judge's requests go.
const DESTINATIONS: [&str; 5] = ["api_base", "base_url", "custom_llm_provider", "fallbacks", "model_list"];

const CUSTOM_CODE: &str = "Custom scorer registration (using @scorer decorator) is disabled by default outside of \
Databricks tracking environments due to security concerns. Custom scorers require arbitrary code execution during \
deserialization.\n\nTo use custom scorers:\n1. Configure MLflow to use a Databricks tracking URI, or\n2. Manage \
your custom scorer code in a source code repository (e.g., GitHub) and import it directly, or\n3. On a \
self-managed MLflow server (or local environment) that you trust to run the scorer's code, set the \
MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS environment variable to true, or\n4. Use built-in scorers or make_judge() \
scorers instead.";

pub(super) fn checked(text: &str) -> Result<Map<String, Value>, Problem> {
    let parsed: Value =
        serde_json::from_str(text).map_err(|_| Problem::invalid("serialized_scorer must be valid JSON"))?;
    if has_code(&parsed) {
        return Err(Problem::invalid(CUSTOM_CODE));
    }
    check_third_parties(&parsed)?;
    match parsed {
        Value::Object(object) => Ok(object),
        other => Err(Problem::invalid(format!(
            "serialized_scorer must be a JSON object, got {}",
            type_name(&other)
        ))),
    }
}

fn has_code(value: &Value) -> bool {
    match value {
        Value::Object(object) => {
            object.get("call_source").is_some_and(|code| !code.is_null()) || object.values().any(has_code)
        }
        Value::Array(items) => items.iter().any(has_code),
        _ => false,
    }
}

fn check_third_parties(value: &Value) -> Result<(), Problem> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check_third_parties),
        Value::Object(object) => {
            if let Some(Value::Object(data)) = object.get("third_party_scorer_data") {
                check_options(data.get("kwargs").unwrap_or(&Value::Null))?;
            }
            object.values().try_for_each(check_third_parties)
        }
        _ => Ok(()),
    }
}

fn check_options(options: &Value) -> Result<(), Problem> {
    if !matches!(options, Value::Null | Value::Object(_)) {
        return Err(Problem::invalid(format!(
            "third_party_scorer_data.kwargs must be a JSON object, got {}.",
            type_name(options)
        )));
    }
    let mut found = BTreeSet::new();
    find_destinations(options, &mut found);
    if found.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = found.iter().map(|name| python::repr(name)).collect();
    Err(Problem::invalid(format!(
        "third_party_scorer_data.kwargs must not contain {}: these options choose where the scorer's LLM client \
         sends requests. Configure the judge endpoint on the server instead, for example through a gateway \
         endpoint ('gateway:/<name>') or the provider's environment variables.",
        names.join(", ")
    )))
}

fn find_destinations(value: &Value, found: &mut BTreeSet<&'static str>) {
    let mut known = |name: &str| found.extend(DESTINATIONS.iter().find(|known| **known == name));
    match value {
        Value::Object(object) => {
            object.keys().for_each(|key| known(key));
            object.values().for_each(|nested| find_destinations(nested, found));
        }
        Value::Array(items) => {
            for item in items {
                // Python makes an object of a list of pairs, too.
                if let Value::Array(pair) = item
                    && let [Value::String(key), _] = pair.as_slice()
                {
                    known(key);
                }
            }
            items.iter().for_each(|nested| find_destinations(nested, found));
        }
        _ => {}
    }
}

/// The model that judges, wherever a kind of scorer names it.
fn model(scorer: &Map<String, Value>) -> Option<&Value> {
    for kind in ["instructions_judge_pydantic_data", "builtin_scorer_pydantic_data"] {
        if let Some(Value::Object(data)) = scorer.get(kind)
            && !data.is_empty()
        {
            return data.get("model");
        }
    }
    if let Some(Value::Object(data)) = scorer.get("memory_augmented_judge_data") {
        return data.get("base_judge").and_then(Value::as_object).and_then(model);
    }
    scorer.get("third_party_scorer_data")?.get("model")
}

pub(super) fn check_model(scorer: &Map<String, Value>) -> Result<(), Problem> {
    match model(scorer) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(name)) if name.trim().is_empty() => {
            Err(Problem::invalid("Scorer model cannot be empty or contain only whitespace."))
        }
        Some(Value::String(name)) => match name.split_once(":/") {
            // The store has no AI gateway, and so none of its endpoints.
            Some(("gateway", endpoint)) if !endpoint.trim_start_matches('/').is_empty() => {
                let endpoint = python::repr(endpoint.trim_start_matches('/'));
                Err(Problem::missing(format!("GatewayEndpoint not found (name={endpoint})")))
            }
            _ => Ok(()),
        },
        Some(other) => {
            Err(Problem::invalid(format!("Scorer model must be a string, got {}.", type_name(other))))
        }
    }
}
