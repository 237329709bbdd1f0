//! Searching, tagging and linking traces.

use serde_json::{Map, Value};

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;
use super::super::files;
use super::super::pages;
use super::super::trail::Trail;
use super::{After, whole_page};
use crate::access::{Check, ExperimentId, Privilege, Securable, TraceId};
use crate::backend::BackendError;
use crate::classify::{reserved, trace_filter};
use crate::wire::{Malformed, Reply, json};

/// Which experiments' traces are masked on a page.
#[derive(Default)]
pub(in crate::http) struct Mask {
    listed_only: Vec<ExperimentId>,
}

/// What a trace may show to someone who may only list it: the allow-list of either MLflow version.
const LISTED_FIELDS: [&str; 12] = [
    "trace_id",
    "trace_location",
    "request_time",
    "execution_duration",
    "state",
    "tags",
    "trace_metadata",
    "request_id",
    "experiment_id",
    "timestamp_ms",
    "execution_time_ms",
    "status",
];
/// Metadata that only measures.
const LISTED_METADATA: [&str; 3] =
    ["mlflow.trace.sizeBytes", "mlflow.trace.sizeStats", "mlflow.trace_schema.version"];

/// A search over named experiments. Whoever may not read all of them gets no oracle: filter and order
/// may use only what a listing shows anyway.
pub(super) async fn search(call: &mut Call<'_>) -> Result<After, Refusal> {
    pages::open(call).await?;
    let mut mask = Mask::default();
    let experiments: Vec<ExperimentId> = call
        .demands
        .iter()
        .flat_map(|demand| &demand.checks)
        .filter_map(|check| ExperimentId::parse(&check.securable.id).ok())
        .collect();
    if experiments.is_empty() {
        return Err(Malformed::new("locations", "must name at least one experiment").into());
    }
    for experiment in experiments.clone() {
        if !call.allows(Check::new(Privilege::TraceRead, Securable::experiment(&experiment)))? {
            mask.listed_only.push(experiment);
        }
    }
    let payload_is_hidden = async |call: &Call<'_>| -> Result<Option<ExperimentId>, Refusal> {
        for experiment in &experiments {
            if !files::payload::allows(call, experiment, true).await? {
                return Ok(Some(experiment.clone()));
            }
        }
        Ok(None)
    };
    if let Some(experiment) = payload_is_hidden(call).await? {
        let (filter, order) = asked(call)?;
        let mut keys = trace_filter::keys_of_filter(&filter)?;
        keys.extend(trace_filter::keys_of_order_by(&order)?);
        if let Some(key) = keys.iter().find(|key| key.starts_with("span.")) {
            return Err(Refusal::Denied(format!(
                "`{key}` cannot be searched by without reading the volume in which the payload of experiment \
                 `{experiment}` lies"
            )));
        }
    }
    if let Some(first) = mask.listed_only.first() {
        let (filter, order) = asked(call)?;
        let mut keys = trace_filter::keys_of_filter(&filter)?;
        keys.extend(trace_filter::keys_of_order_by(&order)?);
        if let Some(key) = keys.iter().find(|key| !trace_filter::allowed_for_list(key)) {
            let missing = call.denied(Privilege::TraceRead, &Securable::experiment(first));
            return Err(Refusal::Denied(format!("`{key}` cannot be searched by without reading: {missing}")));
        }
    }
    Ok(After::TracePage(mask))
}

fn asked(call: &Call<'_>) -> Result<(String, Vec<String>), Refusal> {
    match &call.json {
        Some(object) => {
            let filter = edit::text(object, "filter")?.unwrap_or_default().to_owned();
            Ok((filter, edit::texts(object, "order_by")?))
        }
        None => {
            let filter = call.head.query.one("filter")?.unwrap_or_default().to_owned();
            Ok((filter, call.head.query.all("order_by").map(str::to_owned).collect()))
        }
    }
}

