//! `tracegate keys`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::audit_key;
use super::client::{Client, print};

/// What a gateway has keys for.
const PURPOSES: [&str; 5] = ["sealing", "token", "client-secret", "session", "session-tokens"];

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Show the keys, their state, and how much that is in force was made with each
    #[command(after_help = "Example:\n  tracegate keys list")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a new key, which takes over once every replica knows it
    #[command(after_help = "Example:\n  tracegate keys rotate token\n  tracegate keys rotate --all\n  \
        tracegate keys rotate sealing --overlap-seconds 30")]
    Rotate {
        /// sealing, token, client-secret, session or session-tokens
        #[arg(required_unless_present = "all", value_parser = PURPOSES)]
        purpose: Option<String>,
        /// One of each
        #[arg(long, conflicts_with = "purpose")]
        all: bool,
        /// How long the new key is known before it is used; as the gateway's configuration says if absent
        #[arg(long)]
        overlap_seconds: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// End a key: nothing that was made with it is good any more
    #[command(after_help = "Example:\n  tracegate keys retire token k1\n  \
        tracegate keys retire token k1 --force  # ends the tokens that were not used since the rotation")]
    Retire {
        #[arg(value_parser = PURPOSES)]
        purpose: String,
        /// As `keys list` shows it
        id: String,
        /// Even if tokens, client secrets or sessions depend on it: they end
        #[arg(long)]
        force: bool,
        #[arg(long)]
        json: bool,
    },
    /// On the host of a replica: a new key for its checkpoints, which the old one announces
    #[command(after_help = "Example:\n  tracegate keys rotate-checkpoint --config tracegate.toml")]
    RotateCheckpoint(audit_key::RotateKeyArguments),
}

const COLUMNS: [&str; 8] =
    ["purpose", "id", "state", "source", "in_use", "active_from_ms", "created_by", "retired_at_ms"];

pub(super) fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::List { json } => {
            let answer = Client::from_environment()?.call(Method::GET, "keys", &[], None)?;
            if let Some(problem) = answer["file_problem"].as_str() {
                eprintln!("the file of keys is refused, those it had before are in force: {problem}");
            }
            print(&answer, json, "keys", &COLUMNS);
        }
        KeysCommand::Rotate { purpose, overlap_seconds, json, .. } => {
            let client = Client::from_environment()?;
            let purposes: Vec<String> = match purpose {
                Some(purpose) => vec![purpose],
                None => PURPOSES.map(str::to_owned).into(),
            };
            let body = json!({ "overlap_seconds": overlap_seconds });
            let (mut keys, mut failed) = (Vec::new(), Vec::new());
            for purpose in purposes {
                match client.call(Method::POST, &format!("keys/{purpose}/rotate"), &[], Some(&body)) {
                    Ok(mut answer) => keys.push(answer["key"].take()),
                    Err(error) => failed.push(format!("{purpose}: {error}")),
                }
            }
            // Those that were made are made, whatever became of the others.
            print(&json!({ "keys": keys }), json, "keys", &COLUMNS);
            anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
        }
        KeysCommand::Retire { purpose, id, force, json } => {
            let body = json!({ "force": force });
            let path = format!("keys/{purpose}/{}/retire", segment(&id));
            let answer = Client::from_environment()?.call(Method::POST, &path, &[], Some(&body))?;
            if json {
                print(&answer, true, "", &[]);
            } else {
                print(&json!({ "keys": [answer["key"]] }), false, "keys", &COLUMNS);
                super::print_line(&format!("ended with it: {}", answer["ended"]));
            }
        }
        KeysCommand::RotateCheckpoint(arguments) => audit_key::run(arguments)?,
    }
    Ok(())
}

/// An id as one segment of a path.
fn segment(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}
