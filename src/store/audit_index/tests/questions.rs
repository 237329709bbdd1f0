//! Who saw what, asked of SQLite and of a real PostgreSQL.

use super::super::{query, sightings};
use super::*;
use crate::access::{PolicyChange, Sight};

const TRACE: &str = "tr-0af7651916cd43dd8448eb211c80319c";

/// A reading of [`TRACE`] by somebody, from an address of his own.
fn sighting(seq: u64, who: &str, sight: Sight) -> Event {
    Event {
        principal: Some(format!("user:{who}")),
        trace_ids: vec![TRACE.into()],
        sight: Some(sight),
        decision: Verdict::Allow,
        status: Some(200),
        request: RequestContext {
            source_address: Some(format!("192.0.2.{}", who.len())),
            ..Default::default()
        },
        deciding_grants: vec![7],
        operation: "trace.get".into(),
        ..event(seq)
    }
}

async fn fill(index: &AuditIndex, replica: &str, events: Vec<Event>) {
    index.position(replica, START).await.unwrap();
    let rows: Vec<IndexRow> = events.into_iter().zip(1..).map(|(event, seq)| row(event, seq)).collect();
    index.insert(replica, START, at(rows.len() as u64), &rows).await.unwrap();
}

async fn who(index: &AuditIndex, of: &ReadersOf, level: Level) -> Vec<(String, Level, u64, u64)> {
    let readers = index.readers(of, level, None, None).await.unwrap();
    readers.into_iter().map(|it| (it.principal, it.level, it.traces, it.times)).collect()
}

async fn readers_are_exactly_those_who_got_something(index: &AuditIndex) {
    let refused = Event { decision: Verdict::Deny, status: Some(403), ..sighting(6, "carol", Sight::Asked) };
    let failed = Event { status: Some(404), ..sighting(7, "dave", Sight::Read) };
    let begun =
        Event { kind: EventKind::Begin, outcome: Outcome::Pending, ..sighting(8, "erin", Sight::Read) };
    let ended = Event { outcome: Outcome::Interrupted, ..sighting(9, "erin", Sight::Told) };
    let about_to_write =
        Event { kind: EventKind::Begin, status: None, ..sighting(10, "frank", Sight::Asked) };
    let nobody = Event { principal: None, decision: Verdict::Deny, ..sighting(11, "x", Sight::Asked) };
    let masked = Event { listed_trace_ids: vec![TRACE.into()], ..sighting(4, "lena", Sight::Read) };
    fill(
        index,
        "seen",
        vec![
            sighting(1, "ann", Sight::Read),
            sighting(2, "ann", Sight::Read),
            sighting(3, "agent", Sight::Wrote),
            masked,
            sighting(5, "head", Sight::Listed),
            refused,
            failed,
            begun,
            ended,
            about_to_write,
            nobody,
        ],
    )
    .await;
    let trace = ReadersOf::Trace(TRACE.into());
    let read = |who: &str, times| (format!("user:{who}"), Level::Read, 1, times);
    let listed = |who: &str| (format!("user:{who}"), Level::Listed, 1, 1);
    assert_eq!(who(index, &trace, Level::Read).await, [read("ann", 2), read("erin", 1)]);
    let seen = who(index, &trace, Level::Listed).await;
    assert_eq!(seen, [read("ann", 2), read("erin", 1), listed("head"), listed("lena")]);
    let wrote = who(index, &trace, Level::Wrote).await;
    assert_eq!(wrote[0], ("user:agent".into(), Level::Wrote, 1, 1));
    assert_eq!(wrote.len(), 5);

    // Of a subject's traces, and of nobody's once that is erased.
    let subject = Subject { key: "mlflow.trace.user".into(), value: "o'hara\0".into() };
    let other = Subject { value: "other".into(), ..subject.clone() };
    let known = [(subject.clone(), TRACE.to_owned()), (other.clone(), "tr-other".to_owned())];
    for _ in 0..2 {
        index.learn_subjects(&known).await.unwrap();
    }
    assert_eq!(index.traces_of(&subject, "", 10).await.unwrap(), [TRACE]);
    assert_eq!(index.traces_of(&subject, TRACE, 10).await.unwrap(), [""; 0]);
    let of = ReadersOf::Subject(subject.clone());
    assert_eq!(who(index, &of, Level::Read).await, [read("ann", 2), read("erin", 1)]);
    assert_eq!(index.erase_subject(&subject).await.unwrap(), 1);
    assert_eq!(who(index, &of, Level::Nothing).await, []);
    assert_eq!(index.traces_of(&other, "", 10).await.unwrap(), ["tr-other"]);
}

