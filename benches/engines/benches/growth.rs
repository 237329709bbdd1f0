//! How the cost of a decision grows: with grants (everything else grows along), with the groups that a user is
//! in, and with the depth of the tree.
//!
//! ```sh
//! cargo bench --manifest-path benches/engines/Cargo.toml --no-default-features --bench growth
//! cargo bench … --bench growth -- --largest 10000000 --json growth.json
//! ```
//!
//! `plot.py` beside this draws the JSON.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tracegate_engines::measure::{self, Cost, Effort, build, time};
use tracegate_engines::plain::Plain;
use tracegate_engines::world::{Shape, World};
use tracegate_engines::{number_after, ours, questions, text_after};

const QUESTIONS: usize = 200_000;
const EFFORT: Effort = Effort { passes: 5, longest_pass: Duration::from_secs(20) };

fn main() -> Result<()> {
    let largest = number_after("--largest")?.unwrap_or(1_000_000);
    let middle = largest.min(1_000_000);
    println!("load {}", measure::load());
    header("grants");
    let sizes: Vec<usize> =
        (3..=9).map(|power| 10_usize.pow(power)).filter(|size| *size <= largest).collect();
    let by_grants = sizes.iter().map(|size| point(*size, Shape::of(*size))).collect::<Result<Vec<_>>>()?;
    header("groups a user");
    let by_groups = [1, 20, 200]
        .map(|groups| point(groups, Shape { groups_per_user: groups, ..Shape::of(middle) }))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    header("levels of the tree");
    let by_depth = [3, 8]
        .map(|depth| point(depth, Shape { depth, ..Shape::of(middle) }))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    println!("load {}", measure::load());
    if let Some(path) = text_after("--json") {
        let all = json!({ "grants": by_grants, "groups": by_groups, "depth": by_depth });
        std::fs::write(&path, format!("{all:#}\n"))
            .with_context(|| format!("`{path}` could not be written"))?;
    }
    Ok(())
}

fn header(what: &str) {
    println!(
        "\n{what:>18}  {:>9} {:>9}  {:>9} {:>9}  {:>9} {:>9}  {:>8} {:>10}  {:>9} {:>9} {:>9}",
        "by id p50",
        "p99",
        "exp. p50",
        "p99",
        "name p50",
        "p99",
        "build",
        "memory",
        "grant",
        "member",
        "top group"
    );
}

fn point(at: usize, shape: Shape) -> Result<Value> {
    let world = World::new(shape, 1)?;
    let plain = Plain::new(&world)?;
    // A small world has fewer things to ask about.
    let questions = questions::ask(&plain, QUESTIONS.min(shape.grants * 4), 2)?;
    drop(plain);
    let snapshot = build(|| ours::build(&world))?;
    let by_id = ours::by_id(&world, &snapshot.value, &questions, EFFORT)?;
    let by_name = ours::by_name(&world, &snapshot.value, &questions, EFFORT)?;
    let publishing = ours::publishing(&world, &snapshot.value, 1_000)?;
    println!(
        "{at:>18}  {}  {}  {}  {:>6.2} s {:>6.1} MiB  {:>9} {:>9} {:>9}",
        by_id.all,
        by_id.experiments,
        by_name.all,
        snapshot.seconds,
        snapshot.mebibytes,
        time(publishing.grant.p50),
        time(publishing.membership.p50),
        time(publishing.top_group.p50),
    );
    let spread = |cost: &Cost| json!({ "p50": cost.all.p50, "p99": cost.all.p99 });
    Ok(json!({
        "at": at,
        "by_id": spread(&by_id),
        "by_name": spread(&by_name),
        "build_seconds": snapshot.seconds,
        "mebibytes": snapshot.mebibytes,
    }))
}
