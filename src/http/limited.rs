//! Limits on calls that policy allows, before anything is claimed or recorded of them.

use std::collections::BTreeSet;

use super::call::Call;
use super::error::Refusal;
use crate::access::{Caller, ExperimentId, Principal, Securable, SecurableKind, TraceId};
use crate::backend::{BackendError, Owned};
use crate::limits::{Admission, NewTraces, Over, Reservation};
use crate::store::LimitName;

/// Counts an allowed call against what its experiments and its callers may use in a second.
pub(super) async fn count(call: &Call<'_>) -> Result<(), Refusal> {
    let limits = &call.app.limits;
    if !limits.limits_requests() {
        return Ok(());
    }
    let named = call.demands.iter().flat_map(|demand| &demand.checks).map(|check| &check.securable);
    let experiments: BTreeSet<Securable> =
        named.filter(|securable| securable.kind == SecurableKind::Experiment).cloned().collect();
    let experiments: Vec<Securable> = experiments.into_iter().collect();
    match limits.admit_call(&involved(call.caller), &experiments).await? {
        None => Ok(()),
        Some(over) => Err(refusal(call, &over)),
    }
}

/// Who calls and on whose behalf, each once. Whoever acts for others would otherwise have the allowance of each.
fn involved(caller: &Caller) -> Vec<&Principal> {
    let callers = std::iter::successors(Some(caller), |one: &&Caller| one.actor.as_deref());
    let principals: BTreeSet<&Principal> = callers.map(|caller| &caller.principal).collect();
    principals.into_iter().collect()
}

/// What making room for traces came to.
pub(super) enum Room {
    Made(Reservation),
    /// There is none; these of the known traces are not held and would have been new.
    Full {
        refusal: Refusal,
        missing: Vec<TraceId>,
    },
}

/// Makes room for the traces that a write starts in an experiment.
pub(super) async fn room(
    call: &Call<'_>,
    experiment: &ExperimentId,
    fresh: u64,
    known: &[TraceId],
) -> Result<Room, Refusal> {
    if !call.app.limits.limits_traces() {
        return Ok(Room::Made(Reservation::default()));
    }
    let new = NewTraces { experiment, fresh, known };
    let count = async || call.backend.held_traces(experiment).await;
    let holds = async |trace: &TraceId| -> Result<bool, BackendError> {
        Ok(call.backend.owners(Owned::Trace, trace.as_str()).await?.is_some())
    };
    match call.app.limits.admit_traces(&new, count, holds).await? {
        Admission::Room(reservation) => Ok(Room::Made(reservation)),
        Admission::Full { over, missing } => Ok(Room::Full { refusal: refusal(call, &over), missing }),
    }
}

/// Which limit, its value, and who can raise it.
fn refusal(call: &Call<'_>, over: &Over) -> Refusal {
    let (key, value) = (&over.key, over.value);
    call.app.metrics.limited(key.name.as_str());
    let whom = match &key.principal {
        Some(principal) => format!("`{principal}` on "),
        None => String::new(),
    };
    let on = match key.securable.kind {
        SecurableKind::Experiment => format!("experiment `{}`", key.securable.id),
        _ => "all experiments together".to_owned(),
    };
    let who = match (key.securable.kind, call.app.limits.set(key).is_some()) {
        (SecurableKind::Experiment, true) => "whoever manages the experiment",
        _ => "an administrator",
    };
    let (code, uses) = match key.name {
        LimitName::RequestsPerSecond => ("REQUEST_LIMIT_EXCEEDED", "requests per second"),
        LimitName::Traces => ("RESOURCE_EXHAUSTED", "traces held"),
    };
    let message = format!(
        "the limit `{}` of {whom}{on} is reached: {value} {uses}; {who} can raise it with `tracegate limits set`",
        key.name.as_str()
    );
    Refusal::Limited { code, message, retry_after_ms: over.retry_after_ms }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{Proof, Scheme};

    #[test]
    fn a_call_on_behalf_of_somebody_counts_for_both() {
        let caller = |principal: &str| {
            let proof = Proof { scheme: Scheme::Token, credential: "t".to_owned() };
            Caller::new(principal.parse().unwrap(), Vec::new(), proof)
        };
        let mut user = caller("user:ann");
        assert_eq!(involved(&user).len(), 1);
        user.actor = Some(Arc::new(caller("service_principal:agent")));
        let names: Vec<String> = involved(&user).into_iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        user.actor = Some(Arc::new(caller("user:ann")));
        assert_eq!(involved(&user).len(), 1, "nobody counts twice");
    }
}
