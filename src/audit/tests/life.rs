//! Appending, rolling, closing, failing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::fixture::{FailingFile, copy, event, spool, spool_on};
use crate::access::{AuditSink, Durability, Event};
use crate::audit::reader::ChainReader;
use crate::audit::record::{Position, RecordKind};
use crate::audit::{Known, verify};

const BIG: u64 = 64 << 20;

/// The decision ids of all events in a spool, in order.
fn decisions(path: &Path) -> Vec<String> {
    let mut reader = ChainReader::after(path, "r", Position::genesis("r"));
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if record.kind == RecordKind::Event {
            found.push(serde_json::from_slice::<Event>(record.payload).unwrap().decision_id);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_concurrent_appends_leave_a_gap_free_chain() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Arc::new(spool(directory.path(), 256 << 10).unwrap());
    let tasks: Vec<_> = (0..100)
        .map(|task| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for number in 0..100 {
                    let durability = if number % 50 == 0 { Durability::Synced } else { Durability::Written };
                    spool.append(event(task * 100 + number), durability).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    spool.close().await.unwrap();

    let verified = verify(directory.path(), Known { whole: true, ..Known::default() }, &mut |_| {}).unwrap();
    assert_eq!((verified.first_seq, verified.last_seq), (1, 10_001));
    assert!(verified.closed && verified.segments > 5, "{verified:?}");
    let found: BTreeSet<String> = decisions(directory.path()).into_iter().collect();
    assert_eq!(found.len(), 10_000);
}

#[tokio::test]
async fn a_chain_goes_on_over_clean_restarts() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let spool = spool(directory.path(), BIG).unwrap();
        assert!(spool.writable());
        spool.append(event(number), Durability::Synced).await.unwrap();
        spool.close().await.unwrap();
        assert!(!spool.writable());
        assert!(spool.append(event(9), Durability::Written).await.is_err());
    }
    let verified = verify(directory.path(), Known::default(), &mut |_| {}).unwrap();
    assert_eq!((verified.last_seq, verified.segments), (6, 1));
    assert!(verified.closed && verified.recoveries.is_empty());
}

/// A `kill -9` leaves the files as they are at that moment. So does a copy made while appends go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn whatever_was_acknowledged_before_a_kill_is_found_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Arc::new(spool(directory.path(), BIG).unwrap());
    let acknowledged = Arc::new(AtomicI64::new(-1));
    let stop = Arc::new(AtomicBool::new(false));
    let appender = tokio::spawn({
        let (spool, acknowledged, stop) = (Arc::clone(&spool), Arc::clone(&acknowledged), Arc::clone(&stop));
        async move {
            for number in 0.. {
                spool.append(event(number), Durability::Written).await.unwrap();
                acknowledged.store(number as i64, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
    });
    for _ in 0..5 {
        while acknowledged.load(Ordering::SeqCst) < 20 {
            tokio::task::yield_now().await;
        }
        let promised = acknowledged.load(Ordering::SeqCst);
        let killed = tempfile::tempdir().unwrap();
        copy(directory.path(), killed.path());
        let reopened = super::fixture::spool(killed.path(), BIG).unwrap();
        reopened.append(event(1_000_000), Durability::Synced).await.unwrap();
        reopened.close().await.unwrap();
        let verified = verify(killed.path(), Known::default(), &mut |_| {}).unwrap();
        assert_eq!(verified.recoveries.len(), 1, "the end that was not clean is on record");
        assert!(decisions(killed.path()).len() as i64 > promised + 1);
    }
    stop.store(true, Ordering::SeqCst);
    appender.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_calls_until_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let room = Arc::new(AtomicI64::new(3_000));
    let (real, disk) = (crate::audit::writer::files_in(path.clone()), Arc::clone(&room));
    let files = Box::new(move |open: crate::audit::writer::Open<'_>| {
        let file = Crowded { file: real(open)?, room: Arc::clone(&disk) };
        Ok(Arc::new(file) as Arc<dyn crate::audit::segment::SegmentFile>)
    });
    let spool = spool_on(&path, BIG, u64::MAX, files).unwrap();
    let mut written = 0;
    while spool.append(event(written), Durability::Synced).await.is_ok() {
        written += 1;
    }
    assert!((1..10).contains(&written));
    let error = spool.append(event(0), Durability::Written).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    room.store(1_000_000, Ordering::SeqCst);
    spool.append(event(written), Durability::Synced).await.unwrap();
    spool.close().await.unwrap();
    assert_eq!(decisions(&path).len(), written + 1, "a refused event leaves no gap and no piece");
}

/// A real file on a disk that has only so much room.
struct Crowded {
    file: Arc<dyn crate::audit::segment::SegmentFile>,
    room: Arc<AtomicI64>,
}

impl crate::audit::segment::SegmentFile for Crowded {
    fn write_all(&self, bytes: &[u8]) -> std::io::Result<()> {
        let length = i64::try_from(bytes.len()).unwrap();
        if self.room.load(Ordering::SeqCst) < length {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.room.fetch_sub(length, Ordering::SeqCst);
        self.file.write_all(bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }
}

#[tokio::test]
async fn a_failed_fsync_refuses_its_caller_and_every_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let files = Box::new(|_: crate::audit::writer::Open<'_>| {
        let file = FailingFile { room: AtomicI64::new(i64::MAX), syncs: AtomicI64::new(1) };
        Ok(Arc::new(file) as Arc<dyn crate::audit::segment::SegmentFile>)
    });
    let spool = spool_on(directory.path(), BIG, u64::MAX, files).unwrap();
    spool.append(event(0), Durability::Synced).await.unwrap();
    spool.append(event(1), Durability::Written).await.unwrap();
    assert!(spool.append(event(2), Durability::Synced).await.is_err());
    // The disk would take this one; nobody knows what it made of those before.
    assert!(spool.append(event(3), Durability::Written).await.is_err());
    assert!(!spool.writable());
}

#[tokio::test]
async fn a_segment_that_cannot_be_created_refuses_the_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let files = crate::audit::writer::files_in(path.clone());
    let opened = AtomicI64::new(0);
    let files = Box::new(move |open: crate::audit::writer::Open<'_>| {
        if opened.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        files(open)
    });
    let spool = spool_on(&path, 2_000, u64::MAX, files).unwrap();
    let mut written = 0;
    while spool.append(event(written), Durability::Synced).await.is_ok() {
        written += 1;
    }
    assert!((1..10).contains(&written));
    assert!(spool.append(event(0), Durability::Synced).await.is_err());
    assert_eq!(decisions(&path).len(), written, "what was acknowledged is there, and no more");
}

