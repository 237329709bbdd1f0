//! Counting, on SQLite alone and by two replicas on one PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Admission, Limits, NewTraces, Reservation};
use crate::access::{ExperimentId, Principal, Securable, TraceId};
use crate::clock::{Clock, ManualClock, UnixMillis};
use crate::config::database::DatabaseConfig;
use crate::config::limits::LimitsConfig;
use crate::store::test_postgres::TestDatabase;
use crate::store::{LimitKey, LimitName, Store};

const START: i64 = 1_700_000_000_000;

struct Bench {
    clock: ManualClock,
    limits: Limits,
    store: Store,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new(url: Option<String>, config: LimitsConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config_database = DatabaseConfig { url, ..DatabaseConfig::default() };
        let store = Store::open(&config_database, directory.path()).await.unwrap();
        let clock = ManualClock::at(START);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let limits = Limits::new(&config, store.clone(), shared);
        Self { clock, limits, store, _directory: directory }
    }

    async fn set(&self, on: &str, principal: Option<&str>, name: LimitName, value: Option<u64>) {
        let principal = principal.map(|text| text.parse().unwrap());
        let key = LimitKey { securable: on.parse().unwrap(), principal, name };
        let change = self.store.set_usage_limit(&key, value, "user:root", UnixMillis(START)).await.unwrap();
        self.limits.refresh(change.version).await.unwrap();
    }

    /// How many of so many calls are let through.
    async fn admitted(&self, calls: u64, who: &str, on: &str) -> u64 {
        let who: Principal = who.parse().unwrap();
        let on: Securable = on.parse().unwrap();
        let mut admitted = 0;
        for _ in 0..calls {
            let over = self.limits.admit_call(&[&who], std::slice::from_ref(&on)).await.unwrap();
            admitted += u64::from(over.is_none());
        }
        admitted
    }

    async fn start(&self, backend: &Fake, fresh: u64, known: &[TraceId]) -> Option<Reservation> {
        let experiment = experiment();
        let new = NewTraces { experiment: &experiment, fresh, known };
        let count = async || Ok::<u64, ()>(backend.count());
        let holds = async |trace: &TraceId| {
            backend.looked_up.fetch_add(1, Ordering::SeqCst);
            Ok(backend.holds.contains(trace))
        };
        match self.limits.admit_traces(&new, count, holds).await.unwrap() {
            Admission::Room(reservation) => Some(reservation),
            Admission::Full { over, .. } => {
                assert_eq!(over.key.name, LimitName::Traces);
                None
            }
        }
    }
}

#[derive(Default)]
struct Fake {
    held: AtomicU64,
    asked: AtomicU64,
    looked_up: AtomicU64,
    holds: Vec<TraceId>,
}

