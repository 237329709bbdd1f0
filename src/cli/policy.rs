//! `tracegate policy` and `tracegate explain`.

mod files;
mod time;
mod yaml;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

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
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// user:NAME or service_principal:NAME; you if absent
    #[arg(long)]
    principal: Option<String>,
    /// A privilege, such as trace.read
    #[arg(long)]
    privilege: String,
    /// TYPE:ID, such as experiment:1
    #[arg(long)]
    on: String,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: PolicyCommand) -> anyhow::Result<()> {
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
    };
    print(&answer, json, "", &[]);
    Ok(())
}

pub(super) fn explain(arguments: ExplainArguments) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let mut query = vec![("privilege", arguments.privilege), ("on", arguments.on)];
    query.extend(arguments.principal.map(|principal| ("principal", principal)));
    let answer = client.call(Method::GET, "explain", &query, None)?;
    if arguments.json {
        print(&answer, true, "", &[]);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    super::print_line(&format!(
        "{} (policy version {})",
        text(&answer["decision"]),
        answer["policy_version"]
    ));
    for step in answer["steps"].as_array().into_iter().flatten() {
        super::print_line(&format!("  - {}", text(step)));
    }
    if let Some(remedy) = answer["remedy"].as_str() {
        super::print_line(&format!("what would help: {remedy}"));
    }
    Ok(())
}
