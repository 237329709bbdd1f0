//! Grants: one per principal, securable, privilege and effect; granting again replaces reason and end.

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, principals, rows};
use crate::access::{Effect, Given, Grant, GrantId, NewGrant, Principal, Securable};
use crate::clock::UnixMillis;

/// Characters in a grant's reason.
const REASON_LIMIT: usize = 1000;

macro_rules! select_grants {
    ($end:literal) => {
        concat!(
            "SELECT id, principal, securable, privilege, effect, reason, expires_at_ms, granted_by, \
             granted_at_ms FROM grants ",
            $end
        )
    };
}
pub(super) const ALL_GRANTS: &str = select_grants!("ORDER BY id");

impl Store {
    /// Writes a grant. The same grant with another reason or end replaces the old one and keeps its id;
    /// with the same reason and end it is unchanged.
    pub async fn add_grant(
        &self,
        grant: &NewGrant,
        by: &str,
        now: UnixMillis,
    ) -> Result<(Grant, Change), StoreError> {
        const ACTION: &str = "grant.add";
        check(grant)?;
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        principals::insert(&mut policy.transaction, &grant.principal, by, now).await?;
        let old = sqlx::query(select_grants!(
            "WHERE principal = $1 AND securable = $2 AND privilege = $3 AND effect = $4"
        ))
        .bind(grant.principal.to_string())
        .bind(grant.securable.to_string())
        .bind(&grant.privilege)
        .bind(grant.effect.as_str())
        .fetch_optional(&mut *policy.transaction)
        .await?;
        let old = old.as_ref().map(read).transpose()?;
        if let Some(old) = &old
            && old.grant == *grant
        {
            return Ok((old.clone(), policy.unchanged(ACTION, json!(old)).await?));
        }
        let row = sqlx::query(
            "INSERT INTO grants (principal, securable, privilege, effect, reason, expires_at_ms, \
                 granted_by, granted_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (principal, securable, privilege, effect) DO UPDATE SET \
                 reason = excluded.reason, expires_at_ms = excluded.expires_at_ms, \
                 granted_by = excluded.granted_by, granted_at_ms = excluded.granted_at_ms \
             RETURNING id",
        )
        .bind(grant.principal.to_string())
        .bind(grant.securable.to_string())
        .bind(&grant.privilege)
        .bind(grant.effect.as_str())
        .bind(grant.reason.clone())
        .bind(grant.expires_at.map(|time| time.0))
        .bind(by)
        .bind(now.0)
        .fetch_one(&mut *policy.transaction)
        .await?;
        let new = Grant {
            id: GrantId(row.try_get(0)?),
            grant: grant.clone(),
            granted_by: by.to_owned(),
            granted_at: now,
        };
        let change = policy.commit(by, now, ACTION, json!(old), json!(new)).await?;
        Ok((new, change))
    }

    /// Removes a grant; `None` when there is none of this id.
    pub async fn remove_grant(
        &self,
        id: GrantId,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<Change>, StoreError> {
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let old = sqlx::query(select_grants!("WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(&mut *policy.transaction)
            .await?;
        let Some(old) = old.as_ref().map(read).transpose()? else { return Ok(None) };
        sqlx::query("DELETE FROM grants WHERE id = $1").bind(id.0).execute(&mut *policy.transaction).await?;
        policy.commit(by, now, "grant.remove", json!(old), json!(null)).await.map(Some)
    }

    /// The grants to this principal on this securable, either of which may be left open; expired ones too.
    pub async fn grants(
        &self,
        principal: Option<&Principal>,
        securable: Option<&Securable>,
    ) -> Result<Vec<Grant>, StoreError> {
        let query =
            match (principal, securable) {
                (None, None) => sqlx::query(ALL_GRANTS),
                (Some(principal), None) => sqlx::query(select_grants!("WHERE principal = $1 ORDER BY id"))
                    .bind(principal.to_string()),
                (None, Some(securable)) => sqlx::query(select_grants!("WHERE securable = $1 ORDER BY id"))
                    .bind(securable.to_string()),
                (Some(principal), Some(securable)) => {
                    sqlx::query(select_grants!("WHERE principal = $1 AND securable = $2 ORDER BY id"))
                        .bind(principal.to_string())
                        .bind(securable.to_string())
                }
            };
        query.fetch_all(&self.database.reader).await?.iter().map(read).collect()
    }
}

fn check(grant: &NewGrant) -> Result<(), StoreError> {
    let given: Given = grant
        .privilege
        .parse()
        .map_err(|_| StoreError::UnknownPrivilege(grant.privilege.chars().take(80).collect()))?;
    if !given.grantable_on(grant.securable.kind) {
        return Err(StoreError::Refused(format!(
            "`{given}` cannot be granted on a {}: it means nothing there",
            grant.securable.kind.as_str()
        )));
    }
    let readable =
        |reason: &str| reason.chars().count() <= REASON_LIMIT && !reason.chars().any(char::is_control);
    if grant.reason.as_deref().is_some_and(|reason| !readable(reason)) {
        return Err(StoreError::Refused(format!(
            "a grant's reason has at most {REASON_LIMIT} characters and no control characters"
        )));
    }
    Ok(())
}

pub(super) fn read(row: &AnyRow) -> Result<Grant, StoreError> {
    let effect = match rows::text(row, "effect")?.as_str() {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        other => return Err(StoreError::Corrupt(format!("`{other}` is not an effect of a grant"))),
    };
    Ok(Grant {
        id: GrantId(rows::number(row, "id")?),
        grant: NewGrant {
            principal: rows::parsed(row, "principal")?,
            securable: rows::parsed(row, "securable")?,
            privilege: rows::text(row, "privilege")?,
            effect,
            reason: row.try_get("reason")?,
            expires_at: rows::optional_time(row, "expires_at_ms")?,
        },
        granted_by: rows::text(row, "granted_by")?,
        granted_at: rows::time(row, "granted_at_ms")?,
    })
}
