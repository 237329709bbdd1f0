//! TLS of our own: both protocols, certificates that change, and clients that show theirs.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracegate::access::Principal;
use tracegate::config::Config;
use tracegate::config::identity::CertificateConfig;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, run};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::Request;
use crate::support::secure::{Authority, Signed, Stream, TlsFiles, call2, connect, exchange, http2};

fn read_run() -> String {
    format!("/api/2.0/mlflow/runs/get?run_id={}", run(A))
}

fn with_tls(config: &mut Config, files: &TlsFiles) {
    config.server.tls_certificate = Some(files.path("certificate.pem"));
    config.server.tls_key = Some(files.path("key.pem"));
    config.server.tls_reload_seconds = 1;
    // The machine that runs the tests may be busy.
    config.server.header_timeout_ms = 120_000;
}

/// A gateway with a certificate of `authority`, and the files that it reads.
async fn secure(authority: &Authority, change: impl FnOnce(&mut Config, &TlsFiles)) -> (Gateway, TlsFiles) {
    let files = TlsFiles::new(&authority.sign(|_| {}));
    let gateway = Gateway::start_with(|config| {
        with_tls(config, &files);
        change(config, &files);
    })
    .await;
    (gateway, files)
}

fn request2(gateway: &Gateway, who: Who, method: &str, target: &str) -> http02::request::Builder {
    let mut builder =
        http02::Request::builder().method(method).uri(format!("https://traces.example{target}"));
    builder = builder.header("user-agent", AGENT);
    if who != Who::Anonymous {
        builder = builder.header("authorization", format!("Bearer {}", gateway.token(who)));
    }
    builder
}

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

