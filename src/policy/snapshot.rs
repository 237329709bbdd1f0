//! Policy at one version: an immutable picture that copies share, so that the next version costs what changed.
//!
//! Names are numbers, group membership is closed, and each securable knows its parent and its grants. A decision
//! visits the securable and what is above it, and nothing else (`decide.rs`).
//!
//! ```
//! use std::sync::Arc;
//! use tracegate::access::{Effect, GrantId, Privilege, Rule};
//! use tracegate::clock::UnixMillis;
//! use tracegate::policy::{Builder, Levels};
//!
//! let mut builder = Builder::new(Arc::new(Levels::builtin().unwrap()));
//! builder.member(&"group:analysts".parse().unwrap(), &"user:bob".parse().unwrap());
//! builder.grant(&Rule {
//!     id: GrantId(1),
//!     principal: "group:analysts".parse().unwrap(),
//!     securable: "experiment:7".parse().unwrap(),
//!     privilege: "CAN_READ".to_owned(),
//!     effect: Effect::Allow,
//!     expires_at: None,
//! });
//! let policy = builder.build(1);
//! let (bob, experiment) = ("user:bob".parse().unwrap(), "experiment:7".parse().unwrap());
//! assert!(policy.allows(&bob, &experiment, Privilege::TraceRead, UnixMillis(0)));
//! assert!(!policy.allows(&bob, &experiment, Privilege::TraceWrite, UnixMillis(0)));
//! ```

use std::sync::Arc;

use super::fault::{Fault, fault};
use super::levels::Levels;
use super::people::{ADMINS, People, with};
use super::publication::Versioned;
use super::rows::{Entry, NEVER, NONE, Rows, WORKSPACE};
use crate::access::{Effect, Given, GrantId, PolicyEdit, Principal, Rule, Securable};
use crate::store::PolicyState;

/// The edits do not fit the policy that they are to change: something was missed, and only a full read helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version {version} does not follow from version {from}: {problem}")]
pub struct EditError {
    pub from: i64,
    pub version: i64,
    pub problem: String,
}

#[derive(Clone)]
pub struct Snapshot {
    pub(super) version: i64,
    pub(super) people: People,
    pub(super) rows: Rows,
    pub(super) levels: Arc<Levels>,
}

impl Versioned for Snapshot {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Snapshot {
    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The policy after these edits, as `version`; this one stays as it is.
    pub fn apply(&self, version: i64, edits: &[PolicyEdit]) -> Result<Self, EditError> {
        let mut next = self.clone();
        next.version = version;
        for edit in edits {
            next.edit(edit).map_err(|problem| EditError { from: self.version, version, problem })?;
        }
        Ok(next)
    }

    fn edit(&mut self, edit: &PolicyEdit) -> Result<(), String> {
        match edit {
            PolicyEdit::Principal { principal, active } => {
                let index = self.people.intern(principal);
                self.people.change(index, |person| person.inactive = !active);
            }
            PolicyEdit::Grant(rule) => {
                // Written again, whatever it was: what this version cannot read gives nothing any more.
                if !fault(Fault::ReplacedStays) {
                    self.revoke(rule);
                }
                let Ok(given) = rule.privilege.parse::<Given>() else { return Ok(()) };
                let (principal, securable) =
                    (self.people.intern(&rule.principal), self.rows.intern(&rule.securable));
                self.rows.insert(securable, entry(rule, principal, given));
                self.people.change(principal, |person| {
                    person.granted = with(&person.granted, securable, true);
                });
            }
            PolicyEdit::Revoke(rule) => {
                if rule.privilege.parse::<Given>().is_err() {
                    return Ok(());
                }
                self.revoke(rule)
                    .ok_or_else(|| format!("grant {} is not on `{}`", rule.id.0, rule.securable))?;
            }
            PolicyEdit::Join { group, member } => {
                let (group, member) = (self.people.intern(group), self.people.intern(member));
                self.people.set_member(group, member, true);
            }
            PolicyEdit::Leave { group, member } => {
                let known = self.people.names.find(group).zip(self.people.names.find(member));
                let (group, member) = known.ok_or_else(|| format!("`{member}` is not in `{group}`"))?;
                self.people.set_member(group, member, false);
            }
            PolicyEdit::Place { securable, parent } => {
                let (securable, parent) = (self.rows.intern(securable), self.rows.intern(parent));
                if !fault(Fault::MoveIgnored) {
                    self.rows.place(securable, parent);
                }
            }
            PolicyEdit::Unplace { securable } => {
                let index = self.rows.intern(securable);
                let parent = securable.parent().map_or(NONE, |parent| self.rows.intern(&parent));
                self.rows.place(index, parent);
            }
        }
        Ok(())
    }

    /// Removes the grant of this id from its securable, if it is there.
    fn revoke(&mut self, rule: &Rule) -> Option<()> {
        let securable = self.rows.names.find(&rule.securable)?;
        let principal = self.rows.remove(securable, rule.id)?.principal;
        let left = self.rows.get(securable)?.entries();
        if !left.iter().any(|entry| entry.principal == principal) {
            self.people.change(principal, |person| {
                person.granted = with(&person.granted, securable, false);
            });
        }
        Some(())
    }

    pub fn principal_index(&self, principal: &Principal) -> Option<u32> {
        self.people.names.find(principal)
    }

    pub fn securable_index(&self, securable: &Securable) -> Option<u32> {
        self.rows.names.find(securable)
    }

    /// Every principal that policy knows, with its number.
    pub fn principals(&self) -> impl Iterator<Item = (u32, &Principal)> {
        (0..).zip(self.people.names.iter())
    }

    /// Every securable that policy knows, with its number.
    pub fn securables(&self) -> impl Iterator<Item = (u32, &Securable)> {
        (0..).zip(self.rows.names.iter())
    }

