//! Policy: may they? One immutable snapshot of grants, membership and hierarchy answers every question
//! of a request at one policy version; casbin evaluates the candidate grants and gives the verdict.
//!
//! A [`Permit`] is the typed proof of an allow. Only this module can make one, and nothing is forwarded
//! without it.
//!
//! The seam for a faster engine is [`View::decide`]: everything else only asks it.

mod enforcer;
mod levels;
mod permit;
pub mod plan;
mod snapshot;
mod view;

pub use levels::{Levels, LevelsError};
pub use permit::{Permit, Requirement};
pub use view::{Explanation, Listed, View};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::clock::Clock;
use crate::store::PolicyState;
use snapshot::Snapshot;

/// No decision can be made now; answered 503 so that clients retry and lose nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("no policy is loaded")]
    NotLoaded,
    #[error("the policy could not be confirmed for {seconds} s")]
    Stale { seconds: u64 },
    #[error("policy version {wanted} is not here yet; this replica is at {have}")]
    Behind { wanted: i64, have: i64 },
    #[error("the policy engine failed: {0}")]
    Engine(String),
}

/// The policy in force. Cheap to read from every worker; replaced whole.
pub struct Policy {
    snapshot: ArcSwapOption<Snapshot>,
    levels: Arc<Levels>,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// When the version was last confirmed with the store, in milliseconds since `started`.
    confirmed: AtomicU64,
    max_staleness: Duration,
}

impl Policy {
    /// A policy that denies everything until the first [`publish`](Self::publish).
    pub fn new(levels: Levels, clock: Arc<dyn Clock>, max_staleness: Duration) -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            levels: Arc::new(levels),
            clock,
            started: Instant::now(),
            confirmed: AtomicU64::new(0),
            max_staleness,
        }
    }

    /// Swaps in the policy that the store holds; an older version than the present one is ignored.
    ///
    /// `asked_at` is when the query that read it was sent: staleness counts from there.
    pub fn publish(&self, state: PolicyState, asked_at: Instant) {
        let fresh = Arc::new(Snapshot::build(state, Arc::clone(&self.levels)));
        self.snapshot.rcu(|current| match current {
            Some(current) if current.version() > fresh.version() => Some(Arc::clone(current)),
            _ => Some(Arc::clone(&fresh)),
        });
        self.confirm(fresh.version(), asked_at);
    }

    /// Notes that the store is still at `version`, asked at `asked_at`.
    pub fn confirm(&self, version: i64, asked_at: Instant) {
        if self.version() >= version {
            let millis = u64::try_from(asked_at.saturating_duration_since(self.started).as_millis());
            self.confirmed.fetch_max(millis.unwrap_or(0), Ordering::SeqCst);
        }
    }

    /// The version in force; 0 before the first load.
    pub fn version(&self) -> i64 {
        self.snapshot.load().as_ref().map_or(0, |snapshot| snapshot.version())
    }

    /// Whether a securable has a recorded place in the tree.
    pub fn places(&self, securable: &crate::access::Securable) -> bool {
        self.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.places(securable))
    }

    /// The policy at one version, for all questions of one request.
    pub fn view(&self) -> Result<View, Unavailable> {
        let snapshot = self.snapshot.load_full().ok_or(Unavailable::NotLoaded)?;
        let confirmed = Duration::from_millis(self.confirmed.load(Ordering::SeqCst));
        let unconfirmed = self.started.elapsed().saturating_sub(confirmed);
        if unconfirmed > self.max_staleness {
            return Err(Unavailable::Stale { seconds: unconfirmed.as_secs() });
        }
        Ok(View::new(snapshot, self.clock.now()))
    }
}

#[cfg(test)]
mod tests;
