//! Finds the end of a chain when the spool is opened, and cuts off what a crash left half written.
//!
//! A crash of the process leaves at most one torn record; a crash of the machine may lose or damage
//! whatever was not yet forced to the disk. Both lie behind everything that was promised to be
//! [`Synced`](crate::access::Durability::Synced) and behind everything that the index holds, because
//! the shipper takes only records that are on the disk. So what the index knows is the *floor*:
//! damage above it is cut off, kept beside the segment and put on record; damage below it cannot
//! come from a crash, and the spool stays shut.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::directory::{self, segment_name};
use super::reader::{ChainReader, FaultKind, ReadError};
use super::record::{Position, RecordKind};

/// Where the chain ends.
#[derive(Debug)]
pub struct Tail {
    pub last: Position,
    /// The segment that ends with `last` and its bytes; `None` for a spool without segments.
    pub segment: Option<(u64, u64)>,
    /// Whether the last record is a clean end.
    pub clean: bool,
    pub cut: Option<Cut>,
}

/// What was cut off the end.
#[derive(Debug, serde::Serialize)]
pub struct Cut {
    pub bytes_cut: u64,
    pub sha256: String,
    /// The file, beside the segment, that holds the bytes now.
    pub kept_in: String,
}

/// Finds the end of the chain in `directory`, where `floor` is the last record that the index holds.
pub fn recover(directory: &Path, replica: &str, floor: Position) -> Result<Tail, ReadError> {
    let Some(first_seq) = directory::segments(directory)?.last().copied() else {
        let reader = ChainReader::after(directory, replica, Position::genesis(replica));
        if floor.seq > 0 {
            return Err(reader.fault(FaultKind::Missing { known: floor.seq }).into());
        }
        return Ok(Tail { last: reader.position(), segment: None, clean: true, cut: None });
    };
    let mut reader = ChainReader::at_segment(directory, replica, first_seq)?;
    let mut clean = true;
    let torn = loop {
        let last = reader.position();
        if last.seq == floor.seq && last.hash != floor.hash {
            return Err(reader.fault(FaultKind::Rewritten).into());
        }
        match reader.next() {
            Ok(Some(record)) => clean = record.kind == RecordKind::Closed,
            Ok(None) => break false,
            Err(ReadError::Fault(_)) if last.seq >= floor.seq => break true,
            Err(error) => return Err(error),
        }
    };
    let last = reader.position();
    if last.seq < floor.seq {
        return Err(reader.fault(FaultKind::Missing { known: floor.seq }).into());
    }
    let (_, end) = reader.place().unwrap_or_default();
    let cut = if torn { Some(cut(directory, first_seq, end, last.seq + 1)?) } else { None };
    Ok(Tail { last, segment: Some((first_seq, end)), clean: clean && cut.is_none(), cut })
}

/// Moves everything from `end` on into a file of its own.
fn cut(directory: &Path, first_seq: u64, end: u64, lost_seq: u64) -> io::Result<Cut> {
    let segment = segment_name(first_seq);
    let mut file = OpenOptions::new().read(true).write(true).open(directory.join(&segment))?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(end))?;
    file.read_to_end(&mut bytes)?;
    let mut kept_in = format!("{segment}.cut-{lost_seq}");
    while directory.join(&kept_in).exists() {
        kept_in.push('+');
    }
    // Kept before it is cut: a crash in between finds the same tail again.
    directory::write_whole(directory, &kept_in, &bytes)?;
    file.set_len(end)?;
    file.sync_all()?;
    Ok(Cut { bytes_cut: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)), kept_in })
}

/// The last record of the chain in `directory`, read without changing anything.
pub fn last_sound(directory: &Path, replica: &str) -> Result<Position, ReadError> {
    let Some(first_seq) = directory::segments(directory)?.last().copied() else {
        return Ok(Position::genesis(replica));
    };
    let mut reader = ChainReader::at_segment(directory, replica, first_seq)?;
    while reader.next()?.is_some() {}
    Ok(reader.position())
}

/// A reader of what follows `after`, which must be in the chain or right before its first segment.
pub fn seek(directory: &Path, replica: &str, after: Position) -> Result<ChainReader, ReadError> {
    let segments = directory::segments(directory)?;
    let holder = segments.iter().rev().find(|first_seq| **first_seq <= after.seq);
    let Some(first_seq) = holder.or_else(|| segments.iter().find(|first_seq| **first_seq == after.seq + 1))
    else {
        let reader = ChainReader::after(directory, replica, after);
        if segments.is_empty() && after == Position::genesis(replica) {
            return Ok(reader);
        }
        return Err(reader.fault(FaultKind::MissingSegment).into());
    };
    let mut reader = ChainReader::at_segment(directory, replica, *first_seq)?;
    while reader.position().seq < after.seq {
        if reader.next()?.is_none() {
            return Err(reader.fault(FaultKind::Missing { known: after.seq }).into());
        }
    }
    if reader.position() != after {
        return Err(reader.fault(FaultKind::Rewritten).into());
    }
    Ok(reader)
}