#[actix_rt::test]
async fn both_protocols_answer_alike_and_say_that_tls_is_spoken() {
    let authority = Authority::new("ours");
    let (gateway, _files) = secure(&authority, |_, _| {}).await;
    let mut stream = connect(gateway.address, &authority, None, "http/1.1").await.unwrap();
    let request = gateway.signed(Who::Reader, Request::get(&read_run()));
    let first = exchange(&mut stream, &request).await.unwrap().expect(200);
    assert_eq!(first.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(first.header("cache-control"), Some("no-store"));

    let send = http2(connect(gateway.address, &authority, None, "h2").await.unwrap()).await;
    let (status, headers, body) =
        call2(&send, request2(&gateway, Who::Reader, "GET", &read_run()).body(()).unwrap(), None)
            .await
            .unwrap();
    assert_eq!((status, body.as_bytes()), (200, &first.body[..]), "{headers}");
    for name in
        ["strict-transport-security", "x-tracegate-decision-id", "no-store", "content-length", "\"date\""]
    {
        assert!(headers.contains(name), "{name} is missing: {headers}");
    }
    // A body without a length, and nobody who may write.
    let body = Bytes::from(json!({ "run_id": run(A), "key": "k", "value": "v" }).to_string());
    for (who, expected) in [(Who::Editor, 200), (Who::Reader, 403), (Who::Anonymous, 401)] {
        let request = request2(&gateway, who, "POST", "/api/2.0/mlflow/runs/set-tag")
            .header("content-type", "application/json");
        let answer = call2(&send, request.body(()).unwrap(), Some(body.clone())).await.unwrap();
        assert_eq!(answer.0, expected, "{}", answer.2);
    }
    // Many at once on one connection.
    let many = (0..50)
        .map(|_| call2(&send, request2(&gateway, Who::Reader, "GET", &read_run()).body(()).unwrap(), None));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.unwrap().0, 200);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn plain_http_gets_nothing_where_tls_is_spoken() {
    let authority = Authority::new("ours");
    let (gateway, _files) = secure(&authority, |_, _| {}).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(&gateway.signed(Who::Reader, Request::get(&read_run())).to_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert!(gateway.forwarded().is_empty());
    // Whom the client does not trust, it does not talk to.
    assert!(connect(gateway.address, &Authority::new("other"), None, "h2").await.is_err());
    gateway.stop().await;
}

#[actix_rt::test]
async fn what_http1_refuses_is_refused_in_http2() {
    let authority = Authority::new("ours");
    let (gateway, _files) = secure(&authority, |_, _| {}).await;
    let send = http2(connect(gateway.address, &authority, None, "h2").await.unwrap()).await;
    let tag = json!({ "run_id": run(A), "key": "k", "value": "v" }).to_string();
    let set_tag = || request2(&gateway, Who::Editor, "POST", "/api/2.0/mlflow/runs/set-tag");
    let body = || Some(Bytes::from(tag.clone()));
    // The site of the page is compared with `:authority`.
    for (origin, expected) in [("https://evil.example", 403), ("https://traces.example", 200)] {
        let answer =
            call2(&send, set_tag().header("origin", origin).body(()).unwrap(), body()).await.unwrap();
        assert_eq!(answer.0, expected, "{}", answer.2);
    }
    // Another `host` beside it would be a second answer to that.
    let two = set_tag().header("host", "evil.example").header("origin", "https://evil.example");
    assert_eq!(call2(&send, two.body(()).unwrap(), body()).await.unwrap().0, 400);
    let same = set_tag().header("host", "traces.example").header("origin", "https://traces.example");
    assert_eq!(call2(&send, same.body(()).unwrap(), body()).await.unwrap().0, 200);
    // A body where none is read, without any header that says so.
    let read = request2(&gateway, Who::Reader, "GET", &read_run()).body(()).unwrap();
    let answer = call2(&send, read, Some(Bytes::from_static(b"{}"))).await.unwrap();
    assert_eq!(answer.0, 400, "{}", answer.2);
    // Two credentials.
    let token = format!("Bearer {}", gateway.token(Who::Reader));
    let two = request2(&gateway, Who::Admin, "GET", &read_run()).header("authorization", token);
    assert_eq!(call2(&send, two.body(()).unwrap(), None).await.unwrap().0, 401);
    // Paths with two readings, and more of a head than is taken.
    let path = request2(&gateway, Who::Reader, "GET", "/api/2.0/mlflow/../mlflow/runs/get");
    assert_eq!(call2(&send, path.body(()).unwrap(), None).await.unwrap().0, 400);
    let large = request2(&gateway, Who::Reader, "GET", &read_run()).header("x-large", "a".repeat(80 * 1024));
    match call2(&send, large.body(()).unwrap(), None).await {
        Ok((status, ..)) => assert_eq!(status, 431),
        Err(error) => assert!(error.is_reset() || error.is_go_away() || error.is_io(), "{error}"),
    }
    // More than the body's length says.
    let send = http2(connect(gateway.address, &authority, None, "h2").await.unwrap()).await;
    let short = set_tag().header("content-length", "3").body(()).unwrap();
    assert!(!matches!(call2(&send, short, body()).await, Ok((200, ..))));
    assert_eq!(gateway.forwarded().len(), 2, "the two that were answered 200");
    gateway.stop().await;
}

/// A call that is taken back is no stream any more, but the work that it began goes on.
#[actix_rt::test]
async fn calls_that_are_taken_back_at_once_count_until_they_are_over() {
    let authority = Authority::new("ours");
    let (gateway, _files) = secure(&authority, |config, _| config.server.max_calls_per_connection = 3).await;
    gateway.upstream.on("POST", "/api/2.0/mlflow/runs/set-tag", |_| {
        Scripted::After(Duration::from_secs(20), Box::new(Scripted::ok("{}")))
    });
    let send = http2(connect(gateway.address, &authority, None, "h2").await.unwrap()).await;
    let tag = json!({ "run_id": run(A), "key": "k", "value": "v" }).to_string();
    let set_tag = || {
        let request = request2(&gateway, Who::Editor, "POST", "/api/2.0/mlflow/runs/set-tag");
        request.body(()).unwrap()
    };
    for begun in 1..=3 {
        let mut ready = send.clone().ready().await.unwrap();
        let (_answer, mut sending) = ready.send_request(set_tag(), false).unwrap();
        sending.send_data(Bytes::from(tag.clone()), true).unwrap();
        let gateway = &gateway;
        until("the call has reached the upstream", || async move { gateway.forwarded().len() == begun })
            .await;
        sending.send_reset(h2::Reason::CANCEL);
    }
    let refused = call2(&send, set_tag(), Some(Bytes::from(tag.clone()))).await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM), "{refused}");
    // Others are not kept from anything.
    let other = http2(connect(gateway.address, &authority, None, "h2").await.unwrap()).await;
    let read = request2(&gateway, Who::Reader, "GET", &read_run()).body(()).unwrap();
    assert_eq!(call2(&other, read, None).await.unwrap().0, 200);
    assert_eq!(gateway.forwarded().len(), 4);
    gateway.stop().await;
}

