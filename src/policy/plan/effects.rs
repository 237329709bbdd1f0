//! Who gains and who loses access to what: exactly, over everybody and everything that policy knows.
//!
//! Only pairs that a change can reach are compared: whoever is inside the principal of a changed grant, with what
//! lies below its securable; whoever is inside a member that comes or goes, with what lies below everything that its
//! group, and the groups above, have grants on. Of those, principals to whom the same grants apply decide alike, and
//! so do securables of one kind and place without grants of their own: of each such class one is compared.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use serde::ser::Serializer;

use super::super::levels::PrivilegeSet;
use super::super::people::USERS;
use super::super::snapshot::Snapshot;
use crate::access::{Caller, PolicyEdit, Principal, PrincipalKind, Proof, Scheme, Securable, SecurableKind};
use crate::clock::UnixMillis;

/// How much is worked out and told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Pairs listed of gains, and of losses.
    pub listed: usize,
    /// Comparisons made, each of which takes about two microseconds.
    pub comparisons: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { listed: 10_000, comparisons: 2_000_000 }
    }
}

/// A principal and a securable, and the privileges that come or go between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Pair {
    pub principal: Principal,
    pub securable: Securable,
    #[serde(serialize_with = "names")]
    #[schemars(with = "Vec<crate::access::Privilege>")]
    pub privileges: PrivilegeSet,
}

#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// In the order of their names.
    pub gains: Vec<Pair>,
    pub loses: Vec<Pair>,
    /// How many pairs gain and lose, those that are not listed too.
    pub gaining: u64,
    pub losing: u64,
    /// False when there was more to compare than the bounds allow: the lists and counts are then too small.
    pub complete: bool,
}

fn names<S: Serializer>(set: &PrivilegeSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(set.iter())
}

impl Effects {
    /// Compares two policies of which the second follows from the first by `edits`, as of `now`.
    ///
    /// `group:users` stands for every caller that policy does not know. With `groups`, a group that is reached
    /// stands for callers whose groups are known from their credentials alone.
    pub fn between(
        before: &Snapshot,
        after: &Snapshot,
        edits: &[PolicyEdit],
        groups: bool,
        now: UnixMillis,
        bounds: Bounds,
    ) -> Self {
        let sources = sources(before, after, edits);
        let mut work = Work {
            before,
            after,
            now,
            bounds,
            comparisons: 0,
            children: children(after),
            effects: Self { complete: true, ..Self::default() },
        };
        work.compare(classes_of_principals(before, after, &sources, groups));
        let mut effects = work.effects;
        for list in [&mut effects.gains, &mut effects.loses] {
            list.sort_by(|one, other| {
                (&one.principal, &one.securable).cmp(&(&other.principal, &other.securable))
            });
        }
        effects
    }
}

/// What a change of the policy for one principal can reach: everything below these securables.
type Sources = BTreeMap<u32, BTreeSet<u32>>;

fn sources(before: &Snapshot, after: &Snapshot, edits: &[PolicyEdit]) -> Sources {
    let mut sources = Sources::new();
    for edit in edits {
        let (principal, roots) = match edit {
            PolicyEdit::Grant(rule) | PolicyEdit::Revoke(rule) => {
                (&rule.principal, after.securable_index(&rule.securable).into_iter().collect())
            }
            PolicyEdit::Join { group, member } | PolicyEdit::Leave { group, member } => {
                (member, [before, after].iter().flat_map(|policy| granted_above(policy, group)).collect())
            }
            PolicyEdit::Principal { principal, .. } => (principal, vec![super::super::rows::WORKSPACE]),
            PolicyEdit::Place { securable, .. } | PolicyEdit::Unplace { securable } => {
                let everybody = Principal { kind: PrincipalKind::Group, name: Principal::USERS.to_owned() };
                if let (Some(users), Some(root)) =
                    (after.principal_index(&everybody), after.securable_index(securable))
                {
                    sources.entry(users).or_default().insert(root);
                }
                continue;
            }
        };
        if let Some(principal) = after.principal_index(principal) {
            sources.entry(principal).or_default().extend(roots);
        }
    }
    sources
}

/// What a group, and the groups that it is in, have grants on.
fn granted_above(policy: &Snapshot, group: &Principal) -> Vec<u32> {
    let Some((_, person)) = policy.people.find(group) else { return Vec::new() };
    let above = person.identities.iter().filter_map(|index| policy.people.get(*index));
    above.flat_map(|person| person.granted.iter().copied()).collect()
}

/// Principals to whom the same grants apply, and whom the same changes reach.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PrincipalClass {
    roots: BTreeSet<u32>,
    before: Vec<u32>,
    after: Vec<u32>,
    inactive: bool,
}

fn classes_of_principals(
    before: &Snapshot,
    after: &Snapshot,
    sources: &Sources,
    groups: bool,
) -> BTreeMap<PrincipalClass, Vec<u32>> {
    let mut reached_by: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for source in sources.keys() {
        let inside: BTreeSet<u32> =
            [before, after].iter().flat_map(|policy| policy.members_of(*source)).collect();
        for principal in inside {
            // Whoever is in a group by credential alone is in `users` as well.
            if principal == USERS && groups {
                for (group, _) in after.principals().filter(|(_, name)| name.kind == PrincipalKind::Group) {
                    reached_by.entry(group).or_default().push(*source);
                }
            }
            reached_by.entry(principal).or_default().push(*source);
        }
    }
    let mut classes: BTreeMap<PrincipalClass, Vec<u32>> = BTreeMap::new();
    for (index, by) in reached_by {
        let Some(name) = after.people.names.name(index) else { continue };
        if name.kind == PrincipalKind::Group && index != USERS && !groups {
            continue;
        }
        let caller = stand_in(index, name);
        let inactive = before.is_inactive(name) || after.is_inactive(name);
        let roots = by.iter().filter_map(|source| sources.get(source)).flatten().copied().collect();
        let class = PrincipalClass {
            roots,
            before: deciding(before, &caller),
            after: deciding(after, &caller),
            inactive,
        };
        classes.entry(class).or_default().push(index);
    }
    classes
}

