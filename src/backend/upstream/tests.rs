//! Against a recording fake: what is really sent, and what becomes of bad answers.

#[path = "../../../tests/support/fake_upstream.rs"]
mod fake_upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use self::fake_upstream::{FakeUpstream, Scripted};
use super::*;
use crate::backend::{SpoolLimits, spool};
use crate::wire::{Body, CanonicalPath, Head, Headers, Method, Query, ReplayBody};

fn config(upstream: &FakeUpstream) -> MlflowConfig {
    MlflowConfig {
        url: Some(upstream.url()),
        username: Some("gateway".to_owned()),
        password: Some("secret".into()),
        ..MlflowConfig::default()
    }
}

fn connect(config: &MlflowConfig) -> Upstream {
    Upstream::new(UpstreamShared::new(config).unwrap())
}

fn outgoing(method: Method, path: &str, query: &str, headers: &[(&str, &str)], body: Body) -> Outgoing {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.push(name, value);
    }
    let (path, query) = (CanonicalPath::parse(path).unwrap(), Query::parse(query).unwrap());
    let head = Head { method, path, query, headers: all };
    Outgoing { operation: "test".to_owned(), params: Vec::new(), head, json: None, body }
}

async fn send(upstream: &Upstream, request: Outgoing) -> Result<Reply, BackendError> {
    upstream.forward(Permit::for_test(), request).await
}

async fn get(upstream: &Upstream, path: &str) -> Result<Reply, BackendError> {
    send(upstream, outgoing(Method::Get, path, "", &[], Body::Empty)).await
}

async fn post(upstream: &Upstream, path: &str, body: Body) -> Result<Reply, BackendError> {
    send(upstream, outgoing(Method::Post, path, "", &[], body)).await
}

