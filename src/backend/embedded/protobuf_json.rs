//! The few protobuf types that MLflow's JSON holds: times and durations.

use jiff::Timestamp;

use super::problem::Problem;

/// Milliseconds as protobuf's `Timestamp`: `2026-11-22T04:40:18.413Z`.
pub fn timestamp(milliseconds: i64) -> String {
    let seconds = Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
    let whole = seconds.to_string();
    match milliseconds.rem_euclid(1000) {
        0 => whole,
        rest => format!("{}.{rest:03}Z", whole.trim_end_matches('Z')),
    }
}

/// Milliseconds as protobuf's `Duration`: `0.118s`, `-3s`.
pub fn duration(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let (seconds, rest) = (milliseconds.unsigned_abs() / 1000, milliseconds.unsigned_abs() % 1000);
    if rest == 0 { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{rest:03}s") }
}

/// The milliseconds of a protobuf `Timestamp`; what is finer is cut off.
pub fn parse_timestamp(field: &str, text: &str) -> Result<i64, Problem> {
    let parsed: Timestamp = text.parse().map_err(|_| {
        Problem::invalid(format!("`{field}` must be a time such as `2026-11-22T04:40:18.413Z`, not `{text}`"))
    })?;
    let milliseconds = parsed.as_millisecond();
    in_years(milliseconds).ok_or_else(|| Problem::invalid(format!("`{field}` is out of range: `{text}`")))
}

/// A time that has a year of four digits; others cannot be told in JSON.
pub fn in_years(milliseconds: i64) -> Option<i64> {
    (-62_135_596_800_000..253_402_300_800_000).contains(&milliseconds).then_some(milliseconds)
}

/// The milliseconds of a protobuf `Duration`.
pub fn parse_duration(field: &str, text: &str) -> Result<i64, Problem> {
    let wrong = || Problem::invalid(format!("`{field}` must be a duration such as `0.118s`, not `{text}`"));
    let number = text.strip_suffix('s').ok_or_else(wrong)?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return Err(wrong());
    }
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    // Protobuf's own bound, ten thousand years.
    if seconds > 315_576_000_000 {
        return Err(wrong());
    }
    let milliseconds: i64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| wrong())?;
    Ok(sign * (seconds * 1000 + milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_protobuf_writes_them_and_read_back() {
        for (milliseconds, text) in [
            (1_795_322_418_413, "2026-11-22T04:40:18.413Z"),
            (1_795_322_418_400, "2026-11-22T04:40:18.400Z"),
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(milliseconds), text);
            assert_eq!(parse_timestamp("t", text).unwrap(), milliseconds);
        }
        for (milliseconds, text) in
            [(118, "0.118s"), (-3000, "-3s"), (0, "0s"), (-500, "-0.500s"), (61_001, "61.001s")]
        {
            assert_eq!(duration(milliseconds), text);
            assert_eq!(parse_duration("d", text).unwrap(), milliseconds);
        }
        assert_eq!(parse_duration("d", "0.1189s").unwrap(), 118);
        assert_eq!(parse_duration("d", "0.1s").unwrap(), 100);
        assert_eq!(parse_timestamp("t", "2026-11-22T05:40:18.413999+01:00").unwrap(), 1_795_322_418_413);
        for bad in ["", "s", "1", ".5s", "1.s5", "--1s", "1.1234567890s", "999999999999s", "1é.s"] {
            assert!(parse_duration("d", bad).is_err(), "{bad}");
        }
        assert!(parse_timestamp("t", "yesterday").is_err());
    }
}
