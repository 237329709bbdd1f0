//! Grants: one per principal, securable, privilege and effect; granting again replaces reason and end.
//! Ownership is a grant too, of which a securable has one.

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, principals, rows};
use crate::access::{Effect, Given, Grant, GrantId, NewGrant, PolicyEdit, Principal, Rule, Securable};
use crate::clock::UnixMillis;

/// Characters in a grant's reason.
const REASON_LIMIT: usize = 1000;
/// Ids in one statement.
const CHUNK: usize = 500;

macro_rules! columns {
    () => {
        "id, principal, securable, privilege, effect, reason, expires_at_ms, granted_by, granted_at_ms"
    };
}
macro_rules! select_grants {
    ($end:literal) => {
        concat!("SELECT ", columns!(), " FROM grants ", $end)
    };
}
pub(super) const ALL_GRANTS: &str = select_grants!("ORDER BY id");

impl Store {
    /// Writes a grant. The same grant with another reason or end replaces the old one and keeps its id;
    /// with the same reason and end it is unchanged. A grant of `OWNER` replaces the owner before.
    pub async fn add_grant(
        &self,
        grant: &NewGrant,
        by: &str,
        now: UnixMillis,
    ) -> Result<(Grant, Change), StoreError> {
        const ACTION: &str = "grant.add";
        let mut policy = self.begin_policy().await?;
        let written = write(&mut policy, grant, by, now).await?;
        let grant = written.grant;
        let change = if written.changed {
            policy.commit(by, now, ACTION, json!(written.replaced), json!(grant)).await?
        } else {
            policy.unchanged(ACTION, json!(grant)).await?
        };
        Ok((grant, change))
    }

    /// Removes a grant; `None` when there is none of this id.
    pub async fn remove_grant(
        &self,
        id: GrantId,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<Change>, StoreError> {
        let mut policy = self.begin_policy().await?;
        let Some(old) = remove(&mut policy, id).await? else { return Ok(None) };
        policy.commit(by, now, "grant.remove", json!(old), json!(null)).await.map(Some)
    }

    /// Those of these grants that there are, in no order.
    pub async fn grants_by_id(&self, ids: &[GrantId]) -> Result<Vec<Grant>, StoreError> {
        let mut grants = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
            let statement = format!(select_grants!("WHERE id IN ({})"), places.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for id in chunk {
                query = query.bind(id.0);
            }
            for row in query.fetch_all(&self.database.reader).await? {
                grants.push(read(&row)?);
            }
        }
        Ok(grants)
    }

    /// The grants to this principal on this securable, either of which may be left open; expired ones too.
    pub async fn grants(
        &self,
        principal: Option<&Principal>,
        securable: Option<&Securable>,
    ) -> Result<Vec<Grant>, StoreError> {
        let query =
            match (principal, securable) {
                (None, None) => sqlx::query(ALL_GRANTS),
                (Some(principal), None) => sqlx::query(select_grants!("WHERE principal = $1 ORDER BY id"))
                    .bind(principal.to_string()),
                (None, Some(securable)) => sqlx::query(select_grants!("WHERE securable = $1 ORDER BY id"))
                    .bind(securable.to_string()),
                (Some(principal), Some(securable)) => {
                    sqlx::query(select_grants!("WHERE principal = $1 AND securable = $2 ORDER BY id"))
                        .bind(principal.to_string())
                        .bind(securable.to_string())
                }
            };
        query.fetch_all(&self.database.reader).await?.iter().map(read).collect()
    }
}

/// What writing a grant did.
pub(super) struct Written {
    pub grant: Grant,
    /// The same grant as it was before, or that of the owner before.
    pub replaced: Option<Grant>,
    pub changed: bool,
}

pub(super) async fn write(
    policy: &mut PolicyTransaction,
    grant: &NewGrant,
    by: &str,
    now: UnixMillis,
) -> Result<Written, StoreError> {
    let grant = canonical(grant)?;
    principals::ensure(policy, &grant.principal, by, now).await?;
    put(policy, grant, by, now).await
}

/// Writes a grant in its canonical form, to a principal that is known or is none that can be.
pub(super) async fn put(
    policy: &mut PolicyTransaction,
    grant: NewGrant,
    by: &str,
    now: UnixMillis,
) -> Result<Written, StoreError> {
    let is_owner = grant.privilege == Given::OWNER.as_str();
    let mut replaced = if is_owner { remove_other_owner(policy, &grant).await? } else { None };
    let written = |id, grant| Grant { id: GrantId(id), grant, granted_by: by.to_owned(), granted_at: now };
    let inserted = sqlx::query(
        "INSERT INTO grants (principal, securable, privilege, effect, reason, expires_at_ms, \
             granted_by, granted_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (principal, securable, privilege, effect) DO NOTHING RETURNING id",
    )
    .bind(grant.principal.to_string())
    .bind(grant.securable.to_string())
    .bind(grant.privilege.clone())
    .bind(grant.effect.as_str())
    .bind(grant.reason.clone())
    .bind(grant.expires_at.map(|time| time.0))
    .bind(by)
    .bind(now.0)
    .fetch_optional(&mut *policy.transaction)
    .await?;
    let grant = if let Some(row) = inserted {
        written(row.try_get(0)?, grant)
    } else {
        let old = same(policy, &grant).await?;
        if old.grant == grant {
            return Ok(Written { grant: old, replaced: None, changed: false });
        }
        sqlx::query(
            "UPDATE grants SET reason = $1, expires_at_ms = $2, granted_by = $3, granted_at_ms = $4 \
             WHERE id = $5",
        )
        .bind(grant.reason.clone())
        .bind(grant.expires_at.map(|time| time.0))
        .bind(by)
        .bind(now.0)
        .bind(old.id.0)
        .execute(&mut *policy.transaction)
        .await?;
        let grant = written(old.id.0, grant);
        replaced = Some(old);
        grant
    };
    policy.edit(PolicyEdit::Grant(grant.rule()));
    Ok(Written { grant, replaced, changed: true })
}

/// The grant that differs from this one in nothing but its reason and its end.
async fn same(policy: &mut PolicyTransaction, grant: &NewGrant) -> Result<Grant, StoreError> {
    let row = sqlx::query(select_grants!(
        "WHERE principal = $1 AND securable = $2 AND privilege = $3 AND effect = $4"
    ))
    .bind(grant.principal.to_string())
    .bind(grant.securable.to_string())
    .bind(grant.privilege.clone())
    .bind(grant.effect.as_str())
    .fetch_one(&mut *policy.transaction)
    .await?;
    read(&row)
}

/// The same grant as this one, if it stands and lasts at least as long: writing it again would take away.
pub(super) async fn lasting(
    policy: &mut PolicyTransaction,
    grant: &NewGrant,
) -> Result<Option<Grant>, StoreError> {
    let grant = canonical(grant)?;
    let row = sqlx::query(select_grants!(
        "WHERE principal = $1 AND securable = $2 AND privilege = $3 AND effect = $4"
    ))
    .bind(grant.principal.to_string())
    .bind(grant.securable.to_string())
    .bind(grant.privilege.clone())
    .bind(grant.effect.as_str())
    .fetch_optional(&mut *policy.transaction)
    .await?;
    let standing = row.as_ref().map(read).transpose()?;
    let lasts = |standing: &Grant| match (standing.grant.expires_at, grant.expires_at) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(standing), Some(wanted)) => standing >= wanted,
    };
    Ok(standing.filter(lasts))
}

