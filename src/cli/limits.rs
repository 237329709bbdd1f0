//! `tracegate limits`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::access::given;
use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum LimitsCommand {
    /// Show limits and what is used of them
    #[command(after_help = "Example:\n  tracegate limits show --on experiment:12")]
    Show {
        /// experiment:ID or workspace:default; all that were set if absent
        #[arg(long)]
        on: Option<String>,
        /// Those of one principal
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Set limits, on an experiment or for one principal
    #[command(
        after_help = "Example:\n  tracegate limits set --on experiment:12 --requests-per-second 30 --traces 50000\n  \
        tracegate limits set --on workspace:default --principal user:bob --requests-per-second 5"
    )]
    Set {
        #[arg(long)]
        on: String,
        /// For this one alone: user:NAME or service_principal:NAME
        #[arg(long)]
        principal: Option<String>,
        /// Calls in a second
        #[arg(long, required_unless_present = "traces")]
        requests_per_second: Option<u64>,
        /// Traces that the experiment holds
        #[arg(long)]
        traces: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// Lift limits: back to what the configuration says
    #[command(after_help = "Example:\n  tracegate limits clear --on experiment:12 --traces")]
    Clear {
        #[arg(long)]
        on: String,
        #[arg(long)]
        principal: Option<String>,
        #[arg(long, required_unless_present = "traces")]
        requests_per_second: bool,
        #[arg(long)]
        traces: bool,
        #[arg(long)]
        json: bool,
    },
}

const COLUMNS: [&str; 7] = ["securable", "principal", "name", "value", "used", "source", "set_by"];

pub(super) fn run(command: LimitsCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    match command {
        LimitsCommand::Show { on, principal, json } => {
            let query = given([("securable", on), ("principal", principal)]);
            print(&client.call(Method::GET, "limits", &query, None)?, json, "limits", &COLUMNS);
        }
        LimitsCommand::Set { on, principal, requests_per_second, traces, json } => {
            let values = [("requests_per_second", requests_per_second), ("traces", traces)];
            let mut limits = Vec::new();
            for (name, value) in values.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                let body = json!({ "securable": on, "principal": principal, "name": name, "value": value });
                limits.push(client.call(Method::PUT, "limits", &[], Some(&body))?["limit"].take());
            }
            print(&json!({ "limits": limits }), json, "limits", &COLUMNS);
        }
        LimitsCommand::Clear { on, principal, requests_per_second, traces, json } => {
            let names = [("requests_per_second", requests_per_second), ("traces", traces)];
            let mut limits: Vec<Value> = Vec::new();
            for (name, _) in names.into_iter().filter(|(_, wanted)| *wanted) {
                let query = given([
                    ("securable", Some(on.clone())),
                    ("principal", principal.clone()),
                    ("name", Some(name.to_owned())),
                ]);
                limits.push(client.call(Method::DELETE, "limits", &query, None)?["limit"].take());
            }
            // What the configuration puts in place of what was set.
            limits.retain(|limit| !limit.is_null());
            print(&json!({ "limits": limits }), json, "limits", &COLUMNS);
        }
    }
    Ok(())
}
