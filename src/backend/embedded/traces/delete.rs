//! Deleting traces, a few at a time, so that writers never wait long. What is gone: the rows with all that
//! hangs on them, the objects in which their spans lie, and their artifacts.

use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::Request;
use super::merge::ARTIFACT_LOCATION;
use crate::database::Dialect;
use crate::wire::Reply;

/// Traces that one transaction deletes, and spans, unless one trace has more.
const TRACES_AT_ONCE: usize = 100;
const SPANS_AT_ONCE: i64 = 5_000;

/// Which traces of an experiment go.
#[derive(Debug, Clone)]
pub(in crate::backend::embedded) enum Selection {
    Ids(Vec<String>),
    /// Those that began at this time or before it, oldest first.
    UpTo(i64),
    /// Those beyond the newest so many, oldest first.
    AllButNewest(i64),
}

pub(super) async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?;
    let experiment_id: i64 = experiment.parse().map_err(|_| {
        Problem::invalid(format!(
            "Invalid experiment ID '{experiment}'. Experiment ID must be a valid integer."
        ))
    })?;
    let ids = request.texts("request_ids")?;
    let up_to = request.integer("max_timestamp_millis")?;
    let most = request.integer("max_traces")?;
    let (selection, most) = match (up_to, most) {
        (None, _) if ids.is_empty() => {
            return Err(Problem::invalid("Either `max_timestamp_millis` or `trace_ids` must be specified."));
        }
        (Some(_), _) if !ids.is_empty() => {
            return Err(Problem::invalid(
                "Only one of `max_timestamp_millis` and `trace_ids` can be specified.",
            ));
        }
        (None, Some(_)) => {
            return Err(Problem::invalid("`max_traces` can't be specified if `trace_ids` is specified."));
        }
        (None, None) => (Selection::Ids(ids), i64::MAX),
        (Some(time), most) => (Selection::UpTo(time), most.unwrap_or(i64::MAX)),
    };
    if most <= 0 {
        return Err(Problem::invalid(format!("`max_traces` must be a positive integer, received {most}.")));
    }
    let mut deleted = 0;
    while deleted < most {
        let some = delete_some(store, experiment_id, &selection, most - deleted).await?;
        if some == 0 {
            break;
        }
        deleted += some;
    }
    reply::json(&json!({ "traces_deleted": deleted }))
}

/// Deletes some of the selected traces and answers how many; none when there are none left.
pub(in crate::backend::embedded) async fn delete_some(
    store: &EmbeddedShared,
    experiment_id: i64,
    selection: &Selection,
    most: i64,
) -> Result<i64, Problem> {
    let dialect = store.database.dialect;
    let mut connection = store.database.reader.acquire().await?;
    let chosen = choose(&mut connection, dialect, experiment_id, selection, most).await?;
    drop(connection);
    if chosen.is_empty() {
        return Ok(0);
    }
    // Before the rows: should we be interrupted, whoever deletes again finds the rest.
    for artifacts in chosen.iter().filter_map(|trace| trace.artifacts.as_deref()) {
        store.objects.delete_below(artifacts).await?;
    }
    let ids: Vec<String> = chosen.into_iter().map(|trace| trace.trace_id).collect();
    let (deleted, payloads) = store
        .writer
        .write(move |connection| {
            Box::pin(async move { delete_rows(connection, dialect, experiment_id, &ids).await })
        })
        .await?;
    for payload in payloads {
        // One that is left over is found by the sweep.
        if let Err(error) = store.objects.delete(&payload).await {
            tracing::warn!(%error, payload, "the payload of a deleted trace is still there");
        }
    }
    Ok(deleted)
}

struct Chosen {
    trace_id: String,
    /// The directory of its artifacts, if it lies where we keep them.
    artifacts: Option<String>,
}

async fn choose(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment_id: i64,
    selection: &Selection,
    most: i64,
) -> Result<Vec<Chosen>, Problem> {
    let at_once = i64::try_from(TRACES_AT_ONCE).unwrap_or(i64::MAX).min(most);
    let which = match selection {
        Selection::Ids(_) => format!("trace_id IN {}", many::texts(dialect, 2)),
        Selection::UpTo(_) => "request_time <= $2".to_owned(),
        // The newest come first in the index, so that this costs what is kept.
        Selection::AllButNewest(_) => "trace_no IN (SELECT trace_no FROM traces WHERE experiment_id = $1 \
             ORDER BY request_time DESC, trace_id LIMIT 100 OFFSET $2)"
            .to_owned(),
    };
    let sql = format!(
        "SELECT trace_id, tags, (SELECT count(*) FROM spans WHERE spans.trace_no = traces.trace_no) AS spans \
         FROM traces WHERE experiment_id = $1 AND {which} ORDER BY request_time, trace_id LIMIT $3"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(experiment_id);
    let query = match selection {
        Selection::Ids(ids) => query.bind(many::list(ids)),
        Selection::UpTo(time) => query.bind(*time),
        Selection::AllButNewest(kept) => query.bind(*kept),
    };
    let mut spans: i64 = 0;
    let mut chosen = Vec::new();
    for row in &query.bind(at_once).fetch_all(connection).await? {
        spans += row.try_get::<i64, _>("spans")?;
        if spans > SPANS_AT_ONCE && !chosen.is_empty() {
            break;
        }
        let trace_id: String = row.try_get("trace_id")?;
        let tags: Value = serde_json::from_str(row.try_get("tags")?).map_err(Problem::internal)?;
        let location = tags.get(ARTIFACT_LOCATION).and_then(Value::as_str).unwrap_or_default();
        chosen.push(Chosen { artifacts: artifact_directory(location, &trace_id), trace_id });
    }
    Ok(chosen)
}

/// The directory of a trace, of the artifacts that are kept here and are its alone.
pub(super) fn artifact_directory(location: &str, trace_id: &str) -> Option<String> {
    let path = location.strip_prefix("mlflow-artifacts:/")?.trim_start_matches('/');
    let own = path.strip_suffix("/artifacts")?;
    own.ends_with(&format!("/traces/{trace_id}")).then(|| own.to_owned())
}

/// Deletes those that are still there; answers how many, and the objects in which their spans lay.
async fn delete_rows(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment_id: i64,
    trace_ids: &[String],
) -> Result<(i64, Vec<String>), Problem> {
    super::lock(connection, dialect, trace_ids).await?;
    let ids = many::list(trace_ids);
    let sql = format!(
        "SELECT DISTINCT payload FROM spans JOIN traces ON traces.trace_no = spans.trace_no \
         WHERE experiment_id = $2 AND trace_id IN {} AND payload IS NOT NULL",
        many::texts(dialect, 1)
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(&ids).bind(experiment_id);
    let payloads: Vec<String> = query.fetch_all(&mut *connection).await?;
    let sql = format!(
        "DELETE FROM traces WHERE experiment_id = $2 AND trace_id IN {} RETURNING trace_id",
        many::texts(dialect, 1)
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(&ids).bind(experiment_id);
    let deleted: Vec<String> = query.fetch_all(connection).await?;
    Ok((i64::try_from(deleted.len()).unwrap_or(i64::MAX), payloads))
}
