//! Policy at one version and one moment: every question of a request is answered by the same one.

use std::sync::Arc;

use super::Unavailable;
use super::levels::PrivilegeSet;
use super::permit::{Permit, Requirement};
use super::question::{Answer, Question};
use super::snapshot::Snapshot;
use super::watch::Watch;
use crate::access::{
    Caller, Check, Decision, Effect, ExperimentId, GrantId, Privilege, SecurableKind, Verdict,
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

    /// Whether the caller administers Tracegate.
    pub fn is_admin(&self, caller: &Caller) -> bool {
        self.snapshot.subject_of(caller).is_admin()
    }

    /// Whether every check is allowed; the first that is not is named. No checks: denied.
    pub fn decide(&self, caller: &Caller, checks: &[Check]) -> Result<Decision, Unavailable> {
        let mut decision = self.plain(Verdict::Deny);
        let question = Question::new(&self.snapshot, caller, self.now);
        for check in checks {
            let answer = self.answer(&question, caller, check)?;
            if !answer.allowed {
                decision.deciding = answer.deciding;
                decision.refused = Some(check.clone());
                return Ok(decision);
            }
            decision.deciding.extend(answer.deciding);
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
        if self.watch.distrusted() {
            let question = Question::new(&self.snapshot, caller, self.now);
            return Ok(self.answer(&question, caller, &check)?.allowed);
        }
        Ok(self.quickly(caller, &check))
    }

    /// Decides a requirement; the permit is there exactly when the verdict is allow.
    pub fn authorize(
        &self,
        caller: Option<&Caller>,
        requirement: &Requirement,
    ) -> Result<(Decision, Option<Permit>), Unavailable> {
        let decision = match (requirement, caller) {
            (Requirement::Public, _) => self.plain(Verdict::Allow),
            (Requirement::Authenticated, Some(caller)) if !self.snapshot.is_inactive(&caller.principal) => {
                self.plain(Verdict::Allow)
            }
            (Requirement::All(checks), Some(caller)) => self.decide(caller, checks)?,
            (_, _) => self.plain(Verdict::Deny),
        };
        let permit =
            (decision.verdict == Verdict::Allow).then(|| Permit::new(caller.cloned(), self.version()));
        Ok((decision, permit))
    }

    /// Everything that a caller may do to a securable.
    pub fn effective(&self, caller: &Caller, securable: &crate::access::Securable) -> PrivilegeSet {
        self.snapshot.effective_of(&self.snapshot.subject_of(caller), securable, self.now)
    }

    /// Which experiments a caller has `privilege` on, if grants alone can tell.
    pub fn listed(&self, caller: &Caller, privilege: Privilege) -> Result<Listed, Unavailable> {
        let snapshot = &self.snapshot;
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

    /// The levels that give a privilege, least first.
    /// Whether a level, `ALL` or a privilege by its name gives a privilege.
    pub fn gives(&self, named: &str, privilege: Privilege) -> bool {
        self.snapshot.levels.gives(named, privilege)
    }

    pub fn levels_giving(&self, privilege: Privilege) -> Vec<&'static str> {
        self.snapshot.levels.giving(privilege)
    }

    fn quickly(&self, caller: &Caller, check: &Check) -> bool {
        let allowed = self.effective(caller, &check.securable).has(check.privilege);
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
        Decision { verdict, deciding, refused: None, policy_version: self.version() }
    }
}
