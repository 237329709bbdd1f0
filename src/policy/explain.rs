//! Why a question is answered as it is, step by step, in words that a person can follow; and what would change it.

use super::Unavailable;
use super::casbin_rules::{policy_line, requests};
use super::gates::conjunction;
use super::question::Question;
use super::view::View;
use crate::access::{
    Caller, Check, Effect, GrantId, Principal, PrincipalKind, Privilege, Rule, Securable, SecurableKind,
    Verdict,
};

/// Groups and securables named in one step; the rest is counted.
const NAMED: usize = 20;
/// Principals named who could help.
const HELPERS: usize = 10;

#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Explanation {
    pub decision: Verdict,
    /// Subject, object, action; the decision is allow when casbin allows all of them.
    pub casbin_requests: Vec<[String; 3]>,
    /// The policy lines that bear on these requests: subject, object, action, effect, grant.
    pub casbin_rules: Vec<Vec<String>>,
    /// What casbin says of each request, asked anew for this explanation.
    pub casbin_decisions: Vec<Verdict>,
    pub policy_version: i64,
    /// In the order in which they were taken.
    pub steps: Vec<String>,
    #[serde(skip)]
    pub deciding: Vec<GrantId>,
    /// What would turn a deny into an allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Who can do that: principals that manage the securable, administrators last.
    pub who_can_help: Vec<Principal>,
}

impl View {
    /// Explains one decision.
    pub fn explain(&self, caller: &Caller, check: &Check) -> Result<Explanation, Unavailable> {
        let decision = self.decide(caller, std::slice::from_ref(check))?;
        let question = Question::new(&self.snapshot, caller, self.now);
        let mut steps = self.membership_steps(caller, &question);
        steps.push(self.tree_step(&check.securable));
        let mut explanation = Explanation {
            decision: decision.verdict,
            casbin_requests: requests(&caller.principal, check),
            casbin_rules: Vec::new(),
            casbin_decisions: Vec::new(),
            policy_version: self.version(),
            steps: Vec::new(),
            deciding: decision.deciding,
            remedy: None,
            who_can_help: Vec::new(),
        };
        let inactive = self.snapshot.is_inactive(&caller.principal);
        let mut missing = Vec::new();
        match conjunction(check) {
            None => {
                steps.push(format!(
                    "`{}` means nothing for a {}: it is denied whatever is granted",
                    check.privilege,
                    check.securable.kind.as_str()
                ));
                explanation.casbin_decisions.push(Verdict::Deny);
            }
            Some(parts) => {
                for part in parts {
                    let casbins = question.casbins_request(&part).map_err(Unavailable::Engine)?;
                    let allowed = casbins.allowed && !inactive;
                    explanation.casbin_decisions.push(if allowed { Verdict::Allow } else { Verdict::Deny });
                    let rules = question.rules(&part);
                    steps.push(request_step(&part, check, allowed));
                    steps.extend(rules.iter().map(|rule| self.grant_step(rule, caller, &part)));
                    if rules.is_empty() {
                        steps.push("  no grant reaches it".to_owned());
                    }
                    explanation.casbin_rules.extend(rules.iter().map(policy_line));
                    if !allowed {
                        missing.push((part, rules));
                    }
                }
            }
        }
        explanation.steps = steps;
        if explanation.decision == Verdict::Deny {
            explanation.remedy = Some(self.remedy(caller, check, inactive, &missing));
            explanation.who_can_help = self.who_can_help(&check.securable);
        }
        Ok(explanation)
    }

    fn membership_steps(&self, caller: &Caller, question: &Question<'_>) -> Vec<String> {
        let snapshot = &self.snapshot;
        let mut steps = Vec::new();
        if snapshot.is_inactive(&caller.principal) {
            steps.push(format!("`{}` is deactivated: everything is denied", caller.principal));
        }
        let own = snapshot.principal_index(&caller.principal);
        let groups = question.subject().identities.iter().filter(|identity| Some(**identity) != own);
        let named = groups.filter_map(|identity| {
            let name = snapshot.people.names.name(*identity)?;
            let path = self.path_to(caller, *identity);
            Some(if path.is_empty() { format!("`{name}`") } else { format!("`{name}` ({path})") })
        });
        let named: Vec<String> = named.collect();
        if named.is_empty() {
            steps.push(format!("`{}` acts as itself and is in no group", caller.principal));
        } else {
            steps.push(format!(
                "`{}` acts as itself and as a member of {}",
                caller.principal,
                shortened(&named)
            ));
        }
        if question.subject().is_admin() {
            steps.push(
                "it is an administrator: every privilege is held everywhere, and no deny binds".to_owned(),
            );
        }
        steps
    }

    /// How a caller comes to be in a group: `through` the groups between; nothing to say of a direct member.
    fn path_to(&self, caller: &Caller, group: u32) -> String {
        let people = &self.snapshot.people;
        if group == super::people::USERS {
            return "every caller is".to_owned();
        }
        let Some(name) = people.names.name(group) else { return String::new() };
        if caller.asserted_groups.contains(name) {
            return "the credential says so".to_owned();
        }
        let inside = people.get(group).map_or(&[][..], |person| &person.members);
        let own = self.snapshot.principal_index(&caller.principal);
        if own.is_some_and(|own| inside.contains(&own)) {
            return String::new();
        }
        let identities = self.snapshot.subject_of(caller).identities.into_owned();
        let through = inside.iter().find(|member| identities.binary_search(member).is_ok());
        through
            .and_then(|member| people.names.name(*member))
            .map_or_else(String::new, |member| format!("through `{member}`"))
    }

