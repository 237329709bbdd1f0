//! Evaluation datasets: inputs, what is expected of them, and where they came from. A dataset belongs to the
//! experiments that it was added to, or to none.
//!
//! `tags`, `schema`, `profile` and `records` are texts that hold JSON, as MLflow's clients read them.

mod experiments;
mod merge;
mod records;
mod schema;
mod search;
mod tags;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use uuid::Uuid;

use self::tags::Tags;
use super::EmbeddedShared;
use super::problem::Problem;
use super::reply;
use super::request::Request;
use crate::wire::Reply;

/// Who made or changed something, as MLflow's clients say it.
const USER: &str = "mlflow.user";

const COLUMNS: &str = "SELECT d.dataset_id, d.name, d.schema, d.profile, d.digest, d.created_time, \
                       d.last_update_time, d.created_by, d.last_updated_by";

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "dataset.create" => create(store, &request).await,
        "dataset.search" | "dataset.search_get" => search::search(store, &request).await,
        "dataset.get" => get(store, &request).await,
        "dataset.delete" => delete(store, &request).await,
        "dataset.tag_set" => tags::set(store, &request).await,
        "dataset.tag_delete" => tags::delete(store, &request).await,
        "dataset.experiment_ids" => experiments::list(store, &request).await,
        "dataset.experiment_add" => experiments::add(store, &request).await,
        "dataset.experiment_remove" => experiments::remove(store, &request).await,
        "dataset.records" => records::list(store, &request).await,
        "dataset.record_upsert" => records::upsert(store, &request).await,
        "dataset.record_delete" => records::delete(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let experiments = request.texts("experiment_ids")?;
    let tags = match request.text("tags")?.filter(|text| !text.is_empty()) {
        Some(text) => Tags::parse(text)?,
        None => Tags::default(),
    };
    let (now, dialect) = (store.clock.now().0, store.database.dialect);
    let created = store.writer.write(move |connection| {
        Box::pin(async move {
            let id = format!("d-{}", Uuid::new_v4().simple());
            let user = tags.get(USER).map(str::to_owned);
            sqlx::query(
                "INSERT INTO evaluation_datasets (dataset_id, name, digest, records, created_time, \
                 last_update_time, created_by, last_updated_by) VALUES ($1, $2, $3, 0, $4, $4, $5, $5)",
            )
            .bind(&id)
            .bind(&name)
            .bind(digest(&name, now))
            .bind(now)
            .bind(user)
            .execute(&mut *connection)
            .await?;
            tags.write(connection, &id).await?;
            experiments::link(connection, dialect, &id, &experiments, now).await?;
            Ok((id, experiments))
        })
    });
    let (id, experiments) = created.await?;
    let mut dataset = one(store, &id).await?.ok_or_else(|| absent(&id))?;
    if !experiments.is_empty() {
        dataset.insert("experiment_ids".to_owned(), json!(experiments));
    }
    reply::json(&json!({ "dataset": dataset }))
}

async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.param("dataset_id");
    let dataset = one(store, id).await?.ok_or_else(|| absent(id))?;
    reply::json(&json!({ "dataset": dataset }))
}

/// One that is not there is deleted already.
async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.param("dataset_id").to_owned();
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            sqlx::query("DELETE FROM evaluation_datasets WHERE dataset_id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    deleted.await?;
    Ok(reply::empty_object())
}

/// Says that a dataset has changed, and in which state it is now.
async fn touch(connection: &mut AnyConnection, id: &str, now: i64) -> Result<(), Problem> {
    sqlx::query("UPDATE evaluation_datasets SET last_update_time = $2 WHERE dataset_id = $1")
        .bind(id)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Another one for every state that has another content.
fn digest(name: &str, last_update_time: i64) -> String {
    hex::encode(Sha256::digest(format!("{name}:{last_update_time}")))[..8].to_owned()
}

async fn one(store: &EmbeddedShared, id: &str) -> Result<Option<Map<String, Value>>, Problem> {
    let row =
        sqlx::query(AssertSqlSafe(format!("{COLUMNS} FROM evaluation_datasets d WHERE d.dataset_id = $1")))
            .bind(id)
            .fetch_optional(&store.database.reader)
            .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(shown(store, &[row]).await?.pop())
}

fn absent(id: &str) -> Problem {
    Problem::missing(format!("Evaluation dataset with id '{id}' not found"))
}

/// Datasets with their tags, which are read for all of them at once.
async fn shown(store: &EmbeddedShared, rows: &[AnyRow]) -> Result<Vec<Map<String, Value>>, Problem> {
    let mut ids: Vec<String> = Vec::new();
    for row in rows {
        ids.push(row.try_get(0)?);
    }
    let mut all = tags::of(store, &ids).await?;
    let mut datasets = Vec::new();
    for (row, id) in rows.iter().zip(ids) {
        let mut dataset = Map::new();
        let mut put = |name: &str, value: Value| dataset.insert(name.to_owned(), value);
        let tags = all.remove(&id).unwrap_or_default();
        put("dataset_id", Value::String(id));
        put("name", json!(row.try_get::<String, _>(1)?));
        put("tags", Value::String(tags.to_text()));
        for (name, index) in [("schema", 2), ("profile", 3), ("digest", 4)] {
            if let Some(text) = row.try_get::<Option<String>, _>(index)? {
                put(name, Value::String(text));
            }
        }
        put("created_time", json!(row.try_get::<i64, _>(5)?));
        put("last_update_time", json!(row.try_get::<i64, _>(6)?));
        for (name, index) in [("created_by", 7), ("last_updated_by", 8)] {
            if let Some(text) = row.try_get::<Option<String>, _>(index)? {
                put(name, Value::String(text));
            }
        }
        datasets.push(dataset);
    }
    Ok(datasets)
}

#[cfg(test)]
mod tests;
