//! What was made with a key and is still in force: counted, ended with the key, and hashed anew when it is used.

use std::collections::HashMap;

use sqlx::{Any, Row, Transaction};

use super::{FIRST_KEY, KeyedHash, Purpose};
use crate::clock::UnixMillis;
use crate::store::error::StoreError;
use crate::store::{Store, rows};

macro_rules! in_force {
    ($before:literal, tokens, $after:literal) => {
        concat!($before, " revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $1) ", $after)
    };
    ($before:literal, sessions, $after:literal) => {
        concat!($before, " ended_at_ms IS NULL AND expires_at_ms > $1 ", $after)
    };
}

/// How the text of what is sealed with a key begins: that of the first key has no id before it.
fn sealed_with(key: &str) -> (&'static str, String) {
    match key {
        FIRST_KEY => ("first", "%.%".to_owned()),
        // Ids have neither `%` nor `_`.
        id => ("other", format!("{id}.%")),
    }
}

pub(super) async fn count(
    transaction: &mut Transaction<'static, Any>,
    purpose: Purpose,
    key: &str,
    now: UnixMillis,
) -> Result<i64, StoreError> {
    let (kind, pattern) = sealed_with(key);
    let (query, by) = match (purpose, kind) {
        (Purpose::Sealing, _) => return Ok(0),
        (Purpose::Token, _) => {
            (in_force!("SELECT COUNT(*) FROM tokens WHERE", tokens, "AND hash_key = $2"), key)
        }
        (Purpose::ClientSecret, _) => {
            (in_force!("SELECT COUNT(*) FROM client_secrets WHERE", tokens, "AND hash_key = $2"), key)
        }
        (Purpose::Session, _) => {
            (in_force!("SELECT COUNT(*) FROM sessions WHERE", sessions, "AND hash_key = $2"), key)
        }
        (Purpose::SessionTokens, "first") => (
            in_force!("SELECT COUNT(*) FROM sessions WHERE", sessions, "AND sealed_tokens NOT LIKE $2"),
            pattern.as_str(),
        ),
        (Purpose::SessionTokens, _) => (
            in_force!("SELECT COUNT(*) FROM sessions WHERE", sessions, "AND sealed_tokens LIKE $2"),
            pattern.as_str(),
        ),
    };
    let row = sqlx::query(query).bind(now.0).bind(by.to_owned()).fetch_one(&mut **transaction).await?;
    Ok(row.try_get(0)?)
}

