//! The command line. Results go to stdout, as text or with `--json` as JSON; errors to stderr.

mod access;
mod adopt;
mod audit;
mod audit_export;
mod audit_key;
mod audit_questions;
mod audit_review;
mod audit_verify;
mod backup;
mod client;
mod demo;
mod demo_seed;
mod explain;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub(crate) use super::policy::fuzz::policy_yaml;
}
mod import;
mod keys;
mod limits;
mod migrate;
mod policy;
mod principal;
mod routes;
mod serve;
mod service_principal;
mod session;
mod shadow;
mod times;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tracegate", version, about = "The access-control gateway for GenAI traces")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, with a store of its own or before the MLflow server that the configuration names
    #[command(after_help = "Example:\n  tracegate serve --config tracegate.toml\n  \
        TRACEGATE__MLFLOW__URL=http://127.0.0.1:5000 tracegate serve")]
    Serve {
        /// A TOML file; every key can also be set as TRACEGATE__SECTION__KEY
        #[arg(long)]
        config: Option<PathBuf>,
        /// Once requests are accepted, print {"url"} as JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring the databases to this version, or say what they lack
    #[command(after_help = "Example:\n  tracegate migrate --config tracegate.toml\n  \
        tracegate migrate --check --json\n\nWith --check nothing is changed; ends with 3 if something is pending.")]
    Migrate {
        /// A TOML file, as for `tracegate serve`
        #[arg(long)]
        config: Option<PathBuf>,
        /// Only say what is pending
        #[arg(long)]
        check: bool,
        #[arg(long)]
        json: bool,
    },
    /// Copy everything that the gateway keeps, while it serves or not, or check such a copy
    #[command(after_help = "Example:\n  tracegate backup --to /backups/monday --config tracegate.toml\n  \
        tracegate backup verify /backups/monday")]
    Backup(backup::BackupArguments),
    /// Put a backup where there is nothing
    #[command(
        after_help = "Example:\n  tracegate restore --from /backups/monday --config tracegate.toml\n  \
        tracegate restore --from /backups/monday --revoke-tokens --json"
    )]
    Restore(backup::RestoreArguments),
    /// Serve with callers, experiments and traces to try
    #[command(after_help = "Example:\n  tracegate demo --port 8080\n  \
        tracegate demo --mlflow-url http://127.0.0.1:5000 --port 0 --json demo.json")]
    Demo(demo::DemoArguments),
    /// List every operation: method, path, what it needs
    #[command(after_help = "Example:\n  tracegate routes --json | head")]
    Routes {
        #[arg(long)]
        json: bool,
    },
    /// Make, list and revoke tokens
    #[command(after_help = "Example:\n  tracegate token create --name laptop --ttl-days 30\n  \
        tracegate token create --name collector --scope CAN_INGEST@experiment:1")]
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Take over a server that is in use: claim its traces and propose grants
    #[command(
        after_help = "Example:\n  tracegate adopt --plan adopted.yaml --name jdoe=user:jdoe@example.com\n  \
        tracegate policy apply adopted.yaml"
    )]
    Adopt(adopt::AdoptArguments),
    /// Let what policy denies pass on some experiments, and say who would be denied
    #[command(after_help = "Example:\n  tracegate shadow report --experiment 3")]
    Shadow {
        #[command(subcommand)]
        command: shadow::ShadowCommand,
    },
    /// List and end the sessions of those who signed in with a browser
    #[command(after_help = "Example:\n  tracegate session end --principal user:bob")]
    Session {
        #[command(subcommand)]
        command: session::SessionCommand,
    },
    /// Make, list and revoke the secrets with which service principals get access tokens
    #[command(
        name = "service-principal",
        after_help = "Example:\n  tracegate service-principal secret create agent --ttl-days 90"
    )]
    ServicePrincipal {
        #[command(subcommand)]
        command: service_principal::ServicePrincipalCommand,
    },
    /// Show and change who may do what
    #[command(after_help = "Example:\n  tracegate policy grant --principal group:analysts \
        --privilege CAN_READ --on experiment:1 --reason 'quarterly review'\n  \
        tracegate policy plan policy/")]
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    /// Make users, service principals and groups known, shut them out, delete them
    #[command(
        after_help = "Example:\n  tracegate principal create user:ann@example.com --display-name 'Ann'\n  \
        tracegate principal deactivate user:bob@example.com"
    )]
    Principal {
        #[command(subcommand)]
        command: principal::PrincipalCommand,
    },
    /// Say who is in which group
    #[command(after_help = "Example:\n  tracegate group add group:analysts user:bob@example.com")]
    Group {
        #[command(subcommand)]
        command: principal::GroupCommand,
    },
    /// Ask for access, decide on requests, review what was granted
    #[command(
        after_help = "Example:\n  tracegate access request --on experiment:12 --reason 'triage of incident 4711'"
    )]
    Access {
        #[command(subcommand)]
        command: access::AccessCommand,
    },
    /// Show and set how much of an experiment may be used
    #[command(after_help = "Example:\n  tracegate limits set --on experiment:12 --requests-per-second 30")]
    Limits {
        #[command(subcommand)]
        command: limits::LimitsCommand,
    },
    /// Show, rotate and retire the keys with which tokens, sessions and page tokens are made
    #[command(after_help = "Example:\n  tracegate keys rotate token\n  tracegate keys list")]
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Bring users, roles and permissions of another server over, with a plan first
    #[command(after_help = "Example:\n  tracegate import mlflow-auth --database sqlite:///basic_auth.db")]
    Import {
        #[command(subcommand)]
        command: import::ImportCommand,
    },
    /// Ask the audit record, or verify it offline
    #[command(
        after_help = "Example:\n  tracegate audit saw --trace-id tr-…\n  tracegate audit query --principal user:bob"
    )]
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Explain one decision
    #[command(after_help = "Example:\n  tracegate explain --principal user:bob --privilege trace.read \
        --on experiment:1\n  tracegate explain --decision 0190a3b2-…")]
    Explain(explain::ExplainArguments),
}

/// Runs one command to its end. Most can only succeed or fail; those that answer a question may end otherwise.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let done = match arguments.command {
        Command::Serve { config, json } => serve::run(config.as_deref(), json),
        Command::Migrate { config, check, json } => return migrate::run(config.as_deref(), check, json),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => backup::restore(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Routes { json } => routes::run(json),
        Command::Token { command } => token::run(command),
        Command::Session { command } => session::run(command),
        Command::ServicePrincipal { command } => service_principal::run(command),
        Command::Policy { command } => return policy::run(command),
        Command::Principal { command } => principal::run(command),
        Command::Group { command } => principal::run_group(command),
        Command::Access { command } => access::run(command),
        Command::Adopt(arguments) => adopt::run(&arguments),
        Command::Shadow { command } => shadow::run(command),
        Command::Limits { command } => limits::run(command),
        Command::Keys { command } => keys::run(command),
        Command::Audit { command } => audit::run(command),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Import { command } => import::run(command),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Prints one line to stdout; a closed pipe is no error.
fn print_line(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
