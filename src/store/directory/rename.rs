//! Another name for a group. MLflow's clients do that to roles; identity providers are told to make a new group.

use serde_json::json;

use super::super::change::{Change, PolicyTransaction};
use super::super::error::StoreError;
use super::super::{Store, grants, rows};
use super::entry_of;
use super::write::open;
use crate::access::{PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

impl Store {
    /// Its number, its grants with their ids and its members come along; the old name stays behind like that of
    /// somebody deleted.
    pub async fn rename_group(
        &self,
        from: &Principal,
        to: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        super::delete::refuse_built_in(from)?;
        super::delete::refuse_built_in(to)?;
        if from.kind != PrincipalKind::Group || to.kind != PrincipalKind::Group {
            return Err(StoreError::NotAGroup(from.to_string()));
        }
        let mut policy = self.begin_policy().await?;
        entry_of(&mut policy.transaction, from, now).await?;
        open(&mut policy, to, by, now).await?;
        move_members(&mut policy, from, to).await?;
        grants::hand_over(&mut policy, from, to).await?;
        let (old, new) = (from.to_string(), to.to_string());
        sqlx::query("DELETE FROM directory WHERE principal = $1")
            .bind(&new)
            .execute(&mut *policy.transaction)
            .await?;
        sqlx::query("UPDATE directory SET principal = $1, changed_at_ms = $2 WHERE principal = $3")
            .bind(&new)
            .bind(now.0)
            .bind(&old)
            .execute(&mut *policy.transaction)
            .await?;
        sqlx::query("UPDATE principals SET active = 0, deleted_at_ms = $1 WHERE id = $2")
            .bind(now.0)
            .bind(&old)
            .execute(&mut *policy.transaction)
            .await?;
        policy.edit(PolicyEdit::Principal { principal: from.clone(), active: false });
        policy.commit(by, now, "group.rename", json!({ "group": from }), json!({ "group": to })).await
    }
}

async fn move_members(
    policy: &mut PolicyTransaction,
    from: &Principal,
    to: &Principal,
) -> Result<(), StoreError> {
    let (old, new) = (from.to_string(), to.to_string());
    let found =
        sqlx::query("SELECT group_id, member_id FROM memberships WHERE group_id = $1 OR member_id = $1")
            .bind(&old)
            .fetch_all(&mut *policy.transaction)
            .await?;
    let rename = |one: Principal| if one == *from { to.clone() } else { one };
    let mut joined = Vec::with_capacity(found.len());
    for row in &found {
        let (group, member): (Principal, Principal) =
            (rows::parsed(row, "group_id")?, rows::parsed(row, "member_id")?);
        policy.left(&group, &member);
        joined.push(PolicyEdit::Join { group: rename(group), member: rename(member) });
    }
    for statement in [
        "UPDATE memberships SET group_id = $1 WHERE group_id = $2",
        "UPDATE memberships SET member_id = $1 WHERE member_id = $2",
    ] {
        sqlx::query(statement).bind(&new).bind(&old).execute(&mut *policy.transaction).await?;
    }
    joined.into_iter().for_each(|edit| policy.edit(edit));
    Ok(())
}
