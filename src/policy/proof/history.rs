//! A history: one random world and the changes that befall it, each state compared. Its seed is all that is
//! needed to see it again.

use std::fmt;

use super::super::{Builder, Snapshot};
use super::compare::Checker;
use super::generate::{Cast, NOW};
use super::random::Random;
use super::rendering;
use super::world::World;
use crate::access::PolicyEdit;
use crate::clock::UnixMillis;

/// A mismatch: where, what, and the world at that time as casbin lines.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub seed: u64,
    pub problem: String,
    edits: Vec<PolicyEdit>,
    world: World,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "seed {}: {}", self.seed, self.problem)?;
        writeln!(formatter, "latest changes: {:#?}", self.edits)?;
        let inactive = self.world.principals.iter().filter(|(_, active)| !**active);
        let inactive: Vec<String> = inactive.map(|(principal, _)| principal.to_string()).collect();
        writeln!(formatter, "inactive: {inactive:?}")?;
        writeln!(formatter, "at {:?}, without what levels contain:", self.world.now)?;
        let levels = rendering::facts(&World::empty());
        let relations = rendering::relations(&self.world, &self.world.known(), &self.world.securables());
        for line in rendering::facts(&self.world).difference(&levels).chain(&relations) {
            writeln!(formatter, "{}", line.join(", "))?;
        }
        Ok(())
    }
}

/// Runs the history of one seed, and stops at the first mismatch.
pub(super) fn run(seed: u64, checker: &mut Checker) -> Result<(), Box<Mismatch>> {
    let mut random = Random::new(seed);
    let mut cast = Cast::random(&mut random);
    let mut world = cast.world(&mut random);
    let mismatch = |problem, world: &World, edits: &[PolicyEdit]| {
        Box::new(Mismatch { seed, problem, edits: edits.to_vec(), world: world.clone() })
    };
    // Half of them are built at once, as at a start; half grow from nothing, as a replica's log is applied.
    let mut snapshot = if random.one_in(2) {
        world.build(&checker.levels, 1)
    } else {
        let nothing = Builder::new(checker.levels.clone()).build(0);
        changed(&nothing, 1, &world.as_edits(), true).map_err(|problem| mismatch(problem, &world, &[]))?
    };
    checker.check(&world, &snapshot, &cast, &mut random).map_err(|problem| mismatch(problem, &world, &[]))?;
    for version in 2..random.between(4, 8) as i64 {
        let mut edits = Vec::new();
        for _ in 0..random.between(1, 3) {
            let edit = cast.edit(&world, &mut random);
            world.edit(&edit);
            edits.push(edit);
        }
        world.now = UnixMillis(NOW - 1 + random.below(3) as i64);
        let at_once = random.one_in(2);
        snapshot = changed(&snapshot, version, &edits, at_once)
            .map_err(|problem| mismatch(problem, &world, &edits))?;
        checker
            .check(&world, &snapshot, &cast, &mut random)
            .map_err(|problem| mismatch(problem, &world, &edits))?;
    }
    checker.built_anew(&world, &snapshot, &cast).map_err(|problem| mismatch(problem, &world, &[]))
}

/// The snapshot after these edits, applied together or one by one.
fn changed(
    snapshot: &Snapshot,
    version: i64,
    edits: &[PolicyEdit],
    at_once: bool,
) -> Result<Snapshot, String> {
    let after = if at_once {
        snapshot.apply(version, edits)
    } else {
        edits
            .iter()
            .try_fold(snapshot.clone(), |snapshot, edit| snapshot.apply(version, std::slice::from_ref(edit)))
    };
    let after = after.map_err(|error| error.to_string())?;
    if after.version() != version {
        Err(format!("version {} instead of {version}", after.version()))
    } else {
        Ok(after)
    }
}
