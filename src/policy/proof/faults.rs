//! Faults planted into the engine, one at a time. A proof that would not notice them proves nothing.

use super::super::fault::{self, Fault};
use super::compare::Checker;
use super::history;
use super::runs::SAMPLE;

/// Decisions within which each must be found; as many as the short run of the proof makes.
const BUDGET: u64 = 200_000;

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for planted in Fault::ALL.iter().copied() {
        fault::plant(Some(planted));
        let mut checker = Checker::new(SAMPLE);
        let found = (0..).take_while(|_| true).find_map(|seed| match history::run(seed, &mut checker) {
            Err(mismatch) => Some(Some(mismatch)),
            Ok(()) => (checker.tally.decisions > BUDGET).then_some(None),
        });
        fault::plant(None);
        match found.flatten() {
            Some(mismatch) => println!(
                "| {planted:?} | {} | {} | {} |",
                checker.tally.decisions, mismatch.seed, mismatch.problem
            ),
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found within {BUDGET} decisions: {missed:?}");
}
