//! What goes wrong behind, beside or before the gateway: a clear answer, a record, no hang, and nothing
//! done without a record or a fresh policy.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, SECRET_A, new_trace, run, trace};
use crate::support::fake_upstream::{FakeUpstream, Scripted};
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::{Answer, Request};
use tracegate::access::{EventKind, Outcome};
use tracegate::store::audit_index::AuditQuery;

const LIST: &str = "/api/2.0/mlflow/artifacts/list";
const SEARCH: &str = "/api/3.0/mlflow/traces/search";

fn list() -> Request {
    Request::get(&format!("{LIST}?run_id={}", run(A)))
}

fn search() -> Request {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    Request::post(SEARCH, &json!({"locations": [location]}))
}

fn start_trace(id: &str) -> Request {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    Request::post(
        "/api/3.0/mlflow/traces",
        &json!({"trace": {"trace_info": {"trace_id": id, "trace_location": location}}}),
    )
}

type Script = Box<dyn Fn() -> Scripted + Send + Sync>;

/// A gateway that already knows what belongs where, so that only the call itself meets the failure.
async fn warmed_up() -> Gateway {
    let gateway = Gateway::start_with(|config| {
        config.mlflow.response_timeout_ms = 500;
        config.mlflow.idle_timeout_ms = 500;
        config.mlflow.lookup_timeout_ms = 2_000;
        config.mlflow.breaker_failures = 100;
    })
    .await;
    for request in [list(), search(), start_trace(&new_trace(1))] {
        gateway.call(Who::Editor, request).await.expect(200);
    }
    gateway
}

/// The answer is an error in MLflow's shape, and the record says that the call failed.
async fn assert_failed(gateway: &Gateway, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(!answer.code().is_empty());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("retry-after").is_some(), status == 503, "{:?}", answer.headers);
    let records = gateway.records(&answer.decision_id()).await;
    let last = records.last().expect("a record");
    assert_eq!((last.kind, last.outcome, last.status), (EventKind::Complete, Outcome::Failed, Some(status)));
    assert!(last.reason.is_some() && last.principal.as_deref() == Some("user:editor"), "{last:?}");
}

