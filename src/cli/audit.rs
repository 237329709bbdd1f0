//! `tracegate audit`: questions to the record of a running gateway; [`audit_verify`](super::audit_verify)
//! checks its files.
//!
//! `query` is the general question; those that people ask most have commands of their own, in
//! `audit_questions`.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::audit_key::RotateKeyArguments;
use super::audit_verify::{ExportArguments, VerifyArguments};
use super::client::{Client, print};
use super::{audit_export, audit_questions, audit_review, times};

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
    /// Grants that people gave themselves in an emergency, with the reasons they wrote
    #[command(after_help = "Example:\n  tracegate audit break-glass --from 2026-01-01")]
    BreakGlass(audit_questions::PeriodArguments),
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
    /// Check a record offline; names the first record that was changed, removed, moved or forged
    Verify(VerifyArguments),
    /// Write records as JSON lines that keep their place in the chain, for `audit verify`
    ExportChain(ExportArguments),
    /// Make a new key that signs checkpoints, announced by the old one
    RotateKey(RotateKeyArguments),
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
        AuditCommand::BreakGlass(arguments) => audit_questions::break_glass(arguments),
        AuditCommand::NewAddresses(arguments) => audit_questions::new_addresses(arguments),
        AuditCommand::Subject(arguments) => audit_questions::subject(arguments),
        AuditCommand::Export(arguments) => audit_export::run(arguments),
        AuditCommand::Review(arguments) => audit_review::run(arguments),
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
