//! `tracegate policy`: who may do what, by single calls and by files.

mod apply;
mod export;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod plan;
mod test;
pub(super) mod time;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::json;

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Everything in force and the latest changes
    Show {
        #[arg(long)]
        json: bool,
    },
    /// The grants on a securable or to a principal
    Grants {
        #[arg(long)]
        principal: Option<String>,
        /// experiment:ID, registered_model:NAME, folder:/PATH or workspace:default
        #[arg(long)]
        on: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Grant a level or a privilege; --deny makes it an explicit deny
    Grant {
        #[arg(long)]
        principal: String,
        /// A level (CAN_READ …), a privilege (trace.read …) or ALL
        #[arg(long)]
        privilege: String,
        #[arg(long)]
        on: String,
        #[arg(long)]
        deny: bool,
        #[arg(long)]
        reason: Option<String>,
        /// When it ends, in milliseconds since 1970
        #[arg(long)]
        expires_at_ms: Option<i64>,
        #[arg(long)]
        json: bool,
    },
    /// Give yourself access for minutes, in an emergency; it is recorded and told
    #[command(after_help = "Example:\n  tracegate policy break-glass --on experiment:2 --minutes 30 \
        --reason 'incident 4711: agent answers with customer data'")]
    BreakGlass {
        #[arg(long)]
        on: String,
        /// A level (CAN_READ …) or a privilege (trace.read …) that gives no right to grant
        #[arg(long, default_value = "CAN_READ")]
        privilege: String,
        #[arg(long)]
        minutes: u64,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        json: bool,
    },
    /// Withdraw a grant by its id
    Revoke {
        id: i64,
        #[arg(long)]
        json: bool,
    },
    /// Put a principal into a group
    AddMember {
        #[arg(long)]
        group: String,
        #[arg(long)]
        member: String,
        #[arg(long)]
        json: bool,
    },
    /// Take a principal out of a group
    RemoveMember {
        #[arg(long)]
        group: String,
        #[arg(long)]
        member: String,
        #[arg(long)]
        json: bool,
    },
    /// Make a principal known
    AddPrincipal {
        /// user:NAME, service_principal:NAME or group:NAME
        principal: String,
        #[arg(long)]
        json: bool,
    },
    /// Show what policy files would change, and who would gain or lose what by it
    #[command(after_help = "Example:\n  tracegate policy plan policy/ --exit-code")]
    Plan(plan::PlanArguments),
    /// Put policy files in force, all at once or not at all
    #[command(after_help = "Example:\n  tracegate policy apply policy/ --expect-version 41")]
    Apply(apply::ApplyArguments),
    /// Hold what policy files expect against the policy in force
    #[command(after_help = "Example:\n  tracegate policy test policy/ --planned")]
    Test(test::TestArguments),
    /// Write what is in force as a policy file, or for another casbin implementation
    #[command(after_help = "Example:\n  tracegate policy export --output policy.yaml\n  \
        tracegate policy export --casbin casbin/")]
    Export(export::ExportArguments),
}

#[derive(Debug, Args)]
struct FileArguments {
    /// Policy files, or directories that hold them as *.yaml and *.yml
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Plan(arguments) => plan::run(&arguments),
        PolicyCommand::Apply(arguments) => apply::run(&arguments),
        PolicyCommand::Test(arguments) => test::run(&arguments),
        PolicyCommand::Export(arguments) => export::run(&arguments).map(|()| ExitCode::SUCCESS),
        single => call(single).map(|()| ExitCode::SUCCESS),
    }
}

/// The commands that are one call each.
fn call(command: PolicyCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let member_path = |group: &str, member: &str| {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!("groups/{}/members/{}", encoded(group), encoded(member))
    };
    let (answer, json) = match command {
        PolicyCommand::Show { json } => (client.call(Method::GET, "policy", &[], None)?, json),
        PolicyCommand::Grants { principal, on, json } => {
            let query: Vec<(&str, String)> = [("principal", principal), ("securable", on)]
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect();
            let answer = client.call(Method::GET, "grants", &query, None)?;
            let columns =
                ["id", "principal", "securable", "privilege", "effect", "granted_by", "expires_at_ms"];
            print(&answer, json, "grants", &columns);
            return Ok(());
        }
        PolicyCommand::Grant { principal, privilege, on, deny, reason, expires_at_ms, json } => {
            let body = json!({
                "principal": principal, "securable": on, "privilege": privilege,
                "effect": if deny { "deny" } else { "allow" },
                "reason": reason, "expires_at_ms": expires_at_ms,
            });
            (client.call(Method::POST, "grants", &[], Some(&body))?, json)
        }
        PolicyCommand::BreakGlass { on, privilege, minutes, reason, json } => {
            let body =
                json!({ "securable": on, "privilege": privilege, "minutes": minutes, "reason": reason });
            (client.call(Method::POST, "break-glass", &[], Some(&body))?, json)
        }
        PolicyCommand::Revoke { id, json } => {
            (client.call(Method::DELETE, &format!("grants/{id}"), &[], None)?, json)
        }
        PolicyCommand::AddMember { group, member, json } => {
            (client.call(Method::PUT, &member_path(&group, &member), &[], None)?, json)
        }
        PolicyCommand::RemoveMember { group, member, json } => {
            (client.call(Method::DELETE, &member_path(&group, &member), &[], None)?, json)
        }
        PolicyCommand::AddPrincipal { principal, json } => {
            let body = json!({ "principal": principal });
            (client.call(Method::POST, "principals", &[], Some(&body))?, json)
        }
        PolicyCommand::Plan(_)
        | PolicyCommand::Apply(_)
        | PolicyCommand::Test(_)
        | PolicyCommand::Export(_) => return Ok(()),
    };
    print(&answer, json, "", &[]);
    Ok(())
}