#[actix_rt::test]
async fn whatever_upstream_does_the_answer_is_clear_and_recorded() {
    let gateway = warmed_up().await;
    let long =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{\"traces\": [";
    let late = || Scripted::After(Duration::from_secs(3), Box::new(Scripted::ok("{}")));
    let html = || {
        Scripted::status(500, "<html>Traceback: /srv/mlflow/secret.py</html>")
            .header("content-type", "text/html")
    };
    let failures: Vec<(&str, u16, Script)> = vec![
        ("slow", 504, Box::new(late)),
        ("silent", 504, Box::new(|| Scripted::RawAndHang(Vec::new()))),
        ("rubbish", 502, Box::new(|| Scripted::Raw(b"\x16\x03\x01 rubbish \r\n\r\n".to_vec()))),
        ("no answer", 502, Box::new(|| Scripted::Raw(Vec::new()))),
        ("half a head", 502, Box::new(|| Scripted::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()))),
        (
            "two lengths",
            502,
            Box::new(|| {
                Scripted::Raw(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}".to_vec(),
                )
            }),
        ),
        ("a page of an error", 502, Box::new(html)),
        ("wants a login", 502, Box::new(|| Scripted::status(401, "who?"))),
    ];
    for (what, status, script) in failures {
        let script = std::sync::Arc::new(script);
        for (method, path) in [("GET", LIST), ("POST", SEARCH), ("POST", "/api/3.0/mlflow/traces")] {
            let script = std::sync::Arc::clone(&script);
            gateway.upstream.on(method, path, move |_| script());
        }
        for request in [list(), search(), start_trace(&new_trace(1))] {
            let shown = format!("{what}: {}", request.target);
            let answer = gateway.call(Who::Editor, request).await;
            assert_eq!(answer.status, status, "{shown}: {}", answer.text());
            assert_failed(&gateway, &answer, status).await;
            assert!(!answer.text().contains("Traceback"), "{shown}");
        }
    }
    // Only what is read whole can be told to be cut off before the answer begins.
    gateway.upstream.on("POST", SEARCH, move |_| Scripted::Raw(long.as_bytes().to_vec()));
    assert_failed(&gateway, &gateway.call(Who::Editor, search()).await, 502).await;
    gateway.upstream.on("POST", SEARCH, |_| Scripted::ok("<html>login</html>"));
    assert_failed(&gateway, &gateway.call(Who::Editor, search()).await, 502).await;
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_body_that_upstream_cuts_off_is_seen_to_be_cut_off() {
    let gateway = warmed_up().await;
    let part = "part of it, ".repeat(20_000);
    let length = part.len();
    for scripted in [
        Scripted::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{part}").into()),
        Scripted::Raw(
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{part}\r\n").into(),
        ),
        Scripted::RawAndHang(format!("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{part}").into()),
    ] {
        gateway.upstream.on("GET", LIST, move |_| scripted.clone());
        let answer = gateway.call(Who::Editor, list()).await;
        assert!(!answer.complete, "{}", answer.body.len());
        assert_eq!(gateway.ended(&answer.decision_id()).await.outcome, Outcome::Interrupted);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_upstream_that_is_down_opens_the_breaker_and_comes_back() {
    let mut gateway = Gateway::start_with(|config| {
        config.mlflow.breaker_failures = 3;
        config.mlflow.breaker_open_ms = 300;
    })
    .await;
    gateway.call(Who::Editor, list()).await.expect(200);
    let address = gateway.upstream.address();
    gateway.upstream = FakeUpstream::start();
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = gateway.call(Who::Editor, list()).await;
        assert!(matches!(answer.status, 502 | 503), "{}", answer.status);
        assert_failed(&gateway, &answer, answer.status).await;
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&503) && statuses[0] == 502, "{statuses:?}");
    let ready = gateway.call(Who::Anonymous, Request::get("/readyz")).await.expect(503);
    assert_eq!((ready.json()["ready"].clone(), ready.json()["policy"].clone()), (json!(false), json!("ok")));

    gateway.upstream = FakeUpstream::start_at(address);
    crate::support::fake_mlflow::serve(&gateway.upstream);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if gateway.call(Who::Editor, list()).await.status == 200 {
            gateway.call(Who::Anonymous, Request::get("/readyz")).await.expect(200);
            return gateway.stop().await;
        }
    }
    panic!("the gateway does not come back");
}

#[actix_rt::test]
async fn what_cannot_be_looked_up_is_not_forwarded() {
    let gateway = Gateway::start().await;
    let look_up = format!("/api/3.0/mlflow/traces/{}", trace(A));
    let read = || Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)));
    for script in [
        Scripted::status(500, "x"),
        Scripted::status(404, "<html>no such route</html>"),
        Scripted::ok("{}"),
        Scripted::ok("not json"),
        Scripted::json(
            &json!({"trace": {"trace_info": {"trace_id": new_trace(7), "trace_location": {"mlflow_experiment": {"experiment_id": A}}}}}),
        ),
        Scripted::json(
            &json!({"trace": {"trace_info": {"trace_id": trace(A), "trace_location": {"mlflow_experiment": {"experiment_id": "x"}}}}}),
        ),
        Scripted::json(&json!({"trace": {"trace_info": {"trace_id": trace(A), "trace_location": {}}}})),
        Scripted::Raw(b"rubbish\r\n\r\n".to_vec()),
    ] {
        let shown = format!("{script:?}");
        gateway.upstream.on("GET", &look_up, move |_| script.clone());
        let answer = gateway.call(Who::Reader, read()).await;
        assert_eq!(answer.status, 502, "{shown}: {}", answer.text());
        assert!(gateway.forwarded().is_empty(), "{shown}");
    }
    // Nothing of that was remembered.
    gateway.upstream.off("GET", &look_up);
    gateway.call(Who::Reader, read()).await.expect(200);
    gateway.stop().await;
}

/// Requests of all kinds, which all succeed while records can be written.
fn all_kinds() -> Vec<(Who, Request)> {
    vec![
        (Who::Editor, list()),
        (Who::Editor, search()),
        (Who::Editor, start_trace(&new_trace(1))),
        (Who::Editor, Request::post("/api/2.0/mlflow/experiments/search", &json!({}))),
        (Who::Editor, Request::get("/api/tracegate/v1/whoami")),
        (Who::Admin, Request::post("/api/tracegate/v1/principals", &json!({"principal": "user:new"}))),
        (Who::Reader, Request::get("/")),
        (Who::Anonymous, Request::get("/health")),
    ]
}