async fn read(reply: Reply) -> std::io::Result<Vec<u8>> {
    let Body::Stream { mut stream, .. } = reply.body else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

#[actix_rt::test]
async fn only_listed_headers_leave_and_the_credential_is_the_gateways() {
    let fake = FakeUpstream::start();
    fake.on("POST", "/api/2.0/mlflow/runs/create", |_| Scripted::ok("{}"));
    let upstream = connect(&MlflowConfig { host_header: Some("ml.internal".to_owned()), ..config(&fake) });
    let headers = [
        ("authorization", "Bearer callers"),
        ("authorization", "Basic Y2FsbGVy"),
        ("proxy-authorization", "Basic x"),
        ("cookie", "session=callers"),
        ("host", "evil.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-user", "admin"),
        ("forwarded", "for=127.0.0.1"),
        ("x-remote-user", "admin"),
        ("x-mlflow-workspace", "other"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/api/2.0/mlflow/users/create"),
        ("connection", "authorization"),
        ("transfer-encoding", "chunked"),
        ("content-length", "99"),
        ("expect", "100-continue"),
        ("accept-encoding", "br"),
        ("origin", "https://evil.example"),
        ("content-type", "application/json"),
        ("content-type", "text/plain"),
        ("user-agent", "mlflow-python-client/3.17.2"),
        ("traceparent", "00-1-2-01"),
        ("x-mlflow-experiment-id", "7"),
    ];
    let request = outgoing(Method::Post, "/api/2.0/mlflow/runs/create", "", &headers, Body::memory("{}"));
    assert_eq!(read(send(&upstream, request).await.unwrap()).await.unwrap(), b"{}");

    let seen = &fake.requests()[0];
    let mut sent: Vec<(&str, &str)> = seen.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    sent.retain(|(name, _)| *name != "date");
    sent.sort_unstable();
    assert_eq!(
        sent,
        [
            ("accept-encoding", "identity"),
            ("authorization", "Basic Z2F0ZXdheTpzZWNyZXQ="),
            ("content-length", "2"),
            ("content-type", "application/json"),
            ("host", "ml.internal"),
            ("traceparent", "00-1-2-01"),
            ("user-agent", "mlflow-python-client/3.17.2"),
            ("x-mlflow-experiment-id", "7"),
        ]
    );
}

#[actix_rt::test]
async fn a_line_break_in_a_header_is_not_sent() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    let headers = [("user-agent", "x\r\nx-mlflow-workspace: other")];
    let request = outgoing(Method::Get, "/a", "", &headers, Body::Empty);
    assert_eq!(send(&upstream, request).await.unwrap_err(), BackendError::Unsendable);
    assert!(fake.requests().is_empty());
}

#[actix_rt::test]
async fn the_canonical_target_is_what_is_sent_below_the_base_path() {
    let fake = FakeUpstream::start();
    let upstream = connect(&MlflowConfig { url: Some(format!("{}/base/", fake.url())), ..config(&fake) });
    for (path, query) in [
        ("/api/3.0/mlflow/traces/tr-1/tags/", "key=a%2Fb&x=%23%3f+1"),
        ("/get-artifact", "path=a%20b&run_uuid=%c3%a9"),
        ("/x;y@evil:80", ""),
    ] {
        let request = outgoing(Method::Get, path, query, &[], Body::Empty);
        let (path, query) = (request.head.path.to_encoded(), request.head.query.to_encoded());
        send(&upstream, request).await.unwrap();
        let expected = if query.is_empty() { format!("/base{path}") } else { format!("/base{path}?{query}") };
        assert_eq!(fake.requests().last().unwrap().target, expected);
    }
    assert_eq!(fake.requests()[0].target, "/base/api/3.0/mlflow/traces/tr-1/tags?key=a%2Fb&x=%23%3F%201");
}

#[actix_rt::test]
async fn redirects_are_not_followed_and_lead_nowhere_else() {
    let (fake, elsewhere) = (FakeUpstream::start(), FakeUpstream::start());
    let away = format!("{}/stolen", elsewhere.url());
    let home = format!("{}/home?x", fake.url());
    fake.on("GET", "/away", move |_| Scripted::redirect(&away));
    fake.on("GET", "/slashes", |_| Scripted::redirect("//evil.example/x"));
    fake.on("GET", "/twice", |_| Scripted::redirect("/a").header("location", "//evil.example/x"));
    fake.on("GET", "/home", move |_| Scripted::redirect(&home));
    fake.on("GET", "/created", |_| Scripted::status(201, "").header("location", "http://evil.example"));
    let upstream = connect(&config(&fake));
    for path in ["/away", "/slashes", "/twice"] {
        assert_eq!(get(&upstream, path).await.unwrap_err(), BackendError::BrokenOff, "{path}");
    }
    let reply = get(&upstream, "/home").await.unwrap();
    assert_eq!((reply.status, reply.headers.get("location")), (302, Some("/home?x")));
    assert_eq!(get(&upstream, "/created").await.unwrap().headers.get("location"), None);
    assert!(elsewhere.requests().is_empty());
}

#[actix_rt::test]
async fn hop_headers_and_those_they_name_stay_behind() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/a", |_| {
        Scripted::ok("x")
            .header("connection", "keep-alive, X-Hop")
            .header("x-hop", "1")
            .header("set-cookie", "session=1")
            .header("server", "uvicorn")
            .header("alt-svc", "h2=\"evil:443\"")
            .header("www-authenticate", "Basic")
            .header("content-type", "text/plain")
            .header("content-disposition", "attachment")
            .header("x-two", "a")
            .header("x-two", "b")
    });
    let reply = get(&connect(&config(&fake)), "/a").await.unwrap();
    let mut headers: Vec<_> = reply.headers.iter().collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("content-disposition", "attachment"),
            ("content-type", "text/plain"),
            ("x-two", "a"),
            ("x-two", "b")
        ]
    );
    assert_eq!(reply.body.length(), Some(1));
}

#[actix_rt::test]
async fn rubbish_and_ambiguous_answers_are_errors() {
    let fake = FakeUpstream::start();
    let cases = [
        "rubbish\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nupgrade: websocket\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 O",
        "",
    ];
    let upstream = connect(&config(&fake));
    for case in cases {
        fake.on("POST", "/a", move |_| Scripted::Raw(case.as_bytes().to_vec()));
        let result = post(&upstream, "/a", Body::memory("x")).await;
        assert_eq!(result.unwrap_err(), BackendError::BrokenOff, "{case}");
    }
    assert_eq!(fake.requests().len(), cases.len(), "a write is not sent again");
}

