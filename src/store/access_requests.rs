//! Requests for access: what somebody asked for and why, who decided, and the grant that came of it.
//!
//! An approval and its grant are one transaction, so that neither is there without the other, and a request
//! is decided once.

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, grants, rows};
use crate::access::{Effect, Grant, GrantId, NewGrant, PolicyChange, Principal, Securable};
use crate::clock::UnixMillis;

/// How long a request waits for a decision, in milliseconds: 30 days.
pub const WAITS_MS: i64 = 30 * 86_400_000;
/// Requests of one principal that may wait at a time.
pub const MOST_WAITING: i64 = 20;
/// Requests that one principal may make in a day, so that asking and withdrawing fills no disk.
pub const MOST_A_DAY: i64 = 100;
const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    Pending,
    Approved,
    Refused,
    Withdrawn,
    Expired,
}

impl RequestState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

#[derive(Debug, Clone)]
pub struct NewAccessRequest {
    pub id: String,
    pub principal: Principal,
    pub securable: Securable,
    pub privilege: String,
    pub reason: String,
    /// For how long; without an end if absent.
    pub duration_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct AccessRequest {
    pub id: String,
    /// Who asks, for itself.
    #[schemars(with = "String")]
    pub principal: Principal,
    #[schemars(with = "String")]
    pub securable: Securable,
    /// A level or a privilege.
    pub privilege: String,
    pub reason: String,
    /// For how long it is asked, from the approval on; null: without an end.
    pub duration_ms: Option<i64>,
    #[serde(rename = "asked_at_ms")]
    #[schemars(with = "i64")]
    pub asked_at: UnixMillis,
    pub state: RequestState,
    pub decided_by: Option<String>,
    #[serde(rename = "decided_at_ms")]
    #[schemars(with = "Option<i64>")]
    pub decided_at: Option<UnixMillis>,
    pub decision_reason: Option<String>,
    /// The grant that the approval made, or the lasting one that was there.
    pub grant_id: Option<i64>,
}

/// What asking came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Made(AccessRequest),
    /// The same is asked already and waits.
    Waits(AccessRequest),
    TooMany(String),
}

/// What deciding came to.
#[derive(Debug)]
pub enum Decided {
    Done {
        request: Box<AccessRequest>,
        grant: Option<Box<Grant>>,
        change: Box<Change>,
    },
    /// It does not wait any more.
    Over(Box<AccessRequest>),
    /// Who asked cannot sign in any more.
    Inactive,
    Missing,
}

/// Which requests to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    pub principal: Option<Principal>,
    pub securable: Option<Securable>,
    pub state: Option<RequestState>,
    /// Older than the request of this id.
    pub before: Option<String>,
}

macro_rules! columns {
    () => {
        "id, principal, securable, privilege, reason, duration_ms, asked_at_ms, state, decided_by, \
         decided_at_ms, decision_reason, grant_id"
    };
}

