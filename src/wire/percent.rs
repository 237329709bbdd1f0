//! Percent-encoding: decoded once and strictly, encoded in one spelling.

use std::fmt::Write;

/// Decodes once. Every `%` must begin an escape, and the outcome must be UTF-8; `+` is a space in
/// queries. The error is what is wrong, for a sentence that begins with the field.
pub(super) fn decode(raw: &str, plus_is_space: bool) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                    _ => return Err("holds a `%` that begins no escape"),
                }
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| "is not UTF-8")
}

/// Whether decoding once more would change the text.
pub(super) fn holds_escape(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|window| window[0] == b'%' && window[1].is_ascii_hexdigit() && window[2].is_ascii_hexdigit())
}

/// Appends the one spelling: letters, digits and `-._~` as they are, also what `keep` names, all else
/// escaped in upper case.
pub(super) fn encode(text: &str, keep: fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || keep(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
