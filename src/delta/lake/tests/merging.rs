//! Files merged by time: the same rows, once, whoever else merges or writes.

use arrow::datatypes::Int64Type;
use deltalake_core::DeltaTable;

use super::super::merge::{Files, merge};
use super::*;

const DAY_NANOS: i64 = 86_400_000_000_000;

/// Rows that happened on three days by turns, later ones first.
fn mixed(from: usize, count: usize) -> RecordBatch {
    let ids: StringArray = (from..from + count).map(|number| Some(format!("{number:08}"))).collect();
    let times: Int64Array = (from..from + count)
        .map(|number| {
            let number = i64::try_from(number).unwrap();
            Some((number % 3) * DAY_NANOS + 1_000_000 - number)
        })
        .collect();
    RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(times)]).unwrap()
}

/// The times of each file, as they lie in it.
async fn times(lake: &Lake, place: &str) -> Vec<Vec<i64>> {
    let table = lake.table(place).unwrap();
    let state = table.latest().await.unwrap().state;
    let mut files = Vec::new();
    for view in state.log_data().iter() {
        let path = place.strip_prefix("file://").unwrap().to_owned() + "/" + &view.path();
        let file = std::fs::File::open(path).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let mut times = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column =
                batch.column_by_name("start_time_unix_nano").unwrap().as_primitive::<Int64Type>().clone();
            times.extend(column.iter().flatten());
        }
        files.push(times);
    }
    files.sort();
    files
}

async fn files(lake: &Lake, place: &str) -> Files {
    Files::of(&lake.table(place).unwrap().latest().await.unwrap()).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_day_lie_together_in_the_order_of_their_times() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    for round in 0..2 {
        for from in 0..20 {
            lake.append(&place, mixed(round * 120 + from * 6, 6)).await.unwrap();
        }
        // Those that are taken apart in the first round are merged with the others of their day in the next.
        let done = lake.maintain(&place).await.unwrap();
        assert_eq!((done.files_before, done.files_after), (20 + round * 3, 3 + round * 3));
        assert_eq!(ids(&lake, &place).await, numbers((round + 1) * 120));
    }
    for times in times(&lake, &place).await {
        assert!(
            times.is_sorted() && times.iter().all(|time| time / DAY_NANOS == times[0] / DAY_NANOS),
            "{times:?}"
        );
    }
    let table = lake.table(&place).unwrap();
    merge(&table, files(&lake, &place).await).await.unwrap();
    assert_eq!(times(&lake, &place).await.len(), 3);
    assert_eq!(ids(&self::lake(&directory), &place).await, numbers(240));
    // There is nothing more to do.
    let version = table.latest().await.unwrap().state.version();
    merge(&table, files(&lake, &place).await).await.unwrap();
    assert_eq!(table.latest().await.unwrap().state.version(), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_has_merged_meanwhile_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, other, place) = (lake(&directory), self::lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    for from in 0..20 {
        lake.append(&place, mixed(from * 5, 5)).await.unwrap();
    }
    let found = files(&lake, &place).await;
    assert_eq!(other.maintain(&place).await.unwrap().files_after, 3);
    other.append(&place, mixed(100, 5)).await.unwrap();
    assert!(merge(&lake.table(&place).unwrap(), found).await.is_err());
    assert_eq!(ids(&lake, &place).await, numbers(105));
    // Appends alone are no conflict.
    let found = files(&lake, &place).await;
    other.append(&place, mixed(105, 5)).await.unwrap();
    merge(&lake.table(&place).unwrap(), found).await.unwrap();
    assert_eq!(ids(&other, &place).await, numbers(110));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_merge_at_once_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let lakes: Vec<Lake> = (0..3).map(|_| lake(&directory)).collect();
    let place = place(&directory, "t");
    made(&lakes[0], &place).await;
    for round in 0..3 {
        for from in 0..20 {
            lakes[0].append(&place, mixed(round * 110 + from * 5, 5)).await.unwrap();
        }
        let (one, two, appended) = tokio::join!(
            lakes[0].maintain(&place),
            lakes[1].maintain(&place),
            lakes[2].append(&place, mixed(round * 110 + 100, 10))
        );
        assert!(one.is_ok() && two.is_ok() && appended.unwrap().written);
        for lake in &lakes {
            assert_eq!(ids(lake, &place).await, numbers((round + 1) * 110));
        }
    }
    assert!(times(&lakes[0], &place).await.len() < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_column_or_without_times_are_merged_too() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory);
    let place = place(&directory, "t");
    made(&lake, &place).await;
    let only = |from: usize| {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
        let ids: StringArray = (from..from + 5).map(|number| Some(format!("{number:08}"))).collect();
        RecordBatch::try_new(schema, vec![Arc::new(ids)]).unwrap()
    };
    for from in 0..10 {
        lake.append(&place, only(from * 5)).await.unwrap();
    }
    let more = Arc::new(Schema::new(vec![Field::new("team", DataType::Utf8, true)]));
    lake.add_columns(&place, more).await.unwrap();
    for from in 10..20 {
        lake.append(&place, only(from * 5)).await.unwrap();
    }
    assert_eq!(lake.maintain(&place).await.unwrap().files_after, 1);
    assert_eq!(ids(&lake, &place).await, numbers(100));
    assert_eq!(lake.columns(&place).await.unwrap().fields().len(), 3);
}

/// Of a table whose rows say by their directory what they are, more must be known than a merge by time knows. Only other
/// programs make such tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_partitions_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    std::fs::create_dir(directory.path().join("t")).unwrap();
    let url = url::Url::from_directory_path(directory.path().canonicalize().unwrap().join("t")).unwrap();
    let mut table = DeltaTable::try_from_url(url).await.unwrap();
    for from in 0..20 {
        let part = StringArray::from(vec![if from % 2 == 0 { "even" } else { "odd" }; 5]);
        let mut values = rows(from * 5, 5).columns().to_vec();
        values.push(Arc::new(part));
        let part = Arc::new(Field::new("part", DataType::Utf8, true));
        let fields = [columns().fields().to_vec(), vec![part]].concat();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap();
        table = table.write([batch]).with_partition_columns(["part"]).await.unwrap();
    }
    assert_eq!(lake.maintain(&place).await.unwrap().files_after, 20);
    assert_eq!(ids(&lake, &place).await, numbers(100));
}

/// A store of which one write in so many fails, before or after it is done: files are merged in the end, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_now_and_then_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (lake, place) = (lake(&directory), place(&directory, "t"));
    made(&lake, &place).await;
    for (round, after) in [false, true].into_iter().enumerate() {
        for from in 0..20 {
            lake.append(&place, mixed(round * 100 + from * 5, 5)).await.unwrap();
        }
        let places = Places::wrapped(&[directory.path().canonicalize().unwrap()], move |inner| {
            Arc::new(failing::Failing { inner, calls: Arc::default(), every: 3, after })
        });
        let failing = Lake::over(places, 64 << 20).unwrap();
        for _ in 0..8 {
            // It may fail as a whole, and is tried again in the next round.
            let _ = failing.maintain(&place).await;
            assert_eq!(ids(&lake, &place).await, numbers((round + 1) * 100));
        }
        assert!(times(&lake, &place).await.len() <= 6);
    }
}
