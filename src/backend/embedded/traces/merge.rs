//! One trace out of what several requests say of it: StartTrace, which knows the whole trace, and exports of
//! spans, each of which knows a part. They come in any order and some come twice; the trace is the same.
//!
//! What StartTrace says counts; spans fill in what it leaves open. They do widen the span of time, and their
//! tags win over its tags: so it is on an MLflow server that gets StartTrace first. For that, a
//! [`State`] keeps apart what must not be lost when the other half comes later.

use serde_json::{Map, Value};

use super::usage::{self, COST, Costs, TOKEN_USAGE, Tokens};

/// Bits of [`State::head`].
pub(in crate::backend::embedded) const STARTED: i64 = 1;
const GAVE_TOKENS: i64 = 2;
const GAVE_COST: i64 = 4;
/// The root span said how the trace went.
const ROOT_OK: i64 = 8;
const ROOT_ERROR: i64 = 16;
/// Spans ended later than StartTrace said.
const ENDED_LATER: i64 = 32;
/// A client counts a duration in nanoseconds and cuts it to milliseconds; the end of its spans is cut by
/// itself and may lie this much later.
const CUT: i64 = 1;

pub(in crate::backend::embedded) const ARTIFACT_LOCATION: &str = "mlflow.artifactLocation";
pub(in crate::backend::embedded) const SPANS_LOCATION: &str = "mlflow.trace.spansLocation";
pub(in crate::backend::embedded) const TRACKING_STORE: &str = "TRACKING_STORE";
pub(in crate::backend::embedded) const TRACE_NAME: &str = "mlflow.traceName";
pub(in crate::backend::embedded) const SESSION: &str = "mlflow.trace.session";
const USER: &str = "mlflow.trace.user";
const FINALIZED: &str = "mlflow.trace.infoFinalized";

/// A trace without its spans.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backend::embedded) struct State {
    pub trace_id: String,
    pub experiment_id: i64,
    pub request_time: i64,
    pub duration: Option<i64>,
    pub state: String,
    pub client_request_id: Option<String>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    pub tags: Map<String, Value>,
    pub metadata: Map<String, Value>,
    pub head: i64,
    /// The span of time of those exports that may widen a trace that was started.
    pub spans_start: Option<i64>,
    pub spans_end: Option<i64>,
    /// The keys of tags that came from spans.
    pub span_tags: Vec<String>,
}

/// What StartTrace says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backend::embedded) struct Head {
    pub trace_id: String,
    pub experiment_id: i64,
    pub request_time: i64,
    pub duration: Option<i64>,
    pub state: String,
    pub client_request_id: Option<String>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    pub tags: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

/// What the spans of one export say of their trace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::backend::embedded) struct FromSpans {
    /// Milliseconds; the end is that of the spans that have ended.
    pub start: i64,
    pub end: Option<i64>,
    /// `OK` or `ERROR`, once the root span is there.
    pub root_state: Option<String>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    pub session: Option<String>,
    pub user: Option<String>,
    /// Attributes of the resource, and above them the tags that the root span carries.
    pub tags: Vec<(String, String)>,
    /// Over all spans of the trace that are known, not of the export alone.
    pub tokens: Option<Tokens>,
    pub costs: Option<Costs>,
}

impl FromSpans {
    /// MLflow holds a started trace's times against exports that speak of tokens, cost or a session, and
    /// lets others widen them.
    fn may_widen(&self) -> bool {
        self.tokens.is_none() && self.costs.is_none() && self.session.is_none()
    }
}

fn definite(state: &str) -> bool {
    !matches!(state, "IN_PROGRESS" | "STATE_UNSPECIFIED")
}

/// A trace of which nothing is known yet but where its artifacts lie.
fn blank(trace_id: &str, experiment_id: i64, artifacts: &str) -> State {
    let mut tags = Map::new();
    tags.insert(ARTIFACT_LOCATION.to_owned(), Value::from(artifacts));
    State {
        trace_id: trace_id.to_owned(),
        experiment_id,
        request_time: 0,
        duration: None,
        state: "IN_PROGRESS".to_owned(),
        client_request_id: None,
        request_preview: None,
        response_preview: None,
        tags,
        metadata: Map::new(),
        head: 0,
        spans_start: None,
        spans_end: None,
        span_tags: Vec::new(),
    }
}

impl State {
    fn widen(&mut self, start: i64, end: Option<i64>) {
        let told = self.duration.map(|duration| self.request_time.saturating_add(duration));
        let exact = self.head & STARTED == 0 || self.head & ENDED_LATER != 0;
        let later =
            end.filter(|end| told.is_none_or(|told| *end > told.saturating_add(if exact { 0 } else { CUT })));
        if later.is_some() {
            self.head |= ENDED_LATER;
        }
        self.request_time = self.request_time.min(start);
        self.duration = later.or(told).map(|ended| ended.saturating_sub(self.request_time));
    }