/// Of everybody a caller acts as, those who have grants: nothing else tells callers apart.
fn deciding(policy: &Snapshot, caller: &Caller) -> Vec<u32> {
    let has_grants = |index: &u32| policy.people.get(*index).is_some_and(|person| !person.granted.is_empty());
    policy.subject_of(caller).identities.iter().copied().filter(has_grants).collect()
}

/// The caller that a principal's line speaks of. A group's is somebody unknown whose credential asserts the group.
fn stand_in(index: u32, name: &Principal) -> Caller {
    let proof = Proof { scheme: Scheme::Token, credential: "planned".to_owned() };
    // No principal has an empty name.
    let nobody = Principal { kind: PrincipalKind::User, name: String::new() };
    match name.kind {
        PrincipalKind::Group if index == USERS => Caller::new(nobody, Vec::new(), proof),
        PrincipalKind::Group => Caller::new(nobody, vec![name.clone()], proof),
        _ => Caller::new(name.clone(), Vec::new(), proof),
    }
}

fn children(policy: &Snapshot) -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (index, _) in policy.securables() {
        if let Some(parent) = policy.parent_of(index) {
            children.entry(parent).or_default().push(index);
        }
    }
    children
}

/// Securables of one kind and place without grants of their own; or a single one that has some.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SecurableClass {
    Single(u32),
    Plain { parent: Option<u32>, kind: SecurableKind },
}

struct Work<'s> {
    before: &'s Snapshot,
    after: &'s Snapshot,
    now: UnixMillis,
    bounds: Bounds,
    comparisons: usize,
    children: HashMap<u32, Vec<u32>>,
    effects: Effects,
}

impl Work<'_> {
    /// Classes come in the order of their roots, so what lies below those is walked once for all who share them.
    fn compare(&mut self, classes: BTreeMap<PrincipalClass, Vec<u32>>) {
        let mut below: (BTreeSet<u32>, BTreeMap<SecurableClass, Vec<u32>>) = Default::default();
        for (class, principals) in classes {
            if below.0 != class.roots {
                below = (class.roots.clone(), self.below(&class.roots));
            }
            let Some(first) = principals.first() else { continue };
            let Some(name) = self.after.people.names.name(*first) else { continue };
            let caller = stand_in(*first, name);
            let (old, new) = (self.before.subject_of(&caller), self.after.subject_of(&caller));
            for securables in below.1.values() {
                let securable = securables.first().and_then(|first| self.after.rows.names.name(*first));
                let Some(securable) = securable else { continue };
                if self.comparisons >= self.bounds.comparisons {
                    self.effects.complete = false;
                    return;
                }
                self.comparisons += 1;
                let old = self.before.effective_of(&old, securable, self.now);
                let new = self.after.effective_of(&new, securable, self.now);
                self.note(&principals, securables, new.minus(old), old.minus(new));
            }
        }
    }

    fn below(&self, roots: &BTreeSet<u32>) -> BTreeMap<SecurableClass, Vec<u32>> {
        let mut found: HashSet<u32> = roots.iter().copied().collect();
        let mut open: Vec<u32> = roots.iter().copied().collect();
        let mut classes: BTreeMap<SecurableClass, Vec<u32>> = BTreeMap::new();
        while let Some(current) = open.pop() {
            let children = self.children.get(&current).into_iter().flatten().copied();
            open.extend(children.filter(|child| found.insert(*child)));
            let Some(row) = self.after.rows.get(current) else { continue };
            let granted =
                |policy: &Snapshot| policy.rows.get(current).is_some_and(|row| !row.entries().is_empty());
            let class = if granted(self.before) || granted(self.after) {
                SecurableClass::Single(current)
            } else {
                SecurableClass::Plain { parent: self.after.parent_of(current), kind: row.kind }
            };
            classes.entry(class).or_default().push(current);
        }
        classes.values_mut().for_each(|class| class.sort_unstable());
        classes
    }

    fn note(&mut self, principals: &[u32], securables: &[u32], gained: PrivilegeSet, lost: PrivilegeSet) {
        let pairs = principals.len() as u64 * securables.len() as u64;
        let effects = &mut self.effects;
        for (set, list, count) in [
            (gained, &mut effects.gains, &mut effects.gaining),
            (lost, &mut effects.loses, &mut effects.losing),
        ] {
            if set.is_empty() {
                continue;
            }
            *count += pairs;
            let named = |index: &u32| self.after.people.names.name(*index).cloned();
            for principal in principals.iter().filter_map(named) {
                let room = self.bounds.listed.saturating_sub(list.len());
                let named = |index: &u32| self.after.rows.names.name(*index).cloned();
                list.extend(securables.iter().filter_map(named).take(room).map(|securable| Pair {
                    principal: principal.clone(),
                    securable,
                    privileges: set,
                }));
            }
        }
    }
}
