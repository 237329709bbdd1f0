//! `tracegate audit review`: a pack for a review of access, tables as CSV and a summary in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::audit_questions::all;
use super::client::Client;
use super::times;

#[derive(Debug, Args)]
pub(super) struct ReviewArguments {
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970
    #[arg(long, value_parser = times::parse)]
    from: i64,
    /// Before this time
    #[arg(long, value_parser = times::parse)]
    to: i64,
    /// A directory to make, or an empty one
    #[arg(long)]
    output: PathBuf,
}

struct Table {
    name: &'static str,
    /// What the summary says of it.
    about: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

pub(super) fn run(arguments: ReviewArguments) -> anyhow::Result<()> {
    let directory = &arguments.output;
    std::fs::create_dir_all(directory)?;
    if std::fs::read_dir(directory)?.next().is_some() {
        anyhow::bail!("`{}` is not empty", directory.display());
    }
    let client = Client::from_environment()?;
    let period = vec![("since", arguments.from.to_string()), ("until", arguments.to.to_string())];
    let review = client.call(Method::GET, "audit/review", &period, None)?;
    let of = |more: &[(&'static str, &str)]| -> anyhow::Result<Vec<Value>> {
        let mut query = period.clone();
        query.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        all(&client, "audit/events", "events", &query, None)
    };
    let denials = of(&[("decision", "deny")])?;
    let changes = of(&[("kind", "policy_change")])?;
    let addresses = all(&client, "audit/addresses", "addresses", &period[..1], None)?;
    let tables = tables(&review, &denials, &changes, &addresses, arguments.to);
    for table in &tables {
        write_csv(&directory.join(format!("{}.csv", table.name)), table)?;
    }
    std::fs::write(directory.join("review.md"), summary(&review, &tables))?;
    super::print_line(&format!("{} tables and review.md are in `{}`", tables.len(), directory.display()));
    Ok(())
}

fn tables(
    review: &Value,
    denials: &[Value],
    changes: &[Value],
    addresses: &[Value],
    until: i64,
) -> Vec<Table> {
    let since = review["since_ms"].as_i64().unwrap_or_default();
    let grants: Vec<&Value> = review["grants"].as_array().into_iter().flatten().collect();
    const GRANT: [&str; 12] = [
        "id",
        "principal",
        "securable",
        "privilege",
        "effect",
        "granted_by",
        "granted_at_ms",
        "reason",
        "expires_at_ms",
        "uses",
        "first_used_ms",
        "last_used_ms",
    ];
    let unused: Vec<&Value> = grants
        .iter()
        .copied()
        .filter(|grant| grant["last_used_ms"].as_i64().is_none_or(|last| last < since))
        .collect();
    let in_period = |entry: &&Value| entry["first_ms"].as_i64().is_some_and(|first| first < until);
    let addresses: Vec<&Value> = addresses.iter().filter(in_period).collect();
    let calls: Vec<&Value> = review["calls"].as_array().into_iter().flatten().collect();
    vec![
        Table {
            name: "grants",
            about: "every grant now: who gave it, when, why and until when, and when it last decided a call",
            columns: &GRANT,
            rows: rows(&grants, &GRANT),
        },
        Table {
            name: "access",
            about: "the same by person, through groups; `group:users` is everybody",
            columns: &[
                "person",
                "through",
                "securable",
                "privilege",
                "effect",
                "grant",
                "granted_by",
                "reason",
                "expires_at_ms",
                "last_used_ms",
            ],
            rows: access(review, &grants),
        },
        Table {
            name: "unused_grants",
            about: "grants that decided no call in the period or after it",
            columns: &GRANT,
            rows: rows(&unused, &GRANT),
        },
        Table {
            name: "denials",
            about: "what was refused in the period, and why",
            columns: &[
                "time_ms",
                "principal",
                "operation",
                "status",
                "securables",
                "reason",
                "claimed",
                "repeated",
            ],
            rows: rows(
                &denials.iter().collect::<Vec<_>>(),
                &[
                    "time_ms",
                    "principal",
                    "operation",
                    "status",
                    "securables",
                    "reason",
                    "claimed",
                    "repeated",
                ],
            ),
        },
        Table {
            name: "policy_changes",
            about: "who changed what in the period, before and after",
            columns: &["time_ms", "principal", "policy_version", "action", "before", "after"],
            rows: changes
                .iter()
                .map(|change| {
                    let policy = &change["policy_change"];
                    [
                        &change["time_ms"],
                        &change["principal"],
                        &change["policy_version"],
                        &policy["action"],
                        &policy["before"],
                        &policy["after"],
                    ]
                    .map(cell)
                    .to_vec()
                })
                .collect(),
        },
        Table {
            name: "usage",
            about: "who did what how often, on the UTC days that the period touches",
            columns: &["principal", "securable", "operation", "decision", "calls"],
            rows: rows(&calls, &["principal", "securable", "operation", "decision", "calls"]),
        },
        Table {
            name: "new_addresses",
            about: "principals that were first seen at an address in the period",
            columns: &["first_ms", "principal", "address", "known_elsewhere"],
            rows: rows(&addresses, &["first_ms", "principal", "address", "known_elsewhere"]),
        },
    ]
}

fn rows(entries: &[&Value], columns: &[&str]) -> Vec<Vec<String>> {
    entries.iter().map(|entry| columns.iter().map(|column| cell(&entry[*column])).collect()).collect()
}

/// Each grant for each person whom it reaches. A group in a group reaches those in it.
fn access(review: &Value, grants: &[&Value]) -> Vec<Vec<String>> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for membership in review["memberships"].as_array().into_iter().flatten() {
        if let (Some(group), Some(member)) = (membership["group"].as_str(), membership["member"].as_str()) {
            members.entry(group).or_default().insert(member);
        }
    }
    let mut rows = Vec::new();
    let mut put = |person: &str, through: &str, grant: &Value| {
        let mut row = vec![person.to_owned(), through.to_owned()];
        row.extend(
            [
                "securable",
                "privilege",
                "effect",
                "id",
                "granted_by",
                "reason",
                "expires_at_ms",
                "last_used_ms",
            ]
            .map(|column| cell(&grant[column])),
        );
        rows.push(row);
    };
    for grant in grants {
        let Some(principal) = grant["principal"].as_str() else { continue };
        if !principal.starts_with("group:") || principal == "group:users" {
            put(principal, "", grant);
            continue;
        }
        for person in people_of(&members, principal) {
            put(person, principal, grant);
        }
    }
    rows.sort();
    rows
}

fn people_of<'m>(members: &BTreeMap<&'m str, BTreeSet<&'m str>>, group: &str) -> BTreeSet<&'m str> {
    let (mut people, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<&str> = members.get(group).into_iter().flatten().copied().collect();
    while let Some(member) = open.pop() {
        if !seen.insert(member) {
            continue;
        }
        if member.starts_with("group:") {
            open.extend(members.get(member).into_iter().flatten());
        }
        people.insert(member);
    }
    people.retain(|member| !member.starts_with("group:"));
    people
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn write_csv(path: &Path, table: &Table) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(table.columns)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(|text| harmless(text)))?;
    }
    writer.flush()?;
    Ok(())
}

