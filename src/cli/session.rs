//! `tracegate session`.

use clap::Subcommand;
use reqwest::Method;

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the browser sessions that have not ended
    List {
        /// Whose: user:NAME; yours if absent
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// End a session by its id, or all of one person
    End {
        #[arg(required_unless_present = "principal", conflicts_with = "principal")]
        id: Option<String>,
        /// End every session of this one: user:NAME
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: SessionCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let query = |principal: Option<String>| -> Vec<(&str, String)> {
        principal.into_iter().map(|principal| ("principal", principal)).collect()
    };
    match command {
        SessionCommand::List { principal, json } => {
            let answer = client.call(Method::GET, "sessions", &query(principal), None)?;
            let columns = ["id", "principal", "issuer", "source_address", "last_used_at_ms", "expires_at_ms"];
            print(&answer, json, "sessions", &columns);
        }
        SessionCommand::End { id, principal, json } => {
            let path = id.map_or_else(|| "sessions".to_owned(), |id| format!("sessions/{id}"));
            let answer = client.call(Method::DELETE, &path, &query(principal), None)?;
            print(&answer, json, "", &[]);
        }
    }
    Ok(())
}
