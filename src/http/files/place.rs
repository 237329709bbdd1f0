//! What a path of the Files API names: one reading, or a refusal.

use super::super::call::Call;
use super::super::catalog::hides;
use super::super::error::Refusal;
use super::super::lookup::Demand;
use super::absent;
use super::payload::joined;
use crate::access::{ExperimentId, LoggedModelId, Privilege, RunId, Securable, SecurableKind, TraceId};
use crate::app::payload::PayloadPlace;
use crate::app::roots::{proxied_path, segments};
use crate::objects::Volume;
use crate::store::CatalogObject;

pub(in crate::http) enum Place {
    /// A path within a volume; the empty one is the volume itself.
    Volume { named: Securable, found: Option<Box<CatalogObject>>, path: String },
    /// A path under the artifact proxy.
    Artifact { path: String },
    /// Of an experiment whose artifacts are reached in other ways.
    Elsewhere,
}

/// Reads a path, and demands what is needed there. `privilege` is that for a volume.
pub(in crate::http) async fn demand(
    call: &mut Call<'_>,
    privilege: Privilege,
    path: &str,
) -> Result<(), Refusal> {
    let parts = segments(path.strip_prefix('/').unwrap_or(path))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let place = match parts.as_slice() {
        ["Volumes", catalog, schema, volume, rest @ ..] => {
            let named = volume_named(catalog, schema, volume)?;
            let found = demand_volume(call, privilege, &named).await?;
            note_trace(call, &named, rest).await?;
            Place::Volume { named, found: found.map(Box::new), path: rest.join("/") }
        }
        ["WorkspaceInternal", "Mlflow", "Artifacts", experiment, kind, id, rest @ ..] => {
            let privilege = match privilege {
                Privilege::ReadVolume => Privilege::ArtifactRead,
                _ => Privilege::ArtifactWrite,
            };
            let experiment = ExperimentId::parse(experiment)?;
            let own = own_path(kind, id, rest)?;
            // One that does not exist has the place that it would have: it is told apart from none that is hidden.
            let facts = call.app.owners.experiment(call.app, call.backend, &experiment).await?;
            let root = facts
                .map_or_else(|| Some(experiment.to_string()), |facts| proxied_path(&facts.artifact_location));
            match root {
                Some(root) => {
                    let path = format!("{root}/{own}");
                    call.demand_artifact(privilege, &path).await?;
                    Place::Artifact { path }
                }
                None => {
                    call.demand_experiment(privilege, &experiment).await?;
                    in_volume(call, &experiment, &own).await?
                }
            }
        }
        _ => return Err(absent(&format!("/{}", parts.join("/")))),
    };
    call.place = Some(place);
    Ok(())
}

/// Something of an experiment whose payload lies in a volume; what is needed there comes with the other demands on
/// payload.
async fn in_volume(call: &mut Call<'_>, experiment: &ExperimentId, own: &str) -> Result<Place, Refusal> {
    let facts = call.app.owners.experiment(call.app, call.backend, experiment).await?;
    let Some(facts) = facts else { return Ok(Place::Elsewhere) };
    let place = call.app.payload_place(&facts.artifact_location).await?;
    let PayloadPlace::Volume(named, root) = place else { return Ok(Place::Elsewhere) };
    let path = joined(&root, own);
    note_trace(call, &named, &path.split('/').collect::<Vec<_>>()).await?;
    let found = call.app.store.catalog_object(&named).await?;
    call.app.at_least(found.version).await?;
    Ok(Place::Volume { named, found: found.found.map(Box::new), path })
}

/// Notes for the record whose payload a file is, where an experiment keeps its traces there.
async fn note_trace(call: &mut Call<'_>, volume: &Securable, path: &[&str]) -> Result<(), Refusal> {
    for (at, pair) in path.windows(2).enumerate() {
        let ["traces", id] = pair else { continue };
        let Ok(trace) = TraceId::parse(id) else { continue };
        let Some(claim) = call.app.owners.of_trace(call.app, call.backend, &trace).await? else { continue };
        let facts = call.app.owners.experiment(call.app, call.backend, &claim.experiment).await?;
        let Some(facts) = facts else { continue };
        if let PayloadPlace::Volume(named, root) = call.app.payload_place(&facts.artifact_location).await?
            && named == *volume
            && root == path.get(..at).unwrap_or_default().join("/")
        {
            call.trace_ids.push(trace);
        }
    }
    Ok(())
}

pub(in crate::http) fn volume_named(catalog: &str, schema: &str, volume: &str) -> Result<Securable, Refusal> {
    // A period would be read as the end of a name.
    if [catalog, schema, volume].iter().any(|name| name.contains('.')) {
        return Err(absent(&format!("/Volumes/{catalog}/{schema}/{volume}")));
    }
    Ok(Securable::new(SecurableKind::Volume, &format!("{catalog}.{schema}.{volume}"))?)
}

/// Demands a privilege on a volume; one that is hidden is answered as one that is missing.
pub(in crate::http) async fn demand_volume(
    call: &mut Call<'_>,
    privilege: Privilege,
    named: &Securable,
) -> Result<Option<CatalogObject>, Refusal> {
    let found = call.app.store.catalog_object(named).await?;
    // Not by the grants of something else that had this name before.
    call.app.at_least(found.version).await?;
    let mut demand = Demand::on(privilege, named.clone());
    demand.thing = format!("volume `{}`", named.id);
    if found.found.is_none() || hides(call, named)? {
        demand.missing = Some(format!("volume `{}` does not exist", named.id));
    }
    call.demands.push(demand);
    Ok(found.found)
}

impl Place {
    /// The files of the volume, if the object that was decided about still has the name: a new one of that name has
    /// other grants.
    pub(super) async fn volume(&self, call: &Call<'_>) -> Result<(Volume, &str, &CatalogObject), Refusal> {
        let Self::Volume { named, found, path } = self else { return Err(Refusal::UnknownEndpoint) };
        let gone = || Refusal::NotFound(format!("volume `{}` does not exist", named.id));
        let object = found.as_deref().ok_or_else(gone)?;
        let now = call.app.store.catalog_object(named).await?.found.ok_or_else(gone)?;
        if now.id != object.id || now.location != object.location {
            return Err(gone());
        }
        let location = object.location.as_ref().ok_or_else(gone)?;
        Ok((call.app.volumes.at(location.as_str())?, path, object))
    }
}

/// Where something of an experiment lies below its root.
fn own_path(kind: &str, id: &str, rest: &[&str]) -> Result<String, Refusal> {
    let mut own = match kind {
        "Runs" => {
            RunId::parse(id)?;
            id.to_owned()
        }
        "LoggedModels" => {
            LoggedModelId::parse(id)?;
            format!("models/{id}")
        }
        "Traces" => {
            TraceId::parse(id)?;
            format!("traces/{id}")
        }
        _ => return Err(absent(&format!("/WorkspaceInternal/Mlflow/Artifacts/…/{kind}"))),
    };
    for part in rest {
        own.push('/');
        own.push_str(part);
    }
    Ok(own)
}
