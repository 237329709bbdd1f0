use super::*;

async fn batches(text: &str) -> (arrow::datatypes::SchemaRef, Vec<RecordBatch>) {
    let Statement::Query(query) = parse(text).unwrap() else { panic!("a query") };
    let rows =
        engine().run(&query, &[], &Defaults::default(), Arc::new(world()), &limits_of(60)).await.unwrap();
    let schema = rows.schema.clone();
    let batches = rows.batches.map(|batch| batch.unwrap()).collect().await;
    (schema, batches)
}

#[tokio::test]
async fn types_and_values_are_written_as_databricks_does() {
    for (expression, kind, name, value) in [
        ("1", "BIGINT", "LONG", "1"),
        ("CAST(1 AS INT)", "INT", "INT", "1"),
        ("CAST(1 AS SMALLINT)", "SMALLINT", "SHORT", "1"),
        ("CAST(1 AS TINYINT)", "TINYINT", "BYTE", "1"),
        ("true", "BOOLEAN", "BOOLEAN", "true"),
        ("CAST(1.5 AS DOUBLE)", "DOUBLE", "DOUBLE", "1.5"),
        ("CAST(2 AS DOUBLE)", "DOUBLE", "DOUBLE", "2.0"),
        ("CAST('NaN' AS DOUBLE)", "DOUBLE", "DOUBLE", "NaN"),
        ("CAST('1.50' AS DECIMAL(10,2))", "DECIMAL(10,2)", "DECIMAL", "1.50"),
        ("'é'", "STRING", "STRING", "é"),
        ("DATE '2026-01-31'", "DATE", "DATE", "2026-01-31"),
        (
            "CAST('2026-01-31T12:00:00.123456Z' AS TIMESTAMP WITH TIME ZONE)",
            "TIMESTAMP",
            "TIMESTAMP",
            "2026-01-31T12:00:00.123456Z",
        ),
        (
            "CAST('2026-01-31T12:00:00Z' AS TIMESTAMP WITH TIME ZONE)",
            "TIMESTAMP",
            "TIMESTAMP",
            "2026-01-31T12:00:00.000Z",
        ),
        (
            "CAST('2026-01-31T12:00:00' AS TIMESTAMP WITHOUT TIME ZONE)",
            "TIMESTAMP_NTZ",
            "TIMESTAMP",
            "2026-01-31T12:00:00.000",
        ),
        ("make_array(1, NULL)", "ARRAY<BIGINT>", "ARRAY", "[1,null]"),
        (
            "named_struct('a', 'x\"', 'b', 1)",
            "STRUCT<a: STRING, b: BIGINT>",
            "STRUCT",
            r#"{"a":"x\"","b":1}"#,
        ),
        ("map(make_array('k'), make_array(2))", "MAP<STRING, BIGINT>", "MAP", r#"{"k":2}"#),
        ("decode('YWJjZA', 'base64')", "BINARY", "BINARY", "YWJjZA=="),
    ] {
        let (schema, batches) = batches(&format!("SELECT {expression} AS x, NULL")).await;
        let column = &result::columns(&schema)[0];
        assert_eq!((column.type_text.as_str(), column.type_name.as_str()), (kind, name), "{expression}");
        assert_eq!(result::json_rows(&batches[0]), vec![vec![Some(value.to_owned()), None]], "{expression}");
    }
    let (schema, _) = batches("SELECT CAST('1.50' AS DECIMAL(10,2)) AS d").await;
    let column = &result::columns(&schema)[0];
    assert_eq!((column.type_precision, column.type_scale, column.position), (Some(10), Some(2), 0));
}

#[tokio::test]
async fn writes_arrow_and_csv() {
    let (schema, batches) =
        batches("SELECT * FROM (VALUES (1, 'a,\"b\"'), (2, NULL), (3, '')) v(n, t) ORDER BY n").await;
    let bytes = result::arrow_stream(&schema, &batches).unwrap();
    let read: Vec<RecordBatch> = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None)
        .unwrap()
        .map(|batch| batch.unwrap())
        .collect();
    assert_eq!(read, batches);
    let csv = String::from_utf8(result::csv(&schema, &batches, true)).unwrap();
    assert_eq!(csv, "n,t\r\n1,\"a,\"\"b\"\"\"\r\n2,\r\n3,\"\"\r\n");
}
