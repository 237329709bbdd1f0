//! Who is in which group, with the closure kept ready: everybody a principal acts as.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::fault::{Fault, fault};
use super::names::Names;
use super::shared_vec::SharedVec;
use crate::access::{Principal, PrincipalKind};

/// `group:admins` and `group:users` are always the first two.
pub(super) const ADMINS: u32 = 0;
pub(super) const USERS: u32 = 1;

#[derive(Clone, Default)]
pub(super) struct Person {
    /// Groups that this principal was put into itself.
    pub groups: Arc<[u32]>,
    /// Principals that were put into this group.
    pub members: Arc<[u32]>,
    /// This principal, every group it is in through whatever groups, and `users` with all that is above it,
    /// ascending. `admins` has number 0, so that an administrator's begin with 0.
    pub identities: Arc<[u32]>,
    /// Of `identities`.
    pub sieve: Sieve,
    pub inactive: bool,
    /// Securables on which this very principal has grants, ascending.
    pub granted: Arc<[u32]>,
}

/// Says of most numbers that are not in a set that they are not, without looking at the set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sieve([u64; 4]);

impl Sieve {
    pub fn of(numbers: &[u32]) -> Self {
        let mut sieve = Self::default();
        for number in numbers {
            sieve.0[Self::word(*number)] |= Self::bit(*number);
        }
        sieve
    }

    pub fn may_hold(&self, number: u32) -> bool {
        self.0[Self::word(number)] & Self::bit(number) != 0
    }

    fn word(number: u32) -> usize {
        number as usize >> 6 & 3
    }

    fn bit(number: u32) -> u64 {
        1 << (number & 63)
    }
}

impl Person {
    fn set_identities(&mut self, identities: Arc<[u32]>) {
        self.sieve = Sieve::of(&identities);
        self.identities = identities;
    }
}

#[derive(Clone, Default)]
pub(super) struct People {
    pub names: Names<Principal>,
    people: SharedVec<Arc<Person>>,
}

impl People {
    pub fn new() -> Self {
        let mut people = Self::default();
        for name in [Principal::ADMINS, Principal::USERS] {
            people.intern(&Principal { kind: PrincipalKind::Group, name: name.to_owned() });
        }
        people
    }

    pub fn get(&self, index: u32) -> Option<&Person> {
        self.people.get(index as usize).map(Arc::as_ref)
    }

    pub fn find(&self, principal: &Principal) -> Option<(u32, &Person)> {
        let index = self.names.find(principal)?;
        Some((index, self.get(index)?))
    }

    /// Whoever can call and is not known acts as the group that everybody is in.
    pub fn strangers(&self, stranger: &Principal) -> Option<&Person> {
        self.get(USERS).filter(|_| is_caller(stranger))
    }

    pub fn intern(&mut self, principal: &Principal) -> u32 {
        let (index, new) = self.names.intern(principal);
        if new {
            self.people.push(Arc::new(Person::default()));
            self.renew_identities(&[index]);
        }
        index
    }

    pub fn change(&mut self, index: u32, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.get(index) {
            let mut person = person.clone();
            change(&mut person);
            self.people.set(index as usize, Arc::new(person));
        }
    }

    /// Adds or removes an edge and renews everybody below it.
    pub fn set_member(&mut self, group: u32, member: u32, joined: bool) {
        self.change(member, |person| person.groups = with(&person.groups, group, joined));
        self.change(group, |person| person.members = with(&person.members, member, joined));
        if !joined && fault(Fault::StaleAfterLeave) {
            return;
        }
        let below = if fault(Fault::StaleForNested) { vec![member] } else { self.below(member) };
        self.renew_identities(&below);
    }

    /// Adds edges and principals in bulk; everybody's identities are computed once.
    pub fn extend(&mut self, memberships: &[(u32, u32)]) {
        let mut groups: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
        for (group, member) in memberships {
            groups.entry(*member).or_default().push(*group);
            members.entry(*group).or_default().push(*member);
        }
        let mut people: Vec<Person> = self.people.iter().map(|person| person.as_ref().clone()).collect();
        for (index, person) in (0_u32..).zip(&mut people) {
            for (edges, kept) in [(&mut groups, &mut person.groups), (&mut members, &mut person.members)] {
                if let Some(mut more) = edges.remove(&index) {
                    more.extend(kept.iter());
                    more.sort_unstable();
                    more.dedup();
                    *kept = more.into();
                }
            }
        }
        self.people = people.into_iter().map(Arc::new).collect();
        let everybody: Vec<u32> = (0..).take(self.people.len()).collect();
        self.renew_identities(&everybody);
    }

