//! What is done beside forwarding: one function before the decision, one after the backend's answer.
//!
//! `prepare` adds what a call demands beyond its manifest line and rewrites what must be stamped;
//! `claim` settles trace ownership once the call is allowed; `finish` narrows, masks and seals the
//! answer, and does what a success brings with it (a creator's grant, a claim on a minted id).

mod assessments;
mod experiments;
mod graphql;
mod models;
pub(super) mod multipart;
mod otlp;
mod runs;
mod search;
mod stamps;
mod start_trace;
mod traces;
mod whole_page;

pub(super) use assessments::stamp_source;
pub(super) use experiments::server_info;
pub(super) use multipart::origin;

use super::call::Call;
use super::error::Refusal;
use super::limited::{self, Room};
use super::pages::{self, Narrowed};
use super::trail::Trail;
use crate::access::{Check, ExperimentId, Privilege, Securable, TraceId};
use crate::classify::Handling;
use crate::wire::Reply;

/// What `prepare` leaves for `finish` to do.
pub(super) enum After {
    /// Pass the answer on.
    Nothing,
    /// Seal the next page's token.
    Page,
    /// Record the trace ids of a page, mask it for those who may only list, seal the next page's token.
    TracePage(traces::Mask),
    /// Keep only what the caller may see, and fill the page up again.
    Narrow(Narrowed),
    /// A trace was started by someone who may not read it: give back only what was sent.
    StartedBlind {
        sent: serde_json::Map<String, serde_json::Value>,
    },
    /// The server mints the id of an MLflow 2 trace: claim it.
    StartedV2(ExperimentId),
    /// Some traces of an export were refused.
    PartialExport {
        rejected: u64,
        message: String,
    },
    ExperimentCreated,
    ExperimentRenamed(ExperimentId),
    ModelCreated(String),
    ModelRenamed {
        old: String,
        new: String,
    },
    ModelDeleted(String),
    /// Say where each part of an upload goes, signed for the caller.
    PartsOffered,
    /// Drop model versions that the caller may not see at these places of a GraphQL answer.
    GraphQl(Vec<Vec<String>>),
}

pub(super) async fn prepare(call: &mut Call<'_>) -> Result<After, Refusal> {
    match call.operation.handling {
        Handling::Pass => {
            stamps::author(call)?;
            Ok(After::Nothing)
        }
        Handling::Traces
        | Handling::DatasetRead
        | Handling::MetricHistoryBulk
        | Handling::ArtifactWrite
        | Handling::ExperimentByName
        | Handling::ServerInfo
        // Its traces are read from the body once the call itself is allowed, in `claim`.
        | Handling::Otlp
        | Handling::Own => Ok(After::Nothing),
        // Without a path or an experiment these list everything.
        Handling::ArtifactRead | Handling::ScorerList => {
            if call.demands.is_empty() {
                let everything = Securable::workspace();
                call.demands.push(super::lookup::Demand::on(Privilege::WorkspaceManage, everything));
            }
            Ok(After::Nothing)
        }
        Handling::Page => {
            pages::open(call).await?;
            Ok(After::Page)
        }
        Handling::TracePage => traces::search(call).await,
        Handling::StartTraceV2 => start_trace::v2(call),
        Handling::StartTraceV3 => start_trace::v3(call).await,
        Handling::EndTrace => start_trace::end(call),
        Handling::TraceTag => traces::tag(call),
        Handling::LinkPrompts => traces::link_prompts(call),
        Handling::AssessmentWrite => assessments::stamp(call).await,
        Handling::RunCreate => runs::create(call),
        Handling::RunTag => runs::tag(call),
        Handling::ExperimentCreate => experiments::create(call).await,
        Handling::ExperimentUpdate => experiments::update(call).await,
        Handling::ExperimentTag => experiments::tag(call),
        Handling::ExperimentSearch => search::experiments(call).await,
        Handling::ModelCreate => models::create(call),
        Handling::ModelRename => models::rename(call),
        Handling::ModelDelete => models::delete(call),
        Handling::ModelSearch => search::models(call, "registered_models").await,
        Handling::ModelVersionSearch => search::models(call, "model_versions").await,
        Handling::ScorerConfigs => search::scorer_configs(call),
        Handling::Multipart => Ok(multipart::prepare(call)),
        Handling::GraphQl => graphql::prepare(call).await,
    }
}

/// Whether the backend's answer is read as JSON, not passed on as it comes.
pub(super) fn reads_the_answer(handling: Handling) -> bool {
    matches!(
        handling,
        Handling::Page
            | Handling::TracePage
            | Handling::ExperimentSearch
            | Handling::ModelSearch
            | Handling::ModelVersionSearch
            | Handling::ScorerConfigs
            | Handling::GraphQl
            | Handling::ServerInfo
    )
}

