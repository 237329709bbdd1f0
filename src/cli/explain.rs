//! `tracegate explain`: why one decision is as it is, and what would change it.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, print};
use super::print_line;

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// user:NAME or service_principal:NAME; you if absent
    #[arg(long)]
    principal: Option<String>,
    /// A privilege, such as trace.read or SELECT
    #[arg(long, required_unless_present = "decision")]
    privilege: Option<String>,
    /// TYPE:ID, such as experiment:1 or table:main.agents.spans
    #[arg(long, required_unless_present = "decision")]
    on: Option<String>,
    /// The decision of one call, by the X-Tracegate-Decision-Id that came with its answer
    #[arg(long, conflicts_with_all = ["principal", "privilege", "on"])]
    decision: Option<String>,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: ExplainArguments) -> anyhow::Result<()> {
    let client = Client::from_environment()?;
    let query: Vec<(&str, String)> = [
        ("principal", arguments.principal),
        ("privilege", arguments.privilege),
        ("on", arguments.on),
        ("decision", arguments.decision),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    let answer = client.call(Method::GET, "explain", &query, None)?;
    if arguments.json {
        print(&answer, true, "", &[]);
    } else {
        lines(&answer).iter().for_each(|line| print_line(line));
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An explanation for people: the verdict, how it came about, and what would help.
fn lines(answer: &Value) -> Vec<String> {
    let mut lines =
        vec![format!("{} (policy version {})", text(&answer["decision"]), answer["policy_version"])];
    for step in list(&answer["steps"]) {
        // A step that belongs to the one before is set in by two spaces.
        match text(step).strip_prefix("  ") {
            Some(inner) => lines.push(format!("      {inner}")),
            None => lines.push(format!("  - {}", text(step))),
        }
    }
    let mut section = |title: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            lines.push(format!("{title}:"));
            lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
        }
    };
    section("decided by", list(&answer["deciding_grants"]).iter().map(grant).collect());
    let row = |row: &Value| list(row).iter().map(text).collect::<Vec<_>>().join(", ");
    section("casbin is asked", list(&answer["casbin_requests"]).iter().map(row).collect());
    section("of these rules", list(&answer["casbin_rules"]).iter().map(row).collect());
    if let Some(remedy) = answer["remedy"].as_str() {
        lines.push(format!("what would help: {remedy}"));
    }
    let helpers: Vec<&str> = list(&answer["who_can_help"]).iter().map(text).collect();
    if !helpers.is_empty() {
        lines.push(format!("who can do that: {}", helpers.join(", ")));
    }
    lines
}

fn grant(grant: &Value) -> String {
    let reason = grant["reason"].as_str().map(|reason| format!(": {reason}"));
    format!(
        "grant {}: {} {} to {} on {}, by {}{}",
        grant["id"],
        text(&grant["effect"]),
        text(&grant["privilege"]),
        text(&grant["principal"]),
        text(&grant["securable"]),
        text(&grant["granted_by"]),
        reason.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_from_the_verdict_to_what_would_help() {
        let answer = json!({
            "decision": "deny",
            "policy_version": 12,
            "steps": ["`user:bob` acts as itself", "trace.read: denied", "  grant 3 denies it"],
            "deciding_grants": [{
                "id": 3, "effect": "deny", "privilege": "trace.read", "principal": "user:bob",
                "securable": "experiment:1", "granted_by": "user:ann", "reason": "incident 7",
            }],
            "casbin_requests": [["user:bob", "experiment:1", "trace.read"]],
            "casbin_rules": [["user:bob", "experiment:1", "trace.read", "deny", "3"]],
            "remedy": "remove the explicit deny (grant 3)",
            "who_can_help": ["user:ann", "group:admins"],
        });
        assert_eq!(
            lines(&answer).join("\n"),
            "\
deny (policy version 12)
  - `user:bob` acts as itself
  - trace.read: denied
      grant 3 denies it
decided by:
  grant 3: deny trace.read to user:bob on experiment:1, by user:ann: incident 7
casbin is asked:
  user:bob, experiment:1, trace.read
of these rules:
  user:bob, experiment:1, trace.read, deny, 3
what would help: remove the explicit deny (grant 3)
who can do that: user:ann, group:admins"
        );
    }

    #[test]
    fn an_answer_that_lacks_parts_is_still_shown() {
        let lines = lines(&json!({ "decision": "allow", "policy_version": 1, "steps": [] }));
        assert_eq!(lines, ["allow (policy version 1)"]);
    }
}
