//! Experiments: created, renamed and tagged; their roots kept apart, their creators made managers.

use serde_json::Value;

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;
use super::super::files;
use super::super::lookup::Demand;
use super::super::trail::Trail;
use super::super::{changes, pages};
use super::After;
use crate::access::{Check, Effect, ExperimentId, NewGrant, Privilege, Securable};
use crate::app::App;
use crate::app::payload::{PayloadPlace, root_in_volume};
use crate::app::roots::{in_volume, proxied_path, segments};
use crate::backend::BackendError;
use crate::classify::reserved;
use crate::wire::{Malformed, Reply};

/// Who may create is decided on the folder that the name puts the experiment in.
pub(super) async fn create(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let name = edit::text(&object, "name")?.unwrap_or_default();
    if let Some(folder) = folder_of(name)? {
        call.demands.push(Demand::on(Privilege::ExperimentCreate, folder));
    }
    for key in edit::keys_of_pairs(&object, "tags")? {
        refuse_reserved_tag(&key)?;
    }
    if let Some(location) = edit::text(&object, "artifact_location")?
        && !location.is_empty()
    {
        own_root(call, location).await?;
    }
    Ok(After::ExperimentCreated)
}

/// A root that a client asks for must be nobody else's, now and when the next experiment is numbered.
async fn own_root(call: &mut Call<'_>, location: &str) -> Result<(), Refusal> {
    let refuse = |problem: &str| Refusal::Denied(format!("artifact_location `{location}` {problem}"));
    if let Some(root) = root_in_volume(location) {
        let PayloadPlace::Volume(named, _) = call.app.payload_place(location).await? else {
            return Err(refuse("names no volume"));
        };
        files::demand_volume(call, Privilege::WriteVolume, &named).await?;
        if call.app.roots.overlaps(call.app, call.backend, &in_volume(&root)).await? {
            return Err(refuse("overlaps the artifacts of another experiment"));
        }
        return Ok(());
    }
    let Some(path) = proxied_path(location) else {
        // Any other location is one that the server has credentials for and the caller may not.
        call.demands.push(Demand::on(Privilege::WorkspaceManage, Securable::workspace()));
        return Ok(());
    };
    let root = segments(&path)?;
    let Some(first) = root.first() else { return Err(refuse("is the root of all artifacts")) };
    if first.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse("is the default root of an experiment"));
    }
    if call.app.roots.overlaps(call.app, call.backend, &root).await? {
        return Err(refuse("overlaps the artifacts of another experiment"));
    }
    Ok(())
}

/// The creator manages what it created.
pub(super) async fn created(call: &mut Call<'_>, trail: &Trail, reply: Reply) -> Result<Reply, Refusal> {
    let status = reply.status;
    let answered = pages::read(call, &reply.headers, reply.body).await?;
    let id = edit::text(&answered, "experiment_id")?.ok_or(BackendError::BrokenOff)?;
    let id = ExperimentId::parse(id).map_err(|_| BackendError::BrokenOff)?;
    call.app.owners.experiment(call.app, call.backend, &id).await?;
    let sent = call.json.clone().unwrap_or_default();
    let root = |location: &str| root_in_volume(location).or_else(|| proxied_path(location));
    if let Some(path) = edit::text(&sent, "artifact_location")?.and_then(root)
        && !call.app.store.put_artifact_root(&path, &id).await?
    {
        // Two were made at the same time: the second is left to administrators.
        return Err(Refusal::Denied(format!(
            "experiment `{id}` was made, but its artifact_location overlaps another experiment's; \
             an administrator has to remove it"
        )));
    }
    let grant = NewGrant {
        principal: call.caller.principal.clone(),
        securable: Securable::experiment(&id),
        privilege: "CAN_MANAGE".to_owned(),
        effect: Effect::Allow,
        reason: Some("created it".to_owned()),
        expires_at: None,
    };
    changes::add_grant(call.app, trail, &grant, &call.caller.principal).await?;
    Ok(pages::written(status, &answered))
}

