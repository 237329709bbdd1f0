//! The policy read the slow and obvious way: what every engine must answer.
//!
//! It shares no code with Tracegate's engine, only what a level gives.

use anyhow::Result;
use tracegate::access::{Effect, Privilege};
use tracegate::policy::Levels;

use crate::world::{Grant, World};

pub struct Plain<'w> {
    pub world: &'w World,
    levels: Levels,
    /// Numbers of grants, by securable.
    on: Vec<Vec<u32>>,
}

impl<'w> Plain<'w> {
    pub fn new(world: &'w World) -> Result<Self> {
        let mut on = vec![Vec::new(); world.securables.len()];
        for (number, grant) in world.grants.iter().enumerate() {
            on[grant.securable as usize].push(number as u32);
        }
        Ok(Self { world, levels: Levels::builtin()?, on })
    }

    /// The grants in force on the securable and above it to the user and its groups, whatever they give.
    pub fn candidates(&self, user: u32, securable: u32) -> impl Iterator<Item = (u32, &Grant)> {
        let groups = &self.world.groups_of[user as usize];
        self.world
            .above(securable)
            .flat_map(|at| &self.on[at as usize])
            .map(|number| (*number, &self.world.grants[*number as usize]))
            .filter(move |(_, grant)| grant.principal == user || groups.contains(&grant.principal))
            .filter(|(_, grant)| grant.in_force())
    }

    pub fn allows(&self, user: u32, securable: u32, privilege: Privilege) -> bool {
        self.world.checks(securable, privilege).into_iter().all(|(at, needed)| self.check(user, at, needed))
    }

    fn check(&self, user: u32, securable: u32, privilege: Privilege) -> bool {
        if self.world.groups_of[user as usize].contains(&self.world.admins()) {
            return true;
        }
        let mut allowed = false;
        for (_, grant) in self.candidates(user, securable) {
            if self.levels.set(grant.given).has(privilege) {
                match grant.effect {
                    Effect::Deny => return false,
                    Effect::Allow => allowed = true,
                }
            }
        }
        allowed
    }
}
