//! To be written: experiments.

use std::sync::Arc;

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

pub(super) async fn answer(_store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    Err(Problem::not_offered(&request.operation))
}
