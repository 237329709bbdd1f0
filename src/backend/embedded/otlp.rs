//! OTLP exports: spans of one trace or of several, in protobuf or JSON. An export is read span by span
//! ([`read`]), each span is made into what MLflow keeps of it ([`span`], [`translate`]), what they say of their
//! traces is gathered ([`gather`]), and all of it is committed at once ([`commit`]).
//!
//! The body may be large: what is read goes to a scratch file once it is more than a little.

mod any_value;
mod commit;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod gather;
mod json;
mod preview;
mod prices;
mod read;
mod span;
#[cfg(test)]
mod tests;
mod translate;

use std::path::PathBuf;
use std::sync::Arc;

use self::gather::Export;
use self::read::Unreadable;
use super::EmbeddedShared;
use super::problem::Problem;
use super::reply;
use super::request::{Request, experiment_number};
use super::traces;
use crate::wire::{Body, ReplayBody, Reply};

/// Bodies up to this size are read on the worker itself.
const READ_INLINE: u64 = 64 * 1024;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    let malformed = |error: crate::wire::Malformed| Problem::invalid(error.to_string());
    let header = |name: &str| request.head.headers.one(name).map_err(malformed);
    let Some(experiment) = header("x-mlflow-experiment-id")? else {
        return Ok(reply::json_with_status(422, &no_experiment()));
    };
    let experiment_id = experiment_number(experiment)?;
    let run_id = header("x-mlflow-run-id")?.filter(|run| !run.is_empty()).map(str::to_owned);
    let given = header("content-type")?;
    let media = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let json = match media {
        "application/x-protobuf" => false,
        "application/json" => true,
        _ => {
            return Ok(detail(
                400,
                &format!(
                    "Invalid Content-Type: {}. Expected: application/x-protobuf or application/json",
                    given.unwrap_or("None")
                ),
            ));
        }
    };
    let encoding = header("content-encoding")?.map(str::to_owned);
    let body = match request.body {
        Body::Replay(body) => body,
        Body::Empty => ReplayBody::memory(""),
        Body::Stream { .. } => return Err(Problem::internal("an export that was not read whole")),
    };
    let how = How { json, encoding, most: store.otlp_limit, scratch: store.scratch.clone() };
    let export = match read(body, how).await? {
        Ok(export) => export,
        Err(unreadable) => return unreadable.answer(),
    };
    if export.traces.is_empty() {
        return Ok(accepted());
    }
    let rooted = export.with_root();
    commit::commit(store, experiment_id, export).await?;
    if let Some(run_id) = run_id.filter(|_| !rooted.is_empty()) {
        let dialect = store.database.dialect;
        let linked = store.writer.write(move |connection| {
            Box::pin(async move { traces::link_to_run(connection, dialect, &rooted, &run_id).await })
        });
        linked.await?;
    }
    Ok(accepted())
}

/// An `ExportTraceServiceResponse` that has nothing to say.
fn accepted() -> Reply {
    reply::with_body(200, "application/x-protobuf", "")
}

/// This route is the only one of MLflow's that says no in this shape.
fn detail(status: u16, what: &str) -> Reply {
    reply::json_with_status(status, &serde_json::json!({ "detail": what }))
}

fn no_experiment() -> serde_json::Value {
    serde_json::json!({"detail": [{
        "type": "missing",
        "loc": ["header", "x-mlflow-experiment-id"],
        "msg": "Field required",
        "input": null,
    }]})
}

/// How a body is written, and how much of it may be read.
struct How {
    json: bool,
    encoding: Option<String>,
    most: u64,
    scratch: PathBuf,
}

/// Reads an export, a large one beside the worker.
async fn read(body: ReplayBody, how: How) -> Result<Result<Export, Unreadable>, Problem> {
    let small = body.as_memory().is_some() && body.len() <= READ_INLINE && how.encoding.is_none();
    let read = move || read::export(&body, how.json, how.encoding.as_deref(), how.most, how.scratch);
    if small {
        return Ok(read());
    }
    tokio::task::spawn_blocking(read).await.map_err(Problem::internal)
}
