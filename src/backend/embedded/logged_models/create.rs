//! A new logged model.

use sqlx::AnyConnection;
use uuid::Uuid;

use super::super::pairs::Pair;
use super::super::problem::{Code, Problem};
use super::super::request::{Request, experiment_number};
use super::super::runs::create::{artifact_root, below};
use super::super::runs::random_names;
use super::super::{EmbeddedShared, entries, names, python, reply};
use super::read::{self, Row};
use super::{PARAMS, TAGS};
use crate::database::Dialect;
use crate::wire::Reply;

const PENDING: i64 = 1;
/// Longest key of a tag or parameter, in characters: what an index of PostgreSQL surely takes.
const KEY: usize = 500;

pub async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let text = |name: &str| request.text(name).map(|text| text.unwrap_or_default().to_owned());
    let experiment = request.required("experiment_id")?;
    let name = text("name")?;
    let model_type = text("model_type")?;
    let source_run_id = text("source_run_id")?;
    let params = once_each(entries::pairs(request, "params")?, "params")?;
    let tags = once_each(entries::pairs(request, "tags")?, "tags")?;
    check_name(&name)?;
    let name = if name.is_empty() { random_names::pick() } else { name };
    let now = store.clock.now().0;
    let model_id = format!("m-{}", Uuid::new_v4().simple());
    let row = Row {
        model_no: 0,
        model_id,
        experiment_id: experiment_number(experiment)?,
        name,
        artifact_location: String::new(),
        creation_time: now,
        last_update_time: now,
        status: PENDING,
        model_type,
        source_run_id,
    };
    let dialect = store.database.dialect;
    let made = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let row = insert(connection, dialect, row).await?;
                PARAMS.put(connection, row.model_no, &params).await?;
                TAGS.put(connection, row.model_no, &tags).await?;
                read::one(connection, &row).await
            })
        })
        .await?;
    reply::json(&made)
}

async fn insert(connection: &mut AnyConnection, dialect: Dialect, mut row: Row) -> Result<Row, Problem> {
    let root = artifact_root(connection, dialect, row.experiment_id).await?;
    row.artifact_location = below(&root, &format!("models/{}/artifacts", row.model_id));
    row.model_no = sqlx::query_scalar(
        "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_time, \
         last_update_time, status, lifecycle_stage, model_type, source_run_id) \
         VALUES ($1, $2, $3, $4, $5, $5, $6, 'active', $7, $8) RETURNING model_no",
    )
    .bind(&row.model_id)
    .bind(row.experiment_id)
    .bind(&row.name)
    .bind(&row.artifact_location)
    .bind(row.creation_time)
    .bind(row.status)
    .bind(&row.model_type)
    .bind(&row.source_run_id)
    .fetch_one(connection)
    .await?;
    Ok(row)
}

fn check_name(name: &str) -> Result<(), Problem> {
    if !name.contains(['/', ':', '.', '%', '"', '\'']) {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the following \
         characters: ('/', ':', '.', '%', '\"', \"'\")",
        python::repr(name)
    )))
}

/// Refuses a key that is there twice, or is too long for an index.
pub fn once_each(pairs: Vec<Pair>, list: &str) -> Result<Vec<Pair>, Problem> {
    for (key, _) in &pairs {
        names::check_length("key", KEY, key)?;
    }
    match entries::doubled(&pairs) {
        Some(key) => Err(Problem::new(
            Code::BadRequest,
            format!("Duplicate keys in '{list}': {} is there more than once", python::repr(key)),
        )),
        None => Ok(pairs),
    }
}
