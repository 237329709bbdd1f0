//! Somebody must stay who can administer: in `admins` through whatever group, active, and with a way to call.

use sqlx::{Any, Row, Transaction};

use super::Store;
use super::error::StoreError;
use crate::access::Principal;
use crate::clock::UnixMillis;

/// How many administrators there are.
pub(super) struct Administrators {
    /// Users and service principals that may authenticate.
    active: i64,
    /// Those of them with a token that is good; unknown where people may come with credentials of others.
    with_token: Option<i64>,
    now: UnixMillis,
}

macro_rules! administrators {
    ($what:literal, $end:literal) => {
        concat!(
            "WITH RECURSIVE reached (id) AS ( \
                 SELECT id FROM principals WHERE id = 'group:admins' \
                 UNION \
                 SELECT memberships.member_id FROM memberships \
                 JOIN reached ON memberships.group_id = reached.id \
             ) \
             SELECT ",
            $what,
            " FROM reached JOIN principals ON principals.id = reached.id \
             WHERE principals.active = 1 AND substr(principals.id, 1, 6) <> 'group:'",
            $end
        )
    };
}

/// A token for less than all cannot administer, and those of the token endpoint end within the hour.
const COUNT: &str = administrators!(
    "COUNT(*) AS active, COUNT(CASE WHEN EXISTS ( \
         SELECT 1 FROM tokens WHERE tokens.principal = principals.id AND tokens.revoked_at_ms IS NULL \
         AND (tokens.expires_at_ms IS NULL OR tokens.expires_at_ms > $1) \
         AND tokens.scopes IS NULL AND tokens.kind = 'personal' \
     ) THEN 1 END) AS with_token",
    ""
);

impl Store {
    /// To be asked before a change, for [`keep_an_administrator`] after it.
    pub(super) async fn administrators(
        &self,
        transaction: &mut Transaction<'static, Any>,
        now: UnixMillis,
    ) -> Result<Administrators, StoreError> {
        let (active, with_token) = count(transaction, now).await?;
        Ok(Administrators { active, with_token: (!self.issuers).then_some(with_token), now })
    }

    /// An administrator to make a token for, if none can call: time may take what no call can.
    pub async fn administrator_without_token(
        &self,
        now: UnixMillis,
    ) -> Result<Option<Principal>, StoreError> {
        if self.issuers {
            return Ok(None);
        }
        let mut transaction = self.database.begin_read().await?;
        let (_, with_token) = count(&mut transaction, now).await?;
        let first = sqlx::query(administrators!(
            "principals.id",
            " ORDER BY principals.created_at_ms, principals.id"
        ))
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        match first {
            Some(row) if with_token == 0 => super::rows::parsed(&row, "id").map(Some),
            _ => Ok(None),
        }
    }
}

async fn count(
    transaction: &mut Transaction<'static, Any>,
    now: UnixMillis,
) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query(COUNT).bind(now.0).fetch_one(&mut **transaction).await?;
    Ok((row.try_get("active")?, row.try_get("with_token")?))
}

/// Refuses a change after which nobody could administer. Where nobody could before, nothing is lost.
pub(super) async fn keep_an_administrator(
    transaction: &mut Transaction<'static, Any>,
    before: Administrators,
) -> Result<(), StoreError> {
    let (active, with_token) = count(transaction, before.now).await?;
    if before.active > 0 && active == 0 {
        return Err(StoreError::LastAdministrator);
    }
    if before.with_token.is_some_and(|before| before > 0) && with_token == 0 {
        return Err(StoreError::LastCredential);
    }
    Ok(())
}
