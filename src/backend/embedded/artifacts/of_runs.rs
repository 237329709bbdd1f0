//! The calls that name artifacts by run.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::path::below;
use super::{files, location, safe, send};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{Request, missing};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::objects;
use crate::wire::{Body, Headers, Reply};

/// Largest file that the call for small files takes.
const MAX_UPLOAD: usize = 10 * 1024 * 1024;

pub(super) async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run = run_id(request)?.ok_or_else(|| missing("run_id"))?;
    let relative = safe(request.text("path")?.unwrap_or_default())?;
    let uri = artifact_uri(store, run).await?;
    let found = files(store, &uri, &relative).await?;
    let mut answer = Map::new();
    if !found.is_empty() {
        answer.insert("files".to_owned(), Value::Array(found));
    }
    answer.insert("root_uri".to_owned(), Value::String(uri));
    reply::json(&answer)
}

pub(super) async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = safe(&decoded(request.text("path")?.ok_or_else(|| missing("path"))?))?;
    let uri = artifact_uri(store, run_id(request)?.unwrap_or("None")).await?;
    send(store, &uri, &path, &request.head.headers).await
}

/// A small file as the body of a POST, as MLflow's web pages send it.
pub(super) async fn upload(store: &EmbeddedShared, request: Request) -> Result<Reply, Problem> {
    let query = |name: &str| {
        let value = request.head.query.one(name).map_err(|error| Problem::invalid(error.to_string()))?;
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Problem::invalid(format!("Request must specify {name}.")))
    };
    let (run, path) = (query("run_uuid")?.to_owned(), safe(query("path")?)?);
    let too_large = || Problem::invalid("Artifact size is too large. Max size is 10MB.");
    if request.body.length().is_some_and(|length| length > MAX_UPLOAD as u64) {
        return Err(too_large());
    }
    let data = objects::collect(request.body, MAX_UPLOAD).await?.ok_or_else(too_large)?;
    if data.is_empty() {
        return Err(Problem::invalid("Request must specify data."));
    }
    let uri = artifact_uri(store, &run).await?;
    store.objects.put(&below(&location(&uri)?, &path), Body::memory(data)).await?;
    let mut headers = Headers::default();
    headers.set("content-type", "application/json");
    Ok(Reply { status: 200, headers, body: Body::Empty })
}

/// MLflow's web pages encode a path once more than the query does. Whoever may read one file of the run may
/// read them all.
fn decoded(path: &str) -> String {
    let mut path = path.to_owned();
    loop {
        let next = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if next.len() == path.len() {
            return path;
        }
        path = next;
    }
}

fn run_id(request: &Request) -> Result<Option<&str>, Problem> {
    let given = |name| Ok::<_, Problem>(request.text(name)?.filter(|id| !id.is_empty()));
    Ok(given("run_id")?.or(given("run_uuid")?))
}

async fn artifact_uri(store: &EmbeddedShared, run: &str) -> Result<String, Problem> {
    let found: Option<String> = sqlx::query_scalar("SELECT artifact_uri FROM runs WHERE run_id = $1")
        .bind(run)
        .fetch_optional(&store.database.reader)
        .await?;
    found.ok_or_else(|| Problem::missing(format!("Run with id={run} not found")))
}
