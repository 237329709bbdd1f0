//! Reads a body whole: a small one into memory, a large one into a file that has no name.
//!
//! The file is unlinked from the start, so whatever happens to the process nothing is left behind.
//! Writes happen off the reactor, one at a time: the caller is read no faster than the disk takes it.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::wire::{BodyStream, MemoryOrFile, ReplayBody};

/// Bytes gathered before one write to the file.
const WRITE_BYTES: usize = 64 * 1024;

/// How much of a body is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Kept in memory up to this many bytes; beyond it in a file.
    pub memory_bytes: usize,
    /// Refused beyond this many bytes.
    pub max_bytes: u64,
    /// The directory of the unlinked files.
    pub directory: PathBuf,
}

/// Why a body could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the body is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: u64 },
    /// The sender broke off.
    #[error("the body could not be read")]
    Source(#[source] std::io::Error),
    /// Our own disk.
    #[error("the body could not be kept")]
    Storage(#[source] std::io::Error),
}

/// Reads `stream` to its end. Costs at most `memory_bytes` plus one chunk and one write of memory.
pub async fn spool(mut stream: BodyStream, limits: SpoolLimits) -> Result<ReplayBody, SpoolError> {
    let mut pending = BytesMut::new();
    let mut spilled: Option<File> = None;
    let mut length: u64 = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(SpoolError::Source)?;
        length = length.saturating_add(chunk.len() as u64);
        if length > limits.max_bytes {
            return Err(SpoolError::TooLarge { max_bytes: limits.max_bytes });
        }
        pending.extend_from_slice(&chunk);
        let keep = if spilled.is_some() { WRITE_BYTES } else { limits.memory_bytes };
        if pending.len() > keep {
            spilled = Some(write(spilled, pending.split().freeze(), &limits).await?);
        }
    }
    match spilled {
        None => Ok(ReplayBody::memory(pending.freeze())),
        Some(file) => {
            let file = write(Some(file), pending.freeze(), &limits).await?;
            Ok(ReplayBody(MemoryOrFile::File { file: Arc::new(file), length }))
        }
    }
}

async fn write(file: Option<File>, bytes: Bytes, limits: &SpoolLimits) -> Result<File, SpoolError> {
    let directory = limits.directory.clone();
    let written = tokio::task::spawn_blocking(move || {
        let mut file = match file {
            Some(file) => file,
            None => tempfile::tempfile_in(directory)?,
        };
        file.write_all(&bytes)?;
        Ok(file)
    });
    written.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(SpoolError::Storage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn chunks(count: usize, size: usize) -> BodyStream {
        Box::pin(stream::iter((0..count).map(move |n| Ok(Bytes::from(vec![n as u8; size])))))
    }

    fn limits(directory: &tempfile::TempDir) -> SpoolLimits {
        SpoolLimits { memory_bytes: 1_000, max_bytes: 2_000_000, directory: directory.path().to_owned() }
    }

    fn read(body: &ReplayBody) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut body.reader(), &mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn small_bodies_stay_in_memory_and_large_ones_leave_no_file_behind() {
        let directory = tempfile::tempdir().unwrap();
        let small = spool(chunks(10, 100), limits(&directory)).await.unwrap();
        assert!(small.as_memory().is_some());
        assert_eq!(small.len(), 1_000);

        let large = spool(chunks(200, 7_001), limits(&directory)).await.unwrap();
        assert!(large.as_memory().is_none());
        let expected: Vec<u8> = (0..200_usize).flat_map(|n| vec![n as u8; 7_001]).collect();
        assert_eq!(large.len(), expected.len() as u64);
        assert_eq!(read(&large), expected);
        assert_eq!(read(&large), expected, "a second reader starts over");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn too_large_broken_and_unwritable_bodies_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let error = spool(chunks(400, 7_000), limits(&directory)).await.unwrap_err();
        assert!(matches!(error, SpoolError::TooLarge { max_bytes: 2_000_000 }));
        let broken: BodyStream = Box::pin(stream::iter([
            Ok(Bytes::from_static(b"x")),
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        ]));
        assert!(matches!(spool(broken, limits(&directory)).await, Err(SpoolError::Source(_))));
        let nowhere = SpoolLimits { directory: directory.path().join("missing"), ..limits(&directory) };
        assert!(matches!(spool(chunks(2, 1_000), nowhere).await, Err(SpoolError::Storage(_))));
    }
}
