//! What signatures say of a chain as it is read: keys, each announced by the one before, and checkpoints,
//! each after the one before, in the chain and in copies of it.

use std::collections::BTreeMap;

use super::{Known, Verified, VerifyError};
use crate::audit::checkpoint::{Before, Checkpoint, Line};
use crate::audit::reader::{FaultKind, Record};
use crate::audit::record::{Position, RecordKind};
use crate::audit::signing::{KeyNotice, PublicKey};
use crate::clock::UnixMillis;

/// The first record that is not what it should be, and why.
pub type Fault = (u64, FaultKind);

/// The keys that may sign, and which of them does.
#[derive(Debug, Clone)]
struct KeyRing {
    pinned: Vec<PublicKey>,
    /// In the order in which they came; with whether they are trusted.
    known: Vec<(PublicKey, bool)>,
    current: Option<PublicKey>,
}

impl KeyRing {
    fn new(pinned: &[PublicKey]) -> Self {
        let known = pinned.iter().map(|key| (*key, true)).collect();
        Self { pinned: pinned.to_vec(), known, current: None }
    }

    fn trusts(&self, key: PublicKey) -> bool {
        self.known.iter().any(|(known, trusted)| *known == key && *trusted)
    }

    /// Takes in a notice: of the first key, of one that the last announced, or of one that is pinned.
    fn notice(&mut self, notice: &KeyNotice) -> Result<(), FaultKind> {
        let key = notice.key().ok_or_else(|| FaultKind::Key(notice.key_id.chars().take(80).collect()))?;
        let trusted = match self.current {
            _ if self.pinned.contains(&key) => true,
            None => self.pinned.is_empty(),
            Some(current) if current == key => self.trusts(key),
            Some(current) if notice.is_announced_by(current) => self.trusts(current),
            Some(_) => return Err(FaultKind::Key(key.id())),
        };
        self.current = Some(key);
        match self.known.iter_mut().find(|(known, _)| *known == key) {
            Some((_, already)) => *already |= trusted,
            None => self.known.push((key, trusted)),
        }
        Ok(())
    }

    /// Checks who signed; answers whether that key is trusted.
    fn check(&mut self, checkpoint: &Checkpoint) -> Result<bool, FaultKind> {
        // A chain whose start was pruned does not begin with its key.
        let named = |key: &PublicKey| key.id() == checkpoint.key_id;
        let key = match self.current {
            Some(current) => Some(current).filter(named),
            None => self.known.iter().map(|(key, _)| *key).find(named),
        };
        let key = key.ok_or(FaultKind::Checkpoint("no record before names its key"))?;
        self.current = Some(key);
        if !checkpoint.is_signed_by(key) {
            return Err(FaultKind::Checkpoint("its signature is not its key's"));
        }
        Ok(self.trusts(key))
    }
}

pub struct Witness {
    replica: String,
    first_seq: u64,
    ring: KeyRing,
    before: Option<Before>,
    /// Checkpoints that copies hold, by the seq of their record.
    expected: BTreeMap<u64, Checkpoint>,
    /// The first of them that was not read yet.
    next_expected: u64,
    checkpoints: u64,
    vouched: u64,
    vouched_time: Option<UnixMillis>,
    signers: Vec<String>,
    recoveries: Vec<u64>,
    closed: bool,
    pruned_through: u64,
}

impl Witness {
    /// Of a chain that begins at `first_seq`. Both copies of its checkpoints must be sound in themselves.
    pub fn new(replica: &str, first_seq: u64, known: &Known, own: &[Line]) -> Result<Self, VerifyError> {
        let mut ring = KeyRing::new(&known.public_keys);
        let mut expected = BTreeMap::new();
        for (what, lines) in
            [("the checkpoints given", &known.checkpoints[..]), ("the file `checkpoints`", own)]
        {
            let mut keys = ring.clone();
            keys.current = None;
            let mut last: Option<Checkpoint> = None;
            for (index, line) in lines.iter().enumerate() {
                let checked = check_line(line, replica, &mut keys, &mut last, &mut expected);
                checked.map_err(|problem| VerifyError::Checkpoints {
                    what: what.to_owned(),
                    line: index + 1,
                    problem,
                })?;
            }
            ring.known = keys.known;
        }
        expected.retain(|seq, _| *seq >= first_seq);
        // In a whole chain the first key is in the chain itself; what copies say must then agree.
        let next_expected = expected.keys().next().copied().unwrap_or(u64::MAX);
        Ok(Self {
            replica: replica.to_owned(),
            first_seq,
            ring,
            before: (first_seq == 1).then(Before::none),
            expected,
            next_expected,
            checkpoints: 0,
            vouched: 0,
            vouched_time: None,
            signers: Vec::new(),
            recoveries: Vec::new(),
            closed: false,
            pruned_through: 0,
        })
    }

