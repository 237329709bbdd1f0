//! Deleting a principal: all that it has goes at one version, and its name stays behind, inactive.

use serde_json::{Value, json};

use super::super::administrators::keep_an_administrator;
use super::super::apply::bulk;
use super::super::change::{Change, PolicyTransaction};
use super::super::error::StoreError;
use super::super::{Store, rows};
use super::entry_of;
use crate::access::{Grant, GrantId, PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// What ends with a principal and is no policy. `$1` is the time, `$2` the principal.
const ENDED: [&str; 5] = [
    "UPDATE tokens SET revoked_at_ms = $1 WHERE principal = $2 AND revoked_at_ms IS NULL",
    "UPDATE client_secrets SET revoked_at_ms = $1 WHERE principal = $2 AND revoked_at_ms IS NULL",
    "UPDATE sessions SET ended_at_ms = $1, ended_why = 'the principal was deleted' \
     WHERE principal = $2 AND ended_at_ms IS NULL",
    "UPDATE access_requests SET state = 'withdrawn', decided_at_ms = $1 \
     WHERE principal = $2 AND state = 'pending'",
    "DELETE FROM passwords WHERE CAST($1 AS BIGINT) IS NOT NULL AND principal = $2",
];

impl Store {
    /// Deletes a user, service principal or group. The two groups that Tracegate itself knows stay, and so does
    /// the last administrator, also when it is one through the group.
    pub async fn delete_principal(
        &self,
        principal: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        refuse_built_in(principal)?;
        let mut policy = self.begin_policy().await?;
        let administrators = self.administrators(&mut policy.transaction, now).await?;
        let mut before = entry_of(&mut policy.transaction, principal, now).await?.recorded();
        let gone = strip(&mut policy, principal, now).await?;
        sqlx::query("UPDATE principals SET active = 0, deleted_at_ms = $1 WHERE id = $2")
            .bind(now.0)
            .bind(principal.to_string())
            .execute(&mut *policy.transaction)
            .await?;
        policy.edit(PolicyEdit::Principal { principal: principal.clone(), active: false });
        keep_an_administrator(&mut policy.transaction, administrators).await?;
        before.insert("grants".to_owned(), json!(gone.grants));
        before.insert("memberships".to_owned(), json!(gone.memberships));
        before.insert("ended".to_owned(), gone.ended);
        let after = json!({ "principal": principal, "deleted_at_ms": now });
        policy.commit(by, now, "principal.delete", Value::Object(before), after).await
    }
}

/// The two groups that Tracegate itself knows stay under their names.
pub(super) fn refuse_built_in(principal: &Principal) -> Result<(), StoreError> {
    let built_in = principal.is_reserved()
        || principal.kind == PrincipalKind::Group
            && [Principal::ADMINS, Principal::USERS].contains(&principal.name.as_str());
    match built_in {
        true => Err(StoreError::Refused(format!(
            "`{principal}` is always there: it can neither be deleted nor get another name"
        ))),
        false => Ok(()),
    }
}

/// What a principal had.
pub(super) struct Gone {
    grants: Vec<Grant>,
    memberships: Vec<Value>,
    /// How many tokens, secrets, sessions, requests and passwords.
    ended: Value,
}

/// Takes everything that a principal has: grants, groups and members, ways to call, its entry.
pub(super) async fn strip(
    policy: &mut PolicyTransaction,
    principal: &Principal,
    now: UnixMillis,
) -> Result<Gone, StoreError> {
    let name = principal.to_string();
    let grants = sqlx::query("SELECT id FROM grants WHERE principal = $1")
        .bind(&name)
        .fetch_all(&mut *policy.transaction)
        .await?
        .iter()
        .map(|row| rows::number(row, "id").map(GrantId))
        .collect::<Result<Vec<_>, _>>()?;
    let grants = bulk::revoke(policy, &grants).await?;
    let edges =
        sqlx::query("SELECT group_id, member_id FROM memberships WHERE group_id = $1 OR member_id = $1")
            .bind(&name)
            .fetch_all(&mut *policy.transaction)
            .await?
            .iter()
            .map(|row| Ok((rows::parsed(row, "group_id")?, rows::parsed(row, "member_id")?)))
            .collect::<Result<Vec<(Principal, Principal)>, StoreError>>()?;
    let leaving: Vec<_> = edges.iter().map(|(group, member)| (group, member)).collect();
    bulk::leave(policy, &leaving).await?;
    let mut ended = Vec::with_capacity(ENDED.len());
    for statement in ENDED {
        let done = sqlx::query(statement).bind(now.0).bind(&name).execute(&mut *policy.transaction).await?;
        ended.push(done.rows_affected());
    }
    sqlx::query("DELETE FROM directory WHERE principal = $1")
        .bind(&name)
        .execute(&mut *policy.transaction)
        .await?;
    let memberships = edges.iter().map(|(group, member)| json!({ "group": group, "member": member }));
    Ok(Gone {
        grants,
        memberships: memberships.collect(),
        ended: json!({
            "tokens": ended[0], "client_secrets": ended[1], "sessions": ended[2],
            "access_requests": ended[3], "passwords": ended[4],
        }),
    })
}
