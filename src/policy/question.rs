//! One question, answered the slow and plain way: grant by grant, with the ids of those that decided, and by casbin.
//!
//! The quick answer of `decide.rs` is right when both agree with it. Membership is walked edge by edge here, so
//! that a fault in the closure that is kept ready cannot hide.

use std::collections::HashSet;
use std::sync::Arc;

use super::casbin_rules::{escaped, policy_line};
use super::decide::Subject;
use super::enforcer::{Relations, judge};
use super::gates::conjunction;
use super::people::USERS;
use super::rows::{Entry, Row};
use super::snapshot::Snapshot;
use crate::access::{Caller, Check, Effect, GrantId, Principal, PrincipalKind, Rule, Securable};
use crate::clock::UnixMillis;

pub(super) struct Question<'s> {
    snapshot: &'s Snapshot,
    principal: &'s Principal,
    subject: Subject<'s>,
    now: UnixMillis,
}

/// A verdict and the grants that determined it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub allowed: bool,
    pub deciding: Vec<GrantId>,
}

impl<'s> Question<'s> {
    pub fn new(snapshot: &'s Snapshot, caller: &'s Caller, now: UnixMillis) -> Self {
        let principal = &caller.principal;
        let named = (!caller.is_anonymous()).then_some(principal);
        let identities = walked(snapshot, named, &caller.asserted_groups);
        let subject = Subject::new(identities, snapshot.is_inactive(principal));
        Self { snapshot, principal, subject, now }
    }

    pub fn subject(&self) -> &Subject<'s> {
        &self.subject
    }

    /// The whole check, grant by grant: every grant that allowed, or what denied at the first closed gate.
    pub fn answer(&self, check: &Check) -> Answer {
        self.all(check, |request| Ok(self.plainly(request)))
            .unwrap_or(Answer { allowed: false, deciding: Vec::new() })
    }

    /// The whole check by casbin.
    pub fn casbins(&self, check: &Check) -> Result<Answer, String> {
        self.all(check, |request| self.casbins_request(request))
    }

    fn all(&self, check: &Check, ask: impl Fn(&Check) -> Result<Answer, String>) -> Result<Answer, String> {
        let mut answer = Answer { allowed: false, deciding: Vec::new() };
        if self.subject.inactive {
            return Ok(answer);
        }
        for request in conjunction(check).unwrap_or_default() {
            let one = ask(&request)?;
            if !one.allowed {
                return Ok(one);
            }
            answer.allowed = true;
            answer.deciding.extend(one.deciding);
        }
        answer.deciding.sort_unstable();
        answer.deciding.dedup();
        Ok(answer)
    }

    /// One request: some grant allows, and none denies that binds.
    pub fn plainly(&self, request: &Check) -> Answer {
        let in_force = || self.grants(request).into_iter().filter(|(_, entry)| entry.in_force(self.now));
        let of = |effect: Effect| -> Vec<GrantId> {
            in_force().filter(|(_, entry)| entry.effect == effect).map(|(_, entry)| entry.id).collect()
        };
        let denying = if self.subject.is_admin() { Vec::new() } else { of(Effect::Deny) };
        if denying.is_empty() {
            let deciding = of(Effect::Allow);
            Answer { allowed: !deciding.is_empty(), deciding }
        } else {
            Answer { allowed: false, deciding: denying }
        }
    }

    /// The grants, ended ones too, to anybody the caller acts as, that give what the request asks for.
    pub fn rules(&self, request: &Check) -> Vec<Rule> {
        let grants = self.grants(request);
        grants.into_iter().filter_map(|(securable, entry)| self.snapshot.rule(securable, entry)).collect()
    }

    pub fn casbins_request(&self, request: &Check) -> Result<Answer, String> {
        let snapshot = self.snapshot;
        let name = |index: &u32| snapshot.people.names.name(*index).map(|name| escaped(&name.to_string()));
        let above = self.way(&request.securable);
        let candidates = above.iter().filter_map(|(index, row)| Some(((*index)?, (*row)?)));
        let mut lines = Vec::new();
        for (securable, row) in candidates {
            row.each_of(&self.subject, |entry| {
                if entry.in_force(self.now)
                    && let Some(rule) = snapshot.rule(securable, entry)
                {
                    lines.push(policy_line(&rule));
                }
            });
        }
        let object = escaped(&request.securable.to_string());
        let known = above.iter().filter_map(|(index, _)| snapshot.rows.names.name((*index)?));
        let relations = Relations {
            subject: escaped(&self.principal.to_string()),
            identities: self.subject.identities.iter().filter_map(name).collect(),
            ancestors: known.map(|name| escaped(&name.to_string())).chain([object.clone()]).collect(),
            object,
            privilege: request.privilege,
            levels: Arc::clone(&snapshot.levels),
        };
        judge(relations, lines).map(|(allowed, deciding)| Answer { allowed, deciding })
    }

    fn grants(&self, request: &Check) -> Vec<(u32, &'s Entry)> {
        let mut found = Vec::new();
        for (place, (index, row)) in self.way(&request.securable).into_iter().enumerate() {
            let (Some(index), Some(row)) = (index, row) else { continue };
            row.each_of(&self.subject, |entry| {
                let levels = &self.snapshot.levels;
                let set = if place == 0 { levels.set_here(entry.given) } else { levels.set(entry.given) };
                if set.has(request.privilege) {
                    found.push((index, entry));
                }
            });
        }
        found
    }

    /// A securable and what is above it, lowest first, with what policy knows of each.
    fn way(&self, securable: &Securable) -> Vec<(Option<u32>, Option<&'s Row>)> {
        let mut way = Vec::new();
        let mut next = Some(securable.clone());
        while let Some(current) = next {
            if let Some(index) = self.snapshot.securable_index(&current) {
                let known = std::iter::successors(Some(index), |index| self.snapshot.parent_of(*index));
                way.extend(known.take(300).map(|index| (Some(index), self.snapshot.rows.get(index))));
                break;
            }
            way.push((None, None));
            next = current.parent();
        }
        way
    }
}

/// Everybody that a principal acts as, along the edges that were written.
fn walked(snapshot: &Snapshot, principal: Option<&Principal>, asserted: &[Principal]) -> Vec<u32> {
    let everyone = principal.filter(|principal| principal.kind != PrincipalKind::Group).map(|_| USERS);
    let named = principal.into_iter().chain(asserted);
    let mut reached: HashSet<u32> =
        named.filter_map(|name| snapshot.principal_index(name)).chain(everyone).collect();
    let mut open: Vec<u32> = reached.iter().copied().collect();
    while let Some(current) = open.pop() {
        let groups = snapshot.people.get(current).map_or(&[][..], |person| &person.groups);
        open.extend(groups.iter().copied().filter(|group| reached.insert(*group)));
    }
    let mut identities: Vec<u32> = reached.into_iter().collect();
    identities.sort_unstable();
    identities
}
