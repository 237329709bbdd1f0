//! The gateway's own questions to the MLflow server.
//!
//! Nothing of the caller's goes with them but the id asked for, encoded. "It does not exist" is believed
//! only from a 404 with MLflow's `RESOURCE_DOES_NOT_EXIST`: a 404 page is a route the server lacks, and
//! everything else is an error, which denies. An answer about a different id than the one asked for is an
//! error as well.

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::request::Prepared;
use super::{Upstream, reply};
use crate::access::{ExperimentId, TraceId};
use crate::backend::{BackendError, ExperimentFacts, ExperimentPage, Owned};
use crate::wire::{Body, Headers, Method};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// No answer to a question of ours is larger: a thousand experiments with their tags, a run with its data.
const MAX_BYTES: usize = 32 * 1024 * 1024;

const PAGE: &str =
    "/api/2.0/mlflow/experiments/search?max_results=1000&view_type=ALL&order_by=experiment_id%20ASC";

impl Upstream {
    pub(super) async fn look_up_owners(
        &self,
        kind: Owned,
        id: &str,
    ) -> Result<Option<Vec<ExperimentId>>, BackendError> {
        // An id that is no segment could only ask about something else.
        if matches!(id, "" | "." | "..") {
            return Err(BackendError::Unsendable);
        }
        let escaped = escape(id);
        let owner = match kind {
            Owned::Trace => {
                let found = self.get(&format!("/api/3.0/mlflow/traces/{escaped}")).await?;
                found.map(|TraceReply { trace }| {
                    let location = trace.trace_info.trace_location.mlflow_experiment;
                    (trace.trace_info.trace_id, location.map(|location| location.experiment_id))
                })
            }
            Owned::Run => {
                let found = self.get(&format!("/api/2.0/mlflow/runs/get?run_id={escaped}")).await?;
                found.map(|RunReply { run }| (run.info.run_id, Some(run.info.experiment_id)))
            }
            Owned::LoggedModel => {
                let found = self.get(&format!("/api/2.0/mlflow/logged-models/{escaped}")).await?;
                found.map(|ModelReply { model }| (model.info.model_id, Some(model.info.experiment_id)))
            }
            Owned::Issue => {
                let found = self.get(&format!("/api/3.0/mlflow/issues/{escaped}")).await?;
                found.map(|IssueReply { issue }| (issue.issue_id, Some(issue.experiment_id)))
            }
            Owned::LabelSchema => {
                let path = format!("/api/3.0/mlflow/label-schemas/get?schema_id={escaped}");
                let found = self.get(&path).await?;
                found.map(|SchemaReply { label_schema: it }| (it.schema_id, Some(it.experiment_id)))
            }
            Owned::ReviewQueue => {
                let path = format!("/api/3.0/mlflow/review-queues/get?queue_id={escaped}");
                let found = self.get(&path).await?;
                found.map(|QueueReply { review_queue: it }| (it.queue_id, Some(it.experiment_id)))
            }
            Owned::PromptJob => {
                let found = self.get(&format!("/api/3.0/mlflow/prompt-optimization/jobs/{escaped}")).await?;
                found.map(|JobReply { job }| (job.job_id, Some(job.experiment_id)))
            }
            Owned::Dataset => return self.look_up_dataset(&escaped, id).await,
        };
        match owner {
            None => Ok(None),
            Some((found, Some(experiment))) if found == id => Ok(Some(vec![experiment_id(&experiment)?])),
            Some(_) => Err(misunderstood("an owner that is not what was asked for")),
        }
    }

    pub(super) async fn look_up_trace_marks(
        &self,
        trace: &TraceId,
    ) -> Result<Vec<(String, String)>, BackendError> {
        let found = self.get(&format!("/api/3.0/mlflow/traces/{}", escape(trace.as_str()))).await?;
        let Some(MarksReply { trace: MarkedTrace { trace_info } }) = found else { return Ok(Vec::new()) };
        Ok(trace_info.tags.into_iter().chain(trace_info.trace_metadata).collect())
    }

