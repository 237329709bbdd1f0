use super::*;

fn command(text: &str) -> Command {
    match parse(text) {
        Ok(Statement::Command(command)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn name(text: &str) -> Name {
    text.split('.').map(str::to_owned).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn reads_create() {
    assert_eq!(
        command("create catalog if not exists `Main` comment 'all of it';"),
        Command::CreateCatalog { name: name("main"), if_not_exists: true, comment: some("all of it") }
    );
    assert_eq!(
        command("CREATE DATABASE main.T"),
        Command::CreateSchema { name: name("main.t"), if_not_exists: false, comment: None }
    );
    let column = |name: &str, kind: &str, nullable, comment: Option<String>| {
        (name.to_owned(), kind.to_owned(), nullable, comment)
    };
    assert_eq!(
        command(
            "CREATE TABLE IF NOT EXISTS main.t.x (ID BIGINT NOT NULL COMMENT 'which', `At` TIMESTAMP, d DECIMAL(10, 2), \
             m MAP<STRING, ARRAY<STRING>>, s STRUCT<a: INT, b: ARRAY<ARRAY<INT>>>) USING DELTA COMMENT 'c' LOCATION 's3://b/x'"
        ),
        Command::CreateTable {
            name: name("main.t.x"),
            if_not_exists: true,
            columns: vec![
                column("id", "BIGINT", false, some("which")),
                column("at", "TIMESTAMP", true, None),
                column("d", "DECIMAL(10,2)", true, None),
                column("m", "MAP<STRING, ARRAY<STRING>>", true, None),
                column("s", "STRUCT<a: INT, b: ARRAY<ARRAY<INT>>>", true, None),
            ],
            location: some("s3://b/x"),
            comment: some("c"),
        }
    );
    assert_eq!(
        command("CREATE OR REPLACE VIEW t.v COMMENT 'é' AS SELECT 'é;' AS x -- no\n FROM main.t.open ;"),
        Command::CreateView {
            name: name("t.v"),
            or_replace: true,
            if_not_exists: false,
            definition: "SELECT 'é;' AS x -- no\n FROM main.t.open".to_owned(),
            comment: some("é"),
        }
    );
    assert_eq!(
        command("CREATE EXTERNAL VOLUME main.t.vol LOCATION 's3://b/v' COMMENT 'c'"),
        Command::CreateVolume {
            name: name("main.t.vol"),
            if_not_exists: false,
            location: some("s3://b/v"),
            comment: some("c")
        }
    );
    assert_eq!(
        command(
            "CREATE FUNCTION main.t.f(Who STRING, n DECIMAL(3,1)) RETURNS BOOLEAN LANGUAGE SQL COMMENT 'c' RETURN who = current_user() OR n > 1;"
        ),
        Command::CreateFunction {
            name: name("main.t.f"),
            or_replace: false,
            function: FunctionText {
                parameters: vec![
                    ("who".to_owned(), "STRING".to_owned()),
                    ("n".to_owned(), "DECIMAL(3,1)".to_owned())
                ],
                returns: "BOOLEAN".to_owned(),
                body: "who = current_user() OR n > 1".to_owned(),
                comment: some("c"),
            },
        }
    );
}

#[test]
fn reads_changes() {
    assert_eq!(
        command("DROP SCHEMA IF EXISTS main.t CASCADE"),
        Command::Drop { kind: "SCHEMA".to_owned(), name: name("main.t"), if_exists: true, cascade: true }
    );
    assert_eq!(
        command("ALTER TABLE main.t.x OWNER TO `Ann@Example.com`"),
        Command::SetOwner {
            kind: "TABLE".to_owned(),
            name: name("main.t.x"),
            owner: "Ann@Example.com".to_owned()
        }
    );
    assert_eq!(
        command("ALTER TABLE x SET ROW FILTER main.t.f ON (Who, n)"),
        Command::SetRowFilter {
            table: name("x"),
            filter: Some((name("main.t.f"), vec!["who".to_owned(), "n".to_owned()]))
        }
    );
    assert_eq!(
        command("ALTER TABLE x ADD COLUMNS (A BIGINT COMMENT 'how many', b STRING)"),
        Command::AddColumns {
            table: vec!["x".to_owned()],
            columns: vec![
                ("a".to_owned(), "BIGINT".to_owned(), true, Some("how many".to_owned())),
                ("b".to_owned(), "STRING".to_owned(), true, None),
            ],
        }
    );
    assert_eq!(
        command("ALTER TABLE x DROP ROW FILTER"),
        Command::SetRowFilter { table: name("x"), filter: None }
    );
    assert_eq!(
        command("ALTER TABLE x ALTER COLUMN SSN SET MASK t.m USING COLUMNS (owner)"),
        Command::SetMask {
            table: name("x"),
            column: "ssn".to_owned(),
            mask: Some((name("t.m"), vec!["ssn".to_owned(), "owner".to_owned()]))
        }
    );
    assert_eq!(
        command("ALTER TABLE x ALTER COLUMN ssn DROP MASK"),
        Command::SetMask { table: name("x"), column: "ssn".to_owned(), mask: None }
    );
    assert_eq!(
        command("INSERT INTO main.t.x (A, b) VALUES (1, 'x;')"),
        Command::Insert {
            table: name("main.t.x"),
            columns: vec!["a".to_owned(), "b".to_owned()],
            query: "VALUES (1, 'x;')".to_owned()
        }
    );
    assert_eq!(
        command("INSERT INTO TABLE x (SELECT * FROM y)"),
        Command::Insert { table: name("x"), columns: vec![], query: "(SELECT * FROM y)".to_owned() }
    );
}

#[test]
fn reads_grants() {
    let grant = |privileges: &[&str], kind: &str, on: &str, principal: &str| Command::Grant {
        privileges: privileges.iter().map(|privilege| privilege.to_string()).collect(),
        kind: kind.to_owned(),
        name: if on.is_empty() { Vec::new() } else { name(on) },
        principal: principal.to_owned(),
    };
    assert_eq!(
        command("GRANT select, USE SCHEMA ON SCHEMA main.T TO `account users`"),
        grant(&["SELECT", "USE SCHEMA"], "SCHEMA", "main.t", "account users")
    );
    assert_eq!(
        command("GRANT ALL PRIVILEGES ON main.t.x TO bob"),
        grant(&["ALL PRIVILEGES"], "TABLE", "main.t.x", "bob")
    );
    assert_eq!(
        command("GRANT CREATE CATALOG ON METASTORE TO bob"),
        grant(&["CREATE CATALOG"], "METASTORE", "", "bob")
    );
    assert_eq!(
        command("GRANT READ FILES ON EXTERNAL LOCATION l TO bob"),
        grant(&["READ FILES"], "EXTERNAL LOCATION", "l", "bob")
    );
    assert_eq!(command("GRANT SELECT ON table TO bob"), grant(&["SELECT"], "TABLE", "table", "bob"));
    assert_eq!(
        command("REVOKE SELECT ON TABLE x FROM bob"),
        Command::Revoke {
            privileges: vec!["SELECT".to_owned()],
            kind: "TABLE".to_owned(),
            name: name("x"),
            principal: "bob".to_owned()
        }
    );
    assert_eq!(
        command("SHOW GRANTS `a b` ON CATALOG main"),
        Command::ShowGrants { principal: some("a b"), kind: "CATALOG".to_owned(), name: name("main") }
    );
    assert_eq!(
        command("SHOW GRANTS ON main.t.x"),
        Command::ShowGrants { principal: None, kind: "TABLE".to_owned(), name: name("main.t.x") }
    );
}

#[test]
fn reads_show_and_describe() {
    assert_eq!(command("SHOW CATALOGS LIKE 'm*'"), Command::ShowCatalogs { like: some("m*") });
    assert_eq!(
        command("SHOW DATABASES IN Main"),
        Command::ShowSchemas { catalog: Some(name("main")), like: None }
    );
    assert_eq!(
        command("SHOW TABLES FROM main.t 'x*'"),
        Command::ShowTables { schema: Some(name("main.t")), like: some("x*") }
    );
    assert_eq!(command("SHOW VOLUMES"), Command::ShowVolumes { schema: None, like: None });
    let describe = |kind: &str, on: &str, extended| Command::Describe {
        kind: kind.to_owned(),
        name: name(on),
        extended,
    };
    assert_eq!(command("DESCRIBE main.t.x"), describe("TABLE", "main.t.x", false));
    assert_eq!(command("DESC TABLE EXTENDED main.t.x"), describe("TABLE", "main.t.x", true));
    assert_eq!(command("DESCRIBE EXTENDED x"), describe("TABLE", "x", true));
    assert_eq!(command("DESCRIBE VOLUME main.t.v"), describe("VOLUME", "main.t.v", false));
    assert_eq!(command("DESCRIBE volume"), describe("TABLE", "volume", false));
    assert_eq!(command("DESCRIBE extended"), describe("TABLE", "extended", false));
}

#[test]
fn what_is_half_understood_is_refused() {
    for text in [
        "GRANT SELECT ON x TO bob WITH GRANT OPTION",
        "GRANT SELECT ON x TO bob, ann",
        "GRANT SELECT ON x TO 'bob'",
        "GRANT ON x TO bob",
        "GRANT SELECT (ssn) ON x TO bob",
        "GRANT SELECT ON x TO bob; GRANT SELECT ON x TO ann",
        "REVOKE SELECT ON x TO bob",
        "CREATE TABLE x USING PARQUET",
        "CREATE TABLE x AS SELECT * FROM y",
        "CREATE OR REPLACE TABLE x (a INT)",
        "CREATE TABLE x (a INT) TBLPROPERTIES ('a' = 'b')",
        "CREATE TABLE x (a INT DEFAULT 1)",
        "CREATE TABLE delta.`/tmp/x` (a INT)",
        "CREATE EXTERNAL TABLE x (a INT)",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "CREATE VIEW v AS DELETE FROM x",
        "CREATE VIEW v AS EXPLAIN SELECT 1",
        "CREATE VIEW v AS SELECT 1; SELECT 2",
        "CREATE VIEW v AS SELECT * FROM parquet.`/x`",
        "CREATE VIEW v AS SELECT * FROM read_files('/x')",
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN (SELECT max(a) FROM y)",
        "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE PYTHON AS $$ return 1 $$",
        "CREATE FUNCTION f(x INT) RETURNS TABLE (a INT) RETURN SELECT 1",
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN x; SELECT 1",
        "CREATE FUNCTION f(x INT, X INT) RETURNS INT RETURN x",
        "ALTER TABLE x ADD COLUMN a INT FIRST",
        "ALTER TABLE x ADD COLUMN (a INT), b INT",
        "ALTER TABLE x ADD COLUMN a INT; DROP TABLE y",
        "ALTER VIEW x ADD COLUMN a INT",
        "ALTER TABLE x RENAME TO y",
        "ALTER TABLE x SET TBLPROPERTIES ('a' = 'b')",
        "ALTER VIEW x SET ROW FILTER f ON (a)",
        "ALTER TABLE x SET ROW FILTER f",
        "INSERT OVERWRITE x SELECT 1",
        "INSERT INTO x SELECT 1 RETURNING *",
        "INSERT INTO x DEFAULT VALUES",
        "INSERT INTO x EXPLAIN SELECT 1",
        "INSERT INTO x SELECT 1; DROP TABLE y",
        "INSERT INTO a.b.c.d SELECT 1",
        "DROP TABLE x, y",
        "DROP TABLE x; DROP TABLE y",
        "DROP EXTERNAL LOCATION x",
        "SHOW FUNCTIONS",
        "SHOW TBLPROPERTIES x",
        "SHOW CREATE TABLE x",
        "DESCRIBE HISTORY x",
        "DESCRIBE QUERY SELECT 1",
        "USE CATALOG main",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
