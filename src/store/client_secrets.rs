//! Secrets of service principals, for the token endpoint: kept as a keyed hash. Several are good at once.
//!
//! A secret and the access tokens that were got for it end together. Both sides take the secret's row before
//! they touch tokens, so that no token is made for a secret while it is being revoked.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::StoreError;
use super::keys::KeyedHash;
use super::tokens::{self, NewToken};
use super::{Store, rows};
use crate::access::{Principal, PrincipalKind, Scope};
use crate::clock::UnixMillis;

/// Secrets that one service principal may have in force at once: enough to rotate, few enough to watch.
pub const MOST_SECRETS: i64 = 20;

#[derive(Clone)]
pub struct NewClientSecret {
    pub id: String,
    /// HMAC-SHA256 of the secret under the store's `client-secret-hash` secret.
    pub hash: KeyedHash,
    pub principal: Principal,
    pub created_at: UnixMillis,
    pub created_by: String,
    /// `None`: it does not expire.
    pub expires_at: Option<UnixMillis>,
    /// What tokens got for it are for, if for less than all.
    pub scopes: Option<Vec<Scope>>,
}

/// A secret, without itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClientSecretRecord {
    pub id: String,
    pub principal: Principal,
    #[serde(rename = "created_at_ms")]
    pub created_at: UnixMillis,
    pub created_by: String,
    #[serde(rename = "expires_at_ms")]
    pub expires_at: Option<UnixMillis>,
    #[serde(rename = "last_used_at_ms")]
    pub last_used_at: Option<UnixMillis>,
    #[serde(rename = "revoked_at_ms")]
    pub revoked_at: Option<UnixMillis>,
    pub scopes: Option<Vec<Scope>>,
    #[serde(skip)]
    pub principal_active: bool,
}

impl ClientSecretRecord {
    /// Whether a token may be got for it now.
    pub fn in_force(&self, now: UnixMillis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now) && self.principal_active
    }
}

macro_rules! select_secrets {
    ($end:literal) => {
        concat!(
            "SELECT client_secrets.id, client_secrets.hash, client_secrets.principal, \
             client_secrets.created_at_ms, client_secrets.created_by, client_secrets.expires_at_ms, \
             client_secrets.last_used_at_ms, client_secrets.revoked_at_ms, client_secrets.scopes, \
             principals.active FROM client_secrets JOIN principals ON principals.id = client_secrets.principal ",
            $end
        )
    };
}