    fn tree_step(&self, securable: &Securable) -> String {
        let mut way = vec![securable.to_string()];
        let mut current = securable.clone();
        while way.len() < NAMED {
            let placed =
                self.snapshot.securable_index(&current).and_then(|index| self.snapshot.parent_of(index));
            let parent = match placed {
                Some(parent) => self.snapshot.rows.names.name(parent).cloned(),
                None => current.parent(),
            };
            let Some(parent) = parent else { break };
            way.push(parent.to_string());
            current = parent;
        }
        format!("grants count on {}", way.join(" → "))
    }

    fn grant_step(&self, rule: &Rule, caller: &Caller, part: &Check) -> String {
        let to = if rule.principal == caller.principal {
            format!("to `{}`", rule.principal)
        } else {
            format!("to `{}`, which the caller is in", rule.principal)
        };
        let on = if rule.securable == part.securable {
            format!("on `{}`", rule.securable)
        } else {
            format!("on `{}`, inherited from there", rule.securable)
        };
        let gives = if rule.privilege == part.privilege.as_str() {
            String::new()
        } else {
            format!(", which includes `{}`", part.privilege)
        };
        let ended = if rule.expires_at.is_some_and(|end| self.now >= end) {
            "; it has ended and no longer counts".to_owned()
        } else {
            rule.expires_at.map_or_else(String::new, |end| format!("; it ends at {} ms", end.0))
        };
        let verb = match rule.effect {
            Effect::Allow => "allows",
            Effect::Deny => "denies",
        };
        format!("  grant {} {verb} {} {to} {on}{gives}{ended}", rule.id.0, rule.privilege)
    }

    fn remedy(
        &self,
        caller: &Caller,
        check: &Check,
        inactive: bool,
        missing: &[(Check, Vec<Rule>)],
    ) -> String {
        if inactive {
            return format!("`{}` must be activated by an administrator", caller.principal);
        }
        if missing.is_empty() {
            return format!("nothing: ask for a privilege that a {} has", check.securable.kind.as_str());
        }
        let in_force = |rule: &&Rule| rule.expires_at.is_none_or(|end| self.now < end);
        let parts = missing.iter().map(|(part, rules)| {
            let denies: Vec<String> = rules
                .iter()
                .filter(in_force)
                .filter(|rule| rule.effect == Effect::Deny)
                .map(|rule| rule.id.0.to_string())
                .collect();
            if denies.is_empty() {
                format!("grant {} on `{}`", self.ways_to_give(part), part.securable)
            } else {
                format!("remove the explicit deny (grant {})", denies.join(", "))
            }
        });
        parts.collect::<Vec<_>>().join(", and ")
    }

    fn ways_to_give(&self, part: &Check) -> String {
        let levels = self.levels_giving(part.privilege).join(", ");
        match part.privilege {
            Privilege::EnterCatalog => "`USE_CATALOG`".to_owned(),
            Privilege::EnterSchema => "`USE_SCHEMA`".to_owned(),
            single if levels.is_empty() => format!("`{single}`"),
            single => format!("{levels} or the single privilege `{single}`"),
        }
    }

    /// Who can grant on a securable, as far as grants name them.
    fn who_can_help(&self, securable: &Securable) -> Vec<Principal> {
        let managing = managing(securable);
        let snapshot = &self.snapshot;
        let mut helpers = Vec::new();
        let mut next = Some(managing.securable.clone());
        let mut first = true;
        while let Some(current) = next.take() {
            let index = snapshot.securable_index(&current);
            for entry in index.and_then(|index| snapshot.rows.get(index)).map_or(&[][..], |row| row.entries())
            {
                let set = if first {
                    snapshot.levels.set_here(entry.given)
                } else {
                    snapshot.levels.set(entry.given)
                };
                let gives =
                    entry.effect == Effect::Allow && entry.in_force(self.now) && set.has(managing.privilege);
                if gives
                    && let Some(name) = snapshot.people.names.name(entry.principal)
                    && !helpers.contains(name)
                {
                    helpers.push(name.clone());
                }
            }
            first = false;
            let placed = index.and_then(|index| snapshot.parent_of(index));
            next = match placed {
                Some(parent) => snapshot.rows.names.name(parent).cloned(),
                None => current.parent(),
            };
        }
        helpers.truncate(HELPERS);
        let admins = Principal { kind: PrincipalKind::Group, name: Principal::ADMINS.to_owned() };
        helpers.retain(|helper| *helper != admins);
        helpers.push(admins);
        helpers
    }
}

/// The privilege that lets one administer what is granted on a securable.
pub fn managing(securable: &Securable) -> Check {
    match securable.kind {
        SecurableKind::Experiment => Check::new(Privilege::ExperimentManage, securable.clone()),
        SecurableKind::RegisteredModel => Check::new(Privilege::ModelManage, securable.clone()),
        SecurableKind::Warehouse => Check::new(Privilege::WarehouseManage, securable.clone()),
        SecurableKind::Folder | SecurableKind::Workspace => {
            Check::new(Privilege::PolicyManage, Securable::workspace())
        }
        _ => Check::new(Privilege::Manage, securable.clone()),
    }
}

fn request_step(part: &Check, check: &Check, allowed: bool) -> String {
    let verdict = if allowed { "allowed" } else { "denied" };
    if part == check {
        format!("{part}: {verdict}")
    } else {
        format!("the way there needs {part}: {verdict}")
    }
}

fn shortened(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..NAMED].join(", ")),
        _ => names.join(", "),
    }
}