    /// Replaces what everybody has grants on; `granted` is principals with securables, ascending.
    pub fn set_granted(&mut self, granted: &[(u32, u32)]) {
        let mut rest = granted;
        let people = (0_u32..).zip(self.people.iter()).map(|(index, person)| {
            let (own, others) = rest.split_at(rest.partition_point(|(principal, _)| *principal <= index));
            rest = others;
            let granted = own.iter().map(|(_, securable)| *securable).collect();
            Arc::new(Person { granted, ..person.as_ref().clone() })
        });
        self.people = people.collect();
    }

    /// A principal and everybody inside it, if it is a group. Whoever can call is inside `users`.
    pub fn below(&self, start: u32) -> Vec<u32> {
        let mut found = HashSet::from([start]);
        let mut order = vec![start];
        let mut next = 0;
        while let Some(current) = order.get(next).copied() {
            next += 1;
            let Some(person) = self.get(current) else { continue };
            let everyone = current == USERS && !fault(Fault::StaleForUsers);
            let callers = if everyone { self.callers() } else { Vec::new() };
            order
                .extend(person.members.iter().copied().chain(callers).filter(|member| found.insert(*member)));
        }
        order
    }

    fn callers(&self) -> Vec<u32> {
        (0_u32..).zip(self.names.iter()).filter(|(_, name)| is_caller(name)).map(|(index, _)| index).collect()
    }

    fn renew_identities(&mut self, whose: &[u32]) {
        let stale: HashSet<u32> = whose.iter().copied().collect();
        let mut renewed: HashMap<u32, Arc<[u32]>> = HashMap::with_capacity(whose.len());
        for index in whose {
            self.identities_of(*index, &stale, &mut renewed, 0);
        }
        if whose.len() * 4 > self.people.len() {
            let people =
                (0_u32..).zip(self.people.iter()).map(|(index, person)| match renewed.remove(&index) {
                    Some(identities) => {
                        let mut person = person.as_ref().clone();
                        person.set_identities(identities);
                        Arc::new(person)
                    }
                    None => Arc::clone(person),
                });
            self.people = people.collect();
        } else {
            for (index, identities) in renewed {
                self.change(index, |person| person.set_identities(identities));
            }
        }
    }

    /// Unites what the groups directly above act as; each group is worked out once.
    fn identities_of(
        &self,
        index: u32,
        stale: &HashSet<u32>,
        renewed: &mut HashMap<u32, Arc<[u32]>>,
        depth: usize,
    ) -> Arc<[u32]> {
        if let Some(known) = renewed.get(&index) {
            return Arc::clone(known);
        }
        let Some(person) = self.get(index) else { return Arc::default() };
        // A circle cannot be written; should one be there all the same, it ends here.
        if !stale.contains(&index) || depth > DEEPEST {
            return Arc::clone(&person.identities);
        }
        let caller = self.names.name(index).is_some_and(is_caller);
        let above: Vec<u32> = person.groups.iter().copied().chain(caller.then_some(USERS)).collect();
        let counted = if fault(Fault::FirstGroupOnly) { 1 } else { above.len() };
        let mut identities = vec![index];
        for group in above.into_iter().take(counted) {
            identities.extend(self.identities_of(group, stale, renewed, depth + 1).iter());
        }
        identities.sort_unstable();
        identities.dedup();
        let identities: Arc<[u32]> = identities.into();
        renewed.insert(index, Arc::clone(&identities));
        identities
    }
}

/// Above what can be written: 8 groups in a chain, a caller below them, `users` between.
const DEEPEST: usize = 32;

fn is_caller(principal: &Principal) -> bool {
    principal.kind != PrincipalKind::Group
}

/// An ascending list with or without an element.
pub(super) fn with(list: &Arc<[u32]>, element: u32, present: bool) -> Arc<[u32]> {
    match (list.binary_search(&element), present) {
        (Err(place), true) => [&list[..place], &[element], &list[place..]].concat().into(),
        (Ok(place), false) => [&list[..place], &list[place + 1..]].concat().into(),
        _ => Arc::clone(list),
    }
}
