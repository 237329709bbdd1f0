//! Membership: who is in which group. Groups nest, but not in circles and not deeper than
//! [`NESTING_LIMIT`], so that every walk over them ends.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use sqlx::{Any, Transaction};

use super::administrators::keep_an_administrator;
use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, principals, rows};
use crate::access::{PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// Groups in the longest chain of groups within groups.
pub const NESTING_LIMIT: usize = 8;

impl Store {
    /// Puts a member into a group; both become known if they are not.
    pub async fn add_member(
        &self,
        group: &Principal,
        member: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "membership.add";
        let mut policy = self.begin_policy().await?;
        let state = json!({ "group": group, "member": member });
        if join(&mut policy, group, member, by, now).await? {
            policy.commit(by, now, ACTION, json!(null), state).await
        } else {
            policy.unchanged(ACTION, state).await
        }
    }

    /// Takes a member out of a group; unchanged when it was not in it.
    pub async fn remove_member(
        &self,
        group: &Principal,
        member: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "membership.remove";
        let mut policy = self.begin_policy().await?;
        let before = self.administrators(&mut policy.transaction, now).await?;
        if !leave(&mut policy, group, member).await? {
            return policy.unchanged(ACTION, json!(null)).await;
        }
        keep_an_administrator(&mut policy.transaction, before).await?;
        policy.commit(by, now, ACTION, json!({ "group": group, "member": member }), json!(null)).await
    }
}

/// Puts the member into the group, if the groups stay without circles; `false` when it was in it.
pub(super) async fn join(
    policy: &mut PolicyTransaction,
    group: &Principal,
    member: &Principal,
    by: &str,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    if group.kind != PrincipalKind::Group {
        return Err(StoreError::NotAGroup(group.to_string()));
    }
    principals::ensure(policy, group, by, now).await?;
    principals::ensure(policy, member, by, now).await?;
    let done = sqlx::query(
        "INSERT INTO memberships (group_id, member_id) VALUES ($1, $2) \
         ON CONFLICT (group_id, member_id) DO NOTHING",
    )
    .bind(group.to_string())
    .bind(member.to_string())
    .execute(&mut *policy.transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if member.kind == PrincipalKind::Group {
        let nesting = match policy.nesting.take() {
            Some(mut nesting) => {
                nesting.add(group.to_string(), member.to_string());
                nesting
            }
            None => Nesting::load(&mut policy.transaction).await?,
        };
        check_nesting(&nesting, group, member)?;
        policy.nesting = Some(nesting);
    }
    policy.edit(PolicyEdit::Join { group: group.clone(), member: member.clone() });
    Ok(true)
}

/// Takes the member out of the group; `false` when it was not in it. Whoever calls this keeps an administrator.
pub(super) async fn leave(
    policy: &mut PolicyTransaction,
    group: &Principal,
    member: &Principal,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM memberships WHERE group_id = $1 AND member_id = $2")
        .bind(group.to_string())
        .bind(member.to_string())
        .execute(&mut *policy.transaction)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    policy.left(group, member);
    Ok(true)
}

impl PolicyTransaction {
    /// Notes that a member left.
    pub fn left(&mut self, group: &Principal, member: &Principal) {
        if let Some(nesting) = &mut self.nesting {
            nesting.remove(&group.to_string(), &member.to_string());
        }
        self.edit(PolicyEdit::Leave { group: group.clone(), member: member.clone() });
    }
}

/// The groups within groups, both ways; users are leaves and need no check.
pub(super) struct Nesting {
    members: HashMap<String, Vec<String>>,
    containers: HashMap<String, Vec<String>>,
}

impl Nesting {
    async fn load(transaction: &mut Transaction<'static, Any>) -> Result<Self, StoreError> {
        let found = sqlx::query(
            "SELECT group_id, member_id FROM memberships WHERE substr(member_id, 1, 6) = 'group:'",
        )
        .fetch_all(&mut **transaction)
        .await?;
        let mut nesting = Self { members: HashMap::new(), containers: HashMap::new() };
        for row in &found {
            nesting.add(rows::text(row, "group_id")?, rows::text(row, "member_id")?);
        }
        Ok(nesting)
    }

    fn add(&mut self, group: String, member: String) {
        self.members.entry(group.clone()).or_default().push(member.clone());
        self.containers.entry(member).or_default().push(group);
    }

    fn remove(&mut self, group: &str, member: &str) {
        if let Some(members) = self.members.get_mut(group) {
            members.retain(|one| one != member);
        }
        if let Some(containers) = self.containers.get_mut(member) {
            containers.retain(|one| one != group);
        }
    }
}

/// Checks the graph with the new edge in it.
fn check_nesting(nesting: &Nesting, group: &Principal, member: &Principal) -> Result<(), StoreError> {
    let (group, member) = (group.to_string(), member.to_string());
    let above = reach(&nesting.containers, &group);
    let below = reach(&nesting.members, &member);
    let (Some(above), Some(below)) = (above, below) else {
        return Err(StoreError::TooDeep { group, member, limit: NESTING_LIMIT });
    };
    if group == member || below.reached.contains(&group) {
        return Err(StoreError::Cycle { group, member });
    }
    if above.levels + below.levels > NESTING_LIMIT {
        return Err(StoreError::TooDeep { group, member, limit: NESTING_LIMIT });
    }
    // Every caller is in `users`; inside `admins` it would make everyone an administrator.
    let admins = format!("group:{}", Principal::ADMINS);
    let users = format!("group:{}", Principal::USERS);
    if above.reached.contains(&admins) && below.reached.contains(&users) {
        return Err(StoreError::Refused(format!(
            "`{users}` holds every caller; in `{admins}` it would make all of them administrators"
        )));
    }
    Ok(())
}

struct Reach {
    reached: HashSet<String>,
    /// Groups on the longest way from the start, the start included.
    levels: usize,
}

/// Walks level by level; a start reached again ends the walk, and the caller calls that a cycle. The last
/// level at which anything stands is the length of the longest way, since a level holds every way's end.
fn reach(edges: &HashMap<String, Vec<String>>, start: &str) -> Option<Reach> {
    let mut reached = HashSet::from([start.to_owned()]);
    let mut level = HashSet::from([start]);
    let mut levels = 0;
    while !level.is_empty() {
        levels += 1;
        let next: HashSet<&str> = level
            .iter()
            .flat_map(|name| edges.get(*name).into_iter().flatten())
            .map(String::as_str)
            .collect();
        reached.extend(next.iter().map(|name| (*name).to_owned()));
        if next.contains(start) {
            break;
        }
        if levels > 4 * NESTING_LIMIT {
            return None;
        }
        level = next;
    }
    Some(Reach { reached, levels })
}
