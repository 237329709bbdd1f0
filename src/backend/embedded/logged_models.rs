//! Logged models: what a run made, with parameters, tags, metrics and files of its own.
//!
//! A model is pending until its client says that its files are there. A deleted one is kept, and found only by
//! who asks for deleted ones. Its metrics are written with those of runs, which name it.

mod artifacts;
mod change;
mod create;
mod criteria;
mod read;
mod search;
mod versions;

use std::sync::Arc;

use sqlx::{AnyConnection, Row as _};

pub(super) use self::versions::add as add_version;
use super::EmbeddedShared;
use super::pairs::Table;
use super::problem::Problem;
use super::request::Request;
use crate::wire::Reply;

const TAGS: Table = Table { name: "logged_model_tags", owner: "model_no" };
const PARAMS: Table = Table { name: "logged_model_params", owner: "model_no" };

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "logged_model.create" => create::answer(store, &request).await,
        "logged_model.get" => read::answer(store, &request).await,
        "logged_model.search" => search::answer(store, &request).await,
        "logged_model.finalize" => change::finalize(store, &request).await,
        "logged_model.delete" => change::delete(store, &request).await,
        "logged_model.tag_set" => change::set_tags(store, &request).await,
        "logged_model.tag_delete" => change::delete_tag(store, &request).await,
        "logged_model.log_params" => change::log_params(store, &request).await,
        "logged_model.artifact_list" => artifacts::list(store, &request).await,
        "logged_model.artifact_get" => artifacts::get(store, &request).await,
        other => Err(Problem::not_offered(other)),
    }
}

fn absent(model_id: &str) -> Problem {
    Problem::missing(format!("Logged model with ID '{model_id}' not found."))
}

/// Where a model's files are, and the run that made it.
pub(super) struct Origin {
    pub artifact_location: String,
    pub source_run_id: String,
}

/// The origin of a model that is not deleted.
pub(super) async fn origin(connection: &mut AnyConnection, model_id: &str) -> Result<Origin, Problem> {
    let found = sqlx::query(
        "SELECT artifact_location, source_run_id FROM logged_models WHERE model_id = $1 \
         AND lifecycle_stage <> 'deleted'",
    )
    .bind(model_id)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| absent(model_id))?;
    Ok(Origin { artifact_location: found.try_get(0)?, source_run_id: found.try_get(1)? })
}

#[cfg(test)]
mod tests;
