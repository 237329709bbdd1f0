//! An issuer's keys: rotation, outages, and issuers that answer nonsense.

use super::issuer_server::{IssuerServer, jwk, sign, sign_as};
use super::*;

#[tokio::test]
async fn keys_are_fetched_once_and_once_more_for_a_new_one() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let token = |key: &str, jti: &str| sign(key, &claims(&server.url, json!({"jti": jti})));
    for number in 0..5 {
        world.bearer(&token("rsa-1", &number.to_string())).await.unwrap();
    }
    assert_eq!(server.asked(), 1);
    server.publish(&["rsa-2"]);
    world.bearer(&token("rsa-2", "a")).await.unwrap();
    assert_eq!(server.asked(), 2);
    // The old key is gone with its publication.
    assert!(world.refusal(&token("rsa-1", "b")).await.contains("does not publish"));
}

#[tokio::test]
async fn invented_key_ids_do_not_become_requests_to_the_issuer() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let good = claims(&server.url, json!({}));
    world.bearer(&sign("rsa-1", &good)).await.unwrap();
    for number in 0..20 {
        assert!(world.bearer(&sign_as("rsa-1", Some(&format!("invented{number}")), &good)).await.is_err());
    }
    assert_eq!(server.asked(), 2);
    world.clock.advance(30_000);
    assert!(world.bearer(&sign_as("rsa-1", Some("invented"), &good)).await.is_err());
    assert_eq!(server.asked(), 3);
    let many =
        (0..10).map(|number| sign("rsa-1", &claims(&server.url, json!({"jti": format!("m{number}")}))));
    for token in many {
        world.bearer(&token).await.unwrap();
    }
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn first_callers_at_once_ask_the_issuer_once() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let tokens: Vec<String> = (0..20)
        .map(|number| sign("rsa-1", &claims(&server.url, json!({"jti": number.to_string()}))))
        .collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| world.bearer(token))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn old_keys_serve_while_the_issuer_is_down() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let token = |key: &str, jti: &str| {
        sign(key, &claims(&server.url, json!({"jti": jti, "exp": NOW / 1000 + 36_000})))
    };
    world.bearer(&token("rsa-1", "a")).await.unwrap();
    server.go_down();
    world.clock.advance(3_600_000);
    for number in 0..5 {
        world.bearer(&token("rsa-1", &number.to_string())).await.unwrap();
    }
    assert_eq!(server.asked(), 2);
    // A new key cannot be had, and that is no fault of the token's.
    assert!(world.unavailable(&token("rsa-2", "b")).await);
    server.publish(&["rsa-2"]);
    world.clock.advance(30_000);
    world.bearer(&token("rsa-2", "c")).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_never_answered_makes_its_tokens_wait_and_no_others() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    server.go_down();
    let world =
        World::new(IdentityConfig { issuers: vec![server.issuer(), secret_issuer()], ..Default::default() })
            .await;
    let token = sign("rsa-1", &claims(&server.url, json!({})));
    assert!(world.unavailable(&token).await && world.unavailable(&token).await);
    assert_eq!(server.asked(), 1);
    world.bearer(&signed_with_secret(&claims(SECRET_ISSUER, json!({})))).await.unwrap();
    server.publish(&["rsa-1"]);
    world.clock.advance(3_000);
    world.bearer(&token).await.unwrap();
}

#[tokio::test]
async fn without_a_key_id_exactly_one_key_must_fit() {
    let server = IssuerServer::start(&["rsa-1", "ec-p256"]).await;
    let world = World::new(server.config()).await;
    let token = |jti: &str| sign_as("rsa-1", None, &claims(&server.url, json!({"jti": jti})));
    world.bearer(&token("a")).await.unwrap();

    let server = IssuerServer::start(&["rsa-1", "rsa-2"]).await;
    let world = World::new(server.config()).await;
    let token = sign_as("rsa-1", None, &claims(&server.url, json!({})));
    assert!(world.refusal(&token).await.contains("does not say which"));
}

#[tokio::test]
async fn one_strange_key_does_not_spoil_the_others() {
    let server = IssuerServer::start(&[]).await;
    let strange = json!({"kty": "OKP", "crv": "Ed448", "kid": "rsa-1", "x": "AA"});
    server.publish_jwks(json!({"keys": [strange, {"kty": 7}, "text", jwk("rsa-1")]}));
    let world = World::new(server.config()).await;
    world.bearer(&sign("rsa-1", &claims(&server.url, json!({})))).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_too_large_or_no_keys_at_all_are_not_taken() {
    let padded = json!({"keys": [jwk("rsa-1")], "padding": "x".repeat(300_000)}).to_string();
    let unusable = json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa-1"}]}).to_string();
    for (status, body) in
        [(200, padded), (200, unusable), (200, "<html>".into()), (200, "{}".into()), (302, String::new())]
    {
        let server = IssuerServer::start(&["rsa-1"]).await;
        let mut config = server.config();
        config.issuers[0].jwks_url = Some(format!("{}/odd", server.url));
        server.answer("/odd", status, body);
        let world = World::new(config).await;
        assert!(world.unavailable(&sign("rsa-1", &claims(&server.url, json!({})))).await);
    }
}

#[tokio::test]
async fn discovery_names_the_keys_of_the_issuer_itself() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let mut config = server.config();
    config.issuers[0].jwks_url = None;
    let path = "/.well-known/openid-configuration";
    let token = sign("rsa-1", &claims(&server.url, json!({})));
    let jwks = format!("{}/jwks", server.url);
    for (document, works) in [
        (json!({"issuer": "https://other.example", "jwks_uri": jwks}), false),
        (json!({"issuer": server.url, "jwks_uri": "http://other.example/jwks"}), false),
        (json!({"issuer": server.url}), false),
        (json!({"issuer": server.url, "jwks_uri": jwks}), true),
    ] {
        server.answer(path, 200, document.to_string());
        let world = World::new(config.clone()).await;
        assert_eq!(world.bearer(&token).await.is_ok(), works, "{document}");
    }
}
