//! What the index holds, against the spool or by itself.
//!
//! Beside a spool every row must be the record with its number, and every record that the index took a
//! row, but for those whose time was over. Alone, the rows of a replica are a chain again: its hashes are
//! computed anew and held against the checkpoints and against the position that the index remembers.
//!
//! Either way, what questions are answered from (the columns of a row, the traces and securables of a
//! record, who got what of them) must be what the records say, and nothing more.

use std::path::Path;

use super::links::Links;
use super::witness::Witness;
use super::{Known, Progress, VerifyError};
use crate::access::Event;
use crate::audit::directory;
use crate::audit::reader::{ChainFault, ChainReader, FaultKind};
use crate::audit::record::{HASH, Position, RecordKind};
use crate::audit::retention::Retention;
use crate::audit::shipper;
use crate::clock::UnixMillis;
use crate::config::audit::AuditConfig;
use crate::store::audit_index::{AuditIndex, AuditIndexError, ChainRow, IndexPosition, IndexRow, Tally};

const BATCH: u32 = 2000;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IndexVerified {
    pub replica: String,
    /// Rows that are what was written.
    pub rows: u64,
    /// Records that have no row because their time was over.
    pub expired: u64,
    /// Rows right behind such a gap: no hash leads to them without the spool.
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
    #[error("the index holds nothing of replica `{0}`")]
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

/// A replica's rows in the order of its chain, a batch at a time, each batch held against what questions
/// are answered from.
struct Rows<'i> {
    index: &'i AuditIndex,
    replica: &'i str,
    batch: std::vec::IntoIter<ChainRow>,
    after: u64,
    /// How far the index was when this began: what comes later is not looked at.
    position: IndexPosition,
    tally: Tally,
}

impl<'i> Rows<'i> {
    async fn after(index: &'i AuditIndex, replica: &'i str, after: u64) -> Result<Self, VerifyIndexError> {
        let position = index.known_position(replica).await?;
        let position = position.ok_or_else(|| VerifyIndexError::Unknown(replica.to_owned()))?;
        let batch = Vec::new().into_iter();
        Ok(Self { index, replica, batch, after, position, tally: Tally::after(after) })
    }

    async fn next(
        &mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<ChainRow>, VerifyIndexError> {
        if let Some(row) = self.batch.next() {
            return Ok(Some(row));
        }
        let total_bytes = self.position.seq;
        progress(Progress { seq: self.after, bytes: self.after, total_bytes });
        let rows = self.index.chain_rows(self.replica, self.after, self.position.seq, BATCH).await?;
        self.after = rows.last().map_or(self.after, |row| row.seq);
        let indexed: Vec<IndexRow> = rows.iter().filter_map(indexed).collect();
        if let Some(seq) = self.index.misfit(self.replica, &indexed, &mut self.tally).await? {
            return Err(fault(seq, FaultKind::IndexDiffers).into());
        }
        self.batch = rows.into_iter();
        Ok(self.batch.next())
    }

    /// Whether there is more in the index than there were records.
    async fn end(self) -> Result<(), VerifyIndexError> {
        if let Some(seq) = self.index.surplus(self.replica, &self.tally, self.position.seq).await? {
            return Err(fault(seq, FaultKind::OnlyInIndex).into());
        }
        // In this order: a gateway may be adding to both, the position with the rows.
        let last = self.index.last_row(self.replica).await?.unwrap_or_default();
        let position = self.index.known_position(self.replica).await?;
        let position = position.ok_or_else(|| VerifyIndexError::Unknown(self.replica.to_owned()))?;
        if last > position.seq {
            return Err(fault(position.seq + 1, FaultKind::OnlyInIndex).into());
        }
        Ok(())
    }
}

/// A row as the shipper would have made it of the record.
fn indexed(row: &ChainRow) -> Option<IndexRow> {
    let hash = row.hash.as_deref().and_then(|hash| hash.try_into().ok()).unwrap_or([0; HASH]);
    Some(shipper::row(Position { seq: row.seq, hash }, RecordKind::of_index(&row.kind)?, row.json.as_bytes()))
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
    let mut rows = Rows::after(index, &replica, first_seq - 1).await?;
    let taken = rows.position.seq;
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
        let Position { seq, hash } = record.position;
        if seq > taken {
            break;
        }
        match row.take_if(|row| row.seq == seq) {
            Some(found) => {
                let same = found.json.as_bytes() == record.payload
                    && RecordKind::of_index(&found.kind) == Some(record.kind)
                    && found.hash.as_deref().is_none_or(|found| found == hash);
                if !same {
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
    rows.end().await?;
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
    let gaps_allowed = Retention::of(config).shortest().is_some();
    let mut rows = Rows::after(index, replica, 0).await?;
    let position = rows.position;
    let mut row = rows.next(progress).await?;
    // Filled again from a spool that was pruned, an index begins later.
    let first_seq = row.as_ref().filter(|_| gaps_allowed).map_or(1, |row| row.seq);
    let genesis = Position::genesis(replica);
    let witness = Witness::new(replica, first_seq, known, &[])?;
    let mut links = Links::new(witness, first_seq, (first_seq == 1).then_some(genesis.hash));
    let mut taken = 0;
    while let Some(found) = row {
        if gaps_allowed && found.seq > links.seq + 1 {
            links.skip(found.seq - 1);
        }
        let kind = RecordKind::of_index(&found.kind);
        links
            .take(found.seq, kind, found.json.as_bytes(), found.hash.as_deref())
            .map_err(|(seq, kind)| fault(seq, kind))?;
        if found.seq == position.seq && links.last.is_some_and(|last| last.hash != position.hash) {
            return Err(fault(links.witness.vouched() + 1, FaultKind::Rewritten).into());
        }
        taken += 1;
        row = rows.next(progress).await?;
    }
    if links.seq < position.seq && !gaps_allowed {
        return Err(fault(links.seq + 1, FaultKind::Missing { known: position.seq }).into());
    }
    // Retention takes events alone, never a checkpoint.
    links.witness.end_at(position.seq).map_err(|(seq, kind)| fault(seq, kind))?;
    links.witness.signed().map_err(|(seq, kind)| fault(seq, kind))?;
    rows.end().await?;
    Ok(IndexVerified {
        replica: replica.to_owned(),
        rows: taken - links.unproven,
        expired: links.absent + (position.seq - links.seq.min(position.seq)),
        unproven: links.unproven,
        first_seq,
        last_seq: position.seq,
        vouched_seq: links.witness.vouched(),
    })
}
