//! `tracegate principal` and `tracegate group`.

use clap::Subcommand;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum PrincipalCommand {
    /// List who is known
    List {
        #[arg(long)]
        json: bool,
    },
    /// Show one principal: its groups, and how many grants and tokens it has
    Show {
        principal: String,
        #[arg(long)]
        json: bool,
    },
    /// Make a user, service principal or group known; one that was deleted comes back with nothing
    Create {
        /// user:NAME, service_principal:NAME or group:NAME
        principal: String,
        /// What people call it
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        /// Its id in the directory that it comes from
        #[arg(long)]
        external_id: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Refuse a user or service principal everything from now on; its grants stay
    Deactivate {
        principal: String,
        #[arg(long)]
        json: bool,
    },
    /// Let a deactivated user or service principal in again
    Activate {
        principal: String,
        #[arg(long)]
        json: bool,
    },
    /// Delete a principal with its grants, memberships and tokens; its name stays in the record
    Delete {
        principal: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List who was put into which group
    List {
        #[arg(long)]
        json: bool,
    },
    /// Put a member into a group
    Add {
        group: String,
        member: String,
        #[arg(long)]
        json: bool,
    },
    /// Take a member out of a group
    Remove {
        group: String,
        member: String,
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: PrincipalCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let (answer, json) = match command {
        PrincipalCommand::List { json } => {
            let answer = client.call(Method::GET, "principals", &[], None)?;
            print(&answer, json, "principals", &["principal", "active", "created_at_ms"]);
            return Ok(());
        }
        PrincipalCommand::Show { principal, json } => {
            (client.call(Method::GET, &path(&principal), &[], None)?, json)
        }
        PrincipalCommand::Create { principal, display_name, email, external_id, json } => {
            let mut body = json!({ "principal": principal });
            for (key, value) in
                [("display_name", display_name), ("email", email), ("external_id", external_id)]
            {
                if let Some(value) = value {
                    body[key] = Value::String(value);
                }
            }
            (client.call(Method::POST, "principals", &[], Some(&body))?, json)
        }
        PrincipalCommand::Deactivate { principal, json } => (active(&client, &principal, false)?, json),
        PrincipalCommand::Activate { principal, json } => (active(&client, &principal, true)?, json),
        PrincipalCommand::Delete { principal, json } => {
            (client.call(Method::DELETE, &path(&principal), &[], None)?, json)
        }
    };
    print(&answer, json, "", &[]);
    Ok(())
}

pub(super) fn run_group(command: GroupCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let (answer, json) = match command {
        GroupCommand::List { json } => {
            let answer = client.call(Method::GET, "groups", &[], None)?;
            print(&answer, json, "memberships", &["group", "member"]);
            return Ok(());
        }
        GroupCommand::Add { group, member, json } => {
            (client.call(Method::PUT, &member_path(&group, &member), &[], None)?, json)
        }
        GroupCommand::Remove { group, member, json } => {
            (client.call(Method::DELETE, &member_path(&group, &member), &[], None)?, json)
        }
    };
    print(&answer, json, "", &[]);
    Ok(())
}

fn active(client: &Client, principal: &str, active: bool) -> anyhow::Result<Value> {
    let path = format!("{}/active", path(principal));
    client.call(Method::PUT, &path, &[], Some(&json!({ "active": active })))
}

fn path(principal: &str) -> String {
    format!("principals/{}", utf8_percent_encode(principal, NON_ALPHANUMERIC))
}

fn member_path(group: &str, member: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!("groups/{}/members/{}", encode(group), encode(member))
}
