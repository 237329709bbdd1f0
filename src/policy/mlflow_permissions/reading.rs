//! A principal's grants as MLflow would list them.

use std::collections::BTreeMap;

use super::{MARK, Permission, Resource, ResourceType};
use crate::access::{Effect, Given, Grant, GrantId, Privilege, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::policy::levels::{Levels, PrivilegeSet};

/// One permission of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The number of the first of its grants and of its type, in one.
    pub id: i64,
    pub resource: Resource,
    pub permission: Permission,
    /// What has to be revoked to take it away.
    pub grants: Vec<GrantId>,
    /// Why it cannot be taken away by itself: one of its grants gives other things too.
    pub fixed: Option<String>,
}

impl Row {
    /// The grant whose number an id holds.
    pub fn grant_of(id: i64) -> GrantId {
        GrantId(id.div_euclid(KINDS))
    }
}

/// Types that one grant may show as.
const KINDS: i64 = ResourceType::ALL.len() as i64;

/// The permissions that grants to one principal come to, in no less and no more than what is in force at `now`.
///
/// What MLflow has no word for is left out: grants on folders, and those that come to less than READ.
pub fn rows(levels: &Levels, grants: &[Grant], now: UnixMillis) -> Vec<Row> {
    let mut on: BTreeMap<&Securable, Vec<Held<'_>>> = BTreeMap::new();
    let in_force = |grant: &&Grant| grant.grant.expires_at.is_none_or(|end| end > now);
    for grant in grants.iter().filter(in_force) {
        if let Ok(given) = grant.grant.privilege.parse() {
            on.entry(&grant.grant.securable).or_default().push(Held { grant, given, set: levels.set(given) });
        }
    }
    let mut found = Vec::new();
    for (securable, held) in on {
        match securable.kind {
            SecurableKind::Experiment => found.extend(single(levels, ResourceType::Experiment, &held)),
            SecurableKind::RegisteredModel => {
                let is_prompt =
                    held.iter().any(|one| one.mark().is_some_and(|mark| mark.0 == ResourceType::Prompt));
                let kind = if is_prompt { ResourceType::Prompt } else { ResourceType::RegisteredModel };
                found.extend(single(levels, kind, &held));
            }
            SecurableKind::Workspace => {
                found.extend(workspace(&held));
                for kind in [ResourceType::Experiment, ResourceType::RegisteredModel, ResourceType::Prompt] {
                    found.extend(wildcard(levels, kind, &held));
                }
            }
            _ => {}
        }
    }
    found
}

struct Held<'g> {
    grant: &'g Grant,
    given: Given,
    set: PrivilegeSet,
}

impl Held<'_> {
    fn allows(&self) -> bool {
        self.grant.grant.effect == Effect::Allow
    }

    /// The permission that its reason says it stands for.
    fn mark(&self) -> Option<(ResourceType, Permission)> {
        let (kind, permission) = self.grant.grant.reason.as_deref()?.strip_prefix(MARK)?.split_once(' ')?;
        let kind = ResourceType::ALL.into_iter().find(|one| one.as_str() == kind)?;
        Some((kind, Permission::parse(permission).ok()?))
    }

    fn is_of_workspace(&self) -> bool {
        self.mark().is_some_and(|mark| mark.0 == ResourceType::Workspace)
    }
}

fn union<'h>(held: impl Iterator<Item = &'h Held<'h>>) -> PrivilegeSet {
    held.fold(PrivilegeSet::EMPTY, |set, one| set.union(one.set))
}

/// What allows and denials come to together.
fn permission(levels: &Levels, kind: ResourceType, held: &[&Held<'_>]) -> Option<Permission> {
    let sight =
        if kind == ResourceType::Experiment { Privilege::ExperimentView } else { Privilege::ModelRead };
    let denied = union(held.iter().copied().filter(|one| !one.allows()));
    if denied.has(sight) {
        return Some(Permission::Deny);
    }
    let allowed = union(held.iter().copied().filter(|one| one.allows()));
    let nearest = kind.nearest(levels, allowed.minus(denied))?;
    let said =
        held.iter().any(|one| one.allows() && one.mark().is_some_and(|mark| mark.1 == Permission::Use));
    Some(if nearest == Permission::Read && said { Permission::Use } else { nearest })
}

fn row(
    kind: ResourceType,
    id: Option<String>,
    permission: Permission,
    held: &[&Held<'_>],
    fixed: Option<String>,
) -> Option<Row> {
    // A denial that is not what the row is about stays when the row goes.
    let counts = |one: &&&Held<'_>| one.allows() || permission == Permission::Deny;
    let mut grants: Vec<GrantId> = held.iter().filter(counts).map(|one| one.grant.id).collect();
    grants.sort_unstable();
    let code = ResourceType::ALL.iter().position(|one| *one == kind)? as i64;
    let id_of_row = grants.first()?.0.checked_mul(KINDS)? + code;
    Some(Row { id: id_of_row, resource: Resource { kind, id }, permission, grants, fixed })
}

/// The permission on one experiment or model.
fn single(levels: &Levels, kind: ResourceType, held: &[Held<'_>]) -> Option<Row> {
    let all: Vec<&Held<'_>> = held.iter().collect();
    let permission = permission(levels, kind, &all)?;
    row(kind, Some(all.first()?.grant.grant.securable.id.clone()), permission, &all, None)
}

/// The permission on all experiments or models that grants on the workspace come to.
fn wildcard(levels: &Levels, kind: ResourceType, held: &[Held<'_>]) -> Option<Row> {
    let whole = kind.part(levels, "CAN_MANAGE");
    let concerning: Vec<&Held<'_>> =
        held.iter().filter(|one| !one.is_of_workspace() && !one.set.both(whole).is_empty()).collect();
    let permission = permission(levels, kind, &concerning)?;
    let more = concerning.iter().find(|one| !one.set.minus(whole).is_empty());
    let fixed = match more {
        Some(one) => Some(format!(
            "it comes of the grant {} of `{}` on `workspace:default`, which gives more than this; change that one \
             through Tracegate's own API",
            one.grant.id.0, one.given
        )),
        None if kind == ResourceType::Experiment => None,
        None => Some(super::OF_ALL_MODELS.to_owned()),
    };
    row(kind, None, permission, &concerning, fixed)
}

/// Who may create, and who was given everything by MLflow's word for it.
fn workspace(held: &[Held<'_>]) -> Option<Row> {
    let creates = [Privilege::ExperimentCreate, Privilege::ModelCreate];
    let denied = union(held.iter().filter(|one| !one.allows()));
    let concerning: Vec<&Held<'_>> = held
        .iter()
        .filter(|one| {
            one.allows() && (one.is_of_workspace() || creates.iter().any(|one_of| one.set.has(*one_of)))
        })
        .collect();
    let has = union(concerning.iter().copied()).minus(denied);
    if !creates.iter().all(|one| has.has(*one)) {
        return None;
    }
    let manages = |one: &&Held<'_>| one.is_of_workspace() && one.given.as_str() == "CAN_MANAGE";
    let managing = concerning.iter().copied().find(manages);
    let whole = managing.is_some_and(|one| one.set.minus(has).is_empty());
    let permission = if whole { Permission::Manage } else { Permission::Use };
    let other = concerning.iter().find(|one| !one.is_of_workspace() && one.given.privilege().is_none());
    let fixed = other.map(|one| {
        format!(
            "it comes of the grant {} of `{}` on `workspace:default`, which gives more than this; change that one \
             through Tracegate's own API",
            one.grant.id.0, one.given
        )
    });
    row(ResourceType::Workspace, None, permission, &concerning, fixed)
}
