//! Keys: listed, rotated and retired by administrators. What a key is leaves the process nowhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tokens::record_change;
use super::{Call, Refusal, Trail, sent_as};
use crate::audit::Line;
use crate::keys::{KeyState, KeysError, ListedKey, Source};
use crate::store::{Purpose, Retirement};
use crate::wire::Malformed;

/// Longer overlaps are a mistake (seconds).
const LONGEST_OVERLAP: u64 = 86_400;
const CHECKPOINT: &str = "checkpoint";

/// How to rotate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// How long the new key is known to all replicas before it is used; `server.key_overlap_seconds` if absent.
    overlap_seconds: Option<u64>,
}

/// How to retire.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Even if tokens, client secrets or sessions that are in force were made with it: they end.
    #[serde(default)]
    force: bool,
}

/// The keys, without themselves.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    keys: Vec<ListedKey>,
    /// What is wrong with `server.keys_file` on the replica that answers; the keys that it had before are in force.
    file_problem: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Rotated {
    key: ListedKey,
}

/// A key that was retired.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Retired {
    key: ListedKey,
    /// How many tokens, client secrets or sessions ended with it.
    ended: i64,
}

impl From<KeysError> for Refusal {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(error) => error.into(),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// `GET keys`
pub(super) async fn list(call: &Call<'_>) -> Result<Listed, Refusal> {
    let mut keys = call.app.keys.list().await?;
    keys.extend(checkpoint_key(call).await?);
    Ok(Listed { keys, file_problem: call.app.keys.complaint() })
}

/// The key with which the replica that answers signs its record: a file of its own.
async fn checkpoint_key(call: &Call<'_>) -> Result<Option<ListedKey>, Refusal> {
    let lines = call.app.records.signed().await.map_err(|error| {
        tracing::error!(%error, "the checkpoints cannot be read");
        Refusal::Internal("the checkpoints cannot be read".to_owned())
    })?;
    let mut notices = lines.into_iter().filter_map(|line| match line {
        Line::Key(notice) => Some(notice),
        Line::Checkpoint(_) => None,
    });
    Ok(notices.next_back().map(|notice| ListedKey {
        purpose: CHECKPOINT.to_owned(),
        id: notice.key_id,
        state: KeyState::Active,
        source: Source::File,
        created_at_ms: Some(notice.time.0),
        created_by: None,
        active_from_ms: Some(notice.time.0),
        retired_at_ms: None,
        retired_by: None,
        in_use: None,
    }))
}

/// `POST keys/{purpose}/rotate`
pub(super) async fn rotate(call: &mut Call<'_>, trail: &Trail) -> Result<Rotated, Refusal> {
    let purpose = purpose(call)?;
    let wanted: Rotation = sent_as(call).await?;
    let app = call.app;
    let overlap = wanted.overlap_seconds.unwrap_or(app.config.server.key_overlap_seconds);
    if overlap > LONGEST_OVERLAP {
        let problem = format!("must be at most {LONGEST_OVERLAP}");
        return Err(Malformed::new("overlap_seconds", problem).into());
    }
    if app.keys.is_replaced(purpose) {
        return Err(in_file("add a key to it, and make that the active one once every replica has it"));
    }
    let (by, now) = (call.caller.principal.to_string(), app.clock.now());
    let before = app.keys.ring(purpose).active_id(now).to_owned();
    let overlap_ms = i64::try_from(overlap).unwrap_or(i64::MAX).saturating_mul(1000);
    let made = app.store.rotate_key(purpose, overlap_ms, &by, now).await?;
    app.keys.refresh().await?;
    let key = app.keys.describe(&made);
    let before = json!({ "purpose": purpose.as_str(), "active": before });
    record_change(call, trail, "key.rotate", before, json!(key)).await?;
    Ok(Rotated { key })
}

/// `POST keys/{purpose}/{id}/retire`
pub(super) async fn retire(call: &mut Call<'_>, trail: &Trail) -> Result<Retired, Refusal> {
    let purpose = purpose(call)?;
    let wanted: Wanted = sent_as(call).await?;
    let (app, id) = (call.app, call.param("id").to_owned());
    // As every replica has it, as far as this one can know.
    app.keys.refresh().await?;
    let listed = app.keys.list().await?;
    let named = |key: &&ListedKey| key.purpose == purpose.as_str() && key.id == id;
    let known = listed.iter().find(named);
    if known.is_some_and(|key| key.source == Source::File) {
        return Err(in_file("take the key out of it, once `in_use` in the list of keys is 0"));
    }
    let overlap = i64::try_from(app.config.server.key_overlap_seconds).unwrap_or(i64::MAX);
    let how = Retirement {
        force: wanted.force,
        settled_ms: overlap.saturating_mul(1000),
        replaced: app.keys.is_replaced(purpose),
    };
    let (by, now) = (call.caller.principal.to_string(), app.clock.now());
    let retired = app.store.retire_key(purpose, &id, how, &by, now).await?;
    app.keys.refresh().await?;
    app.identity.forget();
    let before = known.cloned().unwrap_or_else(|| app.keys.describe(&retired.key));
    let key = ListedKey {
        state: KeyState::Retired,
        retired_at_ms: Some(now.0),
        retired_by: Some(by),
        in_use: None,
        ..before.clone()
    };
    let answer = Retired { key, ended: retired.ended };
    record_change(call, trail, "key.retire", json!(before), json!(answer)).await?;
    Ok(answer)
}

fn purpose(call: &Call<'_>) -> Result<Purpose, Refusal> {
    let text = call.param("purpose");
    if text == CHECKPOINT {
        return Err(Malformed::new(
            "purpose",
            "`checkpoint` is a key that each replica has in a file: rotate it there with `tracegate keys \
             rotate-checkpoint`",
        )
        .into());
    }
    let known = || {
        Malformed::new("purpose", format!("must be one of {}", Purpose::ALL.map(Purpose::as_str).join(", ")))
    };
    Ok(Purpose::parse(text).ok_or_else(known)?)
}

fn in_file(what: &str) -> Refusal {
    Malformed::new("purpose", format!("has its keys in `server.keys_file`: {what}")).into()
}
