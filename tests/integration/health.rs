//! Health and metrics on a port of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::callers::Who;
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::Request;
use crate::support::secure::{Authority, TlsFiles, connect};

/// Waits until a condition holds; what it is about is in the message.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn apart() -> Gateway {
    Gateway::start_with(|config| config.server.health_listen = Some("127.0.0.1:0".to_owned())).await
}

#[actix_rt::test]
async fn health_and_metrics_are_there_and_nothing_else_is() {
    let gateway = apart().await;
    let health = gateway.health.unwrap();
    assert_eq!(Request::get("/healthz").send(health).await.expect(200).json()["status"], "alive");
    assert_eq!(Request::get("/readyz").send(health).await.expect(200).json()["ready"], true);
    let metrics = Request::get("/metrics").send(health).await.expect(200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("tracegate_policy_age_seconds "), "{metrics:?}");
    Request::new("HEAD", "/healthz").send(health).await.expect(200);
    // With an administrator's token too, by any other spelling, and whatever is sent along.
    for request in [
        Request::get("/"),
        Request::get("/health"),
        Request::get("/api/tracegate/v1/policy"),
        Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1"),
        Request::get("/metrics/../api/tracegate/v1/policy"),
        Request::get("/metrics/"),
        Request::get("//metrics"),
        Request::get("/%6detrics"),
        Request::new("POST", "/metrics"),
        Request::new("DELETE", "/healthz"),
    ] {
        let target = format!("{} {}", request.method, request.target);
        let answer = gateway.signed(Who::Admin, request).send(health).await;
        assert_eq!(answer.status, 404, "{target}");
    }
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn who_reaches_the_main_port_reads_no_metrics_then() {
    let gateway = apart().await;
    for who in [Who::Anonymous, Who::Admin] {
        gateway.call(who, Request::get("/metrics")).await.expect(404);
        gateway.call(who, Request::get("/%6detrics")).await.expect(404);
    }
    // Load balancers ask there.
    gateway.call(Who::Anonymous, Request::get("/healthz")).await.expect(200);
    gateway.call(Who::Anonymous, Request::get("/readyz")).await.expect(200);
    gateway.stop().await;
    let gateway = Gateway::start().await;
    assert!(gateway.health.is_none());
    gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn probes_need_no_certificate_where_every_client_does() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let files = TlsFiles::new(&authority.sign(|_| {}));
    let ca = files.write("clients.pem", &clients.pem);
    let gateway = Gateway::start_with(|config| {
        config.server.tls_certificate = Some(files.path("certificate.pem"));
        config.server.tls_key = Some(files.path("key.pem"));
        config.server.tls_client_ca = Some(ca);
        config.server.tls_client_required = true;
        config.server.health_listen = Some("127.0.0.1:0".to_owned());
    })
    .await;
    Request::get("/readyz").send(gateway.health.unwrap()).await.expect(200);
    // The main port stays shut to whoever shows none: the handshake, or the first read after it, fails.
    let shut = match connect(gateway.address, &authority, None, "http/1.1").await {
        Err(_) => true,
        Ok(mut stream) => {
            let _ = stream.write_all(&Request::get("/readyz").to_bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer.is_empty()
        }
    };
    assert!(shut);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_flood_of_connections_at_the_main_port_fails_no_probe() {
    let gateway = Gateway::start_with(|config| {
        config.server.health_listen = Some("127.0.0.1:0".to_owned());
        config.server.max_connections = 2;
        config.server.header_timeout_ms = 120_000;
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    for _ in 0..4 {
        Request::get("/healthz").send(gateway.health.unwrap()).await.expect(200);
    }
    drop(held);
    gateway.stop().await;
}

#[actix_rt::test]
async fn who_says_nothing_there_is_let_go_of() {
    let gateway = apart().await;
    let mut silent = TcpStream::connect(gateway.health.unwrap()).await.unwrap();
    silent.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "a head that never ends keeps its connection");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    gateway.stop().await;
}

#[actix_rt::test]
async fn while_a_call_is_finished_at_the_end_it_is_not_ready() {
    let gateway = Gateway::start_with(|config| {
        config.server.health_listen = Some("127.0.0.1:0".to_owned());
        config.server.shutdown_seconds = 60;
    })
    .await;
    let (address, health) = (gateway.address, gateway.health.unwrap());
    // A call that MLflow takes its time for.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (held, path) = (Mutex::new(held), "/api/2.0/mlflow/experiments/get");
    let forwarded = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&forwarded);
    gateway.upstream.on("GET", path, move |request| {
        // Not our own look-ups.
        if request.header("user-agent").contains(&AGENT) {
            noted.store(true, Ordering::SeqCst);
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(60));
        }
        Scripted::ok(r#"{"experiment": {"experiment_id": "1", "name": "first"}}"#)
    });
    let request = gateway.signed(Who::Reader, Request::get(&format!("{path}?experiment_id=1")));
    let call = actix_rt::spawn(async move { request.send(address).await });
    until("the call is forwarded", || async { forwarded.load(Ordering::SeqCst) }).await;
    let stopping = actix_rt::spawn(gateway.stop());
    until("it says that it stops", || async {
        let answer = Request::get("/readyz").send(health).await;
        answer.status == 503 && answer.json()["stopping"] == true
    })
    .await;
    // It lives all the same, or it would be killed in the midst of it.
    Request::get("/healthz").send(health).await.expect(200);
    assert!(!call.is_finished());
    release.send(()).unwrap();
    call.await.unwrap().expect(200);
    stopping.await.unwrap();
}

#[actix_rt::test]
async fn two_listeners_on_one_port_refuse_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = tracegate::config::Config::default();
    let data = tempfile::tempdir().unwrap();
    config.server.listen = "127.0.0.1:0".to_owned();
    config.server.health_listen = Some(taken.local_addr().unwrap().to_string());
    config.server.data_dir = data.path().to_owned();
    let metrics = tracegate::telemetry::Metrics::default();
    let (app, _) = tracegate::app::App::open(config, metrics).await.unwrap();
    let refused = tracegate::http::start(app).unwrap_err().to_string();
    assert!(refused.contains("server.health_listen"), "{refused}");
}
