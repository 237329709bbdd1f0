//! The rule of `policies/README.md`, transliterated: slow, short, and itself compared with casbin. It judges
//! where casbin would take too long, and tells which grants speak for and against.

use std::collections::BTreeSet;

use super::rendering::{contained, gates, in_force};
use super::world::{World, admins};
use crate::access::{Effect, GrantId, Principal, Privilege, Rule, Securable};

/// What is in what, through whatever is in between.
pub(super) struct Meaning(BTreeSet<(String, String)>);

pub(super) struct Caller<'w> {
    pub world: &'w World,
    pub principal: &'w Principal,
    pub acts_as: BTreeSet<Principal>,
}

impl<'w> Caller<'w> {
    pub fn new(world: &'w World, principal: &'w Principal, asserted: &[Principal]) -> Self {
        Self { world, principal, acts_as: world.acts_as(principal, asserted) }
    }
}

impl Meaning {
    pub fn new() -> Self {
        let mut closed = contained();
        loop {
            let further: Vec<(String, String)> = closed
                .iter()
                .flat_map(|(inside, middle)| {
                    let from = (middle.clone(), String::new());
                    let on = closed.range(from..).take_while(move |(name, _)| name == middle);
                    on.map(move |(_, outside)| (inside.clone(), outside.clone()))
                })
                .collect();
            let before = closed.len();
            closed.extend(further);
            if closed.len() == before {
                return Self(closed);
            }
        }
    }

    fn gives(&self, named: &str, privilege: &str) -> bool {
        privilege == named || self.0.contains(&(privilege.to_owned(), named.to_owned()))
    }

    /// The grants that say something about one check, gates apart.
    pub fn speaking<'w>(
        &self,
        caller: &Caller<'w>,
        privilege: Privilege,
        securable: &Securable,
    ) -> Vec<(GrantId, Effect)> {
        let chain = caller.world.chain(securable);
        let action = privilege.as_str();
        let says = |rule: &&Rule| {
            let named = rule.privilege.replace(' ', "_");
            caller.acts_as.contains(&rule.principal)
                && chain.contains(&rule.securable)
                && in_force(rule, caller.world)
                && (self.gives(&named, action)
                    || named == "OWNER" && rule.securable == *securable && self.gives("OWNED", action))
        };
        let rules = caller.world.rules.values().filter(says).map(|rule| (rule.id, rule.effect));
        let administers = caller.acts_as.contains(&admins())
            && chain.contains(&Securable::workspace())
            && self.gives("ALL", action);
        rules.chain(administers.then_some((GrantId(0), Effect::Allow))).collect()
    }

    /// One check without its gates.
    fn judged(&self, caller: &Caller<'_>, privilege: Privilege, securable: &Securable) -> bool {
        let speaking = self.speaking(caller, privilege, securable);
        let says = |effect| speaking.iter().any(|(_, said)| *said == effect);
        says(Effect::Allow) && (caller.acts_as.contains(&admins()) || !says(Effect::Deny))
    }

    pub fn allows(&self, caller: &Caller<'_>, privilege: Privilege, securable: &Securable) -> bool {
        caller.world.is_active(caller.principal)
            && gates(privilege, securable).is_some_and(|checks| {
                checks.iter().all(|(privilege, securable)| self.judged(caller, *privilege, securable))
            })
    }
}