#[actix_rt::test]
async fn what_a_bad_answer_leaves_behind_is_nobodys_answer() {
    let fake = FakeUpstream::start();
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nupgrade: websocket\r\ncontent-length: 46\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
    ] {
        fake.on("GET", "/bad", move |_| Scripted::RawAndHang(format!("{head}{stray}").into_bytes()));
        fake.on("GET", "/good", |_| Scripted::ok("mine"));
        let upstream = connect(&config(&fake));
        assert!(get(&upstream, "/bad").await.is_err());
        let reply = get(&upstream, "/good").await.unwrap();
        assert_eq!(read(reply).await.unwrap(), b"mine", "{head}");
    }
}

#[actix_rt::test]
async fn a_body_that_is_cut_off_ends_in_an_error() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ] {
        fake.on("GET", "/a", move |_| Scripted::Raw(cut.as_bytes().to_vec()));
        let reply = get(&upstream, "/a").await.unwrap();
        assert!(read(reply).await.is_err(), "{cut}");
    }
    for whole in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        fake.on("GET", "/a", move |_| Scripted::Raw(whole.as_bytes().to_vec()));
        let reply = get(&upstream, "/a").await.unwrap();
        assert_eq!(read(reply).await.unwrap(), b"abc", "{whole}");
    }
}

#[actix_rt::test]
async fn silence_times_out_before_and_within_an_answer() {
    let fake = FakeUpstream::start();
    let short = MlflowConfig { response_timeout_ms: 100, idle_timeout_ms: 100, ..config(&fake) };
    let upstream = connect(&short);
    fake.on("GET", "/a", |_| Scripted::RawAndHang(Vec::new()));
    assert_eq!(get(&upstream, "/a").await.unwrap_err(), BackendError::Timeout);
    fake.on("GET", "/a", |_| Scripted::RawAndHang(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()));
    assert_eq!(get(&upstream, "/a").await.unwrap_err(), BackendError::Timeout);
    fake.on("GET", "/a", |_| {
        Scripted::RawAndHang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec())
    });
    let error = read(get(&upstream, "/a").await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let patient = connect(&config(&fake));
    fake.on("GET", "/a", |_| Scripted::After(Duration::from_millis(150), Box::new(Scripted::ok("late"))));
    assert_eq!(read(get(&patient, "/a").await.unwrap()).await.unwrap(), b"late");
}

#[actix_rt::test]
async fn a_caller_that_stalls_or_lies_is_to_blame_and_not_the_server() {
    let fake = FakeUpstream::start();
    fake.on("POST", "/a", |_| Scripted::ok("{}"));
    let upstream = connect(&MlflowConfig { response_timeout_ms: 100, breaker_failures: 1, ..config(&fake) });
    let first = || stream::iter([Ok(Bytes::from_static(b"abc"))]);
    let bodies: [(crate::wire::BodyStream, Option<u64>); 4] = [
        (Box::pin(first().chain(stream::pending())), Some(9)),
        (Box::pin(first()), Some(9)),
        (Box::pin(first()), Some(2)),
        (Box::pin(first().chain(stream::iter([Err(std::io::Error::other("gone"))]))), None),
    ];
    for (stream, length) in bodies {
        let error = post(&upstream, "/a", Body::Stream { stream, length }).await.unwrap_err();
        assert_eq!(error, BackendError::RequestBody);
    }
    assert!(fake.requests().is_empty(), "none of them was a whole request");
    assert_eq!(post(&upstream, "/a", Body::Empty).await.unwrap().status, 200);
}

