//! A small world as plain facts. It is kept apart from the engine on purpose: what the engine makes of an
//! edit is compared with what the edit does to these sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Builder, Levels, Snapshot};
use crate::access::{PolicyEdit, Principal, PrincipalKind, Rule, Securable};
use crate::clock::UnixMillis;

#[derive(Clone, Debug)]
pub(super) struct World {
    pub now: UnixMillis,
    /// Who was made known, and whether they may authenticate.
    pub principals: BTreeMap<Principal, bool>,
    /// Group and member, direct ones only.
    pub memberships: BTreeSet<(Principal, Principal)>,
    pub places: BTreeMap<Securable, Securable>,
    pub rules: BTreeMap<i64, Rule>,
}

pub(super) fn users() -> Principal {
    Principal::group(Principal::USERS).unwrap()
}

pub(super) fn admins() -> Principal {
    Principal::group(Principal::ADMINS).unwrap()
}

impl World {
    pub fn empty() -> Self {
        Self {
            now: UnixMillis(1_000),
            principals: BTreeMap::new(),
            memberships: BTreeSet::new(),
            places: BTreeMap::new(),
            rules: BTreeMap::new(),
        }
    }

    pub fn edit(&mut self, edit: &PolicyEdit) {
        match edit.clone() {
            PolicyEdit::Principal { principal, active } => {
                self.principals.insert(principal, active);
            }
            PolicyEdit::Grant(rule) => {
                self.rules.insert(rule.id.0, rule);
            }
            PolicyEdit::Revoke(rule) => {
                self.rules.remove(&rule.id.0);
            }
            PolicyEdit::Join { group, member } => {
                self.memberships.insert((group, member));
            }
            PolicyEdit::Leave { group, member } => {
                self.memberships.remove(&(group, member));
            }
            PolicyEdit::Place { securable, parent } => {
                self.places.insert(securable, parent);
            }
            PolicyEdit::Unplace { securable } => {
                self.places.remove(&securable);
            }
        }
    }

    /// The engine's picture, built at once from these facts.
    pub fn build(&self, levels: &Arc<Levels>, version: i64) -> Snapshot {
        let mut builder = Builder::new(Arc::clone(levels));
        for (principal, active) in &self.principals {
            builder.principal(principal, *active);
        }
        for (group, member) in &self.memberships {
            builder.member(group, member);
        }
        for (securable, parent) in &self.places {
            builder.place(securable, parent);
        }
        for rule in self.rules.values() {
            builder.grant(rule);
        }
        builder.build(version)
    }

    /// The same facts as edits, to be applied to nothing.
    pub fn as_edits(&self) -> Vec<PolicyEdit> {
        let principals = self.principals.iter().map(|(principal, active)| PolicyEdit::Principal {
            principal: principal.clone(),
            active: *active,
        });
        let joins = self
            .memberships
            .iter()
            .map(|(group, member)| PolicyEdit::Join { group: group.clone(), member: member.clone() });
        let places = self.places.iter().map(|(securable, parent)| PolicyEdit::Place {
            securable: securable.clone(),
            parent: parent.clone(),
        });
        let grants = self.rules.values().cloned().map(PolicyEdit::Grant);
        principals.chain(joins).chain(places).chain(grants).collect()
    }

    pub fn is_active(&self, principal: &Principal) -> bool {
        self.principals.get(principal).copied().unwrap_or(true)
    }

    /// Everybody that some fact names.
    pub fn known(&self) -> BTreeSet<Principal> {
        let mut known: BTreeSet<Principal> = self.principals.keys().cloned().collect();
        for (group, member) in &self.memberships {
            known.extend([group.clone(), member.clone()]);
        }
        known.extend(self.rules.values().map(|rule| rule.principal.clone()));
        known
    }

    /// Every securable that some fact names, and all above them.
    pub fn securables(&self) -> BTreeSet<Securable> {
        let mut named: BTreeSet<Securable> = self.rules.values().map(|rule| rule.securable.clone()).collect();
        for (securable, parent) in &self.places {
            named.extend([securable.clone(), parent.clone()]);
        }
        named.iter().flat_map(|securable| self.chain(securable)).collect()
    }

    /// A securable and all above it, nearest first: its recorded place, else what its name says.
    pub fn chain(&self, securable: &Securable) -> Vec<Securable> {
        let mut chain = vec![securable.clone()];
        while let Some(last) = chain.last() {
            match self.places.get(last).cloned().or_else(|| last.parent()) {
                Some(parent) => chain.push(parent),
                None => break,
            }
        }
        chain
    }

    /// Whom somebody acts as: themselves, every group that they are in however deep, and `users`.
    pub fn acts_as(&self, principal: &Principal, asserted: &[Principal]) -> BTreeSet<Principal> {
        let mut found: BTreeSet<Principal> = asserted.iter().cloned().collect();
        found.insert(principal.clone());
        if principal.kind != PrincipalKind::Group {
            found.insert(users());
        }
        loop {
            let above: BTreeSet<Principal> = self
                .memberships
                .iter()
                .filter(|(_, member)| found.contains(member))
                .map(|(group, _)| group.clone())
                .collect();
            let before = found.len();
            found.extend(above);
            if found.len() == before {
                return found;
            }
        }
    }

    /// Groups on the longest way up from `group`, itself included.
    pub fn levels_above(&self, group: &Principal) -> usize {
        let above = self.memberships.iter().filter(|(_, member)| member == group);
        1 + above.map(|(parent, _)| self.levels_above(parent)).max().unwrap_or(0)
    }

    pub fn levels_below(&self, group: &Principal) -> usize {
        let inside = self
            .memberships
            .iter()
            .filter(|(container, member)| container == group && member.kind == PrincipalKind::Group);
        1 + inside.map(|(_, member)| self.levels_below(member)).max().unwrap_or(0)
    }
}
