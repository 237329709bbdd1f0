//! Uploads in parts, into our own store: each part has a URL of ours, signed for who began the upload.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::{pages, signed};
use super::After;
use crate::backend::BackendError;
use crate::wire::{Method, Query, Reply};

/// What MLflow's client takes for "send it whole".
const NOT_SUPPORTED: &str = "Multipart upload is not supported for the current artifact repository";

/// Where the path of the parts begins.
const PARTS: &str = "/api/tracegate/v1/multipart";

pub(super) fn prepare(call: &Call<'_>) -> After {
    if call.operation.name == "artifact.mpu_create" { After::PartsOffered } else { After::Nothing }
}

/// Once the call is allowed: whether this backend takes parts is no stranger's business.
pub(super) fn refuse_without_parts(call: &Call<'_>) -> Result<(), Refusal> {
    if call.app.backend.takes_parts() {
        return Ok(());
    }
    Err(Refusal::NotOffered(format!(
        "{NOT_SUPPORTED}: an MLflow server would hand out URLs of its store, which would go round access control"
    )))
}

/// Gives every part its URL.
pub(super) async fn offer(call: &mut Call<'_>, reply: Reply) -> Result<Reply, Refusal> {
    let status = reply.status;
    let mut offered = pages::read(call, &reply.headers, reply.body).await?;
    let upload = offered.get("upload_id").and_then(Value::as_str).ok_or(BackendError::BrokenOff)?.to_owned();
    let directory = call.head.path.to_encoded();
    let directory = directory.split_once("/mpu/create").map_or("", |(_, rest)| rest).to_owned();
    let origin = origin(call)?;
    let Some(Value::Array(credentials)) = offered.get_mut("credentials") else {
        return Err(BackendError::BrokenOff.into());
    };
    for credential in credentials {
        let number = credential["part_number"].as_i64().ok_or(BackendError::BrokenOff)?;
        let mut query = Query::parse("")?;
        query.set("upload_id", &upload);
        query.set("part_number", &number.to_string());
        let target = format!("{PARTS}{directory}?{}", query.to_encoded());
        let signature = signed::sign(call.app, call.caller, Method::Put, &target)?;
        credential["url"] = Value::String(format!("{origin}{target}"));
        credential["headers"] = json!({ signed::HEADER: signature });
    }
    Ok(pages::written(status, &offered))
}

/// The scheme and host by which the client reaches us.
pub(in crate::http) fn origin(call: &Call<'_>) -> Result<String, Refusal> {
    if let Some(url) = &call.app.config.server.public_url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let host = call.head.headers.one("host")?.unwrap_or_default();
    Ok(format!("http://{host}"))
}
