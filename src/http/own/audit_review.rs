//! What a review of access needs: grants with their use, counts by person, first addresses.

use std::collections::HashMap;

use super::audit::{latest, limit, text, time, unreadable};
use super::explain::Membership;
use super::{Call, Refusal};
use crate::access::Grant;
use crate::clock::UnixMillis;
use crate::store::audit_index::{AuditQuery, DayCount, FirstAddress};
use crate::wire::Malformed;

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Review {
    since_ms: UnixMillis,
    until_ms: UnixMillis,
    policy_version: i64,
    grants: Vec<UsedGrant>,
    memberships: Vec<Membership>,
    /// By whole UTC days.
    calls: Vec<DayCount>,
    complete: bool,
}

/// A grant and how often it decided a call since it was made.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct UsedGrant {
    #[serde(flatten)]
    grant: Grant,
    uses: i64,
    first_used_ms: Option<UnixMillis>,
    last_used_ms: Option<UnixMillis>,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Addresses {
    addresses: Vec<FirstAddress>,
    next: Option<String>,
    complete: bool,
}

/// `GET audit/review?since&until`: who has what, since when it was not used, and who did what how often
pub(super) async fn review(call: &Call<'_>) -> Result<Review, Refusal> {
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
    let used = |grant: Grant| {
        let used = uses.get(&grant.id.0);
        UsedGrant {
            uses: used.map_or(0, |used| used.uses),
            first_used_ms: used.map(|used| used.first),
            last_used_ms: used.map(|used| used.last),
            grant,
        }
    };
    Ok(Review {
        since_ms: since,
        until_ms: until,
        policy_version: state.version,
        grants: state.grants.into_iter().map(used).collect(),
        memberships: Membership::all(state.memberships),
        calls,
        complete,
    })
}

/// `GET audit/addresses?since&limit&after`: first sights of principals at addresses, newest first
pub(super) async fn addresses(call: &Call<'_>) -> Result<Addresses, Refusal> {
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
    Ok(Addresses { addresses: found, next, complete })
}

/// `TIME|ADDRESS|PRINCIPAL`; the principal last, as it alone may hold a bar.
fn parse_cursor(cursor: &str) -> Option<(UnixMillis, &str, &str)> {
    let (time, rest) = cursor.split_once('|')?;
    let (address, principal) = rest.split_once('|')?;
    Some((UnixMillis(time.parse().ok()?), principal, address))
}
