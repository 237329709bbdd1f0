//! Questions about a world: half on experiments and half on tables, and of each half one half is allowed.

use anyhow::{Result, bail};
use tracegate::access::{Effect, Privilege, SecurableKind};

use crate::plain::Plain;
use crate::world::{Random, World};

#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub user: u32,
    pub securable: u32,
    pub privilege: Privilege,
    /// The right answer.
    pub allowed: bool,
    pub on_table: bool,
}

const OF_EXPERIMENTS: [Privilege; 8] = [
    Privilege::ExperimentView,
    Privilege::TraceList,
    Privilege::TraceRead,
    Privilege::TraceWrite,
    Privilege::RunRead,
    Privilege::RunWrite,
    Privilege::ExperimentManage,
    Privilege::AssessmentWrite,
];
const OF_TABLES: [Privilege; 3] = [Privilege::Select, Privilege::Select, Privilege::Modify];

/// Makes questions until each of the four kinds has its quarter, then mixes them.
pub fn ask(plain: &Plain<'_>, count: usize, seed: u64) -> Result<Vec<Question>> {
    let world = plain.world;
    let members = members(world);
    let mut random = Random::new(seed);
    let mut found: [Vec<Question>; 4] = Default::default();
    let mut tries = 0_usize;
    while found.iter().any(|quarter| quarter.len() < count / 4) {
        tries += 1;
        if tries > 2_000 * count {
            bail!("this world has too few questions of some kind: {:?}", found.map(|quarter| quarter.len()));
        }
        let Some(question) = make(plain, &members, &mut random) else { continue };
        let quarter = &mut found[usize::from(question.on_table) * 2 + usize::from(question.allowed)];
        if quarter.len() < count / 4 {
            quarter.push(question);
        }
    }
    let mut questions = found.concat();
    for last in (1..questions.len()).rev() {
        questions.swap(last, random.below(last + 1));
    }
    Ok(questions)
}

/// Every other question follows a grant to somebody whom it reaches, so that much is allowed and what is
/// denied is denied for a reason; the rest are about anybody and anything.
fn make(plain: &Plain<'_>, members: &[Vec<u32>], random: &mut Random) -> Option<Question> {
    let world = plain.world;
    let (user, securable) = if random.below(2) == 0 {
        (random.below(world.shape.users) as u32, random.below(world.securables.len()) as u32)
    } else {
        let grant = random.pick(&world.grants);
        if grant.effect == Effect::Deny && random.below(2) == 0 {
            return None;
        }
        let user = match (grant.principal as usize).checked_sub(world.shape.users) {
            None => grant.principal,
            Some(group) => {
                let inside = members.get(group).filter(|inside| !inside.is_empty())?;
                *random.pick(inside)
            }
        };
        (user, grant.securable)
    };
    let (on_table, privileges): (bool, &[Privilege]) = match world.securables[securable as usize].kind {
        SecurableKind::Experiment => (false, &OF_EXPERIMENTS),
        SecurableKind::Table => (true, &OF_TABLES),
        _ => return None,
    };
    let privilege = *random.pick(privileges);
    Some(Question { user, securable, privilege, allowed: plain.allows(user, securable, privilege), on_table })
}

/// Users by group, `users` and `admins` included.
fn members(world: &World) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); world.shape.groups + 2];
    for (user, groups) in world.groups_of.iter().enumerate() {
        for group in groups {
            members[*group as usize - world.shape.users].push(user as u32);
        }
    }
    members
}
