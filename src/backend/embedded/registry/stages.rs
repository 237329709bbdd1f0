//! Stages of versions, and the latest version of each.

use serde_json::json;
use sqlx::AnyConnection;

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::Request;
use super::names;
use super::read::{self, Model, Version};
use crate::wire::Reply;

pub const NONE: &str = "None";
pub const ALL: [&str; 4] = [NONE, "Staging", "Production", "Archived"];
const ACTIVE: [&str; 2] = ["Staging", "Production"];

/// A stage as it is written, whatever the case in which it came.
pub fn canonical(stage: &str) -> Result<&'static str, Problem> {
    let lower = stage.to_lowercase();
    ALL.into_iter().find(|known| known.to_lowercase() == lower).ok_or_else(|| {
        Problem::invalid(format!(
            "Invalid Model Version stage: {stage}. Value must be one of {}.",
            ALL.join(", ")
        ))
    })
}

pub async fn latest(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?;
    let stages = request.texts("stages")?;
    let mut reading = store.database.begin_read().await?;
    let versions = latest_of(&mut reading, name, &stages).await?;
    let shown = read::versions_with_aliases(&mut reading, &versions).await?;
    reply::json(&if shown.is_empty() { json!({}) } else { json!({ "model_versions": shown }) })
}

/// The latest version of each of these stages; of all if there are none.
pub async fn latest_of(
    connection: &mut AnyConnection,
    name: &str,
    stages: &[String],
) -> Result<Vec<Version>, Problem> {
    let model = Model::named(connection, name).await?;
    let stages: Vec<&str> = stages.iter().map(|stage| canonical(stage)).collect::<Result<_, _>>()?;
    let mut versions = read::latest_versions(connection, &[model.model_no]).await?;
    versions.retain(|version| stages.is_empty() || stages.contains(&version.stage.as_str()));
    Ok(versions)
}

/// Moves a version to another stage; those that are there may be archived for it.
pub async fn transition(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let number = request.required("version")?;
    let asked = request.required("stage")?;
    let archive = request.boolean("archive_existing_versions")?.unwrap_or(false);
    let stage = canonical(asked)?;
    if archive && !ACTIVE.contains(&stage) {
        return Err(Problem::invalid(format!(
            "Model version transition cannot archive existing model versions because '{asked}' is not an Active \
             stage. Valid stages are ['Staging', 'Production']"
        )));
    }
    names::model(&name)?;
    let number = names::version(number)?;
    let now = store.clock.now().0;
    let moved = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let touch = "UPDATE registered_models SET last_update_time = $2 WHERE name = $1";
                sqlx::query(touch).bind(&name).bind(now).execute(&mut *connection).await?;
                let mut version = Version::numbered(connection, &name, number).await?;
                if archive {
                    sqlx::query(
                        "UPDATE model_versions SET stage = 'Archived', last_update_time = $3 \
                         WHERE model_no = $1 AND stage = $2 AND version <> $4",
                    )
                    .bind(version.model_no)
                    .bind(stage)
                    .bind(now)
                    .bind(number)
                    .execute(&mut *connection)
                    .await?;
                }
                sqlx::query(
                    "UPDATE model_versions SET stage = $2, last_update_time = $3 WHERE version_no = $1",
                )
                .bind(version.version_no)
                .bind(stage)
                .bind(now)
                .execute(&mut *connection)
                .await?;
                version.stage = stage.to_owned();
                version.last_update_time = now;
                read::version(connection, &version).await
            })
        })
        .await?;
    reply::json(&json!({ "model_version": moved }))
}
