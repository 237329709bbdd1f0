//! Ways to a row or a value that is not the caller's. `main.t.ruled` shows ids 1 and 2, and `***` for each secret.

use super::*;

async fn refused(text: &str) -> String {
    match ask(text).await {
        Ok(lines) => panic!("{text} answered {lines:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn shows_the_rows_and_values_that_the_rules_leave() {
    assert_eq!(said("SELECT * EXCEPT (attributes) FROM ruled ORDER BY id").await, "1|ann|***|5\n2|ann|***|7");
    assert_eq!(said("SELECT secret FROM masked ORDER BY id").await, "***\n***\n***\n***");
    assert_eq!(said("SELECT count(*) FROM ruled").await, "2");
    assert_eq!(said("SELECT secret FROM (WITH x AS (SELECT * FROM ruled) SELECT * FROM x) LIMIT 1").await, "***");
}

#[tokio::test]
async fn a_predicate_that_would_fail_on_a_hidden_row_never_sees_it() {
    // 1/0 and the cast fail on rows 3 and 4.
    assert_eq!(said("SELECT id FROM ruled WHERE 10 / amount > 0 ORDER BY id").await, "1\n2");
    assert!(refused("SELECT id FROM open WHERE 10 / amount > 0").await.contains("DIVIDE_BY_ZERO"));
    assert_eq!(said("SELECT id FROM ruled WHERE CAST(owner || id AS STRING) <> 'x' AND 10 / amount > 0 ORDER BY id").await, "1\n2");
    assert_eq!(
        said("SELECT r.id FROM ruled r JOIN (VALUES (1), (2)) v(x) ON 10 / r.amount > 0 AND r.id = v.x ORDER BY 1").await,
        "1\n2"
    );
    assert_eq!(said("SELECT sum(10 / amount) FROM ruled").await, "3");
    assert_eq!(said("SELECT id FROM ruled ORDER BY 10 / amount, id LIMIT 1").await, "2");
    assert_eq!(said("SELECT id FROM ruled GROUP BY id HAVING max(10 / amount) > 0 ORDER BY id").await, "1\n2");
    assert_eq!(said("SELECT id FROM ruled WHERE id > 0 AND id + amount > 0 AND amount BETWEEN 1 AND 9 ORDER BY id").await, "1\n2");
}

#[tokio::test]
async fn a_view_is_a_line_as_well() {
    assert_eq!(said("SELECT id FROM mine WHERE 10 / amount > 0 ORDER BY id").await, "1\n2");
    assert_eq!(said("SELECT id FROM mine WHERE CAST(secret AS INT) > 0 ORDER BY id").await, "1\n2");
    assert_eq!(said("SELECT m.id FROM mine m JOIN open o ON m.id = o.id AND 10 / m.amount > 0 ORDER BY 1").await, "1\n2");
    assert_eq!(said("SELECT id FROM over ORDER BY id LIMIT 1").await, "101");
    // Only its columns.
    assert!(refused("SELECT owner FROM mine").await.contains("owner"));
}

#[tokio::test]
async fn a_mask_is_not_undone() {
    for secret in ["11", "22", "hush"] {
        assert_eq!(said(&format!("SELECT id FROM masked WHERE secret = '{secret}'")).await, "");
        assert_eq!(said(&format!("SELECT id FROM masked WHERE secret IN ('{secret}', 'x')")).await, "");
    }
    assert_eq!(said("SELECT count(*) FROM masked WHERE secret = '***'").await, "4");
    assert_eq!(said("SELECT count(*) FROM masked WHERE secret IS NULL").await, "0");
    assert_eq!(said("SELECT min(secret), max(secret), count(DISTINCT secret), count(secret) FROM masked").await, "***|***|1|4");
    assert_eq!(said("SELECT id FROM masked ORDER BY secret DESC, id").await, "1\n2\n3\n4");
    assert_eq!(said("SELECT secret, count(*) FROM masked GROUP BY secret").await, "***|4");
    assert_eq!(said("SELECT m.id FROM masked m JOIN open o ON m.secret = o.secret").await, "");
    assert_eq!(said("SELECT length(secret) FROM masked WHERE id = 3").await, "3");
    assert_eq!(said("SELECT secret FROM masked WHERE secret LIKE 'h%' OR substr(secret, 1, 1) = 'h'").await, "");
}

#[tokio::test]
async fn statistics_do_not_count_hidden_rows() {
    assert_eq!(said("SELECT count(*), min(id), max(id), min(amount) FROM ruled").await, "2|1|2|5");
    assert_eq!(said("SELECT count(*) FROM mine").await, "2");
}

#[tokio::test]
async fn errors_and_explain_tell_nothing() {
    let error = refused("SELECT CAST(secret AS INT) FROM open").await;
    assert!(!error.contains("mem:"), "{error}");
    let error = refused("SELECT CAST(attributes AS INT) FROM ruled").await;
    assert!(!error.contains('{') && !error.contains("a\""), "{error}");
    let error = refused("SELECT CAST(secret AS INT) FROM masked").await;
    assert!(!error.contains("hush"), "{error}");
    let plan = said("EXPLAIN SELECT id FROM ruled WHERE amount > 1").await;
    assert!(plan.contains("main.t.ruled"), "{plan}");
    for told in ["current_user", "ann", "mem:", "***", "rows"] {
        assert!(!plan.contains(told), "{plan}");
    }
    let plan = said("EXPLAIN SELECT * FROM over").await;
    assert!(plan.contains("main.t.over") && !plan.contains("below") && !plan.contains("mine"), "{plan}");
    for form in ["EXPLAIN ANALYZE SELECT * FROM ruled", "EXPLAIN VERBOSE SELECT 1", "EXPLAIN FORMAT JSON SELECT 1"] {
        refused(form).await;
    }
    // It is authorized as the query itself.
    assert!(refused("EXPLAIN SELECT * FROM main.below.base").await.contains("TABLE_OR_VIEW_NOT_FOUND"));
}

#[tokio::test]
async fn hidden_and_missing_are_one() {
    let hidden = refused("SELECT * FROM main.below.base").await;
    let missing = refused("SELECT * FROM main.below.none").await;
    assert_eq!(hidden.replace("base", "none"), missing);
}

#[tokio::test]
async fn every_place_that_names_a_table_is_asked_for() {
    for text in [
        "SELECT * FROM main.below.base",
        "SELECT (SELECT max(id) FROM main.below.base)",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM main.below.base)",
        "SELECT id FROM open WHERE id IN (SELECT id FROM main.below.base)",
        "WITH x AS (SELECT * FROM main.below.base) SELECT * FROM x",
        "WITH x AS (SELECT * FROM main.below.base) SELECT 1",
        "SELECT * FROM open UNION SELECT * FROM main.below.base",
        "SELECT * FROM open JOIN main.below.base USING (id)",
        "SELECT * FROM (open CROSS JOIN main.below.base)",
        "SELECT * FROM `MAIN`.`Below`.`BASE`",
        "SELECT count(*) FROM open GROUP BY (SELECT max(id) FROM main.below.base)",
        "SELECT id FROM open ORDER BY (SELECT max(id) FROM main.below.base)",
        "SELECT id FROM open LIMIT (SELECT max(id) FROM main.below.base)",
        "VALUES ((SELECT max(id) FROM main.below.base))",
        "SELECT CASE WHEN 1 = (SELECT max(id) FROM main.below.base) THEN 1 END",
        "WITH base AS (SELECT 1 AS id) SELECT * FROM main.below.base",
    ] {
        let error = refused(text).await;
        assert!(error.contains("TABLE_OR_VIEW_NOT_FOUND"), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    for text in [
        "COPY open TO '/tmp/x.parquet'",
        "COPY INTO main.t.open FROM '/tmp'",
        "LOAD DATA INPATH '/tmp' INTO TABLE open",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/tmp'",
        "INSERT OVERWRITE DIRECTORY '/tmp' SELECT 1",
        "DELETE FROM open",
        "UPDATE open SET id = 1",
        "MERGE INTO open USING ruled ON open.id = ruled.id WHEN MATCHED THEN DELETE",
        "TRUNCATE TABLE open",
        "OPTIMIZE open",
        "VACUUM open",
        "PREPARE x AS SELECT 1",
        "EXECUTE x",
        "SELECT * FROM open VERSION AS OF 1",
        "SELECT * FROM open TIMESTAMP AS OF '2020-01-01'",
        "SELECT * FROM open@v1",
        "SELECT * FROM open TABLESAMPLE (10 PERCENT)",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM read_files('/etc')",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM TABLE(generate_series(1, 3))",
        "SELECT * FROM LATERAL unnest(make_array(1))",
        "SELECT * FROM delta.`/tmp/x`",
        "SELECT * FROM parquet.`s3://b/x`",
        "SELECT * FROM `file:///etc/passwd`",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM `a.b`",
        "SELECT * FROM `main.t.open`",
        "SELECT * FROM IDENTIFIER('main.t.open')",
        "SELECT * INTO x FROM open",
        "TABLE open",
        "FROM open SELECT id",
        "FROM open |> SELECT id",
        "SELECT * FROM open FOR UPDATE",
        "WITH x AS (DELETE FROM open) SELECT 1",
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE open",
        "SELECT 1;; SELECT 2",
        "SELECT version()",
        "SELECT input_file_name() FROM open",
        "SELECT file_row_index() FROM open",
        "SELECT @@version",
        "SELECT $1",
        "SELECT ?",
        "SELECT id FROM open LATERAL VIEW explode(x) t AS y",
        "EXPLAIN DELETE FROM open",
        "EXPLAIN CREATE TABLE x (a INT)",
        "SHOW VARIABLES",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM datafusion.public.open",
        "SELECT * FROM оpen",
        "",
        ";",
        "/* nothing */",
    ] {
        refused(text).await;
    }
    assert_eq!(said("/* a ; b */ SELECT 1 -- ; SELECT 2\n ;;").await, "1");
    assert_eq!(said("SELECT '; DROP TABLE open'").await, "; DROP TABLE open");
}

#[tokio::test]
async fn views_that_read_themselves_end() {
    assert!(refused("SELECT * FROM loop").await.contains("reads itself"));
    assert!(refused("SELECT * FROM v0").await.contains("deep"));
    for definition in ["DELETE FROM main.t.open", "SELECT 1; SELECT 2", "EXPLAIN SELECT 1", "SELECT * FROM delta.`/x`", "SELECT :p"] {
        let mut world = world();
        world.relations.insert("main.t.bad".to_owned(), Relation::View { definition: definition.to_owned() });
        assert!(with(world, "SELECT * FROM bad", &[]).await.is_err(), "{definition}");
    }
}

#[tokio::test]
async fn rules_that_do_not_fit_let_nobody_read() {
    let rules = [
        Rules { row_filter: Some(call(function("f", &[("x", "STRING")], "BOOLEAN", "true"), &["gone"])), masks: BTreeMap::new() },
        Rules { row_filter: Some(call(function("f", &[], "BOOLEAN", "nonsense("), &[])), masks: BTreeMap::new() },
        Rules { row_filter: Some(call(function("f", &[], "BOOLEAN", "other = 1"), &[])), masks: BTreeMap::new() },
        Rules { row_filter: Some(call(function("f", &[("x", "STRING")], "BOOLEAN", "true"), &[])), masks: BTreeMap::new() },
        Rules {
            row_filter: Some(call(function("f", &[], "BOOLEAN", "EXISTS (SELECT 1 FROM main.t.open)"), &[])),
            masks: BTreeMap::new(),
        },
        Rules { row_filter: Some(call(function("f", &[], "BOOLEAN", "count(*) > 0"), &[])), masks: BTreeMap::new() },
        Rules { row_filter: None, masks: BTreeMap::from([("gone".to_owned(), call(function("m", &[], "STRING", "'*'"), &[]))]) },
    ];
    for rules in rules {
        let mut world = world();
        world.relations.insert("main.t.bad".to_owned(), Relation::Table { place: "mem:people".to_owned(), rules });
        assert!(with(world, "SELECT id FROM bad", &[]).await.is_err());
    }
    // NULL hides as false does.
    let mut world = world();
    let unknown = call(function("f", &[("x", "STRING")], "BOOLEAN", "x = 'hush'"), &["secret"]);
    let rules = Rules { row_filter: Some(unknown), masks: BTreeMap::new() };
    world.relations.insert("main.t.some".to_owned(), Relation::Table { place: "mem:people".to_owned(), rules });
    assert_eq!(with(world, "SELECT id FROM some", &[]).await.unwrap(), ["3"]);
}
