//! How quickly the other side moves bytes while we wait for it: not at all for too long, or too few.

use std::time::{Duration, Instant};

use crate::config::server::ServerConfig;

/// Counts only the time in which we wait for the other side, never that in which it waits for us.
#[derive(Debug)]
pub(in crate::http) struct Pace {
    limit: Duration,
    least_per_second: u64,
    /// Since when we wait.
    since: Option<Instant>,
    /// What was waited, and what came of it, since the last reckoning.
    waited: Duration,
    moved: u64,
}

impl Pace {
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            limit: Duration::from_millis(config.stall_timeout_ms),
            least_per_second: config.least_bytes_per_second,
            since: None,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    /// We wait; returns until when at most.
    pub fn waits(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.limit
    }

    /// Until when we wait at most, if we wait.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.since? + self.limit)
    }

    /// Something moved; false if it is too little for the time that was waited.
    #[must_use]
    pub fn moved(&mut self, now: Instant, bytes: u64) -> bool {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.moved = self.moved.saturating_add(bytes);
        if self.waited < self.limit {
            return true;
        }
        let enough =
            u128::from(self.moved) * 1000 >= u128::from(self.least_per_second) * self.waited.as_millis();
        // What was quick once does not pay for what is slow later.
        (self.waited, self.moved) = (Duration::ZERO, 0);
        enough
    }

    /// Whether we wait for nothing at all too long.
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> (Pace, Instant) {
        let config =
            ServerConfig { stall_timeout_ms: 10_000, least_bytes_per_second: 100, ..Default::default() };
        (Pace::new(&config), Instant::now())
    }

    #[test]
    fn one_that_sends_nothing_is_stalled_and_one_that_trickles_too_slow() {
        let (mut silent, start) = pace();
        silent.waits(start);
        assert!(!silent.is_stalled(start + Duration::from_millis(9_999)));
        assert!(silent.is_stalled(start + Duration::from_secs(10)));

        let (mut trickle, mut now) = pace();
        let mut steps = 0;
        loop {
            trickle.waits(now);
            now += Duration::from_secs(1);
            assert!(!trickle.is_stalled(now));
            steps += 1;
            if !trickle.moved(now, 99) {
                break;
            }
        }
        assert_eq!(steps, 10);
    }

    #[test]
    fn one_that_is_quick_enough_or_waits_for_us_is_left_alone() {
        let (mut pace, mut now) = pace();
        for _ in 0..100 {
            pace.waits(now);
            now += Duration::from_secs(1);
            assert!(pace.moved(now, 100));
            // We take our time.
            now += Duration::from_secs(3600);
            assert!(!pace.is_stalled(now));
        }
    }

    #[test]
    fn what_was_quick_before_does_not_pay_for_what_is_slow_after() {
        let (mut pace, mut now) = pace();
        pace.waits(now);
        assert!(pace.moved(now + Duration::from_secs(10), 1 << 30));
        let mut enough = true;
        for _ in 0..10 {
            pace.waits(now);
            now += Duration::from_secs(1);
            enough = pace.moved(now, 1);
        }
        assert!(!enough);
    }
}
