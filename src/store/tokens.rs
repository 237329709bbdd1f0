//! Opaque tokens: kept as a keyed hash, from which the token cannot be had again.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::administrators::keep_an_administrator;
use super::error::StoreError;
use super::keys::KeyedHash;
use super::{Store, rows};
use crate::access::{Principal, Scope};
use crate::clock::UnixMillis;

/// Who made a token, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Made by a person, to be kept.
    Personal,
    /// Made by the token endpoint for a client secret or another issuer's token; short-lived.
    Oauth,
}

impl TokenKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Oauth => "oauth",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        [Self::Personal, Self::Oauth]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt(format!("`{text}` is no kind of token")))
    }
}

#[derive(Clone)]
pub struct NewToken {
    pub id: String,
    /// HMAC-SHA256 of the token under a key for tokens.
    pub hash: KeyedHash,
    pub principal: Principal,
    /// What its owner calls it.
    pub name: String,
    pub created_at: UnixMillis,
    pub created_by: String,
    /// `None`: it does not expire.
    pub expires_at: Option<UnixMillis>,
    /// `None`: for all that its principal may do.
    pub scopes: Option<Vec<Scope>>,
    /// The client secret or trust rule that an access token was got for. With it the token is of kind `oauth`.
    pub source: Option<String>,
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
    pub kind: TokenKind,
    /// What it is for, if for less than all that its principal may do.
    pub scopes: Option<Vec<Scope>>,
    /// The client secret or trust rule that it was got for.
    pub source: Option<String>,
}

/// The columns of a [`TokenRecord`], for each query to end in its own way.
macro_rules! select_tokens {
    ($end:literal) => {
        concat!(
            "SELECT tokens.id, tokens.hash, tokens.principal, tokens.name, tokens.created_at_ms, \
             tokens.created_by, tokens.expires_at_ms, tokens.last_used_at_ms, tokens.revoked_at_ms, \
             tokens.kind, tokens.scopes, tokens.source, principals.active FROM tokens JOIN principals ON principals.id = tokens.principal ",
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
        let mut connection = self.database.writer.acquire().await?;
        insert(&mut connection, token).await
    }

    /// The token of one of these hashes, also when it expired or was revoked: the caller decides and says why.
    pub async fn token_by_hash(
        &self,
        hashes: &[KeyedHash],
    ) -> Result<Option<(TokenRecord, KeyedHash)>, StoreError> {
        let [a, b, c, d, e, f, g, h] = rows::asked(hashes)?;
        let found = sqlx::query(select_tokens!("WHERE tokens.hash IN ($1, $2, $3, $4, $5, $6, $7, $8)"))
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

    /// The tokens of one kind, of one principal or all; oldest first.
    pub async fn tokens(
        &self,
        principal: Option<&Principal>,
        kind: TokenKind,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let query = match principal {
            Some(principal) => sqlx::query(select_tokens!(
                "WHERE tokens.kind = $1 AND tokens.principal = $2 ORDER BY tokens.created_at_ms, tokens.id"
            ))
            .bind(kind.as_str())
            .bind(principal.to_string()),
            None => {
                sqlx::query(select_tokens!("WHERE tokens.kind = $1 ORDER BY tokens.created_at_ms, tokens.id"))
                    .bind(kind.as_str())
            }
        };
        query.fetch_all(&self.database.reader).await?.iter().map(record).collect()
    }

    pub async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        let found = sqlx::query(select_tokens!("WHERE tokens.id = $1"))
            .bind(id)
            .fetch_optional(&self.database.reader)
            .await?;
        found.as_ref().map(record).transpose()
    }

    /// Forgets access tokens that ended before a time; answers how many. Others stay, as records name them.
    pub async fn prune_access_tokens(&self, ended_before: UnixMillis) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM tokens WHERE kind = 'oauth' AND expires_at_ms < $1")
            .bind(ended_before.0)
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected())
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

/// Writes the row; its principal must be there.
pub(super) async fn insert(connection: &mut sqlx::AnyConnection, token: &NewToken) -> Result<(), StoreError> {
    let kind = if token.source.is_some() { TokenKind::Oauth } else { TokenKind::Personal };
    sqlx::query(
        "INSERT INTO tokens (id, hash, principal, name, created_at_ms, created_by, expires_at_ms, kind, \
         scopes, source, hash_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&token.id)
    .bind(token.hash.hash.to_vec())
    .bind(token.principal.to_string())
    .bind(&token.name)
    .bind(token.created_at.0)
    .bind(&token.created_by)
    .bind(token.expires_at.map(|time| time.0))
    .bind(kind.as_str())
    .bind(written(token.scopes.as_deref())?)
    .bind(&token.source)
    .bind(&token.hash.key)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn written(scopes: Option<&[Scope]>) -> Result<Option<String>, StoreError> {
    let write =
        |scopes| serde_json::to_string(scopes).map_err(|error| StoreError::Refused(error.to_string()));
    scopes.map(write).transpose()
}

/// What does not parse must not become a token for everything.
pub(super) fn scopes(row: &AnyRow) -> Result<Option<Vec<Scope>>, StoreError> {
    let text: Option<String> = row.try_get("scopes")?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("scopes: {error}")))
    };
    text.map(read).transpose()
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
        kind: TokenKind::parse(&rows::text(row, "kind")?)?,
        scopes: scopes(row)?,
        source: row.try_get("source")?,
    })
}
