//! Reads a chain from a record on, over segments, and checks each record against the one before.
//!
//! Recovery, the shipper and `audit verify` all read through here: what one of them takes for sound,
//! the others do.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::directory::segment_name;
use super::record::{HASH, LONGEST_PAYLOAD, Position, RECORD_HEADER, RecordKind, SegmentHeader, chain};

/// Read at once: large enough that calls do not count, small enough to stay in the processor's cache.
const CHUNK: usize = 256 << 10;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    #[error("its bytes, or those of the record before, are not the ones written")]
    Changed,
    #[error("record {found} stands in its place: a record was removed or moved")]
    Removed { found: u64 },
    #[error("record {found} stands in its place: a record was inserted, repeated or moved")]
    Inserted { found: u64 },
    #[error("it is not whole: the end was cut off, or a crash interrupted its writing")]
    Incomplete,
    #[error("the segment's header was changed")]
    Header,
    #[error("the segment belongs to replica `{found}`")]
    OtherReplica { found: String },
    #[error("the segment does not continue the chain")]
    Detached,
    #[error("the segment that holds it is missing")]
    MissingSegment,
    #[error("a segment that is no part of the chain claims it")]
    Stray,
    #[error("it is missing: the record is known to reach {known}")]
    Missing { known: u64 },
    #[error("it differs from the record known to have been written: the chain was written anew")]
    Rewritten,
    #[error("records from here to {to} are not those that checkpoint {number} vouches for")]
    NotAsSigned { number: u64, to: u64 },
    #[error("it is no sound checkpoint: {0}")]
    Checkpoint(&'static str),
    #[error("it names a signing key that nothing vouches for: {0}")]
    Key(String),
    #[error("checkpoint {number} stands in the place of checkpoint {expected}")]
    CheckpointOrder { number: u64, expected: u64 },
    #[error("no checkpoint is signed by the public key given")]
    NotSigned,
    #[error("the records before were removed, and no record says that this was on purpose")]
    StartMissing,
    #[error("the index has it otherwise, or as another kind of record")]
    IndexDiffers,
    #[error("the index holds it and the spool does not")]
    OnlyInIndex,
    #[error("the index lacks it")]
    NotInIndex,
    #[error("the line is no exported record")]
    Line,
}

/// The first record at which a chain is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit record {seq} (`{segment}`, byte {offset}): {kind}")]
pub struct ChainFault {
    pub seq: u64,
    pub segment: String,
    pub offset: u64,
    pub kind: FaultKind,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Fault(#[from] ChainFault),
    #[error("the audit record cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A record that follows from the one before it. The payload lies in the reader's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    pub kind: RecordKind,
    pub payload: &'r [u8],
    pub position: Position,
}

pub struct ChainReader {
    directory: PathBuf,
    replica: String,
    last: Position,
    open: Option<OpenSegment>,
}

struct OpenSegment {
    first_seq: u64,
    /// In the file, of what is at `start` in the buffer.
    offset: u64,
    file: File,
    buffer: Vec<u8>,
    start: usize,
}

impl OpenSegment {
    /// The next bytes, `wanted` of them or what is left of the file.
    fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.start < wanted {
            self.buffer.drain(..self.start);
            self.start = 0;
            while self.buffer.len() < wanted {
                let missing = (wanted - self.buffer.len()).max(CHUNK) as u64;
                if (&mut self.file).take(missing).read_to_end(&mut self.buffer)? == 0 {
                    break;
                }
            }
        }
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        Ok(rest.get(..wanted).unwrap_or(rest))
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }
}

impl ChainReader {
    /// Reads what follows `after`, which must be the end of a segment or the start of the chain.
    pub fn after(directory: &Path, replica: &str, after: Position) -> Self {
        Self { directory: directory.to_owned(), replica: replica.to_owned(), last: after, open: None }
    }

    /// Reads from the start of a segment, taking its word for the hash before it.
    pub fn at_segment(directory: &Path, replica: &str, first_seq: u64) -> Result<Self, ReadError> {
        let seq = first_seq.saturating_sub(1);
        let mut reader = Self::after(directory, replica, Position { seq, hash: [0; HASH] });
        let (header, segment) = reader.open_next()?.ok_or_else(|| reader.fault(FaultKind::MissingSegment))?;
        reader.last.hash = header.previous;
        // The first record's hash covers `previous`, and the genesis is known: a changed one is found.
        if first_seq == 1 && reader.last != Position::genesis(replica) {
            return Err(reader.fault_at(first_seq, 0, FaultKind::Detached).into());
        }
        reader.open = Some(segment);
        Ok(reader)
    }