impl Store {
    /// Asks for access. The principal must be known. What is asked already is answered, not doubled.
    pub async fn ask_access(&self, new: &NewAccessRequest, now: UnixMillis) -> Result<Asked, StoreError> {
        // What could never be granted is refused now; what it is asked on is not looked at.
        let wanted = grants::canonical(&grant_of(new, None))?;
        let mut transaction = self.database.begin_write().await?;
        // Takes the row's lock: two requests at once are counted one after the other.
        let known = sqlx::query("UPDATE principals SET active = active WHERE id = $1 AND active = 1")
            .bind(new.principal.to_string())
            .execute(&mut *transaction)
            .await?;
        if known.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("`{}`", new.principal)));
        }
        let since = now.0 - WAITS_MS;
        sqlx::query(
            "UPDATE access_requests SET state = 'expired' \
             WHERE principal = $1 AND state = 'pending' AND asked_at_ms <= $2",
        )
        .bind(new.principal.to_string())
        .bind(since)
        .execute(&mut *transaction)
        .await?;
        let same = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM access_requests WHERE principal = $1 AND securable = $2 AND privilege = $3 AND state = 'pending'"
        ))
        .bind(new.principal.to_string())
        .bind(new.securable.to_string())
        .bind(wanted.privilege.clone())
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = same {
            let request = read(&row, now)?;
            transaction.commit().await?;
            return Ok(Asked::Waits(request));
        }
        let counts = sqlx::query(
            "SELECT COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0), \
                 COALESCE(SUM(CASE WHEN asked_at_ms > $2 THEN 1 ELSE 0 END), 0) \
             FROM access_requests WHERE principal = $1",
        )
        .bind(new.principal.to_string())
        .bind(now.0 - DAY_MS)
        .fetch_one(&mut *transaction)
        .await?;
        let (waiting, today): (i64, i64) = (counts.try_get(0)?, counts.try_get(1)?);
        if waiting >= MOST_WAITING {
            return Ok(Asked::TooMany(format!(
                "`{}` has {MOST_WAITING} requests that wait, the most there may be; withdraw one first",
                new.principal
            )));
        }
        if today >= MOST_A_DAY {
            return Ok(Asked::TooMany(format!(
                "`{}` has made {MOST_A_DAY} requests within a day, the most there may be",
                new.principal
            )));
        }
        let row = sqlx::query(concat!(
            "INSERT INTO access_requests (id, principal, securable, privilege, reason, duration_ms, asked_at_ms, \
                 state) VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending') RETURNING ",
            columns!()
        ))
        .bind(new.id.clone())
        .bind(new.principal.to_string())
        .bind(new.securable.to_string())
        .bind(wanted.privilege)
        .bind(new.reason.clone())
        .bind(new.duration_ms)
        .bind(now.0)
        .fetch_one(&mut *transaction)
        .await?;
        let request = read(&row, now)?;
        transaction.commit().await?;
        Ok(Asked::Made(request))
    }

    pub async fn access_request(
        &self,
        id: &str,
        now: UnixMillis,
    ) -> Result<Option<AccessRequest>, StoreError> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM access_requests WHERE id = $1"))
            .bind(id)
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(|row| read(&row, now)).transpose()
    }

    /// The requests that fit, newest first, at most `limit`.
    pub async fn access_requests(
        &self,
        filter: &RequestFilter,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<AccessRequest>, StoreError> {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut texts: Vec<String> = Vec::new();
        let mut equal = |column: &str, sign: &str, value: Option<String>| {
            if let Some(value) = value {
                texts.push(value);
                conditions.push(format!("{column} {sign} ${}", texts.len()));
            }
        };
        equal("principal", "=", filter.principal.as_ref().map(ToString::to_string));
        equal("securable", "=", filter.securable.as_ref().map(ToString::to_string));
        // Ids are made in the order of time.
        equal("id", "<", filter.before.clone());
        let since = now.0 - WAITS_MS;
        match filter.state {
            None => {}
            Some(RequestState::Pending) => {
                conditions.push(format!("state = 'pending' AND asked_at_ms > {since}"));
            }
            Some(RequestState::Expired) => conditions
                .push(format!("(state = 'expired' OR (state = 'pending' AND asked_at_ms <= {since}))")),
            Some(state) => conditions.push(format!("state = '{}'", state.as_str())),
        }
        let statement = format!(
            concat!("SELECT ", columns!(), " FROM access_requests WHERE {} ORDER BY id DESC LIMIT {}"),
            conditions.join(" AND "),
            limit
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for text in texts {
            query = query.bind(text);
        }
        query.fetch_all(&self.database.reader).await?.iter().map(|row| read(row, now)).collect()
    }

    /// Approves a request that waits: it is marked and its grant is written, both or neither. A grant of the
    /// same that lasts longer stays as it is. `duration_ms` counts from now; `None`: without an end.
    pub async fn approve_access(
        &self,
        id: &str,
        duration_ms: Option<i64>,
        reason: Option<&str>,
        by: &str,
        now: UnixMillis,
    ) -> Result<Decided, StoreError> {
        const ACTION: &str = "access_request.approve";
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let before = match waiting(&mut policy, id, now).await? {
            Ok(request) => request,
            Err(other) => return Ok(other),
        };
        let active = sqlx::query("SELECT active FROM principals WHERE id = $1")
            .bind(before.principal.to_string())
            .fetch_optional(&mut *policy.transaction)
            .await?;
        if active.map(|row| rows::number(&row, "active")).transpose()? != Some(1) {
            return Ok(Decided::Inactive);
        }
        let wanted = NewGrant {
            principal: before.principal.clone(),
            securable: before.securable.clone(),
            privilege: before.privilege.clone(),
            effect: Effect::Allow,
            reason: Some(format!("access request {id}: {}", before.reason)),
            expires_at: duration_ms.map(|lasts| UnixMillis(now.0.saturating_add(lasts))),
        };
        let (grant, replaced) = match grants::lasting(&mut policy, &wanted).await? {
            Some(standing) => (standing, None),
            None => {
                let written = grants::write(&mut policy, &wanted, by, now).await?;
                (written.grant, written.replaced)
            }
        };
        let state = RequestState::Approved;
        let after = mark(&mut policy, id, state, reason, by, now, Some(grant.id)).await?;
        let (told_before, told_after) = (
            json!({ "request": before, "grant": replaced }),
            json!({ "request": after, "grant": grant.clone() }),
        );
        let change = finish(policy, by, now, ACTION, told_before, told_after).await?;
        let grant = Some(Box::new(grant));
        Ok(Decided::Done { request: Box::new(after), grant, change: Box::new(change) })
    }

    /// Ends a request that waits without granting anything.
    pub async fn close_access(
        &self,
        id: &str,
        state: RequestState,
        reason: Option<&str>,
        by: &str,
        now: UnixMillis,
    ) -> Result<Decided, StoreError> {
        let action =
            format!("access_request.{}", if state == RequestState::Refused { "refuse" } else { "withdraw" });
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let before = match waiting(&mut policy, id, now).await? {
            Ok(request) => request,
            Err(other) => return Ok(other),
        };
        let after = mark(&mut policy, id, state, reason, by, now, None).await?;
        let change = finish(policy, by, now, &action, json!(before), json!(after)).await?;
        Ok(Decided::Done { request: Box::new(after), grant: None, change: Box::new(change) })
    }
}

/// Commits; policy gets a new version only if something of it changed.
async fn finish(
    policy: PolicyTransaction,
    by: &str,
    now: UnixMillis,
    action: &str,
    before: serde_json::Value,
    after: serde_json::Value,
) -> Result<Change, StoreError> {
    if policy.has_edits() {
        return policy.commit(by, now, action, before, after).await;
    }
    let version = policy.version;
    policy.transaction.commit().await?;
    let policy_change = PolicyChange { action: action.to_owned(), before, after };
    Ok(Change { version, changed: false, policy_change })
}

/// The request, if it waits; what to answer otherwise. The transaction holds the policy lock.
async fn waiting(
    policy: &mut PolicyTransaction,
    id: &str,
    now: UnixMillis,
) -> Result<Result<AccessRequest, Decided>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM access_requests WHERE id = $1"))
        .bind(id)
        .fetch_optional(&mut *policy.transaction)
        .await?;
    let Some(row) = row else { return Ok(Err(Decided::Missing)) };
    let request = read(&row, now)?;
    Ok(if request.state == RequestState::Pending {
        Ok(request)
    } else {
        Err(Decided::Over(Box::new(request)))
    })
}

