//! Calls of the past, decided again: which would be refused now, and which allowed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::snapshot::Snapshot;
use crate::access::{Check, Principal, Privilege, Securable};
use crate::clock::UnixMillis;

/// What the record says of a call's decision. It holds which privileges were needed and on what, not which on which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PastCall {
    pub principal: Principal,
    pub privileges: Vec<Privilege>,
    pub securables: Vec<Securable>,
    pub allowed: bool,
}

/// Past calls alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Replayed {
    pub principal: Principal,
    pub securable: Securable,
    pub privilege: Privilege,
    pub calls: u64,
    /// False when the call needed several privileges on several securables, and not surely this one on this.
    pub certain: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Replay {
    /// Calls that were allowed and that the plan would refuse, most first.
    pub would_be_refused: Vec<Replayed>,
    /// Calls that were refused and that the plan would allow, most first.
    pub would_be_allowed: Vec<Replayed>,
    /// Calls decided again.
    pub calls: u64,
    /// Calls that the policy in force decides otherwise than it was then: policy has changed since, or the caller's
    /// groups came with the credential. The plan's part in them cannot be told.
    pub already_otherwise: u64,
}

/// Decides calls under both policies.
pub fn replay(
    before: &Snapshot,
    after: &Snapshot,
    calls: &BTreeMap<PastCall, u64>,
    now: UnixMillis,
) -> Replay {
    let mut replay = Replay::default();
    let mut refused: BTreeMap<(Principal, Securable, Privilege, bool), u64> = BTreeMap::new();
    let mut allowed = refused.clone();
    for (call, count) in calls {
        replay.calls += count;
        let allows = |policy: &Snapshot, check: &Check| {
            policy.allows(&call.principal, &check.securable, check.privilege, now)
        };
        let mut checks: Vec<Check> = Vec::new();
        for securable in &call.securables {
            checks.extend(call.privileges.iter().map(|privilege| Check::new(*privilege, securable.clone())));
        }
        let certain = call.privileges.len() == 1 || call.securables.len() == 1;
        // Of an allowed call only what is allowed now can have been needed.
        let needed: Vec<&Check> = checks.iter().filter(|check| allows(before, check)).collect();
        let now_allowed = needed.len() == checks.len() || (!certain && call.allowed && !needed.is_empty());
        if now_allowed != call.allowed {
            replay.already_otherwise += count;
            continue;
        }
        let (counts, found) = if call.allowed {
            (&mut refused, needed.into_iter().find(|check| !allows(after, check)))
        } else {
            let all = checks.iter().all(|check| allows(after, check));
            (&mut allowed, checks.iter().find(|check| all && !allows(before, check)))
        };
        if let Some(check) = found {
            let key = (call.principal.clone(), check.securable.clone(), check.privilege, certain);
            *counts.entry(key).or_default() += count;
        }
    }
    replay.would_be_refused = most_first(refused);
    replay.would_be_allowed = most_first(allowed);
    replay
}

fn most_first(counts: BTreeMap<(Principal, Securable, Privilege, bool), u64>) -> Vec<Replayed> {
    let mut replayed: Vec<Replayed> = counts
        .into_iter()
        .map(|((principal, securable, privilege, certain), calls)| Replayed {
            principal,
            securable,
            privilege,
            calls,
            certain,
        })
        .collect();
    replayed.sort_by_key(|one| std::cmp::Reverse(one.calls));
    replayed
}
