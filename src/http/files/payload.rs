//! Payload in volumes. Where an experiment's artifacts and spans lie in a volume, whoever reads or writes them needs
//! `READ_VOLUME` or `WRITE_VOLUME` on it besides what the experiment demands, by whichever door. What only tells that
//! there are traces stays with the experiment.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::lookup::Demand;
use super::{Place, pages, volume};
use crate::access::{Check, ExperimentId, Privilege, RunId, Securable, SecurableKind};
use crate::app::payload::PayloadPlace;
use crate::app::roots::segments;
use crate::objects::{Existing, collect};
use crate::wire::{Body, Malformed, Reply};

/// Largest file that the call for small files takes, as with an MLflow server.
const SMALL_FILE: usize = 10 * 1024 * 1024;

/// Operations that need to read or write traces and show or change no payload. What is not here does.
const METADATA: [&str; 17] = [
    "trace.info",
    "trace.info_v2",
    "trace.batch_info",
    "trace.start_v2",
    "trace.start_v3",
    "trace.end",
    "trace.tag_set",
    "trace.tag_set_v2",
    "trace.tag_delete",
    "trace.tag_delete_v2",
    "trace.search",
    "trace.search_v2",
    "issue.get",
    "issue.search",
    "issue.create",
    "issue.update",
    "experiment.search",
];
/// The first words of more of them: these have texts of their own.
const WITHOUT_PAYLOAD: [&str; 4] = ["assessment", "dataset", "review_queue", "label_schema"];

/// What an operation that needs a privilege on an experiment needs on the volume of its payload.
pub(in crate::http) fn on_volume(operation: &str, privilege: Privilege) -> Option<Privilege> {
    let family = operation.split('.').next().unwrap_or_default();
    if METADATA.contains(&operation) || WITHOUT_PAYLOAD.contains(&family) {
        return None;
    }
    match privilege {
        Privilege::TraceRead | Privilege::ArtifactRead => Some(Privilege::ReadVolume),
        Privilege::TraceWrite | Privilege::ArtifactWrite => Some(Privilege::WriteVolume),
        _ => None,
    }
}

