//! What a document would change in the policy in force.
//!
//! Grants that have ended count as gone, on both sides: a file that still lists one changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::super::snapshot::Snapshot;
use super::document::{Document, Scope, canonical};
use crate::access::{Effect, Grant, GrantId, NewGrant, PolicyEdit, Principal, Rule, Securable};
use crate::clock::UnixMillis;
use crate::store::Wanted;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Removed,
    Added,
    /// Its end or its reason.
    Changed,
}

/// One difference, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    Membership {
        change: How,
        group: Principal,
        member: Principal,
        /// Where the document says so; nowhere, if it is removed.
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
    Grant {
        change: How,
        #[serde(flatten)]
        grant: NewGrant,
        /// What was before, of a grant whose end or reason changes.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Terms>,
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
}

/// What of a grant may change without its becoming another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Terms {
    #[serde(rename = "expires_at_ms")]
    pub expires_at: Option<UnixMillis>,
    pub reason: Option<String>,
}

/// Everything that a document would change: for people, for the store, and for a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    pub changes: Vec<Change>,
    pub wanted: Vec<Wanted>,
    pub edits: Vec<PolicyEdit>,
    /// Principals that policy does not know yet: new ones, or misspelt.
    pub new_principals: Vec<Principal>,
    /// Places of grants whose end has passed; they are not written.
    pub ended: Vec<String>,
}

/// The rules in force held against the document's grants; reasons are not looked at yet.
pub struct Matching {
    removed: Vec<Rule>,
    same: Vec<(Rule, NewGrant, String)>,
    added: Vec<(NewGrant, String)>,
    left: Vec<(Principal, Principal)>,
    joined: Vec<(Principal, Principal, String)>,
    ended: Vec<String>,
}

type Key = (Securable, Principal, String, bool);

impl Matching {
    pub fn new(snapshot: &Snapshot, document: &Document, now: UnixMillis) -> Self {
        let mut ended = Vec::new();
        let mut wanted: BTreeMap<Key, (NewGrant, String)> = BTreeMap::new();
        let mut listed: HashSet<&Securable> = HashSet::new();
        for (index, entry) in document.grants.iter().enumerate() {
            listed.insert(&entry.on);
            for (effect, place, grant) in entry.each() {
                let place = format!("grants[{index}].{}[{place}]", effect.as_str());
                if grant.ended(now) {
                    ended.push(place);
                    continue;
                }
                let new = NewGrant {
                    principal: grant.to.clone(),
                    securable: entry.on.clone(),
                    privilege: grant.canonical().to_owned(),
                    effect,
                    reason: grant.reason.clone(),
                    expires_at: grant.until,
                };
                wanted.insert(key(&new.securable, &new.principal, &new.privilege, effect), (new, place));
            }
        }
        let (mut removed, mut same) = (Vec::new(), Vec::new());
        for rule in snapshot.rules() {
            let ended = rule.expires_at.is_some_and(|end| end <= now);
            let concerned = document.scope == Scope::All || listed.contains(&rule.securable);
            if is_built_in(&rule) || ended || !concerned {
                continue;
            }
            let privilege = canonical(&rule.privilege);
            match wanted.remove(&key(&rule.securable, &rule.principal, privilege, rule.effect)) {
                Some((new, place)) => same.push((rule, new, place)),
                None => removed.push(rule),
            }
        }
        removed.sort_by(|one, other| order(one).cmp(&order(other)));
        let (left, joined) = memberships(snapshot, document);
        Self { removed, same, added: wanted.into_values().collect(), left, joined, ended }
    }

    /// The grants whose reasons are to be compared or told.
    pub fn concerned(&self) -> Vec<GrantId> {
        let same = self.same.iter().map(|(rule, _, _)| rule.id);
        same.chain(self.removed.iter().map(|rule| rule.id)).collect()
    }

    /// How many steps it would be at least.
    pub fn steps(&self) -> usize {
        self.removed.len() + self.added.len() + self.left.len() + self.joined.len()
    }

