//! StartTrace of version 3: a whole trace but for its spans, which come by OTLP.

use serde_json::{Map, Value};

use super::super::EmbeddedShared;
use super::super::assessments::{self, Assessment};
use super::super::names::check_length;
use super::super::problem::Problem;
use super::super::protobuf_json::{in_years, parse_duration, parse_timestamp};
use super::super::reply;
use super::super::request::{Request, experiment_number, integer, missing, wrong_type};
use super::info::{self, TraceRow};
use super::merge::{self, Head, SESSION, State, TRACE_NAME};
use super::state;
use crate::wire::Reply;
use crate::wire::json::field;

/// The longest trace id, in bytes: it is part of the paths of artifacts.
const LONGEST_ID: usize = 200;

pub(super) async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let trace = object(&request.json, "trace")?.ok_or_else(|| missing("trace"))?;
    let given = object(trace, "trace_info")?.ok_or_else(|| missing("trace.trace_info"))?;
    let head = parse(given)?;
    let now = store.clock.now().0;
    let mut said = Vec::new();
    for (index, assessment) in list(given, "assessments")?.iter().enumerate() {
        let Value::Object(assessment) = assessment else { return Err(wrong_type("assessments", assessment)) };
        said.push(Assessment::parse_of_trace(assessment, now, &head.trace_id, index)?);
    }
    let dialect = store.database.dialect;
    let may_have_assessments = !said.is_empty();
    let saved = store.writer.write(move |connection| {
        Box::pin(async move {
            let location = artifact_location(connection, head.experiment_id, Must::BeActive).await?;
            let artifacts = artifacts_of(&location, &head.trace_id);
            let ids = [head.trace_id.clone()];
            let before = state::load(connection, dialect, &ids).await?.remove(&head.trace_id);
            if let Some(found) =
                before.as_ref().filter(|found| found.state.experiment_id != head.experiment_id)
            {
                return Err(Problem::invalid(format!(
                    "Trace with ID '{}' belongs to experiment {}.",
                    head.trace_id, found.state.experiment_id
                )));
            }
            let known = before.is_some();
            let merged = merge::with_head(before.as_ref().map(|found| found.state.clone()), head, &artifacts);
            let changes = [(before, merged)];
            let numbers = state::save(connection, dialect, &changes).await?;
            let [(_, merged)] = changes;
            let trace_no = numbers.get(&merged.trace_id).copied().unwrap_or_default();
            assessments::put(connection, dialect, trace_no, &said).await?;
            Ok((row(trace_no, merged), known))
        })
    });
    let (row, known) = saved.await?;
    let info = match known || may_have_assessments {
        true => info::v3(store, &[row]).await?.concat(),
        false => info::v3_text(&row, &[])?,
    };
    Ok(reply::json_text(format!("{{\"trace\":{{\"trace_info\":{info}}}}}")))
}

