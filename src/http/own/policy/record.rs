//! The record of the last days, decided again under the planned policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{Prepared, in_background};
use crate::access::{Check, Event, EventKind, Outcome, Privilege, Securable, Verdict};
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::plan::{PastCall, Replay, replay as decide_again};
use crate::store::audit_index::AuditQuery;

/// Records read for one plan.
const MOST_RECORDS: usize = 200_000;
/// Lines of each list that are told.
const MOST_LINES: usize = 1_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Replayed {
    days: u32,
    /// Why nothing was decided again.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
    /// False when there were more calls in these days, or more lines, than are told.
    complete: bool,
    /// Records of calls that this version cannot read.
    unreadable: u64,
    #[serde(flatten)]
    replay: Replay,
}

/// Decides the calls of the last days again. What others did stands in the record, and who may not read the record
/// does not learn it from a plan.
pub(super) async fn replay(call: &Call<'_>, prepared: &Prepared, days: u32) -> Result<Replayed, Refusal> {
    let mut replayed =
        Replayed { days, skipped: None, complete: true, unreadable: 0, replay: Replay::default() };
    if !call.allows(Check::new(Privilege::AuditRead, Securable::workspace()))? {
        replayed.skipped = Some("`audit.read` on the workspace is missing");
        replayed.complete = false;
        return Ok(replayed);
    }
    let since = UnixMillis(prepared.now.0 - i64::from(days) * DAY_MS);
    let past = past_calls(call, since).await?;
    (replayed.complete, replayed.unreadable) = (past.complete, past.unreadable);
    let (before, after) = (Arc::clone(&prepared.before), Arc::clone(&prepared.after));
    let now = prepared.now;
    replayed.replay = in_background(move || decide_again(&before, &after, &past.calls, now)).await?;
    for list in [&mut replayed.replay.would_be_refused, &mut replayed.replay.would_be_allowed] {
        replayed.complete &= list.len() <= MOST_LINES;
        list.truncate(MOST_LINES);
    }
    Ok(replayed)
}

struct Past {
    calls: BTreeMap<PastCall, u64>,
    complete: bool,
    unreadable: u64,
}

/// The calls since then as the audit index has them, alike ones counted; the newest, if they are too many.
async fn past_calls(call: &Call<'_>, since: UnixMillis) -> Result<Past, Refusal> {
    let mut past = Past { calls: BTreeMap::new(), complete: true, unreadable: 0 };
    let mut query =
        AuditQuery { since: Some(since), limit: Some(AuditQuery::LARGEST_LIMIT), ..AuditQuery::default() };
    let mut read = 0;
    loop {
        let page = call.app.records.query(&query).await.map_err(|error| {
            tracing::error!(%error, "the audit index failed");
            Refusal::Internal("the audit index cannot be read".to_owned())
        })?;
        read += page.entries.len();
        for event in page.entries.iter().filter_map(|entry| entry.event()) {
            // Each call leaves exactly one `complete`; one that asked for nothing has nothing to decide again.
            let decided = event.kind == EventKind::Complete && !event.securables.is_empty();
            if !decided || !was_decided_by_policy(&event) {
                continue;
            }
            match past_call(&event) {
                Some(call) => *past.calls.entry(call).or_default() += 1,
                None => past.unreadable += 1,
            }
        }
        match page.next {
            Some(_) if read >= MOST_RECORDS => past.complete = false,
            Some(next) => {
                query.after = Some(next);
                continue;
            }
            None => {}
        }
        return Ok(past);
    }
}

/// A call may also be refused for what it asks, or fail; that says nothing of policy.
fn was_decided_by_policy(event: &Event) -> bool {
    event.decision == Verdict::Allow || (event.outcome == Outcome::Refused && event.status == Some(403))
}

fn past_call(event: &Event) -> Option<PastCall> {
    let mut privileges = Vec::new();
    for privilege in &event.privileges {
        privileges.push(privilege.parse().ok()?);
    }
    let mut securables = Vec::new();
    for securable in &event.securables {
        securables.push(securable.parse().ok()?);
    }
    let principal = event.principal.as_deref()?.parse().ok()?;
    Some(PastCall { principal, privileges, securables, allowed: event.decision == Verdict::Allow })
}
