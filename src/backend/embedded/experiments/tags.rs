//! Tags of experiments.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::rules;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

pub async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.experiment("experiment_id")?;
    let key = request.required("key")?.to_owned();
    let value = request.text("value")?.unwrap_or_default().to_owned();
    rules::check_tag(&key, &value)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                lock_active(connection, dialect, experiment).await?;
                if rules::is_custom_view(&key) {
                    check_views(connection, experiment, &key).await?;
                }
                sqlx::query(
                    "INSERT INTO experiment_tags (experiment_id, key, value) VALUES ($1, $2, $3) \
                     ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
                )
                .bind(experiment)
                .bind(key)
                .bind(value)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.experiment("experiment_id")?;
    let key = request.required("key")?.to_owned();
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                lock_active(connection, dialect, experiment).await?;
                let gone = sqlx::query("DELETE FROM experiment_tags WHERE experiment_id = $1 AND key = $2")
                    .bind(experiment)
                    .bind(&key)
                    .execute(connection)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Err(Problem::missing(format!(
                        "No tag with name: {key} in experiment with id {experiment}"
                    )));
                }
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

async fn lock_active(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment: i64,
) -> Result<(), Problem> {
    let text = format!(
        "SELECT lifecycle_stage FROM experiments WHERE experiment_id = $1{}",
        rows::for_update(dialect)
    );
    let stage: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(text)).bind(experiment).fetch_optional(connection).await?;
    super::must_be_active(experiment, &stage.ok_or_else(|| super::missing(experiment))?)
}

/// A new view must find room; one that is there already may be changed.
async fn check_views(connection: &mut AnyConnection, experiment: i64, key: &str) -> Result<(), Problem> {
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM experiment_tags WHERE experiment_id = $1")
        .bind(experiment)
        .fetch_all(connection)
        .await?;
    let views = keys.iter().filter(|known| rules::is_custom_view(known)).count();
    if views >= rules::CUSTOM_VIEWS && !keys.iter().any(|known| known == key) {
        return Err(rules::too_many_views(Some(experiment)));
    }
    Ok(())
}
