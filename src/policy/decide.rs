//! The decision: from a securable upwards, which grants reach whom. No I/O, no allocation for what policy knows
//! by number, and no way to fail: what is not there is denied.

use std::borrow::Cow;

use super::fault::{Fault, fault};
use super::levels::PrivilegeSet;
use super::people::{ADMINS, Person, Sieve};
use super::rows::{NONE, Row};
use super::snapshot::Snapshot;
use crate::access::{Caller, Check, Principal, Privilege, Securable, SecurableKind};
use crate::clock::UnixMillis;

/// Above any tree that can be written: a path of 500 characters has at most 250 folders.
const DEEPEST: usize = 300;

/// Everybody a caller acts as, ascending.
pub(super) struct Subject<'s> {
    pub identities: Cow<'s, [u32]>,
    pub sieve: Sieve,
    pub inactive: bool,
}

impl<'s> Subject<'s> {
    pub fn new(identities: Vec<u32>, inactive: bool) -> Self {
        Self { sieve: Sieve::of(&identities), identities: Cow::Owned(identities), inactive }
    }

    fn known(person: &'s Person) -> Self {
        Self { identities: Cow::Borrowed(&person.identities), sieve: person.sieve, inactive: person.inactive }
    }

    pub fn is_admin(&self) -> bool {
        self.identities.first() == Some(&ADMINS) && !self.inactive
    }

    pub fn is(&self, principal: u32) -> bool {
        self.sieve.may_hold(principal) && self.identities.binary_search(&principal).is_ok()
    }
}

/// A securable and what is above it, lowest first. Those that policy has no row for have no grants either.
pub(super) struct Chain {
    unknown: Vec<SecurableKind>,
    known: u32,
}

/// What is granted at one place in the tree.
#[derive(Clone, Copy, Default)]
struct Reach {
    /// To the securable itself and to all below it.
    below: PrivilegeSet,
    /// To the securable itself.
    here: PrivilegeSet,
    denied_below: PrivilegeSet,
    denied_here: PrivilegeSet,
}

impl Snapshot {
    pub fn allows_at(&self, principal: u32, securable: u32, privilege: Privilege, now: UnixMillis) -> bool {
        self.effective_at(principal, securable, now).has(privilege)
    }

    pub fn allows(
        &self,
        principal: &Principal,
        securable: &Securable,
        privilege: Privilege,
        now: UnixMillis,
    ) -> bool {
        self.effective(principal, securable, now).has(privilege)
    }

    /// Everything that a principal may do to a securable, both by number.
    pub fn effective_at(&self, principal: u32, securable: u32, now: UnixMillis) -> PrivilegeSet {
        let (Some(person), Some(row)) = (self.people.get(principal), self.rows.get(securable)) else {
            return PrivilegeSet::EMPTY;
        };
        let subject = Subject::known(person);
        self.permitted(&subject, row.kind, &[], securable, now)
    }

    /// Everything that a principal may do to a securable.
    pub fn effective(&self, principal: &Principal, securable: &Securable, now: UnixMillis) -> PrivilegeSet {
        self.effective_of(&self.subject(principal, &[]), securable, now)
    }

    pub(super) fn effective_of(
        &self,
        subject: &Subject<'_>,
        securable: &Securable,
        now: UnixMillis,
    ) -> PrivilegeSet {
        let chain = self.chain(securable);
        self.permitted(subject, securable.kind, &chain.unknown, chain.known, now)
    }

    /// Whether a caller's principal has this, as this policy says.
    pub fn grants_to(&self, caller: &Caller, check: &Check, now: UnixMillis) -> bool {
        self.effective_of(&self.subject_of(caller), &check.securable, now).has(check.privilege)
    }

