//! Runs: what one execution was given, measured, read and made.
//!
//! A run has parameters, which are logged once and stay; tags; metrics, each a history of values whose latest
//! one is kept apart; data sets that it read; and logged models that it read or made.

mod batch;
pub(super) mod create;
mod history;
mod inputs;
mod lifecycle;
mod log_model;
mod metrics;
mod model_metrics;
mod outputs;
mod params;
pub(super) mod random_names;
mod read;
mod row;
mod sample;
mod search;
mod tags;
mod update;

use std::sync::Arc;

use super::EmbeddedShared;
use super::problem::Problem;
use super::request::Request;
use crate::wire::Reply;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "run.create" => create::create(store, &request).await,
        "run.get" => read::get(store, &request).await,
        "run.search" => search::search(store, &request).await,
        "run.update" => update::update(store, &request).await,
        "run.delete" => lifecycle::delete(store, &request).await,
        "run.restore" => lifecycle::restore(store, &request).await,
        "run.log_metric" => metrics::log(store, &request).await,
        "run.log_param" => params::log(store, &request).await,
        "run.tag_set" => tags::set(store, &request).await,
        "run.tag_delete" => tags::delete(store, &request).await,
        "run.log_batch" => batch::log(store, &request).await,
        "run.log_model" => log_model::log(store, &request).await,
        "run.log_inputs" => inputs::log(store, &request).await,
        "run.log_outputs" => outputs::log(store, &request).await,
        "run.metric_history" => history::of_run(store, &request).await,
        "run.metric_history_bulk" => history::of_runs(store, &request).await,
        "run.metric_history_interval" => sample::interval(store, &request).await,
        other => Err(Problem::not_offered(other)),
    }
}

/// A run's id where MLflow takes its name of today alone: its checks take the old one for it, and then the call
/// has no id.
fn run_id_of_today(request: &Request) -> Result<&str, Problem> {
    match (request.text("run_id")?, request.text("run_uuid")?) {
        (None, Some(old)) if !old.is_empty() => Ok(""),
        _ => request.required("run_id"),
    }
}

/// A run's id, under its name of today or of MLflow 0.
fn run_id(request: &Request) -> Result<&str, Problem> {
    match request.text("run_id")? {
        None => match request.text("run_uuid")? {
            Some(id) if !id.is_empty() => Ok(id),
            _ => request.required("run_id"),
        },
        Some(_) => request.required("run_id"),
    }
}

#[cfg(test)]
mod tests;
