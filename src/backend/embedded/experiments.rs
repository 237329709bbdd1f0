//! Experiments: what runs and traces belong to.
//!
//! A deleted experiment stays, with its name taken and its runs deleted along with it, until it is restored.

mod datasets;
mod delete;
mod read;
mod rules;
mod search;
mod tags;
mod write;

use std::sync::Arc;

pub(super) use self::rules::check_host;
use super::EmbeddedShared;
use super::problem::Problem;
use super::request::Request;
use crate::wire::Reply;

/// The experiment `0`, which MLflow's clients write to when they name none.
pub(super) async fn ensure_default(store: &EmbeddedShared) -> Result<(), sqlx::Error> {
    let now = store.clock.now().0;
    sqlx::query(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, \
         last_update_time) VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', $1, $1) \
         ON CONFLICT (experiment_id) DO NOTHING",
    )
    .bind(now)
    .execute(&store.database.writer)
    .await?;
    Ok(())
}

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "experiment.create" => write::create(store, &request).await,
        "experiment.get" => read::get(store, &request).await,
        "experiment.get_by_name" => read::get_by_name(store, &request).await,
        "experiment.search" | "experiment.search_get" => search::search(store, &request).await,
        "experiment.update" => write::rename(store, &request).await,
        "experiment.tag_set" => tags::set(store, &request).await,
        "experiment.tag_delete" => tags::delete(store, &request).await,
        "experiment.delete" => delete::delete(store, &request).await,
        "experiment.restore" => delete::restore(store, &request).await,
        "experiment.search_datasets" | "experiment.search_datasets_ui" => {
            datasets::search(store, &request).await
        }
        other => Err(Problem::not_offered(other)),
    }
}

fn missing(experiment: i64) -> Problem {
    Problem::missing(format!("No Experiment with id={experiment} exists"))
}

/// What a change of a deleted experiment is told.
pub(super) fn must_be_active(experiment: i64, lifecycle_stage: &str) -> Result<(), Problem> {
    if lifecycle_stage == "active" {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "The experiment {experiment} must be in the 'active' state. Current state is {lifecycle_stage}."
    )))
}

#[cfg(test)]
mod tests;
