//! How long questions to the audit index take when it is full, and what a record costs in it.
//!
//! ```sh
//! make bench-audit                                                       # SQLite and PostgreSQL
//! cargo bench --bench audit_questions -- --events 1000000                # SQLite alone, smaller
//! cargo bench --bench audit_questions -- --postgres postgres://…/empty   # PostgreSQL alone
//! ```
//!
//! The records go in by the same way as the shipper's. They are spread over a hundred days: two hundred
//! people, fifty experiments, a trace to every ten records, one record in a hundred a refusal, searches
//! that name twenty traces, one trace that was seen ten thousand times, one end user with two thousand
//! traces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracegate::access::{Event, EventId, EventKind, Outcome, PolicyChange, RequestContext, Sight, Verdict};
use tracegate::clock::UnixMillis;
use tracegate::store::audit_index::{
    AuditIndex, AuditIndexLocation, AuditQuery, IndexPosition, IndexRow, Level, ReadersOf, RowBody, Subject,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const BATCH: u64 = 500;
const START: i64 = 1_760_000_000_000;
const DAYS: u64 = 100;
const PEOPLE: u64 = 200;
const EXPERIMENTS: u64 = 50;
/// How often each question is asked, each time about something else.
const TIMES: u64 = 25;

/// Numbers that look like chance and are the same each time.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn trace(number: u64) -> String {
    format!("tr-{:016x}{:016x}", scatter(number), number)
}

fn person(number: u64) -> String {
    format!("user:person{}@example.com", number % PEOPLE)
}

struct Shape {
    events: u64,
    traces: u64,
}

impl Shape {
    fn event(&self, seq: u64) -> Event {
        let chance = scatter(seq);
        let time = START + i64::try_from(seq * DAYS * 86_400_000 / self.events).unwrap_or_default();
        let denied = chance.is_multiple_of(100);
        let changed = chance % 1000 == 1;
        let unknown = chance % 1000 == 2;
        let search = chance % 50 == 3;
        let mut trace_ids = vec![trace(chance / 1000 % self.traces)];
        if search {
            trace_ids = (0..20).map(|other| trace((chance / 1000 + other) % self.traces)).collect();
        } else if seq.is_multiple_of(self.events / 10_000) {
            trace_ids = vec![trace(0)];
        }
        if changed || unknown {
            trace_ids.clear();
        }
        let who = person(chance / 7);
        Event {
            id: EventId(uuid::Uuid::from_u128(u128::from(seq) << 64 | u128::from(chance))),
            kind: if changed { EventKind::PolicyChange } else { EventKind::Complete },
            time: UnixMillis(time),
            principal: (!unknown).then_some(who),
            proof: Some("token:tok_0123456789abcdef".into()),
            actor: None,
            request: RequestContext {
                source_address: Some(format!("10.0.{}.{}", chance / 7 % PEOPLE, chance % 3)),
                user_agent: Some("mlflow-python-client/3.17.2".into()),
                request_id: uuid::Uuid::from_u128(u128::from(chance)).to_string(),
                trace_parent: None,
                method: "GET".into(),
                path: "/api/3.0/mlflow/traces/get".into(),
            },
            operation: if search { "trace.search" } else { "trace.get" }.into(),
            securables: vec![format!("experiment:{}", chance / 1000 % EXPERIMENTS)],
            privileges: vec!["trace.read".into()],
            decision_id: uuid::Uuid::from_u128(u128::from(time.unsigned_abs()) << 80 | u128::from(seq))
                .to_string(),
            decision: if denied || unknown { Verdict::Deny } else { Verdict::Allow },
            deciding_grants: vec![i64::try_from(chance % 500).unwrap_or_default()],
            policy_version: 421,
            outcome: if denied || unknown { Outcome::Refused } else { Outcome::Success },
            status: Some(if unknown {
                401
            } else if denied {
                403
            } else {
                200
            }),
            reason: (denied || unknown).then(|| "the caller does not have `trace.read` there".into()),
            bytes_in: 0,
            bytes_out: 18_231,
            duration_us: 2_310,
            trace_ids,
            sight: Some(if denied { Sight::Asked } else { Sight::Read }),
            listed_trace_ids: Vec::new(),
            question: BTreeMap::new(),
            claimed: None,
            shadowed: Vec::new(),
            repeated: None,
            policy_change: changed.then(|| PolicyChange {
                action: "grant.add".into(),
                before: serde_json::Value::Null,
                after: serde_json::json!({ "principal": "user:ann", "privilege": "CAN_READ" }),
            }),
        }
    }