#[actix_rt::test]
async fn without_a_record_nothing_is_done() {
    let gateway = Gateway::start().await;
    for (who, request) in all_kinds() {
        gateway.call(who, request).await.expect(200);
    }
    gateway.app.records.close().await.unwrap();
    gateway.upstream.forget_requests();
    let version = gateway.app.store.policy_version().await.unwrap();
    let denied = (Who::Stranger, list());
    for (who, request) in all_kinds().into_iter().chain([denied]) {
        let shown = request.target.clone();
        let answer = gateway.call(who, request).await;
        assert_eq!(answer.status, 503, "{shown}: {}", answer.text());
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.code(), "TEMPORARILY_UNAVAILABLE");
    }
    assert!(gateway.forwarded().is_empty(), "{:?}", gateway.forwarded());
    assert_eq!(gateway.app.store.policy_version().await.unwrap(), version);
    // Liveness does not hang on it, readiness does.
    gateway.call(Who::Anonymous, Request::get("/healthz")).await.expect(200);
    let ready = gateway.call(Who::Anonymous, Request::get("/readyz")).await.expect(503);
    assert_ne!(ready.json()["audit"], "ok");
    // The spool is closed already.
    let stopped = tokio::time::timeout(Duration::from_secs(20), gateway.stop()).await;
    stopped.expect("the gateway stops");
}

