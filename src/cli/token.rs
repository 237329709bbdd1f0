//! `tracegate token`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; its secret is printed once
    Create {
        /// Whose token: user:NAME or service_principal:NAME; yours if absent
        #[arg(long)]
        principal: Option<String>,
        /// What it is for
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// How long it is valid, in seconds; without end if absent
        #[arg(long)]
        ttl_seconds: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// List tokens, never their secrets
    List {
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token by its id
    Revoke {
        id: String,
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: TokenCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    match command {
        TokenCommand::Create { principal, name, ttl_seconds, json } => {
            let mut body = json!({ "name": name });
            if let Some(principal) = principal {
                body["principal"] = Value::String(principal);
            }
            if let Some(seconds) = ttl_seconds {
                body["ttl_seconds"] = seconds.into();
            }
            let answer = client.call(Method::POST, "tokens", &[], Some(&body))?;
            if json {
                print(&answer, true, "", &[]);
            } else {
                super::print_line(answer["token"].as_str().unwrap_or_default());
            }
        }
        TokenCommand::List { principal, json } => {
            let query: Vec<(&str, String)> = principal.into_iter().map(|p| ("principal", p)).collect();
            let answer = client.call(Method::GET, "tokens", &query, None)?;
            print(&answer, json, "tokens", &["id", "principal", "name", "expires_at_ms", "revoked_at_ms"]);
        }
        TokenCommand::Revoke { id, json } => {
            let answer = client.call(Method::DELETE, &format!("tokens/{id}"), &[], None)?;
            print(&answer, json, "", &[]);
        }
    }
    Ok(())
}
