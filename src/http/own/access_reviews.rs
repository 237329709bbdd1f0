//! Reviews of access: who has what, since when, by whom and why, when it was last used, and that somebody
//! looked at it.
//!
//! Whoever manages a securable sees everybody who reaches it. What comes from above, or through a grant that
//! is not the manager's to see, is shown as that somebody has it, and not where it was granted, by whom, why
//! and how it is used: that tells of other securables.

mod reach;

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_requests::{opened, place, readable, sealed};
use super::audit::{latest, limit, unreadable};
use super::{Call, Refusal, Trail, demand, managing, sent_as};
use crate::access::{Check, Effect, Grant, GrantId, Principal, PrincipalKind, Privilege, Securable};
use crate::http::changes::settle;
use crate::store::AccessReview;
use crate::store::audit_index::GrantUse;
use crate::wire::Malformed;
use reach::Groups;

const PAGE: u32 = 200;
const DAY_MS: i64 = 86_400_000;
/// Days that may be asked about.
const MOST_DAYS: i64 = 36_500;

/// One principal's access by one grant.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Held {
    #[schemars(with = "String")]
    principal: Principal,
    /// Whether it may sign in.
    active: bool,
    /// The groups through which the grant reaches the principal, from the one that it was made to.
    #[schemars(with = "Vec<String>")]
    via: Vec<Principal>,
    /// Where it was granted; null if that is not the caller's to see.
    #[schemars(with = "Option<String>")]
    securable: Option<Securable>,
    /// Whether it was granted on something above the securable that was asked about.
    inherited: bool,
    /// A level or a privilege.
    privilege: String,
    /// `allow` or `deny`.
    effect: &'static str,
    expires_at_ms: Option<i64>,
    /// Null for administrators, who need no grant, and where it is not the caller's to see; so is what follows.
    grant_id: Option<i64>,
    granted_at_ms: Option<i64>,
    granted_by: Option<String>,
    reason: Option<String>,
    /// How many calls it decided.
    uses: Option<i64>,
    /// When it last decided a call.
    last_used_ms: Option<i64>,
    /// The last review of the grant as it stands.
    last_review: Option<AccessReview>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Review {
    access: Vec<Held>,
    /// To be sent as `after` for the next page; null at the end.
    next: Option<String>,
    policy_version: i64,
    /// False when the latest uses were still on their way into the index.
    complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    /// The grant is right.
    Keep,
    /// It is taken away.
    Revoke,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    grant_id: i64,
    decision: Decision,
    /// Why; it stands in the record.
    reason: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Reviewed {
    grant_id: i64,
    /// Whether the grant is gone.
    revoked: bool,
    policy_version: i64,
}

/// Somebody's access before it is told.
pub(super) struct Row {
    /// How far above the securable that was asked about.
    depth: usize,
    principal: Principal,
    via: Vec<Principal>,
    /// `None`: an administrator's, who needs none.
    grant: Option<Grant>,
    shown: bool,
}

impl Row {
    /// Its place in the list.
    fn place(&self) -> (usize, i64, String) {
        (self.depth, self.grant.as_ref().map_or(0, |grant| grant.id.0), self.principal.to_string())
    }
}

/// `GET access-reviews?on=S` or `?principal=P`, `&unused_since_days=N&limit&after`
pub(super) async fn list(call: &Call<'_>) -> Result<Review, Refusal> {
    let query = &call.head.query;
    let on = query.one("on")?.map(str::parse::<Securable>).transpose()?;
    let principal = query.one("principal")?.map(str::parse::<Principal>).transpose()?;
    let page = limit(call)?.unwrap_or(PAGE) as usize;
    let unused_since = match query.one("unused_since_days")?.map(str::parse::<i64>) {
        None => None,
        Some(Ok(days @ 0..=MOST_DAYS)) => Some(call.app.clock.now().0 - days * DAY_MS),
        Some(_) => {
            let problem = format!("must be 0 to {MOST_DAYS}");
            return Err(Malformed::new("query parameter `unused_since_days`", problem).into());
        }
    };
    let mut rows = match (on, principal) {
        (Some(on), None) => on_securable(call, &on).await?,
        (None, Some(principal)) => of_principal(call, &principal).await?,
        _ => return Err(Malformed::new("query", "must have one of `on` and `principal`").into()),
    };
    let complete = latest(call).await;
    let now = call.app.clock.now();
    rows.retain(|row| {
        row.grant.as_ref().is_none_or(|grant| grant.grant.expires_at.is_none_or(|end| end > now))
    });
    let mut shown: Vec<i64> =
        rows.iter().filter(|row| row.shown).filter_map(|row| Some(row.grant.as_ref()?.id.0)).collect();
    shown.sort_unstable();
    shown.dedup();
    let uses = call.app.records.index().uses_of_grants(&shown).await.map_err(unreadable)?;
    let uses: HashMap<i64, GrantUse> = uses.into_iter().map(|uses| (uses.grant_id, uses)).collect();
    if let Some(since) = unused_since {
        rows.retain(|row| match &row.grant {
            // Since when it could have been used counts too: what is new is not unused.
            Some(grant) if row.shown => {
                grant.granted_at.0 <= since && uses.get(&grant.id.0).is_none_or(|uses| uses.last.0 <= since)
            }
            _ => false,
        });
    }
    rows.sort_by_key(Row::place);
    let context = format!("access-reviews|{}|{:?}", call.caller.principal, question(call));
    if let Some(token) = query.one("after")? {
        let place: (usize, i64, String) = serde_json::from_str(&opened(call, &context, token).await?)
            .map_err(|_| Malformed::new("query parameter `after`", "is not a token of an earlier page"))?;
        rows.retain(|row| row.place() > place);
    }
    let more = rows.len() > page;
    rows.truncate(page);
    let next = match rows.last().filter(|_| more) {
        Some(last) => {
            let place = serde_json::to_string(&last.place()).map_err(|e| Refusal::Internal(e.to_string()))?;
            Some(sealed(call, &context, &place)?)
        }
        None => None,
    };
    let ids: Vec<GrantId> = shown.into_iter().map(GrantId).collect();
    let reviews = call.app.store.access_reviews(&ids).await?;
    let view = call.view()?;
    let active = |principal: &Principal| !view.snapshot().is_inactive(principal);
    let access = rows.into_iter().map(|row| told(active(&row.principal), row, &uses, &reviews)).collect();
    Ok(Review { access, next, policy_version: view.version(), complete })
}

/// What a page token is bound to: the question without the token.
fn question(call: &Call<'_>) -> Vec<(String, String)> {
    let pairs = call.head.query.pairs().iter();
    pairs.filter(|(key, _)| !matches!(key.as_str(), "after" | "limit")).cloned().collect()
}

fn told(
    active: bool,
    row: Row,
    uses: &HashMap<i64, GrantUse>,
    reviews: &HashMap<GrantId, AccessReview>,
) -> Held {
    let mut held = Held {
        principal: row.principal,
        active,
        via: row.via,
        securable: None,
        inherited: row.depth > 0,
        privilege: "ALL".to_owned(),
        effect: Effect::Allow.as_str(),
        expires_at_ms: None,
        grant_id: None,
        granted_at_ms: None,
        granted_by: None,
        reason: None,
        uses: None,
        last_used_ms: None,
        last_review: None,
    };
    let Some(grant) = row.grant else { return held };
    held.privilege.clone_from(&grant.grant.privilege);
    held.effect = grant.grant.effect.as_str();
    held.expires_at_ms = grant.grant.expires_at.map(|end| end.0);
    if !row.shown {
        return held;
    }
    let used = uses.get(&grant.id.0);
    // A grant that was written anew since is another one than was looked at.
    let review = reviews.get(&grant.id).filter(|review| review.reviewed_at >= grant.granted_at);
    Held {
        securable: Some(grant.grant.securable),
        grant_id: Some(grant.id.0),
        granted_at_ms: Some(grant.granted_at.0),
        granted_by: Some(grant.granted_by),
        reason: grant.grant.reason,
        uses: Some(used.map_or(0, |used| used.uses)),
        last_used_ms: used.map(|used| used.last.0),
        last_review: review.cloned(),
        ..held
    }
}

fn reads_policy(call: &Call<'_>) -> Result<bool, Refusal> {
    call.allows(Check::new(Privilege::PolicyRead, Securable::workspace()))
}

fn admins() -> Principal {
    Principal { kind: PrincipalKind::Group, name: Principal::ADMINS.to_owned() }
}

/// Everybody who reaches a securable, by grants on it and on what is above it.
async fn on_securable(call: &Call<'_>, on: &Securable) -> Result<Vec<Row>, Refusal> {
    place(call, on).await?;
    let reads_all = reads_policy(call)?;
    if !reads_all {
        demand(call, managing(on))?;
    }
    let snapshot = std::sync::Arc::clone(call.view()?.snapshot());
    let groups = Groups::of(&snapshot);
    let mut rows = Vec::new();
    for (depth, securable) in reach::upwards(&snapshot, on).into_iter().enumerate() {
        let shown = reads_all || call.allows(managing(&securable))?;
        for grant in call.app.store.grants(None, Some(&securable)).await? {
            for (principal, via) in groups.reached_by(&grant.grant.principal) {
                rows.push(Row { depth, principal, via, grant: Some(grant.clone()), shown });
            }
        }
    }
    // Administrators need no grant. Who they are is not every manager's to know.
    let reached = groups.reached_by(&admins());
    let reached = reached.into_iter().filter(|(_, via)| reads_all || via.is_empty());
    rows.extend(reached.map(|(principal, via)| Row {
        depth: usize::MAX,
        principal,
        via,
        grant: None,
        shown: false,
    }));
    Ok(rows)
}

/// Everything that was granted to a principal, and to the groups that it is in.
async fn of_principal(call: &Call<'_>, principal: &Principal) -> Result<Vec<Row>, Refusal> {
    let reads_all = reads_policy(call)?;
    if !reads_all && *principal != call.caller.principal {
        demand(call, Check::new(Privilege::PolicyRead, Securable::workspace()))?;
    }
    let snapshot = std::sync::Arc::clone(call.view()?.snapshot());
    let mut rows = Vec::new();
    for via in Groups::of(&snapshot).leading_to(principal) {
        let granted_to = via.first().unwrap_or(principal).clone();
        for grant in call.app.store.grants(Some(&granted_to), None).await? {
            let own = via.is_empty();
            let shown = reads_all || own || call.allows(managing(&grant.grant.securable))?;
            rows.push(Row {
                depth: 0,
                principal: principal.clone(),
                via: via.clone(),
                grant: Some(grant),
                shown,
            });
        }
        if granted_to == admins() {
            rows.push(Row { depth: 0, principal: principal.clone(), via, grant: None, shown: false });
        }
    }
    Ok(rows)
}

/// `POST access-reviews`: the grant is right, or is taken away.
pub(super) async fn decide(call: &mut Call<'_>, trail: &Trail) -> Result<Reviewed, Refusal> {
    let wanted: Decide = sent_as(call).await?;
    let reason = readable("reason", &wanted.reason, 1)?;
    let id = GrantId(wanted.grant_id);
    match call.app.store.grants_by_id(&[id]).await?.first() {
        Some(grant) => {
            place(call, &grant.grant.securable).await?;
            demand(call, managing(&grant.grant.securable))?;
        }
        // Who manages nothing learns nothing: missing and foreign grants look alike.
        None => demand(call, Check::new(Privilege::PolicyManage, Securable::workspace()))?,
    }
    let (app, by) = (call.app, call.caller.principal.to_string());
    let now = app.clock.now();
    let revoked = wanted.decision == Decision::Revoke;
    let done = if revoked {
        app.store.revoke_reviewed(id, &reason, &by, now).await?
    } else {
        app.store.keep_grant(id, &reason, &by, now).await?
    };
    let Some((_, change)) = done else {
        return Err(Refusal::NotFound(format!("grant `{}` does not exist", id.0)));
    };
    if change.changed {
        settle(app, trail, change).await?;
    } else {
        trail.policy_change(change.policy_change, change.version).await?;
    }
    Ok(Reviewed { grant_id: id.0, revoked, policy_version: app.policy.version() })
}
