//! Experiments as MLflow's clients read them.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

/// What [`Experiment::of_row`] reads, in its order.
pub const COLUMNS: &str = "e.experiment_id, e.name, e.artifact_location, e.lifecycle_stage, \
                           e.last_update_time, e.creation_time";

#[derive(Debug, Serialize)]
pub struct Experiment {
    #[serde(serialize_with = "as_text")]
    pub experiment_id: i64,
    pub name: String,
    pub artifact_location: String,
    pub lifecycle_stage: String,
    pub last_update_time: i64,
    pub creation_time: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    workspace: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

fn as_text<S: serde::Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl Experiment {
    /// From [`COLUMNS`]; its tags come apart.
    pub fn of_row(row: &AnyRow) -> Result<Self, Problem> {
        Ok(Self {
            experiment_id: row.try_get(0)?,
            name: row.try_get(1)?,
            artifact_location: row.try_get(2)?,
            lifecycle_stage: row.try_get(3)?,
            last_update_time: row.try_get(4)?,
            creation_time: row.try_get(5)?,
            tags: Vec::new(),
            workspace: "default",
        })
    }
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.experiment("experiment_id")?;
    match find(store, "e.experiment_id", |query| query.bind(experiment)).await? {
        Some(found) => reply::json(&json!({ "experiment": found })),
        None => Err(super::missing(experiment)),
    }
}

pub async fn get_by_name(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("experiment_name")?;
    match find(store, "e.name", |query| query.bind(name)).await? {
        Some(found) => reply::json(&json!({ "experiment": found })),
        None => Err(Problem::missing(format!("Could not find experiment with name '{name}'"))),
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// The experiment and its tags in one statement, so that both are of one moment.
async fn find<'q>(
    store: &EmbeddedShared,
    column: &str,
    bind: impl FnOnce(Query<'q>) -> Query<'q>,
) -> Result<Option<Experiment>, Problem> {
    let text = format!(
        "SELECT {COLUMNS}, t.key, t.value FROM experiments e \
         LEFT JOIN experiment_tags t ON t.experiment_id = e.experiment_id WHERE {column} = $1 ORDER BY t.key"
    );
    let found = bind(sqlx::query(AssertSqlSafe(text))).fetch_all(&store.database.reader).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let mut experiment = Experiment::of_row(first)?;
    for row in &found {
        if let Some(key) = row.try_get(6)? {
            experiment.tags.push(Tag { key, value: row.try_get(7)? });
        }
    }
    Ok(Some(experiment))
}

/// Gives experiments their tags, with one statement for all.
pub async fn load_tags(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiments: &mut [Experiment],
) -> Result<(), Problem> {
    let numbers: Vec<i64> = experiments.iter().map(|experiment| experiment.experiment_id).collect();
    let places: HashMap<i64, usize> = numbers.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let text = format!(
        "SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id IN {} \
         ORDER BY experiment_id, key",
        rows::numbers_of(dialect, "$1")
    );
    let tags =
        sqlx::query(AssertSqlSafe(text)).bind(json!(numbers).to_string()).fetch_all(connection).await?;
    for row in tags {
        if let Some(place) = places.get(&row.try_get::<i64, _>(0)?) {
            experiments[*place].tags.push(Tag { key: row.try_get(1)?, value: row.try_get(2)? });
        }
    }
    Ok(())
}
