//! `tracegate adopt`: walks through everything that the MLflow server before which a gateway was put holds. Its
//! traces are claimed for their experiments, and who wrote there is proposed as who may go on to.

mod proposal;
mod walk;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use self::proposal::Names;
use self::walk::Walk;
use super::client::Client;
use super::print_line;

#[derive(Debug, Args)]
pub(super) struct AdoptArguments {
    /// Write the proposed grants here, for `tracegate policy plan` and `apply`; what stands is in it too
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Only these experiments (ids); may be repeated. Others keep what is proposed for them for another time
    #[arg(long)]
    experiment: Vec<String>,
    /// Whom a name that clients sent stands for, as NAME=user:NAME; may be repeated. `NAME=` for nobody
    #[arg(long, value_parser = proposal::name)]
    name: Vec<(String, Option<String>)>,
    /// Propose grants to names that Tracegate does not know, too
    #[arg(long)]
    unknown: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &AdoptArguments) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let walk = runtime.block_on(Walk::through(&client, &arguments.experiment))?;
    let known = runtime.block_on(proposal::known(&client))?;
    let names = Names { known, mapped: arguments.name.iter().cloned().collect(), unknown: arguments.unknown };
    let standing = runtime.block_on(proposal::standing(&client))?;
    let proposed = proposal::propose(&walk.experiments, &names, &standing);
    if let Some(path) = &arguments.plan {
        let text = proposal::yaml(&proposed);
        std::fs::write(path, text).with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    if arguments.json {
        let report = json!({
            "experiments": walk.experiments.len(),
            "traces": walk.traces(),
            "claimed": walk.claimed(),
            "elsewhere": walk.elsewhere(),
            "unknown_ids": walk.unknown_ids(),
            "shared_roots": walk.shared_roots(),
            "unstable": walk.unstable(),
            "proposed": proposed.grants,
            "unknown_names": proposed.unknown_names,
        });
        print_line(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    walk.describe().iter().for_each(|line| print_line(line));
    proposed.describe().iter().for_each(|line| print_line(line));
    match &arguments.plan {
        Some(path) => {
            let path = path.display();
            print_line(&format!(
                "review {path}; then: tracegate policy plan {path}; tracegate policy apply {path}"
            ));
        }
        None => print_line("nothing was granted; with --plan FILE the proposal is written to a file"),
    }
    Ok(())
}