    /// How the trace went by its root span, once that is there.
    fn root_state(&self) -> Option<&'static str> {
        match self.head & (ROOT_OK | ROOT_ERROR) {
            ROOT_OK => Some("OK"),
            ROOT_ERROR => Some("ERROR"),
            _ => None,
        }
    }

    /// What a client says of its trace; tokens and cost as far as they are numbers.
    fn take_metadata(&mut self, metadata: Map<String, Value>) {
        for (key, value) in metadata {
            let text = value.as_str().unwrap_or_default();
            let (told, given) = match key.as_str() {
                TOKEN_USAGE => (usage::tokens_text(&usage::tokens(&usage::object(text))), GAVE_TOKENS),
                COST => (usage::costs_text(&usage::costs(&usage::object(text))), GAVE_COST),
                _ => (Some(text.to_owned()), 0),
            };
            if let Some(told) = told {
                self.metadata.insert(key, Value::String(told));
                self.head |= given;
            }
        }
    }

    fn set_metadata(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.metadata.insert(key.to_owned(), Value::String(value));
        }
    }
}

/// What a trace is after StartTrace. `artifacts` is where its artifacts lie.
pub(in crate::backend::embedded) fn with_head(before: Option<State>, head: Head, artifacts: &str) -> State {
    let mut state = before.unwrap_or_else(|| blank(&head.trace_id, head.experiment_id, artifacts));
    state.request_time = head.request_time;
    state.duration = head.duration;
    state.head = (state.head | STARTED) & !ENDED_LATER;
    if let Some(start) = state.spans_start {
        state.widen(start, state.spans_end);
    }
    state.state = match state.root_state() {
        Some(root_state) if !definite(&head.state) => root_state.to_owned(),
        _ => head.state,
    };
    state.client_request_id = head.client_request_id;
    state.request_preview = head.request_preview.or(state.request_preview);
    state.response_preview = head.response_preview.or(state.response_preview);
    for (key, value) in head.tags {
        let kept = state.span_tags.contains(&key) || key == ARTIFACT_LOCATION || key == SPANS_LOCATION;
        if !kept {
            state.tags.insert(key, value);
        }
    }
    state.take_metadata(head.metadata);
    state.metadata.insert(FINALIZED.to_owned(), Value::from("true"));
    state
}

/// A trace that a client of MLflow 2 starts, under an id that nobody else knows yet.
pub(in crate::backend::embedded) fn with_old_head(head: Head, artifacts: &str) -> State {
    let mut state = blank(&head.trace_id, head.experiment_id, artifacts);
    state.request_time = head.request_time;
    state.tags.extend(head.tags.into_iter().filter(|(key, _)| key != ARTIFACT_LOCATION));
    state.take_metadata(head.metadata);
    state
}

/// The states in which a client of MLflow 2 may leave a trace, in the order of their numbers.
pub(in crate::backend::embedded) const COMPLETED_BY_CLIENT: [&str; 3] = ["OK", "ERROR", "IN_PROGRESS"];

/// A trace that a client of MLflow 2 ends.
pub(in crate::backend::embedded) fn ended(
    mut state: State,
    at: i64,
    how: String,
    tags: Map<String, Value>,
    metadata: Map<String, Value>,
) -> State {
    state.duration = Some(at.saturating_sub(state.request_time));
    state.state = how;
    state.tags.extend(tags.into_iter().filter(|(key, _)| key != ARTIFACT_LOCATION));
    state.take_metadata(metadata);
    state
}

/// What a trace is after an export of spans. `experiment_id` and `artifacts` are those of a new one.
pub(in crate::backend::embedded) fn with_spans(
    before: Option<State>,
    trace_id: &str,
    experiment_id: i64,
    artifacts: &str,
    spans: FromSpans,
) -> State {
    let known = before.is_some();
    let mut state = before.unwrap_or_else(|| blank(trace_id, experiment_id, artifacts));
    if !known {
        state.request_time = spans.start;
    }
    if state.head & STARTED == 0 || spans.may_widen() {
        state.widen(spans.start, spans.end);
    }
    if spans.may_widen() {
        state.spans_start = Some(state.spans_start.map_or(spans.start, |start| start.min(spans.start)));
        state.spans_end = state.spans_end.max(spans.end);
    }
    if let Some(root_state) = spans.root_state {
        if state.root_state().is_none() {
            state.head |= if root_state == "OK" { ROOT_OK } else { ROOT_ERROR };
        }
        if !definite(&state.state) {
            state.state = root_state;
        }
    }
    state.request_preview = state.request_preview.or(spans.request_preview);
    state.response_preview = state.response_preview.or(spans.response_preview);
    if !state.metadata.contains_key(SESSION) {
        state.set_metadata(SESSION, spans.session);
    }
    if !state.metadata.contains_key(USER) {
        state.set_metadata(USER, spans.user);
    }
    if state.head & GAVE_TOKENS == 0 {
        state.set_metadata(TOKEN_USAGE, spans.tokens.as_ref().and_then(usage::tokens_text));
    }
    if state.head & GAVE_COST == 0 {
        state.set_metadata(COST, spans.costs.as_ref().and_then(usage::costs_text));
    }
    state.tags.insert(SPANS_LOCATION.to_owned(), Value::from(TRACKING_STORE));
    for (key, value) in spans.tags {
        if !state.span_tags.contains(&key) {
            state.span_tags.push(key.clone());
        }
        state.tags.insert(key, Value::String(value));
    }
    state
}

#[cfg(test)]
mod tests;
