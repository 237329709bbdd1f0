//! Deleting and restoring experiments, and with them all their runs.

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let sweep = [
        // What a run's evaluation said of traces goes with the run and does not come back.
        "DELETE FROM assessments WHERE run_id IN (SELECT run_id FROM runs WHERE experiment_id = $1)",
        "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = $2 WHERE experiment_id = $1",
    ];
    change(store, request, ("active", "deleted"), &sweep).await
}

pub async fn restore(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let sweep = ["UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE experiment_id = $1"];
    change(store, request, ("deleted", "active"), &sweep).await
}

async fn change<const N: usize>(
    store: &EmbeddedShared,
    request: &Request,
    (from, to): (&'static str, &'static str),
    sweep: &[&'static str; N],
) -> Result<Reply, Problem> {
    let experiment = request.experiment("experiment_id")?;
    let now = store.clock.now().0;
    let sweep = *sweep;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE experiments SET lifecycle_stage = $1, last_update_time = $2 \
                     WHERE experiment_id = $3 AND lifecycle_stage = $4",
                )
                .bind(to)
                .bind(now)
                .bind(experiment)
                .bind(from)
                .execute(&mut *connection)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(super::missing(experiment));
                }
                for statement in sweep {
                    let mut query = sqlx::query(statement).bind(experiment);
                    if statement.contains("$2") {
                        query = query.bind(now);
                    }
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}