async fn reviews_are_answered(index: &AuditIndex) {
    let day = 86_400_000;
    let at_day = |number: i64, event: Event| Event { time: UnixMillis(number * day + 5), ..event };
    let moved = Event {
        request: RequestContext { source_address: Some("198.51.100.9".into()), ..Default::default() },
        ..sighting(3, "ann", Sight::Read)
    };
    let change = Event {
        kind: EventKind::PolicyChange,
        policy_change: Some(PolicyChange { action: "grant.add".into(), before: 1.into(), after: 2.into() }),
        ..sighting(4, "ann", Sight::Read)
    };
    let login = Event {
        principal: None,
        decision: Verdict::Deny,
        status: Some(401),
        claimed: Some("user:ann".into()),
        ..event(5)
    };
    let events = [sighting(1, "ann", Sight::Read), sighting(2, "ann", Sight::Read), moved, change, login];
    fill(index, "review", events.into_iter().zip(100..).map(|(event, n)| at_day(n, event)).collect()).await;

    let any = AuditQuery { since: Some(UnixMillis(100 * day)), ..AuditQuery::default() };
    let changes = AuditQuery { kind: Some("policy_change".into()), ..any.clone() };
    assert_eq!(seqs(index, changes).await, [4]);
    let logins = AuditQuery { status: Some(401), ..any.clone() };
    assert_eq!(seqs(index, logins).await, [5]);
    let oldest = AuditQuery { order: Order::OldestFirst, limit: Some(2), ..any.clone() };
    let page = index.query(&oldest).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(page.entries[0].hash.as_deref(), Some([1; 32].as_slice()));
    assert_eq!(page.entries[0].replica, "review");
    assert_eq!(seqs(index, AuditQuery { after: page.next, ..oldest.clone() }).await, [3, 4]);
    assert_eq!(index.count(&any).await.unwrap(), 5);

    // The begun and the changed count for nothing: a call is its `complete`.
    let uses = index.grant_uses().await.unwrap();
    let seven = uses.iter().find(|uses| uses.grant_id == 7).unwrap();
    assert_eq!(seven.last, UnixMillis(102 * day + 5));
    let earlier = seven.uses;
    assert!(earlier >= 3, "{earlier}");
    let counted = index.calls_by_person(UnixMillis(100 * day), UnixMillis(102 * day)).await.unwrap();
    let ann: i64 = counted.iter().filter(|row| row.principal == "user:ann").map(|row| row.calls).sum();
    assert_eq!(ann, 2, "{counted:?}");
    let new =
        index.first_addresses(Some(UnixMillis(100 * day)), (UnixMillis(i64::MAX), "", ""), 10).await.unwrap();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].address == "198.51.100.9" && new[0].known_elsewhere);
}

async fn equal_after_cleaning_is_no_obstacle(index: &AuditIndex) {
    // What PostgreSQL cannot hold is replaced, and two values may become one by that.
    let mut odd = sighting(1, "ann", Sight::Read);
    odd.trace_ids = vec!["a\0".into(), "a\u{fffd}".into()];
    odd.securables = odd.trace_ids.clone();
    let other = Event { principal: Some("user:a\0".into()), ..sighting(2, "ann", Sight::Read) };
    let same = Event { principal: Some("user:a\u{fffd}".into()), ..sighting(3, "ann", Sight::Read) };
    fill(index, "clean", vec![odd, other, same]).await;
}

pub async fn everything(index: &AuditIndex) {
    readers_are_exactly_those_who_got_something(index).await;
    reviews_are_answered(index).await;
    equal_after_cleaning_is_no_obstacle(index).await;
}

#[tokio::test]
async fn sqlite_says_who_saw_what() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    everything(&AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap()).await;
}

#[tokio::test]
async fn postgres_says_who_saw_what() {
    let database = TestDatabase::create().await;
    let index = AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap();
    everything(&index).await;
    let Database::Postgres(pool) = &index.database else { panic!() };
    // The records of April 1970 are in that month's partition, and what no month has is kept all the same.
    let partition = "SELECT COUNT(*) FROM audit_events_1970_04";
    let found: i64 = sqlx::query_scalar(partition).fetch_one(pool).await.unwrap();
    assert_eq!(found, 5);
    let absurd = Event { time: UnixMillis(i64::MAX - 1), ..event(1) };
    fill(&index, "absurd", vec![absurd]).await;
    let default = "SELECT COUNT(*) FROM audit_events_default";
    let found: i64 = sqlx::query_scalar(default).fetch_one(pool).await.unwrap();
    assert_eq!(found, 1);
}

