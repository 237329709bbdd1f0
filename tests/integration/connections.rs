//! Connections: whom they come from, how many there may be, and how long one may keep us waiting.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracegate::app::App;
use tracegate::config::Config;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{self, A, run};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::{Answer, Request};

/// Far beyond every limit that a test sets: who waits so long has found a hang.
const PATIENCE: Duration = Duration::from_secs(60);

fn read_run() -> Request {
    Request::get(&format!("/api/2.0/mlflow/runs/get?run_id={}", run(A)))
}

fn set_tag() -> Request {
    Request::post("/api/2.0/mlflow/runs/set-tag", &json!({ "run_id": run(A), "key": "k", "value": "v" }))
}

/// Short limits, each far from the others.
fn short(config: &mut Config) {
    config.server.header_timeout_ms = 2_000;
    config.server.keep_alive_ms = 60_000;
    config.server.stall_timeout_ms = 1000;
}

/// The bytes of a request whose connection stays open.
fn kept_open(request: &Request) -> Vec<u8> {
    let text = String::from_utf8(request.to_bytes()).unwrap();
    text.replace("Connection: close\r\n", "").into_bytes()
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the other side closes; an error of the connection is its end too.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            bytes.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an end, not a hang");
    bytes
}

/// The next answer, of which only a head of `content-length` and its body are read.
async fn next_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let mut byte = [0; 1];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "an answer");
            bytes.push(byte[0]);
            if bytes.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let length = Answer::parse(&bytes, true).header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        bytes.extend(body);
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer, not a hang");
    Answer::parse(&bytes, false)
}

fn metric(app: &App, start: &str) -> f64 {
    let text = app.metrics.encode();
    let line = text.lines().find(|line| line.starts_with(start));
    line.and_then(|line| line.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().unwrap())
}

/// Waits until so many connections are open.
async fn open_connections(gateway: &Gateway, wanted: f64) {
    for _ in 0..1200 {
        if metric(&gateway.app, "tracegate_connections ") == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} connections are open and not {wanted}", metric(&gateway.app, "tracegate_connections "));
}

