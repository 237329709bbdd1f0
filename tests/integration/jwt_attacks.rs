//! Tokens that an attacker sends, through the whole gateway: each is refused, nothing of it goes anywhere, and
//! the token stands in no log and no record.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tracegate::clock::{Clock, SystemClock};
use tracegate::config::identity::IssuerConfig;

use crate::support::fake_mlflow::{A, run};
use crate::support::gateway::{AGENT, Gateway, holds};
use crate::support::logs;
use crate::support::raw_http::{Answer, Request};

const SECRET: &str = "a secret of at least thirty-two bytes";
const ISSUER: &str = "https://issuer.example";

async fn gateway() -> Gateway {
    Gateway::start_with(|config| {
        config.identity.groups_claim = Some("groups".into());
        config.identity.issuers = vec![IssuerConfig {
            issuer: ISSUER.into(),
            audience: vec!["tracegate".into()],
            hs256_secret: Some(SECRET.into()),
            ..Default::default()
        }];
    })
    .await
}

fn claims(replaced: Value) -> Value {
    let now = SystemClock.now().0 / 1000;
    // `reader` may read experiment 1.
    let mut claims =
        json!({"iss": ISSUER, "aud": "tracegate", "sub": "reader", "exp": now + 600, "nbf": now - 600});
    for (name, value) in replaced.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn signed(claims: &Value) -> String {
    signed_as(&Header::new(Algorithm::HS256), claims, SECRET)
}

fn signed_as(header: &Header, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Signed, whatever header and claims are.
fn signed_text(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn read_run() -> Request {
    Request::get(&format!("/api/2.0/mlflow/runs/get?run_id={}", run(A))).header("User-Agent", AGENT)
}

async fn bearer(gateway: &Gateway, token: &str) -> Answer {
    read_run().header("Authorization", &format!("Bearer {token}")).send(gateway.address).await
}

#[actix_rt::test]
async fn every_attack_is_refused_and_nothing_of_it_goes_on() {
    let gateway = gateway().await;
    let good = signed(&claims(json!({})));
    bearer(&gateway, &good).await.expect(200);
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), parts[1]);
    let other_claims =
        URL_SAFE_NO_PAD.encode(claims(json!({"sub": "admin", "groups": ["admins"]})).to_string());
    let public =
        std::fs::read_to_string(format!("{}/tests/fixtures/keys/jwks.json", env!("CARGO_MANIFEST_DIR")));
    let text = claims(json!({})).to_string();
    let twice = format!("{},\"sub\":\"admin\"}}", &text[..text.len() - 1]);
    let nested = format!("{},\"x\":{}{}}}", &text[..text.len() - 1], "[".repeat(900), "]".repeat(900));
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    bearer(&gateway, &signed_text(header, &text)).await.expect(200);
    let before = gateway.forwarded().len();
    let tricks = ["../../../dev/null", "/dev/null", "' OR 1=1 --", "http://127.0.0.1:1/jwks"];
    let mut attacks: Vec<(String, String)> = [
        ("no algorithm", unsigned(r#"{"alg":"none","typ":"JWT"}"#)),
        ("no algorithm, another way", unsigned(r#"{"alg":"NoNe"}"#)),
        ("no header", format!(".{}.{}", parts[1], parts[2])),
        ("another's claims under this signature", format!("{}.{other_claims}.{}", parts[0], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "a published key as the secret",
            signed_as(&Header::new(Algorithm::HS256), &claims(json!({})), &public.unwrap()),
        ),
        (
            "another algorithm of its family",
            signed_as(&Header::new(Algorithm::HS512), &claims(json!({})), SECRET),
        ),
        ("another issuer", signed(&claims(json!({"iss": "https://other.example"})))),
        ("another audience", signed(&claims(json!({"aud": "other"})))),
        ("several audiences, none ours", signed(&claims(json!({"aud": ["a", "b"]})))),
        ("no audience", signed(&claims(json!({"aud": null})))),
        ("expired", signed(&claims(json!({"exp": 1_700_000_000})))),
        ("without end", signed(&claims(json!({"exp": null})))),
        ("an end that is no time", signed(&claims(json!({"exp": "9999999999"})))),
        ("not yet", signed(&claims(json!({"nbf": 99_999_999_999_u64})))),
        ("huge", signed(&claims(json!({"x": "a".repeat(20_000)})))),
        ("a claim twice", signed_text(header, &twice)),
        ("an algorithm twice", signed_text(r#"{"alg":"none","alg":"HS256"}"#, &text)),
        ("nested deeply", signed_text(header, &nested)),
        ("a critical header", signed_text(r#"{"alg":"HS256","crit":["x"],"x":1}"#, &text)),
        ("a name that none has", signed(&claims(json!({"sub": "a,b"})))),
        ("two tokens joined", format!("{good}, Bearer {good}")),
        ("two tokens between spaces", format!("{good} {good}")),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into();
    for kid in tricks {
        // A shared secret has no id: whatever the token names, it is verified by that secret alone.
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        attacks.push((format!("key id {kid}"), signed_as(&header, &claims(json!({})), "")));
    }
    for member in ["jku", "x5u"] {
        let header = format!(r#"{{"alg":"HS256","{member}":"{}/jwks"}}"#, gateway.upstream.url());
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), parts[1]);
        attacks.push((member.to_owned(), format!("{message}.AAAA")));
    }
    for (name, token) in &attacks {
        let answer = bearer(&gateway, token).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text());
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{name}");
        assert!(answer.header("www-authenticate").is_some(), "{name}");
        // As the password of Basic, it is the same token.
        let basic = format!("Basic {}", STANDARD.encode(format!("reader:{token}")));
        let answer = read_run().header("Authorization", &basic).send(gateway.address).await;
        assert_eq!(answer.status, 401, "{name} by Basic: {}", answer.text());
        for part in token.split('.').filter(|part| part.len() > 40) {
            assert!(!answer.everything().contains(part), "{name}: the token is said again");
        }
    }
    assert_eq!(gateway.forwarded().len(), before);
    gateway.stop().await;
}

#[actix_rt::test]
async fn two_credentials_are_none() {
    let gateway = gateway().await;
    let (one, two) = (signed(&claims(json!({}))), signed(&claims(json!({"sub": "editor"}))));
    let bearer = |token: &str| format!("Bearer {token}");
    let basic = format!("Basic {}", STANDARD.encode(format!("reader:{one}")));
    for (first, second) in [
        (bearer(&one), bearer(&two)),
        (bearer(&one), bearer(&one)),
        (bearer(&one), basic.clone()),
        (basic.clone(), bearer(&two)),
        (bearer(&one), String::new()),
    ] {
        let request = read_run().header("Authorization", &first).header("authorization", &second);
        request.send(gateway.address).await.expect(401);
    }
    let joined = format!("{}, {basic}", bearer(&one));
    read_run().header("Authorization", &joined).send(gateway.address).await.expect(401);
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_token_anywhere_but_in_its_header_is_no_credential_and_is_written_nowhere() {
    let gateway = gateway().await;
    let token = signed(&claims(json!({"jti": "in-the-query"})));
    let opaque = gateway.token(crate::support::callers::Who::Reader).to_owned();
    for secret in [&token, &opaque] {
        for name in ["access_token", "token", "authorization", "Authorization", "api_key", "jwt"] {
            let target = format!("/api/2.0/mlflow/runs/get?run_id={}&{name}={secret}", run(A));
            Request::get(&target).header("User-Agent", AGENT).send(gateway.address).await.expect(401);
        }
        let body = format!("access_token={secret}");
        let form = Request::new("POST", "/api/2.0/mlflow/runs/search").header("User-Agent", AGENT);
        let form = form.header("Content-Type", "application/x-www-form-urlencoded").body(body);
        form.send(gateway.address).await.expect(401);
        for header in
            ["Cookie", "X-Access-Token", "X-Auth-Token", "X-MLflow-Authorization", "Proxy-Authorization"]
        {
            let request = read_run().header(header, &format!("Bearer {secret}"));
            request.send(gateway.address).await.expect(401);
        }
    }
    assert!(gateway.forwarded().is_empty());
    gateway.app.records.flush(std::time::Duration::from_secs(20)).await.unwrap();
    let (said, spool) = (logs::collected(), gateway.spool_bytes());
    for secret in [&token, &opaque] {
        assert!(!said.contains(secret.as_str()), "a secret was logged");
        assert!(!holds(&spool, secret), "a secret was recorded");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn groups_that_nobody_signed_give_nothing() {
    let gateway = gateway().await;
    let nobody = signed(&claims(json!({"sub": "newcomer"})));
    for name in ["X-Groups", "X-Forwarded-Groups", "X-Auth-Request-Groups", "Groups", "X-Remote-Group"] {
        let request = read_run().header("Authorization", &format!("Bearer {nobody}")).header(name, "admins");
        request.send(gateway.address).await.expect(403);
    }
    // Signed by somebody who may name groups, but not administrators.
    let named = signed(&claims(json!({"sub": "newcomer", "groups": ["admins"]})));
    bearer(&gateway, &named).await.expect(403);
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}
