//! Opens a body behind its content encoding, with a cap on what comes out.

use std::io::{BufRead, BufReader, Chain, Cursor, Error, ErrorKind, Read, Result};

use flate2::read::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::{ReplayBody, StreamError};

/// A reader of the decompressed body that fails with [`StreamError::TooLarge`] past the cap (see
/// [`to_error`]). Memory is flat whatever the ratio.
pub fn open(body: &ReplayBody, encoding: Option<&str>, cap: u64) -> std::result::Result<Capped, StreamError> {
    let raw = body.reader();
    let inner: Box<dyn Read> = match encoding.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => raw,
        // Every member is read, as Python's `gzip.decompress` does.
        "gzip" => Box::new(MultiGzDecoder::new(raw)),
        "deflate" => Box::new(inflate(raw).map_err(to_error)?),
        other => return Err(StreamError::Encoding(other.chars().take(80).collect())),
    };
    Ok(Capped { inner, left: cap, cap })
}

/// What an error while reading the decompressed body means.
pub fn to_error(error: Error) -> StreamError {
    if let Some(exceeded) = error.get_ref().and_then(|inner| inner.downcast_ref::<CapExceeded>()) {
        return StreamError::TooLarge { limit: exceeded.0 };
    }
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            StreamError::malformed(format!("the compressed body is damaged: {error}"))
        }
        _ => StreamError::Io(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes decompressed")]
struct CapExceeded(u64);

pub struct Capped {
    inner: Box<dyn Read>,
    left: u64,
    cap: u64,
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(Error::other(CapExceeded(self.cap))),
        }
        Ok(read)
    }
}

/// MLflow tries zlib and then raw deflate, and ignores what follows the stream. Here the header decides
/// which it is, so that no stream is one thing to us and another to it, and nothing may follow.
fn inflate(mut raw: Box<dyn Read + Send>) -> Result<Inflate> {
    let mut header = [0; 2];
    raw.read_exact(&mut header)?;
    let is_zlib =
        header[0] & 0x0f == 8 && header[0] >> 4 <= 7 && u16::from_be_bytes(header).is_multiple_of(31);
    if is_zlib && header[1] & 0x20 != 0 {
        return Err(Error::new(ErrorKind::InvalidData, "preset dictionary"));
    }
    Ok(Inflate {
        input: BufReader::new(Cursor::new(header).chain(raw)),
        state: Decompress::new(is_zlib),
        done: false,
    })
}

/// The header that was looked at, and the rest.
type Rejoined = Chain<Cursor<[u8; 2]>, Box<dyn Read + Send>>;

/// One deflate stream, complete, and nothing after it.
struct Inflate {
    input: BufReader<Rejoined>,
    state: Decompress,
    done: bool,
}

impl Read for Inflate {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while !self.done && !buffer.is_empty() {
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let (consumed, produced) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(input, buffer, FlushDecompress::None)
                .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            let consumed = usize::try_from(self.state.total_in() - consumed).unwrap_or(usize::MAX);
            let produced = usize::try_from(self.state.total_out() - produced).unwrap_or(usize::MAX);
            self.input.consume(consumed);
            if status == Status::StreamEnd {
                self.done = true;
                if !self.input.fill_buf()?.is_empty() {
                    return Err(Error::new(ErrorKind::InvalidData, "bytes after the end of the stream"));
                }
            }
            if produced > 0 {
                return Ok(produced);
            }
            if at_end && !self.done {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the stream is cut short"));
            }
        }
        Ok(0)
    }
}
