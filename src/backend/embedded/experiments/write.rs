//! Making and renaming experiments.

use serde_json::json;
use sqlx::AnyConnection;

use super::rules;
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, entries, reply, rows};
use crate::wire::Reply;

pub async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let location = request.text("artifact_location")?.unwrap_or_default().to_owned();
    let tags = entries::pairs(request, "tags")?;
    if tags.iter().filter(|(key, _)| rules::is_custom_view(key)).count() > rules::CUSTOM_VIEWS {
        return Err(rules::too_many_views(None));
    }
    if !location.is_empty() {
        rules::check_location(&location)?;
    }
    rules::check_name(&name)?;
    for (key, value) in &tags {
        rules::check_tag(key, value)?;
    }
    if let Some(key) = entries::doubled(&tags) {
        return Err(Problem::exists(format!("tag '{key}' is given twice")));
    }
    let now = store.clock.now().0;
    let experiment = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let experiment = insert(connection, &name, &location, now).await?;
                insert_tags(connection, experiment, tags).await?;
                Ok(experiment)
            })
        })
        .await?;
    reply::json(&json!({ "experiment_id": experiment.to_string() }))
}

async fn insert(
    connection: &mut AnyConnection,
    name: &str,
    location: &str,
    now: i64,
) -> Result<i64, Problem> {
    let made: Option<i64> = sqlx::query_scalar(
        // Looked for first: on PostgreSQL an insert takes a number even if it inserts nothing.
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time) \
         SELECT $1, $2, 'active', $3, $3 WHERE NOT EXISTS (SELECT 1 FROM experiments WHERE name = $1) \
         ON CONFLICT (name) DO NOTHING RETURNING experiment_id",
    )
    .bind(name)
    .bind(location)
    .bind(now)
    .fetch_optional(&mut *connection)
    .await?;
    let experiment =
        made.ok_or_else(|| Problem::exists(format!("Experiment(name={name}) already exists.")))?;
    if location.is_empty() {
        sqlx::query("UPDATE experiments SET artifact_location = $1 WHERE experiment_id = $2")
            .bind(format!("mlflow-artifacts:/{experiment}"))
            .bind(experiment)
            .execute(connection)
            .await?;
    }
    Ok(experiment)
}

async fn insert_tags(
    connection: &mut AnyConnection,
    experiment: i64,
    tags: Vec<(String, String)>,
) -> Result<(), Problem> {
    for chunk in tags.chunks(rows::CHUNK) {
        let insert = "INSERT INTO experiment_tags (experiment_id, key, value) VALUES";
        let mut statement = rows::many(insert, chunk.len(), 3, "");
        for (key, value) in chunk {
            statement = statement.bind(experiment).bind(key.clone()).bind(value.clone());
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

pub async fn rename(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.experiment("experiment_id")?;
    let name = request.required("new_name")?.to_owned();
    rules::check_name(&name)?;
    let now = store.clock.now().0;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move { rename_active(connection, experiment, &name, now).await })
        })
        .await?;
    Ok(reply::empty_object())
}

async fn rename_active(
    connection: &mut AnyConnection,
    experiment: i64,
    name: &str,
    now: i64,
) -> Result<(), Problem> {
    let renamed = sqlx::query(
        "UPDATE experiments SET name = $1, last_update_time = $2 \
         WHERE experiment_id = $3 AND lifecycle_stage = 'active'",
    )
    .bind(name)
    .bind(now)
    .bind(experiment)
    .execute(&mut *connection)
    .await
    .map_err(|error| name_taken(name, error))?;
    if renamed.rows_affected() > 0 {
        return Ok(());
    }
    let known: Option<i64> =
        sqlx::query_scalar("SELECT experiment_id FROM experiments WHERE experiment_id = $1")
            .bind(experiment)
            .fetch_optional(connection)
            .await?;
    Err(match known {
        Some(_) => Problem::new(Code::InvalidState, "Cannot rename a non-active experiment."),
        None => super::missing(experiment),
    })
}

fn name_taken(name: &str, error: sqlx::Error) -> Problem {
    if error.as_database_error().is_some_and(|refusal| refusal.is_unique_violation()) {
        return Problem::new(Code::BadRequest, format!("Experiment(name={name}) already exists."));
    }
    error.into()
}
