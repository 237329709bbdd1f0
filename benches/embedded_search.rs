//! Searching one experiment of many traces in the embedded store.
//!
//! ```text
//! cargo bench --bench embedded_search -- fill DATA_DIR/traces.db [TRACES]   # into a store that was started once
//! cargo bench --bench embedded_search -- ask http://127.0.0.1:5000 [TOKEN]  # a server over that directory
//! ```
//!
//! `fill` writes traces of three small spans each with a few statements, straight into the SQLite file while no
//! server runs. `ask` sends each search many times over one connection and prints how long the middle one and
//! the slowest of a hundred took. Remove the directory afterwards.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _};

const ROUNDS: usize = 200;
/// Slow ones end sooner.
const BUDGET: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let system = actix_web::rt::System::new();
    match words.as_slice() {
        ["fill", file] => system.block_on(fill(file, 1_000_000)),
        ["fill", file, traces] => system.block_on(fill(file, traces.parse()?)),
        ["ask", url] => system.block_on(ask(url, None)),
        ["ask", url, token] => system.block_on(ask(url, Some(token))),
        _ => {
            println!("usage: fill DATA_DIR/traces.db [TRACES] | ask URL [TOKEN]");
            Ok(())
        }
    }
}

async fn fill(file: &str, traces: u64) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-524288");
    let mut database = options.connect().await.context("start the server once, so that the file is there")?;
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {traces}) ");
    let time = "(1790000000000 + i * 37 + (i * 7919) % 5000)";
    // 1 of 10,000 has a ticket of its own; 1 of 50,000 is still in progress.
    let tags = "'{\"mlflow.traceName\": \"agent ' || (i % 10) || '\", \"team\": \"team ' || (i % 5) || '\"' || \
                CASE WHEN i % 10000 = 17 THEN ', \"ticket\": \"T-' || (i / 100000) || '\"' ELSE '' END || '}'";
    let metadata =
        "'{\"mlflow.trace.session\": \"session ' || (i / 10) || '\", \"mlflow.source.type\": \"LOCAL\"}'";
    let state = "CASE WHEN i % 50000 = 3 THEN 'IN_PROGRESS' WHEN i % 10 = 0 THEN 'ERROR' ELSE 'OK' END";
    let mark = |kind: u8, key: &str, value: &str, condition: &str| {
        format!(
            "{numbers} INSERT INTO trace_marks SELECT i, {kind}, '{key}', {value}, 0, {time} FROM n WHERE {condition}"
        )
    };
    let span = |number: u8, name: &str, kind: &str| {
        let parent = if number == 0 { "NULL".to_owned() } else { "printf('%016x', i * 4)".to_owned() };
        format!(
            "{numbers} INSERT INTO spans (trace_no, span_id, parent_span_id, name, type, status, start_time, \
             end_time, content) SELECT i, printf('%016x', i * 4 + {number}), {parent}, {name}, '{kind}', \
             CASE WHEN i % 10 = 0 THEN 'ERROR' ELSE 'OK' END, {time} * 1000000, ({time} + i % 900) * 1000000, \
             '{{\"name\": \"' || {name} || '\", \"attributes\": {{\"mlflow.spanType\": \"\\\"{kind}\\\"\", \
             \"mlflow.spanInputs\": \"{{\\\"question\\\": \\\"how does part ' || (i % 1000) || ' fit ' || \
             hex(i * 7919) || '\\\"}}\", \"mlflow.spanOutputs\": \"\\\"like this\\\"\"}}}}' FROM n"
        )
    };
    let steps = [
        "DROP TRIGGER content_added".to_owned(),
        // Made anew at the end, which is faster than keeping them in step.
        "DROP INDEX trace_marks_by_value".to_owned(),
        "DROP INDEX spans_by_name".to_owned(),
        format!(
            "{numbers} INSERT INTO traces (trace_no, trace_id, experiment_id, request_time, duration, state, \
             request_preview, response_preview, tags, metadata) SELECT i, printf('tr-%032x', i * 7919), 0, {time}, \
             i % 900, {state}, 'how does part fit', 'like this', {tags}, {metadata} FROM n"
        ),
        mark(0, "mlflow.traceName", "'agent ' || (i % 10)", "true"),
        mark(0, "team", "'team ' || (i % 5)", "true"),
        mark(0, "ticket", "'T-' || (i / 100000)", "i % 10000 = 17"),
        mark(1, "mlflow.trace.session", "'session ' || (i / 10)", "true"),
        mark(1, "mlflow.source.type", "'LOCAL'", "true"),
        span(0, "'agent'", "AGENT"),
        span(1, "'llm'", "LLM"),
        span(2, "CASE WHEN i % 100000 = 5 THEN 'rare tool' ELSE 'tool ' || (i % 50) END", "TOOL"),
        "CREATE INDEX trace_marks_by_value ON trace_marks (experiment_id, kind, key, value, request_time DESC)"
            .to_owned(),
        "CREATE INDEX spans_by_name ON spans (name, trace_no)".to_owned(),
        "INSERT INTO content_pending (trace_no) SELECT trace_no FROM traces".to_owned(),
        "CREATE TRIGGER content_added AFTER INSERT ON spans BEGIN DELETE FROM content_pending WHERE trace_no = \
         NEW.trace_no; INSERT INTO content_pending (trace_no) VALUES (NEW.trace_no); END"
            .to_owned(),
        "PRAGMA journal_mode = WAL".to_owned(),
    ];
    for step in steps {
        let started = Instant::now();
        database.execute(sqlx::AssertSqlSafe(step.clone())).await?;
        println!("{:6.1} s  {}", started.elapsed().as_secs_f64(), step.chars().take(100).collect::<String>());
    }
    Ok(())
}

