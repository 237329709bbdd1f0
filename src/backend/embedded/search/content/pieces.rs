//! The content of a trace cut into pieces that overlap, so that a text of some length lies in one of them
//! whole.

/// Numbers that a trace has for its pieces.
pub const PIECES_OF_TRACE: i64 = 4096;
/// Bytes of a piece, and of what it repeats of the one before.
const PIECE: usize = 256 * 1024;
const OVERLAP: usize = 1024;

/// Collects texts and gives pieces back.
#[derive(Debug, Default)]
pub struct Pieces {
    buffer: String,
    /// Bytes that are not yet a character.
    rest: Vec<u8>,
}

impl Pieces {
    /// Adds a part of a text. Cut it where you like; what is no UTF-8 is left out.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        for chunk in bytes.utf8_chunks() {
            self.buffer.push_str(chunk.valid());
            self.rest = chunk.invalid().to_vec();
        }
        // More than a character's beginning will never be one.
        if self.rest.len() > 3 {
            self.rest.clear();
        }
    }

    /// Ends a text: what follows belongs to another one.
    pub fn end(&mut self) {
        self.rest.clear();
        self.buffer.push('\n');
    }

    /// A piece, if there is enough for one.
    pub fn full(&mut self) -> Option<String> {
        if self.buffer.len() <= PIECE {
            return None;
        }
        let end = self.buffer.floor_char_boundary(PIECE);
        let piece = self.buffer[..end].to_owned();
        let keep = self.buffer.floor_char_boundary(end - OVERLAP);
        self.buffer.drain(..keep);
        Some(piece)
    }

    /// What is left.
    pub fn last(&mut self) -> Option<String> {
        let piece = std::mem::take(&mut self.buffer);
        (!piece.trim().is_empty()).then_some(piece)
    }
}
