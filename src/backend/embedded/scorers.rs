//! Scorers: what evaluates traces, as clients have serialized it. The store keeps and versions them; it never
//! runs one.

mod online;
mod serialized;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::EmbeddedShared;
use super::evaluation;
use super::filter::Query;
use super::problem::Problem;
use super::python;
use super::reply;
use super::request::Request;
use super::rows;
use crate::wire::Reply;

/// What is read of a version, of `scorers s` and `scorer_versions v`.
const VERSION: &str = "SELECT s.experiment_id, s.name, v.version, v.serialized, v.creation_time, s.scorer_id FROM scorers s \
     JOIN scorer_versions v ON v.scorer_id = s.scorer_id";
/// Only the last version of each.
const LATEST: &str =
    "v.version = (SELECT MAX(w.version) FROM scorer_versions w WHERE w.scorer_id = s.scorer_id)";

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "scorer.register" => register(store, &request).await,
        "scorer.list" => list(store, &request).await,
        "scorer.versions" => versions(store, &request).await,
        "scorer.get" => get(store, &request).await,
        "scorer.delete" => delete(store, &request).await,
        "scorer.online_configs" => online::list(store, &request).await,
        "scorer.online_config" => online::set(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

async fn register(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let name = request.required("name")?.to_owned();
    let text = request.required("serialized_scorer")?.to_owned();
    let parsed = serialized::checked(&text)?;
    if name.trim().is_empty() {
        return Err(Problem::invalid("Scorer name cannot be empty or contain only whitespace."));
    }
    let now = store.clock.now().0;
    let lock = rows::for_update(store.database.dialect);
    let registered = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::active(&mut *connection, &experiment).await?;
            serialized::check_model(&parsed)?;
            sqlx::query(
                "INSERT INTO scorers (scorer_id, experiment_id, name) VALUES ($1, $2, $3) \
                 ON CONFLICT (experiment_id, name) DO NOTHING",
            )
            .bind(Uuid::new_v4().to_string())
            .bind(number)
            .bind(&name)
            .execute(&mut *connection)
            .await?;
            let known = format!("SELECT scorer_id FROM scorers WHERE experiment_id = $1 AND name = $2{lock}");
            let scorer: String = sqlx::query_scalar(AssertSqlSafe(known))
                .bind(number)
                .bind(&name)
                .fetch_one(&mut *connection)
                .await?;
            let version: i64 = sqlx::query_scalar(
                "SELECT COALESCE(MAX(version), 0) + 1 FROM scorer_versions WHERE scorer_id = $1",
            )
            .bind(&scorer)
            .fetch_one(&mut *connection)
            .await?;
            sqlx::query(
                "INSERT INTO scorer_versions (scorer_id, version, serialized, creation_time) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(&scorer)
            .bind(version)
            .bind(&text)
            .bind(now)
            .execute(connection)
            .await?;
            Ok(json!({
                "version": version,
                "scorer_id": scorer,
                "experiment_id": number.to_string(),
                "name": name,
                "serialized_scorer": text,
                "creation_time": now,
            }))
        })
    });
    reply::json(&registered.await?)
}

/// The last version of each scorer of the named experiments, or of all.
async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let one = request.text("experiment_id")?.filter(|id| !id.is_empty());
    let several = request.texts("experiment_ids")?;
    if one.is_some() && !several.is_empty() {
        return Err(Problem::invalid(
            "Cannot specify both 'experiment_id' and 'experiment_ids'. Use 'experiment_ids' to scope the query to \
             multiple experiments, or 'experiment_id' to scope it to a single experiment.",
        ));
    }
    let mut query = Query::new(store.database.dialect, VERSION);
    query.push(" JOIN experiments e ON e.experiment_id = s.experiment_id WHERE ").push(LATEST);
    query.push(" AND e.lifecycle_stage = 'active'");
    if let Some(id) = one {
        let number = evaluation::active(&store.database.reader, id).await?;
        query.push(" AND s.experiment_id = ").bind(number);
    } else if !several.is_empty() {
        let numbers: Vec<i64> =
            several.iter().map(|id| evaluation::experiment_number(id)).collect::<Result<_, _>>()?;
        query.push(" AND s.experiment_id IN ").bind_all(numbers);
    }
    query.push(" ORDER BY s.experiment_id, s.name");
    let rows = query.fetch_all(&store.database.reader).await?;
    scorers(rows.iter().map(|row| shown(row, true)))
}