    fn row(&self, seq: u64) -> Result<IndexRow, Failure> {
        let event = self.event(seq);
        let json = serde_json::to_string(&event)?;
        Ok(IndexRow { seq, json, body: RowBody::Event(Box::new(event)), hash: [seq as u8; 32] })
    }
}

async fn fill(index: &AuditIndex, shape: &Shape) -> Result<(), Failure> {
    let at = |seq: u64| IndexPosition { seq, hash: [seq as u8; 32] };
    let mut last = index.position("bench", at(0)).await?;
    let started = Instant::now();
    let mut inserting = Duration::ZERO;
    let (mut payload, mut sightings) = (0, 0);
    while last.seq < shape.events {
        let next = at((last.seq + BATCH).min(shape.events));
        let rows: Vec<IndexRow> =
            (last.seq + 1..=next.seq).map(|seq| shape.row(seq)).collect::<Result<_, _>>()?;
        payload += rows.iter().map(|row| row.json.len()).sum::<usize>();
        for row in &rows {
            if let RowBody::Event(event) = &row.body {
                sightings += event.trace_ids.len();
            }
        }
        let begun = Instant::now();
        index.insert("bench", last, next, &rows).await?;
        inserting += begun.elapsed();
        last = next;
        if last.seq.is_multiple_of(1_000_000) {
            eprintln!("{} records after {:.0?}", last.seq, started.elapsed());
        }
    }
    let subject = |key: &str, value: String| Subject { key: key.to_owned(), value };
    let mut known = Vec::new();
    for number in 0..shape.traces.min(200_000) {
        known.push((subject("session", format!("session {}", number / 20)), trace(number)));
        // One end user with many traces, the others with ten each.
        let user = if number < 2_000 { 0 } else { number / 10 };
        known.push((subject("user", format!("user {user}")), trace(number)));
    }
    for some in known.chunks(10_000) {
        index.learn_subjects(some).await?;
    }
    println!(
        "inserted {} records that name {sightings} traces: {:.0} a second, {} bytes of payload each",
        shape.events,
        shape.events as f64 / inserting.as_secs_f64(),
        payload as u64 / shape.events
    );
    Ok(())
}

/// Asks a question many times and says how long it took; a question that finds nothing proves nothing.
async fn ask<Answered: Future<Output = Result<usize, Failure>>>(
    what: &str,
    question: impl Fn(u64) -> Answered,
) -> Result<(), Failure> {
    let mut waits = Vec::new();
    let mut found = 0;
    for time in 0..TIMES {
        let begun = Instant::now();
        found += question(time).await?;
        waits.push(begun.elapsed());
    }
    if found == 0 {
        return Err(format!("`{what}` found nothing").into());
    }
    let first = waits.first().copied().unwrap_or_default();
    waits.sort_unstable();
    let median = waits.get(waits.len() / 2).copied().unwrap_or_default();
    let longest = waits.last().copied().unwrap_or_default();
    println!("| {what} | {median:.1?} | {longest:.1?} | {first:.1?} | {} |", found as u64 / TIMES);
    Ok(())
}

