//! Tags of runs. The tag `mlflow.runName` and the run's name follow each other, except that deleting the tag
//! leaves the name.

use std::collections::HashMap;

use sqlx::AnyConnection;

use super::row::{self, RunRow};
use super::{run_id, run_id_of_today, update};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, names, reply, rows};
use crate::wire::Reply;

pub const RUN_NAME: &str = "mlflow.runName";
const VALUE_LIMIT: usize = 8000;

/// Checks a tag, and cuts its value as MLflow does. `path` is where messages say that it lies.
pub fn checked(path: &str, key: &str, value: &str) -> Result<(String, String), Problem> {
    let path = if path.is_empty() { "key".to_owned() } else { format!("{path}.key") };
    names::check(&path, key)?;
    names::check_length(&path, names::NAME_LIMIT, key)?;
    Ok((key.to_owned(), names::cut(VALUE_LIMIT, value).to_owned()))
}

pub async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?.to_owned();
    let key = request.required("key")?;
    let tag = checked("", key, request.text("value")?.unwrap_or_default())?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                apply(connection, run, vec![tag]).await
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// Sets tags of a run; of several with one key the last stays.
pub async fn apply(
    connection: &mut AnyConnection,
    mut run: RunRow,
    tags: Vec<(String, String)>,
) -> Result<(), Problem> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut last: Vec<(String, String)> = Vec::with_capacity(tags.len());
    for (key, value) in tags {
        if key == RUN_NAME {
            // A run is never without a name.
            if !value.is_empty() {
                update::rename(connection, &mut run, value).await?;
                update::save(connection, &run).await?;
            }
        } else if let Some(place) = places.get(&key) {
            last[*place].1 = value;
        } else {
            places.insert(key.clone(), last.len());
            last.push((key, value));
        }
    }
    put(connection, run.run_no, &last).await
}

/// Writes tags with different keys.
pub async fn put(
    connection: &mut AnyConnection,
    run_no: i64,
    tags: &[(String, String)],
) -> Result<(), Problem> {
    for chunk in tags.chunks(rows::CHUNK) {
        let insert = "INSERT INTO run_tags (run_no, key, value) VALUES";
        let update = "ON CONFLICT (run_no, key) DO UPDATE SET value = excluded.value";
        let mut statement = rows::many(insert, chunk.len(), 3, update);
        for (key, value) in chunk {
            statement = statement.bind(run_no).bind(key.clone()).bind(value.clone());
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    let key = request.required("key")?.to_owned();
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                let gone = sqlx::query("DELETE FROM run_tags WHERE run_no = $1 AND key = $2")
                    .bind(run.run_no)
                    .bind(&key)
                    .execute(connection)
                    .await?;
                if gone.rows_affected() == 0 {
                    let message = format!("No tag with name: {key} in run with id {run_id}");
                    return Err(Problem::missing(message));
                }
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}
