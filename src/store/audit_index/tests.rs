//! The same questions to SQLite and to a real PostgreSQL.

mod questions;

use super::*;
use crate::access::{Event, EventId, EventKind, Outcome, RequestContext, Verdict};
use crate::clock::UnixMillis;
use crate::store::test_postgres::TestDatabase;

impl AuditIndex {
    /// Makes inserts and queries fail until it is called again.
    pub(crate) async fn set_broken(&self, broken: bool) {
        let (from, to) = if broken { ("audit_events", "away") } else { ("away", "audit_events") };
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        on!(&self.database, writer, pool => {
            sqlx::query(sqlx::AssertSqlSafe(rename)).execute(pool).await.unwrap();
        });
    }
}

const START: IndexPosition = IndexPosition { seq: 0, hash: [0; 32] };

fn at(seq: u64) -> IndexPosition {
    if seq == 0 { START } else { IndexPosition { seq, hash: [seq as u8; 32] } }
}

/// Event `seq`: even ones are Ann's, odd ones Ben's; every third is a refusal; two share each time.
fn event(seq: u64) -> Event {
    Event {
        id: EventId(uuid::Uuid::from_u128(u128::from(seq))),
        kind: EventKind::Complete,
        time: UnixMillis(1_000 + (seq / 2) as i64),
        principal: Some(if seq.is_multiple_of(2) { "user:ann" } else { "user:ben" }.into()),
        proof: None,
        actor: None,
        request: RequestContext::default(),
        operation: if seq < 10 { "getTrace" } else { "searchTraces" }.into(),
        securables: vec![format!("experiment:{}", seq % 4), format!("experiment:{}", seq % 4)],
        privileges: vec![],
        decision_id: format!("d{}", seq / 2),
        decision: if seq.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow },
        deciding_grants: vec![],
        policy_version: 1,
        outcome: Outcome::Success,
        status: None,
        reason: None,
        bytes_in: 0,
        bytes_out: 0,
        duration_us: 0,
        trace_ids: vec![format!("tr-{}", seq % 5), "tr-all".into(), "tr-all".into()],
        sight: None,
        listed_trace_ids: Vec::new(),
        question: Default::default(),
        claimed: None,
        shadowed: Vec::new(),
        repeated: None,
        policy_change: None,
    }
}

fn row(event: Event, seq: u64) -> IndexRow {
    let json = serde_json::to_string(&event).unwrap();
    IndexRow { seq, json, body: RowBody::Event(Box::new(event)), hash: [seq as u8; 32] }
}

fn rows(seqs: std::ops::RangeInclusive<u64>) -> Vec<IndexRow> {
    seqs.map(|seq| row(event(seq), seq)).collect()
}

async fn seqs(index: &AuditIndex, query: AuditQuery) -> Vec<u64> {
    index.query(&query).await.unwrap().entries.into_iter().map(|entry| entry.seq).collect()
}

fn expected(keep: impl Fn(&Event) -> bool) -> Vec<u64> {
    (1..=20).rev().filter(|seq| keep(&event(*seq))).collect()
}

