//! Deleting and restoring runs. A deleted run stays; what its evaluation said of traces does not.

use super::{row, run_id_of_today};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    let now = store.clock.now().0;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock(connection, dialect, &run_id).await?;
                sqlx::query("DELETE FROM assessments WHERE run_id = $1")
                    .bind(&run_id)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = $1 WHERE run_no = $2",
                )
                .bind(now)
                .bind(run.run_no)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn restore(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let restored = sqlx::query(
                    "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_id = $1",
                )
                .bind(&run_id)
                .execute(connection)
                .await?;
                if restored.rows_affected() == 0 {
                    return Err(Problem::missing(format!("Run with id={run_id} not found")));
                }
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}
