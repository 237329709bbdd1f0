//! Times as people type them: a date, an instant in UTC, or milliseconds since 1970.

/// Reads `2026-01-31`, `2026-01-31T12:00:00Z` or `1767225600000`.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    let wrong =
        || format!("`{text}` is no time; use 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970");
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let time = time.strip_suffix('Z').ok_or_else(wrong)?;
    let numbers = |text: &str, separator: char| -> Option<[i64; 3]> {
        let parts: Vec<i64> = text.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-').ok_or_else(wrong)?;
    let [hours, minutes, seconds] = numbers(time, ':').ok_or_else(wrong)?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && (0..24).contains(&hours)
        && (0..60).contains(&minutes)
        && (0..60).contains(&seconds);
    if !in_range {
        return Err(wrong());
    }
    let days: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum::<i64>()
        + (1..month).map(|month| days_of(year, month)).sum::<i64>()
        + day
        - 1;
    Ok(((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates_instants_and_milliseconds_are_read() {
        for (text, millis) in [
            ("0", 0),
            ("1767225600000", 1_767_225_600_000),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T12:34:56Z", 1_767_270_896_000),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:00",
            "2026-1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