/// Settles who owns the traces that an allowed call writes to. Answers the claims that this call made.
pub(super) async fn claim(
    call: &mut Call<'_>,
    after: &mut After,
    trail: &mut Trail,
) -> Result<Vec<(TraceId, ExperimentId)>, Refusal> {
    if call.operation.handling == Handling::Otlp {
        return otlp::claim(call, after, trail).await;
    }
    if call.operation.handling == Handling::Multipart {
        multipart::refuse_without_parts(call)?;
    }
    let (mut fresh, mut known) = (Vec::new(), Vec::new());
    for (trace, experiment) in call.claims.clone() {
        let starter = Some(&call.caller.principal);
        let claim = call.app.owners.claim(call.app, call.backend, &trace, &experiment, starter).await?;
        if claim.experiment != experiment {
            // Not even an administrator moves a trace from one experiment to another.
            return Err(Refusal::Denied(format!(
                "trace `{trace}` belongs to another experiment than `{experiment}` and cannot be moved"
            )));
        }
        // Whose own a trace is was looked up before the decision; a race may have settled it since.
        if !claim.fresh && claim.started_by.as_ref().is_some_and(|starter| !call.is(starter)) {
            let edit = match call.operation.handling {
                Handling::StartTraceV3 => Privilege::TraceTag,
                _ => Privilege::ArtifactWrite,
            };
            let securable = Securable::experiment(&experiment);
            if !call.allows(Check::new(edit, securable.clone()))? {
                return Err(call.denied(edit, &securable));
            }
        }
        if claim.fresh {
            fresh.push((trace, experiment));
        } else {
            known.push(trace);
        }
    }
    let starts_in = match (call.operation.handling, &*after) {
        (Handling::StartTraceV3, _) => {
            call.claims.first().map(|(_, experiment)| (experiment.clone(), fresh.len()))
        }
        (_, After::StartedV2(experiment)) => Some((experiment.clone(), 1)),
        _ => None,
    };
    if let Some((experiment, starts)) = starts_in {
        let room = limited::room(call, &experiment, starts as u64, &known).await;
        let refusal = match room {
            Ok(Room::Made(reservation)) => {
                call.reserved.push(reservation);
                return Ok(fresh);
            }
            Ok(Room::Full { refusal, .. }) | Err(refusal) => refusal,
        };
        unclaim(call, fresh).await?;
        return Err(refusal);
    }
    Ok(fresh)
}

/// Traces were deleted: where their number is limited, there is room again.
pub(super) fn made_room(call: &Call<'_>) {
    if !call.operation.name.starts_with("trace.delete") {
        return;
    }
    for check in call.demands.iter().flat_map(|demand| &demand.checks) {
        if let Ok(experiment) = ExperimentId::parse(&check.securable.id) {
            call.app.limits.made_room(&experiment);
        }
    }
}

/// Refuses an export in which a root span would set what clients may not.
pub(super) fn refuse_reserved_spans(call: &Call<'_>, export: &[u8], trace: &TraceId) -> Result<(), Refusal> {
    otlp::refuse_reserved(call, export, trace)
}

/// Gives claims back that this call made and the backend definitely refused.
pub(super) async fn unclaim(call: &Call<'_>, claims: Vec<(TraceId, ExperimentId)>) -> Result<(), Refusal> {
    for (trace, experiment) in claims {
        call.app.owners.release(call.app, &trace, &experiment).await?;
    }
    Ok(())
}

pub(super) async fn finish(
    after: After,
    call: &mut Call<'_>,
    trail: &mut Trail,
    reply: Reply,
) -> Result<Reply, Refusal> {
    // MLflow says 400 for a name that is taken; a server that failed says nothing of names.
    if matches!(reply.status, 400 | 409) {
        return match after {
            After::ExperimentCreated => experiments::name_refused(call, "name", reply).await,
            After::ExperimentRenamed(_) => experiments::name_refused(call, "new_name", reply).await,
            After::ModelCreated(name) | After::ModelRenamed { new: name, .. } => {
                models::name_refused(call, &name, reply).await
            }
            _ => Ok(reply),
        };
    }
    if reply.status >= 300 {
        return Ok(reply);
    }
    match after {
        After::Nothing => Ok(reply),
        After::Page => pages::seal(call, reply).await,
        After::TracePage(mask) => traces::release_page(call, trail, mask, reply).await,
        After::Narrow(narrowed) => pages::narrow(call, narrowed, reply).await,
        After::StartedBlind { sent } => start_trace::blind(call, sent, reply).await,
        After::StartedV2(experiment) => start_trace::claim_minted(call, trail, &experiment, reply).await,
        After::PartialExport { rejected, message } => otlp::partial(call, reply, rejected, &message),
        After::ExperimentCreated => experiments::created(call, trail, reply).await,
        After::ExperimentRenamed(id) => experiments::renamed(call, trail, &id, reply).await,
        After::ModelCreated(name) => models::created(call, trail, &name, reply).await,
        After::ModelRenamed { old, new } => models::renamed(call, trail, &old, &new, reply).await,
        After::ModelDeleted(name) => models::deleted(call, trail, &name, reply).await,
        After::PartsOffered => multipart::offer(call, reply).await,
        After::GraphQl(paths) => graphql::finish(call, &paths, reply).await,
    }
}

/// Whether the caller has a privilege on every one of some experiments.
fn has_on_all(call: &Call<'_>, privilege: Privilege, experiments: &[ExperimentId]) -> Result<bool, Refusal> {
    for experiment in experiments {
        let securable = Securable::experiment(experiment);
        if !call.allows(Check::new(privilege, securable))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the caller may see one entry of a narrowed list.
pub(super) async fn keep(
    call: &Call<'_>,
    keep: pages::Keep,
    entry: &serde_json::Value,
) -> Result<bool, Refusal> {
    search::keep(call, keep, entry).await
}
