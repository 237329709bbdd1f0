//! The rule of `policies/README.md`, transliterated: slow, short, and itself compared with casbin. It judges
//! where casbin would take too long, and tells which grants speak for and against.

use std::collections::{BTreeSet, HashMap};

use super::rendering::{CONTAINED, gates, in_force};
use super::world::{World, admins};
use crate::access::{Effect, GrantId, Principal, Privilege, Rule, Securable};

/// Each level, bundle and privilege, with the privileges in it through whatever is in between.
pub(super) struct Meaning(HashMap<String, Vec<bool>>);

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
        let index = |name: &str| Privilege::ALL.iter().position(|privilege| privilege.as_str() == name);
        let mut within: HashMap<String, Vec<bool>> = HashMap::new();
        for privilege in Privilege::ALL {
            let itself = |other: &Privilege| other == privilege;
            within.insert(privilege.to_string(), Privilege::ALL.iter().map(itself).collect());
        }
        // Chains are short: USE_CATALOG is in ALL_PRIVILEGES, and catalog.enter in USE_CATALOG.
        for _ in 0..4 {
            for (inside, outside) in CONTAINED.iter() {
                let mut inner = within.get(inside).cloned().unwrap_or_default();
                inner.resize(Privilege::ALL.len(), false);
                if let Some(index) = index(inside) {
                    inner[index] = true;
                }
                let outer =
                    within.entry(outside.clone()).or_insert_with(|| vec![false; Privilege::ALL.len()]);
                outer.iter_mut().zip(inner).for_each(|(outer, inner)| *outer |= inner);
            }
        }
        Self(within)
    }

    fn gives(&self, named: &str, privilege: Privilege) -> bool {
        self.0.get(named).is_some_and(|within| within[privilege as usize])
    }

    /// The grants that say something about one check, gates apart.
    pub fn speaking<'w>(
        &self,
        caller: &Caller<'w>,
        privilege: Privilege,
        securable: &Securable,
    ) -> Vec<(GrantId, Effect)> {
        let chain = caller.world.chain(securable);
        let says = |rule: &&Rule| {
            let named = rule.privilege.replace(' ', "_");
            caller.acts_as.contains(&rule.principal)
                && chain.contains(&rule.securable)
                && in_force(rule, caller.world)
                && (self.gives(&named, privilege)
                    || named == "OWNER" && rule.securable == *securable && self.gives("OWNED", privilege))
        };
        let rules = caller.world.rules.values().filter(says).map(|rule| (rule.id, rule.effect));
        let administers = caller.acts_as.contains(&admins())
            && chain.contains(&Securable::workspace())
            && self.gives("ALL", privilege);
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