async fn remove_other_owner(
    policy: &mut PolicyTransaction,
    grant: &NewGrant,
) -> Result<Option<Grant>, StoreError> {
    let owner =
        sqlx::query("SELECT id FROM grants WHERE securable = $1 AND privilege = 'OWNER' AND principal <> $2")
            .bind(grant.securable.to_string())
            .bind(grant.principal.to_string())
            .fetch_optional(&mut *policy.transaction)
            .await?;
    match owner {
        Some(row) => remove(policy, GrantId(row.try_get(0)?)).await,
        None => Ok(None),
    }
}

/// The grant of this id, as the transaction sees it.
pub(super) async fn find(policy: &mut PolicyTransaction, id: GrantId) -> Result<Option<Grant>, StoreError> {
    let row = sqlx::query(select_grants!("WHERE id = $1"))
        .bind(id.0)
        .fetch_optional(&mut *policy.transaction)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Removes the grant of this id, if there is one, and answers what it was.
pub(super) async fn remove(policy: &mut PolicyTransaction, id: GrantId) -> Result<Option<Grant>, StoreError> {
    let old = sqlx::query(concat!("DELETE FROM grants WHERE id = $1 RETURNING ", columns!()))
        .bind(id.0)
        .fetch_optional(&mut *policy.transaction)
        .await?;
    let Some(old) = old.as_ref().map(read).transpose()? else { return Ok(None) };
    policy.edit(PolicyEdit::Revoke(old.rule()));
    Ok(Some(old))
}

/// Makes every grant to one principal one to another, who has none; the grants keep their ids.
pub(super) async fn hand_over(
    policy: &mut PolicyTransaction,
    from: &Principal,
    to: &Principal,
) -> Result<(), StoreError> {
    let moved =
        sqlx::query(concat!("UPDATE grants SET principal = $1 WHERE principal = $2 RETURNING ", columns!()))
            .bind(to.to_string())
            .bind(from.to_string())
            .fetch_all(&mut *policy.transaction)
            .await?;
    let moved: Vec<Grant> = moved.iter().map(read).collect::<Result<_, _>>()?;
    for grant in &moved {
        policy.edit(PolicyEdit::Revoke(Rule { principal: from.clone(), ..grant.rule() }));
    }
    moved.iter().for_each(|grant| policy.edit(PolicyEdit::Grant(grant.rule())));
    Ok(())
}

/// The grants on a securable, and on those whose names begin so.
pub(super) async fn on_any(
    policy: &mut PolicyTransaction,
    securable: &str,
    prefixes: &[String],
) -> Result<Vec<Grant>, StoreError> {
    let exactly = sqlx::query(select_grants!("WHERE securable = $1 ORDER BY id")).bind(securable);
    let mut found = exactly.fetch_all(&mut *policy.transaction).await?;
    for prefix in prefixes {
        let below = sqlx::query(select_grants!("WHERE substr(securable, 1, length($1)) = $1 ORDER BY id"));
        found.extend(below.bind(prefix).fetch_all(&mut *policy.transaction).await?);
    }
    found.iter().map(read).collect()
}

/// Puts a grant on another securable, unless the same one is there already: then it goes. Answers whether it
/// was put; the steps are the caller's to note.
pub(super) async fn put_at(
    policy: &mut PolicyTransaction,
    grant: &Grant,
    there: &Securable,
) -> Result<bool, StoreError> {
    let put = sqlx::query(
        "UPDATE grants SET securable = $1 WHERE id = $2 AND NOT EXISTS ( \
             SELECT 1 FROM grants AS other WHERE other.securable = $1 AND other.principal = $3 \
             AND other.privilege = $4 AND other.effect = $5)",
    )
    .bind(there.to_string())
    .bind(grant.id.0)
    .bind(grant.grant.principal.to_string())
    .bind(grant.grant.privilege.clone())
    .bind(grant.grant.effect.as_str())
    .execute(&mut *policy.transaction)
    .await?;
    if put.rows_affected() > 0 {
        return Ok(true);
    }
    sqlx::query("DELETE FROM grants WHERE id = $1")
        .bind(grant.id.0)
        .execute(&mut *policy.transaction)
        .await?;
    Ok(false)
}

/// The statement that removes the grants of these ids and answers what they were.
pub(super) fn delete_of_ids(ids: &str) -> String {
    format!(concat!("DELETE FROM grants WHERE id IN ({}) RETURNING ", columns!()), ids)
}

/// The grant as it is stored, if it can be.
pub(super) fn canonical(grant: &NewGrant) -> Result<NewGrant, StoreError> {
    let given: Given = grant
        .privilege
        .parse()
        .map_err(|_| StoreError::UnknownPrivilege(grant.privilege.chars().take(80).collect()))?;
    if !given.grantable_on(grant.securable.kind) {
        return Err(StoreError::Refused(format!(
            "`{given}` cannot be granted on a {}: it means nothing there",
            grant.securable.kind.as_str()
        )));
    }
    if given == Given::OWNER && (grant.effect == Effect::Deny || grant.expires_at.is_some()) {
        return Err(StoreError::Refused(
            "`OWNER` cannot be denied and does not end: a securable has one owner until another gets it"
                .to_owned(),
        ));
    }
    let readable =
        |reason: &str| reason.chars().count() <= REASON_LIMIT && !reason.chars().any(char::is_control);
    if grant.reason.as_deref().is_some_and(|reason| !readable(reason)) {
        return Err(StoreError::Refused(format!(
            "a grant's reason has at most {REASON_LIMIT} characters and no control characters"
        )));
    }
    Ok(NewGrant { privilege: given.as_str().to_owned(), ..grant.clone() })
}

pub(super) fn read(row: &AnyRow) -> Result<Grant, StoreError> {
    let effect = match rows::text(row, "effect")?.as_str() {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        other => return Err(StoreError::Corrupt(format!("`{other}` is not an effect of a grant"))),
    };
    Ok(Grant {
        id: GrantId(rows::number(row, "id")?),
        grant: NewGrant {
            principal: rows::parsed(row, "principal")?,
            securable: rows::parsed(row, "securable")?,
            privilege: rows::text(row, "privilege")?,
            effect,
            reason: row.try_get("reason")?,
            expires_at: rows::optional_time(row, "expires_at_ms")?,
        },
        granted_by: rows::text(row, "granted_by")?,
        granted_at: rows::time(row, "granted_at_ms")?,
    })
}
