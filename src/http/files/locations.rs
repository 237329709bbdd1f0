//! Where things lie, in the words of who asks. MLflow's own clients know the artifact proxy (`mlflow-artifacts:/…`);
//! in Databricks' mode they know `dbfs:/databricks/mlflow-tracking/…`, and reach the same things by it. It is a
//! spelling: what may be done with either is decided when it is done.

use serde_json::Value;

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::pages;
use crate::app::roots::{proxied_path, segments};
use crate::wire::Reply;

/// Operations whose answers say where something lies.
const SAYING: [&str; 26] = [
    "experiment.get",
    "experiment.get_by_name",
    "experiment.search",
    "experiment.search_get",
    "run.create",
    "run.get",
    "run.search",
    "run.update",
    "run.restore",
    "artifact.list",
    "logged_model.create",
    "logged_model.get",
    "logged_model.search",
    "logged_model.finalize",
    "logged_model.tag_set",
    "trace.start_v2",
    "trace.start_v3",
    "trace.end",
    "trace.info",
    "trace.info_v2",
    "trace.get",
    "trace.batch_get",
    "trace.batch_info",
    "trace.search",
    "trace.search_v2",
    "logged_model.artifact_list",
];

/// Spells the places in an answer as its client does.
pub(in crate::http) async fn in_the_clients_words(call: &Call<'_>, reply: Reply) -> Result<Reply, Refusal> {
    let databricks =
        call.head.headers.get("user-agent").is_some_and(|agent| agent.contains("databricks-sdk"));
    if !databricks || reply.status != 200 || !SAYING.contains(&call.operation.name.as_str()) {
        return Ok(reply);
    }
    let bytes = pages::collected(call, reply.body).await?;
    let mut answer = Value::Object(pages::parsed(&bytes)?);
    let mut places = Vec::new();
    walk(&mut answer, &mut |place| places.push(place.clone()));
    let mut spelled = std::collections::HashMap::new();
    for place in places {
        if let Some(other) = spell(call, &place).await? {
            spelled.insert(place, other);
        }
    }
    walk(&mut answer, &mut |place| {
        if let Some(other) = spelled.get(place) {
            place.clone_from(other);
        }
    });
    fetched_as_a_file(&mut answer);
    Ok(pages::written_text(200, answer.to_string()))
}

/// These clients fetch spans as a file, unless they are told that they can ask for them in other ways, which they
/// then take to be those of tables.
fn fetched_as_a_file(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item.get("key").and_then(Value::as_str) != Some(SPANS_LOCATION));
            items.iter_mut().for_each(fetched_as_a_file);
        }
        Value::Object(object) => {
            let place = object.get("mlflow.artifactLocation").and_then(Value::as_str);
            if place.is_some_and(|place| place.starts_with("dbfs:/databricks/")) {
                object.remove(SPANS_LOCATION);
            }
            object.values_mut().for_each(fetched_as_a_file);
        }
        _ => {}
    }
}

const SPANS_LOCATION: &str = "mlflow.trace.spansLocation";

/// Visits every text that says where something lies.
fn walk(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Object(object) => {
            if object.get("key").and_then(Value::as_str) == Some("mlflow.artifactLocation")
                && let Some(Value::String(place)) = object.get_mut("value")
            {
                visit(place);
            }
            for (key, item) in object.iter_mut() {
                let names = matches!(
                    key.as_str(),
                    "artifact_location" | "artifact_uri" | "root_uri" | "mlflow.artifactLocation"
                );
                match item {
                    Value::String(place) if names => visit(place),
                    // What people wrote is theirs.
                    _ if matches!(key.as_str(), "spans" | "attributes" | "trace_metadata" | "params") => {}
                    other => walk(other, visit),
                }
            }
        }
        _ => {}
    }
}

async fn spell(call: &Call<'_>, place: &str) -> Result<Option<String>, Refusal> {
    let Some(path) = proxied_path(place) else { return Ok(None) };
    let Ok(path) = segments(&path) else { return Ok(None) };
    let Some((experiment, rest)) = call.app.roots.place(call.app, call.backend, &path).await? else {
        return Ok(None);
    };
    let rest = match rest.as_slice() {
        ["models", rest @ ..] => ["logged_models"].iter().chain(rest).copied().collect::<Vec<_>>(),
        ["traces", rest @ ..] => rest.to_vec(),
        rest => rest.to_vec(),
    };
    let mut spelled = format!("dbfs:/databricks/mlflow-tracking/{experiment}");
    for segment in rest {
        spelled.push('/');
        spelled.push_str(segment);
    }
    Ok(Some(spelled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_where_answers_have_them_and_nowhere_else() {
        let mut answer = serde_json::json!({
            "run": { "info": { "artifact_uri": "a" }, "data": { "tags": [{ "key": "artifact_uri", "value": "no" }] } },
            "traces": [{ "tags": { "mlflow.artifactLocation": "b", "x": "no" } }],
            "info": { "tags": [{ "key": "mlflow.artifactLocation", "value": "c" }] },
            "spans": [{ "artifact_uri": "no" }],
        });
        let mut found = Vec::new();
        walk(&mut answer, &mut |place| found.push(place.clone()));
        found.sort();
        assert_eq!(found, ["a", "b", "c"]);
    }
}
