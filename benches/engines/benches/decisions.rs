//! What a decision costs, beside casbin, Cedar and regorus, on one world in one run.
//!
//! ```sh
//! cargo bench --manifest-path benches/engines/Cargo.toml --bench decisions
//! cargo bench --manifest-path benches/engines/Cargo.toml --bench decisions -- --grants 100000 --seed 7
//! ```
//!
//! Every answer of every engine is compared with the right one while it is timed; the first wrong one ends the run.

use std::time::Duration;

use anyhow::Result;
use tracegate_engines::measure::{self, Built, Cost, Effort, build, decisions, time, timer_cost};
use tracegate_engines::peers::Peer;
use tracegate_engines::peers::casbin::Casbin;
use tracegate_engines::peers::cedar::{AccessLists, Candidates, Links};
use tracegate_engines::peers::regorus::{Interpreter, Machine};
use tracegate_engines::plain::Plain;
use tracegate_engines::questions::{self, Question};
use tracegate_engines::world::{Shape, World};
use tracegate_engines::{number_after, ours};

const QUESTIONS: usize = 200_000;
const OURS: Effort = Effort { passes: 5, longest_pass: Duration::from_secs(20) };
const PEERS: Effort = Effort { passes: 3, longest_pass: Duration::from_secs(6) };

fn main() -> Result<()> {
    let grants = number_after("--grants")?.unwrap_or(1_000_000);
    let seed = number_after("--seed")?.unwrap_or(1) as u64;
    println!(
        "timer: {} a reading, taken off; load {}",
        time(timer_cost().as_nanos() as f64),
        measure::load()
    );
    let world = World::new(Shape::of(grants), seed)?;
    let plain = Plain::new(&world)?;
    let questions = questions::ask(&plain, QUESTIONS, seed + 1)?;
    describe(&world, &questions);

    let snapshot = build(|| ours::build(&world))?;
    println!("snapshot: built in {:.2} s, {:.1} MiB", snapshot.seconds, snapshot.mebibytes);
    let by_id = ours::by_id(&world, &snapshot.value, &questions, OURS)?;
    let by_name = ours::by_name(&world, &snapshot.value, &questions, OURS)?;
    println!("\n{:34} {:>9} {:>9}    {:>9} {:>9}", "", "by id p50", "p99", "name p50", "p99");
    for (kind, id, name) in [
        ("all", by_id.all, by_name.all),
        ("allowed", by_id.allow, by_name.allow),
        ("denied", by_id.deny, by_name.deny),
        ("on experiments", by_id.experiments, by_name.experiments),
        ("on tables, with both gates", by_id.tables, by_name.tables),
    ] {
        println!("{kind:34} {id}    {name}");
    }
    println!(
        "{:34} {:>9} {:>12} {:>9}",
        "mean, no timer in between",
        time(by_id.mean),
        "",
        time(by_name.mean)
    );

    let publishing = ours::publishing(&world, &snapshot.value, 2_000)?;
    println!("\n{:34} {:>9} {:>9}", "publishing", "p50", "p99");
    println!("{:34} {}", "a grant, or its revoke", publishing.grant);
    println!("{:34} {}", "a user's membership", publishing.membership);
    println!("a top group's nesting ({:5} users) {}", publishing.top_group_users, publishing.top_group);

    header();
    row("Tracegate by id", grants, &snapshot, by_id, by_id, by_name);
    row("Tracegate by name", grants, &snapshot, by_name, by_id, by_name);
    let full = Beside { world: &world, questions: &questions, by_id, by_name };
    full.measure("Cedar, only the candidates", || Candidates::new(&plain))?;
    full.measure("Cedar, lists as attributes", || AccessLists::new(&world))?;
    full.measure("regorus, virtual machine", || Machine::new(&world))?;
    full.measure("regorus, interpreter", || Interpreter::new(&world))?;
    drop(snapshot);
    for size in [100, 1_000, 10_000, 100_000] {
        if size <= grants {
            smaller(size, seed)?;
        }
    }
    println!("\nall engines agree on every question they were asked; load {}", measure::load());
    Ok(())
}

/// The engines that must look at every rule, at sizes that they can bear, and ours on the same worlds.
fn smaller(size: usize, seed: u64) -> Result<()> {
    let world = World::new(Shape::of(size), seed)?;
    let plain = Plain::new(&world)?;
    let questions = questions::ask(&plain, if size < 1_000 { 400 } else { 2_000 }, seed + 1)?;
    let snapshot = build(|| ours::build(&world))?;
    let by_id = ours::by_id(&world, &snapshot.value, &questions, OURS)?;
    let by_name = ours::by_name(&world, &snapshot.value, &questions, OURS)?;
    println!();
    row("Tracegate by id", size, &snapshot, by_id, by_id, by_name);
    row("Tracegate by name", size, &snapshot, by_name, by_id, by_name);
    let beside = Beside { world: &world, questions: &questions, by_id, by_name };
    beside.measure("casbin, all rules", || Casbin::new(&world))?;
    beside.measure("Cedar, a link for each grant", || Links::new(&world))
}

fn describe(world: &World, questions: &[Question]) {
    let shape = world.shape;
    let inside: usize = world.groups_of.iter().map(Vec::len).sum();
    println!(
        "world: {} grants, {} experiments in {} folders, {} tables in {} schemas, {} users in {} groups, {:.1} groups a user",
        world.grants.len(),
        shape.experiments,
        shape.folders,
        shape.tables,
        shape.schemas,
        shape.users,
        shape.groups,
        inside as f64 / shape.users as f64,
    );
    let allowed = questions.iter().filter(|question| question.allowed).count();
    println!(
        "questions: {}, {allowed} of them allowed, half on experiments and half on tables",
        questions.len()
    );
}

/// What an engine is put beside: the same world, the same questions, our own figures on them.
struct Beside<'w> {
    world: &'w World,
    questions: &'w [Question],
    by_id: Cost,
    by_name: Cost,
}

impl Beside<'_> {
    fn measure<P: Peer>(&self, name: &str, make: impl FnOnce() -> Result<P>) -> Result<()> {
        let mut built = build(make)?;
        let questions = &self.questions[..self.questions.len().min(20_000)];
        let prepared = built.value.prepare(self.world, questions)?;
        let peer = &mut built.value;
        let cost = decisions(name, questions, PEERS, |_| {}, |number| peer.allows_all(&prepared[number]))?;
        row(name, self.world.grants.len(), &built, cost, self.by_id, self.by_name);
        Ok(())
    }
}

fn header() {
    println!(
        "\n{:30} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>10} {:>11} {:>9}",
        "engine",
        "grants",
        "p50",
        "p99",
        "allow p50",
        "deny p50",
        "build",
        "memory",
        "of ours, id",
        "of name"
    );
}

fn row<T>(name: &str, grants: usize, built: &Built<T>, cost: Cost, by_id: Cost, by_name: Cost) {
    println!(
        "{name:30} {grants:>9} {:>9} {:>9} {:>9} {:>9} {:>6.2} s {:>6.1} MiB {:>10.1}x {:>8.1}x  ({} decisions)",
        time(cost.all.p50),
        time(cost.all.p99),
        time(cost.allow.p50),
        time(cost.deny.p50),
        built.seconds,
        built.mebibytes,
        cost.all.p50 / by_id.all.p50,
        cost.all.p50 / by_name.all.p50,
        cost.decisions,
    );
}
