//! Runs: `mlflow.user` is stamped when a run is made, and is nobody's to change afterwards.

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;
use super::After;
use crate::classify::reserved;

pub(super) fn create(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    for key in edit::keys_of_pairs(&object, "tags")? {
        if reserved::reserved_run_tag(&key) && key != "mlflow.user" {
            return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be set by clients")));
        }
    }
    let author = call.caller.principal.name.clone();
    let object = call.edit();
    edit::set_text(object, "user_id", &author)?;
    edit::set_in_pairs(object, "tags", "mlflow.user", &author)?;
    Ok(After::Nothing)
}

/// Tags of a run are set or deleted, singly or in a batch.
pub(super) fn tag(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let single = edit::text(&object, "key")?.map(str::to_owned);
    let author = call.caller.principal.name.clone();
    for key in edit::keys_of_pairs(&object, "tags")?.into_iter().chain(single) {
        if key == "mlflow.user" && says(&object, &author) {
            continue;
        }
        if reserved::reserved_run_tag(&key) {
            return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be changed by clients")));
        }
    }
    Ok(After::Nothing)
}

/// Whether every `mlflow.user` in the body is the caller's own name.
fn says(object: &serde_json::Map<String, serde_json::Value>, author: &str) -> bool {
    let own = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str) == Some(author);
    let listed = object.get("tags").and_then(serde_json::Value::as_array).is_some_and(|tags| {
        tags.iter()
            .filter(|tag| tag.get("key").and_then(serde_json::Value::as_str) == Some("mlflow.user"))
            .all(|tag| own(tag.get("value")))
    });
    listed || own(object.get("value"))
}
