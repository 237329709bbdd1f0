//! `tracegate service-principal`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, json};

use super::client::{Client, print};
use super::token::seconds;
use crate::access::Scope;

#[derive(Debug, Subcommand)]
pub(super) enum ServicePrincipalCommand {
    /// The secrets with which it gets access tokens
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Make a secret; it is printed once
    Create {
        /// The service principal's name, which is its client id
        name: String,
        /// How long it is valid, in seconds; 730 days, or as long as the server allows, if absent
        #[arg(long)]
        ttl_seconds: Option<u64>,
        /// The same in days
        #[arg(long, conflicts_with = "ttl_seconds")]
        ttl_days: Option<u64>,
        /// What tokens got for it are for, as PRIVILEGE@SECURABLE (repeatable)
        #[arg(long)]
        scope: Vec<Scope>,
        #[arg(long)]
        json: bool,
    },
    /// List secrets, never themselves
    List {
        name: String,
        #[arg(long)]
        json: bool,
    },
    /// Revoke a secret by its id, and every token that was got for it
    Revoke {
        name: String,
        id: String,
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: ServicePrincipalCommand) -> anyhow::Result<()> {
    let ServicePrincipalCommand::Secret { command } = command;
    let client = Client::from_environment()?;
    match command {
        SecretCommand::Create { name, ttl_seconds, ttl_days, scope, json } => {
            let mut body = Map::new();
            if let Some(seconds) = seconds(ttl_seconds, ttl_days) {
                body.insert("ttl_seconds".to_owned(), seconds.into());
            }
            if !scope.is_empty() {
                body.insert("scopes".to_owned(), json!(scope));
            }
            let answer = client.call(Method::POST, &secrets_of(&name), &[], Some(&body.into()))?;
            if json {
                print(&answer, true, "", &[]);
            } else {
                super::print_line(answer["client_secret"].as_str().unwrap_or_default());
            }
        }
        SecretCommand::List { name, json } => {
            let answer = client.call(Method::GET, &secrets_of(&name), &[], None)?;
            let columns = ["id", "created_by", "expires_at_ms", "last_used_at_ms", "revoked_at_ms"];
            print(&answer, json, "secrets", &columns);
        }
        SecretCommand::Revoke { name, id, json } => {
            let path = format!("{}/{}", secrets_of(&name), encoded(&id));
            print(&client.call(Method::DELETE, &path, &[], None)?, json, "", &[]);
        }
    }
    Ok(())
}

fn secrets_of(name: &str) -> String {
    format!("service-principals/{}/secrets", encoded(&format!("service_principal:{name}")))
}

/// A text as one segment of a path.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
