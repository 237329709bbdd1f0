//! Shadow mode: which experiments are in it, until when, and who would be denied what.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_requests::exists;
use super::audit::{latest, text, time, unreadable};
use super::{Call, Refusal, Trail, sent_as};
use crate::access::{ExperimentId, Securable};
use crate::clock::UnixMillis;
use crate::http::changes::settle;
use crate::store::Shadow;
use crate::store::audit_index::Shadowed;
use crate::wire::Malformed;

const MOST_DAYS: u64 = 90;
const MOST_EXPERIMENTS: usize = 1_000;
const MOST_ROWS: u32 = 10_000;
/// A reason that says something, in characters.
const SHORTEST_REASON: usize = 10;

/// Experiments to be put in shadow mode.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Ids, at most 1,000.
    experiments: Vec<String>,
    /// After how many days it ends by itself, 1 to 90.
    #[serde(default = "two_weeks")]
    days: u64,
    /// Why, in 10 characters or more.
    reason: String,
}

fn two_weeks() -> u64 {
    14
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    shadows: Vec<Shadow>,
    /// Whether callers without credentials pass too (`policy.shadow_anonymous`).
    anonymous: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Changed {
    shadows: Vec<Shadow>,
    policy_version: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Who lacks what: would be refused, or shown less.
    shadowed: Vec<Shadowed>,
    /// True if there are more than 10,000 rows.
    truncated: bool,
    /// Whether every record is counted.
    complete: bool,
}

/// `GET shadow`
pub(super) async fn list(call: &Call<'_>) -> Result<Shown, Refusal> {
    Ok(Shown { shadows: standing(call).await?, anonymous: call.app.config.policy.shadow_anonymous })
}

async fn standing(call: &Call<'_>) -> Result<Vec<Shadow>, Refusal> {
    Ok(call.app.store.shadows(call.app.clock.now()).await?)
}

/// `POST shadow`
pub(super) async fn start(call: &mut Call<'_>, trail: &Trail) -> Result<Changed, Refusal> {
    let wanted: Wanted = sent_as(call).await?;
    if wanted.days == 0 || wanted.days > MOST_DAYS {
        return Err(Malformed::new("days", format!("must be 1 to {MOST_DAYS}")).into());
    }
    let reason = wanted.reason.trim();
    if reason.chars().count() < SHORTEST_REASON {
        let problem = format!("must say why, in {SHORTEST_REASON} characters or more");
        return Err(Malformed::new("reason", problem).into());
    }
    if wanted.experiments.is_empty() || wanted.experiments.len() > MOST_EXPERIMENTS {
        return Err(Malformed::new("experiments", format!("must be 1 to {MOST_EXPERIMENTS} ids")).into());
    }
    let mut experiments = Vec::new();
    for id in &wanted.experiments {
        let securable = Securable::experiment(&ExperimentId::parse(id)?);
        if !exists(call, &securable).await? {
            return Err(Refusal::NotFound(format!("there is no experiment `{id}`")));
        }
        experiments.push(securable);
    }
    let now = call.app.clock.now();
    let lasting = Duration::from_secs(wanted.days * 86_400).as_millis();
    let until = UnixMillis(now.0.saturating_add(i64::try_from(lasting).unwrap_or(i64::MAX)));
    let by = call.caller.principal.to_string();
    let change = call.app.store.begin_shadow(&experiments, reason, until, &by, now).await?;
    settle(call.app, trail, change).await?;
    tracing::warn!(
        by,
        reason,
        experiments = experiments.len(),
        days = wanted.days,
        "experiments are in shadow mode"
    );
    changed(call).await
}

/// `DELETE shadow?experiment=ID`, or of all
pub(super) async fn end(call: &Call<'_>, trail: &Trail) -> Result<Changed, Refusal> {
    let one = experiment(call)?.map(|one| vec![one]);
    let now = call.app.clock.now();
    let by = call.caller.principal.to_string();
    let change = call.app.store.end_shadow(one.as_deref(), &by, now).await?;
    settle(call.app, trail, change).await?;
    changed(call).await
}

async fn changed(call: &Call<'_>) -> Result<Changed, Refusal> {
    let shadows = standing(call).await?;
    call.app.note_shadows()?;
    Ok(Changed { shadows, policy_version: call.app.policy.version() })
}

/// `GET shadow/report?experiment&since`
pub(super) async fn report(call: &Call<'_>) -> Result<Report, Refusal> {
    let experiment = experiment(call)?.map(|one| one.to_string());
    let since = time(call, "since")?.unwrap_or(UnixMillis(0));
    let complete = latest(call).await;
    let index = call.app.records.index();
    let mut shadowed = index.shadowed(experiment.as_deref(), since, MOST_ROWS).await.map_err(unreadable)?;
    let truncated = shadowed.len() > MOST_ROWS as usize;
    shadowed.truncate(MOST_ROWS as usize);
    Ok(Report { shadowed, truncated, complete })
}

fn experiment(call: &Call<'_>) -> Result<Option<Securable>, Refusal> {
    let id = text(call, "experiment")?;
    Ok(id.map(|id| ExperimentId::parse(&id)).transpose()?.map(|id| Securable::experiment(&id)))
}
