//! Grants by securable, and each securable's place in the tree.

use std::sync::Arc;

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

#[derive(Clone)]
pub(super) struct Row {
    pub parent: u32,
    pub kind: SecurableKind,
    /// By principal, so that one principal's stand together.
    pub entries: Arc<[Entry]>,
}

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
            let row = Row { parent: NONE, kind: securable.kind, entries: Arc::default() };
            self.rows.push(row);
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
            Row { entries: own.iter().map(|(_, entry)| *entry).collect(), ..row.clone() }
        });
        self.rows = filled.collect();
    }

    pub fn insert(&mut self, index: u32, entry: Entry) {
        self.change(index, |row| {
            let place = row.entries.partition_point(|other| other.principal <= entry.principal);
            let place = if fault(Fault::InsertedUnsorted) { row.entries.len() } else { place };
            let (before, after) = row.entries.split_at(place);
            row.entries = [before, &[entry], after].concat().into();
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
        let rest = [&entries[..place], &entries[place + 1..]].concat();
        self.change(index, |row| row.entries = rest.into());
        Some(removed)
    }

    fn change(&mut self, index: u32, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.get(index) {
            let mut row = row.clone();
            change(&mut row);
            self.rows.set(index as usize, row);
        }
    }
}
