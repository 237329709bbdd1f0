//! The files `checkpoints` and `keys` beside the segments: everything signed, in the order of the chain.
//!
//! They repeat what the chain holds, so that it can be copied elsewhere, published, and still be there
//! when the segments are pruned. A line is written after its record is on the disk. So after a crash the
//! files may lack the last lines, which [`Ledger::open`] adds again; they never hold more than the chain,
//! unless somebody cut it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::checkpoint::{Before, Checkpoint, Line, Signer};
use super::directory;
use super::reader::{ChainReader, FaultKind, ReadError};
use super::record::{Position, RecordKind};
use super::signing::{KeyError, KeyNotice, PublicKey, SigningKey};
use crate::clock::UnixMillis;

pub const CHECKPOINTS: &str = "checkpoints";
pub const KEYS: &str = "keys";

#[derive(Debug, Default)]
pub struct Ledger {
    pub lines: Vec<Line>,
}

/// Every line of a file of lines, with its number; a last line without its end is none.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                let problem = format!("`{}`, line {}: {error}", path.display(), index + 1);
                io::Error::new(io::ErrorKind::InvalidData, problem)
            })
        })
        .collect()
}

impl Ledger {
    /// Reads the files, adds what a crash kept from them and holds them against the chain.
    pub fn open(directory: &Path, replica: &str) -> Result<Self, ReadError> {
        let mut ledger = Self { lines: read(&directory.join(CHECKPOINTS))? };
        let known = ledger.last().cloned();
        let mut missing: Vec<Line> = Vec::new();
        let mut found = known.is_none();
        // Backwards, until a segment holds a checkpoint that the file has too: usually the last one.
        for first_seq in directory::segments(directory)?.into_iter().rev() {
            let lines = signed_in(directory, replica, first_seq)?;
            let mut after = Vec::new();
            for (at, line) in lines {
                match (&line, &known) {
                    (Line::Checkpoint(checkpoint), Some(known)) if checkpoint.number <= known.number => {
                        if checkpoint.number == known.number && checkpoint != known {
                            return Err(fault(directory, replica, at, FaultKind::Rewritten).into());
                        }
                        found |= checkpoint.number == known.number;
                        after.clear();
                    }
                    _ => after.push(line),
                }
            }
            let reached = found && known.is_some();
            after.append(&mut missing);
            missing = after;
            if reached {
                break;
            }
        }
        if let (false, Some(known)) = (found, &known) {
            let at = Position { seq: known.seq, hash: [0; 32] };
            return Err(fault(directory, replica, at, FaultKind::Missing { known: known.seq + 1 }).into());
        }
        missing.retain(|line| !ledger.lines.contains(line));
        append(directory, &missing)?;
        ledger.lines.extend(missing);
        // A crash between the two files, or a hand: `keys` is made from the other.
        if ledger.keys().count()
            != std::fs::read_to_string(directory.join(KEYS)).map_or(0, |keys| keys.lines().count())
        {
            let text = text_of(ledger.keys())?;
            directory::write_whole(directory, KEYS, text.as_bytes())?;
        }
        Ok(ledger)
    }

    pub fn last(&self) -> Option<&Checkpoint> {
        self.checkpoints().next_back()
    }

    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.lines.iter().filter_map(|line| match line {
            Line::Checkpoint(checkpoint) => Some(checkpoint),
            Line::Key(_) => None,
        })
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &KeyNotice> {
        self.lines.iter().filter_map(|line| match line {
            Line::Key(notice) => Some(notice),
            Line::Checkpoint(_) => None,
        })
    }

    /// The key that signs, and what must go on record before it does. Makes the key if there never was one.
    pub fn signer(&self, key_file: &Path, now: UnixMillis) -> Result<(Signer, Vec<KeyNotice>), KeyError> {
        let path = key_file.display().to_string();
        let current: Option<PublicKey> = self.keys().next_back().and_then(KeyNotice::key);
        let key = match SigningKey::load(key_file)? {
            Some(key) => key,
            None if current.is_some() => return Err(KeyError::Missing(path)),
            None => {
                let key = SigningKey::generate()?;
                key.save(key_file)?;
                key
            }
        };
        let notices = key.notices_after(current, now).ok_or_else(|| KeyError::Unannounced {
            path,
            current: current.map(|key| key.id()).unwrap_or_default(),
        })?;
        let before = self.last().map_or_else(Before::none, Checkpoint::as_before);
        Ok((Signer { key, before }, notices))
    }
}

/// Adds lines to the files, on the disk when it returns.
pub fn append(directory: &Path, lines: &[Line]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let keys = lines.iter().filter_map(|line| match line {
        Line::Key(notice) => Some(notice),
        Line::Checkpoint(_) => None,
    });
    add(directory, KEYS, &text_of(keys)?)?;
    add(directory, CHECKPOINTS, &text_of(lines)?)?;
    directory::sync_directory(directory)
}

pub fn text_of<T: serde::Serialize>(lines: impl IntoIterator<Item = T>) -> io::Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

fn add(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    cut_torn_line(&mut file)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

/// A crash may have left the last line half written.
fn cut_torn_line(file: &mut std::fs::File) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let length = file.seek(SeekFrom::End(0))?;
    let look = length.min(1 << 20);
    file.seek(SeekFrom::Start(length - look))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    if end.last().is_some_and(|byte| *byte != b'\n') {
        let kept = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(length - look + kept as u64)?;
    }
    Ok(())
}

/// What is signed or signs in one segment, each with the position of the record before.
fn signed_in(directory: &Path, replica: &str, first_seq: u64) -> Result<Vec<(Position, Line)>, ReadError> {
    let mut reader = ChainReader::at_segment(directory, replica, first_seq)?;
    let mut lines = Vec::new();
    loop {
        let before = reader.position();
        let Some(record) = reader.next()? else { return Ok(lines) };
        let line = match record.kind {
            RecordKind::Checkpoint => Some(serde_json::from_slice(record.payload).map(Line::Checkpoint)),
            RecordKind::Key => Some(serde_json::from_slice(record.payload).map(Line::Key)),
            _ => None,
        };
        if reader.place().is_some_and(|(segment, _)| segment != first_seq) {
            return Ok(lines);
        }
        match line {
            Some(Ok(line)) => lines.push((before, line)),
            Some(Err(_)) => {
                let kind = FaultKind::Checkpoint("it cannot be read");
                return Err(fault(directory, replica, before, kind).into());
            }
            None => {}
        }
    }
}

fn fault(directory: &Path, replica: &str, before: Position, kind: FaultKind) -> super::reader::ChainFault {
    ChainReader::after(directory, replica, before).fault(kind)
}
