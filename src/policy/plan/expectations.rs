//! Written expectations, held against a policy.

use serde::Serialize;

use super::super::gates::conjunction;
use super::super::question::Question;
use super::super::snapshot::Snapshot;
use super::document::Document;
use crate::access::{Caller, Check, Effect, Principal, Privilege, Proof, Rule, Scheme, Securable, Verdict};
use crate::clock::UnixMillis;

/// An expectation that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Failure {
    pub place: String,
    pub principal: Principal,
    pub on: Securable,
    pub privilege: Privilege,
    pub expected: Verdict,
    /// What decided otherwise.
    pub reason: String,
}

/// How many single questions the expectations ask.
pub fn questions(document: &Document) -> usize {
    document.expect.iter().map(|expectation| expectation.may.len() + expectation.may_not.len()).sum()
}

/// Every expectation that the policy does not meet, in the order of the document.
pub fn failures(policy: &Snapshot, document: &Document, now: UnixMillis) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (index, expectation) in document.expect.iter().enumerate() {
        let asked = |list: &[Privilege], expected: Verdict| -> Vec<(Privilege, Verdict)> {
            list.iter().map(|privilege| (*privilege, expected)).collect()
        };
        let may = asked(&expectation.may, Verdict::Allow);
        let questions = may.into_iter().chain(asked(&expectation.may_not, Verdict::Deny));
        for (privilege, expected) in questions {
            let (principal, on) = (&expectation.principal, &expectation.on);
            let allowed = policy.allows(principal, on, privilege, now);
            if allowed == (expected == Verdict::Allow) {
                continue;
            }
            let check = Check::new(privilege, on.clone());
            failures.push(Failure {
                place: format!("expect[{index}]"),
                principal: principal.clone(),
                on: on.clone(),
                privilege,
                expected,
                reason: reason(policy, principal, &check, allowed, now),
            });
        }
    }
    failures
}

/// What decided a check, in one sentence.
fn reason(policy: &Snapshot, principal: &Principal, check: &Check, allowed: bool, now: UnixMillis) -> String {
    if policy.is_inactive(principal) {
        return format!("`{principal}` is deactivated");
    }
    let Some(parts) = conjunction(check) else {
        return format!("`{}` means nothing on a {}", check.privilege, check.securable.kind.as_str());
    };
    let proof = Proof { scheme: Scheme::Token, credential: "expected".to_owned() };
    let caller = Caller::new(principal.clone(), Vec::new(), proof);
    let question = Question::new(policy, &caller, now);
    let rules_of = |part: &Check, effect: Effect| -> Option<Rule> {
        let in_force = |rule: &Rule| rule.effect == effect && rule.expires_at.is_none_or(|end| now < end);
        question.rules(part).into_iter().find(in_force)
    };
    if allowed {
        let rule = parts.last().and_then(|part| rules_of(part, Effect::Allow));
        return rule.map_or_else(|| "a grant allows it".to_owned(), |rule| sentence(&rule, "is allowed"));
    }
    let closed = parts.iter().find(|part| !question.plainly(part).allowed).unwrap_or(check);
    match rules_of(closed, Effect::Deny) {
        Some(rule) => sentence(&rule, "is denied"),
        None => format!("no grant gives {closed}"),
    }
}

fn sentence(rule: &Rule, verb: &str) -> String {
    format!("`{}` {verb} to `{}` on `{}`", rule.privilege, rule.principal, rule.securable)
}
