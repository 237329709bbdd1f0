//! SQL over HTTP: the Statement Execution API and the one warehouse that it runs on, as databricks-sdk calls them.

mod answer;
mod commands;
mod failure;
mod governor;
mod result;
mod statements;
mod system;
mod warehouses;

pub(super) use governor::{Governor, function_of};

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Map, Value};

use crate::lake::sql::{self as engine, Defaults, Parameter, Query, QueryLimits, SqlError};
use crate::policy::Permit;
use crate::wire::Reply;

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match call.operation.name.as_str() {
        "sql.warehouse.list" => warehouses::list(call),
        "sql.warehouse.get" => warehouses::get(call),
        "sql.warehouse.start" => warehouses::start(call),
        "sql.warehouse.stop" => warehouses::stop(call),
        "sql.statement.execute" => statements::execute(call, trail).await,
        "sql.statement.get" => statements::get(call, trail).await,
        "sql.statement.chunk" => statements::chunk(call, trail).await,
        "sql.statement.data" => statements::data(call, trail).await,
        "sql.statement.cancel" => statements::cancel(call),
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// Runs a statement of ours for the caller of another API, under the rules of every table; its rows as JSON. More than
/// `most` bytes of them are refused.
pub(super) async fn rows(
    call: &Call<'_>,
    permit: &Permit,
    statement: &str,
    parameters: &[Parameter],
    most: u64,
) -> Result<Vec<Map<String, Value>>, Refusal> {
    let config = &call.app.config.lake;
    let limits = QueryLimits {
        memory_bytes: config.query_memory_bytes,
        time: Duration::from_secs(config.query_seconds),
        rows: None,
        bytes: None,
    };
    let query = Query { text: statement.to_owned() };
    let defaults = Defaults::default();
    let mut attempts = 0;
    let mut rows = loop {
        attempts += 1;
        let governor = Arc::new(Governor::new(call.app, call.caller)?);
        let asks: Arc<dyn engine::Governor> = Arc::clone(&governor) as _;
        match call.app.lake.run(permit, &query, parameters, &defaults, asks, &limits).await {
            Err(_) if governor.has_moved() && attempts < statements::ATTEMPTS => {
                call.app.confirm_policy().await?
            }
            run => break run?,
        }
    };
    let (mut read, mut bytes) = (Vec::new(), 0_u64);
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size() as u64;
        if bytes > most {
            let message = format!("more than {most} bytes would be read for this; ask for less");
            return Err(Refusal::Limited { code: "RESOURCE_EXHAUSTED", message, retry_after_ms: 1000 });
        }
        read.extend(crate::lake::json_rows(&batch)?);
    }
    Ok(read)
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Statement(problem) => {
                Self::Malformed(crate::wire::Malformed::new("statement", problem))
            }
            SqlError::Refused(engine::Refused::Missing(name)) => {
                Self::NotFound(format!("table `{name}` does not exist"))
            }
            SqlError::Refused(engine::Refused::Denied(problem)) => Self::Denied(problem),
            SqlError::Refused(engine::Refused::Unavailable(problem)) => {
                tracing::warn!(problem, "a statement could not be decided about");
                Self::Lake
            }
            SqlError::Exhausted(message) => {
                Self::Limited { code: "RESOURCE_EXHAUSTED", message, retry_after_ms: 1000 }
            }
            SqlError::Lake(error) => error.into(),
            SqlError::Internal(problem) => Self::Internal(problem),
        }
    }
}
