//! The files of a logged model.

use serde_json::{Map, Value};

use super::super::problem::{Code, Problem};
use super::super::request::Request;
use super::super::{EmbeddedShared, artifacts, reply};
use super::origin;
use crate::wire::Reply;

pub async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let directory = artifacts::safe(request.text("artifact_directory_path")?.unwrap_or_default())?;
    let uri = location(store, request).await?;
    let files = artifacts::files(store, &uri, &directory).await?;
    let mut answer = Map::new();
    if !files.is_empty() {
        answer.insert("files".to_owned(), Value::Array(files));
    }
    answer.insert("root_uri".to_owned(), Value::String(uri));
    reply::json(&answer)
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = request.text("artifact_file_path")?.filter(|path| !path.is_empty()).ok_or_else(|| {
        Problem::new(Code::BadRequest, "Request must include the \"artifact_file_path\" query parameter.")
    })?;
    let path = artifacts::safe(path)?;
    let uri = location(store, request).await?;
    artifacts::send(store, &uri, &path, &request.head.headers).await
}

async fn location(store: &EmbeddedShared, request: &Request) -> Result<String, Problem> {
    let mut connection = store.database.reader.acquire().await?;
    Ok(origin(&mut connection, request.param("model_id")).await?.artifact_location)
}