    /// MLflow answers `{}` for a dataset without experiments and for one that does not exist.
    async fn look_up_dataset(
        &self,
        escaped: &str,
        id: &str,
    ) -> Result<Option<Vec<ExperimentId>>, BackendError> {
        let path = format!("/api/3.0/mlflow/datasets/{escaped}");
        let Some(DatasetReply { dataset }) = self.get(&path).await? else { return Ok(None) };
        if dataset.dataset_id != id {
            return Err(misunderstood("a dataset that is not what was asked for"));
        }
        let Some(DatasetOwners { experiment_ids }) = self.get(&format!("{path}/experiment-ids")).await?
        else {
            return Ok(None);
        };
        experiment_ids.iter().map(|id| experiment_id(id)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) async fn look_up_experiment(
        &self,
        id: &ExperimentId,
    ) -> Result<Option<ExperimentFacts>, BackendError> {
        let path = format!("/api/2.0/mlflow/experiments/get?experiment_id={id}");
        let Some(ExperimentReply { experiment }) = self.get(&path).await? else { return Ok(None) };
        let facts = experiment.facts()?;
        if facts.id != *id {
            return Err(misunderstood("an experiment that is not what was asked for"));
        }
        Ok(Some(facts))
    }

    pub(super) async fn look_up_experiment_by_name(
        &self,
        name: &str,
    ) -> Result<Option<ExperimentFacts>, BackendError> {
        let path = format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={}", escape(name));
        let found: Option<ExperimentReply> = self.get(&path).await?;
        found.map(|found| found.experiment.facts()).transpose()
    }

    pub(super) async fn look_up_experiments(
        &self,
        token: Option<&str>,
    ) -> Result<ExperimentPage, BackendError> {
        let token = token.map(|token| format!("&page_token={}", escape(token))).unwrap_or_default();
        let found = self.get(&format!("{PAGE}{token}")).await?;
        let PageReply { experiments, next_page_token } =
            found.ok_or_else(|| misunderstood("no list of experiments"))?;
        let facts = experiments.into_iter().map(Experiment::facts).collect::<Result<_, _>>()?;
        Ok((facts, next_page_token.filter(|token| !token.is_empty())))
    }

    pub(super) async fn look_up_health(&self) -> Result<(), BackendError> {
        let (status, _) = self.ask("/health").await?;
        if status == 200 { Ok(()) } else { Err(misunderstood("an unhealthy status")) }
    }

    /// Counted by the server; one that cannot count cannot hold anybody to a limit, which is an error.
    pub(super) async fn look_up_held_traces(&self, experiment: &ExperimentId) -> Result<u64, BackendError> {
        let question = serde_json::json!({
            "experiment_ids": [experiment.as_str()],
            "view_type": "TRACES",
            "metric_name": "trace_count",
            "aggregations": [{ "aggregation_type": "COUNT" }],
        });
        let found = self.answered(self.ask_with("/api/3.0/mlflow/traces/metrics", &question).await?)?;
        let Some(CountReply { data_points }) = found else { return Ok(0) };
        match data_points.as_slice() {
            [] => Ok(0),
            [CountPoint { values: CountValue { count } }] if *count >= 0.0 => Ok(*count as u64),
            _ => Err(misunderstood("a count that is not one number")),
        }
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, BackendError> {
        self.answered(self.ask(target).await?)
    }

    pub(super) fn answered<T: DeserializeOwned>(
        &self,
        (status, body): (u16, BytesMut),
    ) -> Result<Option<T>, BackendError> {
        match status {
            200 => serde_json::from_slice(&body).map(Some).map_err(|_| misunderstood("an unknown shape")),
            404 => match serde_json::from_slice::<ErrorReply>(&body) {
                Ok(error) if error.error_code == "RESOURCE_DOES_NOT_EXIST" => Ok(None),
                _ => Err(misunderstood("a 404 that is not MLflow's")),
            },
            401 | 407 => Err(BackendError::CredentialRefused),
            status => {
                tracing::warn!(status, "a look-up failed at the backend");
                Err(BackendError::BrokenOff)
            }
        }
    }

    /// Asks and reads the whole answer, within the time for look-ups.
    async fn ask(&self, target: &str) -> Result<(u16, BytesMut), BackendError> {
        let prepared = Prepared::new(&self.shared, Method::Get, target, None)?;
        self.ask_prepared(prepared, Body::Empty).await
    }

    /// As [`ask`](Self::ask), with a question in JSON.
    pub(super) async fn ask_with(
        &self,
        target: &str,
        question: &serde_json::Value,
    ) -> Result<(u16, BytesMut), BackendError> {
        let mut headers = Headers::new();
        headers.push("content-type", "application/json");
        let prepared = Prepared::new(&self.shared, Method::Post, target, Some(&headers))?;
        self.ask_prepared(prepared, Body::memory(question.to_string())).await
    }

    async fn ask_prepared(&self, prepared: Prepared, body: Body) -> Result<(u16, BytesMut), BackendError> {
        let patience: Duration = self.shared.limits.lookup_timeout;
        let asked = async {
            let answer = self.exchange(prepared, body, patience).await?;
            let status = answer.response.status().as_u16();
            let length = reply::declared_length(answer.response.headers());
            let mut stream = reply::body_stream(answer, length, patience);
            let mut body = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                body.extend_from_slice(&chunk.map_err(|_| BackendError::BrokenOff)?);
                if body.len() > MAX_BYTES {
                    return Err(misunderstood("more than a look-up takes"));
                }
            }
            Ok((status, body))
        };
        timeout(patience, asked).await.unwrap_or(Err(BackendError::Timeout))
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

pub(super) fn misunderstood(problem: &'static str) -> BackendError {
    tracing::warn!(problem, "a look-up got an answer that cannot be used");
    BackendError::BrokenOff
}

fn experiment_id(text: &str) -> Result<ExperimentId, BackendError> {
    ExperimentId::parse(text).map_err(|_| misunderstood("a malformed experiment id"))
}

#[derive(Deserialize)]
struct CountReply {
    #[serde(default)]
    data_points: Vec<CountPoint>,
}

#[derive(Deserialize)]
struct CountPoint {
    values: CountValue,
}

#[derive(Deserialize)]
struct CountValue {
    #[serde(rename = "COUNT")]
    count: f64,
}

#[derive(Deserialize)]
struct ErrorReply {
    error_code: String,
}

#[derive(Deserialize)]
struct TraceReply {
    trace: Trace,
}

#[derive(Deserialize)]
struct Trace {
    trace_info: TraceInfo,
}

#[derive(Deserialize)]
struct TraceInfo {
    trace_id: String,
    trace_location: TraceLocation,
}

#[derive(Deserialize)]
struct MarksReply {
    trace: MarkedTrace,
}

#[derive(Deserialize)]
struct MarkedTrace {
    trace_info: Marks,
}

#[derive(Deserialize)]
struct Marks {
    #[serde(default)]
    tags: HashMap<String, String>,
    #[serde(default)]
    trace_metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
struct TraceLocation {
    mlflow_experiment: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    experiment_id: String,
}

#[derive(Deserialize)]
struct RunReply {
    run: Run,
}

#[derive(Deserialize)]
struct Run {
    info: RunInfo,
}

#[derive(Deserialize)]
struct RunInfo {
    run_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct ModelReply {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    info: ModelInfo,
}

#[derive(Deserialize)]
struct ModelInfo {
    model_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct IssueReply {
    issue: Issue,
}

#[derive(Deserialize)]
struct Issue {
    issue_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct SchemaReply {
    label_schema: Schema,
}

#[derive(Deserialize)]
struct Schema {
    schema_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct QueueReply {
    review_queue: Queue,
}

#[derive(Deserialize)]
struct Queue {
    queue_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct JobReply {
    job: Job,
}

#[derive(Deserialize)]
struct Job {
    job_id: String,
    experiment_id: String,
}

#[derive(Deserialize)]
struct DatasetReply {
    dataset: Dataset,
}

#[derive(Deserialize)]
struct Dataset {
    dataset_id: String,
}

#[derive(Deserialize)]
struct DatasetOwners {
    #[serde(default)]
    experiment_ids: Vec<String>,
}

#[derive(Deserialize)]
struct ExperimentReply {
    experiment: Experiment,
}

#[derive(Deserialize)]
struct PageReply {
    #[serde(default)]
    experiments: Vec<Experiment>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Experiment {
    experiment_id: String,
    name: String,
    #[serde(default)]
    artifact_location: String,
    #[serde(default)]
    lifecycle_stage: String,
}

impl Experiment {
    fn facts(self) -> Result<ExperimentFacts, BackendError> {
        Ok(ExperimentFacts {
            id: experiment_id(&self.experiment_id)?,
            name: self.name,
            artifact_location: self.artifact_location,
            lifecycle_stage: self.lifecycle_stage,
        })
    }
}
