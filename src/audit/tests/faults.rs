//! Disks that lose what was not forced to them, disks that fill up, clocks that go back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::fixture::{audit, event, spool_of, spool_on};
use crate::access::{AuditSink, Durability, Event};
use crate::audit::reader::ChainReader;
use crate::audit::record::{Position, RecordKind};
use crate::audit::segment::SegmentFile;
use crate::audit::spool::Spool;
use crate::audit::writer::{Open, OpenSegment};
use crate::audit::{Audit, Known, directory, verify};
use crate::clock::ManualClock;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::AuditQuery;

const SEGMENT: u64 = 32 << 10;

/// A disk that knows what was forced to it.
#[derive(Default)]
struct Disk {
    segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    /// Bytes that it still takes.
    room: AtomicI64,
    syncs_fail: AtomicBool,
}

struct Segment {
    disk: Arc<Disk>,
    file: File,
    written: AtomicU64,
    synced: AtomicU64,
}

impl SegmentFile for Segment {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as i64;
        let room = self.disk.room.fetch_sub(length, Ordering::SeqCst).max(0);
        let taken = length.min(room) as usize;
        SegmentFile::write_all(&self.file, &bytes[..taken])?;
        self.written.fetch_add(taken as u64, Ordering::SeqCst);
        // Nor can it be cut off again.
        if taken < bytes.len() { Err(io::Error::other("no space left")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.syncs_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        let written = self.written.load(Ordering::SeqCst);
        SegmentFile::sync(&self.file)?;
        self.synced.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }
}

impl Disk {
    fn new(room: i64) -> Arc<Self> {
        Arc::new(Self { room: AtomicI64::new(room), ..Self::default() })
    }

    fn files(self: &Arc<Self>, path: &Path) -> OpenSegment {
        let (disk, path) = (Arc::clone(self), path.to_owned());
        Box::new(move |open| {
            let (first_seq, file) = match open {
                Open::New(header) => (header.first_seq, directory::create_segment(&path, header)?),
                Open::Existing { first_seq } => (first_seq, directory::open_segment(&path, first_seq)?),
            };
            let length = file.metadata()?.len();
            let (written, synced) = (AtomicU64::new(length), AtomicU64::new(length));
            let segment = Arc::new(Segment { disk: Arc::clone(&disk), file, written, synced });
            disk.segments.lock().insert(first_seq, Arc::clone(&segment));
            Ok(segment as Arc<dyn SegmentFile>)
        })
    }

    /// The directory as a power cut leaves it: of what was not forced to the disk any part is there, and
    /// any of that may be damaged.
    fn after_power_loss(&self, from: &Path, to: &Path, chance: &mut StdRng) {
        let segments = self.segments.lock().clone();
        let synced: BTreeMap<String, u64> = segments
            .iter()
            .map(|(first_seq, segment)| {
                (directory::segment_name(*first_seq), segment.synced.load(Ordering::SeqCst))
            })
            .collect();
        let newest = synced.keys().next_back().cloned().unwrap_or_default();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            let mut bytes = match std::fs::read(from.join(&name)) {
                // A temporary file got its name between the listing and this.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.unwrap(),
            };
            if let Some(synced) = synced.get(name.to_str().unwrap()) {
                let safe = *synced as usize;
                bytes.truncate(chance.random_range(safe..=bytes.len()));
                for _ in 0..chance.random_range(0..3) {
                    if bytes.len() > safe {
                        let at = chance.random_range(safe..bytes.len());
                        bytes[at] = chance.random();
                    }
                }
            } else if name.to_str().unwrap().ends_with(".seg") && name.to_str().unwrap() > newest.as_str() {
                // Made after the picture of the disk was taken: it was not there yet.
                continue;
            }
            std::fs::write(to.join(&name), bytes).unwrap();
        }
    }
}

