//! Policy at one version and one moment: every question of a request is answered by the same one.

use std::sync::Arc;

use super::Unavailable;
use super::decide::Subject;
use super::levels::PrivilegeSet;
use super::permit::{Permit, Requirement};
use super::question::{Answer, Question};
use super::snapshot::Snapshot;
use super::watch::Watch;
use crate::access::{
    Caller, Check, Decision, Effect, ExperimentId, GrantId, Principal, Privilege, Securable, SecurableKind,
    Verdict,
};
use crate::clock::UnixMillis;

/// What a caller may list, as far as grants alone tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// Exactly these experiments, so a search may be narrowed before it is forwarded.
    Only(Vec<ExperimentId>),
    /// Grants higher in the tree reach experiments that policy does not know by id.
    Any,
}

/// What becomes of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Allowed,
    /// Not allowed, and let pass by shadow mode.
    Shadowed,
    Denied,
}

pub struct View {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: UnixMillis,
    watch: Arc<Watch>,
}

impl View {
    pub(super) fn new(snapshot: Arc<Snapshot>, watch: Arc<Watch>, now: UnixMillis) -> Self {
        Self { snapshot, now, watch }
    }

    pub fn version(&self) -> i64 {
        self.snapshot.version()
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether the caller administers Tracegate, with nothing that narrows it.
    pub fn is_admin(&self, caller: &Caller) -> bool {
        self.snapshot.subject_of(caller).is_admin()
            && caller.scopes.is_none()
            && caller.actor.as_ref().is_none_or(|actor| self.is_admin(actor))
    }

    /// Whether every check is allowed; the first that is not is named. No checks: denied.
    pub fn decide(&self, caller: &Caller, checks: &[Check]) -> Result<Decision, Unavailable> {
        let mut decision = self.plain(Verdict::Deny);
        // Whoever acts for somebody needs the rights of both, each within its scopes.
        for one in with_actors(caller) {
            let question = Question::new(&self.snapshot, one, self.now);
            for check in checks {
                let answer = self.answer(&question, one, check)?;
                if !answer.allowed || !self.in_scope(one, check) {
                    decision.deciding = if answer.allowed { Vec::new() } else { answer.deciding };
                    decision.refused = Some(check.clone());
                    return Ok(decision);
                }
                decision.deciding.extend(answer.deciding);
            }
        }
        if !checks.is_empty() {
            decision.verdict = Verdict::Allow;
        }
        decision.deciding.sort_unstable();
        decision.deciding.dedup();
        Ok(decision)
    }

    /// Whether one check is allowed.
    pub fn allows(&self, caller: &Caller, check: Check) -> Result<bool, Unavailable> {
        for one in with_actors(caller) {
            let allowed = if self.watch.distrusted() {
                let question = Question::new(&self.snapshot, one, self.now);
                self.answer(&question, one, &check)?.allowed
            } else {
                self.quickly(one, &check)
            };
            if !allowed || !self.in_scope(one, &check) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the caller, and whoever acts for it, is this principal or in this group.
    pub fn acts_as(&self, caller: &Caller, principal: &Principal) -> bool {
        let index = self.snapshot.principal_index(principal);
        with_actors(caller).all(|one| {
            let subject = self.snapshot.subject_of(one);
            index.is_some_and(|index| !subject.inactive && subject.is(index))
        })
    }

    /// Decides a requirement; the permit is there exactly when the verdict is allow.
    pub fn authorize(
        &self,
        caller: Option<&Caller>,
        requirement: &Requirement,
    ) -> Result<(Decision, Option<Permit>), Unavailable> {
        let decision = match (requirement, caller) {
            (Requirement::Public, _) => self.plain(Verdict::Allow),
            (Requirement::Authenticated, Some(caller))
                if (!caller.is_anonymous() || self.has_shadow())
                    && with_actors(caller).all(|one| !self.snapshot.is_inactive(&one.principal)) =>
            {
                self.plain(Verdict::Allow)
            }
            (Requirement::All(checks), Some(caller)) => {
                let decision = self.decide(caller, checks)?;
                self.or_in_shadow(decision, caller, checks)?
            }
            (_, _) => self.plain(Verdict::Deny),
        };
        let permit =
            (decision.verdict == Verdict::Allow).then(|| Permit::new(caller.cloned(), self.version()));
        Ok((decision, permit))
    }

    /// Whether anything is in shadow mode.
    pub fn has_shadow(&self) -> bool {
        self.snapshot.people.find(&Principal::shadow()).is_some_and(|(_, shadow)| !shadow.granted.is_empty())
    }

    /// The caller as shadow mode decides about it. Not one whose credential is for less, or who acts for
    /// somebody: no shadow makes either more than it is.
    fn in_shadow(&self, caller: &Caller) -> Option<Caller> {
        if caller.is_scoped() || caller.actor.is_some() || !self.has_shadow() {
            return None;
        }
        let mut shadowed = caller.clone();
        shadowed.asserted_groups.push(Principal::shadow());
        Some(shadowed)
    }

    /// A deny becomes an allow where everything that is missing lies in shadow. What was missing stays known.
    fn or_in_shadow(
        &self,
        decision: Decision,
        caller: &Caller,
        checks: &[Check],
    ) -> Result<Decision, Unavailable> {
        if decision.verdict == Verdict::Allow {
            return Ok(decision);
        }
        let Some(shadowed) = self.in_shadow(caller) else { return Ok(decision) };
        let mut passed = self.decide(&shadowed, checks)?;
        if passed.verdict == Verdict::Deny {
            return Ok(decision);
        }
        for check in checks {
            if !self.allows(caller, check.clone())? {
                passed.shadowed.push(check.clone());
            }
        }
        Ok(passed)
    }

    /// As [`allows`](Self::allows), with what shadow mode lets pass.
    pub fn passes(&self, caller: &Caller, check: Check) -> Result<Passage, Unavailable> {
        if self.allows(caller, check.clone())? {
            return Ok(Passage::Allowed);
        }
        match self.in_shadow(caller) {
            Some(shadowed) if self.allows(&shadowed, check)? => Ok(Passage::Shadowed),
            _ => Ok(Passage::Denied),
        }
    }

    /// The experiments in shadow mode now.
    pub fn shadowed_experiments(&self) -> Vec<ExperimentId> {
        let snapshot = &self.snapshot;
        let Some((_, shadow)) = snapshot.people.find(&Principal::shadow()) else { return Vec::new() };
        let named = shadow.granted.iter().filter_map(|index| snapshot.rows.names.name(*index));
        let shadow = Subject::new(
            snapshot.people.find(&Principal::shadow()).map(|(index, _)| index).into_iter().collect(),
            false,
        );
        named
            .filter(|securable| {
                snapshot.effective_of(&shadow, securable, self.now).has(Privilege::ExperimentView)
            })
            .filter_map(|securable| ExperimentId::parse(&securable.id).ok())
            .collect()
    }

    /// Everything that a caller may do to a securable.
    pub fn effective(&self, caller: &Caller, securable: &Securable) -> PrivilegeSet {
        with_actors(caller)
            .map(|one| self.own_rights(one, securable).both(self.scope_of(one, securable)))
            .fold(PrivilegeSet::EVERYTHING, PrivilegeSet::both)
    }

    /// What the caller's principal may do, whatever narrows the caller.
    fn own_rights(&self, caller: &Caller, securable: &Securable) -> PrivilegeSet {
        self.snapshot.effective_of(&self.snapshot.subject_of(caller), securable, self.now)
    }

    /// What the caller's scopes leave of the rights on a securable.
    fn scope_of(&self, caller: &Caller, securable: &Securable) -> PrivilegeSet {
        let Some(scopes) = &caller.scopes else { return PrivilegeSet::EVERYTHING };
        let reaching = scopes.iter().filter(|scope| self.snapshot.lies_in(securable, &scope.securable));
        reaching.fold(PrivilegeSet::EMPTY, |set, scope| set.union(self.snapshot.levels.set(scope.privilege)))
    }

    fn in_scope(&self, caller: &Caller, check: &Check) -> bool {
        caller.scopes.is_none() || self.scope_of(caller, &check.securable).has(check.privilege)
    }

    /// Which experiments a caller has `privilege` on, if grants alone can tell; those in shadow among them.
    pub fn listed(&self, caller: &Caller, privilege: Privilege) -> Result<Listed, Unavailable> {
        let snapshot = &self.snapshot;
        let shadowed = self.in_shadow(caller);
        let caller = shadowed.as_ref().unwrap_or(caller);
        let subject = snapshot.subject_of(caller);
        let people = subject.identities.iter().filter_map(|identity| snapshot.people.get(*identity));
        let mut granted: Vec<u32> = people.flat_map(|person| person.granted.iter().copied()).collect();
        granted.sort_unstable();
        granted.dedup();
        let mut found = Vec::new();
        for index in granted {
            let (Some(securable), Some(row)) = (snapshot.rows.names.name(index), snapshot.rows.get(index))
            else {
                continue;
            };
            match securable.kind {
                SecurableKind::Experiment => {
                    if self.allows(caller, Check::new(privilege, securable.clone()))?
                        && let Ok(id) = ExperimentId::parse(&securable.id)
                    {
                        found.push(id);
                    }
                }
                SecurableKind::Workspace | SecurableKind::Folder => {
                    let mut gives = false;
                    row.each_of(&subject, |entry| {
                        gives |= entry.effect == Effect::Allow
                            && entry.in_force(self.now)
                            && snapshot.levels.set(entry.given).has(privilege);
                    });
                    if gives {
                        return Ok(Listed::Any);
                    }
                }
                _ => {}
            }
        }
        found.sort();
        Ok(Listed::Only(found))
    }

    /// Whether a level, `ALL` or a privilege by its name gives a privilege.
    pub fn gives(&self, named: &str, privilege: Privilege) -> bool {
        self.snapshot.levels.gives(named, privilege)
    }

    /// The levels that give a privilege, least first.
    pub fn levels_giving(&self, privilege: Privilege) -> Vec<&'static str> {
        self.snapshot.levels.giving(privilege)
    }

    fn quickly(&self, caller: &Caller, check: &Check) -> bool {
        let allowed = self.own_rights(caller, &check.securable).has(check.privilege);
        self.watch.made(&self.snapshot, caller, check, self.now, allowed);
        allowed
    }

    /// The engine's verdict with the grants that determined it; casbin's, should the engine not be trusted.
    fn answer(&self, question: &Question<'_>, caller: &Caller, check: &Check) -> Result<Answer, Unavailable> {
        if !self.watch.distrusted() {
            let answer = question.answer(check);
            if answer.allowed == self.quickly(caller, check) {
                return Ok(answer);
            }
            self.watch.alarm(caller, check, self.version(), "its two ways of deciding differ");
        }
        question.casbins(check).map_err(Unavailable::Engine)
    }

    fn plain(&self, verdict: Verdict) -> Decision {
        let deciding: Vec<GrantId> = Vec::new();
        Decision { verdict, deciding, refused: None, shadowed: Vec::new(), policy_version: self.version() }
    }
}

/// The caller, and who acts for it, as many as there are.
fn with_actors(caller: &Caller) -> impl Iterator<Item = &Caller> {
    std::iter::successors(Some(caller), |one| one.actor.as_deref())
}