async fn ask(url: &str, token: Option<&str>) -> anyhow::Result<()> {
    // A server behind https must be reachable too; without a provider the client does not even start.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let client = awc::Client::builder().timeout(Duration::from_secs(120)).finish();
    let search = async |body: &Value| -> anyhow::Result<Value> {
        let mut request = client.post(format!("{url}/api/3.0/mlflow/traces/search"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let mut response =
            request.send_json(body).await.map_err(|error| anyhow::anyhow!("cannot be asked: {error}"))?;
        let bytes = response.body().limit(1 << 26).await?;
        anyhow::ensure!(response.status().is_success(), "{}", String::from_utf8_lossy(&bytes));
        Ok(serde_json::from_slice(&bytes)?)
    };
    let body = |filter: &str, order: &[&str]| {
        json!({
            "locations": [{ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } }],
            "filter": filter, "order_by": order, "max_results": 100,
        })
    };
    let mut fiftieth = body("", &[]);
    for _ in 1..50 {
        fiftieth["page_token"] = search(&fiftieth).await?["next_page_token"].clone();
    }
    let cases = [
        ("newest first", body("", &[])),
        ("page 50", fiftieth),
        ("a tag, frequent", body("tags.team = 'team 3'", &[])),
        ("a tag, rare", body("tags.ticket = 'T-7'", &[])),
        ("two tags", body("tags.team = 'team 3' AND name = 'agent 8'", &[])),
        ("a tag and a state", body("tags.team = 'team 0' AND status = 'ERROR'", &[])),
        ("state, frequent", body("status = 'ERROR'", &[])),
        ("state, rare", body("status = 'IN_PROGRESS'", &[])),
        ("a session", body("metadata.`mlflow.trace.session` = 'session 4711'", &[])),
        ("span.name, frequent", body("span.name = 'llm'", &[])),
        ("span.name, 1 of 50", body("span.name = 'tool 7'", &[])),
        ("span.name, rare", body("span.name = 'rare tool'", &[])),
        ("a range of time", body("timestamp > 1790010000000 AND timestamp < 1790010100000", &[])),
        ("oldest first", body("", &["timestamp ASC"])),
        ("content, frequent", body("trace.text LIKE '%how does part 7%'", &[])),
        ("content, rare", body("trace.text LIKE '%fit 37393139303030%'", &[])),
        ("content, nowhere", body("trace.text LIKE '%xylophone%'", &[])),
        ("tag LIKE", body("tags.team LIKE '%3'", &[])),
        ("by execution time", body("", &["execution_time DESC"])),
    ];
    println!("{:22} {:>7} {:>10} {:>10}", "search", "traces", "p50 ms", "p99 ms");
    for (name, body) in cases {
        let mut times = Vec::new();
        let mut found = 0;
        let begun = Instant::now();
        while times.len() < ROUNDS && (times.len() < 3 || begun.elapsed() < BUDGET) {
            let started = Instant::now();
            let answer = search(&body).await?;
            times.push(started.elapsed().as_secs_f64() * 1000.0);
            found = answer["traces"].as_array().map_or(0, Vec::len);
        }
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!("{name:22} {found:7} {:10.2} {:10.2}", at(0.5), at(0.99));
    }
    Ok(())
}