    /// Takes in the next record, which follows from the one before.
    pub fn record(&mut self, before: Position, record: Record<'_>) -> Result<(), Fault> {
        let seq = record.position.seq;
        if seq >= self.next_expected {
            self.compare(before, record)?;
        }
        self.closed = record.kind == RecordKind::Closed;
        match record.kind {
            RecordKind::Event | RecordKind::Closed => Ok(()),
            RecordKind::Recovered => {
                self.recoveries.push(seq);
                Ok(())
            }
            RecordKind::Checkpoint => self.checkpoint(before, record),
            RecordKind::Key => {
                let notice: KeyNotice = serde_json::from_slice(record.payload)
                    .map_err(|_| (seq, FaultKind::Key("it cannot be read".to_owned())))?;
                self.ring.notice(&notice).map_err(|kind| (seq, kind))
            }
            RecordKind::Pruned => {
                let payload: Option<serde_json::Value> = serde_json::from_slice(record.payload).ok();
                let through = payload.and_then(|payload| payload.get("through")?.as_u64());
                self.pruned_through = self.pruned_through.max(through.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// The last record that a trusted signature vouches for.
    pub fn vouched(&self) -> u64 {
        self.vouched
    }

    /// Holds a record against the checkpoint that a copy has in its place.
    fn compare(&mut self, before: Position, record: Record<'_>) -> Result<(), Fault> {
        let seq = record.position.seq;
        let Some(expected) = self.expected.remove(&seq) else { return Ok(()) };
        self.next_expected = self.expected.keys().next().copied().unwrap_or(u64::MAX);
        // Before the first record that was read nothing is known of the hash but what its header says.
        if !expected.vouches_for(before) {
            let to = before.seq;
            return Err((
                (self.vouched + 1).max(self.first_seq),
                FaultKind::NotAsSigned { number: expected.number, to },
            ));
        }
        let same = record.kind == RecordKind::Checkpoint
            && serde_json::from_slice::<Checkpoint>(record.payload).is_ok_and(|found| found == expected);
        if same { Ok(()) } else { Err((seq, FaultKind::Checkpoint("a copy has another one in its place"))) }
    }

    fn checkpoint(&mut self, before: Position, record: Record<'_>) -> Result<(), Fault> {
        let seq = record.position.seq;
        let wrong = |problem| (seq, FaultKind::Checkpoint(problem));
        let checkpoint: Checkpoint =
            serde_json::from_slice(record.payload).map_err(|_| wrong("it cannot be read"))?;
        if checkpoint.replica != self.replica {
            return Err(wrong("it is another replica's"));
        }
        let trusted = self.ring.check(&checkpoint).map_err(|kind| (seq, kind))?;
        if !checkpoint.vouches_for(before) {
            let first = (self.vouched + 1).max(self.first_seq);
            return Err((first, FaultKind::NotAsSigned { number: checkpoint.number, to: before.seq }));
        }
        if let Some(before) = &self.before {
            follows(&checkpoint, before).map_err(|kind| (seq, kind))?;
        }
        self.before = Some(checkpoint.as_before());
        self.checkpoints += 1;
        if trusted {
            self.vouched = checkpoint.seq;
            self.vouched_time = Some(checkpoint.time);
        }
        if self.signers.last() != Some(&checkpoint.key_id) {
            self.signers.push(checkpoint.key_id);
        }
        Ok(())
    }

    /// Whether everything that copies hold was there.
    pub fn end_at(&self, last: u64) -> Result<(), Fault> {
        let (Some((first, _)), Some((last_expected, _))) =
            (self.expected.first_key_value(), self.expected.last_key_value())
        else {
            return Ok(());
        };
        Err(((last + 1).min(*first), FaultKind::Missing { known: *last_expected }))
    }

    /// What only shows when everything was read.
    pub fn end(&self, last: Position) -> Result<(), Fault> {
        self.end_at(last.seq)?;
        if self.first_seq > self.pruned_through + 1 {
            return Err((self.pruned_through + 1, FaultKind::StartMissing));
        }
        self.signed()
    }

    /// Whether a key that was given signed any of it.
    pub fn signed(&self) -> Result<(), Fault> {
        if !self.ring.pinned.is_empty() && self.vouched == 0 {
            return Err((self.first_seq, FaultKind::NotSigned));
        }
        Ok(())
    }

    pub fn verified(self, segments: usize, last: Position) -> Verified {
        Verified {
            replica: self.replica,
            segments,
            first_seq: self.first_seq,
            last_seq: last.seq,
            last_hash: hex::encode(last.hash),
            recoveries: self.recoveries,
            closed: self.closed,
            checkpoints: self.checkpoints,
            vouched_seq: self.vouched,
            vouched_time_ms: self.vouched_time.map(|time| time.0),
            keys: self.signers,
            pruned_through: self.pruned_through,
            absent: 0,
            unproven: 0,
        }
    }
}

fn follows(checkpoint: &Checkpoint, before: &Before) -> Result<(), FaultKind> {
    if checkpoint.number != before.number + 1 {
        return Err(FaultKind::CheckpointOrder { number: checkpoint.number, expected: before.number + 1 });
    }
    if checkpoint.previous != before.digest
        || checkpoint.seq.checked_sub(before.seq) != Some(checkpoint.records)
    {
        return Err(FaultKind::Checkpoint("it does not follow from the one before"));
    }
    Ok(())
}

/// Checks a line of a copy against those before. A line may be there twice: a mirror is sent it again
/// when nobody knows whether it arrived.
fn check_line(
    line: &Line,
    replica: &str,
    keys: &mut KeyRing,
    last: &mut Option<Checkpoint>,
    expected: &mut BTreeMap<u64, Checkpoint>,
) -> Result<(), FaultKind> {
    let checkpoint = match line {
        Line::Key(notice) => return keys.notice(notice),
        Line::Checkpoint(checkpoint) => checkpoint,
    };
    if last.as_ref() == Some(checkpoint) {
        return Ok(());
    }
    if checkpoint.replica != replica {
        return Err(FaultKind::Checkpoint("it is another replica's"));
    }
    keys.check(checkpoint)?;
    if let Some(last) = last {
        follows(checkpoint, &last.as_before())?;
    }
    if expected.get(&(checkpoint.seq + 1)).is_some_and(|other| other != checkpoint) {
        return Err(FaultKind::Checkpoint("the copies differ"));
    }
    expected.insert(checkpoint.seq + 1, checkpoint.clone());
    *last = Some(checkpoint.clone());
    Ok(())
}
