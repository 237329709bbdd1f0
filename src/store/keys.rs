//! Keys that all replicas share, by what they are for: made, taking over, accepted, retired.
//!
//! The key that makes is the newest whose time has come. The time is in the row, so that a rotation is one
//! commit: nobody has to come back for a second step, and every replica knows the key before it is used.

mod dependents;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::administrators::keep_an_administrator;
use super::change::PolicyTransaction;
use super::error::StoreError;
use super::{Store, rows};
use crate::clock::UnixMillis;
use crate::secret::SecretKey;

/// Keys of one purpose that are not retired, at most: each is one more hash for every unknown token.
pub const MOST_KEYS: usize = 4;
/// The id of the key that was there before keys had ids.
pub const FIRST_KEY: &str = "k1";

/// What a key is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Seals page tokens and signs URLs.
    Sealing,
    /// Hashes tokens.
    Token,
    /// Hashes the secrets of service principals.
    ClientSecret,
    /// Hashes the cookies of browsers, and makes the tokens of forms.
    Session,
    /// Seals what issuers gave with a session.
    SessionTokens,
}

impl Purpose {
    pub const ALL: [Self; 5] =
        [Self::Sealing, Self::Token, Self::ClientSecret, Self::Session, Self::SessionTokens];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealing => "sealing",
            Self::Token => "token",
            Self::ClientSecret => "client-secret",
            Self::Session => "session",
            Self::SessionTokens => "session-tokens",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }

    /// The name of its first key among the secrets.
    fn secret(self) -> &'static str {
        match self {
            Self::Sealing => "page-tokens",
            Self::Token => "token-hash",
            Self::ClientSecret => "client-secret-hash",
            Self::Session => "session-hash",
            Self::SessionTokens => "session-tokens",
        }
    }

    /// How long what nobody counts may still be good after the last was made (milliseconds): signed URLs, and
    /// sign-ins that were begun.
    fn outlived_ms(self) -> i64 {
        match self {
            Self::Sealing => 3_600_000,
            Self::SessionTokens => 600_000,
            Self::Token | Self::ClientSecret | Self::Session => 0,
        }
    }

    /// What is made with it and counted.
    fn things(self) -> &'static str {
        match self {
            Self::Sealing => "page tokens",
            Self::Token => "tokens",
            Self::ClientSecret => "client secrets",
            Self::Session | Self::SessionTokens => "sessions",
        }
    }
}

/// A hash, and the id of the key that it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedHash {
    pub key: String,
    pub hash: [u8; 32],
}

impl From<[u8; 32]> for KeyedHash {
    /// Of the first key.
    fn from(hash: [u8; 32]) -> Self {
        Self { key: FIRST_KEY.to_owned(), hash }
    }
}

/// A key as the database has it.
#[derive(Debug, Clone)]
pub struct KeyRow {
    pub purpose: Purpose,
    pub id: String,
    /// `None`: retired.
    pub value: Option<SecretKey>,
    pub created_at: UnixMillis,
    pub created_by: String,
    pub active_from: UnixMillis,
    pub retired_at: Option<UnixMillis>,
    pub retired_by: Option<String>,
}

/// How a key is to be retired.
#[derive(Debug, Clone, Copy)]
pub struct Retirement {
    /// Even if something still depends on it, which then ends.
    pub force: bool,
    /// How long its successor must have been in use (milliseconds), so that every replica knows of it.
    pub settled_ms: i64,
    /// Another key than one of the database makes.
    pub replaced: bool,
}

/// A key that was retired.
#[derive(Debug)]
pub struct Retired {
    /// As it was.
    pub key: KeyRow,
    /// How many tokens, secrets or sessions ended with it.
    pub ended: i64,
}