/// Sends a change so many times, to an upstream that takes its time over it; all have reached it.
async fn held_up(gateway: &Gateway, change: &Request, times: usize) -> Vec<TcpStream> {
    gateway.upstream.on("POST", "/api/2.0/mlflow/runs/set-tag", |_| {
        Scripted::After(Duration::from_secs(10), Box::new(Scripted::ok("{}")))
    });
    let mut waiting = Vec::new();
    for _ in 0..times {
        let mut stream = connect(gateway.address).await;
        stream.write_all(&change.to_bytes()).await.unwrap();
        waiting.push(stream);
    }
    for _ in 0..200 {
        if gateway.forwarded().len() == times {
            return waiting;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} of {times} calls have reached the upstream", gateway.forwarded().len());
}

async fn source_of(gateway: &Gateway, headers: &[(&str, &str)]) -> String {
    let mut request = read_run();
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = gateway.call(Who::Reader, request).await.expect(200);
    gateway.ended(&answer.decision_id()).await.request.source_address.unwrap()
}

#[actix_rt::test]
async fn without_trusted_proxies_nobody_says_where_a_call_comes_from() {
    let gateway = Gateway::start().await;
    for header in
        [("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"), ("X-Real-IP", "203.0.113.7")]
    {
        assert_eq!(source_of(&gateway, &[header, ("X-Forwarded-Proto", "https")]).await, "127.0.0.1");
    }
    let answer = gateway.call(Who::Reader, read_run().header("X-Forwarded-Proto", "https")).await;
    assert_eq!(answer.header("strict-transport-security"), None);
    gateway.stop().await;
}

#[actix_rt::test]
async fn the_record_has_whom_a_trusted_proxy_saw_and_not_what_the_client_says() {
    let gateway = Gateway::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned(), "10.0.0.0/8".to_owned()];
    })
    .await;
    for (values, expected) in [
        (&["203.0.113.7"][..], "203.0.113.7"),
        (&["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
        (&["127.0.0.1", "203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["::ffff:203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7, nonsense"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        let headers: Vec<(&str, &str)> = values.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        assert_eq!(source_of(&gateway, &headers).await, expected, "{values:?}");
    }
    let forwarded = read_run().header("X-Forwarded-For", "203.0.113.7");
    let answer = gateway.call(Who::Reader, forwarded.clone().header("X-Forwarded-Proto", "https")).await;
    assert!(answer.header("strict-transport-security").is_some());
    let answer = gateway.call(Who::Reader, forwarded.header("X-Forwarded-Proto", "http")).await;
    assert_eq!(answer.header("strict-transport-security"), None);
    gateway.stop().await;
}

#[actix_rt::test]
async fn every_answer_tells_browsers_what_they_may_not_do() {
    let gateway = Gateway::start().await;
    let refused = gateway.call(Who::Anonymous, read_run()).await.expect(401);
    let unknown = gateway.call(Who::Reader, Request::get("/nowhere")).await.expect(404);
    let malformed = gateway.call(Who::Reader, Request::get("/a/../b")).await.expect(400);
    let health = gateway.call(Who::Anonymous, Request::get("/health")).await.expect(200);
    let data = gateway.call(Who::Reader, read_run()).await.expect(200);
    for answer in [refused, unknown, malformed, health, data] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-frame-options", "SAMEORIGIN"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}: {}", answer.everything());
        }
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_head_that_does_not_come_ends_the_connection_the_first_and_the_second() {
    let gateway = Gateway::start_with(short).await;
    let request = gateway.signed(Who::Reader, read_run());
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let mut first = connect(gateway.address).await;
    first.write_all(&half(&request.to_bytes())).await.unwrap();
    let end = rest(&mut first).await;
    assert!(end.is_empty() || end.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&end));

    let mut second = connect(gateway.address).await;
    second.write_all(&kept_open(&request)).await.unwrap();
    next_answer(&mut second).await.expect(200);
    // Half a head; the rest comes byte by byte, slower than the time that is left.
    let bytes = kept_open(&request);
    second.write_all(&half(&bytes)).await.unwrap();
    let mut ended = false;
    for byte in &bytes[bytes.len() / 2..] {
        if second.write_all(&[*byte]).await.is_err() {
            ended = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ended || rest(&mut second).await.is_empty());
    assert_eq!(gateway.forwarded().len(), 1);
    open_connections(&gateway, 0.0).await;
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_body_that_does_not_come_or_trickles_is_answered_408_and_changes_nothing() {
    let gateway = Gateway::start_with(|config| {
        short(config);
        config.server.least_bytes_per_second = 1000;
    })
    .await;
    let bytes = gateway.signed(Who::Editor, set_tag()).to_bytes();
    let (head, body) = bytes.split_at(bytes.len() - 40);
    for pause in [None, Some(Duration::from_millis(50))] {
        let (mut reading, mut writing) = connect(gateway.address).await.into_split();
        writing.write_all(head).await.unwrap();
        let trickle = async {
            let Some(pause) = pause else { return std::future::pending().await };
            for byte in &body[..39] {
                let _ = writing.write_all(&[*byte]).await;
                tokio::time::sleep(pause).await;
            }
            std::future::pending::<()>().await
        };
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer));
        tokio::select! {
            done = reading => drop(done.expect("an answer, not a hang")),
            () = trickle => {}
        }
        let answer = Answer::parse(&answer, false).expect(408);
        assert_eq!(answer.code(), "DEADLINE_EXCEEDED");
        assert_eq!(gateway.ended(&answer.decision_id()).await.status, Some(408));
    }
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let gateway = Gateway::start_with(short).await;
    let large = json!({ "run": { "info": { "run_id": run(A), "experiment_id": "1" },
        "data": { "tags": [{ "key": "k", "value": "x".repeat(40 << 20) }] } } });
    // The gateway's own question is answered as ever.
    gateway.upstream.on("GET", "/api/2.0/mlflow/runs/get", move |request| {
        match request.header("user-agent").contains(&AGENT) {
            true => Scripted::json(&large),
            false => fake_mlflow::answer(request),
        }
    });
    let mut stream = connect(gateway.address).await;
    stream.write_all(&gateway.signed(Who::Reader, read_run()).to_bytes()).await.unwrap();
    let mut first = [0; 16];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
    open_connections(&gateway, 0.0).await;
    assert!(rest(&mut stream).await.len() < 40 << 20);
    gateway.stop().await;
}

#[actix_rt::test]
async fn connections_are_limited_and_room_is_there_again_when_they_close() {
    let gateway = Gateway::start_with(|config| {
        config.server.max_connections_per_address = Some(5);
        config.server.max_connections = 100;
    })
    .await;
    let idle: Vec<TcpStream> = futures_util::future::join_all((0..5).map(|_| connect(gateway.address))).await;
    open_connections(&gateway, 5.0).await;
    assert!(rest(&mut connect(gateway.address).await).await.is_empty(), "closed at once");
    assert_eq!(metric(&gateway.app, "tracegate_connections_turned_away_total{reason=\"Address\"}"), 1.0);
    drop(idle);
    open_connections(&gateway, 0.0).await;
    gateway.call(Who::Reader, read_run()).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn behind_a_proxy_the_calls_of_one_client_are_limited_and_not_the_proxy() {
    let gateway = Gateway::start_with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
        config.server.max_connections_per_address = Some(2);
    })
    .await;
    let from = |address: &str| read_run().header("X-Forwarded-For", address);
    let change = gateway.signed(Who::Editor, set_tag().header("X-Forwarded-For", "203.0.113.7"));
    let mut waiting = held_up(&gateway, &change, 2).await;
    let refused = gateway.call(Who::Reader, from("203.0.113.7")).await.expect(429);
    assert_eq!(refused.code(), "REQUEST_LIMIT_EXCEEDED");
    gateway.call(Who::Reader, from("203.0.113.8")).await.expect(200);
    for stream in &mut waiting {
        Answer::parse(&rest(stream).await, false).expect(200);
    }
    gateway.call(Who::Reader, from("203.0.113.7")).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn one_principal_has_no_more_calls_in_flight_than_it_may() {
    let gateway = Gateway::start_with(|config| config.server.max_calls_per_principal = Some(1)).await;
    let change = gateway.signed(Who::Editor, set_tag());
    let mut waiting = held_up(&gateway, &change, 1).await;
    let refused = gateway.call(Who::Editor, read_run()).await.expect(429);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("server.max_calls_per_principal"), "{}", refused.text());
    gateway.call(Who::Reader, read_run()).await.expect(200);
    Answer::parse(&rest(&mut waiting[0]).await, false).expect(200);
    gateway.call(Who::Editor, read_run()).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn two_thousand_idle_connections_keep_nobody_waiting() {
    let gateway = Gateway::start_with(|config| config.server.header_timeout_ms = 120_000).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.extend(futures_util::future::join_all((0..100).map(|_| connect(gateway.address))).await);
    }
    open_connections(&gateway, 2000.0).await;
    // Each has said something, and nothing whole.
    for stream in &mut idle {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    }
    for _ in 0..50 {
        gateway.call(Who::Reader, read_run()).await.expect(200);
    }
    drop(idle);
    open_connections(&gateway, 0.0).await;
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_flood_of_headers_is_refused_and_nobody_else_notices() {
    let gateway = Gateway::start().await;
    let mut many = gateway.signed(Who::Reader, read_run());
    for number in 0..5000 {
        many = many.header(&format!("x-{number}"), "v");
    }
    let large = gateway.signed(Who::Reader, read_run()).header("x-large", &"a".repeat(70_000));
    let huge = gateway.signed(Who::Reader, read_run()).header("x-huge", &"a".repeat(4 << 20));
    for (request, expected) in [(many, &[400, 431][..]), (large, &[431]), (huge, &[400, 431])] {
        let mut stream = connect(gateway.address).await;
        let _ = stream.write_all(&request.to_bytes()).await;
        let answer = rest(&mut stream).await;
        // Whoever is cut off while still sending may lose the answer.
        if !answer.is_empty() {
            assert!(expected.contains(&Answer::parse(&answer, false).status));
        }
    }
    let mut endless = connect(gateway.address).await;
    endless.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let line = format!("x-again: {}\r\n", "a".repeat(1000)).repeat(100);
    let mut sent = 0;
    while sent < 64 << 20 && endless.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 64 << 20, "it was stopped");
    gateway.call(Who::Reader, read_run()).await.expect(200);
    assert_eq!(gateway.forwarded().len(), 1);
    gateway.stop().await;
}

#[actix_rt::test]
async fn half_closed_sockets_get_their_answer_and_then_go() {
    let gateway = Gateway::start_with(short).await;
    let mut asked = connect(gateway.address).await;
    asked.write_all(&kept_open(&gateway.signed(Who::Reader, read_run()))).await.unwrap();
    asked.shutdown().await.unwrap();
    Answer::parse(&rest(&mut asked).await, false).expect(200);
    let mut silent = connect(gateway.address).await;
    silent.shutdown().await.unwrap();
    let mut halfway = connect(gateway.address).await;
    let bytes = gateway.signed(Who::Editor, set_tag()).to_bytes();
    halfway.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    halfway.shutdown().await.unwrap();
    // All are gone on our side while the clients still hold theirs.
    open_connections(&gateway, 0.0).await;
    assert_eq!(gateway.forwarded().len(), 1);
    drop((asked, silent, halfway));
    gateway.stop().await;
}

#[actix_rt::test]
async fn two_hosts_are_two_answers_to_whose_site_it_is() {
    let gateway = Gateway::start().await;
    let request = read_run().header("Host", "evil.example");
    gateway.call(Who::Reader, request).await.expect(400);
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}
