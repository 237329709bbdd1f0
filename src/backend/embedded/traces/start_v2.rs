//! StartTrace and EndTrace of version 2, as clients of MLflow 2 send them: the id is the server's, and the
//! spans lie in the artifact `traces.json`.

use serde_json::{Map, Value};

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{Request, wrong_type};
use super::info;
use super::merge::{self, COMPLETED_BY_CLIENT, Head};
use super::start::{Must, artifact_location, artifacts_of, check_head, milliseconds, row};
use super::state;
use crate::wire::Reply;

pub(super) async fn start(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment_id = request.experiment("experiment_id")?;
    let request_time = milliseconds(request, "timestamp_ms")?;
    let (metadata, tags) = (pairs(request, "request_metadata")?, pairs(request, "tags")?);
    check_head(&tags, &metadata)?;
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let dialect = store.database.dialect;
    let saved = store.writer.write(move |connection| {
        Box::pin(async move {
            let location = artifact_location(connection, experiment_id, Must::BeActive).await?;
            let artifacts = artifacts_of(&location, &trace_id);
            let head = Head {
                trace_id,
                experiment_id,
                request_time,
                duration: None,
                state: "IN_PROGRESS".to_owned(),
                client_request_id: None,
                request_preview: None,
                response_preview: None,
                tags,
                metadata,
            };
            let begun = merge::with_old_head(head, &artifacts);
            let changes = [(None, begun)];
            state::save(connection, dialect, &changes).await?;
            let [(_, begun)] = changes;
            Ok(row(0, begun))
        })
    });
    Ok(reply::json_text(format!("{{\"trace_info\":{}}}", info::v2(&saved.await?)?)))
}

pub(super) async fn end(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let trace_id = request.param("request_id").to_owned();
    let ended = milliseconds(request, "timestamp_ms")?;
    let status = match request.json.get("status") {
        Some(Value::String(name)) if COMPLETED_BY_CLIENT.contains(&name.as_str()) => name.clone(),
        Some(Value::Number(number)) if (1..=3).contains(&number.as_u64().unwrap_or_default()) => {
            COMPLETED_BY_CLIENT[number.as_u64().unwrap_or(1) as usize - 1].to_owned()
        }
        None | Some(Value::Null) => return Err(super::super::request::missing("status")),
        Some(other) => return Err(wrong_type("status", other)),
    };
    let (metadata, tags) = (pairs(request, "request_metadata")?, pairs(request, "tags")?);
    check_head(&tags, &metadata)?;
    let dialect = store.database.dialect;
    let saved = store.writer.write(move |connection| {
        Box::pin(async move {
            let found = state::load_one(connection, dialect, &trace_id).await?;
            let done = merge::ended(found.state.clone(), ended, status, tags, metadata);
            let changes = [(Some(found), done)];
            state::save(connection, dialect, &changes).await?;
            let [(_, done)] = changes;
            Ok(row(0, done))
        })
    });
    Ok(reply::json_text(format!("{{\"trace_info\":{}}}", info::v2(&saved.await?)?)))
}

/// A list of `{"key": …, "value": …}` as a map; the last of a doubled key counts.
fn pairs(request: &Request, name: &str) -> Result<Map<String, Value>, Problem> {
    if let Some(null @ Value::Null) = request.json.get(name) {
        return Err(wrong_type(name, null));
    }
    let mut map = Map::new();
    for pair in request.list(name)? {
        let text = |field: &str| match pair.get(field) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong_type(name, pair)),
        };
        if !pair.is_object() {
            return Err(wrong_type(name, pair));
        }
        map.insert(text("key")?, Value::String(text("value")?));
    }
    Ok(map)
}
