//! Pages through everything that a server holds, for its adoption.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Upstream;
use super::lookup::misunderstood;
use crate::access::{ExperimentId, TraceId};
use crate::backend::{Authors, BackendError, TraceFacts, TracePage};

/// MLflow's most for one page of traces.
const TRACES: usize = 500;
/// Runs bring all their parameters and metrics along.
const RUNS: usize = 200;
/// Where MLflow's clients say who they are.
const USER: &str = "mlflow.user";

impl Upstream {
    /// Oldest first: what is written meanwhile comes last.
    pub(super) async fn walk_traces(
        &self,
        experiment: &ExperimentId,
        token: Option<&str>,
    ) -> Result<TracePage, BackendError> {
        let question = json!({
            "locations": [{
                "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": experiment.as_str() },
            }],
            "max_results": TRACES,
            "order_by": ["timestamp_ms ASC"],
            "page_token": token,
        });
        let found = self.answered(self.ask_with("/api/3.0/mlflow/traces/search", &question).await?)?;
        let TracesReply { traces, next_page_token } = found.unwrap_or_default();
        let facts = traces.into_iter().map(|trace| trace.facts(experiment)).collect::<Result<_, _>>()?;
        Ok((facts, next_page_token.filter(|token| !token.is_empty())))
    }

    pub(super) async fn walk_runs(
        &self,
        experiment: &ExperimentId,
        token: Option<&str>,
    ) -> Result<(Authors, Option<String>), BackendError> {
        let question = json!({
            "experiment_ids": [experiment.as_str()],
            "run_view_type": "ALL",
            "max_results": RUNS,
            "order_by": ["attributes.start_time ASC"],
            "page_token": token.unwrap_or_default(),
        });
        let found = self.answered(self.ask_with("/api/2.0/mlflow/runs/search", &question).await?)?;
        let RunsReply { runs, next_page_token } = found.unwrap_or_default();
        let mut authors = Authors::new();
        for run in runs {
            let tagged = run.data.tags.into_iter().find(|tag| tag.key == USER).map(|tag| tag.value);
            if let Some(name) = tagged.or(run.info.user_id).filter(|name| !name.is_empty()) {
                *authors.entry(name).or_default() += 1;
            }
        }
        Ok((authors, next_page_token.filter(|token| !token.is_empty())))
    }
}

#[derive(Default, Deserialize)]
struct TracesReply {
    #[serde(default)]
    traces: Vec<Trace>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Trace {
    trace_id: String,
    trace_location: Location,
    #[serde(default)]
    tags: BTreeMap<String, Value>,
    #[serde(default)]
    trace_metadata: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Location {
    mlflow_experiment: Option<Place>,
}

#[derive(Deserialize)]
struct Place {
    experiment_id: String,
}

impl Trace {
    fn facts(self, asked: &ExperimentId) -> Result<TraceFacts, BackendError> {
        let place = self.trace_location.mlflow_experiment.map(|place| place.experiment_id);
        if place.as_deref() != Some(asked.as_str()) {
            return Err(misunderstood("a trace of another experiment than was asked for"));
        }
        let marks = self.trace_metadata.into_iter().chain(self.tags);
        let marks: Vec<(String, String)> =
            marks.filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect();
        let author = marks.iter().find(|(key, value)| key == USER && !value.is_empty());
        let author = author.map(|(_, name)| name.clone());
        Ok(TraceFacts { id: TraceId::parse(&self.trace_id).map_err(|_| self.trace_id), author, marks })
    }
}

#[derive(Default, Deserialize)]
struct RunsReply {
    #[serde(default)]
    runs: Vec<Run>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Run {
    info: Info,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
struct Info {
    user_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}
