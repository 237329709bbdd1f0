//! What a JWT must be, and ways to get round it.

use super::issuer_server::{IssuerServer, sign, sign_as};
use super::*;
use crate::access::Scheme;
use crate::clock::UnixMillis;

#[tokio::test]
async fn tokens_of_every_accepted_algorithm_are_verified() {
    let server = IssuerServer::start(&["rsa-1", "ec-p256", "ed25519"]).await;
    let world = World::new(IdentityConfig {
        issuers: vec![server.issuer(), secret_issuer()],
        groups_claim: Some("groups".into()),
        ..Default::default()
    })
    .await;
    let good = claims(&server.url, json!({"groups": ["readers", "admins"]}));
    for key in ["rsa-1", "ec-p256", "ed25519"] {
        let caller = world.bearer(&sign(key, &good)).await.unwrap();
        assert_eq!(caller.principal, ann());
        assert_eq!(caller.asserted_groups, [Principal::group("readers").unwrap()]);
        assert_eq!(caller.proof.scheme, Scheme::Jwt);
        assert_eq!(caller.proof.credential, format!("{}#j1", server.url));
    }
    let caller = world.bearer(&signed_with_secret(&claims(SECRET_ISSUER, json!({})))).await.unwrap();
    assert_eq!(caller.principal, ann());
    assert_eq!(world.basic("ann", &sign("rsa-1", &good)).await.unwrap().principal, ann());
    assert!(world.basic("bob", &sign("rsa-1", &good)).await.is_err());
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_are_refused() {
    let world = World::with_secret().await;
    let past = NOW / 1000 - 61;
    for (replaced, said) in [
        (json!({"iss": "https://other.example"}), "issuer is not trusted"),
        (json!({"iss": [SECRET_ISSUER]}), "who issued it"),
        (json!({"iss": null}), "who issued it"),
        (json!({"aud": "other"}), "another audience"),
        (json!({"aud": ["other", "tracegate2"]}), "another audience"),
        (json!({"aud": null}), "no claim `aud`"),
        (json!({"exp": null}), "no claim `exp`"),
        (json!({"exp": "never"}), "no claim `exp`"),
        (json!({"exp": past}), "has expired"),
        (json!({"nbf": NOW / 1000 + 61}), "not in force yet"),
        (json!({"nbf": "soon"}), "`nbf` is not a time"),
        (json!({"sub": null}), "no text claim `sub`"),
        (json!({"sub": ""}), "claim `sub`"),
    ] {
        let reason = world.refusal(&signed_with_secret(&claims(SECRET_ISSUER, replaced.clone()))).await;
        assert!(reason.contains(said), "{replaced}: {reason}");
    }
    for replaced in [
        json!({"aud": ["other", "tracegate"]}),
        json!({"exp": past + 2, "nbf": NOW / 1000 + 59}),
        json!({"exp": NOW as f64 / 1000.0 + 0.5}),
    ] {
        world.bearer(&signed_with_secret(&claims(SECRET_ISSUER, replaced))).await.unwrap();
    }
}

#[tokio::test]
async fn an_unsigned_or_altered_token_is_refused() {
    let world = World::with_secret().await;
    let good = claims(SECRET_ISSUER, json!({}));
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        for signature in [&b""[..], b"x"] {
            let token = forged(&json!({"alg": algorithm, "typ": "JWT"}), &good, signature);
            assert!(world.bearer(&token).await.is_err(), "{algorithm}");
        }
    }
    let token = signed_with_secret(&good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(claims(SECRET_ISSUER, json!({"sub": "root"})).to_string());
    for altered in [
        format!("{header}.{other}.{signature}"),
        format!("{message}."),
        format!("{message}.{}", &signature[..10]),
        format!("{token}.x"),
        format!(".{token}"),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert!(world.bearer(&altered).await.is_err(), "{altered}");
    }
    let critical = forged(&json!({"alg": "HS256", "crit": ["exp"], "exp": 1}), &good, b"x");
    assert!(world.refusal(&critical).await.contains("critical"));
    // A self-made key in the header is not looked at.
    let own = forged(&json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}), &good, b"x");
    assert!(world.bearer(&own).await.is_err());
}

