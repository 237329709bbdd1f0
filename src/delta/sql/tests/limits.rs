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
    let heavy = format!("SELECT count(*) FROM {SERIES} a, {SERIES} b, {SERIES} c WHERE a.n + b.n + c.n < 0");
    let heavy: Vec<_> = (0..4)
        .map(|_| {
            let (engine, heavy) = (engine.clone(), heavy.clone());
            tokio::spawn(async move { run(&engine, &heavy, limits_of(5)).await })
        })
        .collect();
    for _ in 0..3 {
        let beside = tokio::time::timeout(Duration::from_secs(60), run(&engine, "SELECT count(*) FROM open", limits_of(60)));
        assert_eq!(beside.await.unwrap().unwrap(), ["4"]);
    }
    for heavy in heavy {
        assert!(matches!(heavy.await.unwrap(), Err(SqlError::Exhausted(_))));
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
    assert_eq!(run(&engine, &format!("SELECT count(*) FROM ({grouped})"), limits_of(60)).await.unwrap(), ["100000"]);
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
    assert_eq!(said("SELECT repeat('ab', 3), lpad('7', 3, '0'), replace('aXa', 'X', '--')").await, "ababab|007|a--a");
}

#[tokio::test]
async fn names_that_double_one_another_are_too_many() {
    let mut text = "WITH c0 AS (SELECT 1 AS x)".to_owned();
    for n in 1..30 {
        text.push_str(&format!(", c{n} AS (SELECT a.x FROM c{} a, c{} b)", n - 1, n - 1));
    }
    text.push_str(" SELECT * FROM c29");
    assert!(ask(&text).await.unwrap_err().to_string().contains("too complex"));
    let union = vec!["SELECT 1"; 10_000].join(" UNION ALL ");
    assert!(ask(&union).await.unwrap_err().to_string().contains("too complex"));
    let joins = format!("SELECT 1 FROM open {}", (0..200).map(|n| format!("JOIN open o{n} USING (id) ")).collect::<String>());
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
        eprintln!("{}", text.chars().take(60).collect::<String>());
        // An answer or an error, but an answer.
        let _ = ask(&text).await;
    }
    let flat = format!("SELECT 1 IN ({})", (0..100_000).map(|n| (-n).to_string()).collect::<Vec<_>>().join(","));
    assert_eq!(said(&flat).await, "false");
    let chain = format!("SELECT id FROM open WHERE {} ORDER BY id", vec!["id = 1"; 250].join(" OR "));
    assert_eq!(said(&chain).await, "1");
    assert!(parse(&" ".repeat(17 << 20)).is_err());
}

#[test]
fn no_text_breaks_the_reader() {
    const WORDS: &[&str] = &[
        "SELECT", "FROM", "WHERE", "(", ")", "*", ",", "'", "\"", "`", ";", "--", "/*", "*/", "a", "main.t.open", "1", "WITH",
        "AS", "JOIN", "ON", ":", ":x", "$", "[", "]", "GRANT", "CREATE", "TABLE", "VIEW", "FUNCTION", "RETURN", "ALTER", "SET",
        "MASK", "ROW", "FILTER", "SHOW", "DESCRIBE", "DROP", "EXPLAIN", "é", "\0", "\\", "->", "::", "INTERVAL", "CASE", "END",
        "UNION", "VALUES", "INSERT", "INTO", "LATERAL", "OVER", "IN", "BETWEEN", "AND", "NOT", "TO", "OF", "COMMENT", "{", "}",
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
    let Statement::Query(query) = parse("SELECT id FROM open ORDER BY id").unwrap() else { panic!("a query") };
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
    let text = format!("SELECT a.n FROM {SERIES} a, {SERIES} b, {SERIES} c");
    let Statement::Query(query) = parse(&text).unwrap() else { panic!("a query") };
    let mut rows = engine.run(&query, &[], &Defaults::default(), Arc::new(world()), &limits_of(600)).await.unwrap();
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