impl Fake {
    fn count(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.held.load(Ordering::SeqCst)
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn experiment() -> ExperimentId {
    ExperimentId::parse("1").unwrap()
}

fn trace(number: u64) -> TraceId {
    TraceId::parse(&format!("tr-{number:032x}")).unwrap()
}

fn requests(value: u64) -> LimitsConfig {
    LimitsConfig { requests_per_second: Some(value), ..LimitsConfig::default() }
}

fn traces(value: u64) -> LimitsConfig {
    LimitsConfig { traces_per_experiment: Some(value), ..LimitsConfig::default() }
}

#[tokio::test]
async fn a_second_takes_its_allowance_and_the_next_one_its_own() {
    let bench = Bench::new(None, requests(5)).await;
    assert_eq!(bench.admitted(8, "user:a", "experiment:1").await, 5);
    assert_eq!(bench.admitted(8, "user:a", "experiment:2").await, 5, "another experiment's is its own");
    bench.clock.advance(999);
    assert_eq!(bench.admitted(8, "user:b", "experiment:1").await, 0);
    let on: Securable = "experiment:1".parse().unwrap();
    let over = bench.limits.admit_call(&[], &[on]).await.unwrap().unwrap();
    assert_eq!((over.value, over.retry_after_ms), (5, 1));
    bench.clock.advance(1);
    assert_eq!(bench.admitted(8, "user:b", "experiment:1").await, 5);
    // A call that read the clock before another counts into the later second and opens none again.
    bench.clock.advance(-1);
    assert_eq!(bench.admitted(8, "user:b", "experiment:1").await, 0);
    // A clock that was set anew counts from there.
    bench.clock.advance(-60_000);
    assert_eq!(bench.admitted(8, "user:b", "experiment:1").await, 5);
}

#[tokio::test]
async fn a_call_that_one_limit_refuses_uses_nothing_of_another() {
    let bench = Bench::new(None, LimitsConfig::default()).await;
    let name = LimitName::RequestsPerSecond;
    assert!(!bench.limits.limits_requests());
    assert_eq!(bench.admitted(100, "user:a", "experiment:1").await, 100, "no limit, no count");
    bench.set("experiment:1", None, name, Some(4)).await;
    bench.set("experiment:1", Some("user:a"), name, Some(1)).await;
    bench.set("workspace:default", Some("user:b"), name, Some(2)).await;
    assert_eq!(bench.admitted(50, "user:a", "experiment:1").await, 1);
    assert_eq!(bench.admitted(1, "user:b", "experiment:2").await, 1);
    assert_eq!(bench.admitted(50, "user:b", "experiment:1").await, 1, "all experiments together");
    assert_eq!(bench.admitted(50, "user:c", "experiment:1").await, 2, "what the others left");
    bench.set("experiment:1", None, name, None).await;
    assert_eq!(bench.admitted(50, "user:c", "experiment:1").await, 50);
}

#[tokio::test]
async fn two_replicas_share_a_second_and_waste_less_than_a_share() {
    let database = TestDatabase::create().await;
    let one = Bench::new(Some(database.url.clone()), requests(60)).await;
    let two = Bench::new(Some(database.url.clone()), requests(60)).await;
    for second in 0..3 {
        let (mut first, mut other) = (0, 0);
        for _ in 0..60 {
            first += one.admitted(1, "user:a", "experiment:1").await;
            other += two.admitted(1, "user:b", "experiment:1").await;
        }
        assert_eq!(first + other, 60, "second {second}: all of it and no more");
        one.clock.advance(1000);
        two.clock.advance(1000);
    }
    // One replica took a share for a single call: the rest of that share is all that is lost.
    assert_eq!(two.admitted(1, "user:b", "experiment:1").await, 1);
    let rest = one.admitted(100, "user:a", "experiment:1").await;
    assert_eq!(rest, 54, "a share is a tenth");
    // Old seconds are pruned.
    one.clock.advance(200_000);
    one.admitted(1, "user:a", "experiment:1").await;
    let left = one.store.prune_usage(UnixMillis(START + 100_000)).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn concurrent_calls_never_pass_the_limit_together() {
    let database = TestDatabase::create().await;
    let one = Arc::new(Bench::new(Some(database.url.clone()), requests(37)).await);
    let two = Arc::new(Bench::new(Some(database.url.clone()), requests(37)).await);
    let mut tasks = Vec::new();
    for index in 0..20 {
        let bench = Arc::clone(if index % 2 == 0 { &one } else { &two });
        tasks.push(tokio::spawn(async move { bench.admitted(10, "user:a", "experiment:1").await }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted, 37);
}

#[tokio::test]
async fn new_traces_fill_an_experiment_and_a_refused_start_gives_its_place_back() {
    let bench = Bench::new(None, traces(3)).await;
    let backend = Fake::default();
    let first = bench.start(&backend, 1, &[]).await.unwrap();
    let second = bench.start(&backend, 2, &[]).await.unwrap();
    assert!(bench.start(&backend, 1, &[]).await.is_none(), "two are under way");
    first.cancel();
    let third = bench.start(&backend, 1, &[]).await.unwrap();
    backend.held.store(3, Ordering::SeqCst);
    drop((second, third));
    assert!(bench.start(&backend, 1, &[]).await.is_none());
    let asked = backend.asked();
    for _ in 0..50 {
        assert!(bench.start(&backend, 1, &[]).await.is_none());
    }
    assert!(backend.asked() <= asked + 1, "a flood at the limit is no flood of questions");
    // A delete through this gateway makes room at once, one past it within a second.
    backend.held.store(2, Ordering::SeqCst);
    bench.limits.made_room(&experiment());
    assert!(bench.start(&backend, 1, &[]).await.is_some());
    backend.held.store(1, Ordering::SeqCst);
    bench.clock.advance(1000);
    assert!(bench.start(&backend, 1, &[]).await.is_some());
}

#[tokio::test]
async fn a_batch_fits_whole_or_not_at_all_and_a_lowered_limit_takes_nothing_away() {
    let bench = Bench::new(None, LimitsConfig::default()).await;
    let backend = Fake { held: AtomicU64::new(90), holds: vec![trace(1)], ..Fake::default() };
    bench.set("experiment:1", None, LimitName::Traces, Some(100)).await;
    assert!(bench.start(&backend, 11, &[]).await.is_none());
    assert!(bench.start(&backend, 10, &[]).await.is_some());
    backend.held.store(100, Ordering::SeqCst);
    bench.set("experiment:1", None, LimitName::Traces, Some(50)).await;
    bench.clock.advance(1000);
    assert!(bench.start(&backend, 0, &[trace(1)]).await.is_some(), "what is held can be continued");
    assert!(bench.start(&backend, 1, &[]).await.is_none());
}

#[tokio::test]
async fn ids_claimed_beforehand_and_ids_of_deleted_traces_are_no_way_round() {
    let bench = Bench::new(None, traces(100)).await;
    // A hundred ids have owners, by uploads or since their traces were deleted; none is held.
    let backend = Fake::default();
    let mut started = 0;
    for number in 0..200 {
        if let Some(reservation) = bench.start(&backend, 0, &[trace(number)]).await {
            drop(reservation);
            started += 1;
            backend.held.fetch_add(1, Ordering::SeqCst);
        }
    }
    assert_eq!(started, 100);
}

#[tokio::test]
async fn continuing_many_spans_far_from_the_limit_asks_seldom() {
    let bench = Bench::new(None, traces(100_000)).await;
    let backend = Fake { held: AtomicU64::new(10), holds: vec![trace(1)], ..Fake::default() };
    for minute in 1..=3 {
        for _ in 0..1000 {
            assert!(bench.start(&backend, 0, &[trace(1)]).await.is_some());
        }
        assert!(backend.asked() <= minute, "once a minute");
        bench.clock.advance(60_000);
    }
    assert_eq!(backend.looked_up.load(Ordering::SeqCst), 0, "no look-up for a trace");
}

#[tokio::test]
async fn replicas_pass_the_limit_by_no_more_than_the_other_starts_in_a_quarter_of_a_second() {
    let database = TestDatabase::create().await;
    let one = Bench::new(Some(database.url.clone()), traces(1000)).await;
    let two = Bench::new(Some(database.url.clone()), traces(1000)).await;
    let backend = Fake { held: AtomicU64::new(900), ..Fake::default() };
    // Each starts 40 a second, as far as it is let: ten in a quarter of a second.
    for _ in 0..200 {
        for bench in [&one, &two] {
            if let Some(reservation) = bench.start(&backend, 1, &[]).await {
                drop(reservation);
                backend.held.fetch_add(1, Ordering::SeqCst);
            }
            bench.clock.advance(25);
        }
    }
    let held = backend.held.load(Ordering::SeqCst);
    assert!((1000..=1010).contains(&held), "{held}");
}

#[tokio::test]
async fn limits_are_known_after_a_restart_and_an_older_reading_does_not_win() {
    let bench = Bench::new(None, LimitsConfig::default()).await;
    bench.set("experiment:1", None, LimitName::Traces, Some(7)).await;
    let again = Limits::new(&LimitsConfig::default(), bench.store.clone(), Arc::new(bench.clock.clone()));
    assert_eq!(again.trace_limit(&experiment()), None);
    let version = bench.store.policy_version().await.unwrap();
    again.refresh(version).await.unwrap();
    assert_eq!(again.trace_limit(&experiment()), Some(7));
    // The same again changes nothing, and raises no version.
    let key = super::trace_key(&experiment());
    let change = bench.store.set_usage_limit(&key, Some(7), "user:root", UnixMillis(0)).await.unwrap();
    assert!(!change.changed);
}
