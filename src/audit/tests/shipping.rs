//! From the spool to the index and back out as answers.

use std::time::Duration;

use super::fixture::{audit, event, spool_of};
use crate::access::{Durability, EventKind, Outcome, Verdict};
use crate::audit::{Known, directory, fold_calls, known_to_index, verify};
use crate::config::audit::AuditConfig;
use crate::store::audit_index::AuditQuery;
use crate::store::test_postgres::TestDatabase;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_was_appended_is_found_right_after_a_flush() {
    let data = tempfile::tempdir().unwrap();
    let audit = audit(data.path(), |_| {}).await.unwrap();
    for number in 0..3 {
        audit.sink().append(event(number), Durability::Written).await.unwrap();
    }
    audit.flush(SOON).await.unwrap();
    assert_eq!((audit.backlog(), audit.backlog_bytes()), (0, 0));
    let who_saw = AuditQuery {
        trace_id: Some(format!("tr-{:032x}", 1)),
        decision: Some(Verdict::Allow),
        ..AuditQuery::default()
    };
    let page = audit.query(&who_saw).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].event().unwrap(), event(1));
    assert_eq!(page.entries[0].to_json()["principal"], "user:ann");
    audit.close().await.unwrap();
}

#[tokio::test]
async fn restarts_clean_or_not_neither_double_nor_lose_a_record() {
    let data = tempfile::tempdir().unwrap();
    let mut appended = 0;
    for restart in 0..6 {
        let audit = audit(data.path(), |config| config.segment_bytes = 64 << 10).await.unwrap();
        for _ in 0..150 {
            audit.sink().append(event(appended), Durability::Written).await.unwrap();
            appended += 1;
        }
        match restart % 3 {
            0 => audit.close().await.unwrap(),
            1 => audit.flush(SOON).await.unwrap(),
            _ => {}
        }
        drop(audit); // in two of three cases without an end; the aborted task lets the lock go
        while directory::claim(&spool_of(data.path()), None).is_err() {
            tokio::task::yield_now().await;
        }
    }
    let audit = audit(data.path(), |_| {}).await.unwrap();
    audit.flush(SOON).await.unwrap();
    let (mut seqs, mut events, mut after) = (Vec::new(), 0, None);
    loop {
        let query = AuditQuery { limit: Some(1000), after: after.take(), ..AuditQuery::default() };
        let page = audit.query(&query).await.unwrap();
        seqs.extend(page.entries.iter().map(|entry| entry.seq));
        events += page.entries.iter().filter(|entry| entry.event().is_some()).count();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    seqs.sort_unstable();
    let last = seqs.len() as u64;
    assert_eq!((events, seqs), (900, (1..=last).collect::<Vec<u64>>()));
    audit.close().await.unwrap();
    let config = AuditConfig::default();
    let position = known_to_index(&config, None, data.path()).await.unwrap();
    let known = Known { position, whole: true, ..Known::default() };
    let verified = verify(&spool_of(data.path()), known, &mut |_| {}).unwrap();
    // A last checkpoint and the end.
    assert_eq!((verified.last_seq, verified.vouched_seq), (last + 2, last));
    assert_eq!(position.unwrap().seq, last + 2);
    assert_eq!(verified.recoveries.len(), 4);
}

#[tokio::test]
async fn an_index_that_was_thrown_away_is_filled_again() {
    let data = tempfile::tempdir().unwrap();
    let first = audit(data.path(), |_| {}).await.unwrap();
    for number in 0..30 {
        first.sink().append(event(number), Durability::Written).await.unwrap();
    }
    first.close().await.unwrap();
    drop(first);
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(name));
    }
    let second = audit(data.path(), |_| {}).await.unwrap();
    second.flush(SOON).await.unwrap();
    let page = second.query(&AuditQuery::default()).await.unwrap();
    assert_eq!(page.entries.len(), 34, "and a key, two checkpoints, an end");
    second.close().await.unwrap();
}

