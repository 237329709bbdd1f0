//! A chain that is read from elsewhere than its spool, record by record, where some may be left out.
//!
//! Behind such a hole the hash of the record before is not known. If the record there comes with its own,
//! that is taken at its word and the chain goes on from it: whatever was changed after it shows at the
//! next checkpoint, whose signature covers all of it, that hash too. The one record is *unproven*.

use super::witness::{Fault, Witness};
use crate::audit::reader::{FaultKind, Record};
use crate::audit::record::{HASH, Hash, Position, RecordKind, encode};

pub struct Links {
    pub witness: Witness,
    /// The last record, if its hash is known.
    pub last: Option<Position>,
    pub seq: u64,
    /// How many are left out.
    pub absent: u64,
    pub unproven: u64,
    encoded: Vec<u8>,
}

impl Links {
    /// Of a chain that begins at `first_seq`, after a record of this hash if that is known.
    pub fn new(witness: Witness, first_seq: u64, previous: Option<Hash>) -> Self {
        let seq = first_seq.saturating_sub(1);
        let last = previous.map(|hash| Position { seq, hash });
        Self { witness, last, seq, absent: 0, unproven: 0, encoded: Vec::new() }
    }

    /// Leaves out the records up to `through`.
    pub fn skip(&mut self, through: u64) {
        self.absent += through.saturating_sub(self.seq);
        self.seq = through;
        self.last = None;
    }

    /// The next record: its kind, if there is one of this name, and its hash, if it comes with one.
    pub fn take(
        &mut self,
        seq: u64,
        kind: Option<RecordKind>,
        payload: &[u8],
        hash: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let expected = self.seq + 1;
        if seq > expected {
            return Err((expected, FaultKind::Removed { found: seq }));
        } else if seq < expected {
            return Err((expected, FaultKind::Inserted { found: seq }));
        }
        let changed = (seq, FaultKind::Changed);
        let Some(kind) = kind else { return Err(changed) };
        let told: Option<Hash> = match hash {
            Some(hash) => Some(hash.try_into().map_err(|_| changed.clone())?),
            None => None,
        };
        self.seq = seq;
        if self.last.is_none() && kind == RecordKind::Checkpoint {
            // What it says of the record before is believed if its signature is sound, which is seen next.
            self.last = hash_before(payload).map(|hash| Position { seq: seq - 1, hash });
        }
        let Some(before) = self.last else {
            self.unproven += 1;
            self.last = told.map(|hash| Position { seq, hash });
            return Ok(());
        };
        let mut here = before;
        self.encoded.clear();
        encode(&mut self.encoded, kind, payload, &mut here);
        if told.is_some_and(|told| told != here.hash) {
            return Err(changed);
        }
        self.last = Some(here);
        self.witness.record(before, Record { kind, payload, position: here })
    }
}

fn hash_before(payload: &[u8]) -> Option<[u8; HASH]> {
    let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
    hex::decode(payload.get("last_hash")?.as_str()?).ok()?.try_into().ok()
}