/// A name that a hidden experiment has is refused without saying that it exists.
pub(super) async fn name_refused(call: &mut Call<'_>, field: &str, reply: Reply) -> Result<Reply, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let name = edit::text(&object, field)?.unwrap_or_default().to_owned();
    let visible = match call.backend.experiment_by_name(&name).await? {
        Some(facts) => {
            let securable = Securable::experiment(&facts.id);
            call.app.owners.learn(call.app, facts).await?;
            call.allows(Check::new(Privilege::ExperimentView, securable))?
        }
        None => true,
    };
    if visible {
        return Ok(reply);
    }
    Err(Refusal::Denied(format!(
        "`{}` does not have `{}` for the name `{name}`; choose another name or ask an administrator",
        call.caller.principal,
        Privilege::ExperimentCreate
    )))
}

/// A rename moves an experiment in the folder tree, and with it who inherits access.
pub(super) async fn update(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let id = edit::text(&object, "experiment_id")?.unwrap_or_default();
    let id = ExperimentId::parse(id)?;
    let Some(new_name) = edit::text(&object, "new_name")? else { return Ok(After::Nothing) };
    let target = folder_of(new_name)?;
    let current = call.app.owners.experiment(call.app, call.backend, &id).await?;
    let current = current.and_then(|facts| Securable::folder_of_name(&facts.name));
    if target != current {
        call.demands.push(Demand::on(Privilege::ExperimentManage, Securable::experiment(&id)));
        let into = target.unwrap_or_else(Securable::workspace);
        call.demands.push(Demand::on(Privilege::ExperimentCreate, into));
    }
    Ok(After::ExperimentRenamed(id))
}

pub(super) async fn renamed(
    call: &mut Call<'_>,
    _trail: &Trail,
    id: &ExperimentId,
    reply: Reply,
) -> Result<Reply, Refusal> {
    call.app.owners.forget_experiment(id).await;
    call.app.owners.experiment(call.app, call.backend, id).await?;
    Ok(reply)
}

pub(super) fn tag(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let key = edit::text(&object, "key")?.unwrap_or_default();
    refuse_reserved_tag(key)?;
    if reserved::archival_experiment_tag(key) {
        let id = ExperimentId::parse(edit::text(&object, "experiment_id")?.unwrap_or_default())?;
        call.demands.push(Demand::on(Privilege::ExperimentManage, Securable::experiment(&id)));
    }
    Ok(After::Nothing)
}

fn refuse_reserved_tag(key: &str) -> Result<(), Refusal> {
    if reserved::reserved_experiment_tag(key) {
        return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be changed by clients")));
    }
    Ok(())
}

/// The folder that a name puts an experiment in; a name that only looks like a path is refused.
fn folder_of(name: &str) -> Result<Option<Securable>, Malformed> {
    match Securable::folder_of_name(name) {
        Some(folder) => Ok(Some(folder)),
        None if name.starts_with('/') && name[1..].contains('/') => {
            Err(Malformed::new("name", "a name that is a path must not have empty, `.` or `..` segments"))
        }
        None => Ok(None),
    }
}

/// What the server says of itself, without the ways round us that it may offer.
pub async fn server_info(app: &App, reply: Reply) -> Result<Reply, Refusal> {
    if reply.status != 200 {
        return Ok(reply);
    }
    let limit = app.config.limits.json_body_bytes;
    let stream = match reply.body {
        crate::wire::Body::Stream { stream, .. } => stream,
        crate::wire::Body::Replay(replay) => {
            let bytes = replay.as_memory().cloned().unwrap_or_default();
            Box::pin(futures_util::stream::once(async move { Ok(bytes) }))
        }
        crate::wire::Body::Empty => return Err(BackendError::BrokenOff.into()),
    };
    let bytes = super::super::convert::collect(stream, limit).await.map_err(|_| BackendError::BrokenOff)?;
    let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(Value::Object(mut info)) = parsed else { return Err(BackendError::BrokenOff.into()) };
    for (key, value) in &mut info {
        let parts = key.contains("multipart") && !app.backend.takes_parts();
        let hands_out_urls = parts || key.contains("presigned");
        if (hands_out_urls || key == "workspaces_enabled") && value.is_boolean() {
            *value = Value::Bool(false);
        }
    }
    Ok(pages::written(200, &info))
}
