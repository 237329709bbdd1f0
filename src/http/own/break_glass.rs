//! Break-glass: a grant to oneself, for minutes, with a written reason, told to everybody who watches.
//!
//! It is a grant like any other: a deny beats it, it ends by itself, whoever manages the securable can
//! withdraw it, and it is recorded with before and after. It cannot give the right to grant, by which it
//! would outlive its end.

use serde::Deserialize;

use super::grants::Granted;
use super::{Call, Refusal, Trail, demand, sent_as};
use crate::access::{Check, Effect, Given, NewGrant, Privilege, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::http::changes;
use crate::wire::Malformed;

/// A reason that says something, in characters.
const SHORTEST_REASON: usize = 10;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    securable: Securable,
    #[serde(default = "can_read")]
    privilege: String,
    minutes: u64,
    reason: String,
}

fn can_read() -> String {
    "CAN_READ".to_owned()
}

/// `POST break-glass`
pub(super) async fn take(call: &mut Call<'_>, trail: &Trail) -> Result<Granted, Refusal> {
    let wanted: Wanted = sent_as(call).await?;
    demand(call, Check::new(Privilege::BreakGlassUse, wanted.securable.clone()))?;
    check(call, &wanted)?;
    let principal = call.caller.principal.clone();
    let now = call.app.clock.now();
    let minutes = i64::try_from(wanted.minutes).unwrap_or(i64::MAX);
    let ends = UnixMillis(now.0.saturating_add(minutes.saturating_mul(60_000)));
    let held = call.app.store.grants(Some(&principal), Some(&wanted.securable)).await?;
    let longer = |end: Option<UnixMillis>| end.is_none_or(|end| end >= ends);
    // By what it means and not by its spelling: the store keeps one grant for both spellings of a privilege.
    let given: Given = wanted.privilege.parse()?;
    let view = call.view()?;
    let gives = |given: Given| view.snapshot().levels().set(given);
    if held.iter().any(|held| {
        let same = |held: Given| held == given || gives(held) == gives(given);
        held.grant.privilege.parse().is_ok_and(same)
            && held.grant.effect == Effect::Allow
            && longer(held.grant.expires_at)
    }) {
        // The same grant again would replace the one that lasts longer.
        return Err(Malformed::new("privilege", "is granted to you already, for longer than you ask").into());
    }
    let grant = NewGrant {
        principal: principal.clone(),
        securable: wanted.securable,
        privilege: wanted.privilege,
        effect: Effect::Allow,
        reason: Some(format!("break-glass: {}", wanted.reason.trim())),
        expires_at: Some(ends),
    };
    let grant = changes::add_grant(call.app, trail, &grant, &principal).await?;
    call.app.metrics.break_glass.inc();
    tracing::warn!(
        %principal,
        securable = %grant.grant.securable,
        privilege = grant.grant.privilege,
        minutes,
        reason = wanted.reason.trim(),
        "break-glass was used"
    );
    Ok(Granted { grant, policy_version: call.app.policy.version() })
}

fn check(call: &Call<'_>, wanted: &Wanted) -> Result<(), Refusal> {
    let longest = call.app.config.policy.break_glass_minutes;
    if longest == 0 {
        return Err(Refusal::Denied("break-glass is turned off by `policy.break_glass_minutes`".to_owned()));
    }
    if wanted.minutes == 0 || wanted.minutes > longest {
        return Err(Malformed::new("minutes", format!("must be 1 to {longest}")).into());
    }
    if wanted.reason.trim().chars().count() < SHORTEST_REASON {
        let problem = format!("must say why, in {SHORTEST_REASON} characters or more");
        return Err(Malformed::new("reason", problem).into());
    }
    let kinds = [SecurableKind::Experiment, SecurableKind::Folder, SecurableKind::RegisteredModel];
    if !kinds.contains(&wanted.securable.kind) {
        return Err(
            Malformed::new("securable", "must be an experiment, a folder or a registered model").into()
        );
    }
    let view = call.view()?;
    let lasting = [Privilege::ExperimentManage, Privilege::ModelManage, Privilege::BreakGlassUse];
    if lasting.iter().any(|privilege| view.gives(&wanted.privilege, *privilege)) {
        let problem = "gives the right to grant, which would outlive its end; ask for less";
        return Err(Malformed::new("privilege", problem).into());
    }
    Ok(())
}
