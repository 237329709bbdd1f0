//! Times as protobuf's JSON writes them, and our own, of which no two are alike.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use crate::clock::UnixMillis;
use crate::wire::Malformed;

/// Microseconds since 1970, later than any that was given before on this replica: what was written last is told
/// by it.
pub(in crate::http) fn next_micros(now: UnixMillis) -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let wanted = now.0.saturating_mul(1000);
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(wanted.max(last + 1)));
    wanted.max(last.unwrap_or_default() + 1)
}

/// `2026-11-22T04:44:53.35Z` of microseconds since 1970.
pub(in crate::http) fn timestamp(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Microseconds since 1970 of a timestamp in RFC 3339.
pub(in crate::http) fn micros(text: &str, field: &str) -> Result<i64, Malformed> {
    let refuse = |_| Malformed::new(field, "must be a time such as `2026-11-22T04:44:53.350Z`");
    text.parse::<Timestamp>().map(|time| time.as_microsecond()).map_err(refuse)
}

/// `0.054s` of nanoseconds.
pub(in crate::http) fn duration(nanos: i64) -> String {
    let (seconds, rest) = (nanos.max(0) / 1_000_000_000, nanos.max(0) % 1_000_000_000);
    match rest {
        0 => format!("{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        nanos => format!("{seconds}.{nanos:09}s"),
    }
}

/// Nanoseconds of `0.054s`.
pub(in crate::http) fn nanos(text: &str, field: &str) -> Result<i64, Malformed> {
    let refuse = || Malformed::new(field, "must be a duration such as `0.054s`");
    let number = text.strip_suffix('s').ok_or_else(refuse)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 || whole.len() > 9 {
        return Err(refuse());
    }
    let whole: i64 = whole.parse().map_err(|_| refuse())?;
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| refuse())?;
    Ok(whole * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (micros_of, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_795_322_693_350_000, "2026-11-22T04:44:53.35Z"),
            (1_795_322_693_350_001, "2026-11-22T04:44:53.350001Z"),
        ] {
            assert_eq!(timestamp(micros_of), text);
            assert_eq!(micros(text, "t").unwrap(), micros_of);
        }
        assert!(micros("yesterday", "t").is_err());
    }

    #[test]
    fn durations_are_written_and_read() {
        for (nanos_of, text) in
            [(0, "0s"), (54_000_000, "0.054s"), (1_500_000_000, "1.500s"), (1, "0.000000001s")]
        {
            assert_eq!(duration(nanos_of), text);
            assert_eq!(nanos(text, "d").unwrap(), nanos_of);
        }
        for bad in ["1", "s", "-1s", "1.s", "1e3s", "1.0000000001s"] {
            assert!(nanos(bad, "d").is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_times_of_ours_are_alike() {
        let now = UnixMillis(1_000);
        let first = next_micros(now);
        assert!(next_micros(now) > first);
    }
}
