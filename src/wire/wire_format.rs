//! Walks protobuf's wire format over a stream, skipping what nobody asked for without holding it.
//!
//! Stricter than protobuf where its parsers differ: no groups, no padded tags, no length past the end of
//! the message around it. Padded lengths are read: some exporters reserve four bytes for each.

use std::io::{BufRead, BufReader, Read};

use super::StreamError;
use super::decompress::to_error;

pub const VARINT: u8 = 0;
pub const FIXED64: u8 = 1;
pub const LENGTH_DELIMITED: u8 = 2;
pub const FIXED32: u8 = 5;

/// The end of a message whose length is not known: that of the stream.
pub const STREAM_END: u64 = u64::MAX;

pub struct WireFormat<R> {
    input: BufReader<R>,
    position: u64,
}

/// The tag of a field.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    pub field: u32,
    pub wire_type: u8,
    /// Where the tag begins.
    pub at: u64,
}

impl<R: Read> WireFormat<R> {
    pub fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(32 * 1024, input), position: 0 }
    }

    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next tag of a message that ends at `end`; nothing at its end.
    pub fn tag(&mut self, end: u64) -> Result<Option<Tag>, StreamError> {
        let at = self.position;
        if at == end || (end == STREAM_END && self.input.fill_buf().map_err(to_error)?.is_empty()) {
            return Ok(None);
        }
        let (value, padded) = self.varint(end, 5)?;
        let value = u32::try_from(value).map_err(|_| StreamError::malformed("a tag is out of range"))?;
        if padded || value >> 3 == 0 {
            return Err(StreamError::malformed("a tag is padded or numbered zero"));
        }
        Ok(Some(Tag { field: value >> 3, wire_type: (value & 7) as u8, at }))
    }

    /// The length of a delimited field, as the position where it ends.
    pub fn length(&mut self, end: u64) -> Result<u64, StreamError> {
        let (length, _) = self.varint(end, 5)?;
        if length > i32::MAX as u64 || length > end - self.position {
            return Err(StreamError::malformed("a length exceeds its message"));
        }
        Ok(self.position + length)
    }

    /// Skips the field whose tag was just read.
    pub fn skip_field(&mut self, tag: Tag, end: u64) -> Result<(), StreamError> {
        let until = match tag.wire_type {
            VARINT => return self.varint(end, 10).map(|_| ()),
            FIXED64 => self.position + 8,
            LENGTH_DELIMITED => self.length(end)?,
            FIXED32 => self.position + 4,
            _ => return Err(StreamError::malformed("groups are not supported")),
        };
        if until > end {
            return Err(StreamError::malformed("a field exceeds its message"));
        }
        self.skip_to(until)
    }

    pub fn skip_to(&mut self, until: u64) -> Result<(), StreamError> {
        while self.position < until {
            let available = self.input.fill_buf().map_err(to_error)?.len();
            if available == 0 {
                return Err(cut_short());
            }
            let step = available.min(usize::try_from(until - self.position).unwrap_or(usize::MAX));
            self.input.consume(step);
            self.position += step as u64;
        }
        Ok(())
    }

    /// The bytes up to `until`, at most `most` of them; more are an error, so nothing is allocated on a
    /// length's word alone.
    pub fn bytes(&mut self, until: u64, most: u64) -> Result<Vec<u8>, StreamError> {
        let length = until - self.position;
        if length > most {
            return Err(StreamError::malformed(format!("a field is longer than {most} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_short(),
            _ => to_error(error),
        })?;
        self.position = until;
        Ok(bytes)
    }

    /// A varint of at most `most` bytes, and whether a shorter one says the same.
    fn varint(&mut self, end: u64, most: u32) -> Result<(u64, bool), StreamError> {
        let mut value = 0_u64;
        for index in 0..most {
            if self.position == end {
                return Err(StreamError::malformed("a number exceeds its message"));
            }
            let byte = match self.input.fill_buf().map_err(to_error)?.first() {
                Some(byte) => *byte,
                None => return Err(cut_short()),
            };
            self.input.consume(1);
            self.position += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok((value, index > 0 && byte == 0));
            }
        }
        Err(StreamError::malformed("a number is too long"))
    }
}

fn cut_short() -> StreamError {
    StreamError::malformed("the message is cut short")
}

/// Appends a varint in its shortest form.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub fn put_field(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field << 3 | u32::from(LENGTH_DELIMITED)), out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