impl Store {
    /// All keys, retired ones too, oldest first in each purpose.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        let found = sqlx::query(
            "SELECT purpose, number, value, created_at_ms, created_by, active_from_ms, retired_at_ms, \
             retired_by FROM keys ORDER BY purpose, number",
        )
        .fetch_all(&self.database.reader)
        .await?;
        found.iter().map(row).collect()
    }

    /// Makes the first key of a purpose where there is none that is accepted.
    pub async fn ensure_key(&self, purpose: Purpose, now: UnixMillis) -> Result<(), StoreError> {
        // What replicas of the version before have too.
        let first = SecretKey::from(self.secret(purpose.secret()).await?);
        let mut policy = self.begin_policy().await?;
        let keys = of_purpose(&mut policy, purpose).await?;
        let (number, value, from) = match keys.len() {
            0 => (1, first, 0),
            _ if keys.iter().any(|key| key.value.is_some()) => return Ok(()),
            known => (known + 1, SecretKey::random(), now.0),
        };
        insert(&mut policy, purpose, number, &value, "tracegate", now, UnixMillis(from)).await?;
        policy.transaction.commit().await?;
        Ok(())
    }

    /// Makes the next key, which takes over after `overlap_ms`. Rotations are one after another, whoever asks.
    pub async fn rotate_key(
        &self,
        purpose: Purpose,
        overlap_ms: i64,
        by: &str,
        now: UnixMillis,
    ) -> Result<KeyRow, StoreError> {
        let mut policy = self.begin_policy().await?;
        let keys = of_purpose(&mut policy, purpose).await?;
        let name = purpose.as_str();
        let mut live = keys.iter().filter(|key| key.value.is_some());
        if let Some(waiting) = live.clone().find(|key| key.active_from > now) {
            return Err(StoreError::Refused(format!(
                "key `{}` of `{name}` is made already and takes over in {} seconds; wait for it, or retire it",
                waiting.id,
                (waiting.active_from.0 - now.0) / 1000 + 1,
            )));
        }
        if live.clone().count() >= MOST_KEYS {
            let oldest = live.next().map_or("", |key| key.id.as_str());
            return Err(StoreError::Refused(format!(
                "`{name}` has {MOST_KEYS} keys that are accepted, the most there can be; retire one, such as \
                 `{oldest}`"
            )));
        }
        let (number, value) = (keys.len() + 1, SecretKey::random());
        let from = UnixMillis(now.0.saturating_add(overlap_ms.max(0)));
        insert(&mut policy, purpose, number, &value, by, now, from).await?;
        policy.transaction.commit().await?;
        Ok(KeyRow {
            purpose,
            id: id_of(number),
            value: Some(value),
            created_at: now,
            created_by: by.to_owned(),
            active_from: from,
            retired_at: None,
            retired_by: None,
        })
    }

    /// Retires a key for good: it is overwritten, and nothing that was made with it is good any more.
    pub async fn retire_key(
        &self,
        purpose: Purpose,
        id: &str,
        how: Retirement,
        by: &str,
        now: UnixMillis,
    ) -> Result<Retired, StoreError> {
        let mut policy = self.begin_policy().await?;
        let keys = of_purpose(&mut policy, purpose).await?;
        let position = keys.iter().position(|key| key.id == id);
        let position =
            position.ok_or_else(|| StoreError::NotFound(format!("key `{id}` of `{}`", purpose.as_str())))?;
        may_retire(&keys, position, how, now)?;
        let before = self.administrators(&mut policy.transaction, now).await?;
        let waiting = dependents::count(&mut policy.transaction, purpose, id, now).await?;
        if waiting > 0 && !how.force {
            return Err(StoreError::Refused(format!(
                "{waiting} {} that are in force were made with key `{id}` and not used since it was replaced; \
                 wait, or retire it with `force`: they then stop working",
                purpose.things()
            )));
        }
        let ended = dependents::end(&mut policy.transaction, purpose, id, now).await?;
        keep_an_administrator(&mut policy.transaction, before).await?;
        sqlx::query(
            "UPDATE keys SET value = NULL, retired_at_ms = $1, retired_by = $2 WHERE purpose = $3 AND number = $4",
        )
        .bind(now.0)
        .bind(by)
        .bind(purpose.as_str())
        .bind(as_number(position + 1))
        .execute(&mut *policy.transaction)
        .await?;
        if id == FIRST_KEY {
            // Kept a second time for replicas of the version before: they make what is good nowhere from now on.
            sqlx::query("UPDATE secrets SET value = $1 WHERE name = $2")
                .bind(SecretKey::random().expose().to_vec())
                .bind(purpose.secret())
                .execute(&mut *policy.transaction)
                .await?;
        }
        policy.transaction.commit().await?;
        let key = keys.into_iter().nth(position);
        let key = key.ok_or_else(|| StoreError::NotFound(format!("key `{id}`")))?;
        Ok(Retired { key, ended })
    }
}

