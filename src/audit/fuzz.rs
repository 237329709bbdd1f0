//! Segments and exports of any bytes: what is read as a record is one, and a recovery keeps what was sound.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::fs;

use super::directory::segment_name;
use super::reader::{ChainReader, ReadError};
use super::record::{self, Position, SegmentHeader};
use super::verify::{Known, verify_export};
use super::{recover, verify};

const REPLICA: &str = "r";

/// The first segment of a spool. `AA…` in the place of a hash stands for the right one, so that a change of
/// what is before it can lead further: mutations would never hit a hash.
pub(crate) fn segment(data: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let bytes = with_hashes(data);
    for bytes in [data, &bytes] {
        let file = directory.path().join(segment_name(1));
        fs::write(&file, bytes).unwrap();
        let (records, sound) = read(directory.path(), bytes);
        // A crash's torn end is cut off, and all before it is there as it was.
        let Ok(tail) = recover::recover(directory.path(), REPLICA, Position::genesis(REPLICA)) else {
            continue;
        };
        assert_eq!(tail.last.seq, records);
        assert_eq!(fs::read(&file).unwrap(), &bytes[..sound]);
        let cut: u64 = tail.cut.as_ref().map_or(0, |cut| cut.bytes_cut);
        assert_eq!(cut, (bytes.len() - sound) as u64);
        assert_eq!(read(directory.path(), &bytes[..sound]), (records, sound));
        if let Some(cut) = tail.cut {
            assert_eq!(fs::read(directory.path().join(cut.kept_in)).unwrap(), &bytes[sound..]);
        }
        for entry in fs::read_dir(directory.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// How many records are sound, and where they end; each is the one that would be written.
fn read(directory: &std::path::Path, bytes: &[u8]) -> (u64, usize) {
    let Ok(mut reader) = ChainReader::at_segment(directory, REPLICA, 1) else { return (0, 0) };
    let (header, mut end) = SegmentHeader::decode(bytes).unwrap();
    assert_eq!(header.encode(), &bytes[..end]);
    let mut last = Position::genesis(REPLICA);
    loop {
        match reader.next() {
            Ok(Some(found)) => {
                let mut written = Vec::new();
                record::encode(&mut written, found.kind, found.payload, &mut last);
                assert_eq!(bytes.get(end..end + written.len()), Some(written.as_slice()));
                assert_eq!(found.position, last);
                end += written.len();
            }
            Ok(None) => {
                assert_eq!(end, bytes.len());
                return (last.seq, end);
            }
            Err(ReadError::Fault(fault)) => {
                assert_eq!(fault.seq, last.seq + 1);
                return (last.seq, end);
            }
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Puts the right hashes where records and header end, as far as their lengths lead.
fn with_hashes(data: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut bytes = data.to_vec();
    let Some(replica) = bytes.get(8 + 8 + record::HASH).map(|length| usize::from(*length)) else {
        return bytes;
    };
    let hashed = 8 + 8 + record::HASH + 1 + replica;
    if bytes.len() < hashed + record::HASH {
        return bytes;
    }
    let hash: [u8; 32] = Sha256::digest(&bytes[..hashed]).into();
    bytes[hashed..hashed + record::HASH].copy_from_slice(&hash);
    let (mut at, mut last) = (hashed + record::HASH, Position::genesis(REPLICA).hash);
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let end = at + record::RECORD_HEADER + length;
        if length > 1 << 20 || bytes.len() < end + record::HASH {
            break;
        }
        last = record::chain(&last, &[&bytes[at..end]]);
        bytes[end..end + record::HASH].copy_from_slice(&last);
        at = end + record::HASH;
    }
    bytes
}

/// An export, and the file of checkpoints.
pub(crate) fn export(data: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.jsonl");
    fs::write(&file, data).unwrap();
    if let Ok(verified) = verify_export(&file, Known::default(), &mut |_| {}) {
        for chain in verified {
            assert!(
                chain.vouched_seq <= chain.last_seq && chain.first_seq <= chain.last_seq + 1,
                "{chain:?}"
            );
        }
    }
    let checkpoints = directory.path().join("checkpoints");
    fs::write(&checkpoints, data).unwrap();
    let _ = verify::read_checkpoints(&checkpoints);
}
