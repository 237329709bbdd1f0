//! Starting and ending traces: the author is stamped, reserved keys are refused, the id is claimed.

use serde_json::{Map, Value};

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::lookup::Demand;
use super::super::pages;
use super::super::trail::Trail;
use super::{After, assessments, has_on_all};
use crate::access::{Check, ExperimentId, Privilege, Securable, TraceId};
use crate::app::subjects;
use crate::backend::Owned;
use crate::classify::reserved;
use crate::http::edit::{self, child, child_mut, text};
use crate::wire::{Malformed, Reply};

/// Where an MLflow 3 trace info stands in the request.
const TRACE_INFO: [&str; 2] = ["trace", "trace_info"];
/// The tags that the SDK needs back: where the payload goes and where the spans are.
const LOCATIONS: [&str; 2] = ["mlflow.artifactLocation", "mlflow.trace.spansLocation"];

/// `POST /api/3.0/mlflow/traces`: the client chose the id, so it must be free or already this experiment's.
pub(super) async fn v3(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let info =
        child(&object, &TRACE_INFO)?.ok_or_else(|| Malformed::new("trace.trace_info", "is missing"))?.clone();
    let id =
        text(&info, "trace_id")?.ok_or_else(|| Malformed::new("trace.trace_info.trace_id", "is missing"))?;
    let trace = TraceId::parse(id)?;
    let location = child(&info, &["trace_location", "mlflow_experiment"])?
        .ok_or_else(|| Malformed::new("trace.trace_info.trace_location", "must be an MLflow experiment"))?;
    let experiment = text(location, "experiment_id")?
        .ok_or_else(|| Malformed::new("trace_location.mlflow_experiment.experiment_id", "is missing"))?;
    let experiment = ExperimentId::parse(experiment)?;
    let securable = Securable::experiment(&experiment);

    let claim = call.app.owners.of_trace(call.app, call.backend, &trace).await?;
    let starter = claim.as_ref().and_then(|claim| claim.started_by.as_ref());
    if starter.is_some() && starter != call.principal() {
        // Somebody else started it: writing its head again is an edit, not an ingest.
        let mut demand = Demand::on(Privilege::TraceTag, securable.clone());
        demand.thing = format!("trace `{trace}`, which somebody else started");
        call.demands.push(demand);
    }
    refuse_reserved(&info)?;
    // Metadata may link the trace to a run and a logged model of any experiment.
    for (key, kind, what) in
        [("mlflow.sourceRun", Owned::Run, "run"), ("mlflow.modelId", Owned::LoggedModel, "logged model")]
    {
        let named = child(&info, &["trace_metadata"])?.and_then(|metadata| metadata.get(key));
        if let Some(id) = named.and_then(Value::as_str).filter(|id| !id.is_empty()) {
            call.demand_owned(Privilege::TraceWrite, kind, what, id).await?;
        }
    }
    let embedded = info.get("assessments").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if embedded {
        call.demands.push(Demand::on(Privilege::AssessmentWrite, securable.clone()));
    }
    let author = call.caller.principal.name.clone();
    let edited = child_mut(call.edit(), &TRACE_INFO)?
        .ok_or_else(|| Malformed::new("trace.trace_info", "is missing"))?;
    edit::set_in_map(edited, "trace_metadata", "mlflow.user", &author)?;
    if let Some(Value::Array(list)) = edited.get_mut("assessments") {
        for assessment in list {
            let Value::Object(assessment) = assessment else {
                return Err(Malformed::new("assessments", "must hold objects").into());
            };
            assessments::stamp_source(assessment, &author)?;
        }
    }
    call.marks.extend(subjects::pairs(&info).into_iter().map(|(key, value)| (trace.clone(), key, value)));
    call.claims.push((trace.clone(), experiment));
    call.trace_ids.push(trace);
    // What the answer says beside what was sent was written by whoever started the trace.
    call.reads_back = starter.is_some() && starter != call.principal();
    if call.allows(Check::new(Privilege::TraceRead, securable))? {
        return Ok(After::Nothing);
    }
    call.reads_back = false;
    Ok(After::StartedBlind { sent: call.json.clone().unwrap_or_default() })
}

