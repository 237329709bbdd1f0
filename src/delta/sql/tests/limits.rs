//! Statements that eat memory or time, and texts that are made to break the reader.

use super::*;

const SERIES: &str = "(SELECT unnest(generate_series(1, 100000)) AS n)";

async fn run(engine: &Engine, text: &str, limits: QueryLimits) -> Result<Vec<String>, SqlError> {
    let Statement::Query(query) = parse(text)? else { panic!("a query") };
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    rows_of(engine.run(&query, &[], &defaults, Arc::new(world()), &limits).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_query_is_bounded_and_others_are_answered() {
    let engine = engine();
    let heavy = format!("SELECT count(*) FROM {SERIES} a, {SERIES} b WHERE a.n + b.n < 0");
    let heavy: Vec<_> = (0..4)
        .map(|_| {
            let (engine, heavy) = (engine.clone(), heavy.clone());
            tokio::spawn(async move { run(&engine, &heavy, limits_of(5)).await })
        })
        .collect();
    for _ in 0..3 {
        let beside = tokio::time::timeout(
            Duration::from_secs(60),
            run(&engine, "SELECT count(*) FROM open", limits_of(60)),
        );
        assert_eq!(beside.await.unwrap().unwrap(), ["4"]);
    }
    for heavy in heavy {
        let Err(SqlError::Exhausted(why)) = heavy.await.unwrap() else { panic!("it ended") };
        assert!(why.contains("longer"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_per_statement_and_given_back() {
    let engine = Engine::over(Arc::new(Memory), 64 << 20).unwrap();
    let small = QueryLimits { memory_bytes: 1 << 20, ..limits_of(60) };
    let sorted = format!("SELECT a.n, b.n m FROM {SERIES} a, {SERIES} b ORDER BY b.n * a.n LIMIT 100000000");
    assert!(matches!(run(&engine, &sorted, small.clone()).await, Err(SqlError::Exhausted(_))));
    let grouped = format!("SELECT n, count(*) FROM {SERIES} GROUP BY n");
    assert!(matches!(run(&engine, &grouped, small).await, Err(SqlError::Exhausted(_))));
    // What it took is there for the next.
    assert_eq!(
        run(&engine, &format!("SELECT count(*) FROM ({grouped})"), limits_of(60)).await.unwrap(),
        ["100000"]
    );
    for _ in 0..100 {
        if engine.memory_in_use() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} bytes are still taken", engine.memory_in_use());
}

#[tokio::test]
async fn functions_that_make_much_of_little_are_bounded() {
    for text in [
        "SELECT length(repeat('a', 2000000000))",
        "SELECT length(lpad('a', 2000000000, 'b'))",
        "SELECT array_length(generate_series(1, 2000000000))",
        "SELECT array_length(range(2000000000))",
        "SELECT array_length(array_repeat(1, 2000000000))",
        "SELECT length(replace(repeat('a', 1000000), 'a', repeat('b', 1000000)))",
    ] {
        let error = ask(text).await.unwrap_err();
        assert!(matches!(error, SqlError::Exhausted(_)), "{text}: {error}");
    }
    let doubling = |join: &str| {
        let start = "SELECT repeat('a', 1000000) AS a".to_owned();
        let inner = (0..12).fold(start, |inner, _| format!("SELECT {join} AS a FROM ({inner}) t"));
        format!("SELECT length(a) FROM ({inner}) t")
    };
    for join in ["a || a", "concat(a, a)", "concat_ws('', a, a)", "replace(a, 'a', 'aa')"] {
        let error = ask(&doubling(join)).await.unwrap_err();
        assert!(matches!(error, SqlError::Exhausted(_)), "{join}: {error}");
    }
    assert_eq!(
        said("SELECT repeat('ab', 3), lpad('7', 3, '0'), replace('aXa', 'X', '--')").await,
        "ababab|007|a--a"
    );
}

#[tokio::test]
async fn names_that_double_one_another_are_too_many() {
    let mut text = "WITH c0 AS (SELECT 1 AS x)".to_owned();
    for n in 1..30 {
        text.push_str(&format!(", c{n} AS (SELECT a.x FROM c{} a, c{} b)", n - 1, n - 1));
    }
    text.push_str(" SELECT * FROM c29");
    assert!(ask(&text).await.unwrap_err().to_string().contains("too complex"));
    // Views do so, too.
    let mut views = world();
    for n in 0..14 {
        let definition = format!("SELECT a.id FROM main.t.d{} a, main.t.d{} b", n + 1, n + 1);
        views.relations.insert(format!("main.t.d{n}"), Relation::View { definition });
    }
    views
        .relations
        .insert("main.t.d14".to_owned(), Relation::View { definition: "SELECT 1 AS id".to_owned() });
    assert!(with(views, "SELECT * FROM d0", &[]).await.unwrap_err().to_string().contains("too complex"));
    let union = vec!["SELECT 1"; 10_000].join(" UNION ALL ");
    assert!(ask(&union).await.unwrap_err().to_string().contains("too complex"));
    let joins = format!(
        "SELECT 1 FROM open {}",
        (0..200).map(|n| format!("JOIN open o{n} USING (id) ")).collect::<String>()
    );
    assert!(ask(&joins).await.unwrap_err().to_string().contains("too complex"));
    let calls = format!("SELECT {}1{}", "main.t.many(".repeat(30), ")".repeat(30));
    let mut world = world();
    let many = function("main.t.many", &[("x", "BIGINT")], "BIGINT", "x + x + x + x + x + x + x + x");
    world.functions.insert("main.t.many".to_owned(), many);
    assert!(with(world, &calls, &[]).await.unwrap_err().to_string().contains("too complex"));
}

#[tokio::test]
async fn depth_does_not_overflow_the_stack() {
    let deep = [
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT {}1", "-".repeat(100_001)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!("SELECT 1{}", "+1".repeat(100_000)),
        format!("SELECT 1{}", "+1".repeat(3_900)),
        format!("SELECT {}1", "- ".repeat(3_900)),
        format!("SELECT {}1 {}", "CASE WHEN true THEN ".repeat(100_000), "END ".repeat(100_000)),
        format!("SELECT CAST(1 AS {}INT{})", "ARRAY<".repeat(100_000), ">".repeat(100_000)),
        format!("SELECT CAST(1 AS {}INT{})", "ARRAY<".repeat(1_900), ">".repeat(1_900)),
        format!("SELECT a{}", ":b".repeat(100_000)),
        format!("SELECT a{}", "[1]".repeat(100_000)),
        format!("SELECT a{}", "::int".repeat(3_900)),
        format!("SELECT a{}", ".b".repeat(100_000)),
        format!("SELECT * FROM {}open{}", "(SELECT * FROM ".repeat(60), ")".repeat(60)),
        format!("SELECT * FROM {}open{}", "(".repeat(60), ")".repeat(60)),
        format!("SELECT 1{}", " FROM a JOIN b".repeat(3_000)),
        format!("SELECT 1 {}", "IS NULL ".repeat(3_000)),
        format!("EXPLAIN {}SELECT 1", "EXPLAIN ".repeat(3_000)),
        format!("{}SELECT 1", "WITH a AS (".repeat(60)),
        format!("SELECT {}", "f(".repeat(60)),
    ];
    for text in deep {
        // An answer or an error, but an answer.
        let _ = ask(&text).await;
    }
    let flat =
        format!("SELECT 1 IN ({})", (0..100_000).map(|n| (-n).to_string()).collect::<Vec<_>>().join(","));
    assert_eq!(said(&flat).await, "false");
    let chain = format!("SELECT id FROM open WHERE {} ORDER BY id", vec!["id = 1"; 250].join(" OR "));
    assert_eq!(said(&chain).await, "1");
    assert!(parse(&" ".repeat(17 << 20)).is_err());
}

#[test]
fn no_text_breaks_the_reader() {
    const WORDS: &[&str] = &[
        "SELECT",
        "FROM",
        "WHERE",
        "(",
        ")",
        "*",
        ",",
        "'",
        "\"",
        "`",
        ";",
        "--",
        "/*",
        "*/",
        "a",
        "main.t.open",
        "1",
        "WITH",
        "AS",
        "JOIN",
        "ON",
        ":",
        ":x",
        "$",
        "[",
        "]",
        "GRANT",
        "CREATE",
        "TABLE",
        "VIEW",
        "FUNCTION",
        "RETURN",
        "ALTER",
        "SET",
        "MASK",
        "ROW",
        "FILTER",
        "SHOW",
        "DESCRIBE",
        "DROP",
        "EXPLAIN",
        "é",
        "\0",
        "\\",
        "->",
        "::",
        "INTERVAL",
        "CASE",
        "END",
        "UNION",
        "VALUES",
        "INSERT",
        "INTO",
        "LATERAL",
        "OVER",
        "IN",
        "BETWEEN",
        "AND",
        "NOT",
        "TO",
        "OF",
        "COMMENT",
        "{",
        "}",
    ];
    // A small generator of its own, so that a failure can be run again.
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..3_000 {
        let words = next() % 25;
        let text: Vec<&str> = (0..words).map(|_| WORDS[(next() % WORDS.len() as u64) as usize]).collect();
        let glue = if next() % 4 == 0 { "" } else { " " };
        let text = text.join(glue);
        if let Err(SqlError::Internal(why)) = parse(&text) {
            panic!("{text:?}: {why}");
        }
    }
}

#[tokio::test]
async fn answers_are_cut_off_and_say_so() {
    let engine = engine();
    let Statement::Query(query) = parse("SELECT id FROM open ORDER BY id").unwrap() else {
        panic!("a query")
    };
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    for (rows, bytes, wanted, cut) in [
        (Some(3), None, 3, true),
        (Some(4), None, 4, false),
        (Some(0), None, 0, true),
        (None, Some(16), 2, true),
        (None, Some(1 << 20), 4, false),
        (None, None, 4, false),
    ] {
        let limits = QueryLimits { rows, bytes, ..limits_of(60) };
        let rows = engine.run(&query, &[], &defaults, Arc::new(world()), &limits).await.unwrap();
        let truncated = rows.truncated.clone();
        assert_eq!(rows_of(rows).await.unwrap().len(), wanted);
        assert_eq!(truncated.get(), cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_rows_ends_the_query() {
    let engine = engine();
    let text = format!("SELECT a.n FROM {SERIES} a, {SERIES} b");
    let Statement::Query(query) = parse(&text).unwrap() else { panic!("a query") };
    let mut rows =
        engine.run(&query, &[], &Defaults::default(), Arc::new(world()), &limits_of(600)).await.unwrap();
    rows.batches.next().await.unwrap().unwrap();
    drop(rows);
    for _ in 0..200 {
        if engine.memory_in_use() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} bytes are still taken", engine.memory_in_use());
}

const ROWS: &str = "(SELECT unnest(range(0, 20000)) AS n)";

/// What is made of a constant or of one row for all rows of a batch is in no budget: each of these took gigabytes, and
/// some the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn constants_and_rows_that_are_repeated_are_bounded() {
    let long = "repeat('a', 1000000)";
    let list = "range(0, 100000)";
    let wide = format!("(SELECT CAST(n AS STRING) || {long} AS t FROM (SELECT unnest(range(0, 2)) AS n))");
    let joined: Vec<String> = (0..60).map(|n| format!("repeat('{n}', 60000000)")).collect();
    for text in [
        format!("SELECT sum(array_length(r)) FROM (SELECT n, {list} AS r FROM {ROWS}) t"),
        format!("SELECT max(t) FROM (SELECT n, {long} AS t FROM {ROWS}) t"),
        format!("SELECT max(CASE WHEN n % 2 = 0 THEN {long} ELSE 'b' END) FROM {ROWS}"),
        format!("SELECT sum(array_position({list}, n)) FROM {ROWS}"),
        format!("SELECT sum(array_length(array_prepend(n, {list}))) FROM {ROWS}"),
        format!("SELECT sum(array_length(array_union({list}, make_array(n)))) FROM {ROWS}"),
        format!("SELECT count(map(make_array(n), make_array({long}))) FROM {ROWS}"),
        format!("SELECT max(coalesce(CAST(nullif(n, n) AS STRING), {long})) FROM {ROWS}"),
        format!("SELECT max(to_char(to_timestamp(n), repeat('%Y', 100000))) FROM {ROWS}"),
        format!("SELECT length(string_agg(CAST(n AS STRING), {long})) FROM {ROWS}"),
        format!("SELECT count(*) FROM (SELECT n, {long} AS t FROM {ROWS} UNION SELECT n, 'x' FROM {ROWS})"),
        format!("SELECT n FROM {ROWS} ORDER BY {long} || n LIMIT 3"),
        format!("SELECT count(CAST(r AS STRING)) FROM (SELECT n, {list} AS r FROM {ROWS}) t"),
        format!("SELECT max(array_to_string(make_array(n, n, n), {long})) FROM {ROWS}"),
        format!("SELECT max(length(t)) FROM {wide} w CROSS JOIN {ROWS} r WHERE length(t) > n"),
        format!("SELECT max(length(t)) FROM {wide} w JOIN {ROWS} r ON length(w.t) > r.n"),
        format!("SELECT max(length(t)) FROM {ROWS} r JOIN {wide} w ON length(w.t) % 2 = r.n % 2"),
        format!("SELECT max(length(t)), max(u) FROM (SELECT t, unnest(range(0, 20000)) AS u FROM {wide} w)"),
        format!("SELECT max(length((SELECT max(t) FROM {wide} w) || n)) FROM {ROWS}"),
        format!(
            "SELECT max(length(x)) FROM (SELECT first_value(n || {long}) OVER (ORDER BY n) AS x FROM {ROWS})"
        ),
        format!(
            "SELECT count(x) FROM (SELECT max(t) OVER () AS x FROM (SELECT repeat('a', 500000) || n AS t FROM (SELECT unnest(range(0, 100)) AS n)) UNION ALL SELECT 'b' FROM {ROWS}) y WHERE length(x) > 1"
        ),
        format!("SELECT {}", joined.join(", ")),
        format!("SELECT max(length(a)) FROM (VALUES ({})) AS v(a)", joined.join("), (")),
        // These would take no memory, and a processor for hours.
        "SELECT array_has_all(range(0, 10000000), range(0, 10000000))".to_owned(),
        "SELECT strpos(repeat('a', 50000000), repeat('a', 1000000) || 'b')".to_owned(),
        "SELECT length(btrim(repeat('a', 10000000), repeat('b', 1000000)))".to_owned(),
        format!("SELECT sum(strpos(repeat('a', 30000) || n, repeat('a', 10000) || 'b')) FROM {ROWS}"),
    ] {
        match run(&engine(), &text, limits_of(60)).await {
            Err(SqlError::Exhausted(why)) => assert!(why.contains("memory"), "{text}: {why}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_ask_is_not_too_much() {
    let models: String =
        (0..300).map(|n| format!("WHEN n = {n} THEN 'a model of some name, number {n}' ")).collect();
    let ids: Vec<String> = (0..5000).map(|n| format!("'{n:032}'")).collect();
    let page = "repeat('a page of text ' || n, 6000)";
    for (text, answer) in [
        (format!("SELECT count(DISTINCT CASE {models} END) FROM {ROWS}"), "300"),
        (
            format!(
                "SELECT count(*) FROM {ROWS} WHERE lpad(CAST(n AS STRING), 32, '0') IN ({})",
                ids.join(", ")
            ),
            "5000",
        ),
        ("SELECT sum(n) FROM (SELECT unnest(range(0, 1000000)) AS n)".to_owned(), "499999500000"),
        (
            format!(
                "SELECT max(length(replace(t, 'text', 'words'))) FROM (SELECT {page} AS t FROM (SELECT unnest(range(0, 500)) AS n))"
            ),
            "114000",
        ),
        (
            format!(
                "SELECT count(*) FROM (SELECT {page} AS t, n FROM (SELECT unnest(range(0, 200)) AS n)) a JOIN {ROWS} b ON a.n = b.n WHERE length(a.t) > 5"
            ),
            "200",
        ),
        (
            format!(
                "SELECT sum(r) FROM (SELECT row_number() OVER (PARTITION BY n % 7 ORDER BY n) AS r FROM {ROWS})"
            ),
            "28581429",
        ),
        (
            format!("SELECT max(x) FROM (SELECT lag(CAST(n AS STRING)) OVER (ORDER BY n) AS x FROM {ROWS})"),
            "9999",
        ),
        (format!("SELECT max(strpos(repeat('a page ', 1000) || n, '19999')) FROM {ROWS}"), "7001"),
        (format!("SELECT count(DISTINCT trim(' ' || n)) FROM {ROWS}"), "20000"),
        (
            "SELECT array_has_any(make_array('a', 'b'), make_array(owner, 'b')) FROM open WHERE id = 1"
                .to_owned(),
            "true",
        ),
        (
            "SELECT array_to_string(make_array(owner, secret), ', ') FROM open WHERE id = 1".to_owned(),
            "ann, 11",
        ),
    ] {
        let rows = run(&engine(), &text, limits_of(60)).await;
        assert_eq!(rows.unwrap_or_else(|why| vec![why.to_string()]), [answer], "{text}");
    }
}
