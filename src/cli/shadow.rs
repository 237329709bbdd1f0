//! `tracegate shadow`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::access::given;
use super::client::{Client, print};
use super::times;

#[derive(Debug, Subcommand)]
pub(super) enum ShadowCommand {
    /// List the experiments in shadow mode
    #[command(after_help = "Example:\n  tracegate shadow list")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Put experiments in shadow mode: what policy denies there passes, and is noted
    #[command(
        after_help = "Example:\n  tracegate shadow start --experiment 3 --experiment 4 --days 14 --reason 'adopting the old server'"
    )]
    Start {
        /// An experiment's id; may be repeated
        #[arg(long, required = true)]
        experiment: Vec<String>,
        /// After how many days it ends by itself (1 to 90)
        #[arg(long, default_value_t = 14)]
        days: u64,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        json: bool,
    },
    /// End shadow mode: what policy says is enforced
    #[command(after_help = "Example:\n  tracegate shadow end --experiment 3\n  tracegate shadow end --all")]
    End {
        #[arg(long, required_unless_present = "all")]
        experiment: Option<String>,
        #[arg(long, conflicts_with = "experiment")]
        all: bool,
        #[arg(long)]
        json: bool,
    },
    /// Say who would be denied what
    #[command(after_help = "Example:\n  tracegate shadow report --experiment 3 --since 2026-01-31")]
    Report {
        #[arg(long)]
        experiment: Option<String>,
        /// 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970; whole hours count
        #[arg(long, value_parser = times::parse)]
        since: Option<i64>,
        #[arg(long)]
        json: bool,
    },
}

const SHADOWS: [&str; 5] = ["experiment", "until_ms", "set_by", "since_ms", "reason"];
const ROWS: [&str; 9] = [
    "securable",
    "principal",
    "address",
    "operation",
    "privilege",
    "narrows",
    "calls",
    "first_ms",
    "last_ms",
];

pub(super) fn run(command: ShadowCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    match command {
        ShadowCommand::List { json } => {
            print(&client.call(Method::GET, "shadow", &[], None)?, json, "shadows", &SHADOWS);
        }
        ShadowCommand::Start { experiment, days, reason, json } => {
            let body = json!({ "experiments": experiment, "days": days, "reason": reason });
            print(&client.call(Method::POST, "shadow", &[], Some(&body))?, json, "shadows", &SHADOWS);
        }
        ShadowCommand::End { experiment, all: _, json } => {
            let query = given([("experiment", experiment)]);
            print(&client.call(Method::DELETE, "shadow", &query, None)?, json, "shadows", &SHADOWS);
        }
        ShadowCommand::Report { experiment, since, json } => {
            let query = given([("experiment", experiment), ("since", since.map(|since| since.to_string()))]);
            let answer = client.call(Method::GET, "shadow/report", &query, None)?;
            print(&answer, json, "shadowed", &ROWS);
            if answer["truncated"] == true {
                anyhow::bail!("there is more than this; ask for one experiment, or a later `--since`");
            }
        }
    }
    Ok(())
}
