//! `kill -9` of the real program under load, again and again: every answered call is in the record, the
//! chain verifies, and the index ends with each record exactly once.
//!
//! Five rounds; `TRACEGATE_KILL_ROUNDS` sets another number (`make soak`: a hundred).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::fake_mlflow::{self, A, trace};
use crate::support::fake_upstream::FakeUpstream;
use crate::support::raw_http::{Answer, Request};
use tracegate::audit::{Known, verify, verify_index};
use tracegate::clock::{Clock, SystemClock};

/// Calls in flight at once.
const CALLERS: usize = 8;

struct Gateway {
    process: Child,
    address: SocketAddr,
    /// Printed at the first start.
    token: Option<String>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(data: &Path, upstream: &str, first: bool) -> Gateway {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tracegate"))
        .args(["serve", "--json"])
        .env("TRACEGATE__SERVER__LISTEN", "127.0.0.1:0")
        .env("TRACEGATE__SERVER__DATA_DIR", data)
        .env("TRACEGATE__SERVER__WORKERS", "2")
        .env("TRACEGATE__SERVER__SHUTDOWN_SECONDS", "2")
        .env("TRACEGATE__MLFLOW__URL", upstream)
        .env("TRACEGATE__MLFLOW__TOKEN", "the-gateways-own-credential")
        .env("TRACEGATE__POLICY__MAX_STALENESS_MS", "60000")
        // Small, so that kills also meet the change from one segment to the next.
        .env("TRACEGATE__AUDIT__SEGMENT_BYTES", "65536")
        .env("TRACEGATE__TELEMETRY__LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(process.stderr.take().unwrap());
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            heard.lock().unwrap().push(line);
        }
    });
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line)
        .unwrap_or_else(|_| panic!("the gateway did not start: {:?}", said.lock().unwrap()));
    let address = told["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    // It is printed before the address, but by another pipe.
    let token = loop {
        let token = said.lock().unwrap().iter().find(|line| line.starts_with("tg_")).cloned();
        if token.is_some() || !first {
            break token;
        }
        std::thread::yield_now();
    };
    Gateway { process, address, token }
}

/// An answer that came whole; `None` if the gateway went away.
async fn ask(address: SocketAddr, request: &Request) -> Option<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&request.to_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        bytes.windows(4).any(|window| window == b"\r\n\r\n").then_some(bytes)
    };
    let bytes = tokio::time::timeout(Duration::from_secs(30), exchange).await.ok()??;
    Some(Answer::parse(&bytes, false)).filter(|answer| answer.complete)
}

/// Reads, changes and refusals, until the gateway is gone. Notes each answered call and its operation.
async fn load(address: SocketAddr, token: String, answered: Arc<Mutex<BTreeMap<String, &'static str>>>) {
    for number in 0_u64.. {
        let signed = |request: Request| request.header("Authorization", &format!("Bearer {token}"));
        let (what, request) = match number % 3 {
            0 => ("trace.info", signed(Request::get(&format!("/api/3.0/mlflow/traces/{}", trace(A))))),
            1 => {
                let tag = json!({"experiment_id": A, "key": "k", "value": number.to_string()});
                let path = "/api/2.0/mlflow/experiments/set-experiment-tag";
                ("experiment.tag", signed(Request::post(path, &tag)))
            }
            // By somebody known: refusals of strangers are counted, not recorded one by one.
            _ => ("refused", signed(Request::get("/api/3.0/mlflow/nowhere"))),
        };
        let Some(answer) = ask(address, &request).await else { return };
        assert_eq!(answer.status, if what == "refused" { 404 } else { 200 }, "{}", answer.text());
        answered.lock().unwrap().insert(answer.decision_id(), what);
    }
}

/// Every record of the index, by decision id.
async fn indexed(gateway: &Gateway, token: &str) -> BTreeMap<String, Vec<Value>> {
    let (mut seqs, mut by_decision, mut after) = (BTreeSet::new(), BTreeMap::new(), String::new());
    loop {
        let target = format!("/api/tracegate/v1/audit/events?limit=1000{after}");
        let request = Request::get(&target).header("Authorization", &format!("Bearer {token}"));
        let page = ask(gateway.address, &request).await.unwrap().expect(200).json();
        assert_eq!(page["complete"], true, "the index catches up in time");
        for event in page["events"].as_array().unwrap() {
            assert!(seqs.insert(event["seq"].as_u64().unwrap()), "record {} is there twice", event["seq"]);
            if let Some(decision) = event["decision_id"].as_str() {
                by_decision.entry(decision.to_owned()).or_insert_with(Vec::new).push(event.clone());
            }
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seqs.len() as u64, *seqs.last().unwrap(), "the index has no hole");
    by_decision
}

#[actix_rt::test]
async fn every_answered_call_survives_every_kill() {
    #[expect(clippy::disallowed_methods, reason = "how long this test runs is no setting of the gateway")]
    let rounds = std::env::var("TRACEGATE_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let upstream = FakeUpstream::start();
    fake_mlflow::serve(&upstream);
    let data = tempfile::tempdir().unwrap();
    let answered: Arc<Mutex<BTreeMap<String, &'static str>>> = Arc::default();
    let mut token = String::new();
    for round in 0..rounds {
        let mut gateway = start(data.path(), &upstream.url(), round == 0);
        token = gateway.token.clone().unwrap_or(token);
        let before = answered.lock().unwrap().len();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| actix_rt::spawn(load(gateway.address, token.clone(), Arc::clone(&answered))))
            .collect();
        // Each kill at another moment of the load.
        while answered.lock().unwrap().len() < before + 60 + 17 * (round % 11) {
            assert!(gateway.process.try_wait().unwrap().is_none(), "the gateway died by itself");
            assert!(callers.iter().any(|caller| !caller.is_finished()), "every caller failed");
            tokio::task::yield_now().await;
        }
        gateway.process.kill().unwrap();
        gateway.process.wait().unwrap();
        for caller in callers {
            caller.await.unwrap();
        }
    }
    let mut gateway = start(data.path(), &upstream.url(), false);
    let by_decision = indexed(&gateway, &token).await;
    let answered = answered.lock().unwrap().clone();
    for kind in ["trace.info", "experiment.tag", "refused"] {
        assert!(answered.values().filter(|what| **what == kind).count() > 10, "the load was mixed");
    }
    for (decision, what) in &answered {
        let records = by_decision.get(decision).unwrap_or_else(|| panic!("no record of an answered {what}"));
        let names_it = records.iter().any(|event| event["trace_ids"] == json!([trace(A)]));
        assert!(*what != "trace.info" || names_it, "{records:?}");
    }

    // SIGTERM: a clean end, after which a copy verifies by itself and the index row by row.
    let pid = gateway.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(gateway.process.wait().unwrap().success());
    let spool = data.path().join("audit");
    let verified = verify(&spool, Known { whole: true, ..Known::default() }, &mut |_| {}).unwrap();
    assert_eq!(verified.recoveries.len(), rounds, "each kill is on record");
    assert!(verified.closed && verified.vouched_seq == verified.last_seq - 2, "{verified:?}");
    let index = tracegate::audit::open_index(None, data.path()).await.unwrap();
    let config = tracegate::config::audit::AuditConfig::default();
    let rows = verify_index(&index, &spool, &config, SystemClock.now(), &mut |_| {}).await.unwrap();
    assert_eq!(rows.rows, verified.last_seq, "each record exactly once");
    index.close().await;
}