#[actix_rt::test]
async fn the_breaker_opens_on_a_server_that_is_down_and_closes_again() {
    let fake = FakeUpstream::start();
    let address = fake.address();
    let settings = MlflowConfig { breaker_failures: 2, breaker_open_ms: 50, ..config(&fake) };
    drop(fake);
    while std::net::TcpStream::connect(address).is_ok() {}
    let upstream = connect(&settings);
    for _ in 0..2 {
        assert_eq!(get(&upstream, "/a").await.unwrap_err(), BackendError::Unreachable);
    }
    assert!(matches!(upstream.ready().await, Err(BackendError::Overloaded { retry_after_ms: 1..=50 })));
    let fake = FakeUpstream::start_at(address);
    fake.on("GET", "/health", |_| Scripted::ok("OK"));
    while upstream.ready().await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fake.on("GET", "/a", |_| Scripted::status(500, ""));
    for _ in 0..5 {
        assert_eq!(get(&upstream, "/a").await.unwrap().status, 500, "a 500 is an answer");
    }
}

#[actix_rt::test]
async fn reads_are_tried_again_once_and_writes_never() {
    let fake = FakeUpstream::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let script = move |_: &fake_upstream::Recorded| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Scripted::Raw(Vec::new()),
        _ => Scripted::ok("{}"),
    };
    fake.on("GET", "/a", script.clone());
    fake.on("POST", "/a", script);
    let upstream = connect(&config(&fake));
    assert_eq!(get(&upstream, "/a").await.unwrap().status, 200);
    assert_eq!(calls.swap(0, Ordering::SeqCst), 2);
    assert_eq!(post(&upstream, "/a", Body::Empty).await.unwrap_err(), BackendError::BrokenOff);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
#[expect(clippy::disallowed_methods, reason = "blocking the reactor is what is tested")]
async fn a_connection_the_server_closed_is_not_used_for_a_write() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/a", |_| Scripted::ThenClose(Box::new(Scripted::ok("x"))));
    fake.on("POST", "/a", |_| Scripted::ok("{}"));
    let upstream = connect(&config(&fake));
    for round in 0..20 {
        read(get(&upstream, "/a").await.unwrap()).await.unwrap();
        if round % 2 == 0 {
            // Blocks the reactor, so that the end is known to the kernel only.
            std::thread::sleep(Duration::from_millis(2));
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(post(&upstream, "/a", Body::memory("x")).await.unwrap().status, 200);
    }
}

#[actix_rt::test]
async fn connections_are_kept_and_their_number_is_limited() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/a", |_| Scripted::Chunked { chunks: 2, size: 10 });
    let upstream =
        connect(&MlflowConfig { max_connections_per_worker: 1, connect_timeout_ms: 50, ..config(&fake) });
    for _ in 0..5 {
        assert_eq!(read(get(&upstream, "/a").await.unwrap()).await.unwrap().len(), 20);
    }
    assert_eq!(fake.connections(), 1);
    assert!(fake.requests().iter().all(|request| request.connection == 0));
    let held = get(&upstream, "/a").await.unwrap();
    assert!(matches!(get(&upstream, "/a").await, Err(BackendError::Overloaded { .. })));
    drop(held);
    assert!(get(&upstream, "/a").await.is_ok(), "a reply that was dropped gives its place back");
}

/// Waits until a counter stands still, and answers with it.
async fn settled(count: impl Fn() -> usize) -> usize {
    let mut last = count();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = count();
        if now == last {
            return now;
        }
        last = now;
    }
}

const BIG: usize = 64 * 1024 * 1024;

#[actix_rt::test]
async fn a_download_goes_no_faster_than_it_is_read() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/big", |_| Scripted::Zeros(BIG));
    let reply = get(&connect(&config(&fake)), "/big").await.unwrap();
    assert_eq!(reply.body.length(), Some(BIG as u64));
    let Body::Stream { mut stream, .. } = reply.body else { panic!("not a stream") };
    let mut read = stream.next().await.unwrap().unwrap().len();
    let written = settled(|| fake.written()).await;
    assert!(written < BIG / 2, "{written} bytes were taken from a server whose answer nobody reads");
    while let Some(chunk) = stream.next().await {
        read += chunk.unwrap().len();
    }
    assert_eq!(read, BIG);
}

