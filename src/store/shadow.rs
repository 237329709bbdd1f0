//! Experiments in shadow mode: what their callers lack is noted and not refused, until a time.
//!
//! An experiment is in shadow by grants on it to `group:tracegate-shadow`, in which nobody is. So it is policy like any
//! other: it has a version, reaches every replica with it, ends by itself, and casbin says what it means.

use serde_json::json;
use sqlx::Row;

use super::change::Change;
use super::error::StoreError;
use super::{Store, grants, principals};
use crate::access::{Effect, Grant, NewGrant, Principal, Securable};
use crate::clock::UnixMillis;

/// What passes: all of working with an experiment, and nothing by which anybody gets more of it than before.
const PASSES: [&str; 2] = ["CAN_EDIT", "experiment.delete"];

/// An experiment in shadow mode.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Shadow {
    /// `experiment:ID`
    #[schemars(with = "String")]
    pub experiment: Securable,
    pub reason: Option<String>,
    #[serde(rename = "until_ms")]
    pub until: UnixMillis,
    /// Who put it there, last.
    pub set_by: String,
    #[serde(rename = "since_ms")]
    pub since: UnixMillis,
}

impl Shadow {
    fn of(grant: &Grant) -> Option<Self> {
        Some(Self {
            experiment: grant.grant.securable.clone(),
            reason: grant.grant.reason.clone(),
            until: grant.grant.expires_at?,
            set_by: grant.granted_by.clone(),
            since: grant.granted_at,
        })
    }
}

impl Store {
    /// Puts experiments in shadow mode until a time, or sets the time and reason of those that are.
    pub async fn begin_shadow(
        &self,
        experiments: &[Securable],
        reason: &str,
        until: UnixMillis,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let mut policy = self.begin_policy().await?;
        principals::enter_all(&mut policy, [&Principal::shadow()].into_iter(), by, now).await?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for experiment in experiments {
            for privilege in PASSES {
                let grant = NewGrant {
                    principal: Principal::shadow(),
                    securable: experiment.clone(),
                    privilege: privilege.to_owned(),
                    effect: Effect::Allow,
                    reason: Some(reason.to_owned()),
                    expires_at: Some(until),
                };
                let written = grants::put(&mut policy, grants::canonical(&grant)?, by, now).await?;
                if privilege == PASSES[0] {
                    before.extend(written.replaced.as_ref().and_then(Shadow::of));
                    after.extend(Shadow::of(&written.grant));
                }
            }
        }
        policy.commit(by, now, "shadow.start", json!(before), json!(after)).await
    }

    /// Ends shadow mode: what policy says is enforced. Without experiments, of all.
    pub async fn end_shadow(
        &self,
        experiments: Option<&[Securable]>,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let mut policy = self.begin_policy().await?;
        let standing = sqlx::query("SELECT id, securable FROM grants WHERE principal = $1 ORDER BY id")
            .bind(Principal::shadow().to_string())
            .fetch_all(&mut *policy.transaction)
            .await?;
        let mut before = Vec::new();
        for row in standing {
            let securable: String = row.try_get("securable")?;
            if experiments.is_none_or(|some| some.iter().any(|one| one.to_string() == securable)) {
                let removed = grants::remove(&mut policy, crate::access::GrantId(row.try_get("id")?)).await?;
                before.extend(
                    removed.filter(|grant| grant.grant.privilege == PASSES[0]).as_ref().and_then(Shadow::of),
                );
            }
        }
        if !policy.has_edits() {
            return policy.unchanged("shadow.end", json!([])).await;
        }
        policy.commit(by, now, "shadow.end", json!(before), json!([])).await
    }

    /// The experiments in shadow mode, those whose time is over left out.
    pub async fn shadows(&self, now: UnixMillis) -> Result<Vec<Shadow>, StoreError> {
        let grants = self.grants(Some(&Principal::shadow()), None).await?;
        let standing = grants.iter().filter(|grant| grant.grant.privilege == PASSES[0]);
        Ok(standing.filter_map(Shadow::of).filter(|shadow| shadow.until > now).collect())
    }
}
