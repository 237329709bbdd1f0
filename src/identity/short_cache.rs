//! A cache of what the store said a moment ago, emptied at once by `forget`.
//!
//! An answer that was asked for before a `forget` and arrives after it must not be kept: it may be what
//! was just revoked. So every entry carries the epoch in which the question was asked, and counts only
//! while that epoch lasts.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Clock, UnixMillis};

/// Entries held at most; the least used go first.
const CAPACITY: u64 = 50_000;

pub(super) struct ShortCache<K, V> {
    entries: moka::sync::Cache<K, Entry<V>>,
    epoch: AtomicU64,
    lifetime_ms: i64,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    asked: Asked,
}

/// When a question was put to the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: UnixMillis,
    epoch: u64,
}

impl<K, V> ShortCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new(lifetime_seconds: u64, clock: Arc<dyn Clock>) -> Self {
        let lifetime_ms = i64::try_from(lifetime_seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        Self { entries: moka::sync::Cache::new(CAPACITY), epoch: AtomicU64::new(0), lifetime_ms, clock }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key)?;
        let now = self.asking();
        let age = now.at.0.saturating_sub(entry.asked.at.0);
        // A clock that was set back makes an age negative: such an entry does not count either.
        let counts = (0..self.lifetime_ms).contains(&age) && entry.asked.epoch == now.epoch;
        counts.then_some(entry.value)
    }

    /// To be taken before the store is asked.
    pub fn asking(&self) -> Asked {
        Asked { at: self.clock.now(), epoch: self.epoch.load(Ordering::SeqCst) }
    }

    pub fn put(&self, key: K, value: V, asked: Asked) {
        self.entries.insert(key, Entry { value, asked });
    }

    pub fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn an_entry_lasts_its_time_and_no_longer() {
        let clock = ManualClock::at(100_000);
        let cache = ShortCache::new(5, Arc::new(clock.clone()));
        cache.put("a", 1, cache.asking());
        clock.advance(4_999);
        assert_eq!(cache.get(&"a"), Some(1));
        clock.advance(1);
        assert_eq!(cache.get(&"a"), None);
        clock.advance(-6_000);
        assert_eq!(cache.get(&"a"), None);
    }

    #[test]
    fn an_answer_that_was_on_its_way_when_all_was_forgotten_is_not_kept() {
        let cache = ShortCache::new(5, Arc::new(ManualClock::at(0)));
        let asked = cache.asking();
        cache.forget();
        cache.put("a", 1, asked);
        assert_eq!(cache.get(&"a"), None);
    }
}
