//! The record, for those who may read it. Reading it is recorded like any other call.

use std::time::Duration;

use serde_json::Value;

use super::{Call, Refusal};
use crate::access::Verdict;
use crate::audit::fold_calls;
use crate::clock::UnixMillis;
use crate::store::audit_index::{AuditIndexError, AuditQuery, Order};
use crate::wire::Malformed;

/// How long a query waits for the latest records to be indexed.
const LATEST_WAIT: Duration = Duration::from_secs(5);

/// A page of the record, newest first.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Events {
    /// Records with their place; empty where calls were asked for.
    #[schemars(with = "Vec<std::collections::BTreeMap<String, Value>>")]
    events: Vec<Value>,
    /// With `calls=true`: a call each.
    calls: Option<Vec<crate::audit::Call>>,
    /// `after` of the next page.
    next: Option<String>,
    /// False when the latest records are still on their way into the index.
    complete: bool,
}

/// `GET audit/events?since&until&principal&securable&trace_id&decision&operation&decision_id&kind&status&limit&after&calls`
pub(super) async fn events(call: &Call<'_>) -> Result<Events, Refusal> {
    let query = query(call)?;
    let complete = latest(call).await;
    let page = call.app.records.query(&query).await.map_err(unreadable)?;
    // One entry a call instead of one a record; a call that spans two pages is told twice.
    let folded = call.head.query.one("calls")? == Some("true");
    let calls = folded.then(|| fold_calls(page.entries.iter().filter_map(|entry| entry.event())));
    let events = page.entries.iter().filter(|_| !folded).map(|entry| entry.to_json()).collect();
    Ok(Events { events, calls, next: page.next.map(|cursor| cursor.to_string()), complete })
}

/// Waits for the latest records; false if some are still on their way into the index.
pub(super) async fn latest(call: &Call<'_>) -> bool {
    let records = call.app.records.flush(LATEST_WAIT).await.is_ok();
    let subjects = call.app.flush_subjects().await.is_ok();
    records && subjects
}

pub(super) fn unreadable(error: AuditIndexError) -> Refusal {
    tracing::error!(%error, "the audit index failed");
    Refusal::Internal("the audit index cannot be read".to_owned())
}

fn refuse(key: &str, problem: &str) -> Malformed {
    Malformed::new(format!("query parameter `{key}`"), problem)
}

pub(super) fn text(call: &Call<'_>, key: &str) -> Result<Option<String>, Malformed> {
    call.head.query.one(key).map(|value| value.map(str::to_owned))
}

/// A text that must be there.
pub(super) fn needed(call: &Call<'_>, key: &str) -> Result<String, Malformed> {
    text(call, key)?.ok_or_else(|| refuse(key, "is missing"))
}

pub(super) fn time(call: &Call<'_>, key: &str) -> Result<Option<UnixMillis>, Malformed> {
    let parse = |value: String| value.parse().map(UnixMillis);
    text(call, key)?.map(parse).transpose().map_err(|_| refuse(key, "must be milliseconds since 1970"))
}

pub(super) fn limit(call: &Call<'_>) -> Result<Option<u32>, Malformed> {
    match text(call, "limit")?.map(|text| text.parse()) {
        None => Ok(None),
        Some(Ok(limit @ 1..=AuditQuery::LARGEST_LIMIT)) => Ok(Some(limit)),
        Some(_) => Err(refuse("limit", "must be 1 to 1000")),
    }
}

pub(super) fn query(call: &Call<'_>) -> Result<AuditQuery, Refusal> {
    let decision = match text(call, "decision")?.as_deref() {
        None => None,
        Some("allow") => Some(Verdict::Allow),
        Some("deny") => Some(Verdict::Deny),
        Some(_) => return Err(refuse("decision", "must be `allow` or `deny`").into()),
    };
    let after = text(call, "after")?
        .map(|cursor| cursor.parse().map_err(|_| refuse("after", "is not a cursor of an earlier page")))
        .transpose()?;
    let status = text(call, "status")?
        .map(|status| status.parse().map_err(|_| refuse("status", "must be an HTTP status")))
        .transpose()?;
    Ok(AuditQuery {
        since: time(call, "since")?,
        until: time(call, "until")?,
        principal: text(call, "principal")?,
        securable: text(call, "securable")?,
        trace_id: text(call, "trace_id")?,
        decision,
        operation: text(call, "operation")?,
        decision_id: text(call, "decision_id")?,
        kind: text(call, "kind")?,
        status,
        order: Order::NewestFirst,
        limit: limit(call)?,
        after,
    })
}
