//! Checks a backup by itself: no server, no configuration.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::files::{self, at};
use super::manifest::{FILE, Manifest};
use super::{BackupError, Tell};
use crate::audit::{self, Known, Verified};

/// A backup that is as it was made.
#[derive(Debug)]
pub struct Checked {
    /// The SHA-256 of its manifest, which has those of all files.
    pub id: String,
    pub manifest: Manifest,
    pub bytes: u64,
    /// The record, as its own hashes and signatures have it.
    pub record: Verified,
}

/// Checks hashes, rows and the record's chain. `expected` is the id that was noted when it was made: who can
/// write to the backup can write its manifest too.
pub fn verify(directory: &Path, expected: Option<&str>, tell: Tell<'_>) -> Result<Checked, BackupError> {
    let path = directory.join(FILE);
    let text = fs::read(&path).map_err(at("cannot be read; is this a backup?", &path))?;
    let id = hex::encode(Sha256::digest(&text));
    if expected.is_some_and(|expected| !expected.eq_ignore_ascii_case(&id)) {
        return Err(BackupError::Damaged(format!("its id is {id}, not the one that was expected")));
    }
    let manifest = Manifest::parse(&text)?;
    let found = files::below(directory)?;
    if let Some(more) = found.iter().find(|path| *path != FILE && !manifest.files.contains_key(*path)) {
        return Err(BackupError::Damaged(format!("`{more}` does not belong to it")));
    }
    let mut bytes = 0;
    for (number, (name, facts)) in manifest.files.iter().enumerate() {
        if !found.contains(name) {
            return Err(BackupError::Damaged(format!("`{name}` is missing")));
        }
        if files::facts(&directory.join(name))? != *facts {
            return Err(BackupError::Damaged(format!("`{name}` is not as it was written")));
        }
        bytes += facts.bytes;
        if number % 1000 == 999 {
            tell(&format!("{} of {} files checked", number + 1, manifest.files.len()));
        }
    }
    for (what, rows) in [("state", Some(&manifest.state)), ("traces", manifest.traces.as_ref())] {
        for (table, expected) in rows.iter().flat_map(|rows| &rows.rows) {
            let lines = count_lines(&directory.join(what).join(format!("{table}.jsonl")))?;
            if lines != *expected {
                return Err(BackupError::Damaged(format!(
                    "`{table}` has {lines} rows instead of {expected}"
                )));
            }
        }
    }
    tell("audit chain");
    let record = chain(&directory.join("audit"))?;
    let noted = &manifest.record;
    if (&record.replica, record.last_seq, &record.last_hash)
        != (&noted.replica, noted.last_seq, &noted.last_hash)
    {
        return Err(BackupError::Damaged(format!(
            "the record ends at {}, not at {}",
            record.last_seq, noted.last_seq
        )));
    }
    Ok(Checked { id, manifest, bytes, record })
}

/// The record by itself. Its end may be torn, as that of any copy of one that is written to.
pub fn chain(directory: &Path) -> Result<Verified, BackupError> {
    audit::verify(directory, Known::default(), &mut |_| {})
        .map_err(|error| BackupError::Record(error.to_string()))
}

fn count_lines(path: &Path) -> Result<u64, BackupError> {
    // A table without rows has no file.
    if !path.exists() {
        return Ok(0);
    }
    let mut lines = BufReader::new(fs::File::open(path).map_err(at("cannot be read", path))?);
    let (mut line, mut count) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line).map_err(at("cannot be read", path))? > 0 {
        count += 1;
        line.clear();
    }
    Ok(count)
}
