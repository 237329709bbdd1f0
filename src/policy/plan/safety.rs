//! What the store would refuse: told with the plan, at the place in the document, before anything is tried.

use std::collections::{HashMap, HashSet};

use super::super::people::ADMINS;
use super::super::snapshot::Snapshot;
use super::difference::{Change, Difference, How};
use super::document::Problem;
use crate::access::{Principal, PrincipalKind};
use crate::store::NESTING_LIMIT;

/// Why a difference cannot be applied, although the document is right by itself. The policy after it must be the
/// one that the difference leads to; if groups would contain each other, there is none and it is left out.
pub fn refusals(before: &Snapshot, difference: &Difference) -> Vec<Problem> {
    let groups = Groups::after(before, difference);
    let mut problems = Vec::new();
    for change in &difference.changes {
        let Change::Membership { change: How::Added, group, member, place } = change else { continue };
        if member.kind != PrincipalKind::Group {
            continue;
        }
        let mut refuse = |reason: String| {
            let place = place.clone().unwrap_or_default();
            problems.push(Problem { place, reason, other: None });
        };
        if groups.below(member).contains(group) {
            refuse(format!("`{member}` would contain `{group}` and be in it"));
        } else if groups.height(member) + groups.depth(group) > NESTING_LIMIT {
            refuse(format!("`{member}` in `{group}` would nest groups deeper than {NESTING_LIMIT}"));
        } else if groups.below(member).contains(&named(Principal::USERS))
            && (group.name == Principal::ADMINS || groups.below(&named(Principal::ADMINS)).contains(group))
        {
            refuse("`group:users` holds every caller; all of them would be administrators".to_owned());
        }
    }
    problems
}

/// Whether nobody could administer any more. Where nobody could before, nothing is lost.
pub fn loses_the_last_administrator(before: &Snapshot, after: &Snapshot) -> bool {
    let administered = |policy: &Snapshot| {
        let can = |index: &u32| {
            policy.people.names.name(*index).is_some_and(|name| name.kind != PrincipalKind::Group)
                && policy.people.get(*index).is_some_and(|person| !person.inactive)
        };
        policy.members_of(ADMINS).iter().any(can)
    };
    administered(before) && !administered(after)
}

fn named(group: &str) -> Principal {
    Principal { kind: PrincipalKind::Group, name: group.to_owned() }
}

/// Groups in groups, as they would be.
struct Groups {
    members: HashMap<Principal, HashSet<Principal>>,
    containers: HashMap<Principal, HashSet<Principal>>,
}

impl Groups {
    fn after(before: &Snapshot, difference: &Difference) -> Self {
        let mut edges: HashSet<(Principal, Principal)> = before
            .memberships()
            .filter(|(_, member)| member.kind == PrincipalKind::Group)
            .map(|(group, member)| (group.clone(), member.clone()))
            .collect();
        for change in &difference.changes {
            let Change::Membership { change, group, member, .. } = change else { continue };
            if *change == How::Removed {
                edges.remove(&(group.clone(), member.clone()));
            } else if member.kind == PrincipalKind::Group {
                edges.insert((group.clone(), member.clone()));
            }
        }
        let mut groups = Self { members: HashMap::new(), containers: HashMap::new() };
        for (group, member) in edges {
            groups.members.entry(group.clone()).or_default().insert(member.clone());
            groups.containers.entry(member).or_default().insert(group);
        }
        groups
    }

    /// A group and all groups inside it.
    fn below(&self, group: &Principal) -> HashSet<Principal> {
        let mut found = HashSet::from([group.clone()]);
        let mut open = vec![group];
        while let Some(current) = open.pop() {
            for member in self.members.get(current).into_iter().flatten() {
                if found.insert(member.clone()) {
                    open.push(member);
                }
            }
        }
        found
    }

    /// Groups on the longest way down, the group itself included.
    fn height(&self, group: &Principal) -> usize {
        longest(&self.members, group)
    }

    fn depth(&self, group: &Principal) -> usize {
        longest(&self.containers, group)
    }
}

/// Level by level, ending where a way is longer than any that is allowed.
fn longest(edges: &HashMap<Principal, HashSet<Principal>>, start: &Principal) -> usize {
    let mut level = HashSet::from([start]);
    let mut levels = 0;
    while !level.is_empty() && levels <= NESTING_LIMIT {
        levels += 1;
        level = level.iter().filter_map(|group| edges.get(*group)).flatten().collect();
    }
    levels
}
