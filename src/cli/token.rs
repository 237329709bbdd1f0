//! `tracegate token`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, print};
use crate::access::Scope;

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
        /// How long it is valid, in seconds; without end, or as long as the server allows, if absent
        #[arg(long)]
        ttl_seconds: Option<u64>,
        /// The same in days
        #[arg(long, conflicts_with = "ttl_seconds")]
        ttl_days: Option<u64>,
        /// What it is for, as PRIVILEGE@SECURABLE (repeatable); for all that its owner may do if absent
        #[arg(long)]
        scope: Vec<Scope>,
        #[arg(long)]
        json: bool,
    },
    /// List tokens, never their secrets
    List {
        #[arg(long)]
        principal: Option<String>,
        /// Access tokens of the token endpoint instead of those that people made
        #[arg(long)]
        oauth: bool,
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
        TokenCommand::Create { principal, name, ttl_seconds, ttl_days, scope, json } => {
            let mut body = json!({ "name": name });
            if let Some(principal) = principal {
                body["principal"] = Value::String(principal);
            }
            if let Some(seconds) = seconds(ttl_seconds, ttl_days) {
                body["ttl_seconds"] = seconds.into();
            }
            if !scope.is_empty() {
                body["scopes"] = json!(scope);
            }
            let answer = client.call(Method::POST, "tokens", &[], Some(&body))?;
            if json {
                print(&answer, true, "", &[]);
            } else {
                super::print_line(answer["token"].as_str().unwrap_or_default());
            }
        }
        TokenCommand::List { principal, oauth, json } => {
            let mut query: Vec<(&str, String)> = principal.into_iter().map(|p| ("principal", p)).collect();
            if oauth {
                query.push(("kind", "oauth".to_owned()));
            }
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

/// A lifetime in seconds, given in one way or the other.
pub(super) fn seconds(seconds: Option<u64>, days: Option<u64>) -> Option<u64> {
    seconds.or(days.map(|days| days.saturating_mul(86_400)))
}
