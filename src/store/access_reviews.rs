//! Reviews of grants: that somebody looked at one and said that it is right, or took it away.

use std::collections::HashMap;

use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, grants, rows};
use crate::access::{Grant, GrantId, PolicyChange};
use crate::clock::UnixMillis;

/// Ids in one statement.
const CHUNK: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct AccessReview {
    pub reviewed_by: String,
    #[serde(rename = "reviewed_at_ms")]
    #[schemars(with = "i64")]
    pub reviewed_at: UnixMillis,
    pub reason: Option<String>,
}

impl Store {
    /// The last reviews of these grants. A grant that was written anew has not been reviewed since; whoever
    /// asks compares the times.
    pub async fn access_reviews(
        &self,
        grants: &[GrantId],
    ) -> Result<HashMap<GrantId, AccessReview>, StoreError> {
        let mut found = HashMap::new();
        for chunk in grants.chunks(CHUNK) {
            let ids: Vec<String> = chunk.iter().map(|id| id.0.to_string()).collect();
            let statement = format!(
                "SELECT grant_id, reviewed_by, reviewed_at_ms, reason FROM access_reviews WHERE grant_id IN ({})",
                ids.join(", ")
            );
            for row in sqlx::query(AssertSqlSafe(statement)).fetch_all(&self.database.reader).await? {
                found.insert(GrantId(rows::number(&row, "grant_id")?), read(&row)?);
            }
        }
        Ok(found)
    }

    /// Notes that a grant is right; `None` if there is no such grant. The answer has the review before.
    pub async fn keep_grant(
        &self,
        id: GrantId,
        reason: &str,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<(Grant, Change)>, StoreError> {
        // Under the policy lock, so that no grant is kept that was just taken away.
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let Some(grant) = grants::find(&mut policy, id).await? else { return Ok(None) };
        let before =
            sqlx::query("SELECT reviewed_by, reviewed_at_ms, reason FROM access_reviews WHERE grant_id = $1")
                .bind(id.0)
                .fetch_optional(&mut *policy.transaction)
                .await?;
        let before = before.as_ref().map(read).transpose()?;
        sqlx::query(
            "INSERT INTO access_reviews (grant_id, reviewed_by, reviewed_at_ms, reason) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (grant_id) DO UPDATE SET reviewed_by = $2, reviewed_at_ms = $3, reason = $4",
        )
        .bind(id.0)
        .bind(by)
        .bind(now.0)
        .bind(reason)
        .execute(&mut *policy.transaction)
        .await?;
        let version = policy.version;
        policy.transaction.commit().await?;
        let after =
            AccessReview { reviewed_by: by.to_owned(), reviewed_at: now, reason: Some(reason.to_owned()) };
        let policy_change = PolicyChange {
            action: "access_review.keep".to_owned(),
            before: json!({ "grant": grant, "review": before }),
            after: json!({ "grant": grant, "review": after }),
        };
        Ok(Some((grant, Change { version, changed: false, policy_change })))
    }

    /// Takes a grant away because a review found that it is not right; `None` if there is no such grant.
    pub async fn revoke_reviewed(
        &self,
        id: GrantId,
        reason: &str,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<(Grant, Change)>, StoreError> {
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let Some(grant) = grants::remove(&mut policy, id).await? else { return Ok(None) };
        sqlx::query("DELETE FROM access_reviews WHERE grant_id = $1")
            .bind(id.0)
            .execute(&mut *policy.transaction)
            .await?;
        let after = json!({ "grant": null, "reason": reason });
        let change = policy.commit(by, now, "access_review.revoke", json!({ "grant": grant }), after).await?;
        Ok(Some((grant, change)))
    }
}

fn read(row: &AnyRow) -> Result<AccessReview, StoreError> {
    Ok(AccessReview {
        reviewed_by: rows::text(row, "reviewed_by")?,
        reviewed_at: rows::time(row, "reviewed_at_ms")?,
        reason: row.try_get("reason")?,
    })
}