#[tokio::test]
async fn whoever_acts_is_found_in_either_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    whoever_acts_for_another_is_found_too(
        &AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap(),
    )
    .await;
    let database = TestDatabase::create().await;
    let index = AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap();
    whoever_acts_for_another_is_found_too(&index).await;
}

#[tokio::test]
async fn every_question_is_answered_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    let index = AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap();
    let Database::Sqlite { readers, .. } = &index.database else { panic!() };
    let any = AuditQuery::default;
    let some = || Some("x".to_owned());
    let deny = Some(Verdict::Deny);
    let period = AuditQuery { since: Some(UnixMillis(1)), until: Some(UnixMillis(2)), ..any() };
    let cursor = Some(AuditCursor { time: UnixMillis(1), id: 1 });
    let pages = [
        any(),
        period,
        AuditQuery { after: cursor, ..any() },
        AuditQuery { principal: some(), ..any() },
        AuditQuery { principal: some(), after: cursor, ..any() },
        AuditQuery { principal: some(), decision: deny, ..any() },
        AuditQuery { operation: some(), ..any() },
        AuditQuery { trace_id: some(), ..any() },
        AuditQuery { trace_id: some(), after: cursor, ..any() },
        AuditQuery { securable: some(), ..any() },
        AuditQuery { decision: deny, ..any() },
        AuditQuery { decision: deny, after: cursor, ..any() },
        AuditQuery { kind: Some("policy_change".to_owned()), ..any() },
        AuditQuery { status: Some(401), ..any() },
        AuditQuery { order: Order::OldestFirst, after: cursor, ..any() },
    ];
    let subject = Subject { key: String::new(), value: String::new() };
    let readers_of = [ReadersOf::Trace(String::new()), ReadersOf::Subject(subject)];
    let paged = pages.iter().map(|query| (query::page_sql(query), true));
    let grouped = readers_of.iter().map(|of| (sightings::readers_sql(of), false));
    for (sql, paged) in paged.chain(grouped) {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(plan)).fetch_all(readers).await.unwrap();
        for (_, _, _, step) in steps {
            // Reading an index from its end is how the newest come first; a table or a sort of it is not.
            let whole = step.starts_with("SCAN")
                && !step.starts_with("SCAN sightings")
                && !step.contains("USING INDEX")
                && !step.contains("COVERING");
            assert!(!(whole || paged && step.contains("TEMP B-TREE")), "{step}: {sql}");
        }
    }
}

/// A call that an agent made for ann is both of theirs, in every question.
async fn whoever_acts_for_another_is_found_too(index: &AuditIndex) {
    const OTHER: &str = "tr-00000000000000000000000000000001";
    let at = |seq: i64, event: Event| Event {
        time: UnixMillis(5_000 + seq),
        trace_ids: vec![OTHER.into()],
        ..event
    };
    let acted = |seq: i64| Event {
        actor: Some("service_principal:agent".into()),
        ..at(seq, sighting(2, "acted-for", Sight::Read))
    };
    let alone = at(3, sighting(3, "acted-for", Sight::Read));
    let own =
        Event { principal: Some("service_principal:agent".into()), ..at(4, sighting(4, "x", Sight::Read)) };
    fill(index, "acting", vec![acted(1), acted(2), alone, own]).await;
    let of = |who: &str| AuditQuery { principal: Some(who.into()), ..Default::default() };
    assert_eq!(seqs(index, of("user:acted-for")).await, [3, 2, 1]);
    assert_eq!(seqs(index, of("service_principal:agent")).await, [4, 2, 1]);
    let oldest = AuditQuery { order: Order::OldestFirst, ..of("service_principal:agent") };
    assert_eq!(seqs(index, oldest).await, [1, 2, 4]);
    let of_trace = AuditQuery { trace_id: Some(OTHER.into()), ..of("service_principal:agent") };
    assert_eq!(seqs(index, of_trace).await, [4, 2, 1]);
    assert_eq!(index.count(&of("service_principal:agent")).await.unwrap(), 3);
    // Page by page, none twice and none left out.
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = AuditQuery { limit: Some(1), after, ..of("service_principal:agent") };
        let page = index.query(&page).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.seq));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [4, 2, 1]);
    let readers = index.readers(&ReadersOf::Trace(OTHER.into()), Level::Read, None, None).await.unwrap();
    let mut people: Vec<_> =
        readers.into_iter().map(|it| (it.principal, it.actor.unwrap_or_default(), it.times)).collect();
    people.sort();
    let expected = [
        ("service_principal:agent", "", 1),
        ("user:acted-for", "", 1),
        ("user:acted-for", "service_principal:agent", 2),
    ];
    assert_eq!(people, expected.map(|(who, actor, times)| (who.to_owned(), actor.to_owned(), times)));
}

