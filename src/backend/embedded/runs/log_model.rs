//! Models as MLflow 2 logs them: descriptions in a tag of the run.

use serde_json::{Map, Value};

use super::{row, run_id_of_today, tags};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, python, reply};
use crate::wire::Reply;

const HISTORY: &str = "mlflow.log-model.history";
const MANDATORY: [&str; 4] = ["artifact_path", "flavors", "run_id", "utc_time_created"];

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    let text = request.required("model_json")?;
    let model = described(text)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                let before: Option<String> =
                    sqlx::query_scalar("SELECT value FROM run_tags WHERE run_no = $1 AND key = $2")
                        .bind(run.run_no)
                        .bind(HISTORY)
                        .fetch_optional(&mut *connection)
                        .await?;
                let mut models = match before.as_deref().map(serde_json::from_str) {
                    None => Vec::new(),
                    Some(Ok(Value::Array(models))) => models,
                    Some(_) => {
                        return Err(Problem::invalid(format!("The tag '{HISTORY}' is not a JSON list")));
                    }
                };
                models.push(model);
                let value = python::json_spaced(&Value::Array(models));
                tags::put(connection, run.run_no, &[(HISTORY.to_owned(), value)]).await
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// What the tag keeps of a model.
fn described(text: &str) -> Result<Value, Problem> {
    let model = serde_json::from_str(text)
        .map_err(|_| Problem::invalid(format!("Malformed model info. \n {text} \n is not a valid JSON.")))?;
    let Value::Object(model) = model else {
        return Err(Problem::invalid("Model json must be an object"));
    };
    let missing: Vec<String> =
        MANDATORY.into_iter().filter(|name| !model.contains_key(*name)).map(python::repr).collect();
    if !missing.is_empty() {
        let message = format!("Model json is missing mandatory fields: {{{}}}", missing.join(", "));
        return Err(Problem::invalid(message));
    }
    let mut kept = Map::new();
    for name in ["run_id", "artifact_path", "utc_time_created", "model_uuid"] {
        match model.get(name) {
            None | Some(Value::Null) if name != "model_uuid" => {}
            value => drop(kept.insert(name.to_owned(), value.cloned().unwrap_or_default())),
        }
    }
    let flavors = match &model["flavors"] {
        Value::Object(flavors) => flavors.clone(),
        Value::Null => Map::new(),
        _ => return Err(Problem::invalid("Model json must have an object of flavors")),
    };
    let flavors = flavors.into_iter().map(|(name, flavor)| match flavor {
        Value::Object(mut config) => {
            config.shift_remove("config");
            (name, Value::Object(config))
        }
        other => (name, other),
    });
    kept.insert("flavors".to_owned(), Value::Object(flavors.collect()));
    Ok(Value::Object(kept))
}
