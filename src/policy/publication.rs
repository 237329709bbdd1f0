//! How a new policy comes into force: one atomic swap, never backwards, and never vouched for by a
//! confirmation that was not about it. Stands alone, so that loom can run it through every interleaving.

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub trait Versioned {
    fn version(&self) -> i64;
}

/// What is in force, and when the store was last asked and said that there is nothing newer.
///
/// Moments are numbers that grow; 0 is before everything.
pub struct Publication<T> {
    current: Slot<T>,
    confirmed: AtomicU64,
}

impl<T: Versioned> Publication<T> {
    pub fn new() -> Self {
        Self { current: Slot::new(), confirmed: AtomicU64::new(0) }
    }

    /// Puts `fresh` in force unless something newer is. `asked` is when the query that read it was sent.
    pub fn publish(&self, fresh: T, asked: u64) {
        let version = fresh.version();
        self.current.replace_older(Arc::new(fresh));
        self.confirm(version, asked);
    }

    /// Notes that the store was at `version` when it was asked; what is in force must be at least that.
    pub fn confirm(&self, version: i64, asked: u64) {
        if self.current.load().is_some_and(|current| current.version() >= version) {
            self.confirmed.fetch_max(asked, Ordering::SeqCst);
        }
    }

    /// What is in force and when that was last confirmed. The moment is read first: what is in force then
    /// is what was confirmed, or newer.
    pub fn read(&self) -> Option<(Arc<T>, u64)> {
        let confirmed = self.confirmed.load(Ordering::SeqCst);
        self.current.load().map(|current| (current, confirmed))
    }

    /// What is in force, confirmed or not.
    pub fn current(&self) -> Option<Arc<T>> {
        self.current.load()
    }
}

impl<T: Versioned> Default for Publication<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
struct Slot<T>(arc_swap::ArcSwapOption<T>);

#[cfg(not(loom))]
impl<T: Versioned> Slot<T> {
    fn new() -> Self {
        Self(arc_swap::ArcSwapOption::empty())
    }

    fn load(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }

    fn replace_older(&self, fresh: Arc<T>) {
        self.0.rcu(|current| match current {
            Some(current) if current.version() > fresh.version() => Some(Arc::clone(current)),
            _ => Some(Arc::clone(&fresh)),
        });
    }
}

/// loom cannot look into `arc-swap`; a lock with the same contract stands in for it.
#[cfg(loom)]
struct Slot<T>(loom::sync::RwLock<Option<Arc<T>>>);

#[cfg(loom)]
impl<T: Versioned> Slot<T> {
    fn new() -> Self {
        Self(loom::sync::RwLock::new(None))
    }

    fn load(&self) -> Option<Arc<T>> {
        self.0.read().unwrap().clone()
    }

    fn replace_older(&self, fresh: Arc<T>) {
        let mut current = self.0.write().unwrap();
        if current.as_ref().is_none_or(|current| current.version() <= fresh.version()) {
            *current = Some(fresh);
        }
    }
}
