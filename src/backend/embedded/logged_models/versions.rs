//! The versions of the registry that were made of a logged model, which a tag of it lists as JSON.

use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::super::problem::Problem;
use super::super::python;
use super::{TAGS, absent};

const TAG: &str = "mlflow.modelVersions";

/// Adds a version to the list of a model that is not deleted.
pub async fn add(
    connection: &mut AnyConnection,
    model_id: &str,
    name: &str,
    version: i64,
) -> Result<(), Problem> {
    // Changes nothing but locks the row: two versions must not overwrite each other's entry.
    let model_no: i64 = sqlx::query_scalar(
        "UPDATE logged_models SET status = status WHERE model_id = $1 AND lifecycle_stage <> 'deleted' \
         RETURNING model_no",
    )
    .bind(model_id)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| absent(model_id))?;
    let known: Option<String> =
        sqlx::query_scalar("SELECT value FROM logged_model_tags WHERE model_no = $1 AND key = $2")
            .bind(model_no)
            .bind(TAG)
            .fetch_optional(&mut *connection)
            .await?;
    let mut versions = match known.map(|text| serde_json::from_str(&text)) {
        Some(Ok(Value::Array(versions))) => versions,
        Some(_) => {
            return Err(Problem::invalid(format!(
                "The tag `{TAG}` of logged model '{model_id}' is not a list of model versions; delete it to \
                 register the model"
            )));
        }
        None => Vec::new(),
    };
    let added = json!({ "name": name, "version": version });
    if versions.contains(&added) {
        return Ok(());
    }
    versions.push(added);
    let printed = python_json(&Value::Array(versions));
    Ok(TAGS.put(connection, model_no, &[(TAG.to_owned(), printed)]).await?)
}

/// JSON as Python writes it, with a blank after each comma and colon: clients see the text of the tag.
fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", python::json_text(key), python_json(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => python::json(other),
    }
}