    /// The last record read.
    pub fn position(&self) -> Position {
        self.last
    }

    /// The segment being read, and the offset in it after the last record read.
    pub fn place(&self) -> Option<(u64, u64)> {
        self.open.as_ref().map(|segment| (segment.first_seq, segment.offset))
    }

    /// The next record; `None` where the chain ends for now, after which more may be appended.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        loop {
            if let Some((kind, length)) = self.check_next_in_segment()? {
                // The record was just left behind in the buffer.
                let segment = self.open.as_ref();
                let payload = segment.and_then(|segment| {
                    let end = segment.start - HASH;
                    segment.buffer.get(end - length..end)
                });
                return Ok(Some(Record { kind, payload: payload.unwrap_or_default(), position: self.last }));
            }
            let Some((header, segment)) = self.open_next()? else { return Ok(None) };
            if header.previous != self.last.hash {
                return Err(self.fault_at(segment.first_seq, 0, FaultKind::Detached).into());
            }
            self.open = Some(segment);
        }
    }

    /// Kind and length of the payload of the next record in the segment, now the last one read.
    fn check_next_in_segment(&mut self) -> Result<Option<(RecordKind, usize)>, ReadError> {
        let Some(segment) = &mut self.open else { return Ok(None) };
        let header: [u8; RECORD_HEADER] = match segment.peek(RECORD_HEADER)? {
            [] => return Ok(None),
            bytes => match bytes.try_into() {
                Ok(header) => header,
                Err(_) => return Err(self.fault(FaultKind::Incomplete).into()),
            },
        };
        let [l0, l1, l2, l3, kind, seq @ ..] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let seq = u64::from_le_bytes(seq);
        let expected = self.last.seq + 1;
        if seq > expected {
            return Err(self.fault(FaultKind::Removed { found: seq }).into());
        } else if seq < expected {
            return Err(self.fault(FaultKind::Inserted { found: seq }).into());
        }
        if length > LONGEST_PAYLOAD {
            return Err(self.fault(FaultKind::Changed).into());
        }
        let hashed = RECORD_HEADER + length;
        let bytes = segment.peek(hashed + HASH)?;
        if bytes.len() < hashed + HASH {
            return Err(self.fault(FaultKind::Incomplete).into());
        }
        let (bytes, stored) = bytes.split_at(hashed);
        let hash = chain(&self.last.hash, &[bytes]);
        let Some(kind) = RecordKind::from_byte(kind).filter(|_| hash == stored) else {
            return Err(self.fault(FaultKind::Changed).into());
        };
        segment.skip(hashed + HASH);
        self.last = Position { seq, hash };
        Ok(Some((kind, length)))
    }

    /// Opens the segment that starts right after the last record read, if there is one.
    fn open_next(&self) -> Result<Option<(SegmentHeader, OpenSegment)>, ReadError> {
        let first_seq = self.last.seq + 1;
        if self.open.as_ref().is_some_and(|open| open.first_seq == first_seq) {
            return Ok(None);
        }
        let mut file = match File::open(self.directory.join(segment_name(first_seq))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        (&mut file).take(SegmentHeader::LONGEST as u64).read_to_end(&mut bytes)?;
        let Some((header, length)) = SegmentHeader::decode(&bytes) else {
            return Err(self.fault_at(first_seq, 0, FaultKind::Header).into());
        };
        if header.first_seq != first_seq {
            return Err(self.fault_at(first_seq, 0, FaultKind::Removed { found: header.first_seq }).into());
        }
        if header.replica != self.replica {
            return Err(self
                .fault_at(first_seq, 0, FaultKind::OtherReplica { found: header.replica })
                .into());
        }
        let offset = length as u64;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some((header, OpenSegment { first_seq, offset, file, buffer: Vec::new(), start: 0 })))
    }

    /// A fault at the record that should come next.
    pub fn fault(&self, kind: FaultKind) -> ChainFault {
        let (segment, offset) = self.place().unwrap_or((self.last.seq + 1, 0));
        self.fault_at(segment, offset, kind)
    }

    fn fault_at(&self, segment: u64, offset: u64, kind: FaultKind) -> ChainFault {
        ChainFault { seq: self.last.seq + 1, segment: segment_name(segment), offset, kind }
    }
}
