//! Counts what is in use by key, up to a limit: connections by address, calls by principal.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Debug)]
pub(in crate::http) struct Tally<K: Hash + Eq> {
    limit: usize,
    used: Mutex<HashMap<K, usize>>,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct Place<K: Hash + Eq> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::default() })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a place; `None` if all of the key's are taken.
    pub fn enter(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut used = self.used.lock();
        let count = used.entry(key.clone()).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(used);
        Some(Place { tally: Arc::clone(self), key })
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut used = self.tally.used.lock();
        match used.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            // Nothing is kept of those who left.
            _ => {
                used.remove(&self.key);
            }
        }
    }
}

/// As what an address counts: one machine has a whole /64 of IPv6 to itself.
pub(in crate::http) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_by_key_and_free_again_once_dropped() {
        let tally = Tally::new(2);
        let (one, two) = (tally.enter("a"), tally.enter("a"));
        assert!(one.is_some() && two.is_some() && tally.enter("a").is_none());
        let other = tally.enter("b");
        assert!(other.is_some());
        drop(one);
        let again = tally.enter("a");
        assert!(again.is_some() && tally.enter("a").is_none());
        drop((two, again, other));
        assert!(tally.used.lock().is_empty(), "who left is forgotten");
    }

    #[test]
    fn one_machine_is_one_address_however_it_writes_it() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
    }
}
