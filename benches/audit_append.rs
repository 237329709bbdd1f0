//! How long a caller waits for its audit record, how fast the index takes records in, what a record
//! takes on the disk and how fast a record is verified.
//!
//! ```sh
//! cargo bench --bench audit_append
//! ```
//!
//! `written` is what a read waits for, `synced` what a mutation, a denial or a policy change waits for.
//! `synced` depends on the disk; the line `fdatasync` says what the disk alone takes, and the second half what the spool does alone.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tracegate::access::{AuditSink, Durability, Event, EventId, EventKind, Outcome, RequestContext, Verdict};
use tracegate::audit::{Audit, Known, verify};
use tracegate::clock::{SystemClock, UnixMillis};
use tracegate::config::audit::AuditConfig;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn event(number: u64) -> Event {
    Event {
        id: EventId(uuid::Uuid::from_u128(u128::from(number))),
        kind: EventKind::Complete,
        time: UnixMillis(1_760_000_000_000 + number as i64),
        principal: Some("user:ann@example.com".into()),
        proof: Some("token:tok_0123456789abcdef".into()),
        actor: None,
        request: RequestContext {
            source_address: Some("192.0.2.17".into()),
            user_agent: Some("mlflow-python-client/3.17.2".into()),
            request_id: "0199c3f2-77aa-7b11-9b6e-3f0d6a2f9c11".into(),
            trace_parent: None,
            method: "GET".into(),
            path: "/api/3.0/mlflow/traces/get".into(),
        },
        operation: "getTrace".into(),
        securables: vec!["experiment:12".into()],
        privileges: vec!["trace.read".into()],
        decision_id: format!("{number:032x}"),
        decision: Verdict::Allow,
        deciding_grants: vec![17],
        policy_version: 421,
        outcome: Outcome::Success,
        status: Some(200),
        reason: None,
        bytes_in: 0,
        bytes_out: 18_231,
        duration_us: 2_310,
        trace_ids: vec![format!("tr-{number:032x}")],
        sight: None,
        listed_trace_ids: Vec::new(),
        question: Default::default(),
        claimed: None,
        shadowed: Vec::new(),
        repeated: None,
        policy_change: None,
    }
}

async fn measure(
    sink: &Arc<dyn AuditSink>,
    durability: Durability,
    callers: u64,
    each: u64,
) -> Result<(), Failure> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let sink = Arc::clone(sink);
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for number in 0..each {
                    let event = event(caller * each + number);
                    let begun = Instant::now();
                    sink.append(event, durability).await?;
                    waits.push(begun.elapsed());
                }
                Ok::<_, Failure>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    let name = format!("{durability:?}").to_lowercase();
    report(&format!("{name}, {callers} callers"), waits, start.elapsed());
    Ok(())
}

fn report(what: &str, mut waits: Vec<Duration>, whole: Duration) {
    waits.sort_unstable();
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    let rate = waits.len() as f64 / whole.as_secs_f64();
    println!("{what:22} p50 {:>9.1?}  p99 {:>9.1?}  {rate:>9.0} a second", at(50), at(99));
}

fn disk(directory: &std::path::Path) -> Result<(), Failure> {
    let mut file = std::fs::File::create(directory.join("probe"))?;
    let (mut waits, start) = (Vec::new(), Instant::now());
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[7; 800])?;
        file.sync_data()?;
        waits.push(begun.elapsed());
    }
    report("fdatasync", waits, start.elapsed());
    Ok(())
}

fn bytes_of(directory: &std::path::Path, begins: &str, ends: &str) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(begins) && name.ends_with(ends) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(appending())?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    runtime.block_on(long_chain(directory.path()))?;
    for round in ["verified, first", "verified, again"] {
        let start = Instant::now();
        let verified = verify(&directory.path().join("audit"), Known::default(), &mut |_| {})?;
        let rate = verified.last_seq as f64 / start.elapsed().as_secs_f64();
        println!("{round:22} {rate:>9.0} records a second, {} checkpoints", verified.checkpoints);
    }
    Ok(())
}

async fn appending() -> Result<(), Failure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    disk(directory.path())?;
    let config = AuditConfig::default();
    let audit = Audit::open(&config, None, directory.path(), Arc::new(SystemClock)).await?;
    let sink = audit.sink();
    for (durability, callers, each) in [
        (Durability::Written, 1, 20_000),
        (Durability::Written, 16, 2_000),
        (Durability::Written, 64, 2_000),
        (Durability::Synced, 1, 300),
        (Durability::Synced, 16, 1_000),
        (Durability::Synced, 64, 3_000),
    ] {
        measure(&sink, durability, callers, each).await?;
        audit.flush(Duration::from_secs(120)).await?;
    }
    // The index shares the two cores and the disk; on a database elsewhere it would not.
    let mut index = SqliteConnectOptions::new().filename(directory.path().join("audit.db")).connect().await?;
    println!("the same while the index cannot be written to:");
    for (callers, each) in [(1, 300), (16, 1_000), (64, 5_000)] {
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut index).await?;
        measure(&sink, Durability::Synced, callers, each).await?;
        sqlx::raw_sql("ROLLBACK").execute(&mut index).await?;
        audit.flush(Duration::from_secs(120)).await?;
    }
    index.close().await?;
    let (records, start) = (200_000, Instant::now());
    let appends: Vec<_> = (0..16)
        .map(|caller| {
            let sink = Arc::clone(&sink);
            tokio::spawn(async move {
                for number in 0..records / 16 {
                    sink.append(event(caller * records + number), Durability::Written).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for append in appends {
        append.await??;
    }
    audit.flush(Duration::from_secs(120)).await?;
    println!(
        "appended and indexed   {:>9.0} records a second",
        records as f64 / start.elapsed().as_secs_f64()
    );
    audit.close().await?;
    let spool = directory.path().join("audit");
    let verified = verify(&spool, Known::default(), &mut |_| {})?;
    let per_record = |bytes: u64| bytes as f64 / verified.last_seq as f64;
    println!(
        "storage a record       {:>9.0} bytes in the spool, {:.0} in the index",
        per_record(bytes_of(&spool, "", ".seg")?),
        per_record(bytes_of(directory.path(), "audit.db", "")?)
    );
    Ok(())
}

/// So long that starting does not count, and without an index, as a verifier finds a copy.
async fn long_chain(data_dir: &std::path::Path) -> Result<(), Failure> {
    let config = AuditConfig { max_spool_bytes: u64::MAX, ..AuditConfig::default() };
    let audit = Audit::open(&config, None, data_dir, Arc::new(SystemClock)).await?;
    let sink = audit.sink();
    for number in 0..1_000_000 {
        sink.append(event(number), Durability::Written).await?;
    }
    // Dropped, not closed: nobody waits for the index.
    Ok(())
}
