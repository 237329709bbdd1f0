//! Making and changing a principal with all that a directory says of it, as one change of policy.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::administrators::keep_an_administrator;
use super::super::apply::bulk;
use super::super::change::{Change, PolicyTransaction};
use super::super::error::StoreError;
use super::super::{Store, groups, principals, rows, sessions};
use super::{DirectoryEntry, Profile, delete, entry_of};
use crate::access::{PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// How somebody shall be; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub principal: Principal,
    pub active: Option<bool>,
    pub profile: Option<Profile>,
    pub description: Option<String>,
    /// Of a group: exactly these.
    pub members: Option<BTreeSet<Principal>>,
}

impl Wish {
    pub fn of(principal: Principal) -> Self {
        Self { principal, active: None, profile: None, description: None, members: None }
    }
}

impl Store {
    /// Makes somebody known. Whoever was deleted comes back with nothing of what it had.
    pub async fn create_principal(
        &self,
        wish: &Wish,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let mut policy = self.begin_policy().await?;
        open(&mut policy, &wish.principal, by, now).await?;
        let fresh = entry_of(&mut policy.transaction, &wish.principal, now).await?;
        let done = fulfil(&mut policy, wish, &fresh, by, now).await?;
        policy.commit(by, now, "principal.create", json!(null), done.after).await
    }

    /// Makes somebody as wished for; unchanged if it is so.
    pub async fn change_principal(
        &self,
        wish: &Wish,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "principal.change";
        let mut policy = self.begin_policy().await?;
        let administrators = self.administrators(&mut policy.transaction, now).await?;
        let entry = entry_of(&mut policy.transaction, &wish.principal, now).await?;
        let done = fulfil(&mut policy, wish, &entry, by, now).await?;
        keep_an_administrator(&mut policy.transaction, administrators).await?;
        if done.changed {
            policy.commit(by, now, ACTION, done.before, done.after).await
        } else {
            policy.unchanged(ACTION, done.after).await
        }
    }
}

/// Enters somebody who is not there, or no longer.
pub(super) async fn open(
    policy: &mut PolicyTransaction,
    principal: &Principal,
    by: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let name = principal.to_string();
    let row = sqlx::query("SELECT deleted_at_ms FROM principals WHERE id = $1")
        .bind(&name)
        .fetch_optional(&mut *policy.transaction)
        .await?;
    match row {
        None => {
            principals::ensure(policy, principal, by, now).await?;
        }
        Some(row) if rows::optional_time(&row, "deleted_at_ms")?.is_none() => {
            return Err(StoreError::Exists(name));
        }
        Some(_) => {
            // What was written beside its deletion, at the same moment, goes now.
            delete::strip(policy, principal, now).await?;
            sqlx::query(
                "UPDATE principals SET active = 1, deleted_at_ms = NULL, created_at_ms = $1, \
                 created_by = $2 WHERE id = $3",
            )
            .bind(now.0)
            .bind(by)
            .bind(&name)
            .execute(&mut *policy.transaction)
            .await?;
            policy.edit(PolicyEdit::Principal { principal: principal.clone(), active: true });
        }
    }
    Ok(())
}

struct Done {
    changed: bool,
    before: Value,
    after: Value,
}

async fn fulfil(
    policy: &mut PolicyTransaction,
    wish: &Wish,
    entry: &DirectoryEntry,
    by: &str,
    now: UnixMillis,
) -> Result<Done, StoreError> {
    let mut changed = false;
    let mut next = entry.clone();
    if let Some(active) = wish.active.filter(|active| *active != entry.active) {
        if wish.principal.kind == PrincipalKind::Group {
            return Err(StoreError::Refused(format!(
                "`{}` is a group and cannot be deactivated",
                wish.principal
            )));
        }
        sqlx::query("UPDATE principals SET active = $1 WHERE id = $2")
            .bind(i64::from(active))
            .bind(wish.principal.to_string())
            .execute(&mut *policy.transaction)
            .await?;
        policy.edit(PolicyEdit::Principal { principal: wish.principal.clone(), active });
        if !active {
            sessions::end_with_principal(&mut policy.transaction, &wish.principal, now).await?;
        }
        next.active = active;
        changed = true;
    }
    if let Some(profile) = wish.profile.as_ref().filter(|profile| **profile != entry.profile) {
        sqlx::query(
            "UPDATE directory SET display_name = $1, external_id = $2, attributes = $3, changed_at_ms = $4 \
             WHERE principal = $5",
        )
        .bind(profile.display_name.clone())
        .bind(profile.external_id.clone())
        .bind(Value::Object(profile.attributes.clone()).to_string())
        .bind(now.0)
        .bind(wish.principal.to_string())
        .execute(&mut *policy.transaction)
        .await?;
        next.profile = profile.clone();
        changed = true;
    }
    if let Some(description) =
        wish.description.as_ref().filter(|text| entry.description.as_ref() != Some(*text))
    {
        sqlx::query("UPDATE directory SET description = $1, changed_at_ms = $2 WHERE principal = $3")
            .bind(description)
            .bind(now.0)
            .bind(wish.principal.to_string())
            .execute(&mut *policy.transaction)
            .await?;
        next.description = Some(description.clone());
        changed = true;
    }
    let (mut before, mut after) = (entry.recorded(), next.recorded());
    let differing = entry.profile.differs_in(&next.profile);
    if !differing.is_empty() {
        after.insert("profile_changed".to_owned(), json!(differing));
    }
    if let Some(members) = &wish.members {
        let (left, joined) = set_members(policy, &wish.principal, members, by, now).await?;
        changed |= !left.is_empty() || !joined.is_empty();
        before.insert("members_gone".to_owned(), json!(left));
        after.insert("members_new".to_owned(), json!(joined));
    }
    Ok(Done { changed, before: Value::Object(before), after: Value::Object(after) })
}

/// Makes these the group's members, and answers who left and who joined.
async fn set_members(
    policy: &mut PolicyTransaction,
    group: &Principal,
    wanted: &BTreeSet<Principal>,
    by: &str,
    now: UnixMillis,
) -> Result<(Vec<Principal>, Vec<Principal>), StoreError> {
    if group.kind != PrincipalKind::Group {
        return Err(StoreError::NotAGroup(group.to_string()));
    }
    let current = members_of(policy, group).await?;
    let left: Vec<Principal> = current.difference(wanted).cloned().collect();
    let joined: Vec<Principal> = wanted.difference(&current).cloned().collect();
    let leaving: Vec<_> = left.iter().map(|member| (group, member)).collect();
    bulk::leave(policy, &leaving).await?;
    principals::ensure_all(policy, joined.iter(), by, now).await?;
    let joining: Vec<_> = joined.iter().map(|member| (group, member)).collect();
    let in_bulk = bulk::join(policy, &joining).await?;
    for ((group, member), done) in joining.iter().zip(in_bulk) {
        if !done {
            groups::join(policy, group, member, by, now).await?;
        }
    }
    Ok((left, joined))
}

pub(super) async fn members_of(
    policy: &mut PolicyTransaction,
    group: &Principal,
) -> Result<BTreeSet<Principal>, StoreError> {
    sqlx::query("SELECT member_id FROM memberships WHERE group_id = $1")
        .bind(group.to_string())
        .fetch_all(&mut *policy.transaction)
        .await?
        .iter()
        .map(|row| rows::parsed(row, "member_id"))
        .collect()
}