/// The answer for someone who may not read: what was sent, and the two locations.
pub(super) async fn blind(
    call: &mut Call<'_>,
    mut sent: Map<String, Value>,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let status = reply.status;
    let answered = pages::read(call, &reply.headers, reply.body).await?;
    let tags = child(&answered, &["trace", "trace_info", "tags"])?;
    let locations: Vec<(&str, String)> =
        LOCATIONS.into_iter().filter_map(|key| Some((key, tags?.get(key)?.as_str()?.to_owned()))).collect();
    if let Some(info) = child_mut(&mut sent, &TRACE_INFO)? {
        for (key, value) in locations {
            edit::set_in_map(info, "tags", key, &value)?;
        }
    }
    Ok(pages::written(status, &sent))
}

/// `POST /api/2.0/mlflow/traces`: the server mints the id.
pub(super) fn v2(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let experiment =
        text(&object, "experiment_id")?.ok_or_else(|| Malformed::new("experiment_id", "is missing"))?;
    let experiment = ExperimentId::parse(experiment)?;
    refuse_reserved(&object)?;
    let author = call.caller.principal.name.clone();
    edit::set_in_pairs(call.edit(), "request_metadata", "mlflow.user", &author)?;
    Ok(After::StartedV2(experiment))
}

/// Claims the id that the server minted, before it is given to the client.
pub(super) async fn claim_minted(
    call: &mut Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let status = reply.status;
    let mut answered = pages::read(call, &reply.headers, reply.body).await?;
    let info = child_mut(&mut answered, &["trace_info"])?;
    let minted = info.as_deref().and_then(|info| info.get("request_id")).and_then(Value::as_str);
    let trace = TraceId::parse(minted.ok_or(crate::backend::BackendError::BrokenOff)?)
        .map_err(|_| crate::backend::BackendError::BrokenOff)?;
    let claim = call.app.owners.claim_minted(call.app, &trace, experiment, &call.caller.principal).await?;
    trail.traces([&trace]);
    call.written.push((trace.clone(), experiment.clone()));
    if let Some(info) = info.as_deref() {
        call.app.subjects.learn_info(&trace, info);
    }
    if claim.experiment != *experiment {
        // A server that gives an id out twice would hand one experiment's trace to another.
        return Err(Refusal::Internal(format!("the backend minted `{trace}`, which is claimed already")));
    }
    if !has_on_all(call, Privilege::TraceRead, std::slice::from_ref(experiment))?
        && let Some(info) = info
    {
        info.retain(|key, _| {
            matches!(key.as_str(), "request_id" | "experiment_id" | "timestamp_ms" | "status" | "tags")
        });
        if let Some(Value::Array(tags)) = info.get_mut("tags") {
            tags.retain(|tag| {
                tag.get("key").and_then(Value::as_str).is_some_and(|key| LOCATIONS.contains(&key))
            });
        }
    }
    Ok(pages::written(status, &answered))
}

/// `PATCH /api/2.0/mlflow/traces/{id}`: status, metadata and tags of an MLflow 2 trace.
pub(super) fn end(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    refuse_reserved(&object)?;
    if edit::keys_of_pairs(&object, "request_metadata")?.iter().any(|key| key == "mlflow.user") {
        let author = call.caller.principal.name.clone();
        edit::set_in_pairs(call.edit(), "request_metadata", "mlflow.user", &author)?;
    }
    for trace in call.trace_ids.clone() {
        let pairs = subjects::pairs(&object).into_iter();
        call.marks.extend(pairs.map(|(key, value)| (trace.clone(), key, value)));
    }
    // The answer holds the whole head of the trace.
    call.reads_back = call.demands.iter().any(|demand| demand.own.is_none());
    Ok(After::Nothing)
}

/// Refuses reserved tags and metadata, as maps (MLflow 3) or as lists of pairs (MLflow 2).
fn refuse_reserved(info: &Map<String, Value>) -> Result<(), Refusal> {
    for key in edit::keys_of_pairs(info, "tags")? {
        if reserved::reserved_trace_tag(&key) {
            return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be set by clients")));
        }
    }
    for field in ["trace_metadata", "request_metadata"] {
        for key in edit::keys_of_pairs(info, field)? {
            if reserved::reserved_trace_metadata(&key) {
                return Err(Refusal::Denied(format!(
                    "metadata `{key}` is reserved and cannot be set by clients"
                )));
            }
        }
    }
    Ok(())
}