#[actix_rt::test]
async fn an_upload_is_read_no_faster_than_the_server_takes_it() {
    let fake = FakeUpstream::start();
    fake.on("PUT", "/big", |request| Scripted::ok(&request.body.len().to_string()));
    fake.pause_reading(true);
    let produced = Arc::new(AtomicUsize::new(0));
    for length in [Some(BIG as u64), None] {
        produced.store(0, Ordering::SeqCst);
        let counter = Arc::clone(&produced);
        let chunk = Bytes::from(vec![7; 64 * 1024]);
        let chunks = stream::iter(0..BIG / chunk.len()).map(move |_| {
            counter.fetch_add(chunk.len(), Ordering::SeqCst);
            Ok(chunk.clone())
        });
        let upstream = connect(&config(&fake));
        let body = Body::Stream { stream: Box::pin(chunks), length };
        let request = outgoing(Method::Put, "/big", "", &[], body);
        let sending = actix_rt::spawn(async move { read(send(&upstream, request).await.unwrap()).await });
        let taken = settled(|| produced.load(Ordering::SeqCst)).await;
        assert!(taken < BIG / 2, "{taken} bytes were read for a server that takes none");
        fake.pause_reading(false);
        assert_eq!(sending.await.unwrap().unwrap(), BIG.to_string().as_bytes());
        fake.pause_reading(true);
    }
}

#[actix_rt::test]
async fn a_spooled_body_is_sent_byte_for_byte_and_again() {
    let fake = FakeUpstream::start();
    fake.on("POST", "/a", |_| Scripted::ok("{}"));
    let upstream = connect(&config(&fake));
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let source =
        stream::iter(bytes.chunks(10_007).map(|c| Ok(Bytes::copy_from_slice(c))).collect::<Vec<_>>());
    let limits =
        SpoolLimits { memory_bytes: 1_000, max_bytes: 2_000_000, directory: directory.path().to_owned() };
    let replay = spool(Box::pin(source), limits).await.unwrap();
    assert!(replay.as_memory().is_none());
    for body in [replay.clone(), replay, ReplayBody::memory(bytes.clone())] {
        post(&upstream, "/a", Body::Replay(body)).await.unwrap();
        let seen = fake.requests().pop().unwrap();
        assert_eq!(seen.header("content-length"), ["1000003"]);
        assert!(seen.header("transfer-encoding").is_empty());
        assert!(seen.body == bytes);
    }
    post(&upstream, "/a", Body::Empty).await.unwrap();
    assert_eq!(fake.requests().pop().unwrap().header("content-length"), ["0"]);
}

#[actix_rt::test]
async fn a_head_keeps_its_length_and_no_body_is_waited_for() {
    let fake = FakeUpstream::start();
    fake.on("HEAD", "/a", |_| Scripted::ok("12345"));
    fake.on("GET", "/same", |_| {
        Scripted::RawAndHang(b"HTTP/1.1 304 Same\r\ncontent-length: 5\r\netag: x\r\n\r\n".to_vec())
    });
    let upstream = connect(&config(&fake));
    let reply = send(&upstream, outgoing(Method::Head, "/a", "", &[], Body::Empty)).await.unwrap();
    assert_eq!(reply.headers.get("content-length"), Some("5"));
    assert!(matches!(reply.body, Body::Empty));
    let reply = get(&upstream, "/same").await.unwrap();
    assert_eq!((reply.status, reply.headers.get("etag")), (304, Some("x")));
    assert!(matches!(reply.body, Body::Empty));
}

#[actix_rt::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let fake = FakeUpstream::start();
    let url = fake.url().replace("http://", "https://");
    let upstream = connect(&MlflowConfig { url: Some(url), connect_timeout_ms: 300, ..config(&fake) });
    assert_eq!(post(&upstream, "/a", Body::memory("x")).await.unwrap_err(), BackendError::Unreachable);
    assert!(fake.requests().is_empty());
}

