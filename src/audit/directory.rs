//! The spool's directory: its lock, the replica's name and the segment files.
//!
//! ```text
//! audit/
//!   lock                              held by the one process that writes
//!   replica                           the replica's name, which the chain starts from
//!   00000000000000000001.seg          named by the seq of its first record
//!   00000000000000081234.seg
//!   00000000000000081234.seg.cut-90211   what a recovery cut off, kept for whoever wants to look
//! ```
//!
//! Directory and files are readable by their owner alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::SegmentHeader;
use crate::config::audit::AuditConfig;

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("the audit directory `{path}` is in use by another process")]
    InUse { path: PathBuf },
    #[error(
        "the audit directory `{path}` belongs to replica `{found}`, but `audit.replica` is `{configured}`"
    )]
    OtherReplica { path: PathBuf, found: String, configured: String },
    #[error("`{path}` does not hold a replica name")]
    MalformedReplica { path: PathBuf },
    #[error("the audit directory `{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A directory that this process alone may write, until it is dropped.
#[derive(Debug)]
pub struct Claimed {
    pub replica: String,
    /// The lock is released when the file is closed.
    _lock: File,
}

/// Makes the directory if there is none, locks it and settles the replica's name.
pub fn claim(path: &Path, configured: Option<&str>) -> Result<Claimed, DirectoryError> {
    let io_error = |source| DirectoryError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error)?;
    let lock =
        private().write(true).create(true).truncate(false).open(path.join("lock")).map_err(io_error)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(io_error(source)),
    }
    let replica = match replica(path)? {
        Some(found) => match configured {
            Some(configured) if configured != found => {
                return Err(DirectoryError::OtherReplica {
                    path: path.to_owned(),
                    found,
                    configured: configured.to_owned(),
                });
            }
            _ => found,
        },
        None => {
            let name = configured.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned);
            write_whole(path, "replica", format!("{name}\n").as_bytes()).map_err(io_error)?;
            name
        }
    };
    Ok(Claimed { replica, _lock: lock })
}

/// The replica's name as the directory holds it; `None` before the first start.
pub fn replica(path: &Path) -> Result<Option<String>, DirectoryError> {
    let file = path.join("replica");
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let name = text.trim_end();
            if !AuditConfig::is_replica_name(name) {
                return Err(DirectoryError::MalformedReplica { path: file });
            }
            Ok(Some(name.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DirectoryError::Io { path: file, source }),
    }
}

pub fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The first seq of every segment, in order.
pub fn segments(path: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(first_seq) = name.strip_suffix(".seg").and_then(|digits| digits.parse().ok())
            && name == segment_name(first_seq)
        {
            found.push(first_seq);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Begins a segment and opens it for appending. A crash leaves it with a whole header or not at all.
pub fn create_segment(path: &Path, header: &SegmentHeader) -> io::Result<File> {
    let name = segment_name(header.first_seq);
    write_whole(path, &name, &header.encode())?;
    open_segment(path, header.first_seq)
}

pub fn open_segment(path: &Path, first_seq: u64) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path.join(segment_name(first_seq)))
}

/// The length of a segment's header, which depends on the replica's name alone.
pub fn header_len(segment: &Path) -> io::Result<u64> {
    let mut bytes = Vec::new();
    File::open(segment)?.take(SegmentHeader::LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(SegmentHeader::decode(&bytes).map_or(0, |(_, length)| length as u64))
}

/// Writes a file so that after a crash it is there whole, or not there.
pub fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}.new"));
    let mut file = private().write(true).create(true).truncate(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, directory.join(name))?;
    sync_directory(directory)
}

/// Makes created, renamed and removed names durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_never_hold_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = claim(directory.path(), None).unwrap();
        assert!(matches!(claim(directory.path(), None), Err(DirectoryError::InUse { .. })));
        let name = first.replica.clone();
        drop(first);
        assert_eq!(claim(directory.path(), None).unwrap().replica, name);
    }

    #[test]
    fn a_directory_keeps_its_replica() {
        let directory = tempfile::tempdir().unwrap();
        drop(claim(directory.path(), Some("eu-1")).unwrap());
        assert!(matches!(
            claim(directory.path(), Some("eu-2")),
            Err(DirectoryError::OtherReplica { found, .. }) if found == "eu-1"
        ));
        std::fs::write(directory.path().join("replica"), "../x\n").unwrap();
        assert!(matches!(claim(directory.path(), None), Err(DirectoryError::MalformedReplica { .. })));
    }

    #[test]
    fn only_segments_are_taken_for_segments() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["1.seg", "00000000000000000009.seg", "00000000000000000002.seg.cut-3", "x.seg", "lock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(segments(directory.path()).unwrap(), [9]);
    }
}
