//! Policy files of any text: read within bounds, every part once, and written anew they say the same.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::collections::HashSet;

use serde_json::{Value, json};

use super::export::fuzz::written;
use super::files::Files;
use super::yaml::{self, Kind, Node};
use crate::access::Effect;
use crate::policy::plan::{Document, WrittenGrant};

pub(crate) fn policy_yaml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(root) = yaml::parse(text)
    {
        bounded(&root, 0, text.lines().count() as u64 + 1);
    }
    let Ok(files) = Files::parse([("x", data)]) else { return };
    let document = &files.document;
    for (index, _) in document.grants.iter().enumerate() {
        let place = files.place(&format!("grants[{index}].allow[0]"));
        assert!(place.starts_with("x:"), "{place}");
    }
    let Some(lines) = lines(document) else { return };
    let text = written(&lines);
    let again = Files::parse([("x", text.as_bytes())]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.document.groups, document.groups, "{text}");
    let said = |document: &Document| -> Vec<String> {
        let mut said: Vec<String> =
            grants(document).map(|(on, effect, grant)| format!("{on} {effect:?} {grant:?}")).collect();
        said.sort();
        said
    };
    assert_eq!(said(&again.document), said(document), "{text}");
}

fn grants(document: &Document) -> impl Iterator<Item = (String, Effect, &WrittenGrant)> {
    document.grants.iter().flat_map(|on| {
        let allowed = on.allow.iter().map(|grant| (on.on.to_string(), Effect::Allow, grant));
        allowed.chain(on.deny.iter().map(|grant| (on.on.to_string(), Effect::Deny, grant)))
    })
}

/// The document as the server exports it; nothing if something has no written form there.
fn lines(document: &Document) -> Option<Vec<Value>> {
    let mut lines = vec![json!({ "policy_version": 7, "at_ms": 0 })];
    for group in &document.groups {
        let members: Vec<String> = group.members.iter().map(ToString::to_string).collect();
        lines.push(json!({ "group": group.group.to_string(), "members": members }));
    }
    for (on, effect, grant) in grants(document) {
        let reason = grant.reason.as_deref();
        lines.push(json!({
            "principal": grant.to.to_string(), "securable": on, "privilege": grant.privilege,
            "effect": if effect == Effect::Deny { "deny" } else { "allow" },
            "reason": reason, "expires_at_ms": grant.until.map(|until| until.0),
        }));
    }
    lines.push(json!({ "end": true, "complete": true }));
    Some(lines)
}

fn bounded(node: &Node, depth: usize, lines: u64) {
    assert!(depth <= 16 && (1..=lines).contains(&node.at.line), "{:?}", node.at);
    match &node.kind {
        Kind::List(nodes) => nodes.iter().for_each(|node| bounded(node, depth + 1, lines)),
        Kind::Map(entries) => {
            let mut keys = HashSet::new();
            for (key, value) in entries {
                let Kind::Text(name) = &key.kind else { panic!("a key that is {}", key.describe()) };
                assert!(keys.insert(name), "`{name}` is there twice");
                bounded(value, depth + 1, lines);
            }
        }
        Kind::Nothing | Kind::Text(_) | Kind::Other(_) => {}
    }
}
