//! Which of a caller's predicates go through a view.

use super::plan::Planning;
use super::*;

const VIEWS: &[(&str, &str)] = &[
    ("ratio", "SELECT id, 10 / amount AS share FROM main.below.base WHERE amount > 0"),
    ("numbers", "SELECT id, owner FROM main.below.base WHERE CAST(secret AS BIGINT) > 0"),
    ("half", "SELECT id, amount / 2 AS half FROM main.below.base"),
    ("counts", "SELECT owner, count(*) AS n, sum(amount) AS amounts FROM main.below.base GROUP BY owner"),
    ("first", "SELECT id FROM main.below.base ORDER BY id LIMIT 2"),
    ("outer", "SELECT * FROM mine"),
    ("shown", "SELECT id, secret FROM main.t.ruled"),
    (
        "latest",
        "SELECT id, owner FROM (SELECT *, row_number() OVER (PARTITION BY owner ORDER BY id DESC) AS age \
         FROM main.below.base) AS aged WHERE age = 1",
    ),
    (
        "joined",
        "SELECT t.owner AS owner, t.ids AS ids, r.n AS n \
         FROM (SELECT owner, array_agg(id) AS ids FROM main.below.base GROUP BY owner) AS t \
         LEFT JOIN (SELECT owner, count(*) AS n FROM main.below.base WHERE amount > 0 GROUP BY owner) AS r \
         ON r.owner = t.owner",
    ),
    ("both", "SELECT id, owner FROM main.below.base UNION ALL SELECT id + 10, owner FROM main.below.base"),
];

fn views() -> World {
    let mut world = world();
    for (name, definition) in VIEWS {
        let view = Relation::View { definition: (*definition).to_owned() };
        world.relations.insert(format!("main.t.{name}"), view);
    }
    world
}

/// The optimized plan, what is above the innermost view and what is below it.
async fn halves(text: &str) -> (String, String) {
    let session = functions::session(2).unwrap();
    let world = views();
    let mut planning = Planning::new(&session, &Memory, &world);
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    let parsed = syntax::query(text).unwrap();
    let plan = planning.query(parsed.query, &[], &defaults, &[]).await.unwrap();
    let text = session.optimize(&plan).unwrap().display_indent().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.contains("View:")).unwrap();
    (lines[..last].join("\n"), lines[last..].join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_with_constants_go_through_views_that_cannot_fail() {
    for (text, marks) in [
        ("SELECT * FROM mine WHERE id = 1", vec!["id = Int64(1)"]),
        ("SELECT * FROM mine WHERE id IN (1, 3)", vec!["id = Int64(1)", "id = Int64(3)"]),
        ("SELECT * FROM outer WHERE 2 > id", vec!["id < Int64(2)"]),
        ("SELECT * FROM half WHERE id BETWEEN 1 AND 2", vec!["id >= Int64(1)", "id <= Int64(2)"]),
        ("SELECT * FROM counts WHERE owner = 'ann'", vec!["owner = Utf8(\"ann\")"]),
        ("SELECT * FROM latest WHERE owner = 'bob'", vec!["owner = Utf8(\"bob\")"]),
        ("SELECT * FROM joined WHERE owner = 'bob'", vec!["owner = Utf8(\"bob\")"]),
        ("SELECT * FROM both WHERE owner = 'bob'", vec!["owner = Utf8(\"bob\")"]),
        ("SELECT * FROM (SELECT id AS number FROM mine) AS x WHERE number = 2", vec!["id = Int64(2)"]),
    ] {
        let (above, below) = halves(text).await;
        for mark in marks {
            assert!(below.contains(mark) && !above.contains(mark), "{text}: {mark}\n{above}\n--\n{below}");
        }
    }
    // Both sides of the join.
    let (_, below) = halves("SELECT * FROM joined WHERE owner = 'bob'").await;
    assert_eq!(below.matches("owner = Utf8(\"bob\")").count(), 2, "{below}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_else_stays_above() {
    for (text, mark) in [
        ("SELECT * FROM mine WHERE 10 / amount > 1", "Int64(10) / "),
        ("SELECT * FROM mine WHERE id = 1 AND 10 / amount > 1", "Int64(10) / "),
        ("SELECT * FROM mine WHERE CAST(secret AS BIGINT) = 11", "CAST("),
        ("SELECT * FROM mine WHERE secret LIKE '%1'", "LIKE"),
        ("SELECT * FROM mine WHERE id = amount", "id = "),
        ("SELECT * FROM mine WHERE id = 1 OR length(secret) = 3", "character_length("),
        ("SELECT * FROM over WHERE id = 101", "Int64(101)"),
        ("SELECT * FROM half WHERE half = 2", "Int64(2)"),
        ("SELECT * FROM counts WHERE n = 2", "Int64(2)"),
        ("SELECT * FROM both WHERE id = 11", "Int64(11)"),
        ("SELECT * FROM ratio WHERE id = 1", "Int64(1)"),
        ("SELECT * FROM numbers WHERE id = 1", "Int64(1)"),
        ("SELECT * FROM numbers WHERE owner = 'ann'", "ann"),
        ("SELECT * FROM first WHERE id = 3", "Int64(3)"),
    ] {
        let (above, below) = halves(text).await;
        assert!(above.contains(mark), "{text}\n{above}\n--\n{below}");
        let filters = below.lines().filter(|line| line.trim_start().starts_with("Filter:"));
        assert!(filters.clone().all(|line| !line.contains(mark)), "{text}\n{above}\n--\n{below}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_are_the_same() {
    for (text, wanted) in [
        ("SELECT id, secret FROM mine WHERE id >= 2 ORDER BY id", "2|22"),
        ("SELECT id FROM mine WHERE id = 3", ""),
        ("SELECT id FROM outer WHERE id IN (1, 2, 3) ORDER BY id", "1 2"),
        ("SELECT n, amounts FROM counts WHERE owner = 'bob'", "2|0"),
        ("SELECT id FROM latest WHERE id = 3", ""),
        ("SELECT id FROM latest WHERE owner = 'bob'", "4"),
        ("SELECT owner, n FROM joined WHERE owner = 'bob'", "bob|NULL"),
        ("SELECT owner FROM joined WHERE n IS NULL", "bob"),
        ("SELECT id FROM both WHERE owner = 'ann' ORDER BY id", "1 2 11 12"),
        ("SELECT id FROM first WHERE id = 3", ""),
        ("SELECT id FROM shown WHERE secret = '11'", ""),
        ("SELECT id FROM shown WHERE secret = '***' AND id = 1", "1"),
        ("SELECT id FROM shown WHERE id = 3", ""),
    ] {
        let said = match with(views(), text, &[]).await {
            Ok(lines) => lines.join(" "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(said, wanted, "{text}");
    }
}

/// `numbers` fails on a row of bob's. Whoever could choose the row on which it does so would learn what that row holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_fails_does_so_whatever_is_asked() {
    let mut answers = Vec::new();
    for predicate in ["id = 1", "id = 3", "id = 999", "owner = 'ann'", "owner = 'bob'", "owner = 'nobody'"] {
        let answer = with(views(), &format!("SELECT id FROM numbers WHERE {predicate}"), &[]).await;
        answers.push(answer.unwrap_err().to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
