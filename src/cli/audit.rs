//! `tracegate audit`: questions to the record of a running gateway, and verification of its files.
//!
//! `query` is the general question; those that people ask most have commands of their own, in
//! `audit_questions`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;

use super::client::{Client, print};
use super::{audit_export, audit_questions, audit_review, times};
use crate::audit::{Known, known_to_index};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Records, newest first
    #[command(
        after_help = "Example:\n  tracegate audit query --securable experiment:1 --from 2026-01-01 --calls"
    )]
    Query(QueryArguments),
    /// Who saw a trace, a session or an end user's traces
    #[command(
        after_help = "Example:\n  tracegate audit saw --trace-id tr-…\n  tracegate audit saw --session s-42\n  \
        tracegate audit saw --subject customer=4711 --level read"
    )]
    Saw(audit_questions::SawArguments),
    /// Everything that one person did
    #[command(after_help = "Example:\n  tracegate audit person user:bob --from 2026-01-01")]
    Person(audit_questions::PersonArguments),
    /// What was refused, to whom and why
    #[command(after_help = "Example:\n  tracegate audit denials --from 2026-01-01 --principal user:bob")]
    Denials(audit_questions::DenialArguments),
    /// Who changed what in the policy, before and after
    #[command(after_help = "Example:\n  tracegate audit changes --from 2026-01-01 --json")]
    Changes(audit_questions::PeriodArguments),
    /// Credentials that were no good, and calls without any
    #[command(after_help = "Example:\n  tracegate audit failed-logins --from 2026-01-01")]
    FailedLogins(audit_questions::PeriodArguments),
    /// When each principal was first seen at an address
    #[command(after_help = "Example:\n  tracegate audit new-addresses --from 2026-01-01")]
    NewAddresses(audit_questions::AddressArguments),
    /// The traces that are known to be of a session or an end user, or forget which they are
    #[command(after_help = "Example:\n  tracegate audit subject --user ann@example.com\n  \
        tracegate audit subject --user ann@example.com --erase")]
    Subject(audit_questions::SubjectArguments),
    /// Write the record out as lines that other programs read
    #[command(
        after_help = "Example:\n  tracegate audit export --format ocsf --from 2026-01-01 --to 2026-02-01 \
        --output january.jsonl\n  tracegate audit export --format otlp --endpoint http://127.0.0.1:4318/v1/logs"
    )]
    Export(audit_export::ExportArguments),
    /// Write what a review of access needs: who has what, since when unused, who did what
    #[command(
        after_help = "Example:\n  tracegate audit review --from 2026-01-01 --to 2026-04-01 --output review-q1"
    )]
    Review(audit_review::ReviewArguments),
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
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970
    #[arg(long, visible_alias = "from", value_parser = times::parse)]
    since: Option<i64>,
    /// Before this time
    #[arg(long, visible_alias = "to", value_parser = times::parse)]
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
    /// begin, returned, complete, policy_change, recovered or closed
    #[arg(long)]
    kind: Option<String>,
    /// The HTTP status that was answered
    #[arg(long)]
    status: Option<u16>,
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
        AuditCommand::Saw(arguments) => audit_questions::saw(arguments),
        AuditCommand::Person(arguments) => audit_questions::person(arguments),
        AuditCommand::Denials(arguments) => audit_questions::denials(arguments),
        AuditCommand::Changes(arguments) => audit_questions::changes(arguments),
        AuditCommand::FailedLogins(arguments) => audit_questions::failed_logins(arguments),
        AuditCommand::NewAddresses(arguments) => audit_questions::new_addresses(arguments),
        AuditCommand::Subject(arguments) => audit_questions::subject(arguments),
        AuditCommand::Export(arguments) => audit_export::run(arguments),
        AuditCommand::Review(arguments) => audit_review::run(arguments),
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
        ("kind", arguments.kind),
        ("status", arguments.status.map(|status| status.to_string())),
        ("calls", arguments.calls.then(|| "true".to_owned())),
        ("limit", arguments.limit.map(|limit| limit.to_string())),
        ("after", arguments.after),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    let answer = client.call(Method::GET, "audit/events", &wanted, None)?;
    let list = if arguments.calls { "calls" } else { "events" };
    let columns =
        ["time_ms", "kind", "principal", "operation", "decision", "status", "securables", "trace_ids"];
    print(&answer, arguments.json, list, &columns);
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