async fn mark(
    policy: &mut PolicyTransaction,
    id: &str,
    state: RequestState,
    reason: Option<&str>,
    by: &str,
    now: UnixMillis,
    grant: Option<GrantId>,
) -> Result<AccessRequest, StoreError> {
    let row = sqlx::query(concat!(
        "UPDATE access_requests SET state = $1, decided_by = $2, decided_at_ms = $3, decision_reason = $4, \
             grant_id = $5 WHERE id = $6 AND state = 'pending' RETURNING ",
        columns!()
    ))
    .bind(state.as_str())
    .bind(by)
    .bind(now.0)
    .bind(reason.map(str::to_owned))
    .bind(grant.map(|grant| grant.0))
    .bind(id)
    .fetch_one(&mut *policy.transaction)
    .await?;
    read(&row, now)
}

fn grant_of(new: &NewAccessRequest, expires_at: Option<UnixMillis>) -> NewGrant {
    NewGrant {
        principal: new.principal.clone(),
        securable: new.securable.clone(),
        privilege: new.privilege.clone(),
        effect: Effect::Allow,
        reason: None,
        expires_at,
    }
}

fn read(row: &AnyRow, now: UnixMillis) -> Result<AccessRequest, StoreError> {
    let asked_at = rows::time(row, "asked_at_ms")?;
    let state = match rows::text(row, "state")?.as_str() {
        "pending" if asked_at.0 <= now.0 - WAITS_MS => RequestState::Expired,
        "pending" => RequestState::Pending,
        "approved" => RequestState::Approved,
        "refused" => RequestState::Refused,
        "withdrawn" => RequestState::Withdrawn,
        "expired" => RequestState::Expired,
        other => return Err(StoreError::Corrupt(format!("`{other}` is not a state of a request"))),
    };
    Ok(AccessRequest {
        id: rows::text(row, "id")?,
        principal: rows::parsed(row, "principal")?,
        securable: rows::parsed(row, "securable")?,
        privilege: rows::text(row, "privilege")?,
        reason: rows::text(row, "reason")?,
        duration_ms: row.try_get("duration_ms")?,
        asked_at,
        state,
        decided_by: row.try_get("decided_by")?,
        decided_at: rows::optional_time(row, "decided_at_ms")?,
        decision_reason: row.try_get("decision_reason")?,
        grant_id: row.try_get("grant_id")?,
    })
}
