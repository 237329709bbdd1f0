//! Sessions of browsers: the cookie as a keyed hash, the issuer's tokens sealed, and when and why each ended.

use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::error::StoreError;
use super::keys::KeyedHash;
use super::{Store, rows};
use crate::access::Principal;
use crate::clock::UnixMillis;

#[derive(Clone)]
pub struct NewSession {
    pub id: String,
    /// HMAC-SHA256 of the cookie under a key for sessions.
    pub hash: KeyedHash,
    pub principal: Principal,
    pub issuer: String,
    /// The `sub` claim, by which the issuer names the person when it says that they signed out.
    pub subject: String,
    /// The `sid` claim: the issuer's own session.
    pub issuer_session: Option<String>,
    /// Groups that the issuer asserted.
    pub groups: Vec<Principal>,
    pub sealed_tokens: String,
    pub created_at: UnixMillis,
    /// When it is to be renewed at the issuer; `None`: never.
    pub refresh_at: Option<UnixMillis>,
    pub expires_at: UnixMillis,
    pub source_address: Option<String>,
    pub user_agent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    pub id: String,
    pub principal: Principal,
    pub issuer: String,
    pub subject: String,
    pub groups: Vec<Principal>,
    pub sealed_tokens: String,
    pub created_at: UnixMillis,
    pub last_used_at: UnixMillis,
    pub refresh_at: Option<UnixMillis>,
    pub expires_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    pub ended_why: Option<String>,
    pub source_address: Option<String>,
    pub user_agent: Option<String>,
    pub principal_active: bool,
}