/// Adds what the volumes demand to what a call demands of experiments.
pub(in crate::http) async fn demand_volumes(call: &mut Call<'_>) -> Result<(), Refusal> {
    let mut wanted: BTreeSet<(ExperimentId, &'static str)> = BTreeSet::new();
    for check in call.demands.iter().flat_map(|demand| &demand.checks) {
        if check.securable.kind == SecurableKind::Experiment
            && let Some(needed) = on_volume(&call.operation.name, check.privilege)
        {
            let reads = needed == Privilege::ReadVolume;
            wanted.insert((ExperimentId::parse(&check.securable.id)?, if reads { "read" } else { "write" }));
        }
    }
    for (experiment, how) in wanted {
        let Some(facts) = call.app.owners.experiment(call.app, call.backend, &experiment).await? else {
            continue;
        };
        let place = call.app.payload_place(&facts.artifact_location).await?;
        let Some(demand) = demand(&place, how == "read") else { continue };
        call.demands.push(demand);
        if let PayloadPlace::Volume(named, path) = place
            && call.place.is_none()
        {
            let found = call.app.store.catalog_object(&named).await?;
            call.app.at_least(found.version).await?;
            call.place = Some(Place::Volume { named, found: found.found.map(Box::new), path });
        }
    }
    Ok(())
}

fn demand(place: &PayloadPlace, reads: bool) -> Option<Demand> {
    let (privilege, securable) = needed(place, reads)?;
    let mut demand = Demand::on(privilege, securable.clone());
    if securable.kind != SecurableKind::Workspace {
        demand.thing =
            format!("`{securable}`, in which the payload of the experiment lies, or it does not exist");
    }
    Some(demand)
}

fn needed(place: &PayloadPlace, reads: bool) -> Option<(Privilege, Securable)> {
    match (place, reads) {
        (PayloadPlace::Own, _) => None,
        (PayloadPlace::Volume(volume, _), true) => Some((Privilege::ReadVolume, volume.clone())),
        (PayloadPlace::Volume(volume, _), false) => Some((Privilege::WriteVolume, volume.clone())),
        (PayloadPlace::External(location), true) => Some((Privilege::ReadFiles, location.clone())),
        (PayloadPlace::External(location), false) => Some((Privilege::WriteFiles, location.clone())),
        (PayloadPlace::Unreadable, _) => Some((Privilege::WorkspaceManage, Securable::workspace())),
    }
}

/// Whether the caller may read or write the payload of an experiment, as far as a volume decides about it.
pub(in crate::http) async fn allows(
    call: &Call<'_>,
    experiment: &ExperimentId,
    reads: bool,
) -> Result<bool, Refusal> {
    let facts = call.app.owners.experiment(call.app, call.backend, experiment).await?;
    let Some(facts) = facts else { return Ok(true) };
    let place = call.app.payload_place(&facts.artifact_location).await?;
    match needed(&place, reads) {
        None => Ok(true),
        Some((privilege, securable)) => call.allows(Check::new(privilege, securable)),
    }
}

/// The answer to a call on artifacts that lie in a volume; nothing if the backend has it.
pub(in crate::http) async fn from_volume(call: &mut Call<'_>) -> Result<Option<Reply>, Refusal> {
    match call.operation.name.as_str() {
        name if call.app.backend.is_own() && name.starts_with("trace.artifact") => Ok(None),
        "artifact.upload" => upload(call).await,
        _ => answer(call).await,
    }
}

/// A small file as the body of a POST, as MLflow's web pages send it.
async fn upload(call: &mut Call<'_>) -> Result<Option<Reply>, Refusal> {
    let Some(Place::Volume { .. }) = &call.place else { return Ok(None) };
    let Some(place) = call.place.take() else { return Ok(None) };
    let asked = |name: &str| -> Result<String, Refusal> {
        let given = call.head.query.one(name)?.filter(|value| !value.is_empty());
        let missing = || Malformed::new(format!("query parameter `{name}`"), "must be given");
        Ok(given.ok_or_else(missing)?.to_owned())
    };
    let path = segments(&asked("path")?)?.join("/");
    let own = format!("{}/artifacts/{path}", RunId::parse(&asked("run_uuid")?)?);
    let (files, root, _) = place.volume(call).await?;
    let body = std::mem::replace(&mut call.body, Body::Empty);
    let data = collect(body, SMALL_FILE).await?.filter(|data| !data.is_empty());
    let data = data.ok_or_else(|| Malformed::new("body", "must be a file of 1 byte to 10 MiB"))?;
    files.store(&joined(root, &own), Body::memory(data), Existing::Replace).await?;
    Ok(Some(pages::written_text(200, String::new())))
}

/// As [`from_volume`], for spans and attachments that the backend does not have.
pub(in crate::http) async fn if_absent(call: &mut Call<'_>, reply: Reply) -> Result<Reply, Refusal> {
    let of_traces = call.operation.name.starts_with("trace.artifact");
    if reply.status != 404 || !of_traces || !call.app.backend.is_own() {
        return Ok(reply);
    }
    Ok(answer(call).await?.unwrap_or(reply))
}

async fn answer(call: &mut Call<'_>) -> Result<Option<Reply>, Refusal> {
    let asked = |name: &str| -> Result<String, Refusal> {
        Ok(call.head.query.one(name)?.unwrap_or_default().to_owned())
    };
    let (below, path, lists) = match call.operation.name.as_str() {
        "artifact.list" | "artifact.get" => {
            let run = [asked("run_id")?, asked("run_uuid")?].into_iter().find(|id| !id.is_empty());
            let lists = call.operation.name == "artifact.list";
            (format!("{}/artifacts", run.unwrap_or_default()), asked("path")?, lists)
        }
        "logged_model.artifact_list" => {
            (format!("models/{}/artifacts", call.param("model_id")), asked("artifact_directory_path")?, true)
        }
        "logged_model.artifact_get" => {
            (format!("models/{}/artifacts", call.param("model_id")), asked("artifact_file_path")?, false)
        }
        "trace.artifact" | "trace.artifact_v2" => {
            let path = match asked("path")?.as_str() {
                "" => "traces.json".to_owned(),
                attachment => format!("attachments/{attachment}"),
            };
            (format!("traces/{}/artifacts", asked("request_id")?), path, false)
        }
        _ => return Ok(None),
    };
    let Some(place) = call.place.take() else { return Ok(None) };
    let Place::Volume { path: root, .. } = &place else { return Ok(None) };
    let relative = segments(&path)?.join("/");
    let directory = joined(root, &below);
    let whole = joined(&directory, &relative);
    let (files, _, object) = place.volume(call).await?;
    if !lists {
        return volume::get(call, &files, &whole, &relative).await.map(Some);
    }
    let listed = files.directory(&whole).await?.unwrap_or_default();
    let listed: Vec<Value> = listed
        .iter()
        .map(|entry| {
            let path = joined(&relative, &entry.name);
            match entry.size {
                Some(size) => json!({ "path": path, "is_dir": false, "file_size": size }),
                None => json!({ "path": path, "is_dir": true }),
            }
        })
        .collect();
    let mut answer = Map::new();
    let root_uri = format!("dbfs:/Volumes/{}/{directory}", object.securable.id.replace('.', "/"));
    answer.insert("root_uri".to_owned(), root_uri.into());
    answer.insert("files".to_owned(), listed.into());
    Ok(Some(pages::written(200, &answer)))
}

/// A path below a directory, either of which may be the empty one.
pub(super) fn joined(directory: &str, path: &str) -> String {
    match (directory, path) {
        ("", path) => path.to_owned(),
        (directory, "") => directory.to_owned(),
        (directory, path) => format!("{directory}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Manifest;

    /// What is listed as without payload must exist; a new operation that reads traces is payload until somebody says
    /// that it is not.
    #[test]
    fn operations_without_payload_are_known_ones() {
        let manifest = Manifest::builtin().unwrap();
        let known = |name: &str| manifest.operations().iter().any(|operation| operation.name == name);
        for name in METADATA {
            assert!(known(name), "{name}");
        }
        for operation in
            ["trace.get", "trace.artifact", "trace.metrics", "artifact.proxy_get", "ui.graphql", "new.one"]
        {
            assert_eq!(
                on_volume(operation, Privilege::TraceRead),
                Some(Privilege::ReadVolume),
                "{operation}"
            );
            assert_eq!(
                on_volume(operation, Privilege::ArtifactRead),
                Some(Privilege::ReadVolume),
                "{operation}"
            );
        }
        for operation in ["otlp.export", "artifact.upload", "files.trace_put", "new.one"] {
            assert_eq!(
                on_volume(operation, Privilege::TraceWrite),
                Some(Privilege::WriteVolume),
                "{operation}"
            );
            assert_eq!(
                on_volume(operation, Privilege::ArtifactWrite),
                Some(Privilege::WriteVolume),
                "{operation}"
            );
        }
        assert_eq!(on_volume("trace.info", Privilege::TraceRead), None);
        assert_eq!(on_volume("trace.get", Privilege::TraceList), None);
    }
}
