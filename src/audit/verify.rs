//! Checks a record offline and names the first record that is not what was written: a spool here, an
//! [export](export), what the [index](rows) holds.
//!
//! A hash chain shows any change to what is there, but not that its end was taken away at a border
//! between two records, nor that all of it was written anew. Those show against what somebody else
//! remembers: the [signatures](witness) of checkpoints, a mirror's copy of them, the last record that
//! the index took.
//!
//! ```text
//! audit record 812 (`00000000000000000001.seg`, byte 401233): record 813 stands in its place: a record was removed or moved
//! ```

mod export;
mod links;
mod rows;
mod witness;

use std::path::{Path, PathBuf};

use self::witness::Witness;
use super::checkpoint::Line;
use super::directory::{self, DirectoryError, segment_name};
use super::ledger;
use super::reader::{ChainFault, ChainReader, FaultKind, ReadError};
use super::record::Position;
use super::signing::PublicKey;

pub use self::export::{export, verify_export};
pub use self::rows::{IndexVerified, VerifyIndexError, verify_index, verify_index_alone};

/// What a sound record holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    pub replica: String,
    pub segments: usize,
    /// More than one if older segments were pruned; a checkpoint stands for them.
    pub first_seq: u64,
    pub last_seq: u64,
    /// The last record's hash, in hex.
    pub last_hash: String,
    /// Records that mark where the chain went on without a clean end.
    pub recoveries: Vec<u64>,
    /// Whether the last record is a clean end.
    pub closed: bool,
    /// Signed checkpoints among the records.
    pub checkpoints: u64,
    /// The last record that a trusted signature vouches for; 0 if none does. What comes after it could be
    /// cut off or written anew unseen.
    pub vouched_seq: u64,
    /// When it was signed, in milliseconds since 1970, by the signer's clock.
    pub vouched_time_ms: Option<i64>,
    /// Ids of the keys that signed, oldest first.
    pub keys: Vec<String>,
    /// The last record that was pruned on purpose; 0 if none was.
    pub pruned_through: u64,
    /// Of an export: records that the index had let go when it was made.
    pub absent: u64,
    /// Records right behind such a gap, to which no hash leads.
    pub unproven: u64,
}

/// What is known of a record from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A record that must be in the chain, as the index remembers it.
    pub position: Option<Position>,
    /// Whether the chain must be there from its first record on, as it is without retention.
    pub whole: bool,
    /// A copy of the file `checkpoints`, such as the mirror's.
    pub checkpoints: Vec<Line>,
    /// Keys that are trusted. If there are none, the first key in the record is taken at its word.
    pub public_keys: Vec<PublicKey>,
    /// Where there are several, the only replica to check.
    pub replica: Option<String>,
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub seq: u64,
    pub bytes: u64,
    pub total_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Fault(#[from] ChainFault),
    #[error("there is no audit record in `{0}`")]
    Nothing(PathBuf),
    #[error(
        "`{0}` does not begin as the export of a chain: one of chosen records (a filter, another format) cannot \
         be verified; export a whole period with `--format jsonl`"
    )]
    NoChain(PathBuf),
    #[error("{what}, line {line}: {problem}")]
    Checkpoints { what: String, line: usize, problem: FaultKind },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the audit record cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Fault(fault) => Self::Fault(fault),
            ReadError::Io(error) => Self::Io(error),
        }
    }
}

/// Reads a copy of the file `checkpoints`.
pub fn read_checkpoints(path: &Path) -> std::io::Result<Vec<Line>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() { ledger::read(&path.join(ledger::CHECKPOINTS)) } else { ledger::read(path) }
}

/// Checks every record of the spool in `directory`, telling `progress` how far it is now and then.
pub fn verify(
    directory: &Path,
    known: Known,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, VerifyError> {
    let nothing = || VerifyError::Nothing(directory.to_owned());
    let replica = directory::replica(directory)?.ok_or_else(nothing)?;
    let segments = directory::segments(directory)?;
    let first_seq = *segments.first().ok_or_else(nothing)?;
    let total_bytes = size(directory, &segments)?;
    let own = ledger::read(&directory.join(ledger::CHECKPOINTS))?;
    let mut reader = if known.whole {
        ChainReader::after(directory, &replica, Position::genesis(&replica))
    } else {
        ChainReader::at_segment(directory, &replica, first_seq)?
    };
    let first_seq = if known.whole { 1 } else { first_seq };
    let mut witness = Witness::new(&replica, first_seq, &known, &own)?;
    let mut read = Vec::new();
    check_known(&reader, known.position)?;
    let mut bytes = 0;
    loop {
        let before = reader.position();
        let Some(record) = reader.next()? else { break };
        bytes += super::record::encoded_len(record.payload.len());
        let seq = record.position.seq;
        let seen = witness.record(before, record);
        let (segment, _) = reader.place().unwrap_or_default();
        if read.last() != Some(&segment) {
            read.push(segment);
        }
        seen.map_err(|(seq, kind)| at(seq, &reader, kind))?;
        check_known(&reader, known.position)?;
        if seq.is_multiple_of(16_384) {
            progress(Progress { seq, bytes, total_bytes });
        }
    }
    let last = reader.position();
    if let Some((segment, _)) = reader.place().filter(|(segment, _)| read.last() != Some(segment)) {
        read.push(segment);
    }
    if let Some(stray) = segments.iter().find(|segment| !read.contains(segment)) {
        let kind = if *stray > last.seq { FaultKind::MissingSegment } else { FaultKind::Stray };
        let seq = (*stray).min(last.seq + 1);
        return Err(ChainFault { seq, segment: segment_name(*stray), offset: 0, kind }.into());
    }
    if let Some(known) = known.position.filter(|known| known.seq > last.seq) {
        return Err(reader.fault(FaultKind::Missing { known: known.seq }).into());
    }
    witness.end(last).map_err(|(seq, kind)| at(seq, &reader, kind))?;
    progress(Progress { seq: last.seq, bytes: total_bytes, total_bytes });
    Ok(witness.verified(segments.len(), last))
}

fn size(directory: &Path, segments: &[u64]) -> std::io::Result<u64> {
    let mut bytes = 0;
    for segment in segments {
        bytes += std::fs::metadata(directory.join(segment_name(*segment)))?.len();
    }
    Ok(bytes)
}

fn at(seq: u64, reader: &ChainReader, kind: FaultKind) -> ChainFault {
    ChainFault { seq, ..reader.fault(kind) }
}

fn check_known(reader: &ChainReader, known: Option<Position>) -> Result<(), ChainFault> {
    let last = reader.position();
    match known {
        Some(known) if known.seq == last.seq && known.hash != last.hash => {
            Err(at(last.seq, reader, FaultKind::Rewritten))
        }
        _ => Ok(()),
    }
}
