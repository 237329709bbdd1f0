//! The short run of `make test` and the long one of `make prove`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::compare::{Checker, Tally};
use super::history::{self, Mismatch};

/// Decisions of one state that casbin judges.
pub(super) const SAMPLE: usize = 240;

/// Histories from `first` on, every `step`th, until there were enough.
fn prove(first: u64, step: usize, mut enough: impl FnMut(Tally) -> bool) -> Result<Tally, Box<Mismatch>> {
    let mut checker = Checker::new(SAMPLE);
    for seed in (first..).step_by(step) {
        history::run(seed, &mut checker)?;
        if enough(checker.tally) {
            break;
        }
    }
    Ok(checker.tally)
}

#[test]
fn the_engine_agrees_with_casbin() {
    let tally =
        prove(0, 1, |tally| tally.decisions >= 200_000).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    assert!(
        tally.allowed * 20 > tally.decisions,
        "worlds that allow next to nothing prove little: {tally:?}"
    );
    println!("no mismatch: {tally:?}");
}

/// `make prove`. `PROVE_DECISIONS` says how many, `PROVE_SEED` where to start.
#[test]
#[ignore = "long: make prove"]
fn the_engine_agrees_with_casbin_on_tens_of_millions() {
    let (wanted, start) = (setting("PROVE_DECISIONS", 20_000_000), setting("PROVE_SEED", 1_000_000));
    let (done, began) = (AtomicU64::new(0), Instant::now());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let worker = &|thread: usize| {
        let mut told = 0;
        let proved = prove(start + thread as u64, threads, |tally| {
            let before = done.fetch_add(tally.decisions - told, Ordering::SeqCst);
            let now = before + tally.decisions - told;
            told = tally.decisions;
            if before / 1_000_000 < now / 1_000_000 {
                println!("{now} decisions agree after {} s", began.elapsed().as_secs());
            }
            now >= wanted
        });
        if proved.is_err() {
            done.fetch_add(wanted, Ordering::SeqCst);
        }
        proved
    };
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || worker(thread))).collect();
        for thread in running {
            match thread.join().unwrap() {
                Ok(tally) => sum.add(tally),
                Err(mismatch) => panic!("{mismatch}"),
            }
        }
    });
    println!("no mismatch in {} s on {threads} threads: {sum:?}", began.elapsed().as_secs());
    assert!(sum.decisions >= wanted);
}

#[expect(clippy::disallowed_methods, reason = "the size of a test run is no setting of the program")]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}
