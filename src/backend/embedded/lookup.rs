//! The gateway's own questions: which experiment owns a thing, and what an experiment is.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::EmbeddedShared;
use crate::access::{ExperimentId, TraceId};
use crate::backend::{BackendError, ExperimentFacts, ExperimentPage, Owned};

/// Experiments on one page.
const PAGE: i64 = 1000;

const FACTS: &str = "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments";

impl From<sqlx::Error> for BackendError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "the trace store did not answer a question of the gateway's");
        Self::Store
    }
}

/// Deleted things count, and those of deleted experiments.
pub(super) async fn owners(
    store: &EmbeddedShared,
    kind: Owned,
    id: &str,
) -> Result<Option<Vec<ExperimentId>>, BackendError> {
    let owner = match kind {
        Owned::Trace => "SELECT experiment_id FROM traces WHERE trace_id = $1",
        Owned::Run => "SELECT experiment_id FROM runs WHERE run_id = $1",
        Owned::LoggedModel => "SELECT experiment_id FROM logged_models WHERE model_id = $1",
        Owned::LabelSchema => "SELECT experiment_id FROM label_schemas WHERE schema_id = $1",
        Owned::ReviewQueue => "SELECT experiment_id FROM review_queues WHERE queue_id = $1",
        Owned::Dataset => return dataset_owners(store, id).await,
        // Not kept here: there is none with that id.
        Owned::Issue | Owned::PromptJob => return Ok(None),
    };
    let found: Option<i64> =
        sqlx::query_scalar(owner).bind(id).fetch_optional(&store.database.reader).await?;
    found.map(|number| experiment_id(number).map(|id| vec![id])).transpose()
}

async fn dataset_owners(store: &EmbeddedShared, id: &str) -> Result<Option<Vec<ExperimentId>>, BackendError> {
    let reader = &store.database.reader;
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM evaluation_datasets WHERE dataset_id = $1")
        .bind(id)
        .fetch_optional(reader)
        .await?;
    if known.is_none() {
        return Ok(None);
    }
    let owners: Vec<i64> = sqlx::query_scalar(
        "SELECT experiment_id FROM evaluation_dataset_experiments WHERE dataset_id = $1 ORDER BY experiment_id",
    )
    .bind(id)
    .fetch_all(reader)
    .await?;
    owners.into_iter().map(experiment_id).collect::<Result<_, _>>().map(Some)
}

/// The tags and metadata of a trace.
pub(super) async fn trace_marks(
    store: &EmbeddedShared,
    trace: &TraceId,
) -> Result<Vec<(String, String)>, BackendError> {
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT tags, metadata FROM traces WHERE trace_id = $1")
            .bind(trace.as_str())
            .fetch_optional(&store.database.reader)
            .await?;
    let Some((tags, metadata)) = found else { return Ok(Vec::new()) };
    let mut marks = Vec::new();
    for text in [tags, metadata] {
        let map: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|_| BackendError::Store)?;
        marks.extend(map.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))));
    }
    Ok(marks)
}

/// How many traces an experiment holds, read off the index that searches use.
pub(super) async fn held_traces(
    store: &EmbeddedShared,
    experiment: &ExperimentId,
) -> Result<u64, BackendError> {
    let Ok(number) = experiment.as_str().parse::<i64>() else { return Ok(0) };
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM traces WHERE experiment_id = $1")
        .bind(number)
        .fetch_one(&store.database.reader)
        .await?;
    u64::try_from(count).map_err(|_| BackendError::Store)
}

pub(super) async fn experiment(
    store: &EmbeddedShared,
    id: &ExperimentId,
) -> Result<Option<ExperimentFacts>, BackendError> {
    // A number that no database holds is no experiment.
    let Ok(number) = id.as_str().parse::<i64>() else { return Ok(None) };
    let row = sqlx::query(AssertSqlSafe(format!("{FACTS} WHERE experiment_id = $1")))
        .bind(number)
        .fetch_optional(&store.database.reader)
        .await?;
    row.as_ref().map(facts).transpose()
}

pub(super) async fn experiment_by_name(
    store: &EmbeddedShared,
    name: &str,
) -> Result<Option<ExperimentFacts>, BackendError> {
    let row = sqlx::query(AssertSqlSafe(format!("{FACTS} WHERE name = $1")))
        .bind(name)
        .fetch_optional(&store.database.reader)
        .await?;
    row.as_ref().map(facts).transpose()
}

/// The token is the last id of the page before.
pub(super) async fn experiments(
    store: &EmbeddedShared,
    page_token: Option<&str>,
) -> Result<ExperimentPage, BackendError> {
    let after = page_token.map_or(Ok(-1), str::parse::<i64>).map_err(|_| BackendError::Unsendable)?;
    let page = format!("{FACTS} WHERE experiment_id > $1 ORDER BY experiment_id LIMIT $2");
    let rows =
        sqlx::query(AssertSqlSafe(page)).bind(after).bind(PAGE).fetch_all(&store.database.reader).await?;
    let page: Vec<ExperimentFacts> = rows.iter().map(facts).collect::<Result<_, _>>()?;
    let full = i64::try_from(page.len()).is_ok_and(|length| length == PAGE);
    let next = page.last().filter(|_| full).map(|last| last.id.to_string());
    Ok((page, next))
}

pub(super) async fn ready(store: &EmbeddedShared) -> Result<(), BackendError> {
    sqlx::query("SELECT 1 FROM experiments LIMIT 1").fetch_optional(&store.database.reader).await?;
    Ok(())
}

fn facts(row: &AnyRow) -> Result<ExperimentFacts, BackendError> {
    Ok(ExperimentFacts {
        id: experiment_id(row.try_get(0)?)?,
        name: row.try_get(1)?,
        artifact_location: row.try_get(2)?,
        lifecycle_stage: row.try_get(3)?,
    })
}

fn experiment_id(number: i64) -> Result<ExperimentId, BackendError> {
    ExperimentId::parse(&number.to_string()).map_err(|_| BackendError::Store)
}
