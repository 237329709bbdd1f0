//! The record, for those who may read it. Reading it is recorded like any other call.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Call, Refusal, object};
use crate::access::Verdict;
use crate::audit::fold_calls;
use crate::clock::UnixMillis;
use crate::store::audit_index::AuditQuery;
use crate::wire::Malformed;

/// How long a query waits for the latest records to be indexed.
const LATEST_WAIT: Duration = Duration::from_secs(5);

/// `GET audit/events?since&until&principal&securable&trace_id&decision&operation&decision_id&limit&after&calls`
pub(super) async fn events(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let query = query(call)?;
    let complete = call.app.records.flush(LATEST_WAIT).await.is_ok();
    let page = call.app.records.query(&query).await.map_err(|error| {
        tracing::error!(%error, "the audit index failed");
        Refusal::Internal("the audit index cannot be read".to_owned())
    })?;
    // One entry a call instead of one a record; a call that spans two pages is told twice.
    let folded = call.head.query.one("calls")? == Some("true");
    let calls = folded.then(|| fold_calls(page.entries.iter().filter_map(|entry| entry.event())));
    let events: Vec<Value> = page.entries.iter().map(|entry| entry.to_json()).collect();
    Ok(object(json!({
        "events": if folded { Vec::new() } else { events },
        "calls": calls,
        "next": page.next.map(|cursor| cursor.to_string()),
        // False when the latest records are still on their way into the index.
        "complete": complete,
    })))
}

fn query(call: &Call<'_>) -> Result<AuditQuery, Refusal> {
    let text = |key: &str| call.head.query.one(key).map(|value| value.map(str::to_owned));
    let refuse = |key: &str, problem: &str| Malformed::new(format!("query parameter `{key}`"), problem);
    let number = |key: &str| -> Result<Option<i64>, Malformed> {
        text(key)?
            .map(|value| value.parse().map_err(|_| refuse(key, "must be milliseconds since 1970")))
            .transpose()
    };
    let decision = match text("decision")?.as_deref() {
        None => None,
        Some("allow") => Some(Verdict::Allow),
        Some("deny") => Some(Verdict::Deny),
        Some(_) => return Err(refuse("decision", "must be `allow` or `deny`").into()),
    };
    let limit = match text("limit")? {
        None => None,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=AuditQuery::LARGEST_LIMIT) => Some(limit),
            _ => return Err(refuse("limit", "must be 1 to 1000").into()),
        },
    };
    let after = text("after")?
        .map(|cursor| cursor.parse().map_err(|_| refuse("after", "is not a cursor of an earlier page")))
        .transpose()?;
    Ok(AuditQuery {
        since: number("since")?.map(UnixMillis),
        until: number("until")?.map(UnixMillis),
        principal: text("principal")?,
        securable: text("securable")?,
        trace_id: text("trace_id")?,
        decision,
        operation: text("operation")?,
        decision_id: text("decision_id")?,
        limit,
        after,
    })
}
