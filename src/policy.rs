//! Policy: may they? One immutable snapshot of grants, membership and hierarchy answers every question
//! of a request at one policy version.
//!
//! casbin's model (`policies/model.conf`) says what a decision means; an index over the same grants makes it
//! (`snapshot.rs`, `decide.rs`). casbin explains decisions, makes a sample of them again (`watch.rs`), and is what the
//! tests compare with.
//!
//! A [`Permit`] is the typed proof of an allow. Only this module can make one, and nothing is forwarded
//! without it.

pub mod casbin_rules;
mod decide;
mod enforcer;
mod explain;
mod fault;
mod gates;
mod levels;
mod membership;
pub mod mlflow_permissions;
mod names;
mod people;
mod permit;
pub mod plan;
mod publication;
mod question;
mod rows;
mod shared_vec;
mod snapshot;
mod view;
mod watch;

pub use explain::{Explanation, managing};
pub use levels::{Levels, LevelsError, PrivilegeSet};
pub use permit::{Permit, Requirement};
pub use snapshot::{Builder, EditError, Snapshot};
pub use view::{Listed, Passage, View};
pub use watch::Compared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{PolicyEdit, Principal, Securable};
use crate::clock::Clock;
use publication::Publication;
use watch::Watch;

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
    publication: Publication<Snapshot>,
    levels: Arc<Levels>,
    clock: Arc<dyn Clock>,
    watch: Arc<Watch>,
    started: Instant,
    max_staleness: Duration,
}

impl Policy {
    /// A policy that denies everything until the first [`publish`](Self::publish). Of every `sampled` decisions
    /// casbin makes one again; 0 for none.
    pub fn new(levels: Levels, clock: Arc<dyn Clock>, max_staleness: Duration, sampled: u64) -> Self {
        Self {
            publication: Publication::new(),
            levels: Arc::new(levels),
            clock,
            watch: Arc::new(Watch::start(sampled)),
            started: Instant::now(),
            max_staleness,
        }
    }

    /// Takes in everything that policy is made of; [`publish`](Self::publish) what it builds.
    pub fn builder(&self) -> Builder {
        Builder::new(Arc::clone(&self.levels))
    }

    /// Swaps in a policy; an older version than the present one is ignored.
    ///
    /// `asked_at` is when the query that read it was sent: staleness counts from there.
    pub fn publish(&self, fresh: Snapshot, asked_at: Instant) {
        self.publication.publish(fresh, self.moment(asked_at));
    }

    /// Swaps in what these versions changed, in their order and all at once: a policy half way there would be one
    /// that was never confirmed. Versions that are in force already are passed over; a missing one, or a change
    /// that does not fit, is an error and leaves the policy as it is.
    pub fn advance<'e>(
        &self,
        steps: impl IntoIterator<Item = (i64, &'e [PolicyEdit])>,
        asked_at: Instant,
    ) -> Result<(), EditError> {
        let missing = |from: i64, version: i64| EditError {
            from,
            version,
            problem: "a version between them is missing".to_owned(),
        };
        let mut steps = steps.into_iter();
        let Some(mut next) = self.publication.current() else {
            return steps.next().map_or(Ok(()), |(version, _)| Err(missing(0, version)));
        };
        for (version, edits) in steps {
            match version - next.version() {
                ..=0 => {}
                1 => next = Arc::new(next.apply(version, edits)?),
                _ => return Err(missing(next.version(), version)),
            }
        }
        self.publication.publish(Arc::unwrap_or_clone(next), self.moment(asked_at));
        Ok(())
    }

    /// Notes that the store is still at `version`, asked at `asked_at`.
    pub fn confirm(&self, version: i64, asked_at: Instant) {
        self.publication.confirm(version, self.moment(asked_at));
    }

    /// The version in force; 0 before the first load.
    pub fn version(&self) -> i64 {
        self.publication.current().map_or(0, |snapshot| snapshot.version())
    }

    /// Whether a securable was put elsewhere in the tree than its name says.
    pub fn places(&self, securable: &Securable) -> bool {
        self.publication.current().is_some_and(|snapshot| snapshot.is_placed(securable))
    }

    /// Whether anybody is in a group.
    pub fn has_members(&self, group: &Principal) -> bool {
        let current = self.publication.current();
        current.is_some_and(|snapshot| {
            snapshot.principal_index(group).is_some_and(|group| snapshot.members_of(group).len() > 1)
        })
    }

    /// How often casbin made a decision again, and how often it decided otherwise.
    pub fn compared(&self) -> Compared {
        self.watch.compared()
    }

    /// The policy at one version, for all questions of one request.
    pub fn view(&self) -> Result<View, Unavailable> {
        let (snapshot, confirmed) = self.publication.read().ok_or(Unavailable::NotLoaded)?;
        let unconfirmed = self.started.elapsed().saturating_sub(Duration::from_millis(confirmed));
        if unconfirmed > self.max_staleness {
            return Err(Unavailable::Stale { seconds: unconfirmed.as_secs() });
        }
        Ok(View::new(snapshot, Arc::clone(&self.watch), self.clock.now()))
    }

    /// How long ago the store last said that what is in force is the newest; since our start if it never did.
    pub fn age(&self) -> Duration {
        let confirmed = self.publication.read().map_or(0, |(_, confirmed)| confirmed);
        self.started.elapsed().saturating_sub(Duration::from_millis(confirmed))
    }

    fn moment(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(0)
    }
}

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;
