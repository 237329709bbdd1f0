//! Adoption of a server that was in use before: a page at a time of what it holds is claimed for the experiments
//! that it lies in, so that nobody can claim it for another.
//!
//! Whoever asks goes from page to page; nothing is kept between two calls, and doing a page again changes
//! nothing. A trace that no page had is claimed all the same, at its first sight.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Refusal, sent_as};
use crate::access::ExperimentId;

/// Where to go on; the first page if absent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfAll {
    page_token: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfOne {
    experiment_id: String,
    page_token: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Experiments {
    experiments: Vec<Experiment>,
    next_page_token: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Experiment {
    experiment_id: String,
    name: String,
    /// `active` or `deleted`.
    lifecycle_stage: String,
    artifact_location: String,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Traces {
    /// Of this page.
    traces: u64,
    /// Of those, claimed now.
    claimed: u64,
    /// Claimed for another experiment before: these stay there.
    elsewhere: Vec<String>,
    /// With ids of a form that MLflow does not make: these can be neither read nor written.
    unknown_ids: Vec<String>,
    /// How many traces say that they are by whom.
    authors: BTreeMap<String, u64>,
    next_page_token: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Runs {
    /// How many runs of this page say that they are by whom.
    authors: BTreeMap<String, u64>,
    next_page_token: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Held {
    /// Traces that the server says the experiment holds; null if it cannot tell.
    traces: Option<u64>,
}

/// `POST adoption/experiments`: makes their folders known to policy.
pub(super) async fn experiments(call: &mut Call<'_>) -> Result<Experiments, Refusal> {
    let wanted: OfAll = sent_as(call).await?;
    of_a_server(call)?;
    let (found, next_page_token) = call.backend.experiments(wanted.page_token.as_deref()).await?;
    let mut experiments = Vec::new();
    for facts in found {
        call.app.owners.learn(call.app, facts.clone()).await?;
        experiments.push(Experiment {
            experiment_id: facts.id.to_string(),
            name: facts.name,
            lifecycle_stage: facts.lifecycle_stage,
            artifact_location: facts.artifact_location,
        });
    }
    Ok(Experiments { experiments, next_page_token })
}

/// `POST adoption/traces`
pub(super) async fn traces(call: &mut Call<'_>) -> Result<Traces, Refusal> {
    let wanted: OfOne = sent_as(call).await?;
    of_a_server(call)?;
    let experiment = ExperimentId::parse(&wanted.experiment_id)?;
    let (found, next_page_token) = call.backend.traces(&experiment, wanted.page_token.as_deref()).await?;
    let mut page = Traces { traces: found.len() as u64, next_page_token, ..Traces::default() };
    let mut ids = Vec::new();
    for trace in found {
        if let Some(author) = trace.author {
            *page.authors.entry(author).or_default() += 1;
        }
        match trace.id {
            Ok(id) => {
                let marks = trace.marks.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                call.app.subjects.learn(&id, marks);
                ids.push(id);
            }
            Err(unknown) => page.unknown_ids.push(unknown),
        }
    }
    let claims = call.app.owners.adopt_all(call.app, &experiment, &ids).await?;
    for (id, claim) in ids.iter().zip(claims) {
        page.claimed += u64::from(claim.fresh);
        if claim.experiment != experiment {
            page.elsewhere.push(id.to_string());
        }
    }
    Ok(page)
}

/// `POST adoption/runs`
pub(super) async fn runs(call: &mut Call<'_>) -> Result<Runs, Refusal> {
    let wanted: OfOne = sent_as(call).await?;
    of_a_server(call)?;
    let experiment = ExperimentId::parse(&wanted.experiment_id)?;
    let (authors, next_page_token) = call.backend.runs(&experiment, wanted.page_token.as_deref()).await?;
    Ok(Runs { authors, next_page_token })
}

/// `POST adoption/held`: to see whether a walk met everything
pub(super) async fn held(call: &mut Call<'_>) -> Result<Held, Refusal> {
    let wanted: OfOne = sent_as(call).await?;
    of_a_server(call)?;
    let experiment = ExperimentId::parse(&wanted.experiment_id)?;
    Ok(Held { traces: call.backend.held_traces(&experiment).await.ok() })
}

fn of_a_server(call: &Call<'_>) -> Result<(), Refusal> {
    if call.app.backend.is_own() {
        return Err(Refusal::Conflict(
            "there is nothing to adopt: the store is Tracegate's own, and all that is in it was written through \
             Tracegate"
                .to_owned(),
        ));
    }
    Ok(())
}
