//! Many steps of policy as one change: all of them at one version, or none.

use serde_json::{Value, json};

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, grants, groups};
use crate::access::{Grant, GrantId, NewGrant, Principal};
use crate::clock::UnixMillis;

/// One step. What is so already, or is gone already, is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Grant(NewGrant),
    Revoke(GrantId),
    Join { group: Principal, member: Principal },
    Leave { group: Principal, member: Principal },
}

impl Store {
    /// Does the steps in their order, each under the checks that it has by itself, save one: administrators
    /// are counted at the end, so that one may go before another comes.
    ///
    /// With an `expected_version` that is not in force: [`StoreError::Moved`]. A step that is refused:
    /// [`StoreError::Step`], and nothing is changed. In the answer, before lists what was removed or
    /// replaced, after what was added.
    pub async fn apply_policy(
        &self,
        expected_version: Option<i64>,
        wanted: &[Wanted],
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        const ACTION: &str = "policy.apply";
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        if let Some(expected) = expected_version
            && expected != policy.version
        {
            return Err(StoreError::Moved { expected, current: policy.version });
        }
        let administrators = groups::administrators(&mut policy.transaction).await?;
        let (mut removed, mut added) = (Listed::default(), Listed::default());
        for (index, step) in wanted.iter().enumerate() {
            one(&mut policy, step, by, now, &mut removed, &mut added)
                .await
                .map_err(|problem| problem.of_step(index))?;
        }
        groups::keep_an_administrator(&mut policy.transaction, administrators).await?;
        if policy.has_edits() {
            policy.commit(by, now, ACTION, removed.into_json(), added.into_json()).await
        } else {
            policy.unchanged(ACTION, Listed::default().into_json()).await
        }
    }
}

/// What steps removed, or what they added.
#[derive(Default)]
struct Listed {
    grants: Vec<Grant>,
    memberships: Vec<Value>,
}

impl Listed {
    fn into_json(self) -> Value {
        json!({ "grants": self.grants, "memberships": self.memberships })
    }
}

async fn one(
    policy: &mut PolicyTransaction,
    step: &Wanted,
    by: &str,
    now: UnixMillis,
    removed: &mut Listed,
    added: &mut Listed,
) -> Result<(), StoreError> {
    match step {
        Wanted::Grant(grant) => {
            let written = grants::write(policy, grant, by, now).await?;
            if written.changed {
                removed.grants.extend(written.replaced);
                added.grants.push(written.grant);
            }
        }
        Wanted::Revoke(id) => removed.grants.extend(grants::remove(policy, *id).await?),
        Wanted::Join { group, member } => {
            if groups::join(policy, group, member, by, now).await? {
                added.memberships.push(json!({ "group": group, "member": member }));
            }
        }
        Wanted::Leave { group, member } => {
            if groups::leave(policy, group, member).await? {
                removed.memberships.push(json!({ "group": group, "member": member }));
            }
        }
    }
    Ok(())
}

impl StoreError {
    /// Names the step, unless the fault is the database's.
    fn of_step(self, index: usize) -> Self {
        if self.is_refusal() { Self::Step { index, problem: Box::new(self) } } else { self }
    }
}
