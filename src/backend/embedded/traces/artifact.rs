//! The spans of a trace as the file `traces.json`, and the files that are attached to it.

use std::sync::Arc;

use super::super::EmbeddedShared;
use super::super::problem::{Code, Problem};
use super::super::request::Request;
use super::delete::artifact_directory;
use super::info::TraceRow;
use super::merge::ARTIFACT_LOCATION;
use super::read::{Part, answer_body, spans_are_here};
use crate::wire::{Body, Headers, Reply};

const TRACE_DATA: &str = "traces.json";

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: &Request) -> Result<Reply, Problem> {
    let Some(trace_id) = request.text("request_id")?.filter(|id| !id.is_empty()) else {
        return Err(Problem::new(
            Code::BadRequest,
            "Request must include the \"request_id\" query parameter.",
        ));
    };
    let row = super::row(store, trace_id).await?;
    if let Some(path) = request.text("path")?.filter(|path| !path.is_empty()) {
        return attachment(store, row.ok_or_else(|| super::not_found(trace_id))?, path).await;
    }
    let row = row.ok_or_else(|| Problem::missing(format!("Trace with ID {trace_id} is not found.")))?;
    if spans_are_here(&row)? {
        let parts = [
            Part::Text("{\"spans\":[".to_owned()),
            Part::Contents { trace_no: row.trace_no },
            Part::Text("]}".to_owned()),
        ];
        let body = answer_body(store, parts.into()).await?;
        return Ok(file(body, TRACE_DATA, "text/plain"));
    }
    let body = stored(store, &row, TRACE_DATA)
        .await?
        .ok_or_else(|| Problem::new(Code::NotFound, format!("Trace data not found for path={TRACE_DATA}")))?;
    Ok(file(body, TRACE_DATA, "text/plain"))
}

async fn attachment(store: &EmbeddedShared, row: TraceRow, path: &str) -> Result<Reply, Problem> {
    if uuid::Uuid::try_parse(path).is_err() {
        return Err(Problem::invalid(format!(
            "Invalid attachment path: '{path}'. Attachment path must be a valid UUID."
        )));
    }
    let below = format!("attachments/{path}");
    let body = stored(store, &row, &below).await?;
    let body = body.ok_or_else(|| Problem::missing(format!("No such artifact: '{below}'")))?;
    Ok(file(body, path, "application/octet-stream"))
}

/// A file among the artifacts of a trace.
async fn stored(store: &EmbeddedShared, row: &TraceRow, path: &str) -> Result<Option<Body>, Problem> {
    let tags = super::usage::object(&row.tags);
    let location = tags.get(ARTIFACT_LOCATION).and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some(directory) = artifact_directory(location, &row.trace_id) else { return Ok(None) };
    let found = store.objects.get(&format!("{directory}/artifacts/{path}"), None).await?;
    Ok(found.map(|(length, stream)| Body::Stream { stream, length: Some(length) }))
}

fn file(body: Body, name: &str, media_type: &str) -> Reply {
    let mut headers = Headers::default();
    headers.set("content-type", media_type);
    headers.set("content-disposition", &format!("attachment; filename={name}"));
    headers.set("x-content-type-options", "nosniff");
    headers.set("cache-control", "no-cache");
    Reply { status: 200, headers, body }
}
