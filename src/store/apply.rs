//! Many steps of policy as one change: all of them at one version, or none.

pub(super) mod bulk;

use std::mem::discriminant;

use serde_json::{Value, json};

use super::administrators::keep_an_administrator;
use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, grants, groups, principals};
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

impl Wanted {
    fn makes_known(&self) -> [Option<&Principal>; 2] {
        match self {
            Self::Grant(grant) => [Some(&grant.principal), None],
            Self::Join { group, member } => [Some(group), Some(member)],
            Self::Revoke(_) | Self::Leave { .. } => [None, None],
        }
    }

    fn granted(&self) -> Option<&NewGrant> {
        if let Self::Grant(grant) = self { Some(grant) } else { None }
    }

    fn revoked(&self) -> Option<GrantId> {
        if let Self::Revoke(id) = self { Some(*id) } else { None }
    }

    fn joined(&self) -> Option<(&Principal, &Principal)> {
        if let Self::Join { group, member } = self { Some((group, member)) } else { None }
    }

    fn left(&self) -> Option<(&Principal, &Principal)> {
        if let Self::Leave { group, member } = self { Some((group, member)) } else { None }
    }
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
        let mut policy = self.begin_policy().await?;
        if let Some(expected) = expected_version
            && expected != policy.version
        {
            return Err(StoreError::Moved { expected, current: policy.version });
        }
        let administrators = self.administrators(&mut policy.transaction, now).await?;
        let named = wanted.iter().flat_map(Wanted::makes_known).flatten();
        principals::ensure_all(&mut policy, named, by, now).await?;
        let mut listed = Lists::default();
        let mut first = 0;
        for run in wanted.chunk_by(|one, next| discriminant(one) == discriminant(next)) {
            alike(&mut policy, run, first, by, now, &mut listed).await?;
            first += run.len();
        }
        keep_an_administrator(&mut policy.transaction, administrators).await?;
        if policy.has_edits() {
            policy.commit(by, now, ACTION, listed.removed.into_json(), listed.added.into_json()).await
        } else {
            policy.unchanged(ACTION, Listed::default().into_json()).await
        }
    }
}

#[derive(Default)]
struct Lists {
    removed: Listed,
    added: Listed,
}

#[derive(Default)]
struct Listed {
    grants: Vec<Grant>,
    memberships: Vec<Value>,
}

impl Listed {
    fn membership(&mut self, group: &Principal, member: &Principal) {
        self.memberships.push(json!({ "group": group, "member": member }));
    }

    fn into_json(self) -> Value {
        json!({ "grants": self.grants, "memberships": self.memberships })
    }
}

/// Does steps of one kind, the first of which has the number `first`.
async fn alike(
    policy: &mut PolicyTransaction,
    run: &[Wanted],
    first: usize,
    by: &str,
    now: UnixMillis,
    listed: &mut Lists,
) -> Result<(), StoreError> {
    let revoked: Vec<GrantId> = run.iter().filter_map(Wanted::revoked).collect();
    listed.removed.grants.extend(bulk::revoke(policy, &revoked).await?);
    let left: Vec<_> = run.iter().filter_map(Wanted::left).collect();
    for (group, member) in bulk::leave(policy, &left).await? {
        listed.removed.membership(&group, &member);
    }
    let joined: Vec<_> = run.iter().filter_map(Wanted::joined).collect();
    let in_bulk = bulk::join(policy, &joined).await?;
    for (index, (group, member)) in joined.into_iter().enumerate() {
        let step = |problem: StoreError| problem.of_step(first + index);
        if in_bulk[index] || groups::join(policy, group, member, by, now).await.map_err(step)? {
            listed.added.membership(group, member);
        }
    }
    let granted: Vec<_> = run.iter().filter_map(Wanted::granted).collect();
    for (index, grant) in granted.iter().enumerate() {
        grants::canonical(grant).map_err(|problem| problem.of_step(first + index))?;
    }
    let in_bulk = bulk::grant(policy, &granted, by, now).await?;
    for (grant, inserted) in granted.into_iter().zip(in_bulk) {
        if let Some(grant) = inserted {
            listed.added.grants.push(grant);
            continue;
        }
        let written = grants::write(policy, grant, by, now).await?;
        if written.changed {
            listed.removed.grants.extend(written.replaced);
            listed.added.grants.push(written.grant);
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
