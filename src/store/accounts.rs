//! Accounts: principals with the numbers by which MLflow's clients name users and roles, and the end of an account.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Row};

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::administrators::keep_an_administrator;
use super::{Store, grants, principals, rows};
use crate::access::{PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;

/// The attribute of the directory that holds a role's description.
const DESCRIPTION: &str = "mlflow_description";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub number: i64,
    pub principal: Principal,
    pub active: bool,
    pub description: Option<String>,
}

impl Store {
    /// Every principal that was not deleted, in the order of their numbers. Those without one get theirs.
    pub async fn accounts(&self, now: UnixMillis) -> Result<Vec<Account>, StoreError> {
        let mut accounts = self.select_accounts("ORDER BY directory.number", None, now).await?;
        accounts.sort_by_key(|account| account.number);
        Ok(accounts)
    }

    /// The account of a principal that was not deleted.
    pub async fn account(
        &self,
        principal: &Principal,
        now: UnixMillis,
    ) -> Result<Option<Account>, StoreError> {
        let key = principal.to_string();
        Ok(self.select_accounts("AND principals.id = $1", Some(key), now).await?.pop())
    }

    /// The account with a number, unless it was deleted.
    pub async fn account_of_number(&self, number: i64) -> Result<Option<Account>, StoreError> {
        let found = sqlx::query("SELECT principal FROM directory WHERE number = $1")
            .bind(number)
            .fetch_optional(&self.database.reader)
            .await?;
        match found {
            Some(row) => self.account(&rows::parsed(&row, "principal")?, UnixMillis(0)).await,
            None => Ok(None),
        }
    }

    async fn select_accounts(
        &self,
        end: &str,
        key: Option<String>,
        now: UnixMillis,
    ) -> Result<Vec<Account>, StoreError> {
        const NUMBERED: &str = "SELECT principals.id, principals.active, directory.number, directory.attributes \
             FROM principals LEFT JOIN directory ON directory.principal = principals.id \
             WHERE principals.deleted_at_ms IS NULL ";
        for pool in [&self.database.reader, &self.database.writer] {
            let mut query = sqlx::query(AssertSqlSafe(format!("{NUMBERED}{end}")));
            if let Some(key) = &key {
                query = query.bind(key.clone());
            }
            let found = query.fetch_all(pool).await?;
            let numbered: Result<Vec<Option<Account>>, StoreError> = found
                .iter()
                .map(|row| {
                    let Some(number) = row.try_get::<Option<i64>, _>("number")? else { return Ok(None) };
                    let attributes: Option<String> = row.try_get("attributes")?;
                    Ok(Some(Account {
                        number,
                        principal: rows::parsed(row, "id")?,
                        active: rows::number(row, "active")? != 0,
                        description: attributes.as_deref().and_then(description),
                    }))
                })
                .collect();
            if let Some(accounts) = numbered?.into_iter().collect() {
                return Ok(accounts);
            }
            sqlx::query(
                "INSERT INTO directory (principal, changed_at_ms) SELECT id, $1 FROM principals \
                 WHERE deleted_at_ms IS NULL AND id NOT IN (SELECT principal FROM directory) \
                 ON CONFLICT (principal) DO NOTHING",
            )
            .bind(now.0)
            .execute(&self.database.writer)
            .await?;
        }
        Err(StoreError::Contended("principals come faster than they get numbers".to_owned()))
    }