#[tokio::test]
async fn a_public_key_is_never_a_secret_nor_a_secret_a_public_key() {
    let server = IssuerServer::start(&["rsa-1", "ec-p256"]).await;
    let world =
        World::new(IdentityConfig { issuers: vec![server.issuer(), secret_issuer()], ..Default::default() })
            .await;
    // The classic: HS256 under the published key, as PEM or as modulus.
    let good = claims(&server.url, json!({}));
    let modulus = issuer_server::jwk("rsa-1")["n"].as_str().unwrap().to_owned();
    let pem = include_bytes!("../../../tests/fixtures/keys/rsa-1.pem").to_vec();
    for secret in [modulus.into_bytes(), pem] {
        for kid in [Some("rsa-1".to_owned()), None] {
            let header = Header { kid, ..Header::new(Algorithm::HS256) };
            let token = jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(&secret)).unwrap();
            assert!(world.refusal(&token).await.contains("algorithm"));
        }
    }
    // One issuer's key under another issuer's name.
    let token = sign("rsa-1", &claims(SECRET_ISSUER, json!({})));
    assert!(world.refusal(&token).await.contains("algorithm"));
    assert!(world.bearer(&signed_with_secret(&good)).await.is_err());
    // A key of another kind than the algorithm says.
    assert!(world.bearer(&sign_as("rsa-1", Some("ec-p256"), &good)).await.is_err());
}

#[tokio::test]
async fn algorithms_and_keys_that_do_not_go_together_stop_the_start() {
    for issuer in [
        IssuerConfig { algorithms: vec!["RS256".into()], ..secret_issuer() },
        IssuerConfig {
            hs256_secret: None,
            jwks_url: Some("https://x".into()),
            algorithms: vec!["HS256".into()],
            ..secret_issuer()
        },
        IssuerConfig { algorithms: vec!["none".into()], ..secret_issuer() },
        IssuerConfig { audience: vec![], ..secret_issuer() },
        IssuerConfig { hs256_secret: Some("short".into()), ..secret_issuer() },
        IssuerConfig {
            hs256_secret: None,
            hs256_secret_file: Some("/no/such/file".into()),
            ..secret_issuer()
        },
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&DatabaseConfig::default(), directory.path()).await.unwrap();
        let config = IdentityConfig { issuers: vec![issuer], ..Default::default() };
        assert!(Identity::new(&config, store, Arc::new(ManualClock::at(NOW))).await.is_err());
    }
}

#[tokio::test]
async fn a_secret_may_stand_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let issuer = IssuerConfig { hs256_secret: None, hs256_secret_file: Some(file), ..secret_issuer() };
    let world = World::new(IdentityConfig { issuers: vec![issuer], ..Default::default() }).await;
    world.bearer(&signed_with_secret(&claims(SECRET_ISSUER, json!({})))).await.unwrap();
}

#[tokio::test]
async fn a_verified_token_is_not_served_past_its_end() {
    let world = World::with_secret().await;
    let token = signed_with_secret(&claims(SECRET_ISSUER, json!({"exp": NOW / 1000 + 30})));
    world.bearer(&token).await.unwrap();
    // Within the skew it is verified anew each time, after that refused.
    world.clock.advance(89_000);
    world.bearer(&token).await.unwrap();
    world.clock.advance(1_000);
    assert!(world.refusal(&token).await.contains("expired"));
}

#[tokio::test]
async fn a_deactivated_principal_is_refused_with_a_token_of_any_issuer() {
    let world = World::with_secret().await;
    let token = signed_with_secret(&claims(SECRET_ISSUER, json!({})));
    world.bearer(&token).await.unwrap();
    let now = UnixMillis(NOW);
    world.store.ensure_principal(&ann(), "user:root", now).await.unwrap();
    world.store.set_active(&ann(), false, "user:root", now).await.unwrap();
    world.identity.forget();
    assert!(world.refusal(&token).await.contains("`user:ann` is deactivated"));
    // Another replica, which nobody told, learns it in time.
    world.store.set_active(&ann(), true, "user:root", now).await.unwrap();
    assert!(world.bearer(&token).await.is_err());
    world.clock.advance(5_000);
    world.bearer(&token).await.unwrap();
}
