//! Policy at one version: every question of a request is answered by the same one.

use std::collections::HashSet;
use std::sync::Arc;

use super::Unavailable;
use super::enforcer::{self, Relations};
use super::permit::{Permit, Requirement};
use super::snapshot::Snapshot;
use crate::access::{
    Caller, Check, Decision, Effect, ExperimentId, Grant, Principal, Privilege, SecurableKind, Verdict,
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

/// Why a question is answered as it is, for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explanation {
    pub decision: Verdict,
    pub casbin_requests: Vec<[String; 3]>,
    pub policy_version: i64,
    /// Steps in words, in the order in which they were taken.
    pub steps: Vec<String>,
    pub deciding_grants: Vec<Grant>,
    /// What would turn a deny into an allow, and who can give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

pub struct View {
    snapshot: Arc<Snapshot>,
    now: UnixMillis,
}

impl View {
    pub(super) fn new(snapshot: Arc<Snapshot>, now: UnixMillis) -> Self {
        Self { snapshot, now }
    }

    pub fn version(&self) -> i64 {
        self.snapshot.version()
    }

    /// Whether the caller administers Tracegate.
    pub fn is_admin(&self, caller: &Caller) -> bool {
        !self.snapshot.is_inactive(&caller.principal)
            && self.snapshot.identities(caller).iter().any(is_admins)
    }

    /// Whether every check is allowed; the first that is not is named. No checks: denied.
    pub fn decide(&self, caller: &Caller, checks: &[Check]) -> Result<Decision, Unavailable> {
        let mut decision = Decision {
            verdict: Verdict::Deny,
            deciding: Vec::new(),
            refused: None,
            policy_version: self.version(),
        };
        if self.snapshot.is_inactive(&caller.principal) {
            decision.refused = checks.first().cloned();
            return Ok(decision);
        }
        let identities = self.snapshot.identities(caller);
        for check in checks {
            let (allowed, deciding) = self.judge(caller, &identities, check)?;
            if !allowed {
                decision.deciding = deciding;
                decision.refused = Some(check.clone());
                return Ok(decision);
            }
            decision.deciding.extend(deciding);
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
        Ok(self.decide(caller, std::slice::from_ref(&check))?.verdict == Verdict::Allow)
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

    /// Which experiments a caller has `privilege` on, if grants alone can tell.
    pub fn listed(&self, caller: &Caller, privilege: Privilege) -> Result<Listed, Unavailable> {
        let identities = self.snapshot.identities(caller);
        let mut found = Vec::new();
        for securable in self.snapshot.granted_on(&identities) {
            match securable.kind {
                SecurableKind::Experiment => {
                    if self.judge(caller, &identities, &Check::new(privilege, securable.clone()))?.0
                        && let Ok(id) = ExperimentId::parse(&securable.id)
                    {
                        found.push(id);
                    }
                }
                SecurableKind::Workspace | SecurableKind::Folder => {
                    let gives = |grant: &Grant| {
                        grant.grant.effect == Effect::Allow
                            && grant.grant.securable == *securable
                            && self.snapshot.levels().gives(&grant.grant.privilege, privilege)
                    };
                    let above = std::slice::from_ref(securable);
                    if self.snapshot.candidates(above, &identities, self.now).any(gives) {
                        return Ok(Listed::Any);
                    }
                }
                _ => {}
            }
        }
        found.sort();
        found.dedup();
        Ok(Listed::Only(found))
    }

    /// The levels that give a privilege, least first.
    pub fn levels_giving(&self, privilege: Privilege) -> Vec<&'static str> {
        self.snapshot.levels().giving(privilege)
    }

    /// Explains one decision in words.
    pub fn explain(&self, caller: &Caller, check: &Check) -> Result<Explanation, Unavailable> {
        let decision = self.decide(caller, std::slice::from_ref(check))?;
        let identities = self.snapshot.identities(caller);
        let ancestors = self.snapshot.ancestors(&check.securable);
        let all = self.snapshot.grants_on(&ancestors);
        let mut steps = Vec::new();
        if self.snapshot.is_inactive(&caller.principal) {
            steps.push(format!("`{}` is deactivated: everything is denied", caller.principal));
        }
        let mut groups: Vec<String> =
            identities.iter().filter(|who| **who != caller.principal).map(ToString::to_string).collect();
        groups.sort();
        steps.push(format!("`{}` acts as itself and as {}", caller.principal, groups.join(", ")));
        let tree: Vec<String> = ancestors.iter().map(ToString::to_string).collect();
        steps.push(format!("grants are looked for on {}", tree.join(" → ")));
        for grant in &all {
            if !identities.contains(&grant.grant.principal)
                || !self.snapshot.levels().gives(&grant.grant.privilege, check.privilege)
            {
                continue;
            }
            let ended = grant.grant.expires_at.is_some_and(|end| self.now >= end);
            steps.push(format!(
                "grant {}: {} {} to `{}` on `{}`{}",
                grant.id.0,
                grant.grant.effect.as_str(),
                grant.grant.privilege,
                grant.grant.principal,
                grant.grant.securable,
                if ended { " (ended, so it no longer counts)" } else { "" }
            ));
        }
        let deciding_grants: Vec<Grant> =
            all.into_iter().filter(|grant| decision.deciding.contains(&grant.id)).cloned().collect();
        let denied_by = deciding_grants.iter().find(|grant| grant.grant.effect == Effect::Deny);
        let remedy = (decision.verdict == Verdict::Deny).then(|| match denied_by {
            Some(grant) => {
                format!("an explicit deny (grant {}) must be removed by an administrator", grant.id.0)
            }
            None => format!(
                "{} or the single privilege `{}` on `{}`, given by whoever manages it or by an administrator",
                self.snapshot.levels().giving(check.privilege).join(", "),
                check.privilege,
                check.securable
            ),
        });
        Ok(Explanation {
            decision: decision.verdict,
            casbin_requests: vec![[
                caller.principal.to_string(),
                check.securable.to_string(),
                check.privilege.to_string(),
            ]],
            policy_version: self.version(),
            steps,
            deciding_grants,
            remedy,
        })
    }

    fn judge(
        &self,
        caller: &Caller,
        identities: &HashSet<Principal>,
        check: &Check,
    ) -> Result<(bool, Vec<crate::access::GrantId>), Unavailable> {
        let ancestors = self.snapshot.ancestors(&check.securable);
        let levels = self.snapshot.levels();
        let candidates: Vec<&Grant> = self
            .snapshot
            .candidates(&ancestors, identities, self.now)
            .filter(|grant| levels.gives(&grant.grant.privilege, check.privilege))
            .collect();
        let relations = Relations {
            subject: caller.principal.to_string(),
            identities: identities.iter().map(ToString::to_string).collect(),
            object: check.securable.to_string(),
            ancestors: ancestors.iter().map(ToString::to_string).collect(),
            privilege: check.privilege,
            levels: Arc::clone(self.snapshot.levels()),
        };
        enforcer::judge(relations, &candidates).map_err(Unavailable::Engine)
    }

    fn plain(&self, verdict: Verdict) -> Decision {
        Decision { verdict, deciding: Vec::new(), refused: None, policy_version: self.version() }
    }
}

fn is_admins(principal: &Principal) -> bool {
    principal.kind == crate::access::PrincipalKind::Group && principal.name == Principal::ADMINS
}