/// What is told of a trace that was just written.
pub(super) fn row(trace_no: i64, state: State) -> TraceRow {
    TraceRow {
        trace_no,
        trace_id: state.trace_id,
        experiment_id: state.experiment_id,
        request_time: state.request_time,
        duration: state.duration,
        state: state.state,
        client_request_id: state.client_request_id,
        request_preview: state.request_preview,
        response_preview: state.response_preview,
        tags: Value::Object(state.tags).to_string(),
        metadata: Value::Object(state.metadata).to_string(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::embedded) enum Must {
    Exist,
    BeActive,
}

/// Where the artifacts of an experiment lie.
pub(in crate::backend::embedded) async fn artifact_location(
    connection: &mut sqlx::AnyConnection,
    experiment_id: i64,
    must: Must,
) -> Result<String, Problem> {
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT artifact_location, lifecycle_stage FROM experiments WHERE experiment_id = $1")
            .bind(experiment_id)
            .fetch_optional(connection)
            .await?;
    match found {
        None => Err(Problem::missing(format!("No Experiment with id={experiment_id} exists"))),
        Some((_, stage)) if must == Must::BeActive && stage != "active" => Err(Problem::invalid(format!(
            "The experiment {experiment_id} must be in the 'active' state. Current state is {stage}."
        ))),
        Some((location, _)) => Ok(location),
    }
}

/// Where the artifacts of a trace lie.
pub(in crate::backend::embedded) fn artifacts_of(location: &str, trace_id: &str) -> String {
    format!("{}/traces/{trace_id}/artifacts", location.trim_end_matches('/'))
}

fn parse(given: &Map<String, Value>) -> Result<Head, Problem> {
    let trace_id = text(given, "trace_id")?.filter(|id| !id.is_empty());
    let trace_id = trace_id.ok_or_else(|| missing("trace.trace_info.trace_id"))?;
    if trace_id.len() > LONGEST_ID {
        return Err(Problem::invalid(format!("'trace_id' exceeds the maximum length of {LONGEST_ID} bytes")));
    }
    let location = object(given, "trace_location")?;
    let experiment = location.map(|location| object(location, "mlflow_experiment")).transpose()?.flatten();
    let experiment = experiment.map(|experiment| text(experiment, "experiment_id")).transpose()?.flatten();
    let experiment = experiment
        .ok_or_else(|| missing("trace.trace_info.trace_location.mlflow_experiment.experiment_id"))?;
    let tags = texts(given, "tags")?;
    let metadata = texts(given, "trace_metadata")?;
    check_head(&tags, &metadata)?;
    let time = text(given, "request_time")?;
    let duration = text(given, "execution_duration")?;
    Ok(Head {
        trace_id,
        experiment_id: experiment_number(&experiment)?,
        request_time: time.map_or(Ok(0), |text| parse_timestamp("request_time", &text))?,
        duration: duration.map(|text| parse_duration("execution_duration", &text)).transpose()?,
        state: parse_state(given)?,
        client_request_id: text(given, "client_request_id")?,
        request_preview: text(given, "request_preview")?,
        response_preview: text(given, "response_preview")?,
        tags,
        metadata,
    })
}

/// MLflow's limits on what is more than a tag and a piece of metadata.
pub(super) fn check_head(tags: &Map<String, Value>, metadata: &Map<String, Value>) -> Result<(), Problem> {
    let limited = [("Trace name", 4096, tags.get(TRACE_NAME)), ("Session ID", 250, metadata.get(SESSION))];
    for (name, limit, value) in limited {
        if let Some(text) = value.and_then(Value::as_str) {
            check_length(name, limit, text)?;
        }
    }
    Ok(())
}

/// Named or numbered as in the protobuf; a state that it does not know is none.
fn parse_state(given: &Map<String, Value>) -> Result<String, Problem> {
    const STATES: [&str; 4] = ["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"];
    let known = match value(given, "state")? {
        Some(Value::String(name)) => STATES.iter().find(|known| *known == name),
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|number| STATES.get(usize::try_from(number).ok()?))
        }
        _ => None,
    };
    Ok(known.unwrap_or(&STATES[0]).to_string())
}

fn value<'a>(given: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, Problem> {
    field(given, name).map_err(|error| Problem::invalid(error.to_string()))
}

fn object<'a>(given: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Problem> {
    match value(given, name)? {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn text(given: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    match value(given, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type(name, other)),
    }
}

fn list<'a>(given: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], Problem> {
    match value(given, name)? {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(wrong_type(name, other)),
    }
}

/// An object of texts.
fn texts(given: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, Problem> {
    let object = object(given, name)?.cloned().unwrap_or_default();
    match object.values().find(|value| !value.is_string()) {
        Some(other) => Err(wrong_type(name, other)),
        None => Ok(object),
    }
}

/// A time in milliseconds that can be told.
pub(super) fn milliseconds(request: &Request, name: &str) -> Result<i64, Problem> {
    let given = request.json.get(name).and_then(integer);
    match request.json.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => given.and_then(in_years).ok_or_else(|| wrong_type(name, value)),
    }
}