/// A spreadsheet takes these for the start of a formula, and callers choose what stands in a cell.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn summary(review: &Value, tables: &[Table]) -> String {
    let mut text = format!(
        "# Review of access\n\nFrom {} up to {} (milliseconds since 1970), at policy version {}.\n",
        review["since_ms"], review["until_ms"], review["policy_version"]
    );
    if review["complete"] != Value::Bool(true) {
        text.push_str("\nThe latest records were still on their way into the index.\n");
    }
    text.push_str("\n| table | rows | what it says |\n|---|---|---|\n");
    for table in tables {
        text.push_str(&format!(
            "| [{0}.csv]({0}.csv) | {1} | {2} |\n",
            table.name,
            table.rows.len(),
            table.about
        ));
    }
    for (name, title) in [
        ("access", "Who has access to what"),
        ("unused_grants", "Grants that nobody used"),
        ("policy_changes", "Changes of policy"),
        ("denials", "Refusals"),
        ("usage", "Who did what"),
    ] {
        const MOST: usize = 50;
        let Some(table) = tables.iter().find(|table| table.name == name) else { continue };
        text.push_str(&format!("\n## {title}\n\n"));
        if table.rows.is_empty() {
            text.push_str("None.\n");
            continue;
        }
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(table.columns.iter().map(|column| (*column).to_owned()).collect()));
        text.push_str(&line(vec!["---".to_owned(); table.columns.len()]));
        for row in table.rows.iter().take(MOST) {
            let escaped = |text: &String| {
                text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
            };
            text.push_str(&line(row.iter().map(escaped).collect()));
        }
        if table.rows.len() > MOST {
            text.push_str(&format!("\n… and {} more in {name}.csv.\n", table.rows.len() - MOST));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_taken_apart_even_in_a_ring() {
        let review = json!({
            "memberships": [
                {"group": "group:a", "member": "group:b"}, {"group": "group:b", "member": "group:a"},
                {"group": "group:b", "member": "user:ben"}, {"group": "group:a", "member": "user:ann"},
            ],
            "grants": [{"id": 1, "principal": "group:a", "securable": "experiment:1", "privilege": "CAN_READ", "effect": "allow"}],
        });
        let grants: Vec<&Value> = review["grants"].as_array().unwrap().iter().collect();
        let people: Vec<String> = access(&review, &grants).into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(people, ["user:ann", "user:ben"]);
    }

    #[test]
    fn no_cell_is_a_formula_and_no_text_breaks_the_table() {
        for formula in ["=1+1", "+1", "-1", "@x", "\t=1"] {
            assert!(harmless(formula).starts_with('\''), "{formula}");
        }
        assert_eq!(harmless("user:ann"), "user:ann");
        let table = Table {
            name: "denials",
            about: "",
            columns: &["reason"],
            rows: vec![vec!["a|b\n| <img src=x>".to_owned()]],
        };
        let text = summary(&json!({"complete": true}), &[table]);
        assert!(text.contains("| a\\|b \\| &lt;img src=x> |\n"), "{text}");
    }
}
