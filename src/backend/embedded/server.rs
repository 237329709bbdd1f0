//! What the server says of itself, and the page that stands in for MLflow's web pages.

use std::sync::Arc;

use serde_json::json;

use super::EmbeddedShared;
use super::problem::Problem;
use super::reply;
use super::request::Request;
use crate::wire::Reply;

/// The version of MLflow's API that the store speaks. Clients ask whether it is new enough for them.
const MLFLOW_VERSION: &str = "3.17.2";

pub(super) async fn answer(_store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    match request.operation.as_str() {
        "server.health" => Ok(reply::with_body(200, "text/plain; charset=utf-8", "OK")),
        "server.version" => Ok(reply::with_body(200, "text/html; charset=utf-8", MLFLOW_VERSION)),
        "server.info" => reply::json(&json!({
            // What MLflow calls a store in a database: clients know this word and `FileStore`.
            "store_type": "SqlStore",
            "workspaces_enabled": false,
            "trace_archival_enabled": false,
            "multipart_uploads_enabled": true,
            "multipart_downloads_enabled": false,
            "presigned_upload_run_id_supported": false,
            "presigned_upload_model_id_supported": false,
            "features_enabled": { "gateway": false },
        })),
        "ui.index" => {
            Ok(reply::with_body(200, "text/html; charset=utf-8", include_str!("server/index.html")))
        }
        _ => Err(Problem::not_offered(&request.operation)),
    }
}
