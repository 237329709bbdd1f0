//! `tracegate audit`: questions to the record of a running gateway; [`audit_verify`](super::audit_verify)
//! checks its files.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::audit_key::RotateKeyArguments;
use super::audit_verify::{ExportArguments, VerifyArguments};
use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Records, newest first
    Query(QueryArguments),
    /// Check a record offline; names the first record that was changed, removed, moved or forged
    Verify(VerifyArguments),
    /// Write records as JSON lines that keep their place in the chain, for `audit verify`
    ExportChain(ExportArguments),
    /// Make a new key that signs checkpoints, announced by the old one
    RotateKey(RotateKeyArguments),
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
        AuditCommand::Verify(arguments) => super::audit_verify::run(arguments),
        AuditCommand::ExportChain(arguments) => super::audit_verify::export(&arguments),
        AuditCommand::RotateKey(arguments) => super::audit_key::run(arguments),
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
