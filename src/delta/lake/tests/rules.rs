//! Tables to which other programs have given rules that rows of ours would break.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_rules_of_others_is_read_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory);
    // Partitions, configuration, and what is known of the column `id`.
    let cases = [
        (r#"["id"]"#, "{}", "{}", "partitions"),
        ("[]", r#"{"delta.constraints.some":"id <> 'x'"}"#, "{}", "constraints"),
        (
            "[]",
            r#"{"delta.columnMapping.mode":"name","delta.columnMapping.maxColumnId":"2"}"#,
            r#"{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"c1"}"#,
            "columnMapping",
        ),
        (
            "[]",
            "{}",
            r#"{"delta.invariants":"{\"expression\":{\"expression\":\"id <> 'x'\"}}"}"#,
            "invariants",
        ),
        ("[]", "{}", r#"{"delta.generationExpression":"'x'"}"#, "generated"),
    ];
    for (number, (partitions, configuration, known, why)) in cases.into_iter().enumerate() {
        let name = format!("t{number}");
        let log = directory.path().join(&name).join("_delta_log");
        std::fs::create_dir_all(&log).unwrap();
        let mapped = known.contains("columnMapping");
        let other = r#"{"delta.columnMapping.id":2,"delta.columnMapping.physicalName":"c2"}"#;
        let other = if mapped { other } else { "{}" };
        let schema = format!(
            r#"{{"type":"struct","fields":[{{"name":"id","type":"string","nullable":true,"metadata":{known}}},{{"name":"start_time_unix_nano","type":"long","nullable":true,"metadata":{other}}}]}}"#
        );
        let schema = serde_json::Value::String(schema);
        let entry = format!(
            r#"{{"protocol":{{"minReaderVersion":2,"minWriterVersion":5}}}}
{{"metaData":{{"id":"x","format":{{"provider":"parquet","options":{{}}}},"schemaString":{schema},"partitionColumns":{partitions},"configuration":{configuration}}}}}
"#
        );
        std::fs::write(log.join("00000000000000000000.json"), entry).unwrap();
        let place = place(&directory, &name);
        assert_eq!(ids(&lake, &place).await, Vec::<String>::new());
        match lake.append(&place, rows(0, 1)).await {
            Err(LakeError::Unsupported(said)) => assert!(said.contains(why), "{why}: {said}"),
            other => panic!("{why}: {other:?}"),
        }
        assert_eq!(std::fs::read_dir(log).unwrap().count(), 1);
    }
}
