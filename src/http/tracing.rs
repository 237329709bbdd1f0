//! Traces in tables of the catalog, as MLflow's clients call them in Databricks mode: OTLP into a table, and the
//! calls of versions 4 and 5 of the tracing API.
//!
//! The tables' privileges decide, and no experiment's: `MODIFY` writes, `SELECT` reads. All reading is SQL through
//! the same governor as statements, so a row filter or a mask holds here too.

pub(super) mod access;
mod annotation;
mod assessments;
pub(super) mod columns;
mod fold;
mod info;
mod link;
pub(super) mod matches;
mod operation;
mod place;
mod read;
mod runs;
mod search;
mod span;
mod spans;
mod tables;
mod tags;
pub(super) mod time;
mod views;

pub(super) use tables::is_seen;

use super::call::Call;
use super::error::Refusal;
use super::trail::Trail;
use crate::wire::Reply;

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    match call.operation.name.as_str() {
        "tracing.spans.write" | "tracing.spans.write_v2" => spans::write(call, trail).await,
        "tracing.location.create_schema" => tables::create_schema(call, trail).await,
        "tracing.location.create" => tables::create(call, trail).await,
        "tracing.location.get" => tables::get(call, trail).await,
        "tracing.location.link_schema" | "tracing.location.link" => link::link(call, trail).await,
        "tracing.location.unlink_schema" => link::unlink(call, trail).await,
        "tracing.info.create" => info::create(call, trail).await,
        "tracing.info.get" => info::get(call, trail).await,
        "tracing.traces.get" => info::batch(call, trail).await,
        "tracing.search" => search::page(call, trail).await,
        "tracing.search.start" => operation::start(call, trail).await,
        "tracing.search.operation" => operation::get(call, trail).await,
        "tracing.tag.set" => tags::set(call, trail).await,
        "tracing.tag.delete" => tags::delete(call, trail).await,
        "tracing.assessment.create" => assessments::create(call, trail).await,
        "tracing.assessment.get" => assessments::get(call, trail).await,
        "tracing.assessment.update" => assessments::update(call, trail).await,
        "tracing.assessment.delete" => assessments::delete(call, trail).await,
        "tracing.run.link" => runs::link(call, trail).await,
        "tracing.run.unlink" => runs::unlink(call, trail).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}
