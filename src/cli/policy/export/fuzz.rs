//! What an export writes of the lines that the server sends.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use super::*;

pub(in crate::cli::policy) fn written(lines: &[Value]) -> String {
    let mut text = Vec::new();
    let mut written = Written::new(&mut text);
    for line in lines {
        written.line(line).unwrap();
    }
    assert_eq!(written.finish().unwrap(), Some(true));
    String::from_utf8(text).unwrap()
}
