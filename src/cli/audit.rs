//! `tracegate audit`: questions to the record of a running gateway, and verification of its files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Records, newest first
    Query(QueryArguments),
    /// Check a whole spool offline; names the first record that was changed, removed or reordered
    Verify {
        /// The spool's directory, or a copy of it
        directory: PathBuf,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct QueryArguments {
    /// Not before this time, in milliseconds since 1970
    #[arg(long)]
    since: Option<i64>,
    /// Before this time, in milliseconds since 1970
    #[arg(long)]
    until: Option<i64>,
    /// user:NAME or service_principal:NAME
    #[arg(long)]
    principal: Option<String>,
    /// experiment:ID and the like
    #[arg(long)]
    securable: Option<String>,
    #[arg(long)]
    trace_id: Option<String>,
    /// allow or deny
    #[arg(long)]
    decision: Option<String>,
    #[arg(long)]
    operation: Option<String>,
    /// Every record of one call, by its X-Tracegate-Decision-Id
    #[arg(long)]
    decision_id: Option<String>,
    /// 1 to 1000
    #[arg(long)]
    limit: Option<u32>,
    /// `next` of the page before
    #[arg(long)]
    after: Option<String>,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Query(arguments) => query(arguments),
        AuditCommand::Verify { directory, json } => verify(&directory, json),
    }
}

fn query(arguments: QueryArguments) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let wanted: Vec<(&str, String)> = [
        ("since", arguments.since.map(|since| since.to_string())),
        ("until", arguments.until.map(|until| until.to_string())),
        ("principal", arguments.principal),
        ("securable", arguments.securable),
        ("trace_id", arguments.trace_id),
        ("decision", arguments.decision),
        ("operation", arguments.operation),
        ("decision_id", arguments.decision_id),
        ("limit", arguments.limit.map(|limit| limit.to_string())),
        ("after", arguments.after),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    let answer = client.call(Method::GET, "audit/events", &wanted, None)?;
    let columns =
        ["time_ms", "kind", "principal", "operation", "decision", "status", "securables", "trace_ids"];
    print(&answer, arguments.json, "events", &columns);
    Ok(())
}

fn verify(directory: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let mut progress = |seq: u64| eprintln!("{seq} records checked");
    let verified = crate::audit::verify(directory, crate::audit::Known::default(), &mut progress)?;
    if json {
        super::print_line(&serde_json::to_string_pretty(&verified)?);
    } else {
        super::print_line(&format!(
            "the chain is whole: records {} to {} of replica {}, last hash {}",
            verified.first_seq, verified.last_seq, verified.replica, verified.last_hash
        ));
    }
    Ok(())
}
