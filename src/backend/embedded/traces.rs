//! Traces: what is known of each ([`info`]), how what several requests say of one becomes one ([`merge`]),
//! and the operations on them. Their spans are read by [`read`]; they come by OTLP.

mod artifact;
pub(super) mod delete;
pub(super) mod info;
mod links;
pub(super) mod merge;
mod read;
pub(super) mod retention;
pub(super) mod start;
mod start_v2;
pub(super) mod state;
pub(super) mod sweep;
pub(super) mod tags;
#[cfg(test)]
mod tests;
pub(super) mod usage;

use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe};

use self::info::TraceRow;
pub(super) use self::links::link_to_run;
use super::EmbeddedShared;
use super::many;
use super::problem::Problem;
use super::reply;
use super::request::{Request, missing};
use crate::database::Dialect;
use crate::wire::Reply;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    match request.operation.as_str() {
        "trace.start_v3" => start::answer(store, &request).await,
        "trace.start_v2" => start_v2::start(store, &request).await,
        "trace.end" => start_v2::end(store, &request).await,
        "trace.tag_set" | "trace.tag_set_v2" => tags::set(store, &request).await,
        "trace.tag_delete" | "trace.tag_delete_v2" => tags::delete(store, &request).await,
        "trace.link_run" => links::runs(store, &request).await,
        "trace.link_prompts" => links::prompts(store, &request).await,
        "trace.delete" | "trace.delete_v2" => delete::answer(store, &request).await,
        "trace.info" => info_v3(store, request.param("trace_id")).await,
        "trace.info_v2" => info_v2(store, request.param("request_id")).await,
        "trace.batch_info" => batch_info(store, &request).await,
        "trace.get" => read::get(store, &request).await,
        "trace.batch_get" => read::batch_get(store, &request).await,
        "trace.artifact" | "trace.artifact_v2" => artifact::answer(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

/// What waits for the end of the transaction: nobody else changes these traces meanwhile, on any replica.
/// SQLite has one writer anyway.
pub(super) async fn lock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_ids: &[String],
) -> Result<(), Problem> {
    if dialect == Dialect::Postgres {
        // In one order everywhere, so that none waits for one that waits for it.
        sqlx::query(
            "SELECT count(pg_advisory_xact_lock(key)) FROM (SELECT DISTINCT hashtextextended(id, 0) AS key \
             FROM json_array_elements_text(CAST($1 AS json)) AS ids (id) ORDER BY 1) AS keys",
        )
        .bind(many::list(trace_ids))
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Our number of a trace, if it exists.
pub(super) async fn number_of(
    connection: &mut AnyConnection,
    trace_id: &str,
) -> Result<Option<i64>, Problem> {
    let found = sqlx::query_scalar("SELECT trace_no FROM traces WHERE trace_id = $1").bind(trace_id);
    Ok(found.fetch_optional(connection).await?)
}

pub(super) fn not_found(trace_id: &str) -> Problem {
    Problem::missing(format!("Trace with ID '{trace_id}' not found."))
}

async fn row(store: &EmbeddedShared, trace_id: &str) -> Result<Option<TraceRow>, Problem> {
    let sql = format!("SELECT {} FROM traces WHERE trace_id = $1", info::COLUMNS);
    let found = sqlx::query(AssertSqlSafe(sql)).bind(trace_id).fetch_optional(&store.database.reader).await?;
    Ok(found.as_ref().map(TraceRow::read).transpose()?)
}

/// The traces of a list of ids that exist, in its order, each once; of some experiments only if such are
/// given.
async fn rows(
    store: &EmbeddedShared,
    trace_ids: &[String],
    experiments: Option<&[i64]>,
) -> Result<Vec<TraceRow>, Problem> {
    let dialect = store.database.dialect;
    let mut sql =
        format!("SELECT {} FROM traces WHERE trace_id IN {}", info::COLUMNS, many::texts(dialect, 1));
    if experiments.is_some() {
        sql.push_str(&format!(" AND experiment_id IN {}", many::integers(dialect, 2)));
    }
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(many::list(trace_ids));
    if let Some(experiments) = experiments {
        query = query.bind(many::list(experiments));
    }
    let mut found: std::collections::HashMap<String, TraceRow> = std::collections::HashMap::new();
    for row in &query.fetch_all(&store.database.reader).await? {
        let row = TraceRow::read(row)?;
        found.insert(row.trace_id.clone(), row);
    }
    Ok(trace_ids.iter().filter_map(|id| found.remove(id)).collect())
}

async fn info_v3(store: &EmbeddedShared, trace_id: &str) -> Result<Reply, Problem> {
    let row = row(store, trace_id).await?.ok_or_else(|| not_found(trace_id))?;
    let infos = info::v3(store, &[row]).await?;
    Ok(reply::json_text(format!("{{\"trace\":{{\"trace_info\":{}}}}}", infos.concat())))
}

async fn info_v2(store: &EmbeddedShared, trace_id: &str) -> Result<Reply, Problem> {
    let row = row(store, trace_id).await?.ok_or_else(|| not_found(trace_id))?;
    Ok(reply::json_text(format!("{{\"trace_info\":{}}}", info::v2(&row)?)))
}

/// The parameters of both batches: the traces, and the experiments that they must belong to, if any.
fn batch(request: &Request) -> Result<(Vec<String>, Option<Vec<i64>>), Problem> {
    let trace_ids = request.texts("trace_ids")?;
    if trace_ids.is_empty() {
        return Err(missing("trace_ids"));
    }
    let experiments = request.texts("experiment_ids")?;
    let given = request.json.contains_key("experiment_ids") || !experiments.is_empty();
    let numbers =
        experiments.iter().map(|text| super::request::experiment_number(text)).collect::<Result<_, _>>()?;
    Ok((trace_ids, given.then_some(numbers)))
}

async fn batch_info(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (trace_ids, experiments) = batch(request)?;
    let rows = rows(store, &trace_ids, experiments.as_deref()).await?;
    if rows.is_empty() {
        return Ok(reply::empty_object());
    }
    let infos = info::v3(store, &rows).await?;
    Ok(reply::json_text(format!("{{\"trace_infos\":[{}]}}", infos.join(","))))
}
