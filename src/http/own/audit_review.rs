//! What a review of access needs: grants with their use, counts by person, first addresses.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::audit::{latest, limit, text, time, unreadable};
use super::{Call, Refusal, object};
use crate::clock::UnixMillis;
use crate::store::audit_index::AuditQuery;
use crate::wire::Malformed;

/// `GET audit/review?since&until`: who has what, since when it was not used, and who did what how often
pub(super) async fn review(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let until = time(call, "until")?.unwrap_or_else(|| call.app.clock.now());
    let since = time(call, "since")?.unwrap_or(UnixMillis(0));
    if since >= until {
        return Err(Malformed::new("query parameter `since`", "must be before `until`").into());
    }
    let complete = latest(call).await;
    let index = call.app.records.index();
    let uses = index.grant_uses().await.map_err(unreadable)?;
    let uses: HashMap<i64, _> = uses.into_iter().map(|uses| (uses.grant_id, uses)).collect();
    let calls = index.calls_by_person(since, until).await.map_err(unreadable)?;
    let state = call.app.store.policy().await?;
    let mut grants = Vec::new();
    for grant in &state.grants {
        let mut told = serde_json::to_value(grant).map_err(|error| Refusal::Internal(error.to_string()))?;
        let used = uses.get(&grant.id.0);
        told["uses"] = json!(used.map_or(0, |used| used.uses));
        told["first_used_ms"] = json!(used.map(|used| used.first));
        told["last_used_ms"] = json!(used.map(|used| used.last));
        grants.push(told);
    }
    let memberships: Vec<Value> =
        state.memberships.iter().map(|(group, member)| json!({ "group": group, "member": member })).collect();
    Ok(object(json!({
        "since_ms": since,
        "until_ms": until,
        "policy_version": state.version,
        "grants": grants,
        "memberships": memberships,
        // By whole UTC days.
        "calls": calls,
        "complete": complete,
    })))
}

/// `GET audit/addresses?since&limit&after`: first sights of principals at addresses, newest first
pub(super) async fn addresses(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let complete = latest(call).await;
    let limit = limit(call)?.unwrap_or(AuditQuery::DEFAULT_LIMIT);
    let cursor = text(call, "after")?;
    let before = match cursor.as_deref().map(parse_cursor) {
        None => (UnixMillis(i64::MAX), "", ""),
        Some(Some(before)) => before,
        Some(None) => {
            return Err(
                Malformed::new("query parameter `after`", "is not a cursor of an earlier page").into()
            );
        }
    };
    let index = call.app.records.index();
    let since = time(call, "since")?;
    let mut found = index.first_addresses(since, before, limit + 1).await.map_err(unreadable)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| format!("{}|{}|{}", last.first.0, last.address, last.principal));
    Ok(object(json!({ "addresses": found, "next": next, "complete": complete })))
}

/// `TIME|ADDRESS|PRINCIPAL`; the principal last, as it alone may hold a bar.
fn parse_cursor(cursor: &str) -> Option<(UnixMillis, &str, &str)> {
    let (time, rest) = cursor.split_once('|')?;
    let (address, principal) = rest.split_once('|')?;
    Some((UnixMillis(time.parse().ok()?), principal, address))
}