#[actix_rt::test]
async fn a_body_outlives_the_worker_that_asked_for_it() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/a", |_| Scripted::Chunked { chunks: 3, size: 100_000 });
    let reply = get(&connect(&config(&fake)), "/a").await.unwrap();
    assert_eq!(read(reply).await.unwrap().len(), 300_000);
}

#[actix_rt::test]
async fn a_refused_credential_is_the_gateways_trouble() {
    let fake = FakeUpstream::start();
    fake.on("GET", "/a", |_| Scripted::status(401, "").header("www-authenticate", "Basic"));
    let upstream = connect(&config(&fake));
    assert_eq!(get(&upstream, "/a").await.unwrap_err(), BackendError::CredentialRefused);
}

#[actix_rt::test]
async fn look_ups_find_the_owner_of_each_kind() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    let cases = [
        (
            Owned::Trace,
            "/api/3.0/mlflow/traces/x-1",
            json!({"trace": {"trace_info": {"trace_id": "x-1", "trace_location":
                {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "2"}}}}}),
        ),
        (
            Owned::Run,
            "/api/2.0/mlflow/runs/get",
            json!({"run": {"info": {"run_id": "x-1", "experiment_id": "2"}, "data": {}}}),
        ),
        (
            Owned::LoggedModel,
            "/api/2.0/mlflow/logged-models/x-1",
            json!({"model": {"info": {"model_id": "x-1", "experiment_id": "2"}}}),
        ),
        (
            Owned::Issue,
            "/api/3.0/mlflow/issues/x-1",
            json!({"issue": {"issue_id": "x-1", "experiment_id": "2"}}),
        ),
        (
            Owned::LabelSchema,
            "/api/3.0/mlflow/label-schemas/get",
            json!({"label_schema": {"schema_id": "x-1", "experiment_id": "2"}}),
        ),
        (
            Owned::ReviewQueue,
            "/api/3.0/mlflow/review-queues/get",
            json!({"review_queue": {"queue_id": "x-1", "experiment_id": "2"}}),
        ),
        (
            Owned::PromptJob,
            "/api/3.0/mlflow/prompt-optimization/jobs/x-1",
            json!({"job": {"job_id": "x-1", "experiment_id": "2"}}),
        ),
    ];
    for (kind, path, found) in cases {
        assert_eq!(upstream.owners(kind, "x-1").await.unwrap(), None, "{kind:?}: missing");
        let answer = found.clone();
        fake.on("GET", path, move |_| Scripted::json(&answer));
        let owners = upstream.owners(kind, "x-1").await.unwrap().unwrap();
        assert_eq!(owners, [ExperimentId::parse("2").unwrap()], "{kind:?}");
        let other: serde_json::Value =
            serde_json::from_str(&found.to_string().replace("x-1", "x-2")).unwrap();
        fake.on("GET", path, move |_| Scripted::json(&other));
        assert!(upstream.owners(kind, "x-1").await.is_err(), "{kind:?}: somebody else's");
    }
}

#[actix_rt::test]
async fn a_dataset_without_experiments_is_not_a_missing_one() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    fake.on("GET", "/api/3.0/mlflow/datasets/d-1/experiment-ids", |_| Scripted::json(&json!({})));
    assert_eq!(upstream.owners(Owned::Dataset, "d-1").await.unwrap(), None);
    fake.on("GET", "/api/3.0/mlflow/datasets/d-1", |_| {
        Scripted::json(&json!({"dataset": {"dataset_id": "d-1"}}))
    });
    assert_eq!(upstream.owners(Owned::Dataset, "d-1").await.unwrap(), Some(Vec::new()));
    fake.on("GET", "/api/3.0/mlflow/datasets/d-1/experiment-ids", |_| {
        Scripted::json(&json!({"experiment_ids": ["1", "2"]}))
    });
    assert_eq!(upstream.owners(Owned::Dataset, "d-1").await.unwrap().unwrap().len(), 2);
}

