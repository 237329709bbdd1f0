//! `tracegate audit`: questions to the record of a running gateway, and verification of its files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;

use super::client::{Client, print};
use crate::audit::{Known, known_to_index};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Records, newest first
    Query(QueryArguments),
    /// Check a whole spool offline; names the first record that was changed, removed or reordered
    Verify {
        /// The spool's directory, or a copy of it
        directory: PathBuf,
        /// The gateway's configuration: the chain is then also held against what the index knows
        #[arg(long)]
        config: Option<PathBuf>,
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
    /// One line a call, with its outcome, instead of one a record
    #[arg(long)]
    calls: bool,
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
        AuditCommand::Verify { directory, config, json } => verify(&directory, config.as_deref(), json),
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
        ("calls", arguments.calls.then(|| "true".to_owned())),
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

fn verify(directory: &Path, config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let mut progress = |seq: u64| eprintln!("{seq} records checked");
    let known = match config {
        Some(file) => {
            let config = Config::load(Some(file))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let url = config.database.url.as_deref();
            let indexed = known_to_index(&config.audit, url, &config.server.data_dir);
            Known { position: runtime.block_on(indexed)?, whole: config.audit.keep_segments }
        }
        None => Known::default(),
    };
    let verified = crate::audit::verify(directory, known, &mut progress)?;
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
