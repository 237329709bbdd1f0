//! What goes when its time is over, what stays, and that the rest still verifies.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{event, spool_of};
use crate::access::{Durability, Event, EventKind, PolicyChange, Verdict};
use crate::audit::retention::{Class, Pruner};
use crate::audit::{
    Audit, FaultKind, Known, VerifyError, directory, ledger, verify, verify_index, verify_index_alone,
};
use crate::clock::{Clock, ManualClock, UnixMillis};
use crate::config::audit::AuditConfig;
use crate::store::audit_index::AuditQuery;
use crate::store::test_postgres::TestDatabase;

const SOON: Duration = Duration::from_secs(20);
const DAY: i64 = 24 * 60 * 60 * 1000;

fn read(number: usize, day: i64) -> Event {
    Event { time: UnixMillis(day * DAY), ..event(number) }
}

fn change(number: usize, day: i64) -> Event {
    Event { privileges: vec!["run.write".into()], ..read(number, day) }
}

fn denial(number: usize, day: i64) -> Event {
    Event { decision: Verdict::Deny, ..change(number, day) }
}

fn config() -> AuditConfig {
    AuditConfig {
        replica: Some("r".into()),
        segment_bytes: 64 << 10,
        retention_days_reads: Some(10),
        retention_days_changes: Some(100),
        ..AuditConfig::default()
    }
}

async fn open(
    config: &AuditConfig,
    url: Option<&str>,
    data: &std::path::Path,
    day: i64,
) -> (Audit, ManualClock) {
    let clock = ManualClock::at(day * DAY);
    (Audit::open(config, url, data, Arc::new(clock.clone())).await.unwrap(), clock)
}

async fn prune(audit: &Audit, config: &AuditConfig, data: &std::path::Path, clock: &ManualClock) {
    audit.flush(SOON).await.unwrap();
    let (spool, index) = (Arc::clone(&audit.spool), audit.index.clone());
    let shipped = spool.state().shipped_seq();
    let mut pruner = Pruner::new(config, &spool_of(data), "r", spool, index, Arc::new(clock.clone()));
    pruner.prune(shipped).await.unwrap();
}

