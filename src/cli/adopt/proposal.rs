//! What is proposed: whoever wrote most of an experiment, or whose folder it is in, manages it, and whoever else
//! wrote there may go on. Clients say themselves who they are, so it is a proposal and no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::walk::Experiment;
use crate::access::Principal;
use crate::cli::client::Client;
use crate::cli::policy::time;
use crate::clock::UnixMillis;

/// Reads `NAME=user:NAME`, or `NAME=` for nobody.
pub(super) fn name(text: &str) -> Result<(String, Option<String>), String> {
    let (name, principal) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("`{text}` is not of the form NAME=user:NAME, or NAME= for nobody"))?;
    if principal.is_empty() {
        return Ok((name.to_owned(), None));
    }
    let principal: Principal = principal.parse().map_err(|error| format!("`{text}`: {error}"))?;
    Ok((name.to_owned(), Some(principal.to_string())))
}

/// Whom the names stand for that clients sent.
pub(super) struct Names {
    /// Users that Tracegate knows.
    pub known: BTreeSet<String>,
    pub mapped: HashMap<String, Option<String>>,
    pub unknown: bool,
}

enum Stands {
    For(String),
    ForNobody,
    Unknown,
}

impl Names {
    fn of(&self, name: &str) -> Stands {
        if let Some(mapped) = self.mapped.get(name) {
            return mapped.clone().map_or(Stands::ForNobody, Stands::For);
        }
        let Ok(user) = Principal::user(name) else { return Stands::Unknown };
        match user.is_reserved() {
            false if self.unknown || self.known.contains(&user.to_string()) => Stands::For(user.to_string()),
            _ => Stands::Unknown,
        }
    }
}

/// A grant, as policy files write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Grant {
    pub on: String,
    pub to: String,
    pub privilege: String,
    pub deny: bool,
    /// Milliseconds since 1970.
    pub until_ms: Option<i64>,
    pub reason: Option<String>,
    /// Whether it is there already.
    pub stands: bool,
}

#[derive(Debug, Default)]
pub(super) struct Proposed {
    pub grants: Vec<Grant>,
    names: BTreeMap<String, String>,
    /// Names that stand for nobody known, and how much they wrote.
    pub unknown_names: BTreeMap<String, u64>,
}

pub(super) fn propose(experiments: &[Experiment], names: &Names, standing: &[Grant]) -> Proposed {
    let mut proposed = Proposed::default();
    for experiment in experiments {
        let on = format!("experiment:{}", experiment.id);
        let mut wrote: BTreeMap<String, u64> = BTreeMap::new();
        for (name, count) in &experiment.writers {
            match names.of(name) {
                Stands::For(principal) => *wrote.entry(principal).or_default() += count,
                Stands::Unknown => *proposed.unknown_names.entry(name.clone()).or_default() += count,
                Stands::ForNobody => {}
            }
        }
        let owner = experiment.name.strip_prefix("/Users/").and_then(|rest| rest.split('/').next());
        let owner = owner.and_then(|name| match names.of(name) {
            Stands::For(principal) => Some(principal),
            _ => None,
        });
        // Whoever wrote as much as another comes after him by name, so that it is always the same one.
        let most = wrote.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse((*name).clone())));
        let manager = owner.or_else(|| most.map(|(name, _)| name.clone()));
        let mut grants: Vec<Grant> = standing.iter().filter(|grant| grant.on == on).cloned().collect();
        let levels = manager.iter().map(|principal| (principal, "CAN_MANAGE")).chain(
            wrote.keys().filter(|name| Some(*name) != manager.as_ref()).map(|name| (name, "CAN_EDIT")),
        );
        for (principal, level) in levels {
            // Whoever has anything there was thought of already.
            if grants.iter().any(|grant| grant.to == *principal) {
                continue;
            }
            let count = wrote.get(principal).copied().unwrap_or_default();
            grants.push(Grant {
                on: on.clone(),
                to: principal.clone(),
                privilege: level.to_owned(),
                deny: false,
                until_ms: None,
                reason: Some(format!("adopted: wrote {count} runs and traces")),
                stands: false,
            });
        }
        if grants.iter().any(|grant| !grant.stands) {
            proposed.names.insert(on, experiment.name.clone());
            proposed.grants.extend(grants);
        }
    }
    proposed
}

impl Proposed {
    pub fn describe(&self) -> Vec<String> {
        let new = self.grants.iter().filter(|grant| !grant.stands);
        let mut lines = vec![format!("{} grants are proposed:", new.clone().count())];
        for grant in new {
            let name = self.names.get(&grant.on).map_or("", String::as_str);
            lines.push(format!("  {} to {} on {} ({name})", grant.privilege, grant.to, grant.on));
        }
        if !self.unknown_names.is_empty() {
            lines.push("names that stand for nobody known (--name NAME=user:NAME says whom):".to_owned());
            let told = |(name, count): (&String, &u64)| format!("  {name}: {count} runs and traces");
            lines.extend(self.unknown_names.iter().map(told));
        }
        lines
    }
}

