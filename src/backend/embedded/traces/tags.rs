//! Tags of traces, which may be changed at any time.

use serde_json::Value;

use super::super::EmbeddedShared;
use super::super::names;
use super::super::problem::{Code, Problem};
use super::super::reply;
use super::super::request::Request;
use super::merge::TRACE_NAME;
use super::state;
use crate::wire::Reply;

/// How much of a value is kept, in characters; of the trace's name, more is refused.
const LONGEST_VALUE: usize = 8000;
const LONGEST_NAME: usize = 4096;

/// What the store itself says of a trace.
const IMMUTABLE: [&str; 2] = ["mlflow.trace.spansLocation", "mlflow.trace.archiveLocation"];
/// May be deleted, so that archiving is tried again.
const ARCHIVAL_FAILURE: &str = "mlflow.trace.archivalFailure";

pub(super) async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let key = request.required("key")?.to_owned();
    let value = request.text("value")?.unwrap_or_default();
    if IMMUTABLE.contains(&key.as_str()) || key == ARCHIVAL_FAILURE {
        return Err(immutable(&key, "set"));
    }
    let value = checked(&key, value)?.to_owned();
    change(store, request, move |state| {
        state.tags.insert(key, Value::String(value));
        Ok(())
    })
    .await
}

/// The value of a tag as it is kept.
pub(in crate::backend::embedded) fn checked<'v>(key: &str, value: &'v str) -> Result<&'v str, Problem> {
    names::check("key", key)?;
    names::check_length("key", names::NAME_LIMIT, key)?;
    let value = names::cut(LONGEST_VALUE, value);
    if key == TRACE_NAME {
        names::check_length("Trace name", LONGEST_NAME, value)?;
    }
    Ok(value)
}

pub(super) async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let key = request.required("key")?.to_owned();
    if IMMUTABLE.contains(&key.as_str()) {
        return Err(immutable(&key, "deleted"));
    }
    let none = no_tag(&key, trace_id(request));
    let gone = none.clone();
    let deleted =
        change(store, request, move |state| state.tags.shift_remove(&key).map(|_| ()).ok_or(gone)).await;
    deleted.map_err(|problem| if problem.code == Code::ResourceDoesNotExist { none } else { problem })
}

/// As MLflow says it of a trace that is not there as well.
fn no_tag(key: &str, trace_id: &str) -> Problem {
    Problem::missing(format!("No trace tag with key '{key}' for trace with ID '{trace_id}'"))
}

fn trace_id(request: &Request) -> &str {
    request.param(if request.operation.ends_with("_v2") { "request_id" } else { "trace_id" })
}

fn immutable(key: &str, how: &str) -> Problem {
    Problem::invalid(format!("Tag '{key}' is immutable and cannot be {how} on a trace."))
}

async fn change(
    store: &EmbeddedShared,
    request: &Request,
    change: impl FnOnce(&mut super::merge::State) -> Result<(), Problem> + Send + 'static,
) -> Result<Reply, Problem> {
    let trace_id = trace_id(request).to_owned();
    let dialect = store.database.dialect;
    let changed = store.writer.write(move |connection| {
        Box::pin(async move {
            let found = state::load_one(connection, dialect, &trace_id).await?;
            let mut after = found.state.clone();
            change(&mut after)?;
            state::save(connection, dialect, &[(Some(found), after)]).await?;
            Ok(())
        })
    });
    changed.await?;
    Ok(reply::empty_object())
}
