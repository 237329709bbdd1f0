//! What the headers of a download mean, and what is said of an object in an answer's.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::About;

/// What a `Range` header asks of a file of `size` bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Part(Range<u64>),
    BehindTheEnd,
    /// Several ranges, or something that is none: RFC 9110 lets a server answer with the whole file.
    Whole,
}

pub fn parse_range(text: &str, size: u64) -> Asked {
    let parsed = || {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let number = |digits: &str| {
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
        };
        Some(match (first, last) {
            ("", suffix) => size.saturating_sub(number(suffix)?)..size,
            (first, "") => number(first)?..size,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                first..last.saturating_add(1).min(size)
            }
        })
    };
    match parsed() {
        None => Asked::Whole,
        Some(range) if range.start >= size || range.is_empty() => Asked::BehindTheEnd,
        Some(range) => Asked::Part(range),
    }
}

pub fn tag(about: &About) -> String {
    let digest = Sha256::digest(format!("{}-{}", about.modified, about.size));
    format!("\"{}\"", hex::encode(&digest[..16]))
}

pub fn http_date(milliseconds: i64) -> String {
    let seconds = jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap_or_default();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&seconds).unwrap_or_default()
}

/// The time of an HTTP date, in milliseconds; nothing if it is none.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(parsed.as_millisecond())
}

/// The time that a client writes as RFC 3339 does, in milliseconds.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    text.trim().parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (text, expected) in [
            ("bytes=0-3", Asked::Part(0..4)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=2-99", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("Bytes= 9-9", Asked::Part(9..10)),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=10-", Asked::BehindTheEnd),
            ("bytes=-0", Asked::BehindTheEnd),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=4-3", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("junk", Asked::Whole),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::BehindTheEnd);
    }

    #[test]
    fn a_date_is_read_as_it_is_written() {
        let written = http_date(1_700_000_000_999);
        assert_eq!(parse_http_date(&written), Some(1_700_000_000_000));
        assert_eq!(parse_http_date("yesterday"), None);
        assert_eq!(parse_timestamp("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
    }
}