/// Neither the key that makes, nor one that a replica may still take for it.
fn may_retire(keys: &[KeyRow], position: usize, how: Retirement, now: UnixMillis) -> Result<(), StoreError> {
    let key = &keys[position];
    let (id, name) = (&key.id, key.purpose.as_str());
    if key.value.is_none() {
        return Err(StoreError::Refused(format!("key `{id}` of `{name}` is retired already")));
    }
    let in_use = |key: &&KeyRow| key.value.is_some() && key.active_from <= now;
    if how.replaced || !in_use(&key) {
        return Ok(());
    }
    let Some(successor) = keys[position + 1..].iter().find(in_use) else {
        return Err(StoreError::Refused(format!(
            "key `{id}` of `{name}` is the active one; rotate first, and retire it once the next has taken over"
        )));
    };
    let needed = how.settled_ms.max(key.purpose.outlived_ms());
    let left = successor.active_from.0.saturating_add(needed).saturating_sub(now.0);
    if left > 0 && !how.force {
        return Err(StoreError::Refused(format!(
            "key `{id}` of `{name}` was replaced too short a time ago: what was made with it last may be good for \
             {} seconds more; wait, or retire it with `force`",
            (left - 1) / 1000 + 1
        )));
    }
    Ok(())
}

/// The keys of a purpose, in their order, in a transaction that nobody else can change them beside.
async fn of_purpose(policy: &mut PolicyTransaction, purpose: Purpose) -> Result<Vec<KeyRow>, StoreError> {
    let found = sqlx::query(
        "SELECT purpose, number, value, created_at_ms, created_by, active_from_ms, retired_at_ms, retired_by \
         FROM keys WHERE purpose = $1 ORDER BY number",
    )
    .bind(purpose.as_str())
    .fetch_all(&mut *policy.transaction)
    .await?;
    let keys: Vec<KeyRow> = found.iter().map(row).collect::<Result<_, _>>()?;
    // Rows stay for good, so that no id is ever given again.
    match keys.iter().enumerate().find(|(index, key)| key.id != id_of(index + 1)) {
        Some(_) => Err(StoreError::Corrupt(format!("a key of `{}` is missing", purpose.as_str()))),
        None => Ok(keys),
    }
}

async fn insert(
    policy: &mut PolicyTransaction,
    purpose: Purpose,
    number: usize,
    value: &SecretKey,
    by: &str,
    now: UnixMillis,
    active_from: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO keys (purpose, number, value, created_at_ms, created_by, active_from_ms) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(purpose.as_str())
    .bind(as_number(number))
    .bind(value.expose().to_vec())
    .bind(now.0)
    .bind(by)
    .bind(active_from.0)
    .execute(&mut *policy.transaction)
    .await?;
    Ok(())
}

fn as_number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn id_of(number: usize) -> String {
    format!("k{number}")
}

fn row(row: &AnyRow) -> Result<KeyRow, StoreError> {
    let purpose = rows::text(row, "purpose")?;
    let number = rows::number(row, "number")?;
    let corrupt = |what: &str| StoreError::Corrupt(format!("key {number} of `{purpose}` {what}"));
    let retired_at = rows::optional_time(row, "retired_at_ms")?;
    let value: Option<Vec<u8>> = row.try_get("value")?;
    let value = match (value, retired_at) {
        (Some(bytes), None) => {
            Some(SecretKey::from_bytes(bytes).ok_or_else(|| corrupt("is not 32 bytes long"))?)
        }
        (None, Some(_)) => None,
        _ => return Err(corrupt("is neither accepted nor retired")),
    };
    Ok(KeyRow {
        purpose: Purpose::parse(&purpose).ok_or_else(|| corrupt("is for nothing that is known"))?,
        id: format!("k{number}"),
        value,
        created_at: rows::time(row, "created_at_ms")?,
        created_by: rows::text(row, "created_by")?,
        active_from: rows::time(row, "active_from_ms")?,
        retired_at,
        retired_by: row.try_get("retired_by")?,
    })
}