/// As a policy file, which is complete for what it names: grants that stand are in it too.
pub(super) fn yaml(proposed: &Proposed) -> String {
    let mut text =
        String::from("# Proposed by `tracegate adopt`: clients said themselves who they were.\nversion: 1\n");
    for (name, count) in &proposed.unknown_names {
        // As JSON, so that no name gets out of its comment.
        let _ = writeln!(text, "# not proposed: {} ({count} runs and traces)", json!(name));
    }
    if proposed.grants.is_empty() {
        return text;
    }
    text.push_str("grants:\n");
    for (on, name) in &proposed.names {
        let _ = writeln!(text, "  - on: {}   # {}", json!(on), json!(name));
        for deny in [false, true] {
            let mut grants =
                proposed.grants.iter().filter(|grant| grant.on == *on && grant.deny == deny).peekable();
            if grants.peek().is_some() {
                text.push_str(if deny { "    deny:\n" } else { "    allow:\n" });
            }
            for grant in grants {
                let _ =
                    write!(text, "      - {{to: {}, privilege: {}", json!(grant.to), json!(grant.privilege));
                if let Some(until) = grant.until_ms.and_then(|until| time::write(UnixMillis(until))) {
                    let _ = write!(text, ", until: {until}");
                }
                if let Some(reason) = &grant.reason {
                    let _ = write!(text, ", reason: {}", json!(reason));
                }
                text.push_str("}\n");
            }
        }
    }
    text
}

/// The users and service principals that Tracegate knows.
pub(super) async fn known(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let answer = client.call_async(Method::GET, "/api/tracegate/v1/principals", &[], None).await?;
    let all = answer["principals"].as_array().into_iter().flatten();
    Ok(all.filter_map(|one| one["principal"].as_str()).map(str::to_owned).collect())
}

/// The grants in force on experiments.
pub(super) async fn standing(client: &Client) -> anyhow::Result<Vec<Grant>> {
    let answer = client.call_async(Method::GET, "/api/tracegate/v1/policy", &[], None).await?;
    let text = |grant: &Value, field: &str| grant[field].as_str().unwrap_or_default().to_owned();
    let shadow = Principal::shadow().to_string();
    Ok(answer["grants"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|grant| grant["principal"] != json!(shadow))
        .map(|grant| Grant {
            on: text(grant, "securable"),
            to: text(grant, "principal"),
            privilege: text(grant, "privilege"),
            deny: grant["effect"] == "deny",
            until_ms: grant["expires_at_ms"].as_i64(),
            reason: grant["reason"].as_str().map(str::to_owned),
            stands: true,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(unknown: bool) -> Names {
        Names {
            known: ["user:ann", "user:bob"].map(str::to_owned).into(),
            mapped: HashMap::from([
                ("root".to_owned(), None),
                ("jdoe".to_owned(), Some("user:jdoe@example.com".to_owned())),
            ]),
            unknown,
        }
    }

    fn told(proposed: &Proposed) -> Vec<(&str, &str, &str)> {
        let new = proposed.grants.iter().filter(|grant| !grant.stands);
        new.map(|grant| (grant.on.as_str(), grant.to.as_str(), grant.privilege.as_str())).collect()
    }

    #[test]
    fn whoever_wrote_most_manages_and_strangers_get_nothing() {
        let experiments = [
            Experiment::written_by("1", "bot", &[("ann", 3), ("bob", 9), ("eve", 50), ("root", 99)]),
            Experiment::written_by("2", "/Users/ann/x", &[("jdoe", 7)]),
            Experiment::written_by("3", "empty", &[]),
        ];
        let proposed = propose(&experiments, &names(false), &[]);
        assert_eq!(
            told(&proposed),
            [
                ("experiment:1", "user:bob", "CAN_MANAGE"),
                ("experiment:1", "user:ann", "CAN_EDIT"),
                ("experiment:2", "user:ann", "CAN_MANAGE"),
                ("experiment:2", "user:jdoe@example.com", "CAN_EDIT"),
            ]
        );
        assert_eq!(proposed.unknown_names, BTreeMap::from([("eve".to_owned(), 50)]));
        let proposed = propose(&experiments, &names(true), &[]);
        assert_eq!(told(&proposed)[0], ("experiment:1", "user:eve", "CAN_MANAGE"));
    }

    #[test]
    fn what_stands_stays_and_is_in_the_file() {
        let standing = Grant {
            on: "experiment:1".into(),
            to: "user:bob".into(),
            privilege: "trace.read".into(),
            deny: true,
            until_ms: None,
            reason: Some("incident: \"7\"".into()),
            stands: true,
        };
        let experiments =
            [Experiment::written_by("1", "bot\n- on: workspace:default", &[("ann", 1), ("bob", 9)])];
        let proposed = propose(&experiments, &names(false), &[standing]);
        assert_eq!(told(&proposed), [("experiment:1", "user:ann", "CAN_EDIT")]);
        let text = yaml(&proposed);
        assert!(
            text.contains(r#"- {to: "user:bob", privilege: "trace.read", reason: "incident: \"7\""}"#),
            "{text}"
        );
        assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("- on:")).count(), 1, "{text}");
    }

    #[test]
    fn names_are_mapped_by_their_last_equals_sign() {
        assert_eq!(name("a=b=user:ann").unwrap(), ("a=b".to_owned(), Some("user:ann".to_owned())));
        assert_eq!(name("ci=").unwrap(), ("ci".to_owned(), None));
        assert!(name("ann").is_err() && name("ann=ann").is_err());
    }
}