fn decisions(path: &Path) -> BTreeSet<String> {
    let mut reader = ChainReader::after(path, "r", Position::genesis("r"));
    let mut found = BTreeSet::new();
    while let Some(record) = reader.next().unwrap() {
        if record.kind == RecordKind::Event {
            let event: Event = serde_json::from_slice(record.payload).unwrap();
            assert!(found.insert(event.decision_id), "twice in the record");
        }
    }
    found
}

/// Appends from many tasks until told; notes what was acknowledged as on the disk.
struct Load {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(spool: &Arc<Spool>, from: usize) -> Self {
        let (acknowledged, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let tasks = (0..8)
            .map(|task| {
                let (spool, stop) = (Arc::clone(spool), Arc::clone(&stop));
                let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::clone(&acknowledged);
                tokio::spawn(async move {
                    for number in 0.. {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let durability =
                            if number % 3 == 0 { Durability::Synced } else { Durability::Written };
                        let event = event(from + number * 8 + task);
                        let decision = event.decision_id.clone();
                        if spool.append(event, durability).await.is_err() {
                            return;
                        }
                        if durability == Durability::Synced {
                            acknowledged.lock().insert(decision);
                        }
                    }
                })
            })
            .collect();
        Self { acknowledged, stop, tasks }
    }

    async fn reaches(&self, count: usize) {
        while self.acknowledged.lock().len() < count {
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_power_cut_takes_nothing_that_was_acknowledged_as_on_the_disk() {
    let mut chance = StdRng::seed_from_u64(7);
    let mut promised: BTreeSet<String> = BTreeSet::new();
    let mut directories = vec![tempfile::tempdir().unwrap()];
    let mut recoveries = 0;
    // Each round goes on where the power went in the one before.
    for round in 0..12 {
        let path: PathBuf = directories.last().unwrap().path().to_owned();
        let disk = Disk::new(i64::MAX);
        let spool = Arc::new(spool_on(&path, SEGMENT, u64::MAX, disk.files(&path)).unwrap());
        let load = Load::on(&spool, (round + 1) * 1_000_000);
        load.reaches(10 + 13 * round).await;
        let acknowledged = load.acknowledged.lock().clone();
        let after = tempfile::tempdir().unwrap();
        disk.after_power_loss(&path, after.path(), &mut chance);
        load.end().await;
        promised.extend(acknowledged);
        directories.push(after);

        let path = directories.last().unwrap().path();
        drop(spool_on(path, SEGMENT, u64::MAX, crate::audit::writer::files_in(path.to_owned())).unwrap());
        let verified = verify(path, Known { whole: true, ..Known::default() }, &mut |_| {}).unwrap();
        assert!(verified.recoveries.len() > recoveries, "a power cut is on record");
        recoveries = verified.recoveries.len();
        let found = decisions(path);
        assert!(promised.is_subset(&found), "round {round} lost {:?}", promised.difference(&found).next());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_disk_that_fills_up_refuses_and_after_a_restart_all_that_was_acknowledged_is_indexed_once() {
    for room in [3_000, 20_001, 100_777] {
        let data = tempfile::tempdir().unwrap();
        let path = spool_of(data.path());
        std::fs::create_dir(&path).unwrap();
        let disk = Disk::new(room);
        let spool = Arc::new(spool_on(&path, SEGMENT, u64::MAX, disk.files(&path)).unwrap());
        let load = Load::on(&spool, 0);
        // Each task ends with its first refusal.
        while spool.writable() {
            tokio::task::yield_now().await;
        }
        let acknowledged = Arc::clone(&load.acknowledged);
        load.end().await;
        disk.room.store(i64::MAX, Ordering::SeqCst);
        assert!(spool.append(event(9), Durability::Written).await.is_err(), "until a restart");
        drop(spool);

        let running = audit(data.path(), |config| config.segment_bytes = 64 << 10).await.unwrap();
        running.sink().append(event(9_999_999), Durability::Synced).await.unwrap();
        let acknowledged = acknowledged.lock().clone();
        assert_indexed_once(&running, &path, &acknowledged).await;
        running.close().await.unwrap();
        let verified = verify(&path, Known { whole: true, ..Known::default() }, &mut |_| {}).unwrap();
        assert_eq!(verified.recoveries.len(), 1, "what was half written was cut off, and said so");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_fsync_that_fails_under_load_acknowledges_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(i64::MAX);
    let spool =
        Arc::new(spool_on(directory.path(), SEGMENT, u64::MAX, disk.files(directory.path())).unwrap());
    let load = Load::on(&spool, 0);
    load.reaches(50).await;
    disk.syncs_fail.store(true, Ordering::SeqCst);
    while spool.writable() {
        tokio::task::yield_now().await;
    }
    let acknowledged = Arc::clone(&load.acknowledged);
    load.end().await;
    assert!(spool.append(event(9_999_999), Durability::Written).await.is_err());
    let after = tempfile::tempdir().unwrap();
    disk.after_power_loss(directory.path(), after.path(), &mut StdRng::seed_from_u64(3));
    let again = super::fixture::spool(after.path(), SEGMENT).unwrap();
    again.close().await.unwrap();
    assert!(acknowledged.lock().is_subset(&decisions(after.path())));
}

async fn assert_indexed_once(running: &Audit, path: &Path, acknowledged: &BTreeSet<String>) {
    running.flush(Duration::from_secs(60)).await.unwrap();
    let (mut seqs, mut indexed, mut after) = (BTreeSet::new(), BTreeSet::new(), None);
    loop {
        let query = AuditQuery { limit: Some(1000), after: after.take(), ..AuditQuery::default() };
        let page = running.query(&query).await.unwrap();
        for entry in page.entries {
            assert!(seqs.insert(entry.seq), "record {} is there twice", entry.seq);
            indexed.extend(entry.event().map(|event| event.decision_id));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seqs.len() as u64, *seqs.last().unwrap(), "the index has no hole");
    assert_eq!(indexed, decisions(path));
    assert!(acknowledged.is_subset(&indexed));
}

/// Order is by number, never by time.
#[tokio::test]
async fn a_clock_that_goes_back_changes_neither_order_nor_signatures() {
    let data = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000_000_000_000);
    let config = AuditConfig { replica: Some("r".into()), segment_bytes: 64 << 10, ..AuditConfig::default() };
    let open = || Audit::open(&config, None, data.path(), Arc::new(clock.clone()));
    let running = open().await.unwrap();
    for number in 0..300_usize {
        // An hour back each time, and once a day forth.
        clock.advance(if number % 30 == 29 { 86_400_000 } else { -3_600_000 });
        let mut event = event(number);
        event.time = crate::clock::Clock::now(&clock);
        running.sink().append(event, Durability::Written).await.unwrap();
        if number % 20 == 0 {
            running.checkpoint().await.unwrap();
        }
    }
    running.close().await.unwrap();
    drop(running);
    clock.advance(-40 * 86_400_000);
    let running = open().await.unwrap();
    running.sink().append(event(300), Durability::Synced).await.unwrap();
    running.checkpoint().await.unwrap();
    assert_indexed_once(&running, &spool_of(data.path()), &BTreeSet::new()).await;
    running.close().await.unwrap();
    let verified = verify(&spool_of(data.path()), Known::default(), &mut |_| {}).unwrap();
    assert!(verified.vouched_seq == verified.last_seq - 2 && verified.checkpoints > 15, "{verified:?}");
    let mut reader = ChainReader::after(&spool_of(data.path()), "r", Position::genesis("r"));
    let mut order = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if record.kind == RecordKind::Event {
            order.push(serde_json::from_slice::<Event>(record.payload).unwrap().decision_id);
        }
    }
    assert_eq!(order, (0..=300).map(|number| format!("d{number}")).collect::<Vec<_>>());
}