    /// Describes a role; the other attributes of its directory entry stay.
    pub async fn describe_account(&self, number: i64, text: &str, now: UnixMillis) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let row = sqlx::query("SELECT attributes FROM directory WHERE number = $1")
            .bind(number)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound(format!("the account {number}")))?;
        let attributes: Map<String, Value> = serde_json::from_str(&rows::text(&row, "attributes")?)
            .map_err(|error| StoreError::Corrupt(format!("attributes of the account {number}: {error}")))?;
        let mut attributes = attributes;
        attributes.insert(DESCRIPTION.to_owned(), json!(text));
        sqlx::query("UPDATE directory SET attributes = $1, changed_at_ms = $2 WHERE number = $3")
            .bind(Value::Object(attributes).to_string())
            .bind(now.0)
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a principal known whose account was deleted or never there; `false`: it is there.
    pub async fn open_account(
        &self,
        principal: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<(Change, bool), StoreError> {
        const ACTION: &str = "principal.create";
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let state = json!({ "principal": principal });
        let fresh = principals::ensure(&mut policy, principal, by, now).await?;
        let revived = revive(&mut policy, principal).await?;
        if !fresh && !revived {
            return Ok((policy.unchanged(ACTION, state).await?, false));
        }
        Ok((policy.commit(by, now, ACTION, json!(null), state).await?, true))
    }

    /// Ends an account: what was granted, memberships, credentials and sessions go; the name stays taken, since
    /// records speak of it. The last administrator stays.
    pub async fn delete_account(
        &self,
        principal: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        refuse_built_in(principal)?;
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let administrators = self.administrators(&mut policy.transaction, now).await?;
        let name = principal.to_string();
        let done = sqlx::query(
            "UPDATE principals SET deleted_at_ms = $1, active = $2 WHERE id = $3 AND deleted_at_ms IS NULL",
        )
        .bind(now.0)
        .bind(i64::from(principal.kind == PrincipalKind::Group))
        .bind(&name)
        .execute(&mut *policy.transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("`{principal}`")));
        }
        let removed = grants::remove_all_of(&mut policy, principal).await?;
        let left = sqlx::query(
            "DELETE FROM memberships WHERE group_id = $1 OR member_id = $1 RETURNING group_id, member_id",
        )
        .bind(&name)
        .fetch_all(&mut *policy.transaction)
        .await?;
        let mut memberships = Vec::new();
        for row in &left {
            let (group, member) = (rows::parsed(row, "group_id")?, rows::parsed(row, "member_id")?);
            policy.left(&group, &member);
            memberships.push(json!({ "group": group, "member": member }));
        }
        if principal.kind != PrincipalKind::Group {
            policy.edit(PolicyEdit::Principal { principal: principal.clone(), active: false });
        }
        sqlx::query("DELETE FROM passwords WHERE principal = $1")
            .bind(&name)
            .execute(&mut *policy.transaction)
            .await?;
        for statement in [
            "UPDATE tokens SET revoked_at_ms = $1 WHERE principal = $2 AND revoked_at_ms IS NULL",
            "UPDATE client_secrets SET revoked_at_ms = $1 WHERE principal = $2 AND revoked_at_ms IS NULL",
            "UPDATE sessions SET ended_at_ms = $1, ended_why = 'the account was deleted' \
             WHERE principal = $2 AND ended_at_ms IS NULL",
        ] {
            sqlx::query(statement).bind(now.0).bind(&name).execute(&mut *policy.transaction).await?;
        }
        keep_an_administrator(&mut policy.transaction, administrators).await?;
        let before = json!({ "principal": principal, "grants": removed, "memberships": memberships });
        policy.commit(by, now, "principal.delete", before, json!(null)).await
    }

    /// Gives a group another name. Its number, its grants with their ids and its members come along; the old name
    /// stays taken.
    pub async fn rename_group(
        &self,
        from: &Principal,
        to: &Principal,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        refuse_built_in(from)?;
        if from.kind != PrincipalKind::Group || to.kind != PrincipalKind::Group {
            return Err(StoreError::NotAGroup(from.to_string()));
        }
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let (old, new) = (from.to_string(), to.to_string());
        let done =
            sqlx::query("UPDATE principals SET deleted_at_ms = $1 WHERE id = $2 AND deleted_at_ms IS NULL")
                .bind(now.0)
                .bind(&old)
                .execute(&mut *policy.transaction)
                .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("`{from}`")));
        }
        let fresh = principals::ensure(&mut policy, to, by, now).await?;
        if !fresh && !revive(&mut policy, to).await? {
            return Err(StoreError::Refused(format!("`{to}` exists already")));
        }
        let found =
            sqlx::query("SELECT group_id, member_id FROM memberships WHERE group_id = $1 OR member_id = $1")
                .bind(&old)
                .fetch_all(&mut *policy.transaction)
                .await?;
        let mut moved = Vec::new();
        for row in &found {
            let (group, member): (Principal, Principal) =
                (rows::parsed(row, "group_id")?, rows::parsed(row, "member_id")?);
            policy.left(&group, &member);
            let rename = |one: Principal| if one == *from { to.clone() } else { one };
            moved.push(PolicyEdit::Join { group: rename(group), member: rename(member) });
        }
        for statement in [
            "UPDATE memberships SET group_id = $1 WHERE group_id = $2",
            "UPDATE memberships SET member_id = $1 WHERE member_id = $2",
        ] {
            sqlx::query(statement).bind(&new).bind(&old).execute(&mut *policy.transaction).await?;
        }
        for edit in moved {
            policy.edit(edit);
        }
        grants::hand_over(&mut policy, from, to).await?;
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
        policy.commit(by, now, "group.rename", json!({ "group": from }), json!({ "group": to })).await
    }
}

fn description(attributes: &str) -> Option<String> {
    let attributes: Value = serde_json::from_str(attributes).ok()?;
    attributes.get(DESCRIPTION)?.as_str().map(str::to_owned)
}

fn refuse_built_in(principal: &Principal) -> Result<(), StoreError> {
    let built_in = principal.kind == PrincipalKind::Group
        && [Principal::ADMINS, Principal::USERS].contains(&principal.name.as_str());
    match built_in {
        true => Err(StoreError::Refused(format!("`{principal}` is always there under this name"))),
        false => Ok(()),
    }
}

/// Opens a deleted account again, with nothing that it had; `false`: it was not deleted.
async fn revive(policy: &mut PolicyTransaction, principal: &Principal) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE principals SET deleted_at_ms = NULL, active = 1 WHERE id = $1 AND deleted_at_ms IS NOT NULL",
    )
    .bind(principal.to_string())
    .execute(&mut *policy.transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    policy.edit(PolicyEdit::Principal { principal: principal.clone(), active: true });
    Ok(true)
}