#[actix_rt::test]
async fn only_a_definite_answer_means_that_a_thing_is_missing() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    let path = "/api/2.0/mlflow/runs/get";
    for answer in [
        Scripted::status(404, "<!doctype html>"),
        Scripted::json_status(404, &json!({"error_code": "ENDPOINT_NOT_FOUND"})),
        Scripted::json_status(400, &json!({"error_code": "RESOURCE_DOES_NOT_EXIST"})),
        Scripted::json_status(500, &json!({"error_code": "INTERNAL_ERROR"})),
        Scripted::json(&json!({})),
        Scripted::json(&json!({"run": {"info": {"run_id": "x"}}})),
        Scripted::json(&json!({"run": {"info": {"run_id": "x", "experiment_id": "01"}}})),
        Scripted::ok(r#"{"run": {"info": {"run_id": "x", "experiment_id": "1", "experiment_id": "2"}}}"#),
        Scripted::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n".to_vec()),
        Scripted::redirect("/elsewhere"),
    ] {
        let scripted = answer.clone();
        fake.on("GET", path, move |_| scripted.clone());
        assert!(upstream.owners(Owned::Run, "x").await.is_err(), "{answer:?}");
    }
    for id in ["", ".", ".."] {
        assert!(upstream.owners(Owned::Issue, id).await.is_err());
    }
    fake.forget_requests();
    let _ = upstream.owners(Owned::Issue, "../../2.0/x?y=#z").await;
    assert_eq!(fake.requests()[0].target, "/api/3.0/mlflow/issues/..%2F..%2F2.0%2Fx%3Fy%3D%23z");
}

#[actix_rt::test]
async fn experiments_are_found_by_id_by_name_and_page_by_page() {
    let fake = FakeUpstream::start();
    let upstream = connect(&config(&fake));
    let one = json!({"experiment_id": "1", "name": "a b", "artifact_location": "mlflow-artifacts:/1",
        "lifecycle_stage": "deleted", "tags": []});
    let id = ExperimentId::parse("1").unwrap();
    assert_eq!(upstream.experiment(&id).await.unwrap(), None);
    let reply = json!({"experiment": one});
    fake.on("GET", "/api/2.0/mlflow/experiments/get", {
        let reply = reply.clone();
        move |_| Scripted::json(&reply)
    });
    fake.on("GET", "/api/2.0/mlflow/experiments/get-by-name", move |_| Scripted::json(&reply));
    fake.on("GET", "/api/2.0/mlflow/experiments/search", move |request| {
        let more = !request.query().contains("page_token=n%2B1");
        Scripted::json(&json!({"experiments": [one], "next_page_token": if more { "n+1" } else { "" }}))
    });
    let facts = upstream.experiment(&id).await.unwrap().unwrap();
    assert_eq!((facts.name.as_str(), facts.lifecycle_stage.as_str()), ("a b", "deleted"));
    assert!(upstream.experiment(&ExperimentId::parse("2").unwrap()).await.is_err(), "another one's facts");
    assert_eq!(upstream.experiment_by_name("a b").await.unwrap(), Some(facts));
    assert_eq!(fake.requests().last().unwrap().query(), "experiment_name=a%20b");
    let (page, next) = upstream.experiments(None).await.unwrap();
    assert_eq!((page.len(), next.as_deref()), (1, Some("n+1")));
    assert_eq!(upstream.experiments(next.as_deref()).await.unwrap().1, None);
}

#[test]
fn a_bad_configuration_is_refused_at_the_start() {
    let base = MlflowConfig { url: Some("http://x".to_owned()), ..MlflowConfig::default() };
    assert!(UpstreamShared::new(&base).is_ok());
    for bad in [
        MlflowConfig { url: None, ..base.clone() },
        MlflowConfig { url: Some("x".to_owned()), ..base.clone() },
        MlflowConfig { token: Some("a\nb".into()), ..base.clone() },
        MlflowConfig { token_file: Some("/nowhere/at/all".into()), ..base.clone() },
    ] {
        assert!(UpstreamShared::new(&bad).is_err());
    }
    let secret = MlflowConfig { token: Some("tok-secret".into()), ..base };
    assert!(!format!("{:?}", UpstreamShared::new(&secret).unwrap()).contains("secret"));
}
