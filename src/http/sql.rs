//! SQL over HTTP: the Statement Execution API and the one warehouse that it runs on, as databricks-sdk calls them.

mod answer;
mod commands;
mod failure;
mod governor;
mod result;
mod statements;
mod system;
mod warehouses;

pub(super) use governor::Governor;
pub(super) use governor::function_of;

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use crate::wire::Reply;

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match call.operation.name.as_str() {
        "sql.warehouse.list" => warehouses::list(call),
        "sql.warehouse.get" => warehouses::get(call),
        "sql.warehouse.start" => warehouses::start(call),
        "sql.warehouse.stop" => warehouses::stop(call),
        "sql.statement.execute" | "sql.statement.execute_slash" => statements::execute(call, trail).await,
        "sql.statement.get" => statements::get(call, trail).await,
        "sql.statement.chunk" => statements::chunk(call, trail).await,
        "sql.statement.data" => statements::data(call, trail).await,
        "sql.statement.cancel" => statements::cancel(call),
        _ => Err(Refusal::UnknownEndpoint),
    }
}
