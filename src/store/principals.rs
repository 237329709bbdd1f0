//! Principals: users, service principals and groups that Tracegate knows of.

use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::administrators::keep_an_administrator;
use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, rows, sessions};
use crate::access::{PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// Principals in one statement.
const CHUNK: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PrincipalRecord {
    pub principal: Principal,
    pub active: bool,
    #[serde(rename = "created_at_ms")]
    pub created_at: UnixMillis,
}

impl Store {
    /// Makes the principal known; unchanged when it is. One that was deleted stays so.
    pub async fn ensure_principal(
        &self,
        principal: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "principal.create";
        let mut policy = self.begin_policy().await?;
        let state = json!({ "principal": principal });
        if ensure(&mut policy, principal, by, now).await? {
            policy.commit(by, now, ACTION, json!(null), state).await
        } else {
            policy.unchanged(ACTION, state).await
        }
    }

    /// Every principal that was not deleted, in the order of their names.
    pub async fn principals(&self) -> Result<Vec<PrincipalRecord>, StoreError> {
        let found =
            sqlx::query("SELECT id, active, created_at_ms FROM principals WHERE deleted_at_ms IS NULL")
                .fetch_all(&self.database.reader)
                .await?;
        let mut principals = found
            .iter()
            .map(|row| {
                Ok(PrincipalRecord {
                    principal: rows::parsed(row, "id")?,
                    active: rows::number(row, "active")? != 0,
                    created_at: rows::time(row, "created_at_ms")?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        // Sorted here, since databases differ in what they take for alphabetical.
        principals.sort_by(|one, other| one.principal.cmp(&other.principal));
        Ok(principals)
    }

    /// Whether the principal may authenticate; one that is not known yet may. `None`: not known.
    pub async fn is_active(&self, principal: &Principal) -> Result<Option<bool>, StoreError> {
        let row = sqlx::query("SELECT active FROM principals WHERE id = $1")
            .bind(principal.to_string())
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(|row| Ok(rows::number(&row, "active")? != 0)).transpose()
    }

    /// Lets a user or service principal authenticate or not. Its grants stay. The last administrator that
    /// can still authenticate cannot be shut out, just as it cannot be removed from its group.
    pub async fn set_active(
        &self,
        principal: &Principal,
        active: bool,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let action = if active { "principal.activate" } else { "principal.deactivate" };
        if principal.kind == PrincipalKind::Group {
            return Err(StoreError::Refused(format!(
                "`{principal}` is a group and cannot be deactivated; remove its members or its grants"
            )));
        }
        let mut policy = self.begin_policy().await?;
        let row = sqlx::query("SELECT active FROM principals WHERE id = $1 AND deleted_at_ms IS NULL")
            .bind(principal.to_string())
            .fetch_optional(&mut *policy.transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound(format!("`{principal}`")))?;
        let was_active = row.try_get::<i64, _>(0)? != 0;
        let state = |active: bool| json!({ "principal": principal, "active": active });
        if was_active == active {
            return policy.unchanged(action, state(active)).await;
        }
        let before = self.administrators(&mut policy.transaction, now).await?;
        sqlx::query("UPDATE principals SET active = $1 WHERE id = $2")
            .bind(i64::from(active))
            .bind(principal.to_string())
            .execute(&mut *policy.transaction)
            .await?;
        keep_an_administrator(&mut policy.transaction, before).await?;
        if !active {
            sessions::end_with_principal(&mut policy.transaction, principal, now).await?;
        }
        policy.edit(PolicyEdit::Principal { principal: principal.clone(), active });
        policy.commit(by, now, action, state(was_active), state(active)).await
    }
}

/// Makes the principal known; `false` when it was.
pub(super) async fn ensure(
    policy: &mut PolicyTransaction,
    principal: &Principal,
    by: &str,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    Ok(ensure_all(policy, [principal].into_iter(), by, now).await? == 1)
}

/// Makes all of them known, and answers how many were not. Not those that shadow mode keeps for itself.
pub(super) async fn ensure_all(
    policy: &mut PolicyTransaction,
    principals: impl Iterator<Item = &Principal>,
    by: &str,
    now: UnixMillis,
) -> Result<usize, StoreError> {
    let principals: Vec<&Principal> = principals.collect();
    if let Some(reserved) = principals.iter().find(|principal| principal.is_reserved()) {
        return Err(StoreError::Refused(format!(
            "`{reserved}` is reserved for shadow mode: it can have no grants, groups or credentials"
        )));
    }
    enter_all(policy, principals.into_iter(), by, now).await
}

/// As [`ensure_all`], whoever they are.
pub(super) async fn enter_all(
    policy: &mut PolicyTransaction,
    principals: impl Iterator<Item = &Principal>,
    by: &str,
    now: UnixMillis,
) -> Result<usize, StoreError> {
    let mut unsure: Vec<&Principal> = Vec::new();
    for principal in principals {
        if policy.known.insert(principal.clone()) {
            unsure.push(principal);
        }
    }
    let mut added = 0;
    for chunk in unsure.chunks(CHUNK) {
        let values: Vec<String> =
            (3..chunk.len() + 3).map(|place| format!("(${place}, 1, $1, $2)")).collect();
        let statement = format!(
            "INSERT INTO principals (id, active, created_at_ms, created_by) VALUES {} \
             ON CONFLICT (id) DO NOTHING RETURNING id",
            values.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(now.0).bind(by);
        for principal in chunk {
            query = query.bind(principal.to_string());
        }
        let before = added;
        for row in query.fetch_all(&mut *policy.transaction).await? {
            let principal = rows::parsed(&row, "id")?;
            policy.edit(PolicyEdit::Principal { principal, active: true });
            added += 1;
        }
        if added - before < chunk.len() {
            refuse_deleted(policy, chunk).await?;
        }
    }
    Ok(added)
}

/// Nothing is granted to somebody who was deleted, and nobody by that name comes back by the way.
async fn refuse_deleted(policy: &mut PolicyTransaction, named: &[&Principal]) -> Result<(), StoreError> {
    let places: Vec<String> = (1..=named.len()).map(|place| format!("${place}")).collect();
    let statement = format!(
        "SELECT id FROM principals WHERE deleted_at_ms IS NOT NULL AND id IN ({}) ORDER BY id LIMIT 1",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for principal in named {
        query = query.bind(principal.to_string());
    }
    match query.fetch_optional(&mut *policy.transaction).await? {
        Some(row) => Err(StoreError::Deleted(rows::text(&row, "id")?)),
        None => Ok(()),
    }
}
