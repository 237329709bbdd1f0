//! The experiments that a dataset belongs to.

use std::collections::HashSet;

use serde_json::json;
use sqlx::{AnyConnection, Row as _};

use super::{one, touch};
use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::Query;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::database::Dialect;
use crate::wire::Reply;

pub(super) async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let mut ids: Vec<String> = Vec::new();
    let rows = sqlx::query(
        "SELECT experiment_id FROM evaluation_dataset_experiments WHERE dataset_id = $1 \
         ORDER BY created_time, experiment_id",
    )
    .bind(request.param("dataset_id"))
    .fetch_all(&store.database.reader)
    .await?;
    for row in rows {
        ids.push(row.try_get::<i64, _>(0)?.to_string());
    }
    if ids.is_empty() { Ok(reply::empty_object()) } else { reply::json(&json!({ "experiment_ids": ids })) }
}

pub(super) async fn add(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (id, experiments) = named(request)?;
    let (now, dialect) = (store.clock.now().0, store.database.dialect);
    let dataset = id.clone();
    let added = store.writer.write(move |connection| {
        Box::pin(async move {
            check(connection, &id).await?;
            link(connection, dialect, &id, &experiments, now).await?;
            touch(connection, &id, now).await
        })
    });
    added.await?;
    answer(store, &dataset).await
}

pub(super) async fn remove(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (id, experiments) = named(request)?;
    // What is no number is no experiment of the dataset's.
    let numbers: Vec<i64> = experiments.iter().filter_map(|id| id.parse().ok()).collect();
    let (now, dialect) = (store.clock.now().0, store.database.dialect);
    let dataset = id.clone();
    let removed = store.writer.write(move |connection| {
        Box::pin(async move {
            check(connection, &id).await?;
            if numbers.is_empty() {
                return Ok(());
            }
            let mut query =
                Query::new(dialect, "DELETE FROM evaluation_dataset_experiments WHERE dataset_id = ");
            query.bind(id.as_str()).push(" AND experiment_id IN ").bind_all(numbers);
            query.push(" RETURNING experiment_id");
            if !query.fetch_all(&mut *connection).await?.is_empty() {
                touch(connection, &id, now).await?;
            }
            Ok(())
        })
    });
    removed.await?;
    answer(store, &dataset).await
}

fn named(request: &Request) -> Result<(String, Vec<String>), Problem> {
    Ok((request.param("dataset_id").to_owned(), request.texts("experiment_ids")?))
}

async fn answer(store: &EmbeddedShared, id: &str) -> Result<Reply, Problem> {
    let dataset = one(store, id).await?.ok_or_else(|| absent(id))?;
    reply::json(&json!({ "dataset": dataset }))
}

async fn check(connection: &mut AnyConnection, id: &str) -> Result<(), Problem> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM evaluation_datasets WHERE dataset_id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    known.map(|_| ()).ok_or_else(|| absent(id))
}

fn absent(id: &str) -> Problem {
    Problem::missing(format!("Dataset '{id}' not found"))
}

/// Adds a dataset to experiments, all of which must be there; deleted ones count.
pub(super) async fn link(
    connection: &mut AnyConnection,
    dialect: Dialect,
    dataset: &str,
    experiments: &[String],
    now: i64,
) -> Result<(), Problem> {
    if experiments.is_empty() {
        return Ok(());
    }
    let mut numbers = Vec::new();
    for id in experiments {
        let number = evaluation::experiment_number(id);
        numbers.push(number.map_err(|_| Problem::missing(format!("No Experiment with id={id}")))?);
    }
    let mut query = Query::new(dialect, "SELECT experiment_id FROM experiments WHERE experiment_id IN ");
    query.bind_all(numbers.iter().copied());
    let mut known = HashSet::new();
    for row in query.fetch_all(&mut *connection).await? {
        known.insert(row.try_get::<i64, _>(0)?);
    }
    if let Some(missing) = numbers.iter().find(|number| !known.contains(number)) {
        return Err(Problem::missing(format!("No Experiment with id={missing}")));
    }
    let into = "INSERT INTO evaluation_dataset_experiments (dataset_id, experiment_id, created_time) VALUES ";
    let mut query = Query::new(dialect, into);
    for (index, number) in known.into_iter().enumerate() {
        query.push(if index > 0 { ", (" } else { "(" });
        query.bind(dataset).push(", ").bind(number).push(", ").bind(now).push(")");
    }
    query.push(" ON CONFLICT (dataset_id, experiment_id) DO NOTHING");
    query.fetch_all(connection).await.map(|_| ())
}
