//! What policy files say, as data: complete lists of members and of grants, and what must come out of them.
//!
//! ```
//! use tracegate::policy::plan::Document;
//!
//! let document: Document = serde_json::from_str(
//!     r#"{"grants": [{"on": "experiment:1", "allow": [{"to": "user:bob", "privilege": "CAN_FLY"}]}]}"#,
//! ).unwrap();
//! let problem = &document.problems()[0];
//! assert_eq!(problem.place, "grants[0].allow[0]");
//! assert!(problem.reason.contains("`CAN_FLY`"));
//! ```

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::access::{Effect, Given, Principal, PrincipalKind, Privilege, Securable};
use crate::clock::UnixMillis;

/// Characters in a grant's reason.
const REASON_CHARACTERS: usize = 1000;

/// What becomes of what the document does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// It stays as it is.
    #[default]
    Listed,
    /// It is removed: the document is the whole policy.
    All,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[serde(default)]
    pub scope: Scope,
    #[serde(default)]
    pub groups: Vec<GroupMembers>,
    #[serde(default)]
    pub grants: Vec<SecurableGrants>,
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// Everybody who is put into a group directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupMembers {
    pub group: Principal,
    pub members: Vec<Principal>,
}

/// Every grant on a securable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurableGrants {
    pub on: Securable,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<WrittenGrant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<WrittenGrant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenGrant {
    pub to: Principal,
    pub privilege: String,
    #[serde(default, rename = "until_ms", skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What must be so: a test of the policy, not a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    pub principal: Principal,
    pub on: Securable,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may: Vec<Privilege>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_not: Vec<Privilege>,
}

/// What is wrong with a document, and where: `grants[2].deny[0]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Problem {
    pub place: String,
    pub reason: String,
    /// The other place, where two contradict each other.
    pub other: Option<String>,
}

impl SecurableGrants {
    /// Its grants with their effect and their place in the entry.
    pub fn each(&self) -> impl Iterator<Item = (Effect, usize, &WrittenGrant)> {
        let allow = self.allow.iter().enumerate().map(|(index, grant)| (Effect::Allow, index, grant));
        let deny = self.deny.iter().enumerate().map(|(index, grant)| (Effect::Deny, index, grant));
        allow.chain(deny)
    }
}

impl WrittenGrant {
    /// The one spelling of what is granted; as written where it is unknown.
    pub fn canonical(&self) -> &str {
        canonical(&self.privilege)
    }

    pub fn ended(&self, now: UnixMillis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The one spelling of a level, bundle or privilege.
pub(super) fn canonical(privilege: &str) -> &str {
    privilege.parse::<Given>().map_or(privilege, |given| given.as_str())
}

impl Document {
    /// Everything that is wrong with the document by itself, whatever policy is in force.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found::default();
        let mut groups = Seen::default();
        for (index, entry) in self.groups.iter().enumerate() {
            let place = format!("groups[{index}]");
            if entry.group.kind != PrincipalKind::Group {
                found.add(&place, format!("`{}` is not a group and cannot have members", entry.group));
            }
            groups.note(&entry.group, &place, &mut found, || format!("`{}` is listed twice", entry.group));
            let mut members = Seen::default();
            for (member, name) in entry.members.iter().enumerate() {
                let place = format!("{place}.members[{member}]");
                if *name == entry.group {
                    found.add(&place, format!("`{name}` cannot be in itself"));
                }
                members.note(name, &place, &mut found, || format!("`{name}` is listed twice"));
            }
        }
        let mut securables = Seen::default();
        for (index, entry) in self.grants.iter().enumerate() {
            let place = format!("grants[{index}]");
            securables.note(&entry.on, &place, &mut found, || format!("`{}` is listed twice", entry.on));
            check_grants(entry, &place, &mut found);
        }
        for (index, expectation) in self.expect.iter().enumerate() {
            check_expectation(expectation, &format!("expect[{index}]"), &mut found);
        }
        found.problems
    }
}

fn check_grants(entry: &SecurableGrants, place: &str, found: &mut Found) {
    let mut seen = Seen::default();
    let mut owner: Option<String> = None;
    for (effect, index, grant) in entry.each() {
        let place = format!("{place}.{}[{index}]", effect.as_str());
        let privilege = grant.canonical();
        match grant.privilege.parse::<Given>() {
            Err(error) => found.add(&place, error.to_string()),
            Ok(given) if !given.grantable_on(entry.on.kind) => {
                found.add(&place, format!("`{given}` means nothing on `{}`", entry.on));
            }
            Ok(Given::OWNER) => {
                if effect == Effect::Deny || grant.until.is_some() {
                    found.add(&place, "`OWNER` is an allow without an end".to_owned());
                }
                match &owner {
                    Some(first) => found.twice(&place, first, format!("`{}` has two owners", entry.on)),
                    None => owner = Some(place.clone()),
                }
            }
            Ok(_) => {}
        }
        let readable =
            |text: &str| text.chars().count() <= REASON_CHARACTERS && !text.chars().any(char::is_control);
        if grant.reason.as_deref().is_some_and(|reason| !readable(reason)) {
            found.add(
                &place,
                format!("`reason` has at most {REASON_CHARACTERS} characters and no control characters"),
            );
        }
        seen.note(&(effect, &grant.to, privilege.to_owned()), &place, found, || {
            format!("`{privilege}` to `{}` is listed twice", grant.to)
        });
    }
}

fn check_expectation(expectation: &Expectation, place: &str, found: &mut Found) {
    if expectation.may.is_empty() && expectation.may_not.is_empty() {
        found.add(place, "expects nothing; name privileges in `may` or `may_not`".to_owned());
    }
    if let Some(both) = expectation.may.iter().find(|privilege| expectation.may_not.contains(privilege)) {
        found.add(place, format!("`{both}` is in `may` and in `may_not`"));
    }
}

#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, place: &str, reason: String) {
        self.problems.push(Problem { place: place.to_owned(), reason, other: None });
    }

    fn twice(&mut self, place: &str, first: &str, reason: String) {
        let other = Some(first.to_owned());
        self.problems.push(Problem { place: place.to_owned(), reason, other });
    }
}

/// Where each thing was named first.
struct Seen<T>(HashMap<T, String>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Hash + Eq + Clone> Seen<T> {
    fn note(&mut self, thing: &T, place: &str, found: &mut Found, reason: impl FnOnce() -> String) {
        match self.0.get(thing) {
            Some(first) => found.twice(place, first, reason()),
            None => {
                self.0.insert(thing.clone(), place.to_owned());
            }
        }
    }
}
