//! Archives of experiments' traces: which there are, how far they are, and setting them up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{demand, sent_as};
use crate::access::{Check, ExperimentId, Privilege, Securable};
use crate::http::archive;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::store::Archive;

/// What to archive, and where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToArchive {
    /// `CATALOG.SCHEMA.TABLE`, made if it is not there. May be left out of an archive that is there.
    table: Option<String>,
    /// The share of traces that are copied, from 0 to 1; all if left out.
    #[schemars(range(min = 0.0, max = 1.0))]
    sample_rate: Option<f64>,
    /// A filter as for a search of traces, on what the head of a trace says; none if left out.
    filter: Option<String>,
}

/// An archive, and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    experiment: String,
    table: String,
    /// In whose name traces are read and rows are written: whoever set it up last.
    owner: String,
    sample_rate: f64,
    filter: Option<String>,
    frequency_minutes: u32,
    created_at_ms: i64,
    /// Why nothing is copied now; null: all is well.
    stopped: Option<String>,
    /// Rows written since it was set up.
    rows: u64,
    last_row_at_ms: Option<i64>,
    /// Traces that were written to and wait to be copied, among them those that did not end yet.
    waiting_traces: u64,
    /// For how long the first trace that ended has been waiting.
    lag_ms: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    archives: Vec<Shown>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ended {}

fn asked(call: &Call<'_>) -> Result<ExperimentId, Refusal> {
    Ok(ExperimentId::parse(call.param("experiment"))?)
}

fn managing(experiment: &ExperimentId) -> Check {
    Check::new(Privilege::ExperimentManage, Securable::experiment(experiment))
}

/// `GET archives`: of the experiments that one manages.
pub(super) async fn list(call: &Call<'_>) -> Result<Listed, Refusal> {
    let mut all = call.app.archives.all();
    all.sort_by(|one, other| one.experiment.cmp(&other.experiment));
    let mut archives = Vec::new();
    for archive in all {
        if call.allows(managing(&archive.experiment))? {
            archives.push(shown(call, archive).await?);
        }
    }
    Ok(Listed { archives })
}

/// `GET archives/{experiment}`
pub(super) async fn get(call: &Call<'_>) -> Result<Shown, Refusal> {
    let experiment = asked(call)?;
    demand(call, managing(&experiment))?;
    match call.app.archives.of(&experiment) {
        Some(archive) => shown(call, archive).await,
        None => Err(Refusal::NotFound(format!("experiment `{experiment}` is not archived"))),
    }
}

/// `PUT archives/{experiment}`
pub(super) async fn set(call: &mut Call<'_>, trail: &mut Trail) -> Result<Shown, Refusal> {
    let experiment = asked(call)?;
    let ToArchive { table, sample_rate, filter } = sent_as(call).await?;
    let wanted = archive::Wanted { table, sample_rate, filter, may_exist: true };
    let archive = archive::set(call, trail, &experiment, wanted).await?;
    shown(call, archive).await
}

/// `DELETE archives/{experiment}`
pub(super) async fn end(call: &Call<'_>, trail: &mut Trail) -> Result<Ended, Refusal> {
    archive::end(call, trail, &asked(call)?).await?;
    Ok(Ended {})
}

async fn shown(call: &Call<'_>, archive: Archive) -> Result<Shown, Refusal> {
    let progress = call.app.store.archive_progress(&archive.id).await?;
    let progress = progress.ok_or_else(|| {
        Refusal::NotFound(format!("experiment `{}` is not archived any more", archive.experiment))
    })?;
    let now = call.app.clock.now().0;
    Ok(Shown {
        experiment: archive.experiment.to_string(),
        table: archive.table.id,
        owner: archive.owner.to_string(),
        sample_rate: f64::from(archive.sampled_ppm) / 1e6,
        filter: archive.filter,
        frequency_minutes: archive.frequency_minutes,
        created_at_ms: archive.created_at.0,
        stopped: progress.stopped,
        rows: progress.copied,
        last_row_at_ms: progress.copied_at.map(|time| time.0),
        waiting_traces: progress.waiting,
        lag_ms: progress.waiting_since.map_or(0, |since| (now - since.0).max(0)),
    })
}
