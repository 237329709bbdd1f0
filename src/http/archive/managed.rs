//! Archiving as Databricks' own client of it calls it (`databricks-agents`).

use serde::Deserialize;
use serde_json::json;

use super::set_up::{self, Wanted};
use crate::access::{ExperimentId, Privilege};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::{answered, sent_as};
use crate::http::trail::Trail;
use crate::store::{Archive, ArchiveUpdate};
use crate::wire::{Malformed, Reply};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    experiment_id: Option<String>,
    archive_table_fullname: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    experiment_id: Option<String>,
    monitoring_configuration: Frequency,
    /// Which fields are meant; there is one.
    #[serde(rename = "update_mask")]
    _update_mask: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frequency {
    frequency_minutes: u32,
}

pub(in crate::http) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let experiment = ExperimentId::parse(call.param("experiment_id"))?;
    match call.operation.name.as_str() {
        "archive.start" => {
            let sent: Start = sent_as(call).await?;
            same(&experiment, sent.experiment_id.as_deref())?;
            let wanted = Wanted {
                table: Some(sent.archive_table_fullname),
                sample_rate: None,
                filter: None,
                may_exist: false,
            };
            let archive = set_up::set(call, trail, &experiment, wanted).await?;
            answered(&json!({ "job_id": archive.id }))
        }
        "archive.stop" => {
            set_up::end(call, trail, &experiment).await?;
            answered(&json!({}))
        }
        "archive.frequency" => {
            set_up::managed(call, trail, &experiment, Privilege::MonitoringManage).await?;
            let archive = call.app.archives.of(&experiment);
            told(&archive.ok_or_else(|| set_up::none(&experiment))?)
        }
        "archive.set_frequency" => {
            let sent: Configuration = sent_as(call).await?;
            same(&experiment, sent.experiment_id.as_deref())?;
            set_up::managed(call, trail, &experiment, Privilege::MonitoringManage).await?;
            let minutes = sent.monitoring_configuration.frequency_minutes;
            if !(1..=60).contains(&minutes) {
                let field = "monitoring_configuration.frequency_minutes";
                return Err(Malformed::new(field, "must be from 1 to 60").into());
            }
            let update = ArchiveUpdate { frequency_minutes: Some(minutes), ..ArchiveUpdate::default() };
            told(&set_up::change(call, trail, &experiment, &update).await?)
        }
        _ => Err(Refusal::UnknownEndpoint),
    }
}

fn same(experiment: &ExperimentId, sent: Option<&str>) -> Result<(), Malformed> {
    match sent {
        Some(sent) if sent != experiment.as_str() => {
            Err(Malformed::new("experiment_id", "is not that of the path"))
        }
        _ => Ok(()),
    }
}

fn told(archive: &Archive) -> Result<Reply, Refusal> {
    answered(&json!({ "monitoring_configuration": { "frequency_minutes": archive.frequency_minutes } }))
}
