//! Opaque tokens: kept as a keyed hash, from which the token cannot be had again.

use sqlx::Row;
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;

use super::administrators::keep_an_administrator;
use super::error::StoreError;
use super::{Store, rows};
use crate::access::Principal;
use crate::clock::UnixMillis;

#[derive(Clone)]
pub struct NewToken {
    pub id: String,
    /// HMAC-SHA256 of the token under the store's `token-hash` secret.
    pub hash: [u8; 32],
    pub principal: Principal,
    /// What its owner calls it.
    pub name: String,
    pub created_at: UnixMillis,
    pub created_by: String,
    /// `None`: it does not expire.
    pub expires_at: Option<UnixMillis>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TokenRecord {
    pub id: String,
    pub principal: Principal,
    pub name: String,
    #[serde(rename = "created_at_ms")]
    pub created_at: UnixMillis,
    pub created_by: String,
    #[serde(rename = "expires_at_ms")]
    pub expires_at: Option<UnixMillis>,
    #[serde(rename = "last_used_at_ms")]
    pub last_used_at: Option<UnixMillis>,
    #[serde(rename = "revoked_at_ms")]
    pub revoked_at: Option<UnixMillis>,
    pub principal_active: bool,
}

/// The columns of a [`TokenRecord`], for each query to end in its own way.
macro_rules! select_tokens {
    ($end:literal) => {
        concat!(
            "SELECT tokens.id, tokens.hash, tokens.principal, tokens.name, tokens.created_at_ms, \
             tokens.created_by, tokens.expires_at_ms, tokens.last_used_at_ms, tokens.revoked_at_ms, \
             principals.active FROM tokens JOIN principals ON principals.id = tokens.principal ",
            $end
        )
    };
}

impl Store {
    /// Keeps a token of a principal that is known already.
    pub async fn add_token(&self, token: &NewToken) -> Result<(), StoreError> {
        if self.is_active(&token.principal).await?.is_none() {
            return Err(StoreError::NotFound(format!("`{}`", token.principal)));
        }
        sqlx::query(
            "INSERT INTO tokens (id, hash, principal, name, created_at_ms, created_by, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&token.id)
        .bind(token.hash.to_vec())
        .bind(token.principal.to_string())
        .bind(&token.name)
        .bind(token.created_at.0)
        .bind(&token.created_by)
        .bind(token.expires_at.map(|time| time.0))
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    /// The token of this hash, also when it expired or was revoked: the caller decides and says why.
    pub async fn token_by_hash(&self, hash: &[u8]) -> Result<Option<TokenRecord>, StoreError> {
        let found = sqlx::query(select_tokens!("WHERE tokens.hash = $1"))
            .bind(hash.to_vec())
            .fetch_optional(&self.database.reader)
            .await?;
        let Some(row) = found else { return Ok(None) };
        // The index compared with an early exit; this comparison is the one that counts.
        let stored: Vec<u8> = row.try_get("hash")?;
        if !bool::from(stored.as_slice().ct_eq(hash)) {
            return Ok(None);
        }
        record(&row).map(Some)
    }

    /// Whose token it is, whether it is good or not.
    pub async fn token_owner(&self, id: &str) -> Result<Option<Principal>, StoreError> {
        let row = sqlx::query("SELECT principal FROM tokens WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(|row| rows::parsed(&row, "principal")).transpose()
    }

    /// The tokens of one principal, or all; oldest first.
    pub async fn tokens(&self, principal: Option<&Principal>) -> Result<Vec<TokenRecord>, StoreError> {
        let query = match principal {
            Some(principal) => sqlx::query(select_tokens!(
                "WHERE tokens.principal = $1 ORDER BY tokens.created_at_ms, tokens.id"
            ))
            .bind(principal.to_string()),
            None => sqlx::query(select_tokens!("ORDER BY tokens.created_at_ms, tokens.id")),
        };
        query.fetch_all(&self.database.reader).await?.iter().map(record).collect()
    }

    /// Revokes the token for good; `false` when there is none or it was revoked before. The last one by which
    /// an administrator can call stays.
    pub async fn revoke_token(&self, id: &str, now: UnixMillis) -> Result<bool, StoreError> {
        // Under the policy lock, or two at once would each leave the other's.
        let mut policy = self.begin_policy().await?;
        let before = self.administrators(&mut policy.transaction, now).await?;
        let done =
            sqlx::query("UPDATE tokens SET revoked_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL")
                .bind(now.0)
                .bind(id)
                .execute(&mut *policy.transaction)
                .await?;
        keep_an_administrator(&mut policy.transaction, before).await?;
        policy.transaction.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that the token was used; an older time never overwrites a newer one.
    pub async fn touch_token(&self, id: &str, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE tokens SET last_used_at_ms = $1 \
             WHERE id = $2 AND (last_used_at_ms IS NULL OR last_used_at_ms < $1)",
        )
        .bind(now.0)
        .bind(id)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }
}

fn record(row: &AnyRow) -> Result<TokenRecord, StoreError> {
    Ok(TokenRecord {
        id: rows::text(row, "id")?,
        principal: rows::parsed(row, "principal")?,
        name: rows::text(row, "name")?,
        created_at: rows::time(row, "created_at_ms")?,
        created_by: rows::text(row, "created_by")?,
        expires_at: rows::optional_time(row, "expires_at_ms")?,
        last_used_at: rows::optional_time(row, "last_used_at_ms")?,
        revoked_at: rows::optional_time(row, "revoked_at_ms")?,
        principal_active: rows::number(row, "active")? != 0,
    })
}
