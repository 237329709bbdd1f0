//! One call as a reader of the record sees it: its records folded into one.
//!
//! A call leaves a `begin`, any number of `returned` and a `complete` that share a decision id. A call
//! whose `complete` is missing was cut short, by a crash for instance; its outcome stays `pending`, and
//! what was released before is known all the same.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::access::{Event, EventKind, Outcome, RequestContext, Verdict};
use crate::clock::UnixMillis;

#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Call {
    pub decision_id: String,
    /// When the first of its records was made.
    #[serde(rename = "time_ms")]
    pub time: UnixMillis,
    pub principal: Option<String>,
    pub proof: Option<String>,
    pub request: RequestContext,
    pub operation: String,
    /// Deny if any of its records says so.
    pub decision: Verdict,
    pub policy_version: i64,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration_us: u64,
    pub securables: BTreeSet<String>,
    pub privileges: BTreeSet<String>,
    /// Asked for, written or returned, over all records.
    pub trace_ids: BTreeSet<String>,
    /// How many records the call left among those given.
    pub records: usize,
}

/// Folds events into calls, in the order in which the calls first appear.
pub fn fold_calls(events: impl IntoIterator<Item = Event>) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut by_decision: HashMap<String, usize> = HashMap::new();
    for event in events {
        match by_decision.get(&event.decision_id).and_then(|index| calls.get_mut(*index)) {
            Some(call) => call.add(event),
            None => {
                by_decision.insert(event.decision_id.clone(), calls.len());
                calls.push(Call::of(event));
            }
        }
    }
    calls
}

impl Call {
    fn of(event: Event) -> Self {
        Self {
            decision_id: event.decision_id,
            time: event.time,
            principal: event.principal,
            proof: event.proof,
            request: event.request,
            operation: event.operation,
            decision: event.decision,
            policy_version: event.policy_version,
            outcome: event.outcome,
            status: event.status,
            reason: event.reason,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
            duration_us: event.duration_us,
            securables: event.securables.into_iter().collect(),
            privileges: event.privileges.into_iter().collect(),
            trace_ids: event.trace_ids.into_iter().collect(),
            records: 1,
        }
    }

    /// Takes in another record of the same call; records may come in any order.
    fn add(&mut self, event: Event) {
        self.time = self.time.min(event.time);
        self.securables.extend(event.securables);
        self.privileges.extend(event.privileges);
        self.trace_ids.extend(event.trace_ids);
        self.records += 1;
        if event.decision == Verdict::Deny {
            self.decision = Verdict::Deny;
        }
        if matches!(event.kind, EventKind::Complete | EventKind::PolicyChange) {
            self.outcome = event.outcome;
            self.status = event.status.or(self.status);
            self.reason = event.reason.or(self.reason.take());
        }
        self.bytes_in = self.bytes_in.max(event.bytes_in);
        self.bytes_out = self.bytes_out.max(event.bytes_out);
        self.duration_us = self.duration_us.max(event.duration_us);
    }
}