async fn versions(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (experiment, name) = (request.required("experiment_id")?, request.required("name")?);
    let number = evaluation::active(&store.database.reader, experiment).await?;
    let all = format!("{VERSION} WHERE s.experiment_id = $1 AND s.name = $2 ORDER BY v.version");
    let rows =
        sqlx::query(AssertSqlSafe(all)).bind(number).bind(name).fetch_all(&store.database.reader).await?;
    if rows.is_empty() {
        return Err(absent(name, None, experiment));
    }
    scorers(rows.iter().map(|row| shown(row, true)))
}

async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (experiment, name) = (request.required("experiment_id")?, request.required("name")?);
    let version = request.integer("version")?;
    let number = evaluation::active(&store.database.reader, experiment).await?;
    let known = scorer_id(&store.database.reader, number, name).await?;
    let scorer = known.ok_or_else(|| absent(name, None, experiment))?;
    let which = if version.is_some() { "v.version = $2" } else { "v.version > $2" };
    let one = format!("{VERSION} WHERE s.scorer_id = $1 AND {which} ORDER BY v.version DESC LIMIT 1");
    let row = sqlx::query(AssertSqlSafe(one))
        .bind(scorer)
        .bind(version.unwrap_or_default())
        .fetch_optional(&store.database.reader)
        .await?;
    let row = row.ok_or_else(|| absent(name, version, experiment))?;
    reply::json(&json!({ "scorer": shown(&row, false)? }))
}

/// Deletes a version, or the scorer with all of them. A scorer whose last version was deleted keeps its id.
async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let name = request.required("name")?.to_owned();
    let version = request.integer("version")?;
    let delete = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::active(&mut *connection, &experiment).await?;
            let known = scorer_id(&mut *connection, number, &name).await?;
            let scorer = known.ok_or_else(|| absent(&name, None, &experiment))?;
            let deleted = delete_versions(&mut *connection, &scorer, version).await?;
            if deleted == 0 {
                return Err(absent(&name, version, &experiment));
            }
            if version.is_none() {
                sqlx::query("DELETE FROM scorers WHERE scorer_id = $1")
                    .bind(&scorer)
                    .execute(connection)
                    .await?;
            }
            Ok(())
        })
    });
    delete.await?;
    Ok(reply::empty_object())
}

async fn delete_versions(
    connection: &mut AnyConnection,
    scorer: &str,
    version: Option<i64>,
) -> Result<u64, Problem> {
    let deleted = match version {
        Some(version) => {
            sqlx::query("DELETE FROM scorer_versions WHERE scorer_id = $1 AND version = $2")
                .bind(scorer)
                .bind(version)
                .execute(connection)
                .await?
        }
        None => {
            sqlx::query("DELETE FROM scorer_versions WHERE scorer_id = $1")
                .bind(scorer)
                .execute(connection)
                .await?
        }
    };
    Ok(deleted.rows_affected())
}

async fn scorer_id<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    experiment: i64,
    name: &str,
) -> Result<Option<String>, Problem> {
    let known = sqlx::query_scalar("SELECT scorer_id FROM scorers WHERE experiment_id = $1 AND name = $2")
        .bind(experiment)
        .bind(name)
        .fetch_optional(executor)
        .await?;
    Ok(known)
}

fn absent(name: &str, version: Option<i64>, experiment: &str) -> Problem {
    let version = version.map(|version| format!(" and version {version}")).unwrap_or_default();
    Problem::missing(format!("Scorer with name '{name}'{version} not found for experiment {experiment}."))
}

fn scorers(shown: impl Iterator<Item = Result<Value, Problem>>) -> Result<Reply, Problem> {
    let scorers: Vec<Value> = shown.collect::<Result<_, _>>()?;
    if scorers.is_empty() { Ok(reply::empty_object()) } else { reply::json(&json!({ "scorers": scorers })) }
}

/// Lists show the text as Python writes it anew; a single scorer is shown as it was registered.
fn shown(row: &AnyRow, anew: bool) -> Result<Value, Problem> {
    let mut text: String = row.try_get(3)?;
    if anew && let Ok(parsed) = serde_json::from_str::<Map<String, Value>>(&text) {
        text = python::json_spaced(&Value::Object(parsed));
    }
    Ok(json!({
        "experiment_id": row.try_get::<i64, _>(0)?,
        "scorer_name": row.try_get::<String, _>(1)?,
        "scorer_version": row.try_get::<i64, _>(2)?,
        "serialized_scorer": text,
        "creation_time": row.try_get::<i64, _>(4)?,
        "scorer_id": row.try_get::<String, _>(5)?,
    }))
}

#[cfg(test)]
mod tests;
