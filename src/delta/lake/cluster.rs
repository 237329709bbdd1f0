//! Which files are merged with which, so that a question about some hours opens the files of those hours. Rows of one
//! day (UTC) go together, and lie in the order of their times.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use serde_json::Value;

/// Bytes of files that are merged at once. Rows are sorted in memory, where they are several times as large.
pub(super) const BIN: u64 = 16 * 1024 * 1024;
/// A file of one day is left alone from this size on.
const LARGE: u64 = BIN / 2;

/// The columns that say when a row happened, in the tables that have one.
const TIMES: &[&str] = &["time", "start_time_unix_nano", "time_unix_nano", "request_time", "updated_at"];

const DAY_MICROS: i64 = 86_400_000_000;

/// The column by whose time rows are kept together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clock {
    pub column: String,
    nanos: bool,
}

impl Clock {
    pub fn of(columns: &SchemaRef) -> Option<Self> {
        TIMES.iter().find_map(|name| {
            let nanos = match columns.field_with_name(name).ok()?.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, _) => false,
                DataType::Int64 => true,
                _ => return None,
            };
            Some(Self { column: (*name).to_owned(), nanos })
        })
    }

    /// Days since 1970.
    fn day(&self, value: i64) -> i64 {
        value.div_euclid(if self.nanos { DAY_MICROS * 1000 } else { DAY_MICROS })
    }

    /// Where the days of rows begin and end that are in the order of their times. Rows without a time are with the first.
    pub fn days(&self, rows: &RecordBatch) -> Vec<Range<usize>> {
        let Some(column) = rows.column_by_name(&self.column) else {
            return std::iter::once(0..rows.num_rows()).collect();
        };
        let value = |row: usize| match self.nanos {
            _ if column.is_null(row) => None,
            true => Some(column.as_primitive::<Int64Type>().value(row)),
            false => Some(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        };
        let (mut days, mut begin, mut last) = (Vec::new(), 0, None);
        for row in 0..rows.num_rows() {
            let day = value(row).map(|value| self.day(value));
            if last.is_some() && day != last {
                days.push(begin..row);
                begin = row;
            }
            last = day.or(last);
        }
        days.push(begin..rows.num_rows());
        days
    }

    /// The first and last time of a file, as its statistics have it, in this column's unit.
    fn bounds(&self, stats: &str) -> Option<(i64, i64)> {
        let stats: Value = serde_json::from_str(stats).ok()?;
        let bound = |which: &str| {
            let value = stats.get(which)?.get(&self.column)?;
            match self.nanos {
                true => value.as_i64(),
                false => Some(value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_microsecond()),
            }
        };
        let (least, most) = (bound("minValues")?, bound("maxValues")?);
        // That of a timestamp is rounded up to the next millisecond, which may be the next day's.
        Some((least, if self.nanos { most } else { (most - 1000).max(least) }))
    }
}

/// A file that may be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Small {
    /// Its place among the files of the version.
    pub file: usize,
    pub bytes: u64,
    first: i64,
    /// `None` if its rows are of several days.
    day: Option<i64>,
}

impl Small {
    pub fn is_of_several_days(&self) -> bool {
        self.day.is_none()
    }

    /// A file worth merging, or worth taking apart.
    pub fn of(file: usize, bytes: u64, stats: Option<&str>, clock: Option<&Clock>) -> Option<Self> {
        let (first, day) = match clock {
            None => (0, Some(0)),
            Some(clock) => match stats.and_then(|stats| clock.bounds(stats)) {
                // Nobody knows when its rows happened.
                None => (i64::MIN, Some(i64::MIN)),
                Some((first, last)) => {
                    (first, (clock.day(first) == clock.day(last)).then(|| clock.day(first)))
                }
            },
        };
        let wanted = if day.is_some() { bytes < LARGE } else { bytes <= BIN };
        wanted.then_some(Self { file, bytes, first, day })
    }
}

