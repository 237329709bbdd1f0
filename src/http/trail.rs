//! The audit trail of one call: what is known so far, written as `begin` and `complete` records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::access::{
    AuditError, Caller, Decision, DecisionId, Durability, Event, EventId, EventKind, Missing, Outcome,
    PolicyChange, Principal, RequestContext, Securable, Sight, TraceId, Verdict,
};
use crate::app::App;
use crate::identity::without_secrets;
use crate::telemetry::CallLabels;
use crate::wire::{Body, Reply};

/// One record never carries more ids than this; a call that returns more writes several records.
const IDS_PER_RECORD: usize = 10_000;

/// Up to so many ids stand in the `complete` record too.
const IDS_REPEATED: usize = 100;

/// Collects what the audit record says of a call.
pub(super) struct Trail {
    app: Arc<App>,
    event: Event,
    /// What an answer lets the caller see of the traces.
    sight: Sight,
    /// Traces of which the caller may only see that they exist.
    listed: BTreeSet<String>,
    /// What the record says beside the reason that the caller is told.
    note: Option<String>,
    /// Whether there are no credentials, and shadow mode decides.
    anonymous: bool,
    started: Instant,
}

impl Trail {
    pub fn new(app: &Arc<App>, request: RequestContext) -> Self {
        let decision_id = DecisionId(uuid::Uuid::now_v7());
        let event = Event {
            id: EventId(decision_id.0),
            kind: EventKind::Begin,
            time: app.clock.now(),
            principal: None,
            proof: None,
            actor: None,
            request,
            operation: "unknown".to_owned(),
            securables: Vec::new(),
            privileges: Vec::new(),
            decision_id: decision_id.to_string(),
            decision: Verdict::Deny,
            deciding_grants: Vec::new(),
            policy_version: app.policy.version(),
            outcome: Outcome::Pending,
            status: None,
            reason: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_us: 0,
            trace_ids: Vec::new(),
            sight: None,
            listed_trace_ids: Vec::new(),
            question: Default::default(),
            claimed: None,
            shadowed: Vec::new(),
            repeated: None,
            policy_change: None,
        };
        Self {
            app: Arc::clone(app),
            event,
            sight: Sight::Asked,
            listed: BTreeSet::new(),
            note: None,
            anonymous: false,
            started: Instant::now(),
        }
    }

    pub fn decision_id(&self) -> &str {
        &self.event.decision_id
    }

    pub fn caller(&mut self, caller: &Caller) {
        self.anonymous = caller.is_anonymous();
        self.event.principal = Some(caller.principal.to_string());
        self.event.actor = caller.actor.as_ref().map(|actor| actor.principal.to_string());
        let proof = &caller.actor.as_deref().unwrap_or(caller).proof;
        self.event.proof = Some(format!("{}:{}", proof.scheme.as_str(), proof.credential));
    }

    pub fn operation(&mut self, name: &str) {
        name.clone_into(&mut self.event.operation);
    }

    pub fn operation_name(&self) -> &str {
        &self.event.operation
    }

    /// Where the request said it goes, once that has one reading.
    pub fn path(&mut self, path: &str) {
        self.event.request.path = without_secrets(path).into_owned();
    }

    pub fn bytes_in(&mut self, bytes: u64) {
        self.event.bytes_in = bytes;
    }

    /// Notes a securable and a privilege that the call needs.
    pub fn demands(&mut self, securable: String, privilege: String) {
        if !self.event.securables.contains(&securable) {
            self.event.securables.push(securable);
        }
        if !self.event.privileges.contains(&privilege) {
            self.event.privileges.push(privilege);
        }
    }

    pub fn decision(&mut self, decision: &Decision) {
        self.event.decision = decision.verdict;
        self.event.deciding_grants = decision.deciding.iter().map(|grant| grant.0).collect();
        self.event.policy_version = decision.policy_version;
        self.shadowed(decision.shadowed.iter().map(|check| Missing {
            securable: check.securable.to_string(),
            privilege: check.privilege.to_string(),
            narrows: false,
        }));
    }

    /// Notes what the caller lacks and shadow mode let pass.
    pub fn shadowed(&mut self, missing: impl IntoIterator<Item = Missing>) {
        self.event.shadowed.extend(missing);
        self.event.shadowed.sort_unstable();
        // What would be refused says more than that a part of it would be left out.
        self.event.shadowed.dedup_by(|later, first| {
            (&later.securable, &later.privilege) == (&first.securable, &first.privilege)
        });
    }

    /// Notes that some credentials would be enough, and there were none.
    pub fn lacks_credentials(&mut self) {
        let securable = Securable::workspace().to_string();
        self.shadowed([Missing { securable, privilege: "authenticate".to_owned(), narrows: false }]);
    }

