//! A file of a version.

use super::super::problem::Problem;
use super::super::request::{Request, missing};
use super::super::{EmbeddedShared, artifacts};
use super::names;
use super::read::Version;
use crate::wire::Reply;

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let path = artifacts::safe(request.text("path")?.ok_or_else(|| missing("path"))?)?;
    let name = request.text("name")?.unwrap_or_default();
    names::model(name)?;
    let number = names::version(request.text("version")?.unwrap_or("None"))?;
    let location = {
        let mut connection = store.database.reader.acquire().await?;
        let version = Version::numbered(&mut connection, name, number).await?;
        match version.storage_location.strip_prefix("runs:/") {
            Some(in_run) => {
                let (run_id, below) = in_run.split_once('/').unwrap_or((in_run, ""));
                let root: Option<String> =
                    sqlx::query_scalar("SELECT artifact_uri FROM runs WHERE run_id = $1")
                        .bind(run_id)
                        .fetch_optional(&mut *connection)
                        .await?;
                let root = root.ok_or_else(|| Problem::missing(format!("Run with id={run_id} not found")))?;
                format!("{root}/{below}")
            }
            None => version.storage_location,
        }
    };
    artifacts::send(store, &location, &path, &request.head.headers).await
}
