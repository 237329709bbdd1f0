//! Whole chains as [lines of JSON](crate::audit::export::jsonl), and their verification elsewhere.

use std::io::{self, BufRead, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use super::links::Links;
use super::witness::{Fault, Witness};
use super::{Known, Progress, Verified, VerifyError};
use crate::audit::directory;
use crate::audit::export::jsonl::{self, Absent, Entry, Head};
use crate::audit::reader::{ChainFault, ChainReader, FaultKind};
use crate::audit::record::{HASH, LONGEST_PAYLOAD, Position, RecordKind};
use crate::audit::recover;

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
    let tail = recover::last_sound(directory, &replica)?;
    let previous = start()?.position().hash;
    let chain = jsonl::Chain::new(&replica, first_seq, tail.seq.min(*range.end()), Some(&previous));
    to.write_all(chain.head().map_err(io::Error::from)?.as_bytes())?;
    let mut reader = start()?;
    let mut written = 0;
    while reader.position().seq < chain.last_seq() {
        let Some(record) = reader.next()? else { break };
        let Position { seq, hash } = record.position;
        let payload = str::from_utf8(record.payload).map_err(io::Error::other)?;
        writeln!(to, "{}", jsonl::line(&replica, seq, record.kind.as_str(), Some(&hash), payload))?;
        written += 1;
    }
    Ok(written)
}

/// A chain of an export, as far as it was read.
struct Section {
    replica: String,
    last_seq: u64,
    links: Links,
}

impl Section {
    fn new(head: &Head, known: &Known) -> Result<Self, Failure> {
        let genesis = Position::genesis(&head.replica).hash;
        let previous = match &head.previous {
            None => None,
            Some(text) => {
                let hash = hex::decode(text).ok().and_then(|hash| hash.try_into().ok());
                Some(hash.ok_or((head.first_seq, FaultKind::Line))?)
            }
        };
        if head.first_seq == 0 || head.tracegate_audit_export != jsonl::VERSION {
            return Err((head.first_seq, FaultKind::Line).into());
        }
        if head.first_seq == 1 && previous != Some(genesis) {
            return Err((1, FaultKind::Detached).into());
        }
        // What copies hold of later records says nothing of an export that ends before.
        let mut known = known.clone();
        known.checkpoints.retain(|line| match line {
            super::Line::Checkpoint(checkpoint) => checkpoint.seq < head.last_seq,
            super::Line::Key(_) => true,
        });
        let witness = Witness::new(&head.replica, head.first_seq, &known, &[]).map_err(Failure::Other)?;
        let links = Links::new(witness, head.first_seq, previous);
        Ok(Self { replica: head.replica.clone(), last_seq: head.last_seq, links })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let next = self.links.seq + 1;
        if next > self.last_seq {
            return Err((next, FaultKind::Line));
        }
        let (replica, seq) = if let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) {
            let payload = entry.payload.get().as_bytes();
            let kind = RecordKind::from_name(entry.record).filter(|_| payload.len() <= LONGEST_PAYLOAD);
            let hash = entry.hash.map(hex::decode).transpose().map_err(|_| (next, FaultKind::Changed))?;
            self.links.take(entry.seq, kind, payload, hash.as_deref())?;
            (entry.replica, entry.seq)
        } else {
            let absent: Absent<'_> = serde_json::from_slice(line).map_err(|_| (next, FaultKind::Line))?;
            if absent.seq != next || absent.absent_through < next || absent.absent_through >= self.last_seq {
                return Err((next, FaultKind::Line));
            }
            self.links.skip(absent.absent_through);
            (absent.replica, absent.seq)
        };
        if replica == self.replica {
            Ok(())
        } else {
            Err((seq, FaultKind::OtherReplica { found: replica.chars().take(80).collect() }))
        }
    }

    fn end(self) -> Result<Verified, Fault> {
        let Links { witness, last, seq, absent, unproven, .. } = self.links;
        if seq != self.last_seq {
            return Err((seq + 1, FaultKind::Missing { known: self.last_seq }));
        }
        witness.end_at(seq)?;
        witness.signed()?;
        let hash = last.map_or([0; HASH], |last| last.hash);
        Ok(Verified { absent, unproven, ..witness.verified(0, Position { seq, hash }) })
    }
}

enum Failure {
    Fault(Fault),
    Other(VerifyError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Checks an export, each chain in it: that its records follow from one another, and what signatures say.
pub fn verify_export(
    path: &Path,
    known: Known,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Verified>, VerifyError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = std::fs::File::open(path)?;
    let total_bytes = file.metadata()?.len();
    let mut lines = io::BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    let (mut offset, mut records) = (0, 0_u64);
    let mut verified = Vec::new();
    // Inner: whether the chain is one of those that were asked for.
    let mut section: Option<Option<Section>> = None;
    loop {
        let length = next_line(&mut lines, &mut line)?;
        let fault =
            |(seq, kind): Fault| VerifyError::from(ChainFault { seq, segment: name.clone(), offset, kind });
        let head: Option<Head> = match &section {
            _ if length == 0 => None,
            // Most lines are records, and need not be tried as anything else.
            Some(_) if !line.starts_with(HEAD) => None,
            _ => serde_json::from_slice(&line).ok(),
        };
        if head.is_some() || length == 0 {
            if let Some(Some(done)) = section.take() {
                verified.push(done.end().map_err(fault)?);
            }
            let Some(head) = head else { break };
            let wanted = known.replica.as_ref().is_none_or(|replica| *replica == head.replica);
            let new = wanted.then(|| Section::new(&head, &known)).transpose();
            section = Some(new.map_err(|failure| match failure {
                Failure::Fault(found) => fault(found),
                Failure::Other(error) => error,
            })?);
        } else {
            let current = section.as_mut().ok_or_else(|| VerifyError::NoChain(path.to_owned()))?;
            if let Some(current) = current {
                current.line(&line).map_err(fault)?;
            }
            records += 1;
            if records.is_multiple_of(16_384) {
                progress(Progress { seq: records, bytes: offset, total_bytes });
            }
        }
        offset += length;
    }
    if verified.is_empty() {
        return Err(VerifyError::Nothing(path.to_owned()));
    }
    progress(Progress { seq: records, bytes: total_bytes, total_bytes });
    Ok(verified)
}

/// How the first line of a chain begins.
const HEAD: &[u8] = b"{\"tracegate_audit_export\"";

/// The bytes read, the line feed included; 0 at the end.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    Ok(lines.read_until(b'\n', line)? as u64)
}