fn serial(stream: &Stream) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[actix_rt::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_never() {
    let authority = Authority::new("ours");
    let (gateway, files) = secure(&authority, |_, _| {}).await;
    let mut open = connect(gateway.address, &authority, None, "http/1.1").await.unwrap();
    let first = serial(&open);
    let now = || async { serial(&connect(gateway.address, &authority, None, "http/1.1").await.unwrap()) };

    let expired = authority.sign(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (certificate, key) in
        [("no certificate", None), (expired.pem.as_str(), Some(expired.key_pem.as_str()))]
    {
        let failed = metric(&gateway, "tracegate_tls_reload_failed_total");
        files.write("certificate.pem", certificate);
        if let Some(key) = key {
            files.write("key.pem", key);
        }
        let app = gateway.app.clone();
        until("the bad certificate is refused", || async {
            value(&app.metrics.encode(), "tracegate_tls_reload_failed_total") > failed
        })
        .await;
        assert_eq!(now().await, first);
    }
    let second = authority.sign(|_| {});
    files.rotate(&second);
    until("the new certificate is in use", || async { now().await == second.der.to_vec() }).await;
    // Who came before is served on.
    let request = gateway.signed(Who::Reader, Request::get(&read_run()));
    exchange(&mut open, &request).await.unwrap().expect(200);
    gateway.stop().await;
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().unwrap())
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    value(&gateway.app.metrics.encode(), name)
}

const SPIFFE: &str = "spiffe://example.org/agent";

/// A gateway that knows an agent by its certificate, and grants it to read.
async fn with_agent(ours: &Authority, clients: &Authority) -> (Gateway, TlsFiles) {
    let (gateway, files) = secure(ours, |config, files| {
        config.server.tls_client_ca = Some(files.write("clients.pem", &clients.pem));
        config.identity.token_cache_seconds = 0;
        let rule = |uri: &str, name: &str| CertificateConfig {
            uri: Some(uri.to_owned()),
            service_principal: name.to_owned(),
            ..CertificateConfig::default()
        };
        config.identity.certificates =
            vec![rule(SPIFFE, "agent"), rule("spiffe://example.org/unknown", "unknown")];
    })
    .await;
    let agent = Principal::service_principal("agent").unwrap();
    gateway.app.store.ensure_principal(&agent, "test", gateway.app.clock.now()).await.unwrap();
    gateway.grant_to(&agent, "experiment:1", "CAN_READ").await;
    (gateway, files)
}

async fn ask(
    gateway: &Gateway,
    ours: &Authority,
    shown: Option<&Signed>,
    request: Request,
) -> Option<(u16, String)> {
    let mut stream = connect(gateway.address, ours, shown, "http/1.1").await.ok()?;
    let answer = exchange(&mut stream, &request).await.ok()?;
    Some((answer.status, answer.decision_id()))
}

#[actix_rt::test]
async fn a_client_certificate_is_its_service_principal_and_a_credential_decides_alone() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (gateway, _files) = with_agent(&ours, &clients).await;
    let agent = clients.client(SPIFFE);
    let read = || Request::get(&read_run()).header("User-Agent", AGENT);
    let (status, decision) = ask(&gateway, &ours, Some(&agent), read()).await.unwrap();
    assert_eq!(status, 200);
    let record = gateway.ended(&decision).await;
    assert_eq!(record.principal.as_deref(), Some("service_principal:agent"));
    let proof = record.proof.unwrap();
    assert!(proof.starts_with("certificate:") && proof.len() == "certificate:".len() + 64, "{proof}");

    // It may read and no more; by HTTP/2 it is the same one.
    let tag = json!({ "run_id": run(A), "key": "k", "value": "v" });
    let write = Request::post("/api/2.0/mlflow/runs/set-tag", &tag);
    assert_eq!(ask(&gateway, &ours, Some(&agent), write).await.unwrap().0, 403);
    let send = http2(connect(gateway.address, &ours, Some(&agent), "h2").await.unwrap()).await;
    let request = request2(&gateway, Who::Anonymous, "GET", &read_run()).body(()).unwrap();
    assert_eq!(call2(&send, request, None).await.unwrap().0, 200);

    // With a credential, good or bad, the certificate says nothing.
    let (status, decision) =
        ask(&gateway, &ours, Some(&agent), gateway.signed(Who::Stranger, read())).await.unwrap();
    assert_eq!(status, 403);
    assert_eq!(gateway.ended(&decision).await.principal.as_deref(), Some("user:stranger"));
    for bad in ["Bearer nonsense", "", "Negotiate x"] {
        let request = read().header("Authorization", bad);
        assert_eq!(ask(&gateway, &ours, Some(&agent), request).await.unwrap().0, 401, "{bad}");
    }
    // Without a certificate, other schemes.
    assert_eq!(ask(&gateway, &ours, None, gateway.signed(Who::Reader, read())).await.unwrap().0, 200);
    assert_eq!(ask(&gateway, &ours, None, read()).await.unwrap().0, 401);
    // What a header says of a certificate is nobody's word.
    for name in ["X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Client-Cert"] {
        let request = read().header(name, &format!("URI={SPIFFE}"));
        assert_eq!(ask(&gateway, &ours, None, request).await.unwrap().0, 401, "{name}");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_certificate_that_is_not_for_us_identifies_nobody() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (gateway, _files) = with_agent(&ours, &clients).await;
    let read = || Request::get(&read_run()).header("User-Agent", AGENT);
    // Of another authority, of one with the same name, of ourselves, and expired: no connection at all.
    let expired = clients.sign(|params| {
        params.subject_alt_names = vec![rcgen::SanType::URI(SPIFFE.try_into().unwrap())];
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let foreign = [
        Authority::new("others").client(SPIFFE),
        Authority::new("clients").client(SPIFFE),
        ours.client(SPIFFE),
        expired,
    ];
    for signed in &foreign {
        assert_eq!(ask(&gateway, &ours, Some(signed), read()).await, None);
    }
    // Good, but for nobody here, for nobody known, and for two names of which one is longer.
    for uri in ["spiffe://example.org/other", "spiffe://example.org/unknown", "spiffe://example.org/agent/x"]
    {
        assert_eq!(ask(&gateway, &ours, Some(&clients.client(uri)), read()).await.unwrap().0, 401, "{uri}");
    }
    assert!(gateway.forwarded().is_empty());
    // Deactivated.
    let agent = clients.client(SPIFFE);
    assert_eq!(ask(&gateway, &ours, Some(&agent), read()).await.unwrap().0, 200);
    gateway.deactivate("service_principal:agent").await;
    assert_eq!(ask(&gateway, &ours, Some(&agent), read()).await.unwrap().0, 401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_open_connection_outlives_neither_its_certificate_nor_its_authority() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (gateway, files) = with_agent(&ours, &clients).await;
    let soon = clients.sign(|params| {
        params.subject_alt_names = vec![rcgen::SanType::URI(SPIFFE.try_into().unwrap())];
        // To the second, and long enough to connect.
        let now = gateway.app.clock.now().0 / 1000;
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now as u64 + 12);
    });
    let read = || request2(&gateway, Who::Anonymous, "GET", &read_run()).body(()).unwrap();
    let short = http2(connect(gateway.address, &ours, Some(&soon), "h2").await.unwrap()).await;
    let long =
        http2(connect(gateway.address, &ours, Some(&clients.client(SPIFFE)), "h2").await.unwrap()).await;
    assert_eq!(call2(&short, read(), None).await.unwrap().0, 200);
    assert_eq!(call2(&long, read(), None).await.unwrap().0, 200);
    until("the certificate has expired", || async { call2(&short, read(), None).await.unwrap().0 == 401 })
        .await;
    assert_eq!(call2(&long, read(), None).await.unwrap().0, 200);
    files.write("clients.pem", &Authority::new("next").pem);
    until("its authority has gone", || async { call2(&long, read(), None).await.unwrap().0 == 401 }).await;
    gateway.stop().await;
}

#[actix_rt::test]
async fn where_a_certificate_is_demanded_nobody_comes_in_without() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (gateway, _files) = secure(&ours, |config, files| {
        config.server.tls_client_ca = Some(files.write("clients.pem", &clients.pem));
        config.server.tls_client_required = true;
    })
    .await;
    let request = || gateway.signed(Who::Reader, Request::get(&read_run()));
    assert_eq!(ask(&gateway, &ours, None, request()).await, None);
    assert_eq!(ask(&gateway, &ours, Some(&clients.client(SPIFFE)), request()).await.unwrap().0, 200);
    // No rule says whom certificates name: it opens the connection, and stops nobody who says who he is
    // otherwise, or need not.
    let open = || Request::get("/health");
    assert_eq!(ask(&gateway, &ours, Some(&clients.client(SPIFFE)), open()).await.unwrap().0, 200);
    let nobody = Request::get(&read_run());
    assert_eq!(ask(&gateway, &ours, Some(&clients.client(SPIFFE)), nobody).await.unwrap().0, 401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_key_of_another_certificate_refuses_the_start() {
    let authority = Authority::new("ours");
    let files = TlsFiles::new(&authority.sign(|_| {}));
    files.write("key.pem", &authority.sign(|_| {}).key_pem);
    let mut config = Config::default();
    with_tls(&mut config, &files);
    config.server.listen = "127.0.0.1:0".to_owned();
    config.server.data_dir = files.directory().to_owned();
    let metrics = tracegate::telemetry::Metrics::default();
    let (app, _) = tracegate::app::App::open(config, metrics).await.unwrap();
    let refused = tracegate::http::start(app).unwrap_err().to_string();
    assert!(refused.contains("server.tls_key"), "{refused}");
}