async fn questions(index: &AuditIndex, shape: &Shape) -> Result<(), Failure> {
    println!("| question | median | longest | first | rows |\n|---|---|---|---|---|");
    let page = async |query: AuditQuery| Ok(index.query(&query).await?.entries.len());
    let readers = async |of: ReadersOf| Ok(index.readers(&of, Level::Listed, None, None).await?.len());
    let subject = |key: &str, value: String| ReadersOf::Subject(Subject { key: key.to_owned(), value });
    let any = AuditQuery::default;
    let middle = UnixMillis(START + i64::try_from(DAYS).unwrap_or_default() * 43_200_000);
    let grant = |allow| if allow { Verdict::Allow } else { Verdict::Deny };
    ask("everything one person did", |n| page(AuditQuery { principal: Some(person(n)), ..any() })).await?;
    ask("the same, 50 days ago", |n| {
        page(AuditQuery { principal: Some(person(n)), until: Some(middle), ..any() })
    })
    .await?;
    ask("who saw a trace", |n| readers(ReadersOf::Trace(trace(scatter(n) % shape.traces)))).await?;
    ask("who saw a trace that was seen 10,000 times", |_| readers(ReadersOf::Trace(trace(0)))).await?;
    ask("the records of a trace", |n| {
        page(AuditQuery { trace_id: Some(trace(scatter(n) % shape.traces)), ..any() })
    })
    .await?;
    ask("who saw a session (20 traces)", |n| readers(subject("session", format!("session {}", n + 500))))
        .await?;
    ask("who saw an end user's traces (10)", |n| readers(subject("user", format!("user {}", n + 1000))))
        .await?;
    ask("who saw an end user's traces (2,000)", |_| readers(subject("user", "user 0".to_owned()))).await?;
    ask("all denials", |_| page(AuditQuery { decision: Some(grant(false)), ..any() })).await?;
    ask("one person's denials", |n| {
        page(AuditQuery { decision: Some(grant(false)), principal: Some(person(n)), ..any() })
    })
    .await?;
    ask("policy changes", |_| page(AuditQuery { kind: Some("policy_change".to_owned()), ..any() })).await?;
    ask("failed logins", |_| page(AuditQuery { status: Some(401), ..any() })).await?;
    ask("everything on an experiment", |n| {
        page(AuditQuery { securable: Some(format!("experiment:{}", n % EXPERIMENTS)), ..any() })
    })
    .await?;
    ask("one call by its decision id", |n| {
        let seq = scatter(n) % shape.events + 1;
        page(AuditQuery { decision_id: Some(shape.event(seq).decision_id), ..any() })
    })
    .await?;
    ask("first access from new addresses", |_| async {
        let all = index.first_addresses(Some(UnixMillis(0)), (UnixMillis(i64::MAX), "", ""), 100);
        Ok(all.await?.len())
    })
    .await?;
    ask("when each grant was last used", |_| async { Ok(index.grant_uses().await?.len()) }).await?;
    ask("who read what how often, in 7 days", |_| async {
        let week = UnixMillis(middle.0 + 7 * 86_400_000);
        Ok(index.calls_by_person(middle, week).await?.len())
    })
    .await?;
    Ok(())
}

async fn measure(location: AuditIndexLocation<'_>, shape: &Shape) -> Result<(), Failure> {
    let index = AuditIndex::open(location).await?;
    fill(&index, shape).await?;
    questions(&index, shape).await?;
    index.close().await;
    Ok(())
}

fn size_of(directory: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let events =
        given("--events").map(|events| events.parse()).transpose()?.unwrap_or(10_000_000).max(10_000);
    let shape = Shape { events, traces: events / 10 };
    if let Some(url) = given("--postgres") {
        println!("\nPostgreSQL, {events} records");
        return measure(AuditIndexLocation::Postgres(&url), &shape).await;
    }
    println!("\nSQLite, {events} records");
    let parent =
        given("--directory").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = tempfile::tempdir_in(parent)?;
    let path = directory.path().join("audit.db");
    measure(AuditIndexLocation::Sqlite(&path), &shape).await?;
    println!("{} bytes on disk a record", size_of(directory.path())? / events);
    Ok(())
}
