//! What the gateway has already, and what is still to be done there.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::translate::Carried;
use crate::access::{Effect, NewGrant, Principal, Securable};
use crate::cli::client::Client;
use crate::policy::plan::{Document, GroupMembers, SecurableGrants, WrittenGrant};

/// Passwords that are sent in one call.
const PASSWORDS_AT_ONCE: usize = 500;

/// What is carried over and is not there yet.
#[derive(Default)]
pub(super) struct Difference {
    pub new_principals: BTreeSet<Principal>,
    pub memberships: BTreeSet<(Principal, Principal)>,
    pub grants: Vec<NewGrant>,
    /// What is there, of the groups and securables that change.
    there: Policy,
}

/// The policy in force, as it is exported.
#[derive(Default)]
struct Policy {
    version: i64,
    members: BTreeMap<Principal, BTreeSet<Principal>>,
    grants: Vec<NewGrant>,
}

impl Difference {
    pub fn of(client: &Client, carried: &mut Carried) -> anyhow::Result<Self> {
        let there = Policy::read(client)?;
        let known = known(client)?;
        let named = carried.users.iter().map(|user| &user.principal).chain(&carried.groups);
        let new_principals = named.filter(|one| !known.contains_key(*one)).cloned().collect();
        for user in carried.users.iter().filter(|user| known.get(&user.principal) == Some(&false)) {
            note(
                &mut carried.notes,
                format!("`{}` is deactivated or deleted here and stays so", user.principal),
            );
        }
        leave_groups_of_administrators(carried, &there);
        note_what_groups_have(carried, &there);
        let has = |group: &Principal, member: &Principal| {
            there.members.get(group).is_some_and(|members| members.contains(member))
        };
        let memberships =
            carried.memberships.iter().filter(|(group, member)| !has(group, member)).cloned().collect();
        let held: BTreeSet<_> = there.grants.iter().map(key).collect();
        let mut seen = BTreeSet::new();
        let grants: Vec<NewGrant> = carried
            .grants
            .iter()
            .filter(|grant| !held.contains(&key(grant)) && seen.insert(key(grant)))
            .cloned()
            .collect();
        Ok(Self { new_principals, memberships, grants, there })
    }

    /// Makes new principals known; `false`: there were none.
    pub fn make_known(&self, client: &Client) -> anyhow::Result<bool> {
        for principal in &self.new_principals {
            client.call(Method::POST, "principals", &[], Some(&json!({ "principal": principal })))?;
        }
        Ok(!self.new_principals.is_empty())
    }

    /// Adds memberships and grants in one change of policy, at the version that was compared with. Answers the
    /// version after it.
    pub fn apply(&self, client: &Client) -> anyhow::Result<Value> {
        if self.memberships.is_empty() && self.grants.is_empty() {
            return Ok(json!(self.there.version));
        }
        let body = json!({ "policy": self.document(), "expected_version": self.there.version });
        let answer = client.call(Method::POST, "policy/apply", &[], Some(&body))?;
        Ok(answer["policy_version"].clone())
    }

    /// Documents say everything about what they name, so what is there is said again.
    fn document(&self) -> Document {
        let mut groups: BTreeMap<&Principal, BTreeSet<&Principal>> = BTreeMap::new();
        for (group, member) in &self.memberships {
            let there = self.there.members.get(group).into_iter().flatten();
            groups.entry(group).or_insert_with(|| there.collect()).insert(member);
        }
        let changed: BTreeSet<&Securable> = self.grants.iter().map(|grant| &grant.securable).collect();
        let mut grants: BTreeMap<&Securable, SecurableGrants> = BTreeMap::new();
        for grant in
            self.there.grants.iter().chain(&self.grants).filter(|one| changed.contains(&one.securable))
        {
            let on = grants.entry(&grant.securable).or_insert_with(|| SecurableGrants {
                on: grant.securable.clone(),
                allow: Vec::new(),
                deny: Vec::new(),
            });
            let list = if grant.effect == Effect::Deny { &mut on.deny } else { &mut on.allow };
            list.push(WrittenGrant {
                to: grant.principal.clone(),
                privilege: grant.privilege.clone(),
                until: grant.expires_at,
                reason: grant.reason.clone(),
            });
        }
        let members = |(group, members): (&Principal, BTreeSet<&Principal>)| GroupMembers {
            group: group.clone(),
            members: members.into_iter().cloned().collect(),
        };
        Document {
            groups: groups.into_iter().map(members).collect(),
            grants: grants.into_values().collect(),
            ..Document::default()
        }
    }
}