    /// The difference, given the concerned grants as the store holds them.
    pub fn difference(self, snapshot: &Snapshot, held: &[Grant]) -> Difference {
        let held: HashMap<GrantId, &Grant> = held.iter().map(|grant| (grant.id, grant)).collect();
        let reason_of = |id: GrantId| held.get(&id).and_then(|grant| grant.grant.reason.clone());
        let mut difference = Difference { ended: self.ended, ..Difference::default() };
        let mut met: BTreeSet<Principal> = BTreeSet::new();
        for (group, member) in self.left {
            difference.wanted.push(Wanted::Leave { group: group.clone(), member: member.clone() });
            difference.edits.push(PolicyEdit::Leave { group: group.clone(), member: member.clone() });
            difference.changes.push(Change::Membership { change: How::Removed, group, member, place: None });
        }
        for (group, member, place) in self.joined {
            met.extend([group.clone(), member.clone()]);
            difference.wanted.push(Wanted::Join { group: group.clone(), member: member.clone() });
            difference.edits.push(PolicyEdit::Join { group: group.clone(), member: member.clone() });
            let place = Some(place);
            difference.changes.push(Change::Membership { change: How::Added, group, member, place });
        }
        for rule in self.removed {
            difference.wanted.push(Wanted::Revoke(rule.id));
            difference.edits.push(PolicyEdit::Revoke(rule.clone()));
            let grant = NewGrant {
                principal: rule.principal,
                securable: rule.securable,
                privilege: rule.privilege,
                effect: rule.effect,
                reason: reason_of(rule.id),
                expires_at: rule.expires_at,
            };
            difference.changes.push(Change::Grant { change: How::Removed, grant, before: None, place: None });
        }
        for (rule, new, place) in self.same {
            let before = Terms { expires_at: rule.expires_at, reason: reason_of(rule.id) };
            if before.expires_at == new.expires_at && before.reason == new.reason {
                continue;
            }
            difference.grant(rule.id, &new, How::Changed, Some(before), place);
        }
        // Their ids are the store's to give; until then any that no grant has will do.
        for (id, (new, place)) in (1..).map(|place| GrantId(i64::MAX - place)).zip(self.added) {
            met.insert(new.principal.clone());
            difference.grant(id, &new, How::Added, None, place);
        }
        met.retain(|principal| snapshot.principal_index(principal).is_none());
        difference.new_principals = met.into_iter().collect();
        difference
    }
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether it touches who is in which group.
    pub fn moves_members(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Membership { .. }))
    }

    fn grant(&mut self, id: GrantId, new: &NewGrant, how: How, before: Option<Terms>, place: String) {
        self.wanted.push(Wanted::Grant(new.clone()));
        self.edits.push(PolicyEdit::Grant(Rule {
            id,
            principal: new.principal.clone(),
            securable: new.securable.clone(),
            privilege: new.privilege.clone(),
            effect: new.effect,
            expires_at: new.expires_at,
        }));
        let place = Some(place);
        self.changes.push(Change::Grant { change: how, grant: new.clone(), before, place });
    }
}

/// The grant that makes administrators what they are, and those of shadow mode: no file can name them and none
/// can remove them.
pub(super) fn is_built_in(rule: &Rule) -> bool {
    rule.id == GrantId(0) || rule.principal.is_reserved()
}

fn key(securable: &Securable, principal: &Principal, privilege: &str, effect: Effect) -> Key {
    (securable.clone(), principal.clone(), privilege.to_owned(), effect == Effect::Deny)
}

fn order(rule: &Rule) -> (&Securable, &Principal, &str, i64) {
    (&rule.securable, &rule.principal, &rule.privilege, rule.id.0)
}

type Edge = (Principal, Principal);

/// Who leaves which group, and who joins which, with the place that says so.
fn memberships(snapshot: &Snapshot, document: &Document) -> (Vec<Edge>, Vec<(Principal, Principal, String)>) {
    let mut wanted: BTreeMap<Edge, String> = BTreeMap::new();
    let mut listed: HashSet<&Principal> = HashSet::new();
    for (index, entry) in document.groups.iter().enumerate() {
        listed.insert(&entry.group);
        for (place, member) in entry.members.iter().enumerate() {
            let edge = (entry.group.clone(), member.clone());
            wanted.insert(edge, format!("groups[{index}].members[{place}]"));
        }
    }
    let mut left = Vec::new();
    for (group, member) in snapshot.memberships() {
        let concerned = document.scope == Scope::All || listed.contains(group);
        let edge = (group.clone(), member.clone());
        if concerned && wanted.remove(&edge).is_none() {
            left.push(edge);
        }
    }
    left.sort();
    (left, wanted.into_iter().map(|((group, member), place)| (group, member, place)).collect())
}
