//! Bodies: absent, in memory, in a temporary file, or still streaming.

use std::fmt;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;

/// A body still on its way. An error is a message for the log; the peer sees the stream end early.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>>>>;

/// A body that was read whole and can be read again: small ones in memory, large ones in a file that
/// is already unlinked, so that nothing is left behind whatever happens.
#[derive(Debug, Clone)]
pub enum MemoryOrFile {
    Memory(Bytes),
    File { file: Arc<std::fs::File>, length: u64 },
}

/// A replayable body.
#[derive(Debug, Clone)]
pub struct ReplayBody(pub MemoryOrFile);

impl ReplayBody {
    pub fn memory(bytes: impl Into<Bytes>) -> Self {
        Self(MemoryOrFile::Memory(bytes.into()))
    }

    /// A body in a file, of which the first `length` bytes count.
    pub fn file(file: std::fs::File, length: u64) -> Self {
        Self(MemoryOrFile::File { file: Arc::new(file), length })
    }

    pub fn len(&self) -> u64 {
        match &self.0 {
            MemoryOrFile::Memory(bytes) => bytes.len() as u64,
            MemoryOrFile::File { length, .. } => *length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes when they are in memory; a spilled body has to be read.
    pub fn as_memory(&self) -> Option<&Bytes> {
        match &self.0 {
            MemoryOrFile::Memory(bytes) => Some(bytes),
            MemoryOrFile::File { .. } => None,
        }
    }

    /// Reads the body from its start. Independent of every other reader.
    pub fn reader(&self) -> Box<dyn Read + Send> {
        match &self.0 {
            MemoryOrFile::Memory(bytes) => Box::new(std::io::Cursor::new(bytes.clone())),
            MemoryOrFile::File { file, length } => {
                Box::new(FileReader { file: Arc::clone(file), position: 0, length: *length })
            }
        }
    }
}

/// Reads at its own offset, so that several readers may share one file.
struct FileReader {
    file: Arc<std::fs::File>,
    position: u64,
    length: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

pub enum Body {
    Empty,
    Replay(ReplayBody),
    Stream { stream: BodyStream, length: Option<u64> },
}

impl Body {
    pub fn memory(bytes: impl Into<Bytes>) -> Self {
        Self::Replay(ReplayBody::memory(bytes))
    }

    /// The length if it is known before reading.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Replay(body) => Some(body.len()),
            Self::Stream { length, .. } => *length,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("Empty"),
            Self::Replay(body) => write!(formatter, "Replay({} bytes)", body.len()),
            Self::Stream { length, .. } => write!(formatter, "Stream({length:?})"),
        }
    }
}
