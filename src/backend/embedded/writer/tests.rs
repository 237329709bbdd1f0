use super::*;

async fn writer(directory: &tempfile::TempDir) -> Writer {
    let migrations = sqlx::migrate!("migrations/traces_sqlite");
    let file = directory.path().join("t.db");
    let database = Database::open_sqlite(&file, 2, &[], migrations).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)").execute(&database.writer).await.unwrap();
    Writer::start(database)
}

async fn put(writer: &Writer, number: i64, then: Result<(), Problem>) -> Result<i64, Problem> {
    writer
        .write(move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO t VALUES ($1)").bind(number).execute(connection).await?;
                then.map(|()| number)
            })
        })
        .await
}

async fn count(writer: &Writer) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&writer.database.reader).await.unwrap()
}

#[tokio::test]
async fn a_refused_call_takes_none_of_its_batch_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory).await;
    let calls = (0..200).map(|number| {
        let refuse = number % 3 == 0;
        put(&writer, number, if refuse { Err(Problem::invalid("no")) } else { Ok(()) })
    });
    let outcomes = futures_util::future::join_all(calls).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match number % 3 {
            0 => assert_eq!(outcome, &Err(Problem::invalid("no"))),
            _ => assert_eq!(outcome, &Ok(i64::try_from(number).unwrap())),
        }
    }
    assert_eq!(count(&writer).await, 133);
    // A statement that fails is one call's as well.
    let (twice, other) = tokio::join!(put(&writer, 1, Ok(())), put(&writer, 900, Ok(())));
    assert_eq!(twice.unwrap_err().code, Code::Internal);
    assert_eq!(other, Ok(900));
}

#[tokio::test]
async fn a_panic_is_one_calls_error_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory).await;
    let bad = writer.write(|connection| {
        Box::pin(async move {
            sqlx::query("INSERT INTO t VALUES (7)").execute(connection).await?;
            if true {
                panic!("as a fault in a write would");
            }
            Ok(7)
        })
    });
    let (bad, good) = tokio::join!(bad, put(&writer, 8, Ok(())));
    assert_eq!(bad.unwrap_err().code, Code::Internal);
    assert_eq!(good, Ok(8));
    assert_eq!(count(&writer).await, 1);
}
