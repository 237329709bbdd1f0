//! Checks a whole spool offline and names the first record that is not what was written.
//!
//! A hash chain shows any change to what is there, but not that its end was taken away at a border
//! between two records, nor that all of it was written anew. Both show against a position that
//! somebody else remembers: the index keeps the last record it took.
//!
//! ```text
//! audit record 812 (`00000000000000000001.seg`, byte 401233): record 813 stands in its place: a record was removed or moved
//! ```

use std::path::Path;

use super::directory::{self, DirectoryError, segment_name};
use super::reader::{ChainFault, ChainReader, FaultKind, ReadError};
use super::record::{Position, RecordKind};

/// What a sound spool holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    pub replica: String,
    pub segments: usize,
    /// More than one if older segments were removed after the index took them.
    pub first_seq: u64,
    pub last_seq: u64,
    /// The last record's hash, in hex.
    pub last_hash: String,
    /// Records that mark where the chain went on without a clean end.
    pub recoveries: Vec<u64>,
    /// Whether the last record is a clean end.
    pub closed: bool,
}

/// What is known of a spool from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// A record that must be in the chain, as the index remembers it.
    pub position: Option<Position>,
    /// Whether the chain must be there from its first record on, as it is with `keep_segments`.
    pub whole: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Fault(#[from] ChainFault),
    #[error("there is no audit record in `{0}`")]
    Nothing(std::path::PathBuf),
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

/// Checks every record of the spool in `directory`, telling `progress` the seq reached now and then.
pub fn verify(
    directory: &Path,
    known: Known,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, VerifyError> {
    let nothing = || VerifyError::Nothing(directory.to_owned());
    let replica = directory::replica(directory)?.ok_or_else(nothing)?;
    let segments = directory::segments(directory)?;
    let first_seq = *segments.first().ok_or_else(nothing)?;
    let mut reader = if known.whole {
        ChainReader::after(directory, &replica, Position::genesis(&replica))
    } else {
        ChainReader::at_segment(directory, &replica, first_seq)?
    };
    let mut recoveries = Vec::new();
    let mut closed = false;
    let mut read = Vec::new();
    check_known(&reader, known.position)?;
    while let Some(record) = reader.next()? {
        closed = record.kind == RecordKind::Closed;
        let (segment, _) = reader.place().unwrap_or_default();
        if read.last() != Some(&segment) {
            read.push(segment);
        }
        if record.kind == RecordKind::Recovered {
            recoveries.push(record.seq);
        }
        check_known(&reader, known.position)?;
        if record.seq.is_multiple_of(10_000) {
            progress(record.seq);
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
    progress(last.seq);
    Ok(Verified {
        replica,
        segments: segments.len(),
        first_seq,
        last_seq: last.seq,
        last_hash: hex::encode(last.hash),
        recoveries,
        closed,
    })
}

fn check_known(reader: &ChainReader, known: Option<Position>) -> Result<(), ChainFault> {
    let last = reader.position();
    match known {
        Some(known) if known.seq == last.seq && known.hash != last.hash => {
            let mut fault = reader.fault(FaultKind::Rewritten);
            fault.seq = last.seq;
            Err(fault)
        }
        _ => Ok(()),
    }
}
