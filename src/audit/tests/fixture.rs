//! A spool in a temporary directory, with and without an index.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::access::{Event, EventId, EventKind, Outcome, RequestContext, Verdict};
use crate::audit::record::{Position, RecordKind, SegmentHeader, encode};
use crate::audit::segment::SegmentFile;
use crate::audit::spool::Spool;
use crate::audit::state::SpoolState;
use crate::audit::writer::{Beginning, OpenSegment};
use crate::audit::{Audit, AuditOpenError, directory, recover};
use crate::clock::{ManualClock, UnixMillis};
use crate::config::audit::AuditConfig;

pub fn event(number: usize) -> Event {
    Event {
        id: EventId(uuid::Uuid::from_u128(number as u128)),
        kind: EventKind::Complete,
        time: UnixMillis(1_000 + number as i64),
        principal: Some("user:ann".into()),
        proof: Some("token:tok_1".into()),
        actor: None,
        request: RequestContext {
            request_id: format!("r{number}"),
            method: "GET".into(),
            path: "/api/3.0/mlflow/traces/get".into(),
            ..RequestContext::default()
        },
        operation: "getTrace".into(),
        securables: vec!["experiment:7".into()],
        privileges: vec!["trace.read".into()],
        decision_id: format!("d{number}"),
        decision: Verdict::Allow,
        deciding_grants: vec![1],
        policy_version: 3,
        outcome: Outcome::Success,
        status: Some(200),
        reason: None,
        bytes_in: 0,
        bytes_out: 10,
        duration_us: 5,
        trace_ids: vec![format!("tr-{number:032x}")],
        sight: None,
        listed_trace_ids: Vec::new(),
        question: Default::default(),
        claimed: None,
        shadowed: Vec::new(),
        repeated: None,
        policy_change: None,
    }
}

/// A spool without index or shipper.
pub fn spool(path: &Path, segment_bytes: u64) -> Result<Spool, AuditOpenError> {
    spool_on(path, segment_bytes, u64::MAX, crate::audit::writer::files_in(path.to_owned()))
}

pub fn spool_on(
    path: &Path,
    segment_bytes: u64,
    max_waiting_bytes: u64,
    open_segment: OpenSegment,
) -> Result<Spool, AuditOpenError> {
    let claimed = directory::claim(path, Some("r"))?;
    let tail = recover::recover(path, "r", Position::genesis("r"))?;
    let state = Arc::new(SpoolState::new(tail.last.seq, 0, 0, max_waiting_bytes));
    let clock = Arc::new(ManualClock::at(1));
    let beginning = Beginning { claimed, tail, state, clock, segment_bytes, open_segment, signer: None };
    Ok(Spool::start(beginning)?)
}

pub async fn audit(data: &Path, change: impl FnOnce(&mut AuditConfig)) -> Result<Audit, AuditOpenError> {
    let mut config = AuditConfig { replica: Some("r".into()), ..AuditConfig::default() };
    change(&mut config);
    Audit::open(&config, None, data, Arc::new(ManualClock::at(1))).await
}

/// The spool's directory of an [`audit`].
pub fn spool_of(data: &Path) -> PathBuf {
    data.join("audit")
}

/// A closed spool of so many one-byte-different records, written directly, a new segment after each
/// `per_segment` records. Returns the bytes of each record by segment.
pub fn written(path: &Path, records: usize, per_segment: usize) -> Vec<(u64, Vec<Vec<u8>>)> {
    drop(directory::claim(path, Some("r")).unwrap());
    let mut last = Position::genesis("r");
    let mut segments = Vec::new();
    for number in 0..records {
        if number % per_segment == 0 {
            segments.push((last, Vec::new()));
        }
        let mut bytes = Vec::new();
        let payload = serde_json::to_vec(&event(number)).unwrap();
        encode(&mut bytes, RecordKind::Event, &payload, &mut last);
        segments.last_mut().unwrap().1.push(bytes);
    }
    for (before, records) in &segments {
        write_segment(path, *before, records);
    }
    segments.into_iter().map(|(before, records)| (before.seq + 1, records)).collect()
}

pub fn write_segment(path: &Path, before: Position, records: &[Vec<u8>]) {
    let header = SegmentHeader { first_seq: before.seq + 1, previous: before.hash, replica: "r".into() };
    let mut bytes = header.encode();
    bytes.extend(records.concat());
    std::fs::write(path.join(directory::segment_name(header.first_seq)), bytes).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A disk that takes so many bytes, or fails at so many fsyncs.
pub struct FailingFile {
    pub room: AtomicI64,
    pub syncs: AtomicI64,
}

impl SegmentFile for FailingFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let length = i64::try_from(bytes.len()).unwrap();
        if self.room.fetch_sub(length, Ordering::SeqCst) < length {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs.fetch_sub(1, Ordering::SeqCst) < 1 {
            return Err(io::Error::other("the disk is on fire"));
        }
        Ok(())
    }
}
