//! SQL over HTTP: the Statement Execution API and the one warehouse that it runs on, as databricks-sdk calls them.

mod answer;
mod commands;
mod failure;
mod governor;
mod result;
mod rows;
mod statements;
mod system;
mod warehouses;

pub(super) use governor::{Governor, function_of};
pub(super) use rows::rows;

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use crate::lake::sql::{self as engine, SqlError};
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