#[actix_rt::test]
async fn a_spool_that_is_full_refuses_until_there_is_room() {
    // No byte may wait for the index.
    let gateway = Gateway::start_with(|config| config.audit.max_spool_bytes = 0).await;
    for (who, request) in all_kinds() {
        let answer = gateway.call(who, request).await.expect(503);
        assert!(answer.header("retry-after").is_some());
    }
    assert!(gateway.upstream.requests().iter().all(|seen| !seen.header("user-agent").contains(&AGENT)));
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_page_is_not_released_when_its_record_fails_at_the_last_moment() {
    let gateway = Gateway::start().await;
    let records = std::sync::Arc::clone(&gateway.app);
    for (method, path, request) in [
        ("POST", SEARCH, search()),
        (
            "GET",
            "/api/3.0/mlflow/traces/get",
            Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A))),
        ),
    ] {
        let records = std::sync::Arc::clone(&records);
        gateway.upstream.on(method, path, move |_| {
            let app = std::sync::Arc::clone(&records);
            let closing = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _ = runtime.block_on(app.records.close());
            });
            closing.join().unwrap();
            Scripted::json(&json!({"traces": [crate::support::fake_mlflow::trace_info(&trace(A), A)]}))
        });
        let answer = gateway.call(Who::Editor, request).await.expect(503);
        assert!(!answer.everything().contains(SECRET_A) && !answer.text().contains(&trace(A)));
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_policy_that_is_not_confirmed_decides_nothing() {
    let gateway = Gateway::start_with(|config| {
        config.policy.max_staleness_ms = 400;
        config.policy.poll_ms = 3_600_000;
    })
    .await;
    gateway.call(Who::Editor, list()).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    gateway.upstream.forget_requests();
    for (who, request) in all_kinds() {
        let shown = request.target.clone();
        let answer = gateway.call(who, request).await;
        assert_eq!(answer.status, 503, "{who:?} {shown}: {}", answer.text());
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.code(), "TEMPORARILY_UNAVAILABLE");
    }
    assert!(gateway.forwarded().is_empty());
    gateway.app.confirm_policy().await.unwrap();
    gateway.call(Who::Editor, list()).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_client_that_goes_away_in_the_middle_of_a_download_is_recorded() {
    let gateway = Gateway::start().await;
    let artifact = format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{}/artifacts/big", run(A));
    gateway.upstream.on("GET", &artifact, |_| Scripted::Zeros(200_000_000));
    let token = gateway.token(Who::Reader);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!("GET {artifact} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut some = vec![0; 100_000];
    stream.read_exact(&mut some).await.unwrap();
    let head = String::from_utf8_lossy(&some).into_owned();
    let decision_id =
        head.lines().find_map(|line| line.strip_prefix("x-tracegate-decision-id: ")).unwrap().to_owned();
    drop(stream);
    let end = gateway.ended(&decision_id).await;
    assert_eq!((end.outcome, end.status), (Outcome::Interrupted, Some(200)));
    assert!(end.bytes_out > 0 && end.bytes_out < 200_000_000, "{}", end.bytes_out);
    // What the client did not take, upstream did not send: nothing is piled up in between.
    assert!(gateway.upstream.written() < 150_000_000, "{}", gateway.upstream.written());
    gateway.stop().await;
}

/// A creator that hangs up while upstream works has made an experiment all the same: it must be its
/// manager, or nobody but an administrator is.
#[actix_rt::test]
async fn what_was_begun_is_finished_when_the_client_hangs_up() {
    hang_up_while_upstream_works(false).await;
}

#[actix_rt::test]
async fn what_was_begun_is_finished_when_the_connection_breaks() {
    hang_up_while_upstream_works(true).await;
}

async fn hang_up_while_upstream_works(abruptly: bool) {
    let gateway = Gateway::start().await;
    gateway.upstream.on("POST", "/api/2.0/mlflow/experiments/create", |_| {
        let created = Scripted::json(&json!({"experiment_id": "2"}));
        Scripted::After(Duration::from_millis(300), Box::new(created))
    });
    let create = Request::post("/api/2.0/mlflow/experiments/create", &json!({"name": "mine"}));
    let body = String::from_utf8(create.body.clone()).unwrap();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {}\r\nUser-Agent: {AGENT}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        create.target,
        gateway.token(Who::Stranger),
        body.len()
    );
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..200 {
        if !gateway.forwarded().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if abruptly {
        // The connection is reset, not closed.
        stream.set_zero_linger().unwrap();
    }
    drop(stream);
    let query = AuditQuery { operation: Some("experiment.create".to_owned()), ..AuditQuery::default() };
    for _ in 0..100 {
        let records = gateway.query(&query).await;
        if records.iter().any(|event| event.kind == EventKind::Complete) {
            let see = Request::get("/api/2.0/mlflow/experiments/get?experiment_id=2");
            gateway.call(Who::Stranger, see).await.expect(200);
            return gateway.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the call has no end");
}

#[actix_rt::test]
async fn large_bodies_are_refused_before_they_are_read() {
    let gateway = Gateway::start_with(|config| {
        config.limits.json_body_bytes = 1000;
        config.limits.otlp_body_bytes = 1000;
        config.limits.page_bytes = 2000;
    })
    .await;
    let large = json!({"trace_ids": [trace(A)], "x": "y".repeat(2000)});
    let json = Request::post("/api/3.0/mlflow/traces/batchGetInfos", &large);
    let export = Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Mlflow-Experiment-Id", A)
        .body(vec![0; 2000]);
    for (request, key) in [(json, "json_body_bytes"), (export, "otlp_body_bytes")] {
        let answer = gateway.call(Who::Editor, request).await.expect(413);
        assert!(answer.text().contains(key), "{}", answer.text());
        assert!(gateway.forwarded().is_empty());
    }
    gateway.upstream.on("POST", SEARCH, |_| Scripted::json(&json!({"traces": [], "x": "y".repeat(4000)})));
    let answer = gateway.call(Who::Editor, search()).await.expect(413);
    assert!(answer.text().contains("page_bytes"), "{}", answer.text());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_database_that_went_back_is_not_believed() {
    let gateway = Gateway::start_with(|config| config.policy.max_staleness_ms = 1_500).await;
    let version = gateway.app.policy.version();
    sqlx::any::install_default_drivers();
    let file = format!("sqlite://{}/state.db?mode=rw", gateway.data.path().display());
    let database = sqlx::AnyPool::connect(&file).await.unwrap();
    for statement in
        ["DELETE FROM policy_changes WHERE version = $1", "UPDATE policy_head SET version = $1 - 1"]
    {
        sqlx::query(statement).bind(version).execute(&database).await.unwrap();
    }
    let error = gateway.app.confirm_policy().await.unwrap_err();
    assert!(error.to_string().contains("older than"), "{error}");
    assert_eq!(gateway.app.policy.version(), version);
    // Nobody knows what else is gone: once the last confirmation is too old, nothing is allowed.
    let refused = async {
        while gateway.call(Who::Reader, list()).await.status != 503 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap();
    gateway.stop().await;
}