#[tokio::test]
async fn records_that_the_index_does_not_take_fill_the_spool_and_then_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let files = crate::audit::writer::files_in(directory.path().to_owned());
    let spool = spool_on(directory.path(), BIG, 3_000, files).unwrap();
    let mut written = 0;
    while spool.append(event(written), Durability::Written).await.is_ok() {
        written += 1;
    }
    assert!((1..10).contains(&written));
    let error = spool.append(event(0), Durability::Written).await.unwrap_err();
    assert!(error.to_string().contains("max_spool_bytes"), "{error}");
    // Unlike a broken disk this heals, as soon as the index takes records again.
    spool.state().shipped(written as u64, spool.state().waiting_bytes());
    assert!(spool.writable());
    spool.append(event(written), Durability::Written).await.unwrap();
    assert_eq!(decisions(directory.path()).len(), written + 1, "a refused event leaves no gap");
}

#[tokio::test]
async fn an_event_too_long_to_be_read_back_is_refused_alone() {
    let directory = tempfile::tempdir().unwrap();
    let spool = spool(directory.path(), BIG).unwrap();
    let mut long = event(0);
    long.reason = Some("x".repeat(crate::audit::record::LONGEST_PAYLOAD));
    assert!(spool.append(long, Durability::Written).await.is_err());
    spool.append(event(1), Durability::Written).await.unwrap();
}
