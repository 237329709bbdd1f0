//! Which paths objects may have: relative, of plain segments, the same in a directory and in a bucket.

use super::ObjectsError;

/// The directory of the store's own: uploads on their way, and parts that wait for their end.
pub const SCRATCH: &str = ".tracegate";

/// What marks a directory of a bucket in which nothing lies yet.
pub const MARKER: &str = ".tracegate-directory";

/// Longest segment that file systems take, in bytes.
const MAX_SEGMENT: usize = 255;
/// Longest path that buckets and file systems take below a root, in bytes.
const MAX_PATH: usize = 1024;

/// Whether a path is the store's own, which no caller may name.
pub fn is_reserved(path: &str) -> bool {
    path.split('/').find(|segment| !segment.is_empty()) == Some(SCRATCH)
}

/// A path that may name an object.
pub(super) fn checked(path: &str) -> Result<&str, ObjectsError> {
    let wrong = |what: &str| {
        let shown: String = path.chars().take(200).collect();
        Err(ObjectsError::path(format!("Invalid artifact path: '{shown}'. {what}")))
    };
    if path.len() > MAX_PATH {
        return wrong("It is longer than 1024 bytes.");
    }
    for segment in path.split('/') {
        if matches!(segment, "" | "." | "..") {
            return wrong("It has an empty, `.` or `..` segment.");
        }
        if segment.len() > MAX_SEGMENT {
            return wrong("A segment is longer than 255 bytes.");
        }
        if segment.chars().any(char::is_control) {
            return wrong("It holds a control character.");
        }
    }
    Ok(path)
}

/// A path that may name a directory; the empty one is the root.
pub(super) fn directory_path(path: &str) -> Result<&str, ObjectsError> {
    if path.is_empty() { Ok(path) } else { checked(path) }
}