/// Records every id of a page, masks it and seals its token, before any of it is released.
pub(super) async fn release_page(
    call: &mut Call<'_>,
    trail: &mut Trail,
    mask: Mask,
    reply: Reply,
) -> Result<Reply, Refusal> {
    let status = reply.status;
    let bytes = pages::collected(call, reply.body).await?;
    if mask.listed_only.is_empty()
        && let Some(whole) = whole_page::read(&bytes)
    {
        for trace in &whole.traces {
            trail.traces([&trace.id]);
            call.app.subjects.learn(&trace.id, trace.marks());
        }
        let token =
            whole.next_page_token.as_deref().map(|token| pages::sealed_token(call, token)).transpose()?;
        return Ok(pages::written_text(status, whole.written(token.as_deref())));
    }
    let mut page = pages::parsed(&bytes)?;
    if let Some(traces) = page.get_mut("traces") {
        let traces = traces.as_array_mut().ok_or(BackendError::BrokenOff)?;
        for trace in traces.iter_mut() {
            let trace = trace.as_object_mut().ok_or(BackendError::BrokenOff)?;
            let id = ["trace_id", "request_id"].into_iter().find_map(|key| trace.get(key)?.as_str());
            // An id that does not parse would go unrecorded: nothing of the page is released.
            let id = TraceId::parse(id.unwrap_or_default()).map_err(|_| BackendError::BrokenOff)?;
            trail.traces([&id]);
            call.app.subjects.learn_info(&id, trace);
            if let Some(experiment) = experiment_of(trace) {
                if mask.listed_only.iter().any(|listed| listed.as_str() == experiment) {
                    trail.listed(&id);
                    keep_listed(trace);
                }
            } else if !mask.listed_only.is_empty() {
                trail.listed(&id);
                keep_listed(trace);
            }
        }
    }
    pages::seal_in(call, &mut page)?;
    Ok(pages::written(status, &page))
}

fn experiment_of(trace: &Map<String, Value>) -> Option<&str> {
    let nested = || trace.get("trace_location")?.get("mlflow_experiment")?.get("experiment_id")?.as_str();
    nested().or_else(|| trace.get("experiment_id")?.as_str())
}

fn keep_listed(trace: &mut Map<String, Value>) {
    trace.retain(|key, _| LISTED_FIELDS.contains(&key.as_str()));
    if let Some(Value::Object(metadata)) = trace.get_mut("trace_metadata") {
        metadata.retain(|key, _| LISTED_METADATA.contains(&key.as_str()));
    }
}

/// A tag is set or deleted: not one that steers the server.
pub(super) fn tag(call: &mut Call<'_>) -> Result<After, Refusal> {
    let key = match &call.json {
        Some(object) => edit::text(object, "key")?.unwrap_or_default().to_owned(),
        None => call.param("key").to_owned(),
    };
    if key.is_empty() {
        return Err(Malformed::new("key", "is missing").into());
    }
    if reserved::reserved_trace_tag(&key) {
        return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be changed by clients")));
    }
    let value = match &call.json {
        Some(object) => edit::text(object, "value")?.unwrap_or_default().to_owned(),
        None => String::new(),
    };
    for trace in call.trace_ids.clone() {
        call.marks.push((trace, key.clone(), value.clone()));
    }
    Ok(After::Nothing)
}

/// Prompts are linked to a trace: each must be one that the caller may read.
pub(super) fn link_prompts(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let refuse = || Malformed::new("prompt_versions", "must be a list of name and version");
    let Some(Value::Array(versions)) = json::field(&object, "prompt_versions")? else {
        return Err(refuse().into());
    };
    for version in versions {
        let name = edit::text(version.as_object().ok_or_else(refuse)?, "name")?.ok_or_else(refuse)?;
        call.demand_model(Privilege::ModelRead, name)?;
    }
    if versions.is_empty() {
        return Err(refuse().into());
    }
    Ok(After::Nothing)
}