    /// The securable directly above one.
    pub fn parent_of(&self, securable: u32) -> Option<u32> {
        self.rows.get(securable).map(|row| row.parent).filter(|parent| *parent != NONE)
    }

    /// Whether a securable is another one or lies below it, wherever it was put.
    pub fn lies_in(&self, securable: &Securable, above: &Securable) -> bool {
        securable == above || self.upwards_from(securable).any(|one| one == *above)
    }

    /// What a securable lies in, nearest first, wherever it was put.
    pub fn above(&self, securable: &Securable) -> Vec<Securable> {
        self.upwards_from(securable).collect()
    }

    fn upwards_from(&self, securable: &Securable) -> impl Iterator<Item = Securable> {
        let parent = |one: &Securable| match self.securable_index(one) {
            Some(index) => self.parent_of(index).and_then(|parent| self.rows.names.name(parent).cloned()),
            None => one.parent(),
        };
        std::iter::successors(parent(securable), parent)
    }

    /// Whether a securable was put elsewhere than its name says.
    pub(super) fn is_placed(&self, securable: &Securable) -> bool {
        let Some(index) = self.securable_index(securable) else { return false };
        self.parent_of(index) != securable.parent().and_then(|parent| self.securable_index(&parent))
    }

    /// A group and everybody inside it, through whatever groups.
    pub fn members_of(&self, group: u32) -> Vec<u32> {
        self.people.below(group)
    }

    pub fn is_inactive(&self, principal: &Principal) -> bool {
        self.people.find(principal).is_some_and(|(_, person)| person.inactive)
    }

    /// Group and member, of everybody who was put into a group.
    pub fn memberships(&self) -> impl Iterator<Item = (&Principal, &Principal)> {
        self.principals().flat_map(move |(index, member)| {
            let groups = self.people.get(index).map_or(&[][..], |person| &person.groups);
            groups.iter().filter_map(move |group| Some((self.people.names.name(*group)?, member)))
        })
    }

    /// Every grant, in force or ended, the built-in one included.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        self.securables().flat_map(move |(index, _)| {
            let entries = self.rows.get(index).map_or(&[][..], |row| row.entries());
            entries.iter().filter_map(move |entry| self.rule(index, entry))
        })
    }

    pub(super) fn rule(&self, securable: u32, entry: &Entry) -> Option<Rule> {
        Some(Rule {
            id: entry.id,
            principal: self.people.names.name(entry.principal)?.clone(),
            securable: self.rows.names.name(securable)?.clone(),
            privilege: entry.given.as_str().to_owned(),
            effect: entry.effect,
            expires_at: (entry.ends != NEVER).then_some(entry.ends),
        })
    }
}

fn entry(rule: &Rule, principal: u32, given: Given) -> Entry {
    Entry { id: rule.id, ends: rule.expires_at.unwrap_or(NEVER), principal, given, effect: rule.effect }
}

/// Builds a snapshot from everything at once.
pub struct Builder {
    people: People,
    rows: Rows,
    memberships: Vec<(u32, u32)>,
    inactive: Vec<u32>,
    entries: Vec<(u32, Entry)>,
    levels: Arc<Levels>,
}

impl Builder {
    pub fn new(levels: Arc<Levels>) -> Self {
        let mut builder = Self {
            people: People::new(),
            rows: Rows::new(),
            memberships: Vec::new(),
            inactive: Vec::new(),
            entries: Vec::new(),
            levels,
        };
        // Administrators hold everything everywhere; no store can lose or change this grant.
        let everything = Entry {
            id: GrantId(0),
            ends: NEVER,
            principal: ADMINS,
            given: Given::ALL,
            effect: Effect::Allow,
        };
        builder.entries.push((WORKSPACE, everything));
        builder
    }

    pub fn principal(&mut self, principal: &Principal, active: bool) {
        let index = self.people.intern(principal);
        if !active {
            self.inactive.push(index);
        }
    }

    pub fn member(&mut self, group: &Principal, member: &Principal) {
        let edge = (self.people.intern(group), self.people.intern(member));
        self.memberships.push(edge);
    }

    pub fn place(&mut self, securable: &Securable, parent: &Securable) {
        let (securable, parent) = (self.rows.intern(securable), self.rows.intern(parent));
        self.rows.place(securable, parent);
    }

    /// Adds a grant; what a later version may mean by an unknown privilege gives nothing now.
    pub fn grant(&mut self, rule: &Rule) {
        let Ok(given) = rule.privilege.parse::<Given>() else { return };
        let (principal, securable) = (self.people.intern(&rule.principal), self.rows.intern(&rule.securable));
        self.entries.push((securable, entry(rule, principal, given)));
    }

    /// Takes in everything that a store read at once.
    pub fn state(&mut self, state: &PolicyState) {
        for principal in &state.inactive {
            self.principal(principal, false);
        }
        for (group, member) in &state.memberships {
            self.member(group, member);
        }
        for (securable, parent) in &state.parents {
            self.place(securable, parent);
        }
        for grant in &state.grants {
            self.grant(&grant.rule());
        }
    }

    pub fn build(mut self, version: i64) -> Snapshot {
        self.entries.sort_by_key(|(securable, entry)| (*securable, entry.principal));
        self.rows.fill(&self.entries);
        self.people.extend(&self.memberships);
        for index in &self.inactive {
            self.people.change(*index, |person| person.inactive = true);
        }
        let mut granted: Vec<(u32, u32)> =
            self.entries.iter().map(|(securable, entry)| (entry.principal, *securable)).collect();
        granted.sort_unstable();
        granted.dedup();
        self.people.set_granted(&granted);
        Snapshot { version, people: self.people, rows: self.rows, levels: self.levels }
    }
}
