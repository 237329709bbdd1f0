//! Links an experiment to a place: clients read it from the experiment's tags, which they cannot set themselves.

use serde_json::{Value, json};

use super::place::{Part, Place};
use super::{access, tables};
use crate::access::{Check, ExperimentId, Privilege, Securable};
use crate::backend::Outgoing;
use crate::http::call::Call;
use crate::http::edit::text;
use crate::http::error::Refusal;
use crate::http::own::{answered, demand, sent};
use crate::http::trail::Trail;
use crate::policy::Permit;
use crate::wire::{Body, CanonicalPath, Head, Headers, Malformed, Method, Query, Reply};

/// Where clients write from now on. Takes `experiment.manage`, and reading and writing the tables.
pub(super) async fn link(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (experiment, place) = named(call, trail).await?;
    let parts = [Part::Spans, place.notes()];
    let needs: Vec<(Privilege, Securable)> = parts
        .into_iter()
        .flat_map(|part| {
            [Privilege::Select, Privilege::Modify].map(|privilege| (privilege, place.table(part)))
        })
        .collect();
    let (_permit, _) = access::tables(call, trail, &needs).await?;
    for (key, value) in tables::tags(&place) {
        let body = json!({"experiment_id": experiment.as_str(), "key": key, "value": value});
        forward(call, trail, &experiment, "set", &body).await?;
    }
    answered(&json!({}))
}

/// Back to the experiment itself.
pub(super) async fn unlink(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (experiment, place) = named(call, trail).await?;
    for (key, _) in tables::tags(&place) {
        let body = json!({"experiment_id": experiment.as_str(), "key": key});
        forward(call, trail, &experiment, "delete", &body).await?;
    }
    answered(&json!({}))
}

async fn named(call: &mut Call<'_>, trail: &mut Trail) -> Result<(ExperimentId, Place), Refusal> {
    let body = sent(call).await?;
    let experiment = ExperimentId::parse(call.param("experiment"))?;
    if text(&body, "experiment_id")?.is_some_and(|id| id != experiment.as_str()) {
        return Err(Malformed::new("experiment_id", "is not that of the path").into());
    }
    let place = tables::place_in(&body)?;
    let manage = Check::new(Privilege::ExperimentManage, Securable::experiment(&experiment));
    trail.demands(manage.securable.to_string(), manage.privilege.to_string());
    let facts = call.app.owners.experiment(call.app, call.backend, &experiment).await?;
    demand(call, manage.clone())?;
    if facts.is_none() {
        return Err(Refusal::NotFound(format!("experiment `{experiment}` does not exist")));
    }
    Ok((experiment, place))
}

/// Has the store set or delete a tag that no client can.
async fn forward(
    call: &Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
    verb: &str,
    body: &Value,
) -> Result<(), Refusal> {
    let permit = manager(call, trail, experiment)?;
    let bytes = serde_json::to_vec(body).map_err(|error| Refusal::Internal(error.to_string()))?;
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    let path = format!("/api/2.0/mlflow/experiments/{verb}-experiment-tag");
    let outgoing = Outgoing {
        operation: format!("experiment.tag_{verb}"),
        params: Vec::new(),
        head: Head {
            method: Method::Post,
            path: CanonicalPath::parse(&path)?,
            query: Query::parse("")?,
            headers,
        },
        json: body.as_object().cloned(),
        body: Body::memory(bytes),
    };
    let reply = call.backend.forward(permit, outgoing).await?;
    // A tag that is not there needs no deleting.
    if reply.status < 300 || (verb == "delete" && matches!(reply.status, 400 | 404)) {
        return Ok(());
    }
    Err(Refusal::Internal(format!(
        "the store answered {} to a tag of experiment `{experiment}`",
        reply.status
    )))
}

fn manager(call: &Call<'_>, trail: &mut Trail, experiment: &ExperimentId) -> Result<Permit, Refusal> {
    let check = Check::new(Privilege::ExperimentManage, Securable::experiment(experiment));
    let requirement = crate::policy::Requirement::All(vec![check]);
    let (decision, permit) = call.view()?.authorize(Some(call.caller), &requirement)?;
    trail.decision(&decision);
    permit.ok_or_else(|| Refusal::Denied("access was revoked while the call ran".to_owned()))
}
