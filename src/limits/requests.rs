//! Calls by the second of the clock.
//!
//! With one replica the count is in memory, and exact; a restart forgets the running second, so that in that
//! second at most the allowance comes twice. Replicas on one PostgreSQL take shares of a second's allowance
//! from the store, a tenth at a time: together they never let through more than the allowance, and each but
//! the one that finds it used up may leave less than one share unused. Their clocks are taken to agree; two
//! that do not count into different seconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::{Over, until};
use crate::clock::{Clock, UnixMillis};
use crate::store::{LimitKey, LimitName, Store, StoreError};

const SECOND_MS: i64 = 1000;
/// A clock that goes back by more than this was set anew, and its seconds count from there.
const SET_ANEW_MS: i64 = 5000;
/// Shares that make a second's allowance.
const SHARES: u64 = 10;
/// Seconds that lie in the store before they are pruned, in milliseconds.
const KEPT_MS: i64 = 60_000;
/// Windows in memory, above which those of past seconds are dropped.
const MOST_WINDOWS: usize = 10_000;

/// What may be used in one second, and what was.
#[derive(Debug, Default)]
struct Window {
    start: i64,
    used: u64,
    /// Taken from the store for this replica.
    taken: u64,
    /// The store has nothing left for this second.
    exhausted: bool,
}

#[derive(Default)]
pub(super) struct Windows {
    windows: Mutex<HashMap<LimitKey, Window>>,
    /// One taker at a time: callers that come together use one share, and not one each.
    taking: tokio::sync::Mutex<()>,
    pruned: AtomicI64,
}

/// What a look at the windows came to.
enum Look {
    Counted,
    Over(Over),
    /// A share of this second is needed first.
    Needs {
        bound: usize,
        start: i64,
    },
}

impl Windows {
    pub async fn admit(
        &self,
        bounds: &[(LimitKey, u64)],
        store: &Store,
        clock: &dyn Clock,
    ) -> Result<Option<Over>, StoreError> {
        let shared = store.is_shared();
        loop {
            let (bound, start) = match self.look(bounds, shared, clock.now()) {
                Look::Counted => return Ok(None),
                Look::Over(over) => return Ok(Some(over)),
                Look::Needs { bound, start } => (bound, start),
            };
            let turn = self.taking.lock().await;
            // Whoever was before may have taken what this call needs.
            if let Look::Needs { bound: still, start: then } = self.needs(bounds, clock.now())
                && (still, then) == (bound, start)
            {
                let Some((key, value)) = bounds.get(bound) else { return Ok(None) };
                self.take(key, *value, start, store).await?;
            }
            drop(turn);
            self.prune(store, clock.now()).await?;
        }
    }

    /// Counts the call in all its windows if each has room.
    fn look(&self, bounds: &[(LimitKey, u64)], shared: bool, now: UnixMillis) -> Look {
        let mut windows = self.windows.lock();
        if windows.len() > MOST_WINDOWS {
            windows.retain(|_, window| window.start > now.0 - SET_ANEW_MS);
        }
        for (index, (key, value)) in bounds.iter().enumerate() {
            let window = windows.entry(key.clone()).or_default();
            window.turn_to(now);
            let full =
                if shared { window.exhausted && window.used >= window.taken } else { window.used >= *value };
            if full || *value == 0 {
                let retry_after_ms = until(window.start + SECOND_MS, now);
                return Look::Over(Over { key: key.clone(), value: *value, retry_after_ms });
            }
            if shared && window.used >= window.taken {
                return Look::Needs { bound: index, start: window.start };
            }
        }
        for (key, _) in bounds {
            if let Some(window) = windows.get_mut(key) {
                window.used += 1;
            }
        }
        Look::Counted
    }

    /// The first window that needs a share, if there is one.
    fn needs(&self, bounds: &[(LimitKey, u64)], now: UnixMillis) -> Look {
        let mut windows = self.windows.lock();
        for (index, (key, _)) in bounds.iter().enumerate() {
            let window = windows.entry(key.clone()).or_default();
            window.turn_to(now);
            if !window.exhausted && window.used >= window.taken {
                return Look::Needs { bound: index, start: window.start };
            }
        }
        Look::Counted
    }

    /// Takes a share for this replica, or the last of what is less than a share.
    async fn take(&self, key: &LimitKey, value: u64, start: i64, store: &Store) -> Result<(), StoreError> {
        let share = (value / SHARES).max(1);
        let subject = subject(key);
        let mut got = 0;
        for size in [share, 1] {
            if store.take_share(&subject, UnixMillis(start), size, value).await? {
                got = size;
                break;
            }
        }
        let mut windows = self.windows.lock();
        if let Some(window) = windows.get_mut(key)
            && window.start == start
        {
            window.taken += got;
            window.exhausted = got == 0;
        }
        Ok(())
    }

    async fn prune(&self, store: &Store, now: UnixMillis) -> Result<(), StoreError> {
        let last = self.pruned.load(Ordering::Relaxed);
        let due = now.0 - last > KEPT_MS;
        if due && self.pruned.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            store.prune_usage(UnixMillis(now.0 - KEPT_MS)).await?;
        }
        Ok(())
    }

    pub fn used(&self, key: &LimitKey, now: UnixMillis) -> u64 {
        let mut windows = self.windows.lock();
        let Some(window) = windows.get_mut(key) else { return 0 };
        window.turn_to(now);
        window.used
    }
}

impl Window {
    /// Begins the second that is now. A call that read the clock before another counts into the later second:
    /// going back would give the second that is over a new allowance.
    fn turn_to(&mut self, now: UnixMillis) {
        let start = now.0 - now.0.rem_euclid(SECOND_MS);
        if start > self.start || start < self.start - SET_ANEW_MS {
            *self = Self { start, ..Self::default() };
        }
    }
}

fn subject(key: &LimitKey) -> String {
    let name = match key.name {
        LimitName::RequestsPerSecond => "requests",
        LimitName::Traces => "traces",
    };
    // No securable holds a line break.
    let principal = key.principal.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{name}\n{}\n{principal}", key.securable)
}
