//! The registry: models with their versions, tags and aliases, and prompts.
//!
//! A prompt is a model that has the tag `mlflow.prompt.is_prompt`; the text of each of its versions is a tag
//! of the version. Searches leave prompts out unless their filter asks for them by that tag.
//!
//! Models and versions have numbers of our own, which their tags and aliases refer to: a model that gets
//! another name is one changed row. A deleted version is gone, but its number is never given again.

mod aliases;
mod artifact;
mod models;
mod names;
mod read;
mod search;
mod source;
mod stages;
mod tags;
mod uri;
mod versions;

use std::sync::Arc;

use super::EmbeddedShared;
use super::pairs::{Pair, Table};
use super::problem::Problem;
use super::request::Request;
use crate::wire::Reply;

const MODEL_TAGS: Table = Table { name: "registered_model_tags", owner: "model_no" };
const VERSION_TAGS: Table = Table { name: "model_version_tags", owner: "version_no" };

/// The tag that makes a model a prompt.
const IS_PROMPT: &str = "mlflow.prompt.is_prompt";

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "model.create" => models::create(store, &request).await,
        "model.get" => models::get(store, &request).await,
        "model.update" => models::update(store, &request).await,
        "model.rename" => models::rename(store, &request).await,
        "model.delete" => models::delete(store, &request).await,
        "model.search" => search::models(store, &request).await,
        "model.latest_versions" | "model.latest_versions_get" => stages::latest(store, &request).await,
        "model.tag_set" => tags::set_of_model(store, &request).await,
        "model.tag_delete" => tags::delete_of_model(store, &request).await,
        "model.alias_set" => aliases::set(store, &request).await,
        "model.alias_delete" => aliases::delete(store, &request).await,
        "model.alias_get" => aliases::get(store, &request).await,
        "model_version.create" => versions::create(store, &request).await,
        "model_version.get" => versions::get(store, &request).await,
        "model_version.update" => versions::update(store, &request).await,
        "model_version.delete" => versions::delete(store, &request).await,
        "model_version.transition" => stages::transition(store, &request).await,
        "model_version.search" => search::versions(store, &request).await,
        "model_version.download_uri" => versions::download_uri(store, &request).await,
        "model_version.artifact" => artifact::get(store, &request).await,
        "model_version.tag_set" => tags::set_of_version(store, &request).await,
        "model_version.tag_delete" => tags::delete_of_version(store, &request).await,
        other => Err(Problem::not_offered(other)),
    }
}

/// Whether tags make what has them a prompt.
fn says_prompt(tags: &[Pair]) -> bool {
    tags.iter()
        .rev()
        .find(|(key, _)| key == IS_PROMPT)
        .is_some_and(|(_, value)| value.to_lowercase() == "true")
}

#[cfg(test)]
mod tests;
