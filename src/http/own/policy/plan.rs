//! `POST policy/plan`: what a document would change, and who would gain or lose what by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{self, Replayed};
use super::{Prepared, in_background, prepare, sent};
use crate::access::{ExperimentId, Principal, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::plan::{Bounds, Change, Document, Effects, Failure, Pair, failures, questions};
use crate::wire::Malformed;

/// Days of the record that can be decided again.
const MOST_DAYS: u32 = 90;
const DEFAULT_DAYS: u32 = 7;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http::own) struct Sent {
    policy: Document,
    /// Of how many days the calls are decided again; 0 for none.
    #[serde(default = "default_days")]
    replay_days: u32,
}

fn default_days() -> u32 {
    DEFAULT_DAYS
}

/// What planning found, as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
pub(in crate::http::own) struct Plan {
    pub(super) policy_version: i64,
    pub(super) changes: Vec<Change>,
    /// Principals that policy does not know yet: new, or misspelt.
    pub(super) new_principals: Vec<Principal>,
    /// Grants of the document whose end has passed.
    pub(super) ended: Vec<String>,
    pub(super) gains: Vec<Named>,
    pub(super) gaining_pairs: u64,
    pub(super) loses: Vec<Named>,
    pub(super) losing_pairs: u64,
    /// False when there was too much to compare: gains and losses are then not all.
    pub(super) complete: bool,
    pub(super) expectations: u64,
    pub(super) failures: Vec<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replay: Option<Replayed>,
}

/// A pair, with the name of the experiment where it is known.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Named {
    #[serde(flatten)]
    pub pair: Pair,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

pub(in crate::http::own) async fn plan(call: &mut Call<'_>) -> Result<Plan, Refusal> {
    let sent: Sent = sent(call).await?;
    if sent.replay_days > MOST_DAYS {
        return Err(Malformed::new("replay_days", format!("is at most {MOST_DAYS}")).into());
    }
    let prepared = prepare(call, sent.policy).await?;
    let mut plan = work_out(call, &prepared).await?;
    if sent.replay_days > 0 {
        plan.replay = Some(record::replay(call, &prepared, sent.replay_days).await?);
    }
    Ok(plan)
}

/// Everything but the replay.
pub(super) async fn work_out(call: &Call<'_>, prepared: &Prepared) -> Result<Plan, Refusal> {
    // Only where credentials assert groups can a group act for somebody whom policy does not know.
    let groups = !call.app.config.identity.issuers.is_empty();
    let (before, after) = (Arc::clone(&prepared.before), Arc::clone(&prepared.after));
    let (difference, document) = (Arc::clone(&prepared.difference), Arc::clone(&prepared.document));
    let now = prepared.now;
    let (effects, failures) = in_background(move || {
        let effects = Effects::between(&before, &after, &difference.edits, groups, now, Bounds::default());
        (effects, failures(&after, &document, now))
    })
    .await?;
    let names = names(call, &effects).await?;
    let named = |pairs: Vec<Pair>| -> Vec<Named> {
        pairs.into_iter().map(|pair| Named { name: names.get(&pair.securable).cloned(), pair }).collect()
    };
    let difference = &prepared.difference;
    Ok(Plan {
        policy_version: prepared.before.version(),
        changes: difference.changes.clone(),
        new_principals: difference.new_principals.clone(),
        ended: difference.ended.clone(),
        gaining_pairs: effects.gaining,
        losing_pairs: effects.losing,
        complete: effects.complete,
        gains: named(effects.gains),
        loses: named(effects.loses),
        expectations: questions(&prepared.document) as u64,
        failures,
        replay: None,
    })
}

/// The names of the experiments that gain or lose, as far as they are known without asking the backend.
async fn names(call: &Call<'_>, effects: &Effects) -> Result<BTreeMap<Securable, String>, Refusal> {
    let mut asked: Vec<Securable> = effects
        .gains
        .iter()
        .chain(&effects.loses)
        .map(|pair| pair.securable.clone())
        .filter(|securable| securable.kind == SecurableKind::Experiment)
        .collect();
    asked.sort();
    asked.dedup();
    let mut names = call.app.store.securable_names(&asked).await?;
    for securable in asked {
        if !names.contains_key(&securable)
            && let Ok(id) = ExperimentId::parse(&securable.id)
            && let Some(name) = call.app.owners.known_name(&id).await
        {
            names.insert(securable, name);
        }
    }
    Ok(names)
}