/// What 0.1's first schema held, in it: three events of two replicas.
const EARLIER: &[&str] = &[
    "INSERT INTO audit_positions (replica, seq, hash) VALUES ('b', 2, X), ('a', 1, X)",
    r#"INSERT INTO audit_events (replica, seq, time_ms, kind, decision_id, principal, operation, decision, outcome, status, json) VALUES
       ('a', 1, 1000, 'complete', 'd1', 'user:ann', 'trace.get', 'allow', 'success', 200, '{"request":{"source_address":"192.0.2.1"},"deciding_grants":[3]}'),
       ('b', 1, 2000, 'complete', 'd2', 'user:ben', 'trace.get', 'deny', 'refused', 403, '{"request":{"source_address":"192.0.2.2"}}'),
       ('b', 2, 3000, 'recovered', NULL, NULL, NULL, NULL, NULL, NULL, '{}')"#,
    "INSERT INTO audit_trace_ids VALUES ('tr-1', 1000, 'a', 1), ('tr-1', 2000, 'b', 1)",
    "INSERT INTO audit_securables VALUES ('experiment:1', 1000, 'a', 1)",
];

async fn keeps_what_an_earlier_version_held(index: &AuditIndex) {
    let any = AuditQuery::default();
    let page = index.query(&any).await.unwrap();
    let found: Vec<_> = page.entries.iter().map(|entry| (entry.replica.as_str(), entry.seq)).collect();
    assert_eq!(found, [("b", 2), ("b", 1), ("a", 1)]);
    let trace = AuditQuery { trace_id: Some("tr-1".into()), ..any.clone() };
    assert_eq!(seqs(index, trace).await, [1, 1]);
    assert_eq!(seqs(index, AuditQuery { securable: Some("experiment:1".into()), ..any }).await, [1]);
    let saw = who(index, &ReadersOf::Trace("tr-1".into()), Level::Listed).await;
    assert_eq!(saw, [("user:ann".into(), Level::Read, 1, 1)]);
    assert_eq!(index.grant_uses().await.unwrap()[0].grant_id, 3);
    let addresses = index.first_addresses(None, (UnixMillis(i64::MAX), "", ""), 10).await.unwrap();
    assert_eq!(addresses.len(), 2);
    let position = IndexPosition { seq: 2, hash: [9; 32] };
    assert_eq!(index.position("b", START).await.unwrap(), position);
    index.insert("b", position, at(3), &rows(3..=3)).await.unwrap();
}

#[tokio::test]
async fn an_earlier_sqlite_index_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let mut first = migrator(sqlx::migrate!("migrations/audit_sqlite"));
    first.migrations.to_mut().truncate(1);
    first.run(&pool).await.unwrap();
    for statement in EARLIER {
        let hash = format!("X'{}'", "09".repeat(32));
        let sql = statement.replace("2, X)", &format!("2, {hash})")).replace("1, X)", &format!("1, {hash})"));
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let index = AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap();
    keeps_what_an_earlier_version_held(&index).await;
}

#[tokio::test]
async fn an_earlier_postgres_index_is_kept() {
    let database = TestDatabase::create().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    let mut first = migrator(sqlx::migrate!("migrations/audit_postgres"));
    first.migrations.to_mut().truncate(1);
    first.run(&pool).await.unwrap();
    for statement in EARLIER {
        let hash = format!("decode('{}', 'hex')", "09".repeat(32));
        let sql = statement.replace("2, X)", &format!("2, {hash})")).replace("1, X)", &format!("1, {hash})"));
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let index = AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap();
    keeps_what_an_earlier_version_held(&index).await;
}
