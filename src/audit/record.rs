//! The bytes of one record and of a segment's header, and the hash that chains them.
//!
//! ```text
//! record   length u32 | kind u8 | seq u64 | payload (length bytes) | hash 32
//! hash     SHA-256( hash of the record before || every byte of this record before its hash )
//! ```
//!
//! The payload is made by the caller and its place in the chain by the writer, so that what the one
//! writer thread does for a record is a copy and a hash. Numbers are little-endian. The whole format,
//! for whoever writes another verifier, is in `docs/AUDIT-FORMAT.md`.

use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

pub const SEGMENT_MAGIC: &[u8; 8] = b"TGAUDIT1";
/// Length, kind and seq.
pub const RECORD_HEADER: usize = 4 + 1 + 8;
pub const HASH: usize = 32;
/// A longer payload is refused when it is appended, and is damage when it is read.
pub const LONGEST_PAYLOAD: usize = 16 << 20;

/// What a record's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// An `access::Event`.
    Event,
    /// The chain was found without a clean end and goes on here.
    Recovered,
    /// A clean shutdown.
    Closed,
    /// A signed [`Checkpoint`](super::checkpoint::Checkpoint) of everything before it.
    Checkpoint,
    /// A [`KeyNotice`](super::signing::KeyNotice): which key signs from here on.
    Key,
    /// Segments at the start of the chain are removed on purpose.
    Pruned,
}

impl RecordKind {
    const ALL: [Self; 6] =
        [Self::Event, Self::Recovered, Self::Closed, Self::Checkpoint, Self::Key, Self::Pruned];

    pub fn byte(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Recovered => 2,
            Self::Closed => 3,
            Self::Checkpoint => 4,
            Self::Key => 5,
            Self::Pruned => 6,
        }
    }

    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// How the index and exports call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Recovered => "recovered",
            Self::Closed => "closed",
            Self::Checkpoint => "checkpoint",
            Self::Key => "key",
            Self::Pruned => "pruned",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Of what kind the record was that the index holds as `kind`: there, events go by their own kinds.
    pub fn of_index(kind: &str) -> Option<Self> {
        match kind {
            "begin" | "returned" | "complete" | "policy_change" | "unreadable" => Some(Self::Event),
            "event" => None,
            name => Self::from_name(name),
        }
    }
}

/// A place in the chain: the last record of what it stands for, and its hash. The chain before its
/// first record is at seq 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub seq: u64,
    pub hash: Hash,
}

impl Position {
    /// Where a replica's chain starts. It depends on the replica, so that one replica's records never
    /// fit another's chain.
    pub fn genesis(replica: &str) -> Self {
        let hash = Sha256::new().chain_update("tracegate audit chain 1\n").chain_update(replica).finalize();
        Self { seq: 0, hash: hash.into() }
    }
}

/// Appends the bytes of the record after `last` to `buffer` and moves `last` on to it.
///
/// The payload must not be longer than [`LONGEST_PAYLOAD`].
pub fn encode(buffer: &mut Vec<u8>, kind: RecordKind, payload: &[u8], last: &mut Position) {
    let start = buffer.len();
    let seq = last.seq + 1;
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.push(kind.byte());
    buffer.extend_from_slice(&seq.to_le_bytes());
    buffer.extend_from_slice(payload);
    let hash = chain(&last.hash, &[&buffer[start..]]);
    buffer.extend_from_slice(&hash);
    *last = Position { seq, hash };
}

/// The bytes that a payload takes as a record.
pub fn encoded_len(payload: usize) -> u64 {
    (RECORD_HEADER + payload + HASH) as u64
}

pub fn chain(previous: &Hash, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A segment's header: which chain it belongs to and where in it the segment starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    pub first_seq: u64,
    pub previous: Hash,
    pub replica: String,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.push(self.replica.len() as u8);
        bytes.extend_from_slice(self.replica.as_bytes());
        let hash: Hash = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&hash);
        bytes
    }

    /// The header at the start of `bytes` and its length, or `None` if there is no sound one.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let rest = bytes.strip_prefix(SEGMENT_MAGIC)?;
        let (first_seq, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<HASH>()?;
        let (replica_len, rest) = rest.split_first()?;
        let replica = rest.get(..usize::from(*replica_len))?;
        let hash = rest.get(replica.len()..)?.first_chunk::<HASH>()?;
        let hashed = SEGMENT_MAGIC.len() + 8 + HASH + 1 + replica.len();
        let expected: Hash = Sha256::digest(&bytes[..hashed]).into();
        let header = Self {
            first_seq: u64::from_le_bytes(*first_seq),
            previous: *previous,
            replica: str::from_utf8(replica).ok()?.to_owned(),
        };
        (*hash == expected).then_some((header, hashed + HASH))
    }

    /// The longest header there can be.
    pub const LONGEST: usize = 8 + 8 + HASH + 1 + 255 + HASH;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_no_changed_byte_goes_unnoticed() {
        let header = SegmentHeader { first_seq: 77, previous: [9; 32], replica: "r-1".into() };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some((header, bytes.len())));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&changed), None, "byte {index}");
            assert_eq!(SegmentHeader::decode(&bytes[..index]), None, "cut at {index}");
        }
    }

    #[test]
    fn the_chains_of_two_replicas_start_differently() {
        assert_ne!(Position::genesis("a"), Position::genesis("b"));
    }

    /// Pins the format: another verifier is written against these bytes.
    #[test]
    fn the_first_record_of_a_known_chain_has_known_bytes() {
        let mut last = Position::genesis("r");
        assert_eq!(hex::encode(last.hash), hex::encode(Sha256::digest("tracegate audit chain 1\nr")));
        let mut buffer = Vec::new();
        encode(&mut buffer, RecordKind::Event, b"{}", &mut last);
        assert_eq!(hex::encode(&buffer[..15]), "0200000001".to_owned() + "0100000000000000" + "7b7d");
        assert_eq!(buffer.len() as u64, encoded_len(2));
        assert_eq!(buffer[15..], last.hash);
    }
}
