//! The same over a real Delta table, with files, statistics and the pruning that comes with them.

use deltalake_core::DeltaTable;

use super::*;

/// `people` in two files, one for each owner.
#[derive(Debug)]
struct OnDisk(tempfile::TempDir);

impl OnDisk {
    async fn new() -> Arc<Self> {
        let place = tempfile::tempdir().unwrap();
        let url = url::Url::from_directory_path(place.path()).unwrap();
        let mut table = DeltaTable::try_from_url(url).await.unwrap();
        for rows in [people().slice(0, 2), people().slice(2, 2)] {
            table = table.write([rows]).await.unwrap();
        }
        Arc::new(Self(place))
    }
}

#[async_trait]
impl Tables for OnDisk {
    async fn provider(&self, _: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
        let url = url::Url::from_directory_path(self.0.path()).unwrap();
        let table = DeltaTable::try_from_url(url).await.unwrap();
        Ok(table.table_provider().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hold_over_files_and_their_statistics() {
    let tables = OnDisk::new().await;
    let engine = Engine::over(tables.clone(), 256 << 20).unwrap();
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    let said = async |text: &str| {
        let Statement::Query(query) = parse(text).unwrap() else { panic!("a query") };
        match engine.run(&query, &[], &defaults, Arc::new(world()), &limits_of(60)).await {
            Ok(rows) => match rows_of(rows).await {
                Ok(rows) => rows.join(" "),
                Err(error) => format!("error: {error}"),
            },
            Err(error) => format!("error: {error}"),
        }
    };
    for (text, wanted) in [
        ("SELECT id, secret FROM open ORDER BY id", "1|11 2|22 3|hush 4|NULL"),
        ("SELECT id FROM open WHERE owner = 'bob' AND id < 4", "3"),
        ("SELECT attributes:a.b FROM open WHERE id = 1", "x"),
        ("SELECT id, secret FROM ruled ORDER BY id", "1|*** 2|***"),
        ("SELECT id FROM ruled WHERE id >= 2", "2"),
        ("SELECT id FROM ruled WHERE owner = 'bob'", ""),
        ("SELECT id FROM ruled WHERE id IN (2, 3) AND amount BETWEEN 0 AND 9", "2"),
        ("SELECT id FROM ruled WHERE 10 / amount > 0 ORDER BY id", "1 2"),
        ("SELECT id FROM ruled LIMIT 5 OFFSET 2", ""),
        ("SELECT count(*), min(id), max(id), min(owner), max(owner) FROM ruled", "2|1|2|ann|ann"),
        ("SELECT count(*), min(secret), max(secret) FROM masked", "4|***|***"),
        ("SELECT count(*) FROM masked WHERE secret = 'hush'", "0"),
        ("SELECT count(*) FROM masked WHERE secret IS NULL", "0"),
        ("SELECT count(*) FROM mine WHERE 10 / amount > 0", "2"),
        ("SELECT count(*) FROM ruled r JOIN open o ON r.id = o.id AND r.secret = o.secret", "0"),
        ("SELECT secret FROM masked ORDER BY secret DESC LIMIT 1", "***"),
    ] {
        assert_eq!(said(text).await, wanted, "{text}");
    }
    let place = tables.0.path().to_str().unwrap();
    for text in [
        "SELECT CAST(secret AS INT) FROM open",
        "SELECT CAST(attributes AS INT) FROM ruled",
        "EXPLAIN SELECT * FROM open",
    ] {
        let told = said(text).await;
        assert!(!told.contains(place) && !told.contains("parquet"), "{told}");
    }
    // Files that are gone are no help either.
    for file in std::fs::read_dir(place).unwrap().flatten() {
        if file.path().extension().is_some_and(|ending| ending == "parquet") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let told = said("SELECT * FROM open").await;
    assert!(told.starts_with("error") && !told.contains(place) && !told.contains("parquet"), "{told}");
}

/// Texts come out of files as views into their pages, of which nobody can say how large they are.
#[tokio::test(flavor = "multi_thread")]
async fn texts_are_the_callers_own_and_count() {
    let engine = Engine::over(OnDisk::new().await, 256 << 20).unwrap();
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    let text = "SELECT owner, named_struct('a', owner, 'l', make_array(secret)) AS nested, repeat(owner, 100) AS much \
                FROM open ORDER BY id";
    let Statement::Query(query) = parse(text).unwrap() else { panic!("a query") };
    for (bytes, wanted) in [(None, 4), (Some(1), 0), (Some(700), 2)] {
        let limits = QueryLimits { bytes, ..limits_of(60) };
        let rows = engine.run(&query, &[], &defaults, Arc::new(world()), &limits).await.unwrap();
        let (schema, truncated) = (Arc::clone(&rows.schema), rows.truncated.clone());
        assert!(!format!("{schema:?}").contains("View"), "{schema:?}");
        let mut count = 0;
        let mut batches = rows.batches;
        while let Some(batch) = batches.next().await {
            let batch = batch.unwrap();
            assert_eq!(batch.schema(), schema);
            count += batch.num_rows();
        }
        assert_eq!((count, truncated.get()), (wanted, bytes.is_some()), "{bytes:?}");
    }
}