/// Which sessions to end.
#[derive(Debug, Clone, Copy)]
pub enum Sessions<'a> {
    One(&'a str),
    Of(&'a Principal),
    /// All of one person at an issuer.
    OfSubject {
        issuer: &'a str,
        subject: &'a str,
    },
    /// Those that came of one session at an issuer.
    OfIssuerSession {
        issuer: &'a str,
        session: &'a str,
    },
}

/// The columns of a [`SessionRecord`], for each query to end in its own way.
macro_rules! select_sessions {
    ($end:literal) => {
        concat!(
            "SELECT sessions.id, sessions.hash, sessions.principal, sessions.issuer, sessions.subject, \
             sessions.groups, sessions.sealed_tokens, sessions.created_at_ms, sessions.last_used_at_ms, \
             sessions.refresh_at_ms, sessions.expires_at_ms, sessions.ended_at_ms, sessions.ended_why, \
             sessions.source_address, sessions.user_agent, principals.active \
             FROM sessions JOIN principals ON principals.id = sessions.principal ",
            $end
        )
    };
}

impl Store {
    /// Keeps a session of a principal that is known already.
    pub async fn add_session(&self, session: &NewSession) -> Result<(), StoreError> {
        if self.is_active(&session.principal).await?.is_none() {
            return Err(StoreError::NotFound(format!("`{}`", session.principal)));
        }
        sqlx::query(
            "INSERT INTO sessions (id, hash, principal, issuer, subject, issuer_session, groups, \
             sealed_tokens, created_at_ms, last_used_at_ms, refresh_at_ms, expires_at_ms, source_address, \
             user_agent, hash_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14)",
        )
        .bind(&session.id)
        .bind(session.hash.hash.to_vec())
        .bind(session.principal.to_string())
        .bind(&session.issuer)
        .bind(&session.subject)
        .bind(session.issuer_session.as_deref())
        .bind(written(&session.groups)?)
        .bind(&session.sealed_tokens)
        .bind(session.created_at.0)
        .bind(session.refresh_at.map(|time| time.0))
        .bind(session.expires_at.0)
        .bind(session.source_address.as_deref())
        .bind(session.user_agent.as_deref())
        .bind(&session.hash.key)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    /// The session of one of these hashes, also when it has ended: the caller decides and says why.
    pub async fn session_by_hash(
        &self,
        hashes: &[KeyedHash],
    ) -> Result<Option<(SessionRecord, KeyedHash)>, StoreError> {
        let [a, b, c, d, e, f, g, h] = rows::asked(hashes)?;
        let found = sqlx::query(select_sessions!("WHERE sessions.hash IN ($1, $2, $3, $4, $5, $6, $7, $8)"))
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

    /// The sessions of one principal, or all, that have not ended by `now`; newest first.
    pub async fn sessions(
        &self,
        principal: Option<&Principal>,
        now: UnixMillis,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let query = match principal {
            Some(principal) => sqlx::query(select_sessions!(
                "WHERE sessions.ended_at_ms IS NULL AND sessions.expires_at_ms > $1 \
                 AND sessions.principal = $2 ORDER BY sessions.created_at_ms DESC, sessions.id"
            ))
            .bind(now.0)
            .bind(principal.to_string()),
            None => sqlx::query(select_sessions!(
                "WHERE sessions.ended_at_ms IS NULL AND sessions.expires_at_ms > $1 \
                 ORDER BY sessions.created_at_ms DESC, sessions.id"
            ))
            .bind(now.0),
        };
        query.fetch_all(&self.database.reader).await?.iter().map(record).collect()
    }

    /// Notes that the session was used; an older time never overwrites a newer one, and what has ended
    /// stays so.
    pub async fn touch_session(&self, id: &str, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET last_used_at_ms = $1 \
             WHERE id = $2 AND last_used_at_ms < $1 AND ended_at_ms IS NULL",
        )
        .bind(now.0)
        .bind(id)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    /// Ends sessions for good, and answers which were not over yet.
    pub async fn end_sessions(
        &self,
        which: Sessions<'_>,
        now: UnixMillis,
        why: &str,
    ) -> Result<Vec<(String, Principal)>, StoreError> {
        macro_rules! end {
            ($which:literal) => {
                sqlx::query(concat!(
                    "UPDATE sessions SET ended_at_ms = $1, ended_why = $2, sealed_tokens = '' \
                     WHERE ended_at_ms IS NULL AND expires_at_ms > $1 AND ",
                    $which,
                    " RETURNING id, principal"
                ))
                .bind(now.0)
                .bind(why)
            };
        }
        let query = match which {
            Sessions::One(id) => end!("id = $3").bind(id),
            Sessions::Of(principal) => end!("principal = $3").bind(principal.to_string()),
            Sessions::OfSubject { issuer, subject } => {
                end!("issuer = $3 AND subject = $4").bind(issuer).bind(subject)
            }
            Sessions::OfIssuerSession { issuer, session } => {
                end!("issuer = $3 AND issuer_session = $4").bind(issuer).bind(session)
            }
        };
        let ended = query.fetch_all(&self.database.writer).await?;
        ended.iter().map(|row| Ok((rows::text(row, "id")?, rows::parsed(row, "principal")?))).collect()
    }

    /// Takes the turn to renew a session: true for one of all who saw the same `due`. Whoever has the turn and
    /// does not come back has it until `lease`; then it is due again.
    pub async fn claim_renewal(
        &self,
        id: &str,
        due: UnixMillis,
        lease: UnixMillis,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET refresh_at_ms = $1 \
             WHERE id = $2 AND refresh_at_ms = $3 AND ended_at_ms IS NULL",
        )
        .bind(lease.0)
        .bind(id)
        .bind(due.0)
        .execute(&self.database.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps what a renewal brought; nothing happens to a session that ended meanwhile.
    pub async fn renew_session(
        &self,
        id: &str,
        groups: &[Principal],
        sealed_tokens: &str,
        refresh_at: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET groups = $1, sealed_tokens = $2, refresh_at_ms = $3 \
             WHERE id = $4 AND ended_at_ms IS NULL",
        )
        .bind(written(groups)?)
        .bind(sealed_tokens)
        .bind(refresh_at.map(|time| time.0))
        .bind(id)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    /// Drops the rows of sessions whose time was over before `time`; what became of them is in the audit record.
    pub async fn prune_sessions(&self, time: UnixMillis) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM sessions WHERE expires_at_ms < $1")
            .bind(time.0)
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Ends every session of a principal that is shut out, so that none is there again if it is let in again.
pub(super) async fn end_with_principal(
    transaction: &mut Transaction<'static, Any>,
    principal: &Principal,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sessions SET ended_at_ms = $1, ended_why = 'the principal was deactivated', sealed_tokens = '' \
         WHERE principal = $2 AND ended_at_ms IS NULL AND expires_at_ms > $1",
    )
    .bind(now.0)
    .bind(principal.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn written(groups: &[Principal]) -> Result<String, StoreError> {
    serde_json::to_string(groups).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn record(row: &AnyRow) -> Result<SessionRecord, StoreError> {
    let groups = rows::text(row, "groups")?;
    Ok(SessionRecord {
        id: rows::text(row, "id")?,
        principal: rows::parsed(row, "principal")?,
        issuer: rows::text(row, "issuer")?,
        subject: rows::text(row, "subject")?,
        groups: serde_json::from_str(&groups).map_err(|error| StoreError::Corrupt(error.to_string()))?,
        sealed_tokens: rows::text(row, "sealed_tokens")?,
        created_at: rows::time(row, "created_at_ms")?,
        last_used_at: rows::time(row, "last_used_at_ms")?,
        refresh_at: rows::optional_time(row, "refresh_at_ms")?,
        expires_at: rows::time(row, "expires_at_ms")?,
        ended_at: rows::optional_time(row, "ended_at_ms")?,
        ended_why: row.try_get("ended_why")?,
        source_address: row.try_get("source_address")?,
        user_agent: row.try_get("user_agent")?,
        principal_active: rows::number(row, "active")? != 0,
    })
}
