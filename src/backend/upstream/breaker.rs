//! The circuit breaker: after several failures in a row, stop asking for a while.
//!
//! Shared by all workers. A failure is a connection that could not be made or an answer that never began;
//! an answer of any status, 500 included, is a success here. While open, everything is refused at once;
//! then one request probes, and its outcome closes the breaker or opens it again.
//!
//! Time is passed in, so the states can be tested without waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Breaker {
    failures_to_open: u32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    probing: bool,
}

/// The right to make one request; tells the breaker how it went. Dropped untold (the caller went away),
/// it counts as neither, and the next request may probe.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    pub(super) fn new(failures_to_open: u32, open_for: Duration) -> Self {
        Self { failures_to_open, open_for, state: Mutex::default() }
    }

    /// Admits a request, or says how long to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<Admission<'_>, Duration> {
        let mut state = self.state();
        let Some(until) = state.open_until else { return Ok(Admission { breaker: self, probe: false }) };
        if now < until {
            return Err(until - now);
        }
        if state.probing {
            return Err(self.open_for);
        }
        state.probing = true;
        Ok(Admission { breaker: self, probe: true })
    }

    /// A panic while the lock was held cannot leave these three fields in a state that matters.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    pub(super) fn succeeded(self) {
        let mut state = self.breaker.state();
        // A request from before the failures must not close a breaker that opened meanwhile.
        if self.probe || state.open_until.is_none() {
            *state = State::default();
        }
    }

    pub(super) fn failed(self, now: Instant) {
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        if self.probe || (state.open_until.is_none() && state.failures >= self.breaker.failures_to_open) {
            state.open_until = Some(now + self.breaker.open_for);
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(3, OPEN);
        for _ in 0..3 {
            breaker.admit(now).unwrap().failed(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not_let_them() {
        let now = Instant::now();
        let breaker = Breaker::new(3, OPEN);
        for outcome in [false, false, true, false, false] {
            let admission = breaker.admit(now).unwrap();
            if outcome { admission.succeeded() } else { admission.failed(now) }
        }
        assert!(breaker.admit(now).is_ok());
        breaker.admit(now).unwrap().failed(now);
        assert_eq!(breaker.admit(now + Duration::from_secs(1)).unwrap_err(), Duration::from_secs(4));
    }

    #[test]
    fn one_probe_decides_and_the_others_wait() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + OPEN;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err());
        probe.failed(later);
        assert!(breaker.admit(later + OPEN / 2).is_err());
        breaker.admit(later + OPEN).unwrap().succeeded();
        for _ in 0..3 {
            assert!(breaker.admit(later + OPEN).is_ok());
        }
    }

    #[test]
    fn an_abandoned_probe_lets_the_next_one_try() {
        let now = Instant::now();
        let breaker = opened(now);
        drop(breaker.admit(now + OPEN).unwrap());
        assert!(breaker.admit(now + OPEN).is_ok());
    }

    #[test]
    fn a_late_success_does_not_close_it() {
        let now = Instant::now();
        let breaker = Breaker::new(1, OPEN);
        let slow = breaker.admit(now).unwrap();
        breaker.admit(now).unwrap().failed(now);
        slow.succeeded();
        assert!(breaker.admit(now).is_err());
    }
}
