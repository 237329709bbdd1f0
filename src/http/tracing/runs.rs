//! Traces in tables that belong to runs. The run is its experiment's, so that one's privilege is needed too.

use serde_json::{Map, Value, json};

use super::annotation::{Annotation, Kind};
use super::place::trace_hex;
use super::{access, info, time};
use crate::access::{Privilege, RunId};
use crate::backend::Owned;
use crate::http::call::Call;
use crate::http::edit::{child, text, texts};
use crate::http::error::Refusal;
use crate::http::own::{answered, demand, sent};
use crate::http::trail::Trail;
use crate::wire::{Malformed, Reply};

const MOST_TRACES: usize = 1000;

pub(super) async fn link(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    change(call, trail, false).await
}

pub(super) async fn unlink(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    change(call, trail, true).await
}

async fn change(call: &mut Call<'_>, trail: &mut Trail, gone: bool) -> Result<Reply, Refusal> {
    let place = info::place(call)?;
    let body = match call.json.clone() {
        Some(body) => body,
        None => sent(call).await?,
    };
    if text(&body, "location_id")?.is_some_and(|id| id != place.to_string()) {
        return Err(Malformed::new("location_id", "is not that of the path").into());
    }
    let run = text(&body, "run_id")?.ok_or_else(|| Malformed::new("run_id", "is missing"))?.to_owned();
    RunId::parse(&run)?;
    let traces = texts(&body, "trace_ids")?;
    if traces.is_empty() || traces.len() > MOST_TRACES {
        let problem = format!("must name between 1 and {MOST_TRACES} traces");
        return Err(Malformed::new("trace_ids", problem).into());
    }
    for trace in &traces {
        trace_hex(trace, "trace_ids")?;
    }
    trail.named_traces(traces.iter().map(|trace| place.trace(trace)));
    owned(call, Privilege::RunWrite, Owned::Run, "run", &run).await?;
    let (by, at) = (call.caller.principal.to_string(), time::next_micros(call.app.clock.now()));
    let row = |trace: &String| {
        let row = Annotation::only(trace, Kind::RunLink, &run, json!(run), &by, at);
        if gone { row.deleted(&by, at) } else { row }
    };
    let rows: Vec<Annotation> = traces.iter().map(row).collect();
    let needs = [(Privilege::Modify, place.table(place.notes()))];
    let (permit, objects) = access::tables(call, trail, &needs).await?;
    info::append(call, &permit, &place, &objects, &rows).await?;
    answered(&json!({}))
}

/// A head may name the run and the logged model that a trace is of, of whatever experiment.
pub(super) async fn may_name(call: &mut Call<'_>, info: &Map<String, Value>) -> Result<(), Refusal> {
    for (key, kind, what) in
        [("mlflow.sourceRun", Owned::Run, "run"), ("mlflow.modelId", Owned::LoggedModel, "logged model")]
    {
        let named = child(info, &["trace_metadata"])?.and_then(|metadata| metadata.get(key));
        if let Some(id) = named.and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned) {
            owned(call, Privilege::TraceWrite, kind, what, &id).await?;
        }
    }
    Ok(())
}

/// Demands a privilege on the experiments that own a thing, in the middle of a call.
async fn owned(
    call: &mut Call<'_>,
    privilege: Privilege,
    kind: Owned,
    what: &str,
    id: &str,
) -> Result<(), Refusal> {
    let known = call.demands.len();
    call.demand_owned(privilege, kind, what, id).await?;
    for wanted in call.demands.split_off(known) {
        for check in wanted.checks {
            demand(call, check)?;
        }
    }
    Ok(())
}
