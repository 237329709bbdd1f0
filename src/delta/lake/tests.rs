use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::SessionContext;

use super::*;

mod containing;
mod failing;
mod merging;
mod rules;

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("start_time_unix_nano", DataType::Int64, true),
    ]))
}

fn rows(from: usize, count: usize) -> RecordBatch {
    let ids: StringArray = (from..from + count).map(|number| Some(format!("{number:08}"))).collect();
    let times: Int64Array = (from..from + count).map(|number| i64::try_from(number).ok()).collect();
    RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(times)]).unwrap()
}

fn lake(directory: &tempfile::TempDir) -> Lake {
    let directories = vec![directory.path().canonicalize().unwrap()];
    Lake::new(LakeSettings { directories, waiting_bytes: 64 << 20 }).unwrap()
}

fn place(directory: &tempfile::TempDir, name: &str) -> String {
    format!("file://{}/{name}", directory.path().canonicalize().unwrap().display())
}

async fn made(lake: &Lake, place: &str) {
    lake.create(place, columns(), &BTreeMap::from([("otel.schemaVersion".to_owned(), "v2".to_owned())]))
        .await
        .unwrap();
}

/// All ids of a table, in order.
async fn ids(lake: &Lake, place: &str) -> Vec<String> {
    let context = SessionContext::new();
    context.register_table("t", lake.provider(place).await.unwrap()).unwrap();
    let found = context.sql("SELECT id FROM t ORDER BY id").await.unwrap().collect().await.unwrap();
    let mut ids = Vec::new();
    for batch in found {
        let column = arrow::compute::cast(batch.column(0), &DataType::Utf8).unwrap();
        ids.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    ids
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:08}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_there_once_they_are_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    assert!(matches!(lake.append(&place, rows(0, 1)).await, Err(LakeError::NoTable(_))));
    made(&lake, &place).await;
    made(&lake, &place).await;
    assert_eq!(lake.columns(&place).await.unwrap().fields().len(), 2);
    for from in 0..3 {
        let done = lake.append(&place, rows(from * 10, 10)).await.unwrap();
        assert!(done.written);
        assert_eq!(ids(&lake, &place).await.len(), (from + 1) * 10);
    }
    assert_eq!(ids(&self::lake(&directory), &place).await, numbers(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_at_once_is_committed_together() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    let appends = (0..64).map(|from| {
        let (lake, place) = (lake.clone(), place.clone());
        tokio::spawn(async move { lake.append(&place, rows(from * 10, 10)).await.unwrap().version })
    });
    let mut versions = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        versions.push(append.await.unwrap());
    }
    versions.sort_unstable();
    versions.dedup();
    assert!(versions.len() < 32, "64 appends made {} commits", versions.len());
    assert_eq!(ids(&lake, &place).await, numbers(640));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_one_table() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory, "t");
    let lakes = [lake(&directory), lake(&directory)];
    made(&lakes[0], &place).await;
    let appends = (0..40).map(|from| {
        let (lake, place) = (lakes[from % 2].clone(), place.clone());
        tokio::spawn(async move { lake.append(&place, rows(from * 5, 5)).await.unwrap() })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap();
    }
    for lake in &lakes {
        assert_eq!(ids(lake, &place).await, numbers(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_added_while_others_write_what_they_know() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, other) = (lake(&directory), lake(&directory));
    let place = place(&directory, "t");
    made(&lake, &place).await;
    other.append(&place, rows(0, 5)).await.unwrap();
    let more = Arc::new(Schema::new(vec![Field::new("team", DataType::Utf8, true)]));
    lake.add_columns(&place, Arc::clone(&more)).await.unwrap();
    lake.add_columns(&place, Arc::clone(&more)).await.unwrap();
    // One that opened the table before it had the column, and writes without it.
    other.append(&place, rows(5, 5)).await.unwrap();
    let wide = Schema::new([columns().fields().to_vec(), more.fields().to_vec()].concat());
    let mut values = rows(10, 1).columns().to_vec();
    values.push(Arc::new(StringArray::from(vec!["support"])));
    lake.append(&place, RecordBatch::try_new(Arc::new(wide), values).unwrap()).await.unwrap();
    assert_eq!(ids(&other, &place).await, numbers(11));
    let context = SessionContext::new();
    context.register_table("t", other.provider(&place).await.unwrap()).unwrap();
    let found = context.sql("SELECT count(*) FROM t WHERE team IS NULL").await.unwrap();
    let found = found.collect().await.unwrap();
    assert_eq!(found[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 10);
    // Of another type, or in another spelling, it is another column.
    for (name, kind) in [("team", DataType::Int64), ("Team", DataType::Utf8), ("ID", DataType::Utf8)] {
        let odd = Arc::new(Schema::new(vec![Field::new(name, kind, true)]));
        assert!(matches!(lake.add_columns(&place, odd).await, Err(LakeError::Malformed(_))), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_rows_are_there_once_however_often_they_are_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other, place) = (lake(&directory), lake(&directory), place(&directory, "t"));
    made(&one, &place).await;
    assert_eq!(one.last_sequence(&place, "w").await.unwrap(), None);
    assert!(one.append_once(&place, rows(0, 5), "w", 1).await.unwrap().written);
    // Another process, which knows nothing of the first.
    assert!(!other.append_once(&place, rows(0, 5), "w", 1).await.unwrap().written);
    assert!(other.append_once(&place, rows(5, 5), "w", 2).await.unwrap().written);
    assert!(!one.append_once(&place, rows(5, 5), "w", 2).await.unwrap().written);
    assert!(one.append_once(&place, rows(10, 5), "another", 1).await.unwrap().written);
    assert_eq!(one.last_sequence(&place, "w").await.unwrap(), Some(2));
    assert_eq!(ids(&one, &place).await, numbers(15));
}

/// A writer that takes over from another, of which nobody knows whether it is gone, first writes a number without
/// rows. What the other is about to commit then comes too late.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_something_else_than_it_says_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (lake(&directory), lake(&directory));
    let place = place(&directory, "t");
    made(&one, &place).await;
    assert!(one.append_after(&place, rows(0, 5), "w", None, 10).await.unwrap().written);
    assert!(!one.append_after(&place, rows(5, 5), "w", None, 20).await.unwrap().written);
    let files = |lake: &Lake| {
        let (lake, place) = (lake.clone(), place.clone());
        async move { lake.maintain(&place).await.unwrap().files_before }
    };
    let before = files(&other).await;
    assert!(other.append_after(&place, rows(0, 0), "w", Some(10), 21).await.unwrap().written);
    assert_eq!(files(&other).await, before, "a number without rows is no file");
    // Both above and below the number that came between.
    assert!(!one.append_after(&place, rows(5, 5), "w", Some(10), 20).await.unwrap().written);
    assert!(!one.append_after(&place, rows(5, 5), "w", Some(10), 30).await.unwrap().written);
    assert!(one.append_after(&place, rows(5, 5), "w", Some(21), 30).await.unwrap().written);
    assert_eq!(other.last_sequence(&place, "w").await.unwrap(), Some(30));
    assert_eq!(ids(&other, &place).await, numbers(10));
}

/// Of several that follow the same, one is written, in whatever order they come.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_successors_one_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let lakes: Vec<Lake> = (0..3).map(|_| lake(&directory)).collect();
    let place = place(&directory, "t");
    made(&lakes[0], &place).await;
    for round in 0..5_i64 {
        let after = (round > 0).then(|| lakes[0].last_sequence(&place, "w"));
        let after = match after {
            Some(last) => last.await.unwrap(),
            None => None,
        };
        let tries: Vec<_> = (0..6_i64)
            .map(|number| {
                let (lake, place) = (lakes[usize::try_from(number % 3).unwrap()].clone(), place.clone());
                let from = usize::try_from(round).unwrap() * 5;
                let sequence = (round + 1) * 100 + (number * 7) % 6;
                tokio::spawn(async move {
                    // Whoever lost at the very same moment is told that others were quicker.
                    lake.append_after(&place, rows(from, 5), "w", after, sequence)
                        .await
                        .is_ok_and(|committed| committed.written)
                })
            })
            .collect();
        let mut written = 0;
        for tried in tries {
            written += usize::from(tried.await.unwrap());
        }
        assert_eq!(written, 1, "round {round}");
    }
    assert_eq!(ids(&lakes[1], &place).await, numbers(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_number_twice_at_once_is_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    let appends = (0..8).map(|_| {
        let (lake, place) = (lake.clone(), place.clone());
        tokio::spawn(async move { lake.append_once(&place, rows(0, 5), "w", 1).await.unwrap().written })
    });
    let mut written = 0;
    for append in appends.collect::<Vec<_>>() {
        written += usize::from(append.await.unwrap());
    }
    assert_eq!((written, ids(&lake, &place).await), (1, numbers(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_are_refused_and_take_nobody_along() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    let schema = Arc::new(Schema::new(vec![Field::new("other", DataType::Int64, true)]));
    let foreign = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    let (good, bad) = tokio::join!(lake.append(&place, rows(0, 5)), lake.append(&place, foreign));
    assert!(good.unwrap().written);
    assert!(bad.unwrap_err().to_string().contains("`other`"));
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let less = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["00000005"]))]).unwrap();
    assert!(lake.append(&place, less).await.unwrap().written);
    assert_eq!(ids(&lake, &place).await, numbers(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_fit_into_memory_is_sent_back() {
    let directory = tempfile::tempdir().unwrap();
    let directories = vec![directory.path().canonicalize().unwrap()];
    let lake = Lake::new(LakeSettings { directories, waiting_bytes: 2048 }).unwrap();
    let place = place(&directory, "t");
    made(&lake, &place).await;
    assert!(matches!(lake.append(&place, rows(0, 10_000)).await, Err(LakeError::Busy)));
    assert!(lake.append(&place, rows(0, 2)).await.unwrap().written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_where_it_says_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let lake = lake(&directory);
    std::os::unix::fs::symlink(outside.path(), directory.path().join("link")).unwrap();
    std::fs::create_dir(directory.path().join("real")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("real"), directory.path().join("inside")).unwrap();
    for bad in [
        place(&directory, "link"),
        place(&directory, "link/t"),
        place(&directory, "inside"),
        place(&directory, "../x"),
        format!("file://{}", outside.path().display()),
        "file:///etc".to_owned(),
        "gs://bucket/x".to_owned(),
        "relative".to_owned(),
    ] {
        assert!(matches!(lake.columns(&bad).await, Err(LakeError::Storage(_))), "{bad}");
    }
    assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_merged_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, other, place) = (lake(&directory), self::lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    for from in 0..20 {
        lake.append(&place, rows(from * 5, 5)).await.unwrap();
    }
    let (maintained, appended) = tokio::join!(lake.maintain(&place), other.append(&place, rows(100, 5)));
    assert!(appended.unwrap().written);
    let mut maintained = maintained.unwrap();
    if maintained.files_after == maintained.files_before {
        maintained = lake.maintain(&place).await.unwrap();
    }
    assert!(maintained.files_after < maintained.files_before, "{maintained:?}");
    assert_eq!(ids(&lake, &place).await, numbers(105));
    assert_eq!(ids(&other, &place).await, numbers(105));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_every_few_writes_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory, "t");
    made(&lake(&directory), &place).await;
    for after in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let places = Places::wrapped(&[directory.path().canonicalize().unwrap()], move |inner| {
            Arc::new(failing::Failing { inner, calls: Arc::clone(&counted), every: 3, after })
        });
        let lake = Lake::over(places, 64 << 20).unwrap();
        let base = if after { 100 } else { 0 };
        for from in 0..20 {
            // Whoever gets an error sends the same rows again with the same number.
            let mut attempts = 0;
            while let Err(error) =
                lake.append_once(&place, rows(base + from * 5, 5), "w", (base + from + 1) as i64).await
            {
                attempts += 1;
                assert!(attempts < 20, "{error}");
            }
        }
        assert!(calls.load(Ordering::SeqCst) > 50);
    }
    assert_eq!(ids(&lake(&directory), &place).await, numbers(200));
}

/// Nobody can tell from a write that failed whether it took place. Rows without a number are looked for in the log.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_number_are_there_once_too() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(&directory, "t");
    made(&lake(&directory), &place).await;
    let places = Places::wrapped(&[directory.path().canonicalize().unwrap()], move |inner| {
        Arc::new(failing::Failing { inner, calls: Arc::default(), every: 4, after: true })
    });
    let (unsure, other) = (Lake::over(places, 64 << 20).unwrap(), lake(&directory));
    for from in 0..20 {
        let (ours, theirs) = tokio::join!(
            unsure.append(&place, rows(from * 10, 5)),
            other.append(&place, rows(from * 10 + 5, 5))
        );
        assert!(ours.unwrap().written && theirs.unwrap().written);
    }
    assert_eq!(ids(&other, &place).await, numbers(200));
}

/// The log is summed up now and then; those who read on from what they had, and those who begin anew, see the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_many_commits_reads_the_same_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, other, place) = (lake(&directory), self::lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    for from in 0..230 {
        lake.append(&place, rows(from, 1)).await.unwrap();
        if from % 40 == 0 {
            assert_eq!(ids(&other, &place).await.len(), from + 1);
        }
    }
    let log = directory.path().join("t/_delta_log");
    // Nobody waits for it.
    for _ in 0..600 {
        if log.join("_last_checkpoint").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(log.join("_last_checkpoint").exists());
    // One that has not written for long, one that only read, and one that is new.
    other.append(&place, rows(230, 1)).await.unwrap();
    lake.append(&place, rows(231, 1)).await.unwrap();
    for reader in [&lake, &other, &self::lake(&directory)] {
        assert_eq!(ids(reader, &place).await, numbers(232));
    }
}