    pub(super) fn subject_of(&self, caller: &Caller) -> Subject<'_> {
        if caller.is_anonymous() {
            // Nobody in particular, and so not one of `users` either.
            return self.groups_alone(&caller.asserted_groups);
        }
        self.subject(&caller.principal, &caller.asserted_groups)
    }

    fn groups_alone(&self, groups: &[Principal]) -> Subject<'_> {
        let known = groups.iter().filter_map(|group| self.people.find(group));
        let mut identities: Vec<u32> =
            known.flat_map(|(_, group)| group.identities.iter().copied()).collect();
        identities.sort_unstable();
        identities.dedup();
        Subject::new(identities, false)
    }

    /// Who somebody acts as: as policy knows it, and as members of the groups that the credential asserts.
    pub(super) fn subject(&self, principal: &Principal, asserted: &[Principal]) -> Subject<'_> {
        let known = match self.people.find(principal) {
            Some((_, person)) => Subject::known(person),
            None => match self.people.strangers(principal) {
                Some(users) if !fault(Fault::StrangersAreNobody) => Subject::known(users),
                _ => Subject::new(Vec::new(), false),
            },
        };
        let mut asserted = asserted.iter().filter_map(|group| self.people.find(group)).peekable();
        if asserted.peek().is_none() {
            return known;
        }
        let mut identities = known.identities.to_vec();
        asserted.for_each(|(index, group)| match fault(Fault::AssertedGroupsNotClosed) {
            true => identities.push(index),
            false => identities.extend(group.identities.iter()),
        });
        identities.sort_unstable();
        identities.dedup();
        Subject::new(identities, known.inactive)
    }

    fn chain(&self, securable: &Securable) -> Chain {
        let mut unknown = Vec::new();
        let mut current = Cow::Borrowed(securable);
        loop {
            if let Some(known) = self.rows.names.find(&current) {
                return Chain { unknown, known };
            }
            unknown.push(current.kind);
            match current.parent() {
                Some(parent) => current = Cow::Owned(parent),
                None => return Chain { unknown, known: NONE },
            }
        }
    }

    fn permitted(
        &self,
        subject: &Subject<'_>,
        kind: SecurableKind,
        unknown: &[SecurableKind],
        known: u32,
        now: UnixMillis,
    ) -> PrivilegeSet {
        if subject.inactive && !fault(Fault::DeactivationIgnored) {
            return PrivilegeSet::EMPTY;
        }
        let granted = if kind.is_catalog_plane() {
            self.in_catalog(subject, unknown, known, now)
        } else {
            self.in_workspace(subject, known, now)
        };
        if fault(Fault::InapplicableAllowed) { granted } else { granted.both(self.levels.applicable(kind)) }
    }

    /// Nothing but the grants on the way up counts.
    fn in_workspace(&self, subject: &Subject<'_>, known: u32, now: UnixMillis) -> PrivilegeSet {
        let mut total = Reach::default();
        for row in self.upwards(known) {
            let reach = self.reach(row, subject, now);
            total.below = total.below.union(reach.below);
            total.denied_below = total.denied_below.union(reach.denied_below);
        }
        after_denial(subject, total.below, total.denied_below)
    }

    /// The way down from the metastore, as gates on it decide what is reached.
    fn in_catalog(
        &self,
        subject: &Subject<'_>,
        unknown: &[SecurableKind],
        known: u32,
        now: UnixMillis,
    ) -> PrivilegeSet {
        // Workspace, metastore, catalog, schema, leaf: lowest first here, passed in reverse below.
        let mut way = [(SecurableKind::Workspace, Reach::default()); 5];
        let mut length = 0;
        let above = self.upwards(known).map(|row| (row.kind, self.reach(row, subject, now)));
        for step in unknown.iter().map(|kind| (*kind, Reach::default())).chain(above) {
            let Some(place) = way.get_mut(length) else { return PrivilegeSet::EMPTY };
            *place = step;
            length += 1;
        }
        let mut inherited = Reach::default();
        let mut at_last = PrivilegeSet::EMPTY;
        let (mut may_use, mut may_enter, mut may_enter_above) = (true, true, true);
        for (kind, reach) in way[..length].iter().rev() {
            let denied = inherited.denied_below.union(reach.denied_here);
            at_last = after_denial(subject, inherited.below.union(reach.here), denied);
            inherited.below = inherited.below.union(reach.below);
            inherited.denied_below = inherited.denied_below.union(reach.denied_below);
            may_enter_above = may_enter;
            let gate = match kind {
                SecurableKind::Catalog => Some((Privilege::UseCatalog, Privilege::EnterCatalog)),
                SecurableKind::Schema => Some((Privilege::UseSchema, Privilege::EnterSchema)),
                _ => None,
            };
            if let Some((using, entering)) = gate {
                may_use &= at_last.has(using)
                    || fault(Fault::CatalogGateSkipped) && *kind == SecurableKind::Catalog
                    || fault(Fault::SchemaGateSkipped) && *kind == SecurableKind::Schema;
                may_enter &= at_last.has(entering);
            }
        }
        let may_manage = may_enter_above && (may_use || !fault(Fault::ManageNeedsUse));
        let open = self.levels.open(may_use, may_manage);
        at_last.both(open)
    }

    fn upwards(&self, start: u32) -> impl Iterator<Item = &Row> {
        let mut next = start;
        std::iter::from_fn(move || {
            let row = self.rows.get(next)?;
            next = row.parent;
            Some(row)
        })
        .take(if fault(Fault::DeepTreeCut) { 4 } else { DEEPEST })
    }

    fn reach(&self, row: &Row, subject: &Subject<'_>, now: UnixMillis) -> Reach {
        let mut reach = Reach::default();
        row.each_short(subject, |grant| {
            if !grant.in_force(now) {
                return;
            }
            let (below, here) = if grant.denies {
                (&mut reach.denied_below, &mut reach.denied_here)
            } else {
                (&mut reach.below, &mut reach.here)
            };
            let (inherited, own) = (self.levels.set(grant.given), self.levels.set_here(grant.given));
            let owner_inherited = fault(Fault::OwnerInherited) && !grant.denies;
            let owners_deny_forgotten = fault(Fault::OwnersDenyForgotten) && grant.denies;
            *below = below.union(if owner_inherited { own } else { inherited });
            *here = here.union(if owners_deny_forgotten { inherited } else { own });
        });
        reach
    }
}

/// A deny beats every allow but an administrator's.
fn after_denial(subject: &Subject<'_>, allowed: PrivilegeSet, denied: PrivilegeSet) -> PrivilegeSet {
    let bound = !subject.is_admin() || fault(Fault::DenyBindsAdministrators);
    if bound && !fault(Fault::DenyIgnored) { allowed.minus(denied) } else { allowed }
}
