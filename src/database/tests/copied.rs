//! Rows go from any kind of database into any other, and are the same there.

use serde_json::json;

use super::*;
use crate::database::rows::{JsonRow, LastIds, RowsError};

const SQLITE: &str = "CREATE TABLE things (\n id INTEGER PRIMARY KEY AUTOINCREMENT, bytes BLOB, note TEXT DEFAULT 'none', rate DOUBLE);\n\
    CREATE TABLE parts (\n thing INTEGER NOT NULL REFERENCES things (id), name TEXT NOT NULL);\n\
    INSERT INTO things (note) VALUES ('put there by the migration')";
const POSTGRES: &str = "CREATE TABLE things (\n id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bytes BYTEA, \
    note TEXT DEFAULT 'none', rate DOUBLE PRECISION);\n\
    CREATE TABLE parts (\n thing BIGINT NOT NULL REFERENCES things (id), name TEXT NOT NULL);\n\
    INSERT INTO things (note) VALUES ('put there by the migration')";

fn schema(of: &Empty) -> Schema {
    let sql = if matches!(of, Empty::Sqlite(_)) { SQLITE } else { POSTGRES };
    of.schema(&[(1, "things", sql)])
}

fn rows() -> Vec<(String, JsonRow)> {
    [
        ("things", json!({"id": 3, "bytes": {"hex": "00ff27"}, "note": null, "rate": 0.1})),
        ("things", json!({"id": i64::MAX - 1, "bytes": null, "note": "it's\n{\"hex\": \"no\"}\u{1F600}", "rate": null})),
        ("parts", json!({"thing": 3, "name": "a"})),
    ]
    .into_iter()
    .map(|(table, row)| (table.to_owned(), row.as_object().unwrap().clone()))
    .collect()
}

async fn load(schema: &Schema, rows: Vec<(String, JsonRow)>) -> Result<(), RowsError> {
    let mut rows = rows.into_iter();
    let last = LastIds::from([("things".to_owned(), i64::MAX - 1)]);
    schema.load(&last, &mut || Ok(rows.next())).await
}

async fn dump(schema: &Schema) -> (Vec<(String, JsonRow)>, LastIds) {
    let mut found = Vec::new();
    let last = schema
        .dump(&mut |table, row| {
            found.push((table.to_owned(), row));
            Ok(())
        })
        .await
        .unwrap();
    (found, last)
}

async fn each_kind() -> [Empty; 2] {
    [Empty::Sqlite(tempfile::tempdir().unwrap()), Empty::Postgres(TestDatabase::create().await)]
}

#[tokio::test]
async fn rows_are_the_same_in_either_kind() {
    for empty in each_kind().await {
        let schema = schema(&empty);
        assert_eq!(schema.tables(), ["things", "parts"]);
        schema.migrate().await.unwrap();
        load(&schema, rows()).await.unwrap();
        let (mut found, last) = dump(&schema).await;
        found.sort_by_key(|(table, row)| {
            (table == "parts", row.get("id").and_then(serde_json::Value::as_i64))
        });
        assert_eq!(found, rows());
        assert_eq!(last["things"], i64::MAX - 1);
        // No id is given again, though its row is gone.
        empty.run("DELETE FROM parts").await.unwrap();
        empty.run("DELETE FROM things").await.unwrap();
        empty.run("INSERT INTO things (note) VALUES ('next')").await.unwrap();
        let (found, _) = dump(&schema).await;
        assert_eq!(found[0].1["id"], i64::MAX);
    }
}

#[tokio::test]
async fn what_is_not_a_row_of_it_changes_nothing() {
    for empty in each_kind().await {
        let schema = schema(&empty);
        schema.migrate().await.unwrap();
        let before = dump(&schema).await.0;
        for (table, row) in [
            ("nothing", json!({"id": 1})),
            ("things; DROP TABLE parts", json!({"id": 1})),
            ("things", json!({"id, note) VALUES (1, 'x'); --": 1})),
            ("things", json!({"bytes": {"hex": "0g"}})),
            ("things", json!({"note": ["a"]})),
            ("things", json!({})),
            ("parts", json!({"thing": 99, "name": "of none"})),
        ] {
            let mut all = rows();
            all.push((table.to_owned(), row.as_object().unwrap().clone()));
            assert!(load(&schema, all).await.is_err(), "{table} {row}");
            assert_eq!(dump(&schema).await.0, before, "{table} {row}");
        }
    }
}

#[tokio::test]
async fn what_somebody_used_is_no_target() {
    for empty in each_kind().await {
        let schema = schema(&empty);
        schema.refuse_used(&["parts"]).await.unwrap();
        schema.migrate().await.unwrap();
        schema.refuse_used(&["parts"]).await.unwrap();
        load(&schema, rows()).await.unwrap();
        assert!(
            matches!(schema.refuse_used(&["parts"]).await, Err(RowsError::NotEmpty(table)) if table == "parts")
        );
    }
}
