//! One call of an identified caller on its way through the pipeline.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::error::Refusal;
use super::lookup::Demand;
use super::trail::Trail;
use crate::access::{Caller, Check, Decision, ExperimentId, Missing, Principal, Securable, TraceId};
use crate::app::App;
use crate::backend::{Backend, BackendError, Outgoing};
use crate::classify::{Access, Matched, Operation};
use crate::limits::Reservation;
use crate::policy::{Passage, Permit, Requirement, View};
use crate::wire::{Body, Head, Reply};

pub(super) struct Call<'a> {
    pub app: &'a Arc<App>,
    pub backend: &'a dyn Backend,
    pub caller: &'a Caller,
    pub operation: &'a Operation,
    pub params: Vec<(String, String)>,
    pub head: Head,
    /// The JSON body, when the operation has one.
    pub json: Option<Map<String, Value>>,
    /// Whether `json` was changed and must be written anew; otherwise `body` is replayed byte for byte.
    pub edited: bool,
    pub body: Body,
    /// What a page token of this call is bound to; set before anything is rewritten.
    pub page_context: String,
    pub demands: Vec<Demand>,
    /// Traces that this call asks for or writes.
    pub trace_ids: Vec<TraceId>,
    /// Traces that this call writes to, with the experiment it says they are in.
    pub claims: Vec<(TraceId, ExperimentId)>,
    /// Traces that an export writes to, once it is known whose they are.
    pub written: Vec<(TraceId, ExperimentId)>,
    /// Tags and metadata that this call gives to traces: a trace, a key and a value each.
    pub marks: Vec<(TraceId, String, String)>,
    /// Whether the answer to a write may tell more of a trace than was sent.
    pub reads_back: bool,
    /// Room for the traces that this call starts, where their number is limited.
    pub reserved: Vec<Reservation>,
    /// Where the file is that a call of the Files API names.
    pub place: Option<super::files::Place>,
    /// Securables and privileges that the caller lacks and shadow mode let the answer show.
    pub widened: RefCell<BTreeSet<(String, String)>>,
}

impl<'a> Call<'a> {
    /// A call without a body.
    pub fn without_body(
        app: &'a Arc<App>,
        backend: &'a dyn Backend,
        caller: &'a Caller,
        matched: &Matched<'a>,
        head: Head,
    ) -> Self {
        Self::new(app, backend, caller, matched, head, (Body::Empty, None))
    }

    pub fn new(
        app: &'a Arc<App>,
        backend: &'a dyn Backend,
        caller: &'a Caller,
        matched: &Matched<'a>,
        head: Head,
        (body, json): (Body, Option<Map<String, Value>>),
    ) -> Self {
        Self {
            app,
            backend,
            caller,
            operation: matched.operation,
            params: matched.params.clone(),
            head,
            json,
            edited: false,
            body,
            page_context: String::new(),
            demands: Vec::new(),
            trace_ids: Vec::new(),
            claims: Vec::new(),
            written: Vec::new(),
            marks: Vec::new(),
            reads_back: false,
            reserved: Vec::new(),
            place: None,
            widened: RefCell::default(),
        }
    }
}

