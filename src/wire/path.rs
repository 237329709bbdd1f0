//! The canonical path: split first, each segment decoded once, everything with two readings refused.
//!
//! `/api/3.0/mlflow/traces/tr-1/tags/a%2Fb` has seven segments, the last of which is `a/b`. Whether such
//! a segment is welcome is for the router to say: only a template parameter that is declared opaque may
//! take it ([`CanonicalPath::has_encoded_separator`]).

use std::fmt::Write;

use super::Malformed;

/// Longest raw path that is read.
const MAX_BYTES: usize = 8 * 1024;
const MAX_SEGMENTS: usize = 128;

/// Decoded segments of an absolute path. `/` is no segments; one trailing slash folds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    segments: Vec<String>,
    /// Written back at the end; only where an upstream route has one.
    trailing_slash: bool,
}

impl CanonicalPath {
    /// Parses the raw path of a request target (without its query).
    pub fn parse(raw: &str) -> Result<Self, Malformed> {
        if raw.len() > MAX_BYTES {
            return Err(refuse(format!("is longer than {MAX_BYTES} bytes")));
        }
        let Some(relative) = raw.strip_prefix('/') else {
            return Err(refuse("does not start with `/`"));
        };
        if raw.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'?' | b'#')) {
            return Err(refuse("holds a character that must be percent-encoded"));
        }
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        // `//` is a root and an empty segment, not a root with a trailing slash.
        if relative.is_empty() && raw.len() < 2 {
            return Ok(Self { segments: Vec::new(), trailing_slash: false });
        }
        let segments = relative.split('/').map(decode_segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(refuse(format!("has more than {MAX_SEGMENTS} segments")));
        }
        Ok(Self { segments, trailing_slash: false })
    }

    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Spells the path with a slash at its end, for the upstream routes that are only found so.
    pub fn end_with_slash(&mut self) {
        self.trailing_slash = !self.segments.is_empty();
    }

    /// Whether a segment was sent with an encoded `/` or `\` in it. Upstream servers decode the whole
    /// path before they route, so such a segment means one thing to them only where the template takes
    /// the rest of the path; the router refuses it anywhere else.
    pub fn has_encoded_separator(&self, index: usize) -> bool {
        self.segments.get(index).is_some_and(|segment| segment.contains(['/', '\\']))
    }

    /// The one spelling of this path, as it is forwarded and recorded.
    pub fn to_encoded(&self) -> String {
        let mut encoded = String::new();
        for segment in &self.segments {
            encoded.push('/');
            super::percent::encode(segment, |byte| matches!(byte, b':' | b'@'), &mut encoded);
        }
        if encoded.is_empty() || self.trailing_slash {
            let _ = encoded.write_char('/');
        }
        encoded
    }
}

fn refuse(problem: impl Into<String>) -> Malformed {
    Malformed::new("path", problem)
}

fn decode_segment(raw: &str) -> Result<String, Malformed> {
    if raw.is_empty() {
        return Err(refuse("holds an empty segment"));
    }
    let segment = super::percent::decode(raw, false).map_err(refuse)?;
    if segment.chars().any(char::is_control) {
        return Err(refuse("holds a control character"));
    }
    if super::percent::holds_escape(&segment) {
        return Err(refuse("is percent-encoded twice"));
    }
    // A dot segment stays one behind an encoded separator, and with a matrix parameter on it.
    let is_dots = |piece: &str| matches!(piece.split(';').next(), Some("." | ".."));
    if segment.split(['/', '\\']).any(is_dots) {
        return Err(refuse("holds a `.` or `..` segment"));
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_comes_out_of_every_accepted_one() {
        for (raw, encoded) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/b/", "/a/b"),
            ("/%61/b", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a;b=c", "/a%3Bb%3Dc"),
            ("/a+b", "/a%2Bb"),
            ("/a%20b", "/a%20b"),
            ("/%C3%BC", "/%C3%BC"),
            ("/100%25", "/100%25"),
            ("/...", "/..."),
            ("/api/2.0mlflow/experiments/search-datasets", "/api/2.0mlflow/experiments/search-datasets"),
            (
                "/api/5.0/mlflow/experiments/1/trace-location:link",
                "/api/5.0/mlflow/experiments/1/trace-location:link",
            ),
        ] {
            assert_eq!(CanonicalPath::parse(raw).unwrap().to_encoded(), encoded, "{raw}");
        }
    }

    #[test]
    fn spellings_that_some_server_reads_otherwise_are_refused() {
        for raw in [
            "",
            "a",
            "*",
            "http://host/a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/./a",
            "/a/..",
            "/a/../b",
            "/%2e/a",
            "/a/%2E%2e/b",
            "/a/.%2e",
            "/..;/a",
            "/a/..;x=1/b",
            "/.;/a",
            "/a%2f..%2fb",
            "/a%2F%2e%2e",
            "/..%5cb",
            "/a\\b",
            "/a%00",
            "/a%0a",
            "/a%7F",
            "/a%C2%85",
            "/a%252e",
            "/%252E%252e/a",
            "/a%25%32%65",
            "/a%2",
            "/a%",
            "/a%zz",
            "/a%u0041",
            "/%ff",
            "/%C0%AF",
            "/%C0%AE%C0%AE",
            "/%ED%A0%80",
            "/é",
            "/a b",
            "/a\tb",
            "/a?b",
            "/a#b",
            "/a\u{0}",
        ] {
            assert!(CanonicalPath::parse(raw).is_err(), "{raw:?} was accepted");
        }
        assert!(CanonicalPath::parse(&format!("/{}", "a".repeat(MAX_BYTES))).is_err());
        assert!(CanonicalPath::parse(&"/a".repeat(MAX_SEGMENTS + 1)).is_err());
    }

    #[test]
    fn an_encoded_separator_is_marked_on_its_segment_alone() {
        let path = CanonicalPath::parse("/a/b%2Fc/d%5Ce/f").unwrap();
        let marked: Vec<bool> = (0..5).map(|index| path.has_encoded_separator(index)).collect();
        assert_eq!(marked, [false, true, true, false, false]);
    }

    proptest! {
        #[test]
        fn what_is_forwarded_reads_as_what_was_classified(raw in "(/[a-zA-Z0-9.%;:@+=~ü _-]{0,8}){0,6}|/(%[0-9a-fA-F]{2}){0,6}/?") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                let encoded = path.to_encoded();
                prop_assert!(encoded.is_ascii());
                prop_assert_eq!(&CanonicalPath::parse(&encoded).unwrap(), &path);
                prop_assert_eq!(CanonicalPath::parse(&encoded).unwrap().to_encoded(), encoded);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(raw in "\\PC{0,40}") {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
