//! Wrong secrets, counted by where they come from.
//!
//! Whoever tries too many is told to wait instead of why. A right secret is always taken, so nobody can shut
//! out a client by trying in its name, nor everybody behind one address.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{Clock, UnixMillis};

const MINUTE_MS: i64 = 60_000;
/// Wrong tries from one address in a minute that are answered as such.
const OF_ONE_ADDRESS: u32 = 30;
/// Addresses that are counted; those least used go first.
const ADDRESSES: u64 = 10_000;

pub(super) struct Attempts {
    clock: Arc<dyn Clock>,
    counted: moka::sync::Cache<String, Arc<Mutex<Counted>>>,
}

struct Counted {
    began: UnixMillis,
    tries: u32,
}

impl Attempts {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counted: moka::sync::Cache::new(ADDRESSES) }
    }

    /// Notes a wrong try; answers after how many milliseconds to come again, if there were too many.
    pub fn failed(&self, address: Option<&str>) -> Option<u64> {
        let now = self.clock.now();
        let begin = || Arc::new(Mutex::new(Counted { began: now, tries: 0 }));
        let counted = self.counted.get_with(network(address.unwrap_or_default()), begin);
        let mut counted = counted.lock();
        let age = now.0.saturating_sub(counted.began.0);
        if !(0..MINUTE_MS).contains(&age) {
            *counted = Counted { began: now, tries: 0 };
        }
        counted.tries = counted.tries.saturating_add(1);
        let wait = MINUTE_MS - now.0.saturating_sub(counted.began.0);
        (counted.tries > OF_ONE_ADDRESS).then_some(wait.unsigned_abs())
    }
}

/// One who has an IPv6 address has 2^64 of them.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => hex::encode(&address.octets()[..8]),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn whoever_tries_too_often_is_told_to_wait_and_nobody_else() {
        let clock = ManualClock::at(1_000_000);
        let attempts = Attempts::new(Arc::new(clock.clone()));
        let refused = |address: &str| attempts.failed(Some(address)).is_some();
        assert_eq!((0..100).filter(|_| !refused("192.0.2.1")).count(), OF_ONE_ADDRESS as usize);
        assert!(!refused("192.0.2.2"));
        // All addresses of one network count as one.
        let tried = (0..100).filter(|number| !refused(&format!("2001:db8::{number:x}"))).count();
        assert_eq!(tried, OF_ONE_ADDRESS as usize);
        clock.advance(MINUTE_MS);
        assert!(!refused("192.0.2.1"));
        // A clock that was set back does not make anybody wait for ever.
        clock.advance(-10 * MINUTE_MS);
        assert!(!refused("192.0.2.1"));
    }
}