    /// Whether it is of a caller without credentials that shadow mode decides about.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    pub fn is_shadowed(&self) -> bool {
        !self.event.shadowed.is_empty()
    }

    pub fn traces<'t>(&mut self, ids: impl IntoIterator<Item = &'t TraceId>) {
        self.event.trace_ids.extend(ids.into_iter().map(ToString::to_string));
    }

    /// As [`Trail::traces`], for traces in tables, whose ids say where they lie.
    pub fn named_traces(&mut self, ids: impl IntoIterator<Item = String>) {
        self.event.trace_ids.extend(ids);
    }

    /// Notes traces of which no more than a listing is released.
    pub fn listed(&mut self, id: &TraceId) {
        self.listed.insert(id.to_string());
    }

    /// What the answer, if it is a success, lets the caller see of the traces.
    pub fn sees(&mut self, sight: Sight) {
        self.sight = sight;
    }

    /// The answer's status is known, and nothing of it is released yet.
    pub fn answered(&mut self, status: u16) {
        self.event.status = Some(status);
    }

    /// What is asked of the record itself.
    pub fn question(&mut self, question: BTreeMap<String, String>) {
        self.event.question = question;
    }

    /// Whether nobody was identified.
    pub fn is_of_a_stranger(&self) -> bool {
        self.event.principal.is_none() || self.anonymous
    }

    pub fn source_address(&self) -> Option<&str> {
        self.event.request.source_address.as_deref()
    }

    /// The known principal whose name came with a bad credential.
    pub fn claimed(&mut self, principal: &Principal) {
        self.event.claimed = Some(principal.to_string());
    }

    /// Whether the call touches more traces than its `complete` record repeats.
    pub fn has_many_traces(&self) -> bool {
        self.event.trace_ids.len() > IDS_REPEATED
    }

    /// Takes back an allow: something after the decision refused the call.
    pub fn refused(&mut self) {
        self.event.decision = Verdict::Deny;
        // Nothing passed.
        self.event.shadowed.clear();
    }

    /// What is for the record and not for the caller, such as what of a foreign token was wrong.
    pub fn note(&mut self, note: String) {
        self.note = Some(note);
    }

    pub fn policy_version(&self) -> i64 {
        self.event.policy_version
    }

    /// For work that may outlive the call.
    pub fn aside(&self) -> Aside {
        Aside { app: Arc::clone(&self.app), event: self.event.clone() }
    }

    /// Writes what is known before anything is forwarded or returned.
    pub async fn begin(&mut self, durability: Durability) -> Result<(), AuditError> {
        self.event.trace_ids.sort_unstable();
        self.event.trace_ids.dedup();
        let ids = std::mem::take(&mut self.event.trace_ids);
        // Few ids are said again at the end, so that a trace's own records tell how each call went.
        let repeated = ids.len() <= IDS_REPEATED;
        // What a change does is known at the end, and what a reading releases is about to be.
        let now = if self.event.status.is_none() && repeated { Sight::Asked } else { self.sight };
        let mut chunks = ids.chunks(IDS_PER_RECORD);
        let mut event = self.event.clone();
        event.duration_us = self.elapsed_us();
        name(&mut event, &self.listed, chunks.next().unwrap_or_default().to_vec(), now);
        self.app.audit.append(event, durability).await?;
        for more in chunks {
            let mut event = self.event.clone();
            event.kind = EventKind::Returned;
            event.id = EventId(uuid::Uuid::now_v7());
            name(&mut event, &self.listed, more.to_vec(), now);
            self.app.audit.append(event, durability).await?;
        }
        if now != Sight::Asked {
            self.sight = Sight::Told;
        }
        if repeated {
            self.event.trace_ids = ids;
        }
        Ok(())
    }

    /// Records what is about to be handed out that cannot be taken back, on the disk before it goes.
    pub async fn gives(&self, what: String, version: i64) -> Result<(), AuditError> {
        let mut event = self.event.clone();
        event.kind = EventKind::Returned;
        event.id = EventId(uuid::Uuid::now_v7());
        event.time = self.app.clock.now();
        event.policy_version = version;
        event.reason = Some(what);
        self.app.audit.append(event, Durability::Synced).await
    }

    /// Records what a call changed in policy, before and after.
    pub async fn policy_change(&self, change: PolicyChange, version: i64) -> Result<(), AuditError> {
        let mut event = self.event.clone();
        event.kind = EventKind::PolicyChange;
        event.id = EventId(uuid::Uuid::now_v7());
        event.time = self.app.clock.now();
        event.policy_version = version;
        event.outcome = Outcome::Success;
        event.trace_ids = Vec::new();
        event.policy_change = Some(change);
        self.app.audit.append(event, Durability::Synced).await
    }

    /// Writes the one record of a call that is over before anything was forwarded.
    pub async fn refuse(mut self, reason: &str, outcome: Outcome, status: u16) -> Result<(), AuditError> {
        self.event.trace_ids.truncate(IDS_PER_RECORD);
        self.sight = Sight::Asked;
        self.finish(outcome, status, Some(reason.to_owned()), 0);
        self.count(status);
        self.app.audit.append(self.event, Durability::Synced).await
    }

    /// Hands the answer out and writes the `complete` record: before a body that is in memory, after
    /// the last byte of one that streams.
    pub async fn complete(mut self, mut reply: Reply) -> Result<Reply, AuditError> {
        let status = reply.status;
        self.count(status);
        let outcome = if status < 400 { Outcome::Success } else { Outcome::Failed };
        match reply.body {
            Body::Stream { stream, length } => {
                let watched = Watched { inner: stream, end: Some(End { trail: self, status, sent: 0 }) };
                reply.body = Body::Stream { stream: Box::pin(watched), length };
            }
            Body::Empty | Body::Replay(_) => {
                let length = reply.body.length().unwrap_or(0);
                self.finish(outcome, status, None, length);
                self.app.audit.append(self.event, Durability::Written).await?;
            }
        }
        Ok(reply)
    }

    fn finish(&mut self, outcome: Outcome, status: u16, reason: Option<String>, bytes_out: u64) {
        self.event.kind = EventKind::Complete;
        self.event.id = EventId(uuid::Uuid::now_v7());
        self.event.time = self.app.clock.now();
        self.event.outcome = outcome;
        self.event.status = Some(status);
        self.event.reason = match (reason, self.note.take()) {
            (Some(reason), Some(note)) => Some(format!("{reason}: {note}")),
            (reason, note) => reason.or(note),
        };
        self.event.reason = self.event.reason.take().map(|reason| without_secrets(&reason).into_owned());
        self.event.bytes_out = bytes_out;
        self.event.duration_us = self.elapsed_us();
        let ids = std::mem::take(&mut self.event.trace_ids);
        name(&mut self.event, &self.listed, ids, self.sight);
    }

    /// Counts a refusal that gets no record of its own.
    pub fn only_count(&self, status: u16) {
        self.count(status);
    }

    fn count(&self, status: u16) {
        if self.is_shadowed() {
            self.app.metrics.shadowed.inc();
        }
        let labels = CallLabels {
            operation: self.event.operation.clone(),
            decision: self.event.decision.as_str().to_owned(),
            status,
        };
        self.app.metrics.call(labels, self.started.elapsed());
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What goes on the record of a call beside it, by work that may outlive it.
#[derive(Clone)]
pub(super) struct Aside {
    app: Arc<App>,
    event: Event,
}

impl Aside {
    /// Records what was decided of a statement's tables, before anything is read from them.
    pub async fn decided(
        &self,
        demands: Vec<(String, String)>,
        version: i64,
        denied: bool,
        reason: Option<String>,
    ) -> Result<(), AuditError> {
        let mut event = self.event.clone();
        event.kind = EventKind::Returned;
        event.id = EventId(uuid::Uuid::now_v7());
        event.time = self.app.clock.now();
        event.policy_version = version;
        event.outcome = if denied { Outcome::Refused } else { Outcome::Pending };
        if denied {
            event.decision = Verdict::Deny;
        }
        event.reason = reason.map(|reason| without_secrets(&reason).into_owned());
        for (securable, privilege) in demands {
            if !event.securables.contains(&securable) {
                event.securables.push(securable);
            }
            if !event.privileges.contains(&privilege) {
                event.privileges.push(privilege);
            }
        }
        self.app.audit.append(event, Durability::Written).await
    }
}

/// Names traces in an event, and what the caller gets of them.
fn name(event: &mut Event, listed: &BTreeSet<String>, ids: Vec<String>, sight: Sight) {
    if ids.is_empty() {
        return;
    }
    event.sight = Some(sight);
    if sight == Sight::Read && !listed.is_empty() {
        event.listed_trace_ids = ids.iter().filter(|id| listed.contains(*id)).cloned().collect();
    }
    event.trace_ids = ids;
}

/// Passes a body on and notes how it ended.
struct Watched {
    inner: crate::wire::BodyStream,
    end: Option<End>,
}

struct End {
    trail: Trail,
    status: u16,
    sent: u64,
}

impl Watched {
    fn note(&mut self, outcome: Outcome) {
        let Some(End { mut trail, status, sent }) = self.end.take() else { return };
        let outcome = if outcome == Outcome::Success && status >= 400 { Outcome::Failed } else { outcome };
        trail.finish(outcome, status, None, sent);
        let sink = Arc::clone(&trail.app.audit);
        // The `begin` record already says who got what; this one adds how it ended.
        actix_web::rt::spawn(async move {
            if let Err(error) = sink.append(trail.event, Durability::Written).await {
                tracing::error!(%error, "a complete record could not be written");
            }
        });
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let polled = self.inner.poll_next_unpin(context);
        match &polled {
            std::task::Poll::Ready(Some(Ok(bytes))) => {
                if let Some(end) = &mut self.end {
                    end.sent += bytes.len() as u64;
                }
            }
            std::task::Poll::Ready(Some(Err(_))) => self.note(Outcome::Interrupted),
            std::task::Poll::Ready(None) => self.note(Outcome::Success),
            std::task::Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.note(Outcome::Interrupted);
    }
}
