//! A segment as a file that is appended to.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

/// What a segment must be able to do; a file, or in tests one that fails.
pub trait SegmentFile: Send + Sync + 'static {
    /// Appends all of the bytes. If the error [says that there is no room](no_room), then none of them: what
    /// the disk took is cut off again. After any other error nobody knows.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

impl SegmentFile for File {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match (&mut &*self).write(&bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if no_room(&error) && written > 0 => {
                    // Ours is the only hand on this file.
                    let whole = self.metadata()?.len() - written as u64;
                    self.set_len(whole).map_err(io::Error::other)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file that has room on the disk before it is written to.
///
/// A write into room that is already its own leaves the file system less to note, and so makes the fsync that
/// follows cheaper. The length of the file stays what was written: whoever reads it sees no difference.
pub struct Reserving {
    file: File,
    length: AtomicU64,
    reserved: AtomicU64,
}

/// How much room is taken at once. So much of a nearly full disk is out of others' reach.
const STEP: u64 = 4 << 20;

impl Reserving {
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length: AtomicU64::new(length), reserved: AtomicU64::new(length) })
    }

    fn reserve(&self, until: u64) {
        let reserved = self.reserved.load(Ordering::Relaxed);
        if until > reserved {
            let length = STEP.max(until - reserved);
            // Without room, or on a file system that knows nothing of it, the write itself says what is wrong.
            let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, reserved, length);
            self.reserved.store(reserved + length, Ordering::Relaxed);
        }
    }
}

impl SegmentFile for Reserving {
    /// One writer at a time, as with any segment.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let end = self.length.load(Ordering::Relaxed) + bytes.len() as u64;
        self.reserve(end);
        SegmentFile::write_all(&self.file, bytes)?;
        self.length.store(end, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        SegmentFile::sync(&self.file)
    }
}

impl Drop for Reserving {
    /// Gives back what was reserved and not written.
    fn drop(&mut self) {
        if let Ok(metadata) = self.file.metadata() {
            let _ = self.file.set_len(metadata.len());
        }
    }
}

/// Whether a disk refused for want of room, which comes back.
pub fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn room_is_taken_ahead_and_given_back_and_the_length_is_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
        let known = fallocate(open(), FallocateFlags::KEEP_SIZE, 0, 4096).is_ok();
        for written in [3_u64, 6] {
            let segment = Reserving::new(open()).unwrap();
            SegmentFile::write_all(&segment, b"abc").unwrap();
            segment.sync().unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), written);
            // Where the file system cannot reserve, it is written to all the same.
            assert!(blocks() >= STEP || !known);
            drop(segment);
            assert!(blocks() < STEP);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"abcabc");
        let segment = Reserving::new(open()).unwrap();
        SegmentFile::write_all(&segment, &vec![b'x'; STEP as usize + 1]).unwrap();
        SegmentFile::write_all(&segment, b"y").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6 + STEP + 2);
    }
}