impl Store {
    /// Keeps a secret of a service principal that is known and active, unless it has too many.
    pub async fn add_client_secret(&self, secret: &NewClientSecret) -> Result<(), StoreError> {
        let principal = &secret.principal;
        if principal.kind != PrincipalKind::ServicePrincipal {
            return Err(StoreError::Refused(format!("`{principal}` is not a service principal")));
        }
        let mut transaction = self.database.begin_write().await?;
        // Takes the row, so that secrets made at once are counted one after another.
        let row = sqlx::query("UPDATE principals SET active = active WHERE id = $1 RETURNING active")
            .bind(principal.to_string())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::NotFound(format!("`{principal}`")))?;
        if row.try_get::<i64, _>(0)? == 0 {
            return Err(StoreError::Refused(format!("`{principal}` is deactivated")));
        }
        let row = sqlx::query(
            "SELECT COUNT(*) FROM client_secrets WHERE principal = $1 AND revoked_at_ms IS NULL \
             AND (expires_at_ms IS NULL OR expires_at_ms > $2)",
        )
        .bind(principal.to_string())
        .bind(secret.created_at.0)
        .fetch_one(&mut *transaction)
        .await?;
        if row.try_get::<i64, _>(0)? >= MOST_SECRETS {
            return Err(StoreError::Refused(format!(
                "`{principal}` has {MOST_SECRETS} secrets in force, the most there can be; revoke one"
            )));
        }
        sqlx::query(
            "INSERT INTO client_secrets (id, hash, principal, created_at_ms, created_by, expires_at_ms, scopes, \
             hash_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&secret.id)
        .bind(secret.hash.hash.to_vec())
        .bind(principal.to_string())
        .bind(secret.created_at.0)
        .bind(&secret.created_by)
        .bind(secret.expires_at.map(|time| time.0))
        .bind(tokens::written(secret.scopes.as_deref())?)
        .bind(&secret.hash.key)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The secrets of a service principal, oldest first.
    pub async fn client_secrets(&self, principal: &Principal) -> Result<Vec<ClientSecretRecord>, StoreError> {
        let found = sqlx::query(select_secrets!(
            "WHERE client_secrets.principal = $1 ORDER BY client_secrets.created_at_ms, client_secrets.id"
        ))
        .bind(principal.to_string())
        .fetch_all(&self.database.reader)
        .await?;
        found.iter().map(record).collect()
    }

    /// The secret of one of these hashes, also when it is no good: the caller decides.
    pub async fn client_secret_by_hash(
        &self,
        hashes: &[KeyedHash],
    ) -> Result<Option<(ClientSecretRecord, KeyedHash)>, StoreError> {
        let [a, b, c, d, e, f, g, h] = rows::asked(hashes)?;
        let found =
            sqlx::query(select_secrets!("WHERE client_secrets.hash IN ($1, $2, $3, $4, $5, $6, $7, $8)"))
                .bind(a)
                .bind(b)
                .bind(c)
                .bind(d)
                .bind(e)
                .bind(f)
                .bind(g)
                .bind(h)
                .fetch_optional(&self.database.reader)
                .await?;
        let found = rows::of_hash(found.as_ref(), hashes)?;
        found.map(|(row, hash)| Ok((record(row)?, hash.clone()))).transpose()
    }

    /// Keeps an access token for a secret, and notes the secret's use; `false` when the secret or its principal
    /// is no good any more.
    pub async fn add_token_for_secret(&self, token: &NewToken, secret: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let taken = sqlx::query(
            "UPDATE client_secrets SET last_used_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL \
             AND (expires_at_ms IS NULL OR expires_at_ms > $1) \
             AND EXISTS (SELECT 1 FROM principals WHERE principals.id = client_secrets.principal \
             AND principals.active = 1)",
        )
        .bind(token.created_at.0)
        .bind(secret)
        .execute(&mut *transaction)
        .await?;
        if taken.rows_affected() != 1 {
            return Ok(false);
        }
        tokens::insert(&mut transaction, token).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Revokes a secret of this principal for good, and every token that was got for it. Answers the secret as
    /// it was; nothing when there is none in force.
    pub async fn revoke_client_secret(
        &self,
        principal: &Principal,
        id: &str,
        now: UnixMillis,
    ) -> Result<Option<ClientSecretRecord>, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let found = sqlx::query(select_secrets!("WHERE client_secrets.id = $1"))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(before) = found.as_ref().map(record).transpose()? else { return Ok(None) };
        let done = sqlx::query(
            "UPDATE client_secrets SET revoked_at_ms = $1 \
             WHERE id = $2 AND principal = $3 AND revoked_at_ms IS NULL",
        )
        .bind(now.0)
        .bind(id)
        .bind(principal.to_string())
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(None);
        }
        sqlx::query("UPDATE tokens SET revoked_at_ms = $1 WHERE source = $2 AND revoked_at_ms IS NULL")
            .bind(now.0)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(before))
    }

    /// The principal whom directories call by this number.
    pub async fn principal_of_number(&self, number: i64) -> Result<Option<Principal>, StoreError> {
        let row = sqlx::query("SELECT principal FROM directory WHERE number = $1")
            .bind(number)
            .fetch_optional(&self.database.reader)
            .await?;
        row.as_ref().map(|row| rows::parsed(row, "principal")).transpose()
    }

    /// The number by which directories call a principal.
    pub async fn number_of_principal(&self, principal: &Principal) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT number FROM directory WHERE principal = $1")
            .bind(principal.to_string())
            .fetch_optional(&self.database.reader)
            .await?;
        row.as_ref().map(|row| rows::number(row, "number")).transpose()
    }
}

fn record(row: &AnyRow) -> Result<ClientSecretRecord, StoreError> {
    Ok(ClientSecretRecord {
        id: rows::text(row, "id")?,
        principal: rows::parsed(row, "principal")?,
        created_at: rows::time(row, "created_at_ms")?,
        created_by: rows::text(row, "created_by")?,
        expires_at: rows::optional_time(row, "expires_at_ms")?,
        last_used_at: rows::optional_time(row, "last_used_at_ms")?,
        revoked_at: rows::optional_time(row, "revoked_at_ms")?,
        scopes: tokens::scopes(row)?,
        principal_active: rows::number(row, "active")? != 0,
    })
}
