//! Where data lies, in one spelling, so that two locations can be compared as text.
//!
//! A location that another reader could read as another place is refused instead of repaired: `..`, doubled
//! slashes, percent-encoding, queries, and characters beyond plain ASCII.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::ids::MalformedId;

/// The part of a managed location that nobody may name.
pub const MANAGED_SEGMENT: &str = "__unitystorage";

const LONGEST: usize = 1_000;

/// A directory on this machine (`file:///srv/x`) or in an object store (`s3://bucket/x`), without a slash at
/// its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(String);

impl Location {
    /// A directory of ours, from the configuration; whatever it is called.
    pub fn of_directory(path: &Path) -> Option<Self> {
        let text = path.to_str().filter(|_| path.is_absolute())?;
        Some(Self(format!("file://{}", text.trim_end_matches('/'))))
    }

    /// One that was parsed before it was kept.
    pub fn kept(canonical: String) -> Self {
        Self(canonical)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_local(&self) -> bool {
        self.0.starts_with("file:")
    }

    /// A place below this one; `names` are ours.
    pub fn below(&self, names: &[&str]) -> Self {
        Self(format!("{}/{}", self.0, names.join("/")))
    }

    /// Whether this is `other` or lies in it.
    pub fn lies_in(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.lies_in(other) || other.lies_in(self)
    }
}

impl FromStr for Location {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let refuse = |expected| MalformedId { value: text.chars().take(80).collect(), expected };
        if text.len() > LONGEST {
            return Err(refuse("a location of at most 1000 characters"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.=+@~,!$()".contains(c);
        let (scheme, rest) = match text.split_once(':') {
            None => ("file", text),
            Some((scheme, rest)) => (scheme, rest),
        };
        let rest = rest.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(rest);
        if !rest.chars().all(plain) {
            return Err(refuse("a location without percent-encoding, queries, spaces or special characters"));
        }
        let (scheme, host, path) = match scheme.to_ascii_lowercase().as_str() {
            // `/srv/x`, `file:/srv/x` and `file:///srv/x` are one place; a host is never ours.
            "file" => {
                let path =
                    if rest.starts_with("//") { rest.strip_prefix("//").unwrap_or(rest) } else { rest };
                ("file", String::new(), path)
            }
            "s3" | "s3a" | "s3n" => of_store("s3", rest).ok_or_else(|| refuse("`s3://BUCKET/PATH`"))?,
            "gs" => of_store("gs", rest).ok_or_else(|| refuse("`gs://BUCKET/PATH`"))?,
            "abfs" | "abfss" => of_store("abfss", rest)
                .filter(|(_, host, _)| host.matches('@').count() == 1)
                .ok_or_else(|| refuse("`abfss://CONTAINER@ACCOUNT/PATH`"))?,
            _ => return Err(refuse("a location (`s3://`, `gs://`, `abfss://` or `file:///`)")),
        };
        let segments = path.strip_prefix('/').filter(|segments| !segments.is_empty());
        match segments {
            Some(segments) if segments.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                return Err(refuse("a location without empty segments, `.` or `..`"));
            }
            None if scheme == "file" || !path.is_empty() => {
                return Err(refuse("a location below the root: `file:///DIRECTORY` or `s3://BUCKET/PATH`"));
            }
            _ => {}
        }
        Ok(Self(format!("{scheme}://{host}{path}")))
    }
}

fn of_store<'t>(scheme: &'static str, rest: &'t str) -> Option<(&'static str, String, &'t str)> {
    let rest = rest.strip_prefix("//")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let good =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || c == '@' && scheme == "abfss";
    if host.is_empty() || host.starts_with('@') || host.ends_with('@') || !host.chars().all(good) {
        return None;
    }
    Some((scheme, host.to_ascii_lowercase(), path))
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn one_place_has_one_spelling() {
        for (spelled, canonical) in [
            ("/srv/lake", "file:///srv/lake"),
            ("file:/srv/lake/", "file:///srv/lake"),
            ("FILE:///srv/lake", "file:///srv/lake"),
            ("s3://Bucket/a/b/", "s3://bucket/a/b"),
            ("S3A://bucket/a", "s3://bucket/a"),
            ("s3n://bucket", "s3://bucket"),
            ("gs://bucket/x", "gs://bucket/x"),
            ("abfs://c@account.dfs.core.windows.net/x", "abfss://c@account.dfs.core.windows.net/x"),
        ] {
            assert_eq!(location(spelled).as_str(), canonical);
        }
        // Paths in object stores tell upper from lower case.
        assert_ne!(location("s3://b/A"), location("s3://b/a"));
    }

    #[test]
    fn what_could_be_read_as_another_place_is_refused() {
        for bad in [
            "",
            "/",
            "file:///",
            "file://host/x",
            "srv/lake",
            "/srv/../etc",
            "/srv/./x",
            "/srv//x",
            "//srv/x",
            "file:////srv/x",
            "s3://b/a//b",
            "s3://b/a/../b",
            "s3://b//",
            "s3:/b/a",
            "s3://",
            "s3:///a",
            "s3://user@b/a",
            "s3://b:80/a",
            "s3://b/%2e%2e/a",
            "s3://b/a%2Fb",
            "s3://b/a?x=1",
            "s3://b/a#x",
            "s3://b/a b",
            "s3://b/a\\b",
            "s3://b/\u{ff0e}\u{ff0e}/a",
            "abfss://account/x",
            "http://b/a",
            "dbfs:/Volumes/a/b/c",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
        assert!(format!("s3://b/{}", "a".repeat(LONGEST)).parse::<Location>().is_err());
    }

    #[test]
    fn a_location_lies_in_another_by_whole_segments() {
        let (outer, inner, beside) = (location("s3://b/a"), location("s3://b/a/b"), location("s3://b/ab"));
        assert!(inner.lies_in(&outer) && outer.lies_in(&outer) && !outer.lies_in(&inner));
        assert!(outer.overlaps(&inner) && inner.overlaps(&outer) && !outer.overlaps(&beside));
        assert!(location("s3://b/x").lies_in(&location("s3://b")));
        assert!(!location("s3://bb/x").lies_in(&location("s3://b")));
        assert_eq!(outer.below(&["x", "y"]).as_str(), "s3://b/a/x/y");
    }

    #[test]
    fn directories_of_ours_may_have_any_name() {
        let ours = Location::of_directory(Path::new("/srv/my lake/")).unwrap();
        assert_eq!(ours.as_str(), "file:///srv/my lake");
        assert!(ours.is_local() && Location::of_directory(Path::new("lake")).is_none());
    }
}