async fn answers_by_each_field_and_in_pages(index: &AuditIndex) {
    assert_eq!(index.position("a", START).await.unwrap(), START);
    index.insert("a", START, at(12), &rows(1..=12)).await.unwrap();
    index.insert("a", at(12), at(20), &rows(13..=20)).await.unwrap();
    assert_eq!(index.position("a", START).await.unwrap(), at(20));

    let any = AuditQuery::default;
    assert_eq!(seqs(index, any()).await, expected(|_| true));
    let ann = AuditQuery { principal: Some("user:ann".into()), ..any() };
    assert_eq!(seqs(index, ann).await, expected(|event| event.principal.as_deref() == Some("user:ann")));
    let securable = AuditQuery { securable: Some("experiment:1".into()), ..any() };
    assert_eq!(seqs(index, securable.clone()).await, [17, 13, 9, 5, 1]);
    let trace = AuditQuery { trace_id: Some("tr-2".into()), ..any() };
    assert_eq!(seqs(index, trace.clone()).await, [17, 12, 7, 2]);
    let saw = AuditQuery { decision: Some(Verdict::Allow), ..trace };
    assert_eq!(seqs(index, saw).await, [17, 7, 2]);
    let both = AuditQuery { trace_id: Some("tr-2".into()), ..securable };
    assert_eq!(seqs(index, both).await, [17]);
    let denied = AuditQuery { decision: Some(Verdict::Deny), ..any() };
    assert_eq!(seqs(index, denied).await, [18, 15, 12, 9, 6, 3]);
    let operation = AuditQuery { operation: Some("getTrace".into()), ..any() };
    assert_eq!(seqs(index, operation).await, expected(|event| event.operation == "getTrace"));
    let call = AuditQuery { decision_id: Some("d4".into()), ..any() };
    assert_eq!(seqs(index, call).await, [9, 8]);
    let between = AuditQuery { since: Some(UnixMillis(1_003)), until: Some(UnixMillis(1_005)), ..any() };
    assert_eq!(seqs(index, between).await, [9, 8, 7, 6]);
    let nobody = AuditQuery { principal: Some("user:ann' OR '1'='1".into()), ..any() };
    assert_eq!(seqs(index, nobody).await, [0; 0]);

    for filter in [any(), AuditQuery { trace_id: Some("tr-all".into()), ..any() }] {
        let mut query = AuditQuery { limit: Some(3), ..filter };
        let mut found = Vec::new();
        loop {
            let page = index.query(&query).await.unwrap();
            assert!(page.entries.len() <= 3);
            found.extend(page.entries.iter().map(|entry| entry.seq));
            let Some(next) = page.next else { break };
            query.after = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(found, expected(|_| true));
    }
}

async fn takes_each_record_once_and_in_order(index: &AuditIndex) {
    index.position("b", START).await.unwrap();
    index.insert("b", START, at(2), &rows(1..=2)).await.unwrap();
    // Again; ahead of itself; by another process that claims to be the replica; by one unknown.
    let impostor = IndexPosition { seq: 2, hash: [99; 32] };
    for (replica, after, records) in
        [("b", START, 1..=2), ("b", at(3), 4..=5), ("b", impostor, 3..=4), ("c", START, 1..=2)]
    {
        let last = at(*records.end());
        let refused = index.insert(replica, after, last, &rows(records)).await;
        assert!(matches!(refused, Err(AuditIndexError::Moved { .. })), "{refused:?}");
    }
    // A batch that fails in the middle leaves nothing.
    assert!(index.insert("b", at(2), at(4), &rows(2..=4)).await.is_err());
    assert_eq!(index.position("b", START).await.unwrap(), at(2));
    index.insert("b", at(2), at(4), &rows(3..=4)).await.unwrap();
}

async fn takes_whatever_a_record_may_hold(index: &AuditIndex) {
    index.position("odd", START).await.unwrap();
    let mut odd = event(1);
    odd.time = UnixMillis(9_000);
    odd.principal = Some("user:\0nul \"quote\" 'q' \u{1f600} \u{2028}".into());
    odd.operation = "x\\u0000".into();
    odd.reason = Some("back\\slash\0".into());
    odd.trace_ids = (0..2_000).map(|number| format!("many-{number}")).collect();
    let marker = IndexRow {
        seq: 2,
        body: RowBody::Chain { kind: "recovered", time: UnixMillis(9_001) },
        json: "{\"time_ms\":9001,\"bytes_cut\":3}".into(),
        hash: [2; 32],
    };
    index.insert("odd", START, at(2), &[row(odd.clone(), 1), marker]).await.unwrap();
    let query = AuditQuery { trace_id: Some("many-1999".into()), ..AuditQuery::default() };
    let page = index.query(&query).await.unwrap();
    assert_eq!(page.entries[0].event().unwrap(), odd);
    let by_name = AuditQuery { principal: odd.principal.clone(), ..AuditQuery::default() };
    assert_eq!(seqs(index, by_name).await, [1]);
    let newest = AuditQuery { limit: Some(1), ..AuditQuery::default() };
    let page = index.query(&newest).await.unwrap();
    assert_eq!((page.entries[0].kind.as_str(), page.entries[0].event()), ("recovered", None));
    assert_eq!(page.entries[0].to_json()["bytes_cut"], 3);
}

async fn everything(index: AuditIndex) {
    answers_by_each_field_and_in_pages(&index).await;
    takes_each_record_once_and_in_order(&index).await;
    takes_whatever_a_record_may_hold(&index).await;
    index.close().await;
}

#[tokio::test]
async fn sqlite_answers_as_it_should() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.db");
    everything(AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap()).await;
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    // It opens again as it was.
    let index = AuditIndex::open(AuditIndexLocation::Sqlite(&path)).await.unwrap();
    assert_eq!(index.position("a", START).await.unwrap(), at(20));
}

#[tokio::test]
async fn postgres_answers_as_it_should() {
    let database = TestDatabase::create().await;
    everything(AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap()).await;
    let index = AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap();
    assert_eq!(index.position("a", START).await.unwrap(), at(20));
}

#[tokio::test]
async fn replicas_insert_side_by_side() {
    let database = TestDatabase::create().await;
    let index = AuditIndex::open(AuditIndexLocation::Postgres(&database.url)).await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|replica| {
            let index = index.clone();
            tokio::spawn(async move {
                let replica = format!("replica-{replica}");
                index.position(&replica, START).await.unwrap();
                for seq in 0..10 {
                    index.insert(&replica, at(seq), at(seq + 1), &rows(seq + 1..=seq + 1)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(seqs(&index, AuditQuery { limit: Some(1000), ..AuditQuery::default() }).await.len(), 40);
}

#[test]
fn a_cursor_reads_back_and_nothing_else_does() {
    let cursor = AuditCursor { time: UnixMillis(-5), id: 7 };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    for bad in ["", "1", "x:2", "1:r", "1:2:3"] {
        assert!(bad.parse::<AuditCursor>().is_err(), "{bad}");
    }
}
