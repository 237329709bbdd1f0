//! Artifacts: files of runs, models and traces, by path (`artifact.proxy_*`) or by run.
//!
//! A run's artifacts lie at `mlflow-artifacts:/12/4f…/artifacts`, which is the object directory
//! `12/4f…/artifacts`; clients read and write them by that path. What the older calls name by run is looked
//! up there.

mod download;
mod media_type;
mod multipart;
mod of_runs;
mod path;

use std::sync::Arc;

use serde_json::{Value, json};

use self::download::Found;
pub(super) use self::path::{location, safe};
use super::EmbeddedShared;
use super::problem::{Code, Problem};
use super::reply;
use super::request::Request;
use crate::objects::Entry;
use crate::wire::{Body, Headers, Reply};

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "artifact.proxy_list" => list(store, &request).await,
        "artifact.proxy_get" => get(store, &request).await,
        "artifact.proxy_put" => put(store, request).await,
        "artifact.proxy_delete" => delete(store, &request).await,
        "artifact.list" => of_runs::list(store, &request).await,
        "artifact.get" => of_runs::get(store, &request).await,
        "artifact.upload" => of_runs::upload(store, request).await,
        "artifact.proxy_presigned" => Err(Problem::new(
            Code::NotImplemented,
            "Multipart download is not supported for the current artifact repository",
        )),
        "artifact.mpu_create" => multipart::create(store, &request).await,
        "artifact.mpu_part" => multipart::part(store, request).await,
        "artifact.mpu_complete" => multipart::complete(store, &request).await,
        "artifact.mpu_abort" => multipart::abort(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

/// Clears away uploads in parts that nobody completed or aborted in time.
pub(super) async fn clear_expired(store: &EmbeddedShared) {
    if let Err(problem) = multipart::clear_expired(store).await {
        tracing::warn!(%problem, "expired uploads cannot be cleared away");
    }
}

async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = safe(request.text("path")?.unwrap_or_default())?;
    let files: Vec<Value> = store.objects.list(&path).await?.iter().map(|entry| file(entry, "")).collect();
    // Protobuf's JSON leaves an empty list out.
    if files.is_empty() { Ok(reply::empty_object()) } else { reply::json(&json!({ "files": files })) }
}

async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = safe(request.param("artifact_path"))?;
    match download::find(store, &path).await? {
        Found::File(about) => download::send(store, &path, about, &request.head.headers).await,
        Found::Nothing => Err(download::absent(&path)),
        // This route of MLflow's has another shape for its errors.
        Found::Directory => {
            Ok(reply::json_with_status(400, &json!({ "detail": download::directory(&path).message })))
        }
    }
}

async fn put(store: &EmbeddedShared, request: Request) -> Result<Reply, Problem> {
    let path = safe(request.param("artifact_path"))?;
    store.objects.put(&path, request.body).await?;
    Ok(Reply { status: 200, headers: Headers::default(), body: Body::Empty })
}

async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = safe(request.param("artifact_path"))?;
    if !store.objects.delete(&path).await? {
        store.objects.delete_below(&path).await?;
    }
    Ok(reply::empty_object())
}

/// What lies in the directory `relative` of what has its artifacts at `uri`, as a list of MLflow's
/// `FileInfo`s with paths relative to `uri`.
pub(super) async fn files(store: &EmbeddedShared, uri: &str, relative: &str) -> Result<Vec<Value>, Problem> {
    let relative = safe(relative)?;
    let directory = path::below(&location(uri)?, &relative);
    let entries = store.objects.list(&directory).await?;
    Ok(entries.iter().map(|entry| file(entry, &relative)).collect())
}

/// The file `relative` of what has its artifacts at `uri`.
pub(super) async fn send(
    store: &EmbeddedShared,
    uri: &str,
    relative: &str,
    headers: &Headers,
) -> Result<Reply, Problem> {
    let path = path::below(&location(uri)?, &safe(relative)?);
    match download::find(store, &path).await? {
        Found::File(about) => download::send(store, &path, about, headers).await,
        Found::Nothing => Err(download::absent(&path)),
        Found::Directory => Err(download::directory(&path)),
    }
}

fn file(entry: &Entry, directory: &str) -> Value {
    let path = path::below(directory, &entry.name);
    match entry.size {
        // Protobuf's JSON leaves a size of zero out.
        Some(0) => json!({ "path": path, "is_dir": false }),
        Some(size) => json!({ "path": path, "is_dir": false, "file_size": size }),
        None => json!({ "path": path, "is_dir": true }),
    }
}

/// Artifacts that some other store keeps.
fn elsewhere(uri: &str) -> Problem {
    Problem::new(
        Code::NotImplemented,
        format!(
            "The artifacts at '{uri}' are not kept by this server: it serves `mlflow-artifacts:/…` only."
        ),
    )
}

#[cfg(test)]
mod tests;
