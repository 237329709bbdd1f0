//! How often a password may be guessed.
//!
//! Each guess costs a place in three lines before it is looked at, and a right one gets them back: that of the name from
//! this address, that of the address, and that of the name from anywhere. The last moves fast, so that somebody who
//! guesses at a name slows its owner down by a few seconds and no more; an address from which the right password came
//! lately does not stand in it at all. Unknown names are counted like known ones. Memory is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::UnixMillis;

/// Lines held at most of each kind; those that nobody stood in for long go first.
const CAPACITY: u64 = 20_000;
/// How long a line is remembered after its last guess, which is longer than any takes to empty.
const KEPT: Duration = Duration::from_secs(600);
/// How long an address counts as a name's own after the right password came from it.
const OWN_FOR: Duration = Duration::from_secs(24 * 3600);

/// How many guesses at once, and how long until the next one (milliseconds).
struct Pace {
    at_once: i64,
    interval: i64,
}

const NAME_AT_ADDRESS: Pace = Pace { at_once: 5, interval: 10_000 };
const ADDRESS: Pace = Pace { at_once: 30, interval: 2_000 };
const NAME: Pace = Pace { at_once: 40, interval: 500 };

type Line = Arc<AtomicI64>;

pub(super) struct Throttle {
    lines: moka::sync::Cache<[u8; 32], Line>,
    own: moka::sync::Cache<[u8; 32], ()>,
}

/// Places taken for one guess.
pub(super) struct Guess {
    taken: Vec<(Line, &'static Pace)>,
    own: [u8; 32],
}

impl Throttle {
    pub fn new() -> Self {
        let lines = moka::sync::Cache::builder().max_capacity(3 * CAPACITY).time_to_idle(KEPT).build();
        let own = moka::sync::Cache::builder().max_capacity(CAPACITY).time_to_live(OWN_FOR).build();
        Self { lines, own }
    }

    /// A place for one guess, or for how many milliseconds there is none.
    pub fn guess(&self, name: &str, address: Option<&str>, now: UnixMillis) -> Result<Guess, u64> {
        let address = address.unwrap_or("unknown");
        let own = key("own", &[name, address]);
        let mut wanted =
            vec![(key("both", &[name, address]), &NAME_AT_ADDRESS), (key("address", &[address]), &ADDRESS)];
        if self.own.get(&own).is_none() {
            wanted.push((key("name", &[name]), &NAME));
        }
        let mut guess = Guess { taken: Vec::new(), own };
        for (key, pace) in wanted {
            let line = self.lines.get_with(key, || Arc::new(AtomicI64::new(i64::MIN)));
            if let Err(wait) = take(&line, pace, now.0) {
                guess.give_back();
                return Err(wait);
            }
            guess.taken.push((line, pace));
        }
        Ok(guess)
    }

    /// The guess was right: it costs nothing, and this address is the name's own.
    pub fn was_right(&self, guess: Guess) {
        self.own.insert(guess.own, ());
        guess.give_back();
    }
}

impl Guess {
    /// It was no guess after all.
    pub fn give_back(&self) {
        for (line, pace) in &self.taken {
            line.fetch_sub(pace.interval, Ordering::AcqRel);
        }
    }
}

/// Each guess lies `interval` after the one before it; more than `at_once` of them must not lie ahead.
fn take(line: &AtomicI64, pace: &Pace, now: i64) -> Result<(), u64> {
    let most = pace.at_once * pace.interval;
    let mut end = line.load(Ordering::Acquire);
    loop {
        // A line that a clock before had filled must not stay full.
        let from = if end.saturating_sub(now) > most { now } else { end.max(now) };
        let next = from + pace.interval;
        if next - now > most {
            return Err(u64::try_from(next - now - most).unwrap_or(0));
        }
        match line.compare_exchange(end, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(()),
            Err(changed) => end = changed,
        }
    }
}

fn key(kind: &str, parts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [kind].iter().chain(parts) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn later(ms: i64) -> UnixMillis {
        UnixMillis(NOW.0 + ms)
    }

    #[test]
    fn a_few_guesses_at_once_then_one_at_a_time() {
        let throttle = Throttle::new();
        for _ in 0..5 {
            assert!(throttle.guess("ann", Some("a"), NOW).is_ok());
        }
        let wait = throttle.guess("ann", Some("a"), NOW).err().unwrap();
        assert_eq!(wait, 10_000);
        assert!(throttle.guess("ann", Some("a"), later(9_999)).is_err());
        assert!(throttle.guess("ann", Some("a"), later(10_000)).is_ok());
        assert!(throttle.guess("ann", Some("a"), later(10_000)).is_err());
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let throttle = Throttle::new();
        for _ in 0..500 {
            let guess = throttle.guess("ann", Some("a"), NOW).ok().unwrap();
            throttle.was_right(guess);
        }
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed() {
        let throttle = Throttle::new();
        let taken = (0..1_000).filter(|n| throttle.guess(&format!("u{n}"), Some("a"), NOW).is_ok()).count();
        assert_eq!(taken, 30);
        assert!(throttle.guess("ann", Some("b"), NOW).is_ok());
    }

    #[test]
    fn many_addresses_slow_a_name_and_do_not_lock_its_owner_out() {
        let throttle = Throttle::new();
        let own = throttle.guess("ann", Some("home"), NOW).ok().unwrap();
        throttle.was_right(own);
        let taken = (0..1_000).filter(|n| throttle.guess("ann", Some(&format!("a{n}")), NOW).is_ok()).count();
        assert_eq!(taken, 40);
        // Where the right password came from before, nothing of that is felt.
        assert!(throttle.guess("ann", Some("home"), NOW).is_ok());
        // Elsewhere it takes half a second.
        assert_eq!(throttle.guess("ann", Some("new"), NOW).err(), Some(500));
        assert!(throttle.guess("ann", Some("new"), later(500)).is_ok());
    }

    #[test]
    fn a_refused_guess_takes_no_place_in_any_line() {
        let throttle = Throttle::new();
        for _ in 0..5 {
            throttle.guess("ann", Some("a"), NOW).ok().unwrap();
        }
        for _ in 0..1_000 {
            assert!(throttle.guess("ann", Some("a"), NOW).is_err());
        }
        for n in 0..25 {
            assert!(throttle.guess(&format!("u{n}"), Some("a"), NOW).is_ok(), "{n}");
        }
        // And of the name's own line 35 places are left.
        let taken = (0..100).filter(|n| throttle.guess("ann", Some(&format!("b{n}")), NOW).is_ok()).count();
        assert_eq!(taken, 35);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let throttle = Throttle::new();
        for _ in 0..5 {
            throttle.guess("ann", Some("a"), later(86_400_000)).ok().unwrap();
        }
        assert!(throttle.guess("ann", Some("a"), NOW).is_ok());
    }

    #[test]
    fn names_and_addresses_cannot_be_shifted_into_each_other() {
        assert_ne!(key("both", &["ab", "c"]), key("both", &["a", "bc"]));
        assert_ne!(key("name", &["a"]), key("address", &["a"]));
    }
}
