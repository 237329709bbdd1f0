//! Setting and updating an access control list, as one change of policy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::object::{Kind, Object};
use super::show;
use crate::access::{Effect, Given, Grant, GrantId, NewGrant, PolicyEdit, Principal, Rule};
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::own;
use crate::http::trail::Trail;
use crate::policy::{Snapshot, managing};
use crate::store::{StoreError, Wanted};
use crate::wire::{Malformed, Reply};

/// How often a change is worked out anew because another came first.
const ATTEMPTS: usize = 20;
/// Entries of one list.
const MOST: usize = 10_000;

/// What is wanted for each principal that a list names.
type List = BTreeMap<Principal, BTreeSet<&'static str>>;

/// Replaces the direct entries (`set`), or those of the principals that are named (`update`).
pub(super) async fn change(
    call: &mut Call<'_>,
    trail: &Trail,
    object: &Object,
    replace: bool,
) -> Result<Reply, Refusal> {
    object.admit(call).await?;
    if object.kind == Kind::Passwords {
        let problem = "are turned on and off by the setting `identity.passwords`, for everybody at once";
        return Err(Malformed::new("passwords", problem).into());
    }
    let sent = own::sent(call).await?;
    let wanted = read(object.kind, &sent)?;
    refuse_unknown(call, &wanted).await?;
    for _ in 0..ATTEMPTS {
        // Let in, worked out and made at one version of policy.
        let view = call.view()?;
        own::demand(call, managing(&object.securable))?;
        let now = call.app.clock.now();
        let held = call.app.store.grants(None, Some(&object.securable)).await?;
        let steps = steps(object, view.snapshot(), &wanted, &held, replace, now)?;
        keep_own(call, object, view.snapshot(), &held, &steps, now)?;
        let by = call.caller.principal.to_string();
        let done = call.app.store.apply_policy(Some(view.version()), &steps, &by, now).await;
        match done {
            Err(StoreError::Moved { .. }) => call.app.confirm_policy().await?,
            Err(error) => return Err(error.into()),
            Ok(change) => {
                settle(call.app, trail, change).await?;
                return show::list(call, object).await;
            }
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

/// Reads `access_control_list`. Each entry names one principal in one way, and a level of the object's kind.
fn read(kind: Kind, sent: &Map<String, Value>) -> Result<List, Refusal> {
    let wrong = |place: usize, problem: String| -> Refusal {
        Malformed::new(format!("access_control_list[{place}]"), problem).into()
    };
    let entries = match sent.get("access_control_list") {
        None | Some(Value::Null) => return Ok(List::new()),
        Some(Value::Array(entries)) if entries.len() <= MOST => entries,
        Some(_) => {
            let problem = format!("must be a list of at most {MOST} entries");
            return Err(Malformed::new("access_control_list", problem).into());
        }
    };
    let mut list = List::new();
    for (place, entry) in entries.iter().enumerate() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let names = [
            text("user_name").map(Principal::user),
            text("group_name").map(Principal::group),
            text("service_principal_name").map(Principal::service_principal),
        ];
        let mut names = names.into_iter().flatten();
        let principal = match (names.next(), names.next()) {
            (Some(name), None) => name.map_err(|error| wrong(place, error.to_string()))?,
            _ => {
                let problem = "has one of `user_name`, `group_name` and `service_principal_name`";
                return Err(wrong(place, problem.to_owned()));
            }
        };
        let known = || kind.levels().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let level = text("permission_level")
            .ok_or_else(|| wrong(place, format!("has no `permission_level`: {}", known())))?;
        let granted = kind.granted_for(level).ok_or_else(|| {
            wrong(
                place,
                format!("`{}` is not one of {}", level.chars().take(80).collect::<String>(), known()),
            )
        })?;
        if principal.to_string() == format!("group:{}", Principal::ADMINS) {
            if granted != "CAN_MANAGE" {
                return Err(wrong(
                    place,
                    "administrators manage everything, and that cannot be lowered".to_owned(),
                ));
            }
            continue;
        }
        list.entry(principal).or_default().insert(granted);
    }
    Ok(list)
}

async fn refuse_unknown(call: &Call<'_>, wanted: &List) -> Result<(), Refusal> {
    let named: Vec<&Principal> = wanted.keys().collect();
    let found = call.app.store.directory_of_all(&named).await?;
    let known: BTreeSet<&Principal> = found.iter().map(|entry| &entry.principal).collect();
    match named.into_iter().find(|principal| !known.contains(principal)) {
        Some(unknown) => Err(Refusal::NotFound(format!("there is no principal `{unknown}`"))),
        None => Ok(()),
    }
}

/// From what is held to what is wanted. A grant that is wanted again stays as it is, with its end and reason.
fn steps(
    object: &Object,
    policy: &Snapshot,
    wanted: &List,
    held: &[Grant],
    replace: bool,
    now: UnixMillis,
) -> Result<Vec<Wanted>, Refusal> {
    let (mut revoked, mut kept) = (Vec::new(), BTreeSet::new());
    let needed: List = wanted
        .iter()
        .map(|(principal, levels)| (principal.clone(), without_implied(policy, levels)))
        .collect();
    for grant in held {
        let (id, grant) = (grant.id, &grant.grant);
        let Some(level) = object.kind.level_of(&grant.privilege) else { continue };
        if grant.effect == Effect::Deny {
            continue;
        }
        let named = needed.get(&grant.principal);
        let granted = object.kind.granted_for(level).unwrap_or(level);
        let in_force = grant.expires_at.is_none_or(|end| end > now);
        if in_force && named.is_some_and(|levels| levels.contains(granted)) {
            kept.insert((grant.principal.clone(), granted));
        } else if replace || named.is_some() {
            revoked.push(Wanted::Revoke(id));
        }
    }
    for (principal, levels) in needed {
        for granted in levels {
            if kept.contains(&(principal.clone(), granted)) {
                continue;
            }
            revoked.push(Wanted::Grant(NewGrant {
                principal: principal.clone(),
                securable: object.securable.clone(),
                privilege: granted.to_owned(),
                effect: Effect::Allow,
                reason: None,
                expires_at: None,
            }));
        }
    }
    Ok(revoked)
}

/// Of several levels those that give something which no other one gives.
fn without_implied(policy: &Snapshot, levels: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    let set =
        |level: &str| level.parse::<Given>().map(|given| policy.levels().set(given)).unwrap_or_default();
    let implied = |level: &&'static str| {
        let own = set(level);
        levels.iter().any(|other| other != level && own.minus(set(other)).is_empty())
    };
    levels.iter().copied().filter(|level| !implied(level)).collect()
}

/// Nobody takes the right to manage an object from itself: who would give it back?
fn keep_own(
    call: &Call<'_>,
    object: &Object,
    policy: &Snapshot,
    held: &[Grant],
    steps: &[Wanted],
    now: UnixMillis,
) -> Result<(), Refusal> {
    let edits: Vec<PolicyEdit> = (0..)
        .zip(steps)
        .filter_map(|(place, step)| match step {
            Wanted::Revoke(id) => {
                held.iter().find(|grant| grant.id == *id).map(|grant| PolicyEdit::Revoke(grant.rule()))
            }
            Wanted::Grant(grant) => Some(PolicyEdit::Grant(Rule {
                // Not one that there is, since the store gives the number.
                id: GrantId(i64::MAX - place),
                principal: grant.principal.clone(),
                securable: grant.securable.clone(),
                privilege: grant.privilege.clone(),
                effect: grant.effect,
                expires_at: grant.expires_at,
            })),
            Wanted::Join { .. } | Wanted::Leave { .. } => None,
        })
        .collect();
    // Grants that changed since this version was read: the store will say so, and it is worked out anew.
    let Ok(after) = policy.apply(policy.version() + 1, &edits) else { return Ok(()) };
    if after.grants_to(call.caller, &managing(&object.securable), now) {
        return Ok(());
    }
    let problem = "would take your own right to manage away; another manager or an administrator can do that";
    Err(Malformed::new("access_control_list", problem).into())
}
