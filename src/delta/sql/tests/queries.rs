use super::*;

#[tokio::test]
async fn reads_tables_joins_and_windows() {
    assert_eq!(said("SELECT id, owner FROM open ORDER BY id DESC LIMIT 2").await, "4|bob\n3|bob");
    assert_eq!(said("select count(*) from MAIN.`T`.Open o join main.t.open p on o.id = p.id").await, "4");
    assert_eq!(
        said("SELECT owner, sum(amount) FROM open GROUP BY owner ORDER BY owner;").await,
        "ann|12\nbob|0"
    );
    assert_eq!(
        said("SELECT id, row_number() OVER (PARTITION BY owner ORDER BY id) FROM open ORDER BY id").await,
        "1|1\n2|2\n3|1\n4|2"
    );
    assert_eq!(said("SELECT 1 UNION ALL SELECT 2 ORDER BY 1").await, "1\n2");
    assert_eq!(said("SELECT id FROM open WHERE id IN (SELECT max(id) FROM open)").await, "4");
    assert_eq!(said("SELECT id FROM open o WHERE EXISTS (SELECT 1 FROM ruled r WHERE r.id = o.id) ORDER BY id").await, "1\n2");
    assert_eq!(said("VALUES (1, 'a'), (2, NULL)").await, "1|a\n2|NULL");
    assert_eq!(said("SELECT u FROM (SELECT unnest(make_array(1,2)) u) ORDER BY u").await, "1\n2");
}

#[tokio::test]
async fn names_of_with_shadow_tables_in_their_own_scope_only() {
    assert_eq!(said("WITH open AS (SELECT id FROM open WHERE id = 1) SELECT * FROM Open").await, "1");
    assert_eq!(said("WITH a AS (SELECT 1 x), b AS (SELECT x + 1 y FROM a) SELECT y FROM b").await, "2");
    // The name is gone outside of the subquery that has it.
    let out = said("SELECT * FROM (WITH q AS (SELECT 1 x) SELECT * FROM q) s, q").await;
    assert!(out.contains("main.t.q"), "{out}");
    // A name of WITH reaches neither into a view nor over a full name.
    assert_eq!(said("WITH mine AS (SELECT 9 AS id) SELECT id FROM over ORDER BY id").await, "101\n102");
    assert_eq!(said("WITH open AS (SELECT 9 AS id) SELECT count(*) FROM main.t.open").await, "4");
}

#[tokio::test]
async fn each_table_is_asked_for_once_and_through_its_views() {
    let world = Arc::new(world());
    let Statement::Query(query) = parse("SELECT * FROM main.t.over o, main.t.open a, main.t.open b WHERE o.id > a.id").unwrap()
    else {
        panic!("a query")
    };
    let governor: Arc<dyn Governor> = world.clone();
    let rows = engine().run(&query, &[], &Defaults::default(), governor, &limits_of(30)).await.unwrap();
    rows_of(rows).await.unwrap();
    let mut asked = world.asked.lock().unwrap().clone();
    asked.sort();
    let wanted = [("main.below.base", 2), ("main.t.mine", 1), ("main.t.open", 0), ("main.t.over", 0)];
    assert_eq!(asked, wanted.map(|(name, depth)| (name.to_owned(), depth)));
}

#[tokio::test]
async fn rows_of_ours_are_tables() {
    let mut world = world();
    world.relations.insert("main.information_schema.tables".to_owned(), Relation::Rows(people()));
    assert_eq!(with(world, "SELECT count(*) FROM main.information_schema.tables", &[]).await.unwrap(), ["4"]);
}

#[tokio::test]
async fn reads_json_as_databricks_writes_it() {
    assert_eq!(said("SELECT attributes:a.b, attributes:n::int + 1, attributes:l[1] FROM open WHERE id = 1").await, "x|4|2");
    assert_eq!(said("SELECT attributes:['a']['b'] FROM open ORDER BY id").await, "x\nNULL\nNULL\nNULL");
    assert_eq!(said("SELECT get_json_object(attributes, '$.a.b') FROM open WHERE id = 1").await, "x");
    assert_eq!(said("SELECT get_json_object(attributes, '$.a') FROM open WHERE id = 1").await, r#"{"b":"x"}"#);
    assert_eq!(said("SELECT try_variant_get(parse_json(attributes), '$.n', 'int') FROM open WHERE id = 1").await, "3");
    assert_eq!(said("SELECT id FROM open WHERE attributes:a.b = 'x'").await, "1");
    assert_eq!(said("SELECT json_get_str(attributes, 'a', 'b') FROM open WHERE id = 1").await, "x");
}

#[tokio::test]
async fn parameters_are_values() {
    let parameter = |name: &str, value: Option<&str>, kind: Option<&str>| Parameter {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        sql_type: kind.map(str::to_owned),
    };
    let text = "SELECT id FROM open WHERE owner = :who AND id < :most ORDER BY id LIMIT :n";
    let run = |parameters: Vec<Parameter>| async move { with(world(), text, &parameters).await };
    let n = || parameter("n", Some("5"), Some("BIGINT"));
    let good = vec![parameter("who", Some("ann"), None), parameter("most", Some("2"), Some("INT")), n()];
    assert_eq!(run(good.clone()).await.unwrap(), ["1"]);
    let sly = vec![parameter("who", Some("x' OR '1'='1"), None), good[1].clone(), n()];
    assert!(run(sly).await.unwrap().is_empty());
    let error = run(vec![good[0].clone(), n()]).await.unwrap_err().to_string();
    assert!(error.contains(":most"), "{error}");
    let mut more = good.clone();
    more.push(parameter("spare", None, None));
    let error = run(more).await.unwrap_err().to_string();
    assert!(error.contains(":spare"), "{error}");
    let bad = vec![good[0].clone(), parameter("most", Some("2; DROP"), Some("INT")), n()];
    let error = run(bad).await.unwrap_err().to_string();
    assert!(error.contains("most") && !error.contains("DROP"), "{error}");
    assert_eq!(with(world(), "SELECT :d + INTERVAL '1' DAY", &[parameter("d", Some("2026-01-31"), Some("DATE"))]).await.unwrap(), ["2026-02-01"]);
    assert_eq!(with(world(), "SELECT :x IS NULL", &[parameter("x", None, Some("DOUBLE"))]).await.unwrap(), ["true"]);
    assert_eq!(with(world(), "SELECT :x", &[parameter("x", Some("1.50"), Some("DECIMAL(10,2)"))]).await.unwrap(), ["1.50"]);
}

#[tokio::test]
async fn functions_of_the_catalog_are_their_bodies() {
    assert_eq!(said("SELECT main.t.twice(id), t.twice(id) AS x FROM open WHERE main.t.twice(id) > 6").await, "8|8");
    assert_eq!(said("SELECT main.t.twice(main.t.twice(1))").await, "4");
    assert!(said("SELECT main.t.none(1)").await.contains("main.t.none"));
    assert!(said("SELECT main.t.twice(1, 2)").await.starts_with("error"));
}

#[tokio::test]
async fn says_who_asks() {
    assert_eq!(said("SELECT current_user(), is_member('analysts'), is_account_group_member('admins')").await, "ann|true|false");
    assert!(said("SELECT is_member(owner) FROM open").await.starts_with("error"));
}

#[tokio::test]
async fn joins_texts_as_sql_does() {
    assert_eq!(said("SELECT 'a' || 'b', 'a' || NULL, owner || id FROM open WHERE id = 1").await, "ab|NULL|ann1");
    assert_eq!(said("SELECT secret || '!' FROM open ORDER BY id").await, "11!\n22!\nhush!\nNULL");
}
