//! Times as people write them in policy files: RFC 3339, such as `2026-12-31T00:00:00Z`.

use crate::clock::UnixMillis;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Reads `YYYY-MM-DD`, which is midnight UTC, or `YYYY-MM-DDTHH:MM:SS[.mmm]` and `Z` or `±HH:MM`.
pub(super) fn parse(text: &str) -> Option<UnixMillis> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let midnight = days(date)? * DAY_MS;
    let Some(time) = time else { return Some(UnixMillis(midnight)) };
    let (clock, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let (clock, offset) = time.split_at_checked(time.rfind(['+', '-'])?)?;
            let minutes = hours_and_minutes(offset.get(1..)?)?;
            (clock, if offset.starts_with('-') { -minutes } else { minutes })
        }
    };
    let (whole, fraction) = match clock.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (clock, None),
    };
    let minutes = hours_and_minutes(whole.get(..5)?)?;
    let seconds = number(whole.get(5..)?.strip_prefix(':')?, 2, 59)?;
    let millis = match fraction {
        None => 0,
        Some(digits) if digits.len() <= 3 => {
            number(digits, digits.len(), 999)? * [0, 100, 10, 1][digits.len()]
        }
        Some(_) => return None,
    };
    Some(UnixMillis(midnight + (minutes - offset) * 60_000 + seconds * 1000 + millis))
}

/// Writes a time so that [`parse`] reads it back. `None` outside the years that four digits can say.
pub(in crate::cli) fn write(time: UnixMillis) -> Option<String> {
    let (days, rest) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let (year, month, day) = date(days);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hours, minutes, seconds, millis) =
        (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}") };
    Some(format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}{fraction}Z"))
}

fn number(digits: &str, length: usize, most: i64) -> Option<i64> {
    let plain = digits.len() == length && length > 0 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number <= most)
}

fn hours_and_minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    Some(number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?)
}

/// Days since 1970 of `YYYY-MM-DD`, if there is such a day.
fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = (number(year, 4, 9999)?, number(month, 2, 12)?, number(day, 2, 31)?);
    if parts.next().is_some() {
        return None;
    }
    let days = days_from(year, month, day);
    (date(days) == (year, month, day)).then_some(days)
}

/// Counts years from March, so that the leap day is the last of its year, in eras of 400 years.
fn days_from(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a count of days since 1970: the opposite of [`days_from`].
fn date(days: i64) -> (i64, i64, i64) {
    let (era, of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_in_utc_or_with_an_offset_and_days_are_midnights() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-31", 1_798_675_200_000),
            ("2026-12-31T00:00:00Z", 1_798_675_200_000),
            ("2026-12-31T02:30:00+02:30", 1_798_675_200_000),
            ("2026-12-30T23:00:00.250-01:00", 1_798_675_200_250),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000_500),
            ("1969-12-31T23:59:59Z", -1000),
        ] {
            assert_eq!(parse(text), Some(UnixMillis(millis)), "{text}");
        }
        for bad in [
            "",
            "tomorrow",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.1234Z",
            "2026-01-01T00:00:00+2",
            "+026-01-01",
            "2026-01-01T00:00:00.Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in -62_167_219_200_000_i64..253_402_300_800_000) {
            let text = write(UnixMillis(millis)).unwrap();
            prop_assert_eq!(parse(&text), Some(UnixMillis(millis)), "{}", text);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}
