//! Everything that policy is made of, read at one moment.

use sqlx::{Any, Row, Transaction};

use super::error::StoreError;
use super::{Store, grants, rows};
use crate::access::{Grant, Principal, Securable};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyState {
    pub version: i64,
    pub grants: Vec<Grant>,
    /// Group and member.
    pub memberships: Vec<(Principal, Principal)>,
    /// Child and parent, of the securables that were put; folders' own parents are in their names.
    pub parents: Vec<(Securable, Securable)>,
    /// Principals that are known, and whether they may authenticate.
    pub principals: Vec<(Principal, bool)>,
    /// Principals that may not authenticate.
    pub inactive: Vec<Principal>,
}

impl Store {
    /// Reads the whole policy as of one version. With very many grants, `read_policy` is for that.
    pub async fn policy(&self) -> Result<PolicyState, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let state = read(&mut transaction).await?;
        transaction.rollback().await?;
        Ok(state)
    }
}

async fn read(transaction: &mut Transaction<'static, Any>) -> Result<PolicyState, StoreError> {
    let version =
        sqlx::query("SELECT version FROM policy_head WHERE id = 1").fetch_one(&mut **transaction).await?;
    let found = sqlx::query(grants::ALL_GRANTS).fetch_all(&mut **transaction).await?;
    let memberships =
        sqlx::query("SELECT group_id, member_id FROM memberships").fetch_all(&mut **transaction).await?;
    let parents = sqlx::query("SELECT id, parent FROM securables").fetch_all(&mut **transaction).await?;
    let principals: Vec<(Principal, bool)> = sqlx::query("SELECT id, active FROM principals")
        .fetch_all(&mut **transaction)
        .await?
        .iter()
        .map(|row| Ok((rows::parsed(row, "id")?, rows::number(row, "active")? != 0)))
        .collect::<Result<_, StoreError>>()?;
    Ok(PolicyState {
        version: version.try_get(0)?,
        grants: found.iter().map(grants::read).collect::<Result<_, _>>()?,
        memberships: memberships
            .iter()
            .map(|row| Ok((rows::parsed(row, "group_id")?, rows::parsed(row, "member_id")?)))
            .collect::<Result<_, StoreError>>()?,
        parents: parents
            .iter()
            .map(|row| Ok((rows::parsed(row, "id")?, rows::parsed(row, "parent")?)))
            .collect::<Result<_, StoreError>>()?,
        inactive: principals
            .iter()
            .filter(|(_, active)| !active)
            .map(|(principal, _)| principal.clone())
            .collect(),
        principals,
    })
}
