//! What the index holds, against the spool or by itself.
//!
//! Beside a spool every row must be the record with its number, and every record that the index took a
//! row, but for those whose time was over. Alone, the rows of a replica are a chain again: its hashes are
//! computed anew and held against the checkpoints and against the position that the index remembers.

use std::path::Path;

use super::witness::Witness;
use super::{Known, Progress, VerifyError};
use crate::access::Event;
use crate::audit::directory;
use crate::audit::reader::{ChainFault, ChainReader, FaultKind, Record};
use crate::audit::record::{HASH, Position, RecordKind, encode};
use crate::audit::retention::Retention;
use crate::clock::UnixMillis;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{AuditIndex, AuditIndexError, ChainRow, IndexPosition};

const BATCH: u32 = 2000;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IndexVerified {
    pub replica: String,
    /// Rows that are what was written.
    pub rows: u64,
    /// Records that have no row because their time was over.
    pub expired: u64,
    /// Rows behind such a gap and before the next checkpoint: no hash leads to them without the spool.
    pub unproven: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    /// The last record that a trusted signature vouches for; 0 if none does.
    pub vouched_seq: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyIndexError {
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Index(#[from] AuditIndexError),
    #[error("the index knows no replica `{0}`")]
    Unknown(String),
}

impl From<ChainFault> for VerifyIndexError {
    fn from(fault: ChainFault) -> Self {
        Self::Verify(fault.into())
    }
}

fn fault(seq: u64, kind: FaultKind) -> ChainFault {
    ChainFault { seq, segment: "index".to_owned(), offset: 0, kind }
}

/// How far the index is with a replica that it must know.
async fn taken(index: &AuditIndex, replica: &str) -> Result<IndexPosition, VerifyIndexError> {
    let known = index.taken(replica).await?;
    known.ok_or_else(|| VerifyIndexError::Unknown(replica.to_owned()))
}

/// A replica's rows in the order of its chain, a batch at a time.
struct Rows<'i> {
    index: &'i AuditIndex,
    replica: &'i str,
    batch: std::vec::IntoIter<ChainRow>,
    after: u64,
    total: u64,
}

impl<'i> Rows<'i> {
    fn after(index: &'i AuditIndex, replica: &'i str, after: u64, total: u64) -> Self {
        Self { index, replica, batch: Vec::new().into_iter(), after, total }
    }

    async fn next(
        &mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<ChainRow>, VerifyIndexError> {
        if let Some(row) = self.batch.next() {
            return Ok(Some(row));
        }
        progress(Progress { seq: self.after, bytes: self.after, total_bytes: self.total });
        let rows = self.index.chain_rows(self.replica, self.after, None, BATCH).await?;
        self.after = rows.last().map_or(self.after, |row| row.seq);
        self.batch = rows.into_iter();
        Ok(self.batch.next())
    }
}

/// Holds every row of a replica against its spool, which must be sound: [`verify`](super::verify) it first.
pub async fn verify_index(
    index: &AuditIndex,
    directory: &Path,
    config: &AuditConfig,
    now: UnixMillis,
    progress: &mut dyn FnMut(Progress),
) -> Result<IndexVerified, VerifyIndexError> {
    let nothing = || VerifyError::Nothing(directory.to_owned());
    let read = |error| VerifyError::Directory(error);
    let replica = directory::replica(directory).map_err(read)?.ok_or_else(nothing)?;
    let segments = directory::segments(directory).map_err(VerifyError::Io)?;
    let first_seq = segments.first().copied().ok_or_else(nothing)?;
    let mut reader = ChainReader::at_segment(directory, &replica, first_seq).map_err(VerifyError::from)?;
    let taken = taken(index, &replica).await?.seq;
    let mut rows = Rows::after(index, &replica, first_seq - 1, taken);
    let retention = Retention::of(config);
    let mut verified = IndexVerified {
        replica: replica.clone(),
        rows: 0,
        expired: 0,
        unproven: 0,
        first_seq,
        last_seq: taken,
        vouched_seq: 0,
    };
    let mut row = rows.next(progress).await?;
    while let Some(record) = reader.next().map_err(VerifyError::from)? {
        let seq = record.position.seq;
        if seq > taken {
            break;
        }
        match row.take_if(|row| row.seq == seq) {
            Some(found) => {
                if found.json.as_bytes() != record.payload || kind_of(&found) != Some(record.kind) {
                    return Err(fault(seq, FaultKind::IndexDiffers).into());
                }
                verified.rows += 1;
                row = rows.next(progress).await?;
            }
            None => {
                let event = serde_json::from_slice::<Event>(record.payload).ok();
                let due = event
                    .filter(|_| record.kind == RecordKind::Event)
                    .and_then(|event| retention.due(&event));
                if due.is_none_or(|due| due > now) {
                    return Err(fault(seq, FaultKind::NotInIndex).into());
                }
                verified.expired += 1;
            }
        }
    }
    if let Some(row) = row {
        return Err(fault(row.seq, FaultKind::OnlyInIndex).into());
    }
    if reader.position().seq < taken {
        return Err(fault(reader.position().seq + 1, FaultKind::Missing { known: taken }).into());
    }
    Ok(verified)
}

/// Checks the rows of a replica by themselves, as where its spool is gone.
pub async fn verify_index_alone(
    index: &AuditIndex,
    replica: &str,
    known: &Known,
    config: &AuditConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<IndexVerified, VerifyIndexError> {
    let genesis = Position::genesis(replica);
    let position = taken(index, replica).await?;
    let gaps_allowed = Retention::of(config).shortest().is_some();
    let mut rows = Rows::after(index, replica, 0, position.seq);
    let mut witness = Witness::new(replica, 1, known, &[])?;
    let mut last = Some(genesis);
    let mut seq = 0;
    let mut verified = IndexVerified {
        replica: replica.to_owned(),
        rows: 0,
        expired: 0,
        unproven: 0,
        first_seq: 0,
        last_seq: position.seq,
        vouched_seq: 0,
    };
    let mut encoded = Vec::new();
    while let Some(row) = rows.next(progress).await? {
        if row.seq != seq + 1 {
            if !gaps_allowed {
                return Err(fault(seq + 1, FaultKind::Removed { found: row.seq }).into());
            }
            verified.expired += row.seq - seq - 1;
            last = None;
        }
        seq = row.seq;
        if verified.first_seq == 0 {
            verified.first_seq = seq;
        }
        let kind = kind_of(&row).ok_or_else(|| fault(seq, FaultKind::Changed))?;
        let payload = row.json.as_bytes();
        if last.is_none() && kind == RecordKind::Checkpoint {
            // What it says of the record before is believed if its signature is sound, which is seen next.
            last = hash_before(payload).map(|hash| Position { seq: seq - 1, hash });
        }
        let Some(before) = last else {
            verified.unproven += 1;
            continue;
        };
        let mut here = before;
        encoded.clear();
        encode(&mut encoded, kind, payload, &mut here);
        witness
            .record_with_gaps(before, Record { kind, payload, position: here }, gaps_allowed)
            .map_err(|(seq, kind)| fault(seq, kind))?;
        if seq == position.seq && here.hash != position.hash {
            let first = witness.vouched() + 1;
            return Err(fault(first, FaultKind::Rewritten).into());
        }
        verified.rows += 1;
        last = Some(here);
    }
    if seq < position.seq && !gaps_allowed {
        return Err(fault(seq + 1, FaultKind::Missing { known: position.seq }).into());
    }
    if seq > position.seq {
        return Err(fault(position.seq + 1, FaultKind::OnlyInIndex).into());
    }
    if !gaps_allowed {
        witness.end_at(position.seq).map_err(|(seq, kind)| fault(seq, kind))?;
    }
    witness.signed().map_err(|(seq, kind)| fault(seq, kind))?;
    verified.vouched_seq = witness.vouched();
    Ok(verified)
}

/// The kind of record that a row was.
fn kind_of(row: &ChainRow) -> Option<RecordKind> {
    match row.kind.as_str() {
        "begin" | "returned" | "complete" | "policy_change" | "unreadable" => Some(RecordKind::Event),
        name => RecordKind::from_name(name),
    }
}

fn hash_before(payload: &[u8]) -> Option<[u8; HASH]> {
    let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
    hex::decode(payload.get("last_hash")?.as_str()?).ok()?.try_into().ok()
}
