//! `POST policy/apply`: a document in one transaction, at exactly the version that it was planned at, or not at all.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::plan::work_out;
use super::{prepare, sent, written};
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    policy: Document,
    /// The version that was planned at; at another one nothing is applied.
    #[serde(default)]
    expected_version: Option<i64>,
}

pub(in crate::http::own) async fn apply(
    call: &mut Call<'_>,
    trail: &Trail,
) -> Result<Map<String, Value>, Refusal> {
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
    let plan = work_out(call, &prepared).await?;
    let by = call.caller.principal.to_string();
    let now = call.app.clock.now();
    let change = call.app.store.apply_policy(Some(version), &prepared.difference.wanted, &by, now).await?;
    let (applied, version) = (change.changed, change.version);
    settle(call.app, trail, change).await?;
    let mut answer = written(&plan)?;
    answer.insert("planned_at".to_owned(), json!(plan.policy_version));
    answer.insert("policy_version".to_owned(), json!(version));
    answer.insert("applied".to_owned(), json!(applied));
    Ok(answer)
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