fn note(notes: &mut Vec<String>, line: String) {
    if !notes.contains(&line) {
        notes.push(line);
    }
}

fn key(grant: &NewGrant) -> (String, String, String, bool) {
    let deny = grant.effect == Effect::Deny;
    (grant.principal.to_string(), grant.securable.to_string(), grant.privilege.clone(), deny)
}

/// A role whose group is within `admins` here would make administrators of its users.
fn leave_groups_of_administrators(carried: &mut Carried, there: &Policy) {
    let leads = |group: &Principal| {
        let mut next = vec![group.clone()];
        let mut seen = BTreeSet::new();
        while let Some(one) = next.pop() {
            if one.name == Principal::ADMINS {
                return true;
            }
            if seen.insert(one.clone()) {
                let above = there.members.iter().filter(|(_, members)| members.contains(&one));
                next.extend(above.map(|(group, _)| group.clone()));
            }
        }
        false
    };
    let dangerous: Vec<Principal> = carried.groups.iter().filter(|group| leads(group)).cloned().collect();
    for group in dangerous {
        carried.groups.remove(&group);
        carried.memberships.retain(|(one, _)| *one != group);
        carried.grants.retain(|grant| grant.principal != group);
        carried.lost.push(format!(
            "role `{}`: whoever is in `{group}` here is an administrator; --role-prefix gives it another name",
            group.name
        ));
    }
}

/// Members of a role get what a group of the same name has here.
fn note_what_groups_have(carried: &mut Carried, there: &Policy) {
    let wanted: BTreeSet<_> = carried.grants.iter().map(key).collect();
    let mut lines = Vec::new();
    for group in &carried.groups {
        let more =
            there.grants.iter().filter(|one| one.principal == *group && !wanted.contains(&key(one))).count();
        let others = there.members.get(group).into_iter().flatten();
        let others =
            others.filter(|one| !carried.memberships.contains(&(group.clone(), (*one).clone()))).count();
        if more + others > 0 {
            lines.push(format!(
                "`{group}` is there already: users of the role get its {more} other grants, and its {others} other \
                 members get what the role had; --role-prefix keeps them apart"
            ));
        }
    }
    lines.into_iter().for_each(|line| note(&mut carried.notes, line));
}

/// Every principal that the gateway knows, and whether it is active.
fn known(client: &Client) -> anyhow::Result<BTreeMap<Principal, bool>> {
    let answer = client.call(Method::GET, "principals", &[], None)?;
    let list = answer["principals"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| {
            let principal = one["principal"].as_str().unwrap_or_default().parse()?;
            Ok((principal, one["active"].as_bool().unwrap_or(false)))
        })
        .collect()
}

impl Policy {
    fn read(client: &Client) -> anyhow::Result<Self> {
        let mut text = Vec::new();
        client.stream("policy/export", &[], &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        let mut policy = Self::default();
        let mut complete = false;
        for line in std::str::from_utf8(&text)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            if let Some(version) = line["policy_version"].as_i64() {
                policy.version = version;
            } else if line["end"] == true {
                complete = line["complete"] == true;
            } else if line["group"].is_string() {
                let members: GroupMembers = serde_json::from_value(line)?;
                policy.members.insert(members.group, members.members.into_iter().collect());
            } else {
                policy.grants.push(serde_json::from_value(line)?);
            }
        }
        if !complete {
            anyhow::bail!("policy changed while it was read; run the command again");
        }
        Ok(policy)
    }
}

/// Users whose passwords were set, and those whose were left as they are.
pub(super) fn import_passwords(
    client: &Client,
    carried: &Carried,
) -> anyhow::Result<(Vec<Value>, Vec<Value>)> {
    let all: Vec<Value> = carried
        .users
        .iter()
        .filter_map(|user| Some(json!({ "user": user.principal.name, "hash": user.password_hash.as_ref()? })))
        .collect();
    let (mut set, mut kept) = (Vec::new(), Vec::new());
    for some in all.chunks(PASSWORDS_AT_ONCE) {
        let body = json!({ "passwords": some });
        let answer = client.call(Method::POST, "passwords/import", &[], Some(&body))?;
        set.extend(answer["set"].as_array().into_iter().flatten().cloned());
        kept.extend(answer["kept"].as_array().into_iter().flatten().cloned());
    }
    Ok((set, kept))
}
