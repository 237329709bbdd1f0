//! Whom a grant reaches: through groups downwards, and from above in the tree of securables.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{Principal, PrincipalKind, Securable};
use crate::policy::Snapshot;

/// Groups with their members, and members with their groups.
pub(super) struct Groups {
    members: BTreeMap<Principal, BTreeSet<Principal>>,
    containers: BTreeMap<Principal, BTreeSet<Principal>>,
}

impl Groups {
    pub fn of(snapshot: &Snapshot) -> Self {
        Self::new(snapshot.memberships())
    }

    fn new<'p>(memberships: impl Iterator<Item = (&'p Principal, &'p Principal)>) -> Self {
        let mut groups = Self { members: BTreeMap::new(), containers: BTreeMap::new() };
        for (group, member) in memberships {
            groups.members.entry(group.clone()).or_default().insert(member.clone());
            groups.containers.entry(member.clone()).or_default().insert(group.clone());
        }
        groups
    }

    /// The principal itself and everybody in it, each with the shortest chain of groups from the principal to
    /// it. `group:users` holds every caller, and is not taken apart.
    pub fn reached_by(&self, principal: &Principal) -> Vec<(Principal, Vec<Principal>)> {
        if principal.name == Principal::USERS && principal.kind == PrincipalKind::Group {
            return vec![(principal.clone(), Vec::new())];
        }
        let walk = walk(&self.members, principal);
        let people = walk.into_iter().filter(|(one, _)| one == principal || one.kind != PrincipalKind::Group);
        people.collect()
    }

    /// The chains of groups by which something granted to the first of a chain reaches the principal; one is
    /// empty: its own.
    pub fn leading_to(&self, principal: &Principal) -> Vec<Vec<Principal>> {
        let mut chains: Vec<Vec<Principal>> = walk(&self.containers, principal)
            .into_iter()
            .map(|(group, way)| {
                // From the principal up, without it; the other way round it leads down.
                let mut chain: Vec<Principal> = way.into_iter().skip(1).collect();
                chain.extend((group != *principal).then_some(group));
                chain.reverse();
                chain
            })
            .collect();
        let users = Principal { kind: PrincipalKind::Group, name: Principal::USERS.to_owned() };
        let is_told = chains.iter().any(|chain| chain.first() == Some(&users));
        if principal.kind != PrincipalKind::Group && !is_told {
            chains.push(vec![users]);
        }
        chains
    }
}

/// Everything that edges lead to from a start, with the way to it: what was passed, the start included.
fn walk(
    edges: &BTreeMap<Principal, BTreeSet<Principal>>,
    start: &Principal,
) -> Vec<(Principal, Vec<Principal>)> {
    let mut seen = BTreeSet::from([start.clone()]);
    let mut found = vec![(start.clone(), Vec::new())];
    let mut at = 0;
    while let Some((here, way)) = found.get(at).cloned() {
        let mut way = way;
        way.push(here.clone());
        for next in edges.get(&here).into_iter().flatten() {
            if seen.insert(next.clone()) {
                found.push((next.clone(), way.clone()));
            }
        }
        at += 1;
    }
    found
}

/// The securable and all that is above it, nearest first.
pub(super) fn upwards(snapshot: &Snapshot, start: &Securable) -> Vec<Securable> {
    let mut chain = vec![start.clone()];
    while let Some(current) = chain.last() {
        let placed = snapshot.securable_index(current).and_then(|index| snapshot.parent_of(index));
        let parent = match placed {
            Some(parent) => {
                snapshot.securables().find(|(index, _)| *index == parent).map(|(_, name)| name.clone())
            }
            None => current.parent(),
        };
        match parent {
            Some(parent) if !chain.contains(&parent) => chain.push(parent),
            _ => break,
        }
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(text: &str) -> Principal {
        text.parse().unwrap()
    }

    fn groups() -> Groups {
        let pairs = [
            ("group:outer", "group:inner"),
            ("group:inner", "group:outer"),
            ("group:inner", "user:ann"),
            ("group:outer", "user:ben"),
            ("group:users", "user:listed"),
        ]
        .map(|(group, member)| (principal(group), principal(member)));
        Groups::new(pairs.iter().map(|(group, member)| (group, member)))
    }

    #[test]
    fn a_grant_to_a_group_reaches_those_in_groups_within_it_even_in_a_ring() {
        let found = groups().reached_by(&principal("group:outer"));
        let texts: Vec<String> = found
            .iter()
            .map(|(who, via)| {
                let via: Vec<String> = via.iter().map(ToString::to_string).collect();
                format!("{who} {}", via.join(">"))
            })
            .collect();
        assert_eq!(texts, ["group:outer ", "user:ben group:outer", "user:ann group:outer>group:inner"]);
    }

    #[test]
    fn everybody_is_told_as_one() {
        assert_eq!(groups().reached_by(&principal("group:users")), [(principal("group:users"), vec![])]);
    }

    #[test]
    fn chains_lead_down_to_a_principal_and_everybody_is_a_user() {
        let mut chains: Vec<String> = groups()
            .leading_to(&principal("user:ann"))
            .into_iter()
            .map(|chain| chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(">"))
            .collect();
        chains.sort();
        assert_eq!(chains, ["", "group:inner", "group:outer>group:inner", "group:users"]);
    }
}
