//! `POST policy/apply`: a document in one transaction, at exactly the version that it was planned at, or not at all.

use serde::{Deserialize, Serialize};

use super::plan::{Plan, work_out};
use super::{prepare, sent};
use crate::access::{Check, Privilege, Securable};
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::own::demand;
use crate::http::trail::Trail;
use crate::policy::plan::{Document, Failure, failures};
use crate::store::StoreError;
use crate::wire::Malformed;

/// Failures that are told; of more, the number.
const MOST_FAILURES: usize = 20;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http::own) struct Sent {
    policy: Document,
    /// The version that was planned at; at another one nothing is applied.
    #[serde(default)]
    expected_version: Option<i64>,
}

/// The plan, with the version that came of it.
#[derive(Serialize, schemars::JsonSchema)]
pub(in crate::http::own) struct Applied {
    #[serde(flatten)]
    plan: Plan,
    planned_at: i64,
    /// False where there was nothing to change.
    applied: bool,
}

pub(in crate::http::own) async fn apply(call: &mut Call<'_>, trail: &Trail) -> Result<Applied, Refusal> {
    let sent: Sent = sent(call).await?;
    let prepared = prepare(call, sent.policy).await?;
    let version = prepared.before.version();
    if let Some(expected) = sent.expected_version
        && expected != version
    {
        return Err(StoreError::Moved { expected, current: version }.into());
    }
    if prepared.difference.moves_members() {
        demand(call, Check::new(Privilege::IdentityManage, Securable::workspace()))?;
    }
    refuse_failures(&failures(&prepared.after, &prepared.document, prepared.now))?;
    let mut plan = work_out(call, &prepared).await?;
    let by = call.caller.principal.to_string();
    let now = call.app.clock.now();
    let change = call.app.store.apply_policy(Some(version), &prepared.difference.wanted, &by, now).await?;
    let (applied, version) = (change.changed, change.version);
    settle(call.app, trail, change).await?;
    let planned_at = std::mem::replace(&mut plan.policy_version, version);
    Ok(Applied { plan, planned_at, applied })
}

fn refuse_failures(failures: &[Failure]) -> Result<(), Refusal> {
    if failures.is_empty() {
        return Ok(());
    }
    let told = failures.iter().take(MOST_FAILURES).map(|failure| {
        format!(
            "{}: `{}` would {} `{}` on `{}`: {}",
            failure.place,
            failure.principal,
            if failure.expected.as_str() == "allow" { "not have" } else { "have" },
            failure.privilege,
            failure.on,
            failure.reason
        )
    });
    let told: Vec<String> = told.collect();
    let problem = format!("{} expectations are not met: {}", failures.len(), told.join("; "));
    Err(Malformed::new("policy", problem).into())
}
