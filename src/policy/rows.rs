//! Grants by securable, and each securable's place in the tree.

use std::sync::Arc;

use super::decide::Subject;
use super::fault::{Fault, fault};
use super::names::Names;
use super::shared_vec::SharedVec;
use crate::access::{Effect, Given, GrantId, Securable, SecurableKind};
use crate::clock::UnixMillis;

pub(super) const WORKSPACE: u32 = 0;
/// No securable has this number.
pub(super) const NONE: u32 = u32::MAX;

/// One grant, as small as a decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: GrantId,
    /// When it ends; never is the largest number.
    pub ends: UnixMillis,
    pub principal: u32,
    pub given: Given,
    pub effect: Effect,
}

pub(super) const NEVER: UnixMillis = UnixMillis(i64::MAX);

impl Entry {
    pub fn in_force(&self, now: UnixMillis) -> bool {
        let late = fault(Fault::ExpiryLate) && now == self.ends;
        self.ends == NEVER || now < self.ends || late || fault(Fault::ExpiryIgnored)
    }
}

/// A securable's place and grants. What a decision looks at first fills one cache line, since that is what a
/// decision on a securable that nobody asked about lately waits for.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Row {
    pub parent: u32,
    pub kind: SecurableKind,
    /// Whether `brief` holds all of the entries.
    is_brief: bool,
    brief: Brief,
    entries: Arc<[Entry]>,
}

/// The first entries of a row, in short.
#[derive(Clone, Copy)]
struct Brief {
    count: u8,
    /// One bit for each entry that denies.
    denies: u8,
    /// One bit for each entry that ends.
    ends: u8,
    given: [Given; BRIEF],
    principals: [u32; BRIEF],
}

/// Entries that fit into the line.
const BRIEF: usize = 7;

/// One grant as a decision reads it; when it ends is looked up only if it does.
pub(super) struct Short<'r> {
    pub given: Given,
    pub denies: bool,
    ending: Option<&'r Entry>,
}

impl Short<'_> {
    pub fn in_force(&self, now: UnixMillis) -> bool {
        self.ending.is_none_or(|entry| entry.in_force(now))
    }
}

impl Row {
    fn new(parent: u32, kind: SecurableKind, entries: Arc<[Entry]>) -> Self {
        let mut brief =
            Brief { count: 0, denies: 0, ends: 0, given: [Given::ALL; BRIEF], principals: [NONE; BRIEF] };
        for (place, entry) in entries.iter().take(BRIEF).enumerate() {
            brief.count += 1;
            brief.denies |= u8::from(entry.effect == Effect::Deny) << place;
            brief.ends |= u8::from(entry.ends != NEVER) << place;
            brief.given[place] = entry.given;
            brief.principals[place] = entry.principal;
        }
        Self { parent, kind, is_brief: entries.len() <= BRIEF, brief, entries }
    }

    /// By principal, so that one principal's stand together.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Visits what is granted to anybody whom the subject acts as.
    pub fn each_short<'r>(&'r self, subject: &Subject<'_>, mut visit: impl FnMut(Short<'r>)) {
        if !self.is_brief {
            self.each_of(subject, |entry| {
                let denies = entry.effect == Effect::Deny;
                visit(Short { given: entry.given, denies, ending: Some(entry) });
            });
            return;
        }
        let brief = &self.brief;
        for place in 0..usize::from(brief.count).min(BRIEF) {
            if subject.is(brief.principals[place]) {
                let is = |bits: u8| bits >> place & 1 == 1;
                let ending = if is(brief.ends) { self.entries.get(place) } else { None };
                visit(Short { given: brief.given[place], denies: is(brief.denies), ending });
            }
        }
    }

    /// Visits the grants to anybody whom the subject acts as.
    pub fn each_of<'r>(&'r self, subject: &Subject<'_>, mut visit: impl FnMut(&'r Entry)) {
        if self.entries.len() <= FEW.max(subject.identities.len()) {
            self.entries.iter().filter(|entry| subject.is(entry.principal)).for_each(visit);
            return;
        }
        let mut rest = &self.entries[..];
        let most = subject.identities.len() - usize::from(fault(Fault::LastRunMissed));
        for identity in subject.identities.iter().take(most).skip(usize::from(fault(Fault::FirstRunMissed))) {
            rest = &rest[rest.partition_point(|entry| entry.principal < *identity)..];
            rest.iter().take_while(|entry| entry.principal == *identity).for_each(&mut visit);
        }
    }
}

/// Entries of a securable up to which it is quicker to look at each than to search for each identity.
const FEW: usize = 48;

#[derive(Clone, Default)]
pub(super) struct Rows {
    pub names: Names<Securable>,
    rows: SharedVec<Row>,
}

impl Rows {
    pub fn new() -> Self {
        let mut rows = Self::default();
        rows.intern(&Securable::workspace());
        rows
    }

    pub fn get(&self, index: u32) -> Option<&Row> {
        self.rows.get(index as usize)
    }

    /// The number of a securable; everything that its name says it lies in gets one too.
    pub fn intern(&mut self, securable: &Securable) -> u32 {
        let (index, new) = self.names.intern(securable);
        if new {
            self.rows.push(Row::new(NONE, securable.kind, Arc::default()));
            if let Some(parent) = securable.parent() {
                let parent = self.intern(&parent);
                self.place(index, parent);
            }
        }
        index
    }

    pub fn place(&mut self, index: u32, parent: u32) {
        self.change(index, |row| row.parent = parent);
    }

    /// Replaces all rows' entries at once; `entries` stands in the order of rows, then of principals.
    pub fn fill(&mut self, entries: &[(u32, Entry)]) {
        let mut rest = entries;
        let filled = (0_u32..).zip(self.rows.iter()).map(|(index, row)| {
            let (own, others) = rest.split_at(rest.partition_point(|(securable, _)| *securable <= index));
            rest = others;
            Row::new(row.parent, row.kind, own.iter().map(|(_, entry)| *entry).collect())
        });
        self.rows = filled.collect();
    }

    pub fn insert(&mut self, index: u32, entry: Entry) {
        self.change_entries(index, |entries| {
            let place = entries.partition_point(|other| other.principal <= entry.principal);
            let place = if fault(Fault::InsertedUnsorted) { entries.len() } else { place };
            let (before, after) = entries.split_at(place);
            [before, &[entry], after].concat()
        });
    }

    /// Removes a grant and tells whose it was.
    pub fn remove(&mut self, index: u32, id: GrantId) -> Option<Entry> {
        let entries = &self.get(index)?.entries;
        let place = entries.iter().position(|entry| entry.id == id)?;
        let removed = entries[place];
        if fault(Fault::RevokeIgnored) {
            return Some(removed);
        }
        self.change_entries(index, |entries| [&entries[..place], &entries[place + 1..]].concat());
        Some(removed)
    }

    fn change_entries(&mut self, index: u32, change: impl FnOnce(&[Entry]) -> Vec<Entry>) {
        self.change(index, |row| *row = Row::new(row.parent, row.kind, change(&row.entries).into()));
    }

    fn change(&mut self, index: u32, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.get(index) {
            let mut row = row.clone();
            change(&mut row);
            self.rows.set(index as usize, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_decision_looks_at_first_fills_one_cache_line() {
        assert_eq!((size_of::<Row>(), align_of::<Row>()), (64, 64));
    }
}
