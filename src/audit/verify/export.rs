//! A chain as lines of JSON, for whoever keeps it elsewhere, and its verification there.
//!
//! The first line says what follows; each other is a record with its payload as it was hashed, byte by
//! byte:
//!
//! ```text
//! {"tracegate_audit_export":1,"replica":"eu-1","first_seq":1,"last_seq":9,"previous":"…"}
//! {"seq":1,"record":"event","hash":"…","payload":{…}}
//! ```

use std::io::{self, BufRead, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::witness::Witness;
use super::{Known, Progress, Verified, VerifyError};
use crate::audit::directory;
use crate::audit::reader::{ChainFault, ChainReader, FaultKind, Record};
use crate::audit::record::{HASH, LONGEST_PAYLOAD, Position, RecordKind, encode};
use crate::audit::recover;

#[derive(Serialize, Deserialize)]
struct Head {
    tracegate_audit_export: u32,
    replica: String,
    first_seq: u64,
    last_seq: u64,
    /// Hash of the record before the first, in hex.
    previous: String,
}

#[derive(Serialize, Deserialize)]
struct Entry<'l> {
    seq: u64,
    record: &'l str,
    hash: String,
    #[serde(borrow)]
    payload: &'l RawValue,
}

/// Writes the records of a spool with their place in the chain, those in `range` alone. Returns how many.
pub fn export(directory: &Path, range: RangeInclusive<u64>, to: &mut dyn Write) -> Result<u64, VerifyError> {
    let nothing = || VerifyError::Nothing(directory.to_owned());
    let replica = directory::replica(directory)?.ok_or_else(nothing)?;
    let first = directory::segments(directory)?.first().copied().ok_or_else(nothing)?;
    let first_seq = first.max(*range.start());
    let holder = directory::segments(directory)?.into_iter().rev().find(|segment| *segment <= first_seq);
    let start = || -> Result<ChainReader, VerifyError> {
        let mut reader = ChainReader::at_segment(directory, &replica, holder.unwrap_or(first))?;
        while reader.position().seq + 1 < first_seq {
            if reader.next()?.is_none() {
                return Err(reader.fault(FaultKind::Missing { known: first_seq }).into());
            }
        }
        Ok(reader)
    };
    // Told beforehand, so that an export that was cut shows.
    let tail = recover::last_sound(directory, &replica)?;
    let head = Head {
        tracegate_audit_export: 1,
        replica: replica.clone(),
        first_seq,
        last_seq: tail.seq.min(*range.end()),
        previous: hex::encode(start()?.position().hash),
    };
    let mut reader = start()?;
    serde_json::to_writer(&mut *to, &head).map_err(io::Error::from)?;
    to.write_all(b"\n")?;
    let mut written = 0;
    while reader.position().seq < head.last_seq {
        let Some(record) = reader.next()? else { break };
        let payload = str::from_utf8(record.payload).map_err(io::Error::other)?;
        let hash = hex::encode(record.position.hash);
        write!(to, "{{\"seq\":{},\"record\":\"{}\",", record.position.seq, record.kind.as_str())?;
        writeln!(to, "\"hash\":\"{hash}\",\"payload\":{payload}}}")?;
        written += 1;
    }
    Ok(written)
}

/// Checks an export: that its records follow from one another, and what signatures say of them.
pub fn verify_export(
    path: &Path,
    known: Known,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, VerifyError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = std::fs::File::open(path)?;
    let total_bytes = file.metadata()?.len();
    let mut lines = io::BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    let mut bytes = 0;
    let fault =
        |seq, offset, kind| VerifyError::Fault(ChainFault { seq, segment: name.clone(), offset, kind });
    let length = next_line(&mut lines, &mut line)?;
    let head: Head = serde_json::from_slice(&line).map_err(|_| fault(0, 0, FaultKind::Line))?;
    let previous: Option<[u8; HASH]> = hex::decode(&head.previous).ok().and_then(|hash| hash.try_into().ok());
    let (Some(hash), 1) = (previous, head.tracegate_audit_export) else {
        return Err(fault(head.first_seq, 0, FaultKind::Line));
    };
    bytes += length;
    let mut last = Position { seq: head.first_seq.saturating_sub(1), hash };
    if head.first_seq == 1 && last != Position::genesis(&head.replica) {
        return Err(fault(1, 0, FaultKind::Detached));
    }
    // What copies hold of later records says nothing of an export that ends before.
    let mut known = known;
    known.checkpoints.retain(|line| match line {
        super::Line::Checkpoint(checkpoint) => checkpoint.seq < head.last_seq,
        super::Line::Key(_) => true,
    });
    let mut witness = Witness::new(&head.replica, head.first_seq, &known, &[])?;
    let mut encoded = Vec::new();
    loop {
        let offset = bytes;
        let length = next_line(&mut lines, &mut line)?;
        if length == 0 {
            break;
        }
        bytes += length;
        let seq = last.seq + 1;
        let entry: Entry<'_> =
            serde_json::from_slice(&line).map_err(|_| fault(seq, offset, FaultKind::Line))?;
        if entry.seq > seq {
            return Err(fault(seq, offset, FaultKind::Removed { found: entry.seq }));
        } else if entry.seq < seq {
            return Err(fault(seq, offset, FaultKind::Inserted { found: entry.seq }));
        }
        let payload = entry.payload.get().as_bytes();
        let kind = RecordKind::from_name(entry.record)
            .filter(|_| payload.len() <= LONGEST_PAYLOAD)
            .ok_or_else(|| fault(seq, offset, FaultKind::Changed))?;
        let before = last;
        encoded.clear();
        encode(&mut encoded, kind, payload, &mut last);
        if hex::encode(last.hash) != entry.hash {
            return Err(fault(seq, offset, FaultKind::Changed));
        }
        if known.position.is_some_and(|known| known.seq == last.seq && known.hash != last.hash) {
            return Err(fault(seq, offset, FaultKind::Rewritten));
        }
        witness
            .record(before, Record { kind, payload, position: last })
            .map_err(|(seq, kind)| fault(seq, offset, kind))?;
        if seq.is_multiple_of(16_384) {
            progress(Progress { seq, bytes, total_bytes });
        }
    }
    if last.seq != head.last_seq {
        return Err(fault(last.seq + 1, bytes, FaultKind::Missing { known: head.last_seq }));
    }
    witness.signed().map_err(|(seq, kind)| fault(seq, bytes, kind))?;
    progress(Progress { seq: last.seq, bytes: total_bytes, total_bytes });
    Ok(witness.verified(0, last))
}

/// The bytes read, the line feed included; 0 at the end.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    Ok(lines.read_until(b'\n', line)? as u64)
}
