//! Limits: how many calls an experiment or a principal may make in a second, and how many traces an
//! experiment holds.
//!
//! What was set is kept in memory, as of a version of policy, so that a call without limits costs two reads
//! of memory and no call waits for the store to learn its limits. Calls are counted by the second of the
//! clock ([`requests`]), traces by what the backend holds ([`traces`]). Only what policy allows is counted:
//! whoever may not use an experiment cannot use up what others may.

mod requests;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::{ExperimentId, Principal, Securable, TraceId};
use crate::clock::{Clock, UnixMillis};
use crate::config::limits::LimitsConfig;
use crate::store::{LimitKey, LimitName, Store, StoreError, UsageLimit};
pub use traces::{Admission, NewTraces, Reservation};

/// A limit that a call would pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    pub key: LimitKey,
    pub value: u64,
    /// When asking again can help, if waiting helps at all.
    pub retry_after_ms: u64,
}

/// The limits that were set, at one version of policy.
#[derive(Default)]
struct Table {
    version: i64,
    set: HashMap<LimitKey, UsageLimit>,
    limits_requests: bool,
    limits_traces: bool,
}

pub struct Limits {
    store: Store,
    clock: Arc<dyn Clock>,
    default_requests: Option<u64>,
    default_traces: Option<u64>,
    table: ArcSwap<Table>,
    windows: requests::Windows,
    held: Arc<traces::Held>,
}

impl Limits {
    pub fn new(config: &LimitsConfig, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            windows: requests::Windows::default(),
            held: Arc::new(traces::Held::new(store.is_shared())),
            default_requests: config.default_requests_per_second(),
            default_traces: config.default_traces_per_experiment(),
            store,
            clock,
            table: ArcSwap::default(),
        }
    }

    /// Reads what was set if policy is newer than what is known.
    pub async fn refresh(&self, policy_version: i64) -> Result<(), StoreError> {
        if self.table.load().version >= policy_version {
            return Ok(());
        }
        let (version, set) = self.store.usage_limits().await?;
        let has = |name| set.iter().any(|limit: &UsageLimit| limit.key.name == name);
        let fresh = Arc::new(Table {
            version,
            limits_requests: has(LimitName::RequestsPerSecond),
            limits_traces: has(LimitName::Traces),
            set: set.into_iter().map(|limit| (limit.key.clone(), limit)).collect(),
        });
        // Of two that read at once, the older must not win.
        self.table.rcu(|now| if now.version < fresh.version { Arc::clone(&fresh) } else { Arc::clone(now) });
        Ok(())
    }

    /// Whether any call is counted.
    pub fn limits_requests(&self) -> bool {
        self.default_requests.is_some() || self.table.load().limits_requests
    }

    /// Whether any experiment's traces are counted.
    pub fn limits_traces(&self) -> bool {
        self.default_traces.is_some() || self.table.load().limits_traces
    }

    /// What the configuration says for every experiment for which nothing was set.
    pub fn default_of(&self, key: &LimitKey) -> Option<u64> {
        let of_experiment =
            key.principal.is_none() && key.securable.kind == crate::access::SecurableKind::Experiment;
        match key.name {
            _ if !of_experiment => None,
            LimitName::RequestsPerSecond => self.default_requests,
            LimitName::Traces => self.default_traces,
        }
    }

    /// What was set for this very key.
    pub fn set(&self, key: &LimitKey) -> Option<UsageLimit> {
        self.table.load().set.get(key).cloned()
    }

    /// What is in force for a key.
    pub fn value(&self, key: &LimitKey) -> Option<u64> {
        self.table.load().set.get(key).map(|limit| limit.value).or_else(|| self.default_of(key))
    }

    /// Everything that was set, in no order.
    pub fn all_set(&self) -> Vec<UsageLimit> {
        self.table.load().set.values().cloned().collect()
    }

    /// Counts one call of these principals (who calls, and on whose behalf) that uses these experiments; or
    /// says which limit it would pass, and then counts nothing.
    pub async fn admit_call(
        &self,
        principals: &[&Principal],
        experiments: &[Securable],
    ) -> Result<Option<Over>, StoreError> {
        if !self.limits_requests() {
            return Ok(None);
        }
        let name = LimitName::RequestsPerSecond;
        let mut bounds = Vec::new();
        let mut bound = |securable: &Securable, principal: Option<&Principal>| {
            let key = LimitKey { securable: securable.clone(), principal: principal.cloned(), name };
            if let Some(value) = self.value(&key) {
                bounds.push((key, value));
            }
        };
        for experiment in experiments {
            bound(experiment, None);
            for principal in principals {
                bound(experiment, Some(*principal));
            }
        }
        for principal in principals {
            bound(&Securable::workspace(), Some(*principal));
        }
        if bounds.is_empty() {
            return Ok(None);
        }
        self.windows.admit(&bounds, &self.store, &*self.clock).await
    }

    /// Makes room for the traces that a write starts, or says that there is none. `count` asks the backend how
    /// many the experiment holds and `holds` whether it holds one; they are called only when what is known
    /// does not do.
    pub async fn admit_traces<E>(
        &self,
        new: &NewTraces<'_>,
        count: impl AsyncFn() -> Result<u64, E>,
        holds: impl AsyncFn(&TraceId) -> Result<bool, E>,
    ) -> Result<Admission, E> {
        let Some(limit) = self.trace_limit(new.experiment) else { return Ok(Admission::unlimited()) };
        self.held.admit(new, limit, &*self.clock, count, holds).await
    }

    /// The most traces that an experiment may hold.
    pub fn trace_limit(&self, experiment: &ExperimentId) -> Option<u64> {
        self.value(&trace_key(experiment))
    }

    /// Traces of an experiment were deleted: what it holds is counted anew before anything is refused.
    pub fn made_room(&self, experiment: &ExperimentId) {
        self.held.forget(experiment);
    }

    /// Calls that this replica let through in the running second.
    pub fn calls_now(&self, key: &LimitKey) -> u64 {
        self.windows.used(key, self.clock.now())
    }
}

/// The limit on the traces that an experiment holds.
pub fn trace_key(experiment: &ExperimentId) -> LimitKey {
    LimitKey { securable: Securable::experiment(experiment), principal: None, name: LimitName::Traces }
}

/// Milliseconds until a time, at least one.
fn until(end: i64, now: UnixMillis) -> u64 {
    u64::try_from(end - now.0).unwrap_or(0).max(1)
}