impl Call<'_> {
    pub fn principal(&self) -> Option<&Principal> {
        Some(&self.caller.principal)
    }

    /// Whether the caller is this principal and nobody else. What somebody started is his own; whoever acts for
    /// him did not start it, and has no more than both may do.
    pub fn is(&self, principal: &Principal) -> bool {
        self.caller.actor.is_none() && self.caller.principal == *principal
    }

    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The policy in force now.
    pub fn view(&self) -> Result<View, Refusal> {
        Ok(self.app.policy.view()?)
    }

    /// Whether the caller has `check`, outside the call's own decision, or shadow mode lets it pass.
    pub fn allows(&self, check: Check) -> Result<bool, Refusal> {
        match self.view()?.passes(self.caller, check.clone())? {
            Passage::Allowed => Ok(true),
            Passage::Denied => Ok(false),
            Passage::Shadowed => {
                self.widened.borrow_mut().insert((check.securable.to_string(), check.privilege.to_string()));
                Ok(true)
            }
        }
    }

    /// What the answer shows for shadow mode alone.
    pub fn widened(&self) -> Vec<Missing> {
        let widened = std::mem::take(&mut *self.widened.borrow_mut());
        let narrows = |(securable, privilege)| Missing { securable, privilege, narrows: true };
        widened.into_iter().map(narrows).collect()
    }

    /// Decides everything demanded at one policy version. On a deny the refusal says what is missing.
    pub fn authorize(&self, trail: &mut Trail) -> Result<(Decision, Permit), Refusal> {
        let started = Instant::now();
        let view = self.view()?;
        let mut checks: Vec<Check> = Vec::new();
        let mut asked: Vec<(usize, usize)> = Vec::new();
        for (index, demand) in self.demands.iter().enumerate() {
            let chosen = self.chosen(&view, demand)?;
            asked.extend(chosen.iter().enumerate().map(|(check, _)| (index, check)));
            checks.extend(chosen.iter().cloned());
        }
        for check in &checks {
            trail.demands(check.securable.to_string(), check.privilege.to_string());
        }
        let requirement = self.requirement(checks.clone());
        let (decision, permit) = view.authorize(Some(self.caller), &requirement)?;
        self.app.metrics.decision(started.elapsed());
        trail.decision(&decision);
        if self.caller.is_anonymous() && requirement == Requirement::Authenticated {
            trail.lacks_credentials();
        }
        if let Some(permit) = permit {
            return Ok((decision, permit));
        }
        let refused = decision.refused.as_ref().and_then(|refused| checks.iter().position(|c| c == refused));
        let demand = refused.and_then(|position| asked.get(position)).map(|(index, _)| &self.demands[*index]);
        Err(self.refusal(&view, demand))
    }

    /// A second permit for the same decision, for a search that reads several pages.
    pub fn permit_again(&self) -> Result<Permit, Refusal> {
        let view = self.view()?;
        let mut checks = Vec::new();
        for demand in &self.demands {
            checks.extend(self.chosen(&view, demand)?.iter().cloned());
        }
        let (_, permit) = view.authorize(Some(self.caller), &self.requirement(checks))?;
        permit.ok_or_else(|| Refusal::Denied("access was revoked while the call ran".to_owned()))
    }

    /// An operation with needs that turned out to name nothing is denied, not open to everybody.
    fn requirement(&self, checks: Vec<Check>) -> Requirement {
        if checks.is_empty() && self.operation.access == Access::Authenticated {
            Requirement::Authenticated
        } else {
            Requirement::All(checks)
        }
    }

    /// The checks of a demand: its own, or those that suffice because the caller started the trace.
    fn chosen<'d>(&self, view: &View, demand: &'d Demand) -> Result<&'d [Check], Refusal> {
        if let Some(own) = &demand.own {
            for check in &demand.checks {
                if !view.allows(self.caller, check.clone())? {
                    return Ok(own);
                }
            }
        }
        Ok(&demand.checks)
    }

    fn refusal(&self, view: &View, demand: Option<&Demand>) -> Refusal {
        let who = &self.caller.principal;
        let Some(demand) = demand else {
            return Refusal::Denied(format!("`{who}` is not allowed to do this"));
        };
        if let Some(missing) = &demand.missing {
            return Refusal::NotFound(missing.clone());
        }
        let levels = view.levels_giving(demand.privilege);
        let help = if levels.is_empty() {
            format!("an administrator can grant `{}`", demand.privilege)
        } else {
            format!("whoever manages it or an administrator can grant {}", levels.join(" or "))
        };
        Refusal::Denied(format!(
            "`{who}` does not have `{}` on {}; {help}; ask for it with `tracegate access request`",
            demand.privilege, demand.thing
        ))
    }

    /// A refusal for one privilege on an experiment, for checks that handlers make themselves.
    pub fn denied(&self, privilege: crate::access::Privilege, securable: &Securable) -> Refusal {
        match self.view() {
            Ok(view) => self.refusal(&view, Some(&Demand::on(privilege, securable.clone()))),
            Err(refusal) => refusal,
        }
    }

    /// Forwards the call as it stands; a replayable body may be forwarded again.
    pub async fn forward(&mut self, permit: Permit) -> Result<Reply, Refusal> {
        let body = if self.edited {
            let text = serde_json::to_vec(&self.json)
                .map_err(|error| Refusal::Internal(format!("the body could not be written: {error}")))?;
            Body::memory(text)
        } else {
            match &self.body {
                Body::Replay(replay) => Body::Replay(replay.clone()),
                _ => std::mem::replace(&mut self.body, Body::Empty),
            }
        };
        let outgoing = Outgoing {
            operation: self.operation.name.clone(),
            params: self.params.clone(),
            head: self.head.clone(),
            json: self.json.clone(),
            body,
        };
        let started = Instant::now();
        let reply = self.backend.forward(permit, outgoing).await;
        self.app.metrics.upstream(started.elapsed());
        let reply = reply?;
        // A page of a crashed server is no answer to an API client, and shows what is inside.
        let is_json =
            reply.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if reply.status >= 500 && !is_json {
            tracing::warn!(status = reply.status, "the backend failed with something other than JSON");
            return Err(BackendError::BrokenOff.into());
        }
        Ok(reply)
    }

    /// A mutable JSON body, marked as changed.
    pub fn edit(&mut self) -> &mut Map<String, Value> {
        self.edited = true;
        self.json.get_or_insert_default()
    }
}
