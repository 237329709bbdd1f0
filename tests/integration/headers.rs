//! Headers: the caller's do not steer upstream, ours are on every answer, and one that decides something
//! has one value.

use serde_json::json;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, run, trace};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{Gateway, UPSTREAM_TOKEN};
use crate::support::raw_http::{Answer, Request, exchange};

fn read_run() -> Request {
    Request::get(&format!("/api/2.0/mlflow/runs/get?run_id={}", run(A)))
}

#[actix_rt::test]
async fn nothing_that_a_server_might_trust_is_smuggled_through() {
    let gateway = Gateway::start().await;
    let smuggled = [
        ("X-MLflow-Authorization", "Bearer smuggled"),
        ("Proxy-Authorization", "Basic smuggled"),
        ("Cookie", "session=smuggled"),
        ("X-Forwarded-For", "smuggled"),
        ("X-Forwarded-Host", "smuggled"),
        ("X-Forwarded-Proto", "smuggled"),
        ("X-Forwarded-User", "smuggled"),
        ("X-Forwarded-Prefix", "/smuggled"),
        ("Forwarded", "for=smuggled"),
        ("X-Real-Ip", "smuggled"),
        ("X-Remote-User", "smuggled"),
        ("X-Original-Url", "/smuggled"),
        ("X-Http-Method-Override", "smuggled"),
        ("Connection", "x-secret"),
        ("X-Secret", "smuggled"),
        ("Upgrade", "smuggled"),
        ("Te", "smuggled"),
        ("X-Tracegate-Decision-Id", "smuggled"),
    ];
    let mut request = read_run();
    for (name, value) in smuggled {
        request = request.header(name, value);
    }
    gateway.call(Who::Reader, request).await.expect(200);
    let forwarded = gateway.forwarded();
    assert_eq!(forwarded.len(), 1);
    assert_eq!(forwarded[0].header("authorization"), [format!("Bearer {UPSTREAM_TOKEN}")]);
    assert_eq!(forwarded[0].header("host"), [gateway.upstream.address().to_string()]);
    for seen in gateway.upstream.requests() {
        let said = format!("{:?}", seen.headers);
        assert!(!said.contains("smuggled") && !said.contains("x-secret"), "{said}");
        assert!(!said.contains(gateway.token(Who::Reader)), "the caller's token went along: {said}");
        assert_eq!(seen.header("authorization"), [format!("Bearer {UPSTREAM_TOKEN}")]);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn upstreams_cookies_challenges_and_identity_stay_behind() {
    let gateway = Gateway::start().await;
    gateway.upstream.on("GET", "/api/2.0/mlflow/artifacts/list", |_| {
        Scripted::json(&json!({}))
            .header("Set-Cookie", "session=upstreams")
            .header("Server", "gunicorn")
            .header("Strict-Transport-Security", "max-age=1")
            .header("X-Tracegate-Decision-Id", "forged")
            .header("X-Tracegate-Policy-Version", "999999")
    });
    let list = Request::get(&format!("/api/2.0/mlflow/artifacts/list?run_id={}", run(A)));
    let answer = gateway.call(Who::Reader, list).await.expect(200);
    for name in ["set-cookie", "server", "strict-transport-security"] {
        assert_eq!(answer.header(name), None);
    }
    assert_decorated(&answer);
    assert!(!answer.everything().contains("forged") && !answer.everything().contains("999999"));
    gateway.stop().await;
}

#[track_caller]
fn assert_decorated(answer: &Answer) {
    let count = |name: &str| answer.headers.iter().filter(|(known, _)| known == name).count();
    for name in ["x-tracegate-decision-id", "x-tracegate-policy-version", "x-content-type-options"] {
        assert_eq!(count(name), 1, "{name} of {}: {:?}", answer.status, answer.headers);
    }
    assert!(uuid::Uuid::parse_str(&answer.decision_id()).is_ok());
    assert!(answer.header("x-tracegate-policy-version").unwrap().parse::<i64>().unwrap() > 0);
}

#[actix_rt::test]
async fn every_answer_says_which_decision_it_is() {
    let gateway = Gateway::start().await;
    let artifact = format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{}/artifacts/x", run(A));
    gateway.upstream.on("GET", &artifact, |_| Scripted::Chunked { chunks: 3, size: 1000 });
    for (who, request, status) in [
        (Who::Reader, read_run(), 200),
        (Who::Reader, Request::get(&artifact), 200),
        (Who::Stranger, read_run(), 403),
        (Who::Anonymous, read_run(), 401),
        (Who::Reader, Request::get("/nowhere"), 404),
        (Who::Reader, Request::new("PROPFIND", "/health"), 404),
        (Who::Reader, Request::get("/api/2.0/mlflow/runs/get?run_id=x"), 400),
        (Who::Reader, Request::get("/api/%2e%2e/x"), 400),
        (Who::Anonymous, Request::get("/healthz"), 200),
        (Who::Anonymous, Request::get("/readyz"), 200),
        (Who::Anonymous, Request::get("/metrics"), 200),
        (Who::Anonymous, Request::get("/health"), 200),
        (Who::Reader, Request::new("HEAD", "/health"), 200),
        (Who::Reader, Request::post("/api/2.0/mlflow/artifacts/presigned-upload-url", &json!({})), 501),
    ] {
        let shown = format!("{who:?} {} {}", request.method, request.target);
        let answer = gateway.call(who, request).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        assert_decorated(&answer);
        assert!(answer.complete, "{shown}");
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/json"), "{shown}");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&answer.decision_id()), "{shown}: {message}");
        }
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn nobody_is_told_how_to_say_who_one_is() {
    let gateway = Gateway::start().await;
    for authorization in [None, Some("Bearer nonsense"), Some("Basic bm9uc2Vuc2U6eA=="), Some("Digest x")] {
        let mut request = read_run();
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        let answer = request.send(gateway.address).await.expect(401);
        let challenges: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
        assert_eq!(challenges.len(), 2, "{challenges:?}");
        assert_eq!(answer.code(), "UNAUTHENTICATED");
    }
    // A bad credential stops the call even where none is needed.
    Request::get("/health")
        .header("Authorization", "Bearer nonsense")
        .send(gateway.address)
        .await
        .expect(401);
    let basic = |user: &str| {
        use base64::Engine;
        let pair = format!("{user}:{}", gateway.token(Who::Reader));
        read_run().header(
            "Authorization",
            &format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)),
        )
    };
    basic("reader").send(gateway.address).await.expect(200);
    basic("token").send(gateway.address).await.expect(200);
    basic("admin").send(gateway.address).await.expect(401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_header_that_decides_something_is_sent_once() {
    let gateway = Gateway::start().await;
    for (name, first, second) in [
        ("X-Mlflow-Workspace", "default", "default"),
        ("X-Mlflow-Workspace", "default", "other"),
        ("X-Tracegate-Minimum-Policy-Version", "1", "1"),
    ] {
        let doubled = read_run().header(name, first).header(name, second);
        let answer = gateway.call(Who::Reader, doubled).await.expect(400);
        assert!(answer.text().contains(&name.to_lowercase()), "{}", answer.text());
    }
    for name in ["X-Mlflow-Experiment-Id", "X-Mlflow-Run-Id", "Content-Type", "Content-Encoding"] {
        let mut export = Request::new("POST", "/v1/traces").body("{}");
        let value = |name: &str| match name {
            "X-Mlflow-Experiment-Id" => A.to_owned(),
            "X-Mlflow-Run-Id" => run(A),
            "Content-Encoding" => "gzip".to_owned(),
            _ => "application/json".to_owned(),
        };
        for sent in ["X-Mlflow-Experiment-Id", "Content-Type", name, name] {
            if sent == name || sent != "Content-Encoding" {
                export = export.header(sent, &value(sent));
            }
        }
        gateway.call(Who::Editor, export).await.expect(400);
    }
    // Two credentials are no credential, whatever they say.
    let token = format!("Bearer {}", gateway.token(Who::Admin));
    let stranger = read_run().header("Authorization", &token);
    let status = gateway.call(Who::Stranger, stranger).await.status;
    assert!(matches!(status, 400 | 401), "{status}");
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_request_with_two_lengths_is_not_two_requests() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Who::Reader);
    let hidden = format!(
        "GET /api/2.0/mlflow/runs/get?run_id={} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n",
        run(A)
    );
    for framing in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +2\r\n",
    ] {
        let head = format!(
            "POST /api/3.0/mlflow/traces/batchGetInfos HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{framing}\r\n0\r\n\r\n{hidden}"
        );
        let bytes = exchange(gateway.address, head.as_bytes()).await;
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{framing}: {text}");
        assert!(!text.starts_with("HTTP/1.1 200"), "{framing}: {text}");
    }
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_caller_may_demand_a_policy_version() {
    let gateway = Gateway::start().await;
    let at_least =
        |version: i64| read_run().header("X-Tracegate-Minimum-Policy-Version", &version.to_string());
    let version = gateway.app.policy.version();
    gateway.call(Who::Reader, at_least(version)).await.expect(200);
    let ahead = gateway.call(Who::Reader, at_least(version + 1)).await.expect(503);
    assert!(ahead.header("retry-after").is_some());
    assert_eq!(ahead.code(), "TEMPORARILY_UNAVAILABLE");
    // A change that this replica has not heard of is fetched, not waited for.
    let now = gateway.app.clock.now();
    gateway
        .app
        .store
        .ensure_principal(&tracegate::access::Principal::user("new").unwrap(), "test", now)
        .await
        .unwrap();
    let group = tracegate::access::Principal::group("team").unwrap();
    let change = gateway.app.store.add_member(&group, &Who::Reader.principal(), "test", now).await.unwrap();
    let answer = gateway.call(Who::Reader, at_least(change.version)).await.expect(200);
    assert_eq!(answer.header("x-tracegate-policy-version"), Some(change.version.to_string().as_str()));
    gateway.call(Who::Reader, read_run().header("X-Tracegate-Minimum-Policy-Version", "x")).await.expect(400);
    gateway.stop().await;
}

#[actix_rt::test]
async fn other_workspaces_are_refused() {
    let gateway = Gateway::start().await;
    let in_workspace = |name: &str| {
        Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)))
            .header("X-Mlflow-Workspace", name)
    };
    gateway.call(Who::Reader, in_workspace("default")).await.expect(200);
    for other in ["other", "Default", "default,other", "default;x"] {
        gateway.call(Who::Reader, in_workspace(other)).await.expect(400);
    }
    assert_eq!(gateway.forwarded().len(), 1);
    for seen in gateway.upstream.requests() {
        assert!(seen.header("x-mlflow-workspace").is_empty());
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn pages_of_other_sites_get_nothing_done() {
    let gateway = Gateway::start().await;
    let body = json!({"run_id": run(A), "key": "k", "value": "v"});
    let write = || Request::post("/api/2.0/mlflow/runs/log-parameter", &body);
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "http://gateway.evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        gateway.call(Who::Editor, write().header(name, value)).await.expect(403);
    }
    assert!(gateway.forwarded().is_empty());
    gateway.call(Who::Editor, write().header("Origin", "http://gateway")).await.expect(200);
    gateway.call(Who::Editor, write().header("Sec-Fetch-Site", "same-origin")).await.expect(200);
    gateway.stop().await;
}