#[tokio::test]
async fn shipped_segments_go_if_they_need_not_stay() {
    let data = tempfile::tempdir().unwrap();
    let change = |config: &mut AuditConfig| {
        config.segment_bytes = 64 << 10;
        config.keep_segments = false;
    };
    let first = audit(data.path(), change).await.unwrap();
    for number in 0..400 {
        first.sink().append(event(number), Durability::Written).await.unwrap();
    }
    first.flush(SOON).await.unwrap();
    while directory::segments(&spool_of(data.path())).unwrap().len() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.close().await.unwrap();
    drop(first);
    let second = audit(data.path(), change).await.unwrap();
    second.sink().append(event(400), Durability::Written).await.unwrap();
    second.flush(SOON).await.unwrap();
    let page = second.query(&AuditQuery { limit: Some(1000), ..AuditQuery::default() }).await.unwrap();
    assert_eq!(page.entries.iter().filter(|entry| entry.event().is_some()).count(), 401);
    second.close().await.unwrap();
    let verified = verify(&spool_of(data.path()), Known::default(), &mut |_| {}).unwrap();
    assert!(verified.first_seq > 1 && verified.pruned_through == verified.first_seq - 1, "{verified:?}");
}

#[tokio::test]
async fn the_records_of_one_call_fold_into_one() {
    let data = tempfile::tempdir().unwrap();
    let audit = audit(data.path(), |_| {}).await.unwrap();
    let record = |number: usize, kind, outcome| {
        let mut event = event(number);
        event.decision_id = "one".into();
        (event.kind, event.outcome) = (kind, outcome);
        if outcome == Outcome::Pending {
            event.status = None;
        }
        event
    };
    for event in [
        record(1, EventKind::Begin, Outcome::Pending),
        record(2, EventKind::Returned, Outcome::Pending),
        record(3, EventKind::Complete, Outcome::Interrupted),
        event(4),
    ] {
        audit.sink().append(event, Durability::Written).await.unwrap();
    }
    audit.flush(SOON).await.unwrap();
    let page = audit.query(&AuditQuery::default()).await.unwrap();
    let calls = fold_calls(page.entries.iter().filter_map(|entry| entry.event()));
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].outcome, Outcome::Interrupted, "the last word, though pages are newest first");
    assert_eq!((calls[1].status, calls[1].trace_ids.len(), calls[1].records), (Some(200), 3, 3));
    assert_eq!(calls[1].time.0, 1_001);

    let one = AuditQuery { decision_id: Some("one".into()), ..AuditQuery::default() };
    assert_eq!(audit.query(&one).await.unwrap().entries.len(), 3);
    let unfinished = fold_calls([record(1, EventKind::Begin, Outcome::Pending)]);
    assert_eq!(unfinished[0].outcome, Outcome::Pending);
    audit.close().await.unwrap();
}

#[tokio::test]
async fn an_index_that_fails_holds_up_no_call_and_catches_up() {
    let database = TestDatabase::create().await;
    let data = tempfile::tempdir().unwrap();
    let config = AuditConfig { replica: Some("r".into()), ..AuditConfig::default() };
    let clock = std::sync::Arc::new(crate::clock::ManualClock::at(1));
    let audit = crate::audit::Audit::open(&config, Some(&database.url), data.path(), clock).await.unwrap();
    audit.sink().append(event(0), Durability::Synced).await.unwrap();
    audit.flush(SOON).await.unwrap();

    audit.index.set_broken(true).await;
    for number in 1..4 {
        audit.sink().append(event(number), Durability::Synced).await.unwrap();
    }
    assert!(audit.flush(Duration::from_millis(300)).await.is_err());
    assert_eq!(audit.backlog(), 3);
    assert!(audit.backlog_bytes() > 0 && audit.sink().writable());

    audit.index.set_broken(false).await;
    audit.flush(SOON).await.unwrap();
    let entries = audit.query(&AuditQuery::default()).await.unwrap().entries;
    assert_eq!(entries.iter().filter(|entry| entry.event().is_some()).count(), 4);
    assert_eq!((audit.backlog(), audit.backlog_bytes()), (0, 0));
    audit.close().await.unwrap();
}
