//! Taking times: single calls, with what the timer itself costs taken off, and one mean without a timer in it.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use peak_alloc::PeakAlloc;

use crate::questions::Question;

/// Counts what is allocated, so that each engine's memory is its own and not the process's.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What two readings of the clock with nothing between them say, at the median.
pub fn timer_cost() -> Duration {
    let mut waits: Vec<Duration> = (0..100_000)
        .map(|_| {
            let begun = Instant::now();
            begun.elapsed()
        })
        .collect();
    waits.sort_unstable();
    waits[waits.len() / 2]
}

/// Median and 99th percentile, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
}

impl Spread {
    pub fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |share: usize| {
            waits.get(waits.len() * share / 100).map_or(f64::NAN, |wait| wait.as_nanos() as f64)
        };
        Self { p50: at(50), p99: at(99) }
    }

    /// Times something `count` times; `number` tells the turns apart.
    pub fn of_turns(count: usize, mut turn: impl FnMut(usize) -> Result<()>) -> Result<Self> {
        let timer = timer_cost();
        let mut waits = Vec::with_capacity(count);
        for number in 0..count {
            let begun = Instant::now();
            turn(number)?;
            waits.push(begun.elapsed().saturating_sub(timer));
        }
        Ok(Self::of(waits))
    }

    /// Of several passes over the same, the one in the middle, each figure for itself.
    fn middle(passes: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> f64| {
            let mut all: Vec<f64> = passes.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self { p50: middle(|pass| pass.p50), p99: middle(|pass| pass.p99) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>9} {:>9}", time(self.p50), time(self.p99))
    }
}

/// Nanoseconds as people write them.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        below if below < 1e3 => format!("{below:.0} ns"),
        below if below < 1e5 => format!("{:.2} µs", below / 1e3),
        below if below < 1e6 => format!("{:.0} µs", below / 1e3),
        below if below < 1e9 => format!("{:.1} ms", below / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

/// What deciding costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub all: Spread,
    pub allow: Spread,
    pub deny: Spread,
    pub experiments: Spread,
    pub tables: Spread,
    /// Nanoseconds a decision over a whole pass without reading the clock in between; not a number where
    /// only single calls were taken.
    pub mean: f64,
    pub decisions: usize,
}

/// How many and how long.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub passes: usize,
    /// A pass ends after this long, but not before it has fifty decisions.
    pub longest_pass: Duration,
}

/// Asks an engine every question, each pass all of them, and takes the middle of the passes.
///
/// `decide` gets the question's number. A wrong answer ends everything: what does not agree is not compared.
/// `before` is run untimed just before each decision.
pub fn decisions(
    engine: &str,
    questions: &[Question],
    effort: Effort,
    mut before: impl FnMut(usize),
    mut decide: impl FnMut(usize) -> Result<bool>,
) -> Result<Cost> {
    let timer = timer_cost();
    let mut spreads: [Vec<Spread>; 5] = Default::default();
    let mut decided = 0;
    for _ in 0..effort.passes.max(1) {
        let mut kinds: [Vec<Duration>; 5] = Default::default();
        let start = Instant::now();
        for (number, question) in questions.iter().enumerate() {
            before(number);
            let begun = Instant::now();
            let allowed = black_box(decide(black_box(number))?);
            let wait = begun.elapsed().saturating_sub(timer);
            ensure!(allowed == question.allowed, "{engine} answers {allowed} to {question:?}");
            for kind in [0, 2 - usize::from(allowed), 3 + usize::from(question.on_table)] {
                kinds[kind].push(wait);
            }
            if number >= 50 && start.elapsed() > effort.longest_pass {
                break;
            }
        }
        decided = kinds[0].len();
        for (spread, kind) in spreads.iter_mut().zip(kinds) {
            spread.push(Spread::of(kind));
        }
    }
    let mut mean = f64::NAN;
    if decided == questions.len() {
        let start = Instant::now();
        for number in 0..questions.len() {
            black_box(decide(black_box(number))?);
        }
        mean = start.elapsed().as_nanos() as f64 / questions.len() as f64;
    }
    let [all, allow, deny, experiments, tables] = spreads.map(|passes| Spread::middle(&passes));
    Ok(Cost { all, allow, deny, experiments, tables, mean, decisions: decided })
}

/// Something built, how long that took, and the memory that it holds.
pub struct Built<T> {
    pub value: T,
    pub seconds: f64,
    pub mebibytes: f64,
}

pub fn build<T>(make: impl FnOnce() -> Result<T>) -> Result<Built<T>> {
    let before = ALLOCATOR.current_usage();
    let start = Instant::now();
    let value = make()?;
    let seconds = start.elapsed().as_secs_f64();
    let held = ALLOCATOR.current_usage().saturating_sub(before);
    Ok(Built { value, seconds, mebibytes: held as f64 / (1024.0 * 1024.0) })
}

/// The most that was allocated at any time.
pub fn peak_mebibytes() -> f64 {
    ALLOCATOR.peak_usage() as f64 / (1024.0 * 1024.0)
}

/// The load of the machine over the last minute, since others may be at work on it.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
