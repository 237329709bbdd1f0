//! `tracegate access`: ask for access, decide on requests, review what was granted.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, print};

#[derive(Debug, Subcommand)]
pub(super) enum AccessCommand {
    /// Ask for access for yourself; whoever manages the thing decides
    #[command(after_help = "Example:\n  tracegate access request --on experiment:12 --privilege CAN_READ \
        --reason 'triage of incident 4711' --minutes 480")]
    Request {
        /// experiment:ID, registered_model:NAME, folder:/PATH …; you need not be able to see it
        #[arg(long)]
        on: String,
        /// A level (CAN_READ …) or a privilege (trace.read …)
        #[arg(long, default_value = "CAN_READ")]
        privilege: String,
        /// Why, in 10 characters or more
        #[arg(long)]
        reason: String,
        /// For how long, from the approval on; without an end if absent
        #[arg(long)]
        minutes: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// List requests: yours, and those on what you manage
    #[command(after_help = "Example:\n  tracegate access list --state pending --on experiment:12")]
    List {
        #[arg(long, value_enum)]
        state: Option<State>,
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        on: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Approve a request of somebody else
    #[command(
        after_help = "Example:\n  tracegate access approve 0190a3b2-… --minutes 60 --reason 'on call this week'"
    )]
    Approve {
        id: String,
        /// For how long from now, instead of what was asked
        #[arg(long, conflicts_with = "without_end")]
        minutes: Option<u64>,
        /// Grant it without an end
        #[arg(long)]
        without_end: bool,
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Refuse a request, saying why
    #[command(
        after_help = "Example:\n  tracegate access refuse 0190a3b2-… --reason 'ask for experiment:14, it is masked'"
    )]
    Refuse {
        id: String,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        json: bool,
    },
    /// Withdraw a request of yours
    #[command(after_help = "Example:\n  tracegate access withdraw 0190a3b2-…")]
    Withdraw {
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Show who has what and when it was last used; or keep or revoke a grant, saying why
    #[command(
        after_help = "Example:\n  tracegate access review --on experiment:12 --unused-since-days 90\n  \
        tracegate access review --revoke 41 --reason 'left the team'\n  \
        tracegate access review --keep 42 --reason 'still on call'"
    )]
    Review {
        /// Who reaches this securable
        #[arg(long, conflicts_with = "principal")]
        on: Option<String>,
        /// What this principal reaches
        #[arg(long)]
        principal: Option<String>,
        /// Only grants that decided no call for so many days
        #[arg(long)]
        unused_since_days: Option<u32>,
        /// The grant of this id is right
        #[arg(long, conflicts_with_all = ["on", "principal", "revoke"], requires = "reason")]
        keep: Option<i64>,
        /// Take the grant of this id away
        #[arg(long, conflicts_with_all = ["on", "principal"], requires = "reason")]
        revoke: Option<i64>,
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum State {
    Pending,
    Approved,
    Refused,
    Withdrawn,
    Expired,
}

const REQUESTS: [&str; 8] =
    ["id", "state", "principal", "securable", "privilege", "asked_at_ms", "decided_by", "reason"];
const ACCESS: [&str; 10] = [
    "grant_id",
    "principal",
    "via",
    "securable",
    "privilege",
    "effect",
    "granted_by",
    "expires_at_ms",
    "last_used_ms",
    "reason",
];

pub(super) fn run(command: AccessCommand) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    match command {
        AccessCommand::Request { on, privilege, reason, minutes, json } => {
            let body = json!({
                "securable": on, "privilege": privilege, "reason": reason, "minutes": minutes,
            });
            let answer = client.call(Method::POST, "access-requests", &[], Some(&body))?;
            print_one(&answer, json);
        }
        AccessCommand::List { state, principal, on, json } => {
            let state = state.and_then(|state| Some(state.to_possible_value()?.get_name().to_owned()));
            let query = given([("state", state), ("principal", principal), ("securable", on)]);
            print(&all(&client, "access-requests", "requests", query)?, json, "requests", &REQUESTS);
        }
        AccessCommand::Approve { id, minutes, without_end, reason, json } => {
            let body = json!({ "minutes": minutes, "without_end": without_end, "reason": reason });
            print_one(&client.call(Method::POST, &path(&id, "/approve"), &[], Some(&body))?, json);
        }
        AccessCommand::Refuse { id, reason, json } => {
            let body = json!({ "reason": reason });
            print_one(&client.call(Method::POST, &path(&id, "/refuse"), &[], Some(&body))?, json);
        }
        AccessCommand::Withdraw { id, json } => {
            print_one(&client.call(Method::DELETE, &path(&id, ""), &[], None)?, json);
        }
        AccessCommand::Review { on, principal, unused_since_days, keep, revoke, reason, json } => {
            let decision = keep.map(|id| (id, "keep")).or(revoke.map(|id| (id, "revoke")));
            if let Some((id, decision)) = decision {
                let body = json!({ "grant_id": id, "decision": decision, "reason": reason });
                let answer = client.call(Method::POST, "access-reviews", &[], Some(&body))?;
                print(&answer, json, "", &[]);
                return Ok(());
            }
            let days = unused_since_days.map(|days| days.to_string());
            let query = given([("on", on), ("principal", principal), ("unused_since_days", days)]);
            print(&all(&client, "access-reviews", "access", query)?, json, "access", &ACCESS);
        }
    }
    Ok(())
}

fn path(id: &str, end: &str) -> String {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    format!("access-requests/{id}{end}")
}

pub(super) fn given<const N: usize>(
    pairs: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// All pages of a list as one answer.
fn all(client: &Client, path: &str, list: &str, query: Vec<(&'static str, String)>) -> anyhow::Result<Value> {
    let entries = super::audit_questions::all(client, path, list, &query, None)?;
    let mut answer = serde_json::Map::new();
    answer.insert(list.to_owned(), Value::Array(entries));
    Ok(Value::Object(answer))
}

/// A request as the one line of a list.
fn print_one(answer: &Value, json: bool) {
    if json {
        print(answer, true, "", &[]);
    } else {
        print(&json!({ "requests": [answer["request"]] }), false, "requests", &REQUESTS);
    }
}