/// Files to merge together: those of one day, in the order of their times; those of several days, which are taken apart.
pub(super) fn bins(files: Vec<Small>) -> Vec<Vec<Small>> {
    let mut by_day: BTreeMap<Option<i64>, Vec<Small>> = BTreeMap::new();
    for file in files {
        by_day.entry(file.day).or_default().push(file);
    }
    let mut bins = Vec::new();
    for (day, mut files) in by_day {
        files.sort_by_key(|file| (file.first, file.file));
        let (mut bin, mut bytes) = (Vec::new(), 0);
        let mut done = |bin: Vec<Small>| {
            if bin.len() > 1 || (day.is_none() && !bin.is_empty()) {
                bins.push(bin);
            }
        };
        for file in files {
            if bytes + file.bytes > BIN {
                done(std::mem::take(&mut bin));
                bytes = 0;
            }
            bytes += file.bytes;
            bin.push(file);
        }
        done(bin);
    }
    bins
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn columns(name: &str, kind: DataType) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new(name, kind, true)]))
    }

    fn moment(day: i64, micros: i64) -> i64 {
        day * DAY_MICROS + micros
    }

    fn micros() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    #[test]
    fn the_clock_is_a_time_that_the_table_has() {
        let clock = |name, kind| Clock::of(&columns(name, kind));
        assert_eq!(clock("time", micros()), Some(Clock { column: "time".to_owned(), nanos: false }));
        assert!(clock("start_time_unix_nano", DataType::Int64).is_some_and(|clock| clock.nanos));
        assert_eq!(clock("time", DataType::Utf8), None);
        assert_eq!(clock("noted", micros()), None);
    }

    #[test]
    fn rows_are_cut_where_a_day_ends() {
        let clock = Clock::of(&columns("time", micros())).unwrap();
        let times = [
            None,
            Some(moment(-1, 0)),
            Some(moment(-1, DAY_MICROS - 1)),
            Some(moment(0, 0)),
            Some(moment(7, 5)),
        ];
        let rows = RecordBatch::try_from_iter([(
            "time",
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")) as _,
        )])
        .unwrap();
        assert_eq!(clock.days(&rows), [0..3, 3..4, 4..5]);
        let clock = Clock { column: "n".to_owned(), nanos: true };
        let times: Int64Array =
            [0, 1, moment(1, 0) * 1000 - 1, moment(1, 0) * 1000].into_iter().map(Some).collect();
        let rows = RecordBatch::try_from_iter([("n", Arc::new(times) as _)]).unwrap();
        assert_eq!(clock.days(&rows), [0..3, 3..4]);
    }

    #[test]
    fn a_file_is_of_a_day_if_its_statistics_say_so() {
        let clock = Clock::of(&columns("time", micros()));
        let small = |least: &str, most: &str| {
            let stats = format!(r#"{{"minValues":{{"time":"{least}"}},"maxValues":{{"time":"{most}"}}}}"#);
            Small::of(0, 10, Some(&stats), clock.as_ref()).unwrap()
        };
        // The upper bound is rounded up.
        assert_eq!(small("1970-01-03T00:00:00Z", "1970-01-04T00:00:00Z").day, Some(2));
        assert!(small("1970-01-03T00:00:00Z", "1970-01-04T00:00:00.002Z").is_of_several_days());
        assert_eq!(Small::of(0, 10, None, clock.as_ref()).unwrap().day, Some(i64::MIN));
        assert_eq!(Small::of(0, 10, None, None).unwrap().day, Some(0));
        assert_eq!(Small::of(0, LARGE, None, None), None);
    }

    fn small(file: usize, bytes: u64, first: i64, day: Option<i64>) -> Small {
        Small { file, bytes, first, day }
    }

    #[test]
    fn files_of_a_day_go_together_and_those_of_several_are_taken_apart() {
        let found = bins(vec![
            small(0, 10, 300, Some(3)),
            small(1, 10, 100, Some(1)),
            small(2, 10, 100, None),
            small(3, 10, 301, Some(3)),
            small(4, 10, 299, Some(3)),
        ]);
        let files: Vec<Vec<usize>> =
            found.iter().map(|bin| bin.iter().map(|small| small.file).collect()).collect();
        // The only small file of a day stays as it is.
        assert_eq!(files, [vec![2], vec![4, 0, 3]]);
    }

    #[test]
    fn a_bin_is_no_larger_than_it_may_be() {
        let most = LARGE - 1;
        let found = bins((0..7).map(|file| small(file, most, file as i64, Some(0))).collect());
        assert!(found.iter().all(|bin| bin.iter().map(|small| small.bytes).sum::<u64>() <= BIN));
        // One is left over for the next round.
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    }
}
