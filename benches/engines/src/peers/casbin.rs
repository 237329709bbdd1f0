//! casbin itself: the model that Tracegate ships, all rules, casbin's own role manager.

use anyhow::{Result, anyhow, ensure};
use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use futures_util::FutureExt;
use tracegate::access::{Given, Privilege};
use tracegate::policy::Levels;

use super::Peer;
use crate::world::{GIVEN, World};

const MODEL: &str = include_str!("../../../../policies/model.conf");

pub struct Casbin(Enforcer);

impl Casbin {
    pub fn new(world: &World) -> Result<Self> {
        let enforcer = async {
            let mut enforcer =
                Enforcer::new(DefaultModel::from_str(MODEL).await?, MemoryAdapter::default()).await?;
            let linked = enforcer.add_grouping_policies(links(world)?).await?;
            let ruled = enforcer.add_policies(rules(world)).await?;
            ensure!(linked && ruled, "casbin took two lines for one");
            Ok(enforcer)
        };
        // The memory adapter never waits.
        enforcer.now_or_never().ok_or_else(|| anyhow!("casbin waited"))?.map(Self)
    }
}

fn rules(world: &World) -> Vec<Vec<String>> {
    let admins = ["group:admins", "workspace:default", "ALL", "allow", "0"].map(str::to_owned).to_vec();
    let grants = world.grants.iter().enumerate().filter(|(_, grant)| grant.in_force());
    let rules = grants.map(|(number, grant)| {
        vec![
            world.principals[grant.principal as usize].to_string(),
            world.securables[grant.securable as usize].to_string(),
            grant.given.as_str().to_owned(),
            grant.effect.as_str().to_owned(),
            (number + 1).to_string(),
        ]
    });
    std::iter::once(admins).chain(rules).collect()
}

fn links(world: &World) -> Result<Vec<Vec<String>>> {
    let principal = |number: u32| world.principals[number as usize].to_string();
    let securable = |number: u32| world.securables[number as usize].to_string();
    let mut links = Vec::new();
    for (group, member) in &world.memberships {
        links.push(vec![principal(*member), principal(*group)]);
    }
    for user in 0..world.shape.users as u32 {
        links.push(vec![principal(user), principal(world.everybody())]);
    }
    for child in 1..world.securables.len() as u32 {
        links.push(vec![securable(child), securable(world.parents[child as usize])]);
    }
    let levels = Levels::builtin()?;
    for name in GIVEN {
        let given: Given = name.parse()?;
        for privilege in Privilege::ALL.iter().filter(|privilege| levels.set(given).has(**privilege)) {
            if privilege.as_str() != name {
                links.push(vec![privilege.to_string(), name.to_owned()]);
            }
        }
    }
    Ok(links)
}

impl Peer for Casbin {
    type Check = (String, String, String);

    fn check(&self, world: &World, user: u32, securable: u32, privilege: &str) -> Result<Self::Check> {
        let subject = world.principals[user as usize].to_string();
        Ok((subject, world.securables[securable as usize].to_string(), privilege.to_owned()))
    }

    fn allows(&mut self, (subject, object, action): &Self::Check) -> Result<bool> {
        Ok(self.0.enforce((subject.as_str(), object.as_str(), action.as_str()))?)
    }
}
