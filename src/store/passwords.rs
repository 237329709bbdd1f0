//! Passwords: a slow, salted hash for each user that has one. What a guess is worth is for `identity` to say.

use sqlx::Row;

use super::error::StoreError;
use super::{Store, rows};
use crate::access::Principal;
use crate::clock::UnixMillis;

/// What signing in needs to know of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordRecord {
    /// `None`: no password signs this user in.
    pub hash: Option<String>,
    pub changed_at: UnixMillis,
    pub active: bool,
}

impl Store {
    /// `None`: no such principal.
    pub async fn password(&self, principal: &Principal) -> Result<Option<PasswordRecord>, StoreError> {
        let found = sqlx::query(
            "SELECT principals.active, passwords.hash, passwords.changed_at_ms FROM principals \
             LEFT JOIN passwords ON passwords.principal = principals.id WHERE principals.id = $1",
        )
        .bind(principal.to_string())
        .fetch_optional(&self.database.reader)
        .await?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(PasswordRecord {
            hash: row.try_get("hash")?,
            changed_at: rows::optional_time(&row, "changed_at_ms")?.unwrap_or(UnixMillis(0)),
            active: rows::number(&row, "active")? != 0,
        }))
    }

    /// Gives a known principal this password, in place of any before.
    pub async fn set_password(
        &self,
        principal: &Principal,
        hash: &str,
        by: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if self.is_active(principal).await?.is_none() {
            return Err(StoreError::NotFound(format!("`{principal}`")));
        }
        sqlx::query(
            "INSERT INTO passwords (principal, hash, changed_at_ms, changed_by) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (principal) DO UPDATE SET hash = excluded.hash, \
                 changed_at_ms = excluded.changed_at_ms, changed_by = excluded.changed_by",
        )
        .bind(principal.to_string())
        .bind(hash)
        .bind(now.0)
        .bind(by)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    /// Gives a principal that is active a password if it has none; `false`: it has one, or is not there.
    pub async fn add_password(
        &self,
        principal: &Principal,
        hash: &str,
        by: &str,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO passwords (principal, hash, changed_at_ms, changed_by) \
             SELECT id, $2, $3, $4 FROM principals WHERE id = $1 AND active = 1 \
             ON CONFLICT (principal) DO NOTHING",
        )
        .bind(principal.to_string())
        .bind(hash)
        .bind(now.0)
        .bind(by)
        .execute(&self.database.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The same password under another hash, unless it was changed meanwhile.
    pub async fn rehash_password(
        &self,
        principal: &Principal,
        from: &str,
        to: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE passwords SET hash = $1 WHERE principal = $2 AND hash = $3")
            .bind(to)
            .bind(principal.to_string())
            .bind(from)
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
