//! Ways to get round the verification of a JWT, beside those of `jwts` and `keys`.

use super::issuer_server::{IssuerServer, sign, sign_as};
use super::*;

/// A token signed with the shared secret, whose header and claims are these very texts.
fn signed_text(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn claims_text() -> String {
    claims(SECRET_ISSUER, json!({})).to_string()
}

/// Good claims with more text before the end.
fn claims_and(more: &str) -> String {
    let text = claims_text();
    format!("{},{more}}}", &text[..text.len() - 1])
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_although_it_is_signed() {
    let world = World::with_secret().await;
    // The helper makes tokens that pass: what is refused below is refused for its own sake.
    world.bearer(&signed_text(HEADER, &claims_text())).await.unwrap();
    for more in [
        r#""sub":"root""#,
        r#""iss":"https://secret.example""#,
        r#""exp":99999999999"#,
        r#""aud":"tracegate""#,
        r#""\u0073ub":"root""#,
        r#""deep":{"a":1,"a":2}"#,
        r#""list":[{"a":1,"a":1}]"#,
    ] {
        let reason = world.refusal(&signed_text(HEADER, &claims_and(more))).await;
        assert!(
            reason.contains("cannot be verified") || reason.contains("that can be verified"),
            "{more}: {reason}"
        );
    }
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
    ] {
        world.refusal(&signed_text(header, &claims_text())).await;
    }
    for claims in ["", "null", "[]", "\"x\"", "{", "{}{}", "{} x"] {
        world.refusal(&signed_text(HEADER, claims)).await;
    }
}

#[tokio::test]
async fn deep_and_huge_tokens_are_refused_before_they_cost_anything() {
    let world = World::with_secret().await;
    for depth in [65, 1_000, 5_000] {
        let nested = format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        world.refusal(&signed_text(HEADER, &claims_and(&nested))).await;
        let nested = format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(depth / 2), "}".repeat(depth / 2));
        if depth > 130 {
            world.refusal(&signed_text(HEADER, &claims_and(&nested))).await;
        }
    }
    let huge = format!(r#""x":"{}""#, "a".repeat(16 * 1024));
    let reason = world.refusal(&signed_text(HEADER, &claims_and(&huge))).await;
    assert!(reason.contains("longer than"), "{reason}");
    let reason = world
        .refusal(&signed_text(&format!(r#"{{"alg":"HS256","x":"{}"}}"#, "a".repeat(16 * 1024)), "{}"))
        .await;
    assert!(reason.contains("longer than"), "{reason}");
}

#[tokio::test]
async fn a_key_id_is_a_name_and_leads_nowhere() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let good = claims(&server.url, json!({}));
    world.bearer(&sign("rsa-1", &good)).await.unwrap();
    let asked = server.asked();
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "http://127.0.0.1/jwks",
        "rsa-1' OR '1'='1",
        "rsa-1\0",
        "rsa-1;id",
        "RSA-1",
        "rsa-1 ",
        "",
        "rsa-2",
    ] {
        let answer = world.bearer(&sign_as("rsa-1", Some(kid), &good)).await;
        assert!(answer.is_err(), "{kid:?}");
    }
    // One question for all unknown names.
    assert_eq!(server.asked(), asked + 1);
    // A key id that is no text.
    let odd = forged(&json!({"alg": "RS256", "kid": ["rsa-1"]}), &good, b"x");
    assert!(world.bearer(&odd).await.is_err());
}

#[tokio::test]
async fn a_token_does_not_bring_its_own_key() {
    // The attacker's own issuer, reachable, and never asked.
    let attackers = IssuerServer::start(&["rsa-2"]).await;
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let good = claims(&server.url, json!({"sub": "root"}));
    let jwks = format!("{}/jwks", attackers.url);
    let key = EncodingKey::from_rsa_pem(include_bytes!("../../../tests/fixtures/keys/rsa-2.pem")).unwrap();
    let own: jsonwebtoken::jwk::Jwk = serde_json::from_value(issuer_server::jwk("rsa-2")).unwrap();
    for kid in [Some("rsa-1".to_owned()), Some("rsa-2".to_owned()), None] {
        let header = Header {
            kid,
            jku: Some(jwks.clone()),
            x5u: Some(jwks.clone()),
            jwk: Some(own.clone()),
            x5c: Some(vec!["MIIB".to_owned()]),
            ..Header::new(Algorithm::RS256)
        };
        let token = jsonwebtoken::encode(&header, &good, &key).unwrap();
        assert!(world.bearer(&token).await.is_err());
    }
    assert_eq!(attackers.asked(), 0);
}

#[tokio::test]
async fn a_token_for_another_purpose_is_none_to_call_with() {
    let world = World::with_secret().await;
    for kind in ["JWT", "at+jwt", "application/at+jwt", "jwt"] {
        world
            .bearer(&signed_text(&format!(r#"{{"alg":"HS256","typ":"{kind}"}}"#), &claims_text()))
            .await
            .unwrap();
    }
    world.bearer(&signed_text(r#"{"alg":"HS256"}"#, &claims_text())).await.unwrap();
    for kind in ["\"logout+jwt\"", "\"secevent+jwt\"", "\"dpop+jwt\"", "\"JWE\"", "\"\"", "1", "null"] {
        let header = format!(r#"{{"alg":"HS256","typ":{kind}}}"#);
        assert!(world.bearer(&signed_text(&header, &claims_text())).await.is_err(), "{kind}");
    }
    let logout = claims_and(r#""events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#);
    assert!(world.refusal(&signed_text(HEADER, &logout)).await.contains("another purpose"));
    let bound = claims_and(r#""cnf":{"jkt":"x"}"#);
    assert!(world.refusal(&signed_text(HEADER, &bound)).await.contains("bound to a key"));
}

#[tokio::test]
async fn groups_that_nobody_signed_make_no_member() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let config = IdentityConfig { groups_claim: Some("groups".into()), ..server.config() };
    let world = World::new(config).await;
    let signed = sign("rsa-1", &claims(&server.url, json!({"groups": ["readers"]})));
    let caller = world.bearer(&signed).await.unwrap();
    assert_eq!(caller.asserted_groups, [Principal::group("readers").unwrap()]);
    // The same signature under claims with one group more.
    let parts: Vec<&str> = signed.split('.').collect();
    let more = claims(&server.url, json!({"groups": ["readers", "owners"]}));
    let altered = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(more.to_string()), parts[2]);
    assert!(world.refusal(&altered).await.contains("signature"));
    // Groups in the header, or beside the token, are not looked at.
    let header = json!({"alg": "RS256", "kid": "rsa-1", "groups": ["owners"]});
    assert!(world.bearer(&forged(&header, &more, b"x")).await.is_err());
    let mut headers = authorization(&[&format!("Bearer {signed}")]);
    for name in ["X-Groups", "X-Forwarded-Groups", "X-Auth-Request-Groups", "Groups"] {
        headers.push(name, "owners");
    }
    let caller = world.identity.identify(&headers).await.unwrap().unwrap();
    assert_eq!(caller.asserted_groups, [Principal::group("readers").unwrap()]);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_from_many_at_once_is_one_question() {
    let server = IssuerServer::start(&["rsa-1"]).await;
    let world = World::new(server.config()).await;
    let good = claims(&server.url, json!({}));
    world.bearer(&sign("rsa-1", &good)).await.unwrap();
    let tokens: Vec<String> =
        (0..200).map(|number| sign_as("rsa-1", Some(&format!("unknown-{number}")), &good)).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| world.bearer(token))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(server.asked(), 2, "the keys at first, and once more for the flood");
    // Whoever has a good token does not notice.
    world.bearer(&sign("rsa-1", &claims(&server.url, json!({"jti": "later"})))).await.unwrap();
}
