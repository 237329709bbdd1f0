//! A checkpoint: the signed word of a replica that its chain, up to a record, is what it is.
//!
//! It names the record and its hash, and with that all before it, and the checkpoint before. What is
//! signed is a text of lines made from the fields, so that nobody has to agree on how JSON is written:
//!
//! ```text
//! tracegate audit checkpoint 1
//! replica: eu-1
//! number: 7
//! last_seq: 81233
//! last_hash: 64 hex digits
//! time_ms: 1767225600000
//! records: 1200
//! previous: 64 hex digits
//! key: 32 hex digits
//! ```

use sha2::{Digest as _, Sha256};

use super::record::Position;
use super::signing::{KeyNotice, PublicKey, SigningKey};
use crate::clock::UnixMillis;

/// The payload of a `checkpoint` record, and a line of the file `checkpoints`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Checkpoint {
    #[serde(rename = "time_ms")]
    pub time: UnixMillis,
    pub replica: String,
    /// 1 for a replica's first checkpoint, then one more each time.
    pub number: u64,
    /// The last record that it vouches for. The checkpoint itself is the next one, and has a `seq` of its
    /// own where records are told with their place.
    #[serde(rename = "last_seq")]
    pub seq: u64,
    /// That record's hash, in hex.
    #[serde(rename = "last_hash")]
    pub hash: String,
    /// Records since the checkpoint before, that one's own record included.
    pub records: u64,
    /// [`digest`](Self::digest) of the checkpoint before; zeros for the first.
    pub previous: String,
    pub key_id: String,
    /// Of the statement, in hex.
    pub signature: String,
}

/// The checkpoint that the next one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    pub number: u64,
    pub seq: u64,
    pub digest: String,
}

impl Before {
    pub fn none() -> Self {
        Self { number: 0, seq: 0, digest: "0".repeat(64) }
    }
}

impl Checkpoint {
    pub fn sign(key: &SigningKey, replica: &str, at: Position, before: &Before, time: UnixMillis) -> Self {
        let mut checkpoint = Self {
            time,
            replica: replica.to_owned(),
            number: before.number + 1,
            seq: at.seq,
            hash: hex::encode(at.hash),
            records: at.seq.saturating_sub(before.seq),
            previous: before.digest.clone(),
            key_id: key.public().id(),
            signature: String::new(),
        };
        checkpoint.signature = key.sign(&checkpoint.statement());
        checkpoint
    }

    pub fn statement(&self) -> String {
        let Self { time, replica, number, seq, hash, records, previous, key_id, .. } = self;
        let time = time.0;
        format!(
            "tracegate audit checkpoint 1\nreplica: {replica}\nnumber: {number}\nlast_seq: {seq}\nlast_hash: {hash}\n\
             time_ms: {time}\nrecords: {records}\nprevious: {previous}\nkey: {key_id}\n"
        )
    }

    /// SHA-256 of the statement, in hex.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.statement()))
    }

    pub fn is_signed_by(&self, key: PublicKey) -> bool {
        self.key_id == key.id() && key.verifies(&self.statement(), &self.signature)
    }

    pub fn vouches_for(&self, position: Position) -> bool {
        self.seq == position.seq && self.hash == hex::encode(position.hash)
    }

    pub fn as_before(&self) -> Before {
        Before { number: self.number, seq: self.seq, digest: self.digest() }
    }
}

/// A line of the file `checkpoints` and of its mirror: all that is signed or signs, in the order of the chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    Key(KeyNotice),
    Checkpoint(Checkpoint),
}

/// Signs for the writer, each checkpoint after the one before.
#[derive(Debug)]
pub struct Signer {
    pub key: SigningKey,
    pub before: Before,
}

impl Signer {
    pub fn checkpoint(&mut self, replica: &str, at: Position, now: UnixMillis) -> Checkpoint {
        let checkpoint = Checkpoint::sign(&self.key, replica, at, &self.before, now);
        self.before = checkpoint.as_before();
        checkpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_a_checkpoint_can_change_under_its_signature() {
        let mut signer = Signer { key: SigningKey::generate().unwrap(), before: Before::none() };
        let at = Position { seq: 4, hash: [7; 32] };
        let first = signer.checkpoint("r", at, UnixMillis(1));
        let second = signer.checkpoint("r", Position { seq: 9, hash: [8; 32] }, UnixMillis(2));
        let key = signer.key.public();
        assert!(first.is_signed_by(key) && second.is_signed_by(key) && first.vouches_for(at));
        assert_eq!((second.number, second.records, &second.previous), (2, 5, &first.digest()));
        let fields = serde_json::to_value(&first).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            let mut changed = fields.clone();
            changed[name] = match value {
                serde_json::Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                text => format!("{}0", &text.as_str().unwrap()[1..]).into(),
            };
            let changed: Checkpoint = serde_json::from_value(changed).unwrap();
            assert!(changed == first || !changed.is_signed_by(key), "{name}");
        }
        assert!(!first.is_signed_by(SigningKey::generate().unwrap().public()));
    }
}