/// Ends what was made with the key, so that it is listed as ended and nothing waits for it.
pub(super) async fn end(
    transaction: &mut Transaction<'static, Any>,
    purpose: Purpose,
    key: &str,
    now: UnixMillis,
) -> Result<i64, StoreError> {
    let (kind, pattern) = sealed_with(key);
    macro_rules! end_sessions {
        ($which:literal) => {
            in_force!(
                "UPDATE sessions SET ended_at_ms = $1, ended_why = 'lost its key, which was retired', \
                 sealed_tokens = '' WHERE",
                sessions,
                $which
            )
        };
    }
    let (query, by) = match (purpose, kind) {
        (Purpose::Sealing, _) => return Ok(0),
        (Purpose::Token, _) => {
            (in_force!("UPDATE tokens SET revoked_at_ms = $1 WHERE", tokens, "AND hash_key = $2"), key)
        }
        (Purpose::ClientSecret, _) => {
            // As when each is revoked: with what was got for it.
            sqlx::query(
                "UPDATE tokens SET revoked_at_ms = $1 WHERE revoked_at_ms IS NULL AND source IN \
                 (SELECT id FROM client_secrets WHERE hash_key = $2 AND revoked_at_ms IS NULL)",
            )
            .bind(now.0)
            .bind(key)
            .execute(&mut **transaction)
            .await?;
            (
                in_force!("UPDATE client_secrets SET revoked_at_ms = $1 WHERE", tokens, "AND hash_key = $2"),
                key,
            )
        }
        (Purpose::Session, _) => (end_sessions!("AND hash_key = $2"), key),
        (Purpose::SessionTokens, "first") => {
            (end_sessions!("AND sealed_tokens NOT LIKE $2"), pattern.as_str())
        }
        (Purpose::SessionTokens, _) => (end_sessions!("AND sealed_tokens LIKE $2"), pattern.as_str()),
    };
    let done = sqlx::query(query).bind(now.0).bind(by.to_owned()).execute(&mut **transaction).await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

macro_rules! rehash {
    ($table:literal, $purpose:literal, $in_force:literal) => {
        // Not with a key that was retired meanwhile, of which this replica has not heard yet.
        concat!(
            "UPDATE ",
            $table,
            " SET hash = $1, hash_key = $2 WHERE id = $3 AND hash = $4 AND ",
            $in_force,
            " IS NULL AND NOT EXISTS (SELECT 1 FROM keys WHERE purpose = '",
            $purpose,
            "' AND 'k' || number = $2 AND retired_at_ms IS NOT NULL)"
        )
    };
}

impl Store {
    /// How much that is in force was made with each key; keys of files too.
    pub async fn key_dependents(
        &self,
        now: UnixMillis,
    ) -> Result<HashMap<(Purpose, String), i64>, StoreError> {
        let queries = [
            (
                Purpose::Token,
                in_force!("SELECT hash_key, COUNT(*) FROM tokens WHERE", tokens, "GROUP BY hash_key"),
            ),
            (
                Purpose::ClientSecret,
                in_force!("SELECT hash_key, COUNT(*) FROM client_secrets WHERE", tokens, "GROUP BY hash_key"),
            ),
            (
                Purpose::Session,
                in_force!("SELECT hash_key, COUNT(*) FROM sessions WHERE", sessions, "GROUP BY hash_key"),
            ),
        ];
        let mut found = HashMap::new();
        for (purpose, query) in queries {
            for row in sqlx::query(query).bind(now.0).fetch_all(&self.database.reader).await? {
                found.insert((purpose, rows::text(&row, "hash_key")?), row.try_get(1)?);
            }
        }
        let sealed = sqlx::query(in_force!("SELECT sealed_tokens FROM sessions WHERE", sessions, ""))
            .bind(now.0)
            .fetch_all(&self.database.reader)
            .await?;
        for row in sealed {
            let text = rows::text(&row, "sealed_tokens")?;
            let key = text.split_once('.').map_or(FIRST_KEY, |(id, _)| id).to_owned();
            *found.entry((Purpose::SessionTokens, key)).or_insert(0) += 1;
        }
        Ok(found)
    }

    /// Gives the thing of this id, whose hash is `old`, the hash of another key. False if it changed meanwhile.
    pub async fn rehash(
        &self,
        purpose: Purpose,
        id: &str,
        old: &[u8; 32],
        new: &KeyedHash,
    ) -> Result<bool, StoreError> {
        let query = match purpose {
            Purpose::Token => rehash!("tokens", "token", "revoked_at_ms"),
            Purpose::ClientSecret => rehash!("client_secrets", "client-secret", "revoked_at_ms"),
            Purpose::Session => rehash!("sessions", "session", "ended_at_ms"),
            Purpose::Sealing | Purpose::SessionTokens => return Ok(false),
        };
        let done = sqlx::query(query)
            .bind(new.hash.to_vec())
            .bind(&new.key)
            .bind(id)
            .bind(old.to_vec())
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a session what is sealed anew, unless it changed meanwhile.
    pub async fn reseal_session(&self, id: &str, old: &str, new: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET sealed_tokens = $1 WHERE id = $2 AND sealed_tokens = $3 AND ended_at_ms IS NULL",
        )
        .bind(new)
        .bind(id)
        .bind(old)
        .execute(&self.database.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
