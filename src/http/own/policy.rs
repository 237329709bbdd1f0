//! Policy as code: a written policy planned, applied, tested, and what is in force written out.
//!
//! Planning tells who may do what, so it needs `policy.read`, applying `policy.manage` too. Neither gives more than
//! the single calls do: to change who is in which group takes `identity.manage` as it does there.

mod apply;
mod export;
mod plan;
mod record;
mod test;

use std::sync::Arc;

use serde_json::Value;

pub(super) use apply::{Applied, Sent as ToApply, apply};
pub(super) use export::{casbin, export};
pub(super) use plan::{Plan, Sent as ToPlan, plan};
pub(super) use test::{Sent as ToTest, Tested, test};

use super::{Call, Refusal, sent_within};
use crate::clock::UnixMillis;
use crate::policy::Snapshot;
use crate::policy::plan::{Difference, Document, Matching, Problem};
use crate::policy::plan::{loses_the_last_administrator, refusals};
use crate::wire::Malformed;

/// A policy document, in bytes.
const POLICY_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Grants and memberships that one document may change.
const POLICY_CHANGES: usize = 20_000;
/// What the audit record of a change may take, in bytes; the record as a whole takes 16 MiB.
const POLICY_RECORD_BYTES: usize = 12 * 1024 * 1024;
/// What a grant's record has beside the grant: its number, who made it and when.
const RECORDED_BESIDE: usize = 500;
/// Questions that the expectations of one document may ask.
const POLICY_EXPECTATIONS: usize = 100_000;
/// Of more problems than this only the number is told.
const MOST_PROBLEMS: usize = 20;

/// A document held against the policy in force.
struct Prepared {
    document: Arc<Document>,
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    difference: Arc<Difference>,
    now: UnixMillis,
}

/// Reads the body, whose document may be large.
async fn sent<T: serde::de::DeserializeOwned>(call: &mut Call<'_>) -> Result<T, Refusal> {
    let object = sent_within(call, POLICY_DOCUMENT_BYTES, "policy_document_bytes").await?;
    serde_json::from_value(Value::Object(object))
        .map_err(|error| Malformed::new("body", error.to_string()).into())
}

/// Refuses a document that is wrong by itself, or too much.
fn check(document: &Document) -> Result<(), Refusal> {
    refuse_any(&document.problems())?;
    let questions = crate::policy::plan::questions(document);
    if questions > POLICY_EXPECTATIONS {
        return Err(too_many("expectations", questions, POLICY_EXPECTATIONS, "policy_expectations"));
    }
    Ok(())
}

fn too_many(what: &str, count: usize, limit: usize, name: &str) -> Refusal {
    let problem = format!("{count} {what} are more than the {limit} that are taken at once (`{name}`)");
    Malformed::new("policy", problem).into()
}

fn refuse_any(problems: &[Problem]) -> Result<(), Refusal> {
    if problems.is_empty() {
        return Ok(());
    }
    let told = problems.iter().take(MOST_PROBLEMS).map(|problem| match &problem.other {
        Some(other) => format!("{problem}; first at {other}"),
        None => problem.to_string(),
    });
    let mut told: Vec<String> = told.collect();
    if problems.len() > MOST_PROBLEMS {
        told.push(format!("and {} more", problems.len() - MOST_PROBLEMS));
    }
    Err(Malformed::new("policy", told.join("; ")).into())
}

/// Works out what the document would change, as of a policy that the store was just asked for.
async fn prepare(call: &Call<'_>, document: Document) -> Result<Prepared, Refusal> {
    check(&document)?;
    let app = call.app;
    app.confirm_policy().await?;
    let before = Arc::clone(call.view()?.snapshot());
    let now = app.clock.now();
    let document = Arc::new(document);
    let (policy, written) = (Arc::clone(&before), Arc::clone(&document));
    let matching = in_background(move || Matching::new(&policy, &written, now)).await?;
    within_changes(matching.steps())?;
    let held = app.store.grants_by_id(&matching.concerned()).await?;
    let policy = Arc::clone(&before);
    let difference = in_background(move || matching.difference(&policy, &held)).await?;
    within_changes(difference.changes.len())?;
    check_record(&difference)?;
    refuse_any(&refusals(&before, &difference))?;
    let after = before
        .apply(before.version() + 1, &difference.edits)
        .map_err(|error| Refusal::Internal(error.to_string()))?;
    if loses_the_last_administrator(&before, &after) {
        return Err(crate::store::StoreError::LastAdministrator.into());
    }
    Ok(Prepared { document, before, after: Arc::new(after), difference: Arc::new(difference), now })
}

fn within_changes(count: usize) -> Result<(), Refusal> {
    if count > POLICY_CHANGES {
        return Err(too_many("changes", count, POLICY_CHANGES, "policy_changes"));
    }
    Ok(())
}

/// A change that cannot be recorded must not be made; better to hear of it before.
fn check_record(difference: &Difference) -> Result<(), Refusal> {
    let bytes: usize = difference
        .changes
        .iter()
        .map(|change| 2 * serde_json::to_string(change).map_or(0, |text| text.len()) + RECORDED_BESIDE)
        .sum();
    if bytes > POLICY_RECORD_BYTES {
        return Err(too_many("bytes of changes", bytes, POLICY_RECORD_BYTES, "policy_record_bytes"));
    }
    Ok(())
}

/// Runs what takes long beside the worker, which has other calls to answer.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::Internal(error.to_string()))
}
