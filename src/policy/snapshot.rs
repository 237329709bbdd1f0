//! An immutable picture of policy at one version, indexed so that a decision visits only the grants on
//! a securable and its ancestors.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::levels::Levels;
use crate::access::{Caller, Effect, Grant, GrantId, NewGrant, Principal, PrincipalKind, Securable};
use crate::clock::UnixMillis;
use crate::store::PolicyState;

/// How far up a chain of groups or folders is followed; deeper nesting is refused when written.
const MAX_DEPTH: usize = 10;

pub(super) struct Snapshot {
    version: i64,
    /// Every group that a principal is in, directly or through groups, by principal.
    groups: HashMap<Principal, HashSet<Principal>>,
    inactive: HashSet<Principal>,
    grants: HashMap<Securable, Vec<Grant>>,
    /// The securables on which a principal has grants.
    granted_on: HashMap<Principal, Vec<Securable>>,
    parents: HashMap<Securable, Vec<Securable>>,
    levels: Arc<Levels>,
}

impl Snapshot {
    pub fn build(state: PolicyState, levels: Arc<Levels>) -> Self {
        let mut direct: HashMap<Principal, HashSet<Principal>> = HashMap::new();
        for (group, member) in state.memberships {
            direct.entry(member).or_default().insert(group);
        }
        let groups =
            direct.keys().map(|principal| (principal.clone(), closure(principal, &direct))).collect();
        let mut grants: HashMap<Securable, Vec<Grant>> = HashMap::new();
        let mut granted_on: HashMap<Principal, Vec<Securable>> = HashMap::new();
        for grant in std::iter::once(administrators()).chain(state.grants) {
            granted_on.entry(grant.grant.principal.clone()).or_default().push(grant.grant.securable.clone());
            grants.entry(grant.grant.securable.clone()).or_default().push(grant);
        }
        let mut parents: HashMap<Securable, Vec<Securable>> = HashMap::new();
        for (child, parent) in state.parents {
            parents.entry(child).or_default().push(parent);
        }
        let inactive = state.inactive.into_iter().collect();
        Self { version: state.version, groups, inactive, grants, granted_on, parents, levels }
    }

    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn levels(&self) -> &Arc<Levels> {
        &self.levels
    }

    pub fn is_inactive(&self, principal: &Principal) -> bool {
        self.inactive.contains(principal)
    }

    /// Whether the store knows where in the tree this is.
    pub fn places(&self, securable: &Securable) -> bool {
        self.parents.contains_key(securable)
    }

    /// The principal, every group it is in, what its credential asserts, and `users`.
    pub fn identities(&self, caller: &Caller) -> HashSet<Principal> {
        let mut identities = HashSet::new();
        let users = Principal { kind: PrincipalKind::Group, name: Principal::USERS.to_owned() };
        for member in [&caller.principal, &users].into_iter().chain(&caller.asserted_groups) {
            identities.insert(member.clone());
            identities.extend(self.groups.get(member).into_iter().flatten().cloned());
        }
        identities
    }

    /// A securable and everything above it: what the store knows of the tree, else what the id tells.
    pub fn ancestors(&self, securable: &Securable) -> Vec<Securable> {
        let mut found = vec![securable.clone()];
        let mut next = 0;
        while next < found.len() && found.len() <= 16 * MAX_DEPTH {
            let current = found[next].clone();
            next += 1;
            let known = self.parents.get(&current).cloned().unwrap_or_default();
            for parent in known.into_iter().chain(current.parent()) {
                if !found.contains(&parent) {
                    found.push(parent);
                }
            }
        }
        found
    }

    /// The grants in force on any of these securables to any of these principals.
    pub fn candidates<'s>(
        &'s self,
        ancestors: &'s [Securable],
        identities: &'s HashSet<Principal>,
        now: UnixMillis,
    ) -> impl Iterator<Item = &'s Grant> {
        ancestors
            .iter()
            .filter_map(|securable| self.grants.get(securable))
            .flatten()
            .filter(move |grant| identities.contains(&grant.grant.principal))
            .filter(move |grant| grant.grant.expires_at.is_none_or(|end| now < end))
    }

    /// The securables on which any of these principals has a grant, expired or not.
    pub fn granted_on(&self, identities: &HashSet<Principal>) -> HashSet<&Securable> {
        identities.iter().filter_map(|principal| self.granted_on.get(principal)).flatten().collect()
    }

    /// All grants on a securable and above it, for explanations.
    pub fn grants_on(&self, ancestors: &[Securable]) -> Vec<&Grant> {
        ancestors.iter().filter_map(|securable| self.grants.get(securable)).flatten().collect()
    }
}

/// Administrators hold everything everywhere; no store can lose or change this grant.
fn administrators() -> Grant {
    let admins = Principal { kind: PrincipalKind::Group, name: Principal::ADMINS.to_owned() };
    Grant {
        id: GrantId(0),
        grant: NewGrant {
            principal: admins,
            securable: Securable::workspace(),
            privilege: "ALL".to_owned(),
            effect: Effect::Allow,
            reason: Some("administrators always hold every privilege".to_owned()),
            expires_at: None,
        },
        granted_by: "tracegate".to_owned(),
        granted_at: UnixMillis(0),
    }
}

fn closure(principal: &Principal, direct: &HashMap<Principal, HashSet<Principal>>) -> HashSet<Principal> {
    let mut found: HashSet<Principal> = HashSet::new();
    let mut frontier: Vec<&Principal> = vec![principal];
    for _ in 0..MAX_DEPTH {
        let next: Vec<&Principal> =
            frontier.iter().filter_map(|member| direct.get(*member)).flatten().collect();
        frontier = next.into_iter().filter(|group| found.insert((*group).clone())).collect();
        if frontier.is_empty() {
            break;
        }
    }
    found
}