async fn indexed(audit: &Audit) -> Vec<usize> {
    audit.flush(SOON).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = AuditQuery { limit: Some(1000), after: after.take(), ..AuditQuery::default() };
        let page = audit.query(&query).await.unwrap();
        let ids = page.entries.iter().filter_map(|entry| entry.event());
        found.extend(ids.map(|event| event.decision_id[1..].parse::<usize>().unwrap()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    found.sort_unstable();
    found
}

fn segments(data: &std::path::Path) -> usize {
    directory::segments(&spool_of(data)).unwrap().len()
}

#[test]
fn a_record_is_kept_as_what_it_is_and_in_doubt_as_a_change() {
    assert_eq!(Class::of(&read(1, 0)), Class::Read);
    assert_eq!(Class::of(&change(1, 0)), Class::Change);
    assert_eq!(Class::of(&denial(1, 0)), Class::Denial);
    let with = |change: &dyn Fn(&mut Event)| {
        let mut event = read(1, 0);
        change(&mut event);
        Class::of(&event)
    };
    assert_eq!(with(&|event| event.privileges.push("trace.tag".into())), Class::Change);
    assert_eq!(with(&|event| event.decision = Verdict::Deny), Class::Denial);
    let policy = PolicyChange { action: "grant".into(), before: 0.into(), after: 1.into() };
    assert_eq!(
        with(&|event| {
            event.kind = EventKind::PolicyChange;
            event.policy_change = Some(policy.clone());
        }),
        Class::Change
    );
    assert_eq!(with(&|event| event.privileges.clear()), Class::Read);
    assert_eq!(
        with(&|event| {
            event.privileges.clear();
            event.request.method = "POST".into();
            event.operation = "experiment.search".into();
        }),
        Class::Read
    );
    assert_eq!(
        with(&|event| {
            event.privileges.clear();
            event.request.method = "POST".into();
            event.operation = "experiment.create".into();
        }),
        Class::Change
    );
}

async fn classes_go_each_in_its_time(url: Option<&str>) {
    let data = tempfile::tempdir().unwrap();
    let (audit, clock) = open(&config(), url, data.path(), 0).await;
    // Reads alone, then one change, then reads again, over several segments.
    for number in 0..300 {
        audit.sink().append(read(number, 0), Durability::Written).await.unwrap();
    }
    audit.sink().append(change(300, 0), Durability::Synced).await.unwrap();
    for number in 301..600 {
        audit.sink().append(read(number, 0), Durability::Written).await.unwrap();
    }
    let before = segments(data.path());
    assert!(before > 4);
    clock.advance(9 * DAY);
    prune(&audit, &config(), data.path(), &clock).await;
    assert_eq!((segments(data.path()), indexed(&audit).await.len()), (before, 600), "nothing is due");

    clock.advance(DAY);
    prune(&audit, &config(), data.path(), &clock).await;
    assert_eq!(indexed(&audit).await, [300], "the index lets each event go");
    let left = segments(data.path());
    assert!(
        1 < left && left < before,
        "the spool lets the segments before the change go: {left} of {before}"
    );
    let (index, spool, now) = (&audit.index, spool_of(data.path()), clock.now());
    let beside = verify_index(index, &spool, &config(), now, &mut |_| {}).await.unwrap();
    assert!(beside.expired > 0);
    let alone = verify_index_alone(index, "r", &Known::default(), &config(), &mut |_| {}).await.unwrap();
    assert_eq!((alone.expired, alone.first_seq), (599, 1));
    let by_trace = AuditQuery { trace_id: Some(format!("tr-{:032x}", 7)), ..AuditQuery::default() };
    assert!(audit.query(&by_trace).await.unwrap().entries.is_empty());
    let verified = verify(&spool_of(data.path()), Known::default(), &mut |_| {}).unwrap();
    assert!(verified.first_seq > 1 && verified.pruned_through == verified.first_seq - 1);

    clock.advance(90 * DAY);
    prune(&audit, &config(), data.path(), &clock).await;
    assert_eq!((segments(data.path()), indexed(&audit).await.len()), (1, 0));
    audit.close().await.unwrap();
    drop(audit);
    let spool = spool_of(data.path());
    // The published key, and a copy of the checkpoints, still say that what is left is what was written.
    let public_keys = vec![
        crate::audit::PublicKey::parse(&std::fs::read_to_string(spool.join(ledger::KEYS)).unwrap()).unwrap(),
    ];
    let known = Known {
        public_keys,
        checkpoints: ledger::read(&spool.join(ledger::CHECKPOINTS)).unwrap(),
        ..Known::default()
    };
    let verified = verify(&spool, known, &mut |_| {}).unwrap();
    assert!(verified.vouched_seq > 600 && verified.closed);
    let (again, _) = open(&config(), url, data.path(), 200).await;
    again.close().await.unwrap();
}

#[tokio::test]
async fn classes_go_each_in_its_time_on_sqlite() {
    classes_go_each_in_its_time(None).await;
}

#[tokio::test]
async fn classes_go_each_in_its_time_on_postgres() {
    let database = TestDatabase::create().await;
    classes_go_each_in_its_time(Some(&database.url)).await;
}

#[tokio::test]
async fn nothing_goes_under_a_legal_hold_or_without_a_retention_or_before_the_index_has_it() {
    let data = tempfile::tempdir().unwrap();
    let (audit, clock) = open(&config(), None, data.path(), 0).await;
    for number in 0..300 {
        let mut denial = denial(number, 0);
        denial.request.source_address = Some("192.0.2.1".into());
        audit.sink().append(denial, Durability::Written).await.unwrap();
    }
    let before = segments(data.path());
    clock.advance(10_000 * DAY);
    prune(&audit, &config(), data.path(), &clock).await;
    assert_eq!((segments(data.path()), indexed(&audit).await.len()), (before, 300), "denials are kept");
    let due = AuditConfig { retention_days_denials: Some(1), ..config() };
    let held = AuditConfig { legal_hold: Some("case 7".into()), keep_segments: false, ..due.clone() };
    prune(&audit, &held, data.path(), &clock).await;
    assert_eq!((segments(data.path()), indexed(&audit).await.len()), (before, 300));
    let spool = Arc::clone(&audit.spool);
    let changes_stay = AuditConfig { retention_days_changes: None, ..due.clone() };
    let mut pruner = Pruner::new(
        &changes_stay,
        &spool_of(data.path()),
        "r",
        spool,
        audit.index.clone(),
        Arc::new(clock.clone()),
    );
    pruner.prune(0).await.unwrap();
    assert_eq!(segments(data.path()), before, "the index, as far as is known, has nothing");
    let addresses = async || {
        let all = (UnixMillis(i64::MAX), "", "");
        audit.index.first_addresses(None, all, 10).await.unwrap().len()
    };
    prune(&audit, &changes_stay, data.path(), &clock).await;
    assert_eq!((segments(data.path()), indexed(&audit).await.len()), (1, 0));
    let all = audit.index.calls_by_person(UnixMillis(0), UnixMillis(DAY)).await.unwrap();
    assert_eq!((addresses().await, all.is_empty()), (1, false), "changes stay for ever, and so do counts");
    let every = AuditConfig { retention_days_changes: Some(20_000), ..due };
    prune(&audit, &every, data.path(), &clock).await;
    assert_eq!(addresses().await, 1, "not due yet");
    clock.advance(10_001 * DAY);
    prune(&audit, &every, data.path(), &clock).await;
    let all = audit.index.calls_by_person(UnixMillis(0), UnixMillis(DAY)).await.unwrap();
    assert_eq!((addresses().await, all.len()), (0, 0));
    audit.close().await.unwrap();
}

/// Replicas come and go; what is left of one is nobody else's to remove.
#[tokio::test]
async fn rows_of_a_replica_that_is_gone_go_too() {
    let database = TestDatabase::create().await;
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gone = AuditConfig { replica: Some("gone".into()), ..config() };
    let (audit, _) = open(&gone, Some(&database.url), first.path(), 0).await;
    audit.sink().append(read(1, 0), Durability::Synced).await.unwrap();
    audit.close().await.unwrap();
    let (audit, clock) = open(&config(), Some(&database.url), second.path(), 0).await;
    audit.sink().append(read(2, 5), Durability::Synced).await.unwrap();
    assert_eq!(indexed(&audit).await, [1, 2]);
    clock.advance(11 * DAY);
    prune(&audit, &config(), second.path(), &clock).await;
    assert_eq!(indexed(&audit).await, [2]);
    audit.close().await.unwrap();
}

#[tokio::test]
async fn whoever_removes_segments_himself_is_found() {
    let data = tempfile::tempdir().unwrap();
    let (audit, clock) = open(&config(), None, data.path(), 0).await;
    for number in 0..600 {
        audit
            .sink()
            .append(read(number, if number < 300 { 0 } else { 50 }), Durability::Written)
            .await
            .unwrap();
    }
    clock.advance(20 * DAY);
    prune(&audit, &config(), data.path(), &clock).await;
    audit.close().await.unwrap();
    let spool = spool_of(data.path());
    let left = directory::segments(&spool).unwrap();
    assert!(left.len() > 2);
    let pruned = verify(&spool, Known::default(), &mut |_| {}).unwrap().pruned_through;
    // One more than was said.
    std::fs::remove_file(spool.join(directory::segment_name(left[0]))).unwrap();
    match verify(&spool, Known::default(), &mut |_| {}) {
        Err(VerifyError::Fault(fault)) => {
            assert_eq!((fault.seq, fault.kind), (pruned + 1, FaultKind::StartMissing));
        }
        other => panic!("{other:?}"),
    }
}
