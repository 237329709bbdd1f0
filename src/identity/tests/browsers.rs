//! Signing in with a browser, and what may befall a session.

use std::collections::HashMap;

use super::issuer_server::{IssuerServer, sign};
use super::*;
use crate::access::Scheme;
use crate::clock::UnixMillis;
use crate::store::{SessionRecord, Sessions};

const BACK: &str = "https://traces.example/tracegate/login/callback";
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An issuer where people sign in, and a world that trusts it.
pub(super) struct Place {
    pub server: IssuerServer,
    pub world: World,
}

impl Place {
    pub async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&mut IssuerConfig, &mut IdentityConfig)) -> Self {
        let server = IssuerServer::start(&["rsa-1"]).await;
        let mut issuer = IssuerConfig {
            client_id: Some("gate:1".into()),
            client_secret: Some("s e+c".into()),
            groups_claim: Some("groups".into()),
            ..server.issuer()
        };
        let mut config = IdentityConfig::default();
        change(&mut issuer, &mut config);
        config.issuers.push(issuer);
        discovery(&server, json!({}));
        let world = World::new(config).await;
        world.store.ensure_principal(&ann(), "test", UnixMillis(NOW)).await.unwrap();
        Self { server, world }
    }

    fn browsers(&self) -> &Browsers {
        self.world.identity.browsers()
    }

    async fn begin(&self) -> (Begun, HashMap<String, String>) {
        let begun = self.browsers().begin(&self.server.url, BACK, "/x").await.unwrap();
        let query = begun.location.split_once('?').unwrap().1;
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        (begun, query)
    }

    /// The claims of an ID token for a sign-in, some replaced.
    fn id_claims(&self, nonce: &str, replaced: Value) -> Value {
        let mut claims = claims(&self.server.url, json!({"aud": "gate:1", "nonce": nonce, "sid": "s1"}));
        for (name, value) in replaced.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn hand_out(&self, id_token: &str, more: Value) {
        let mut answer = json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token});
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        self.server.answer("/token", 200, answer.to_string());
    }

    /// A sign-in whose ID token has these claims replaced.
    async fn sign_in(&self, replaced: Value, more: Value) -> Result<SignedIn, IdentityError> {
        let (begun, query) = self.begin().await;
        self.hand_out(&sign("rsa-1", &self.id_claims(&query["nonce"], replaced)), more);
        let answered = Answered { state: Some(&query["state"]), code: Some("c"), issuer: None, error: None };
        self.browsers().finish(Some(&begun.cookie), &answered).await
    }

    pub async fn session(&self, more: Value) -> Session {
        let signed_in = self.sign_in(json!({"groups": ["readers", "admins"]}), more).await.unwrap();
        self.browsers().start(signed_in, None, None).await.unwrap()
    }

    async fn call(&self, cookie: &str) -> Result<Option<Caller>, IdentityError> {
        self.world.identity.identify(&cookies(&format!("__Host-tracegate={cookie}"))).await
    }

    async fn is_refused(&self, cookie: &str) -> bool {
        matches!(self.call(cookie).await, Err(IdentityError::Refused { .. }))
    }

    async fn record(&self) -> SessionRecord {
        let now = self.world.clock.now();
        self.world.store.sessions(Some(&ann()), now).await.unwrap().remove(0)
    }
}

fn discovery(server: &IssuerServer, replaced: Value) {
    let mut document = json!({
        "issuer": server.url,
        "authorization_endpoint": format!("{}/authorize", server.url),
        "token_endpoint": format!("{}/token", server.url),
        "end_session_endpoint": format!("{}/end", server.url),
    });
    for (name, value) in replaced.as_object().unwrap() {
        document[name] = value.clone();
    }
    server.answer("/.well-known/openid-configuration", 200, document.to_string());
}

fn cookies(value: &str) -> Headers {
    let mut headers = Headers::new();
    headers.push("cookie", value);
    headers
}

fn refused<T>(outcome: Result<T, IdentityError>, said: &str) {
    match outcome {
        Err(IdentityError::Refused { reason }) => {
            assert!(reason.contains(said), "{reason} should say {said}")
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused, as it should be: {said}"),
    }
}

#[tokio::test]
async fn signing_in_takes_a_code_with_its_proof_and_a_secret_that_is_encoded() {
    let place = Place::new().await;
    let (begun, query) = place.begin().await;
    assert!(begun.location.starts_with(&format!("{}/authorize?", place.server.url)));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "gate:1"),
        ("redirect_uri", BACK),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value);
    }
    place.hand_out(&sign("rsa-1", &place.id_claims(&query["nonce"], json!({}))), json!({}));
    let answered = Answered { state: Some(&query["state"]), code: Some("c+1"), ..Default::default() };
    let signed_in = place.browsers().finish(Some(&begun.cookie), &answered).await.unwrap();
    assert_eq!((signed_in.principal, signed_in.next.as_str()), (ann(), "/x"));

    let (head, form) = place.server.forms().remove(0);
    let form: HashMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "c+1"));
    assert_eq!(form["redirect_uri"], BACK);
    use sha2::Digest;
    let challenge = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, query["code_challenge"]);
    let basic = STANDARD.encode("gate%3A1:s+e%2Bc");
    assert!(head.contains(&format!("Basic {basic}")), "{head}");
    assert!(!form.contains_key("client_secret") && !form.contains_key("client_id"));
}

#[tokio::test]
async fn a_public_client_names_itself_and_no_secret() {
    let place = Place::with(|issuer, _| issuer.client_secret = None).await;
    place.sign_in(json!({}), json!({})).await.unwrap();
    let (head, form) = place.server.forms().remove(0);
    assert!(form.contains("client_id=gate%3A1") && !head.to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn an_id_token_is_for_us_of_this_sign_in_and_signed_by_its_issuer() {
    let place = Place::new().await;
    for (replaced, said) in [
        (json!({"aud": "tracegate"}), "another audience"),
        (json!({"aud": ["gate:1", "other"]}), "another client"),
        (json!({"aud": ["gate:1", "other"], "azp": "other"}), "another client"),
        (json!({"azp": "other"}), "another client"),
        (json!({"azp": 1}), "another client"),
        (json!({"nonce": "other"}), "another sign-in"),
        (json!({"nonce": null}), "another sign-in"),
        (json!({"iss": "https://other.example"}), "another issuer"),
        (json!({"exp": NOW / 1000 - 120}), "has expired"),
        (json!({"sub": ""}), "no subject"),
        (json!({"events": {LOGOUT_EVENT: {}}}), "logout token"),
    ] {
        refused(place.sign_in(replaced, json!({})).await, said);
    }
    for replaced in [json!({"azp": "gate:1"}), json!({"aud": ["gate:1", "other"], "azp": "gate:1"})] {
        place.sign_in(replaced, json!({})).await.unwrap();
    }
    // Signed with another key, or not at all.
    let (begun, query) = place.begin().await;
    let good = place.id_claims(&query["nonce"], json!({}));
    let answered = Answered { state: Some(&query["state"]), code: Some("c"), ..Default::default() };
    let unsigned = forged(&json!({"alg": "none"}), &good, b"");
    for token in [sign("rsa-2", &good), signed_with_secret(&good), unsigned, String::new()] {
        place.hand_out(&token, json!({}));
        assert!(place.browsers().finish(Some(&begun.cookie), &answered).await.is_err());
    }
    refused(
        place.sign_in(json!({}), json!({"error": "invalid_grant"})).await.map_err(|error| match error {
            // What is both an answer and an error is neither.
            IdentityError::Unavailable { .. } => IdentityError::refused("neither"),
            other => other,
        }),
        "neither",
    );
}

#[tokio::test]
async fn an_answer_belongs_to_the_sign_in_that_this_browser_began_a_moment_ago() {
    let place = Place::new().await;
    let (begun, query) = place.begin().await;
    let (other, _) = place.begin().await;
    place.hand_out(&sign("rsa-1", &place.id_claims(&query["nonce"], json!({}))), json!({}));
    let (state, url) = (query["state"].as_str(), place.server.url.clone());
    let good = || Answered { state: Some(state), code: Some("c"), ..Default::default() };
    let finish =
        async |cookie: Option<&str>, answered: Answered<'_>| place.browsers().finish(cookie, &answered).await;
    refused(finish(None, good()).await, "did not begin");
    refused(finish(Some("x"), good()).await, "not begun here");
    refused(finish(Some(&begun.cookie[1..]), good()).await, "not begun here");
    refused(finish(Some(&other.cookie), good()).await, "another sign-in");
    for state in [None, Some(""), Some("x")] {
        refused(finish(Some(&begun.cookie), Answered { state, ..good() }).await, "another sign-in");
    }
    for code in [None, Some("")] {
        refused(finish(Some(&begun.cookie), Answered { code, ..good() }).await, "no code");
    }
    let error = Some("access_denied");
    refused(finish(Some(&begun.cookie), Answered { error, ..good() }).await, "access_denied");
    let issuer = Some("https://other.example");
    refused(finish(Some(&begun.cookie), Answered { issuer, ..good() }).await, "another issuer");
    assert!(place.server.forms().is_empty(), "a code was spent on an answer that is no good");
    let issuer = Some(url.as_str());
    finish(Some(&begun.cookie), Answered { issuer, ..good() }).await.unwrap();
    place.world.clock.advance(10 * 60_000);
    refused(finish(Some(&begun.cookie), good()).await, "too long");
}

#[tokio::test]
async fn an_issuer_that_names_itself_always_must() {
    let place = Place::new().await;
    discovery(&place.server, json!({"authorization_response_iss_parameter_supported": true}));
    refused(place.sign_in(json!({}), json!({})).await, "another issuer");
}

#[tokio::test]
async fn discovery_may_not_lead_to_plain_http_or_be_of_another() {
    for (replaced, works) in [
        (json!({}), true),
        (json!({"issuer": "https://other.example"}), false),
        (json!({"token_endpoint": "http://other.example/token"}), false),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), false),
        (json!({"end_session_endpoint": "http://other.example/end"}), false),
        (json!({"token_endpoint": null}), false),
    ] {
        let place = Place::new().await;
        discovery(&place.server, replaced.clone());
        assert_eq!(place.browsers().begin(&place.server.url, BACK, "/").await.is_ok(), works, "{replaced}");
    }
}

#[tokio::test]
async fn a_session_is_its_cookie_and_nothing_else() {
    let place = Place::new().await;
    let session = place.session(json!({})).await;
    let caller = place.call(&session.cookie).await.unwrap().unwrap();
    assert_eq!((&caller.principal, caller.proof.scheme), (&ann(), Scheme::Session));
    assert_eq!(caller.proof.credential, session.id);
    assert_eq!(caller.asserted_groups, [Principal::group("readers").unwrap()]);

    let record = place.record().await;
    let stored = format!("{record:?}");
    assert!(!stored.contains(&session.cookie) && !stored.contains("eyJ"), "{stored}");
    let identity = &place.world.identity;
    for bad in ["", "x", &session.cookie[1..], &session.id, &record.sealed_tokens] {
        assert!(place.is_refused(bad).await, "{bad}");
    }
    // The name for plain HTTP is another; twice is refused; as a bearer it is nothing.
    let plain = cookies(&format!("tracegate_session={}", session.cookie));
    assert!(identity.identify(&plain).await.unwrap().is_none());
    let twice = cookies(&format!("__Host-tracegate={0}; __Host-tracegate={0}", session.cookie));
    assert!(identity.identify(&twice).await.is_err());
    assert!(place.world.bearer(&session.cookie).await.is_err());
    // A header decides alone, good or bad.
    let mut both = cookies(&format!("__Host-tracegate={}", session.cookie));
    both.push("authorization", "Bearer nonsense");
    assert!(identity.identify(&both).await.is_err());
    // Not every token is for pages, nor for other sessions.
    let other = place.session(json!({})).await;
    let token = place.browsers().csrf_token(&session.id);
    assert!(place.browsers().is_csrf_token(&session.id, &token).await);
    for id in [other.id.as_str(), "", &session.cookie] {
        assert!(!place.browsers().is_csrf_token(id, &token).await);
    }
}

#[tokio::test]
async fn a_cookie_is_for_this_host_and_for_no_script() {
    let place = Place::new().await;
    let browsers = place.browsers();
    assert_eq!(
        browsers.set_cookie(browsers.cookie_name(), Some("v")),
        "__Host-tracegate=v; Path=/; HttpOnly; SameSite=Lax; Secure"
    );
    assert!(browsers.set_cookie(browsers.sign_in_cookie_name(), None).ends_with("; Max-Age=0"));
    let clock: Arc<dyn Clock> = Arc::new(place.world.clock.clone());
    let config = IdentityConfig::default();
    for (url, speaks_tls, name) in [
        (Some("https://traces.example"), false, "__Host-tracegate"),
        (Some("http://127.0.0.1:5001"), false, "tracegate_session"),
        (None, false, "tracegate_session"),
        (None, true, "__Host-tracegate"),
    ] {
        let identity = Identity::new(&config, place.world.store.clone(), clock.clone()).await.unwrap();
        let identity = identity.at(url, speaks_tls);
        let browsers = identity.browsers();
        assert_eq!(browsers.cookie_name(), name);
        assert_eq!(browsers.set_cookie(name, Some("v")).contains("Secure"), name.starts_with("__Host-"));
    }
}

#[tokio::test]
async fn a_session_ends_by_its_time_by_disuse_and_with_its_principal() {
    let times = |_: &mut IssuerConfig, config: &mut IdentityConfig| {
        config.session_minutes = 30;
        config.session_idle_minutes = 10;
    };
    let place = Place::with(times).await;
    let used = place.session(json!({})).await;
    for _ in 0..3 {
        place.world.clock.advance(9 * 60_000);
        assert!(place.call(&used.cookie).await.unwrap().is_some());
    }
    place.world.clock.advance(3 * 60_000 - 1);
    assert!(place.call(&used.cookie).await.is_ok());
    place.world.clock.advance(1);
    assert!(place.is_refused(&used.cookie).await);

    let unused = place.session(json!({})).await;
    place.world.clock.advance(10 * 60_000);
    assert!(place.is_refused(&unused.cookie).await);

    let shut_out = place.session(json!({})).await;
    assert!(place.call(&shut_out.cookie).await.is_ok());
    place.world.store.set_active(&ann(), false, "test", place.world.clock.now()).await.unwrap();
    place.world.clock.advance(1_000);
    assert!(place.is_refused(&shut_out.cookie).await);
    place.world.store.set_active(&ann(), true, "test", place.world.clock.now()).await.unwrap();
    place.world.clock.advance(1_000);
    assert!(place.is_refused(&shut_out.cookie).await, "a session came back with its principal");
}

#[tokio::test]
async fn an_end_counts_here_at_once_and_elsewhere_within_a_second() {
    let place = Place::new().await;
    let mut config = IdentityConfig::default();
    config.issuers.push(IssuerConfig { client_id: Some("gate:1".into()), ..place.server.issuer() });
    let clock = place.world.clock.clone();
    let other = Identity::new(&config, place.world.store.clone(), Arc::new(clock.clone())).await.unwrap();
    let session = place.session(json!({})).await;
    let headers = cookies(&format!("__Host-tracegate={}", session.cookie));
    // Made here, good there.
    assert!(other.identify(&headers).await.unwrap().is_some());
    assert!(place.call(&session.cookie).await.unwrap().is_some());
    let ended = place.browsers().end(Sessions::One(&session.id), "test").await.unwrap();
    assert_eq!(ended, [(session.id.clone(), ann())]);
    assert!(place.is_refused(&session.cookie).await);
    clock.advance(1_000);
    assert!(other.identify(&headers).await.is_err());
    assert_eq!(place.world.identity.claimed(&headers).await, Some(ann()));
    // An end is for good, and drops what the issuer gave.
    assert!(place.browsers().end(Sessions::One(&session.id), "test").await.unwrap().is_empty());
    let record = place.browsers().session(&headers).await.unwrap();
    assert!(record.sealed_tokens.is_empty());
}

#[tokio::test]
async fn an_issuer_that_is_no_longer_trusted_takes_its_sessions_along() {
    let place = Place::new().await;
    let session = place.session(json!({})).await;
    let headers = cookies(&format!("__Host-tracegate={}", session.cookie));
    let clock: Arc<dyn Clock> = Arc::new(place.world.clock.clone());
    let without = Identity::new(&IdentityConfig::default(), place.world.store.clone(), clock).await.unwrap();
    assert!(without.identify(&headers).await.is_err());
}

#[tokio::test]
async fn a_renewal_brings_new_groups_and_the_next_token() {
    let place = Place::new().await;
    let session = place.session(json!({"refresh_token": "r1", "expires_in": 60})).await;
    place.server.forms();
    let fresh = place.id_claims("", json!({"groups": ["writers"], "exp": NOW / 1000 + 7200}));
    place.hand_out(&sign("rsa-1", &fresh), json!({"refresh_token": "r2", "expires_in": 60}));
    place.world.clock.advance(59_000);
    place.call(&session.cookie).await.unwrap();
    assert!(place.server.forms().is_empty());
    place.world.clock.advance(1_000);
    let caller = place.call(&session.cookie).await.unwrap().unwrap();
    assert_eq!(caller.asserted_groups, [Principal::group("writers").unwrap()]);
    let form = place.server.forms().remove(0).1;
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=r1"), "{form}");
    place.world.clock.advance(60_000);
    place.call(&session.cookie).await.unwrap();
    assert!(place.server.forms().remove(0).1.contains("refresh_token=r2"));
}

#[tokio::test]
async fn requests_at_once_renew_once() {
    let place = Place::new().await;
    let session = place.session(json!({"refresh_token": "r1", "expires_in": 60})).await;
    place.server.forms();
    let fresh = place.id_claims("", json!({"exp": NOW / 1000 + 7200}));
    place.hand_out(&sign("rsa-1", &fresh), json!({"refresh_token": "r2", "expires_in": 60}));
    place.world.clock.advance(60_000);
    let calls = (0..20).map(|_| place.call(&session.cookie));
    for call in futures_util::future::join_all(calls).await {
        assert!(call.unwrap().is_some());
    }
    assert_eq!(place.server.forms().len(), 1);
}

#[tokio::test]
async fn an_issuer_that_says_no_ends_a_session_and_one_that_is_down_does_not() {
    let place = Place::new().await;
    let renewed = json!({"refresh_token": "r1", "expires_in": 60});
    let session = place.session(renewed.clone()).await;
    for (status, body) in [
        (500, String::new()),
        (503, json!({"error": "temporarily_unavailable"}).to_string()),
        (401, json!({"error": "invalid_client"}).to_string()),
        (200, "<html>".to_owned()),
    ] {
        place.server.answer("/token", status, body);
        place.world.clock.advance(60_000);
        assert!(place.call(&session.cookie).await.unwrap().is_some(), "{status}");
        // Not asked again with each request.
        place.server.forms();
        assert!(place.call(&session.cookie).await.unwrap().is_some());
        assert!(place.server.forms().is_empty());
    }
    place.server.answer("/token", 400, json!({"error": "invalid_grant"}).to_string());
    place.world.clock.advance(60_000);
    assert!(place.is_refused(&session.cookie).await);
    // For good, whatever the issuer says later.
    place.hand_out(&sign("rsa-1", &place.id_claims("", json!({"exp": NOW / 1000 + 7200}))), json!({}));
    place.world.clock.advance(60_000);
    assert!(place.is_refused(&session.cookie).await);
}

#[tokio::test]
async fn a_renewal_as_somebody_else_ends_the_session() {
    for replaced in [json!({"sub": "bob"}), json!({"aud": "other"}), json!({"iss": "https://other.example"})]
    {
        let place = Place::new().await;
        let session = place.session(json!({"refresh_token": "r1", "expires_in": 60})).await;
        place.hand_out(&sign("rsa-1", &place.id_claims("", replaced.clone())), json!({}));
        place.world.clock.advance(60_000);
        assert!(place.is_refused(&session.cookie).await, "{replaced}");
        place.world.clock.advance(1_000);
        assert!(place.is_refused(&session.cookie).await, "{replaced}");
    }
}

#[tokio::test]
async fn signing_out_leads_to_the_issuer_with_its_own_token() {
    let place = Place::new().await;
    let session = place.session(json!({})).await;
    let headers = cookies(&format!("__Host-tracegate={}", session.cookie));
    let record = place.browsers().session(&headers).await.unwrap();
    let url = place.browsers().sign_out_url(&record, "https://traces.example/bye").await.unwrap();
    assert!(url.starts_with(&format!("{}/end?id_token_hint=eyJ", place.server.url)), "{url}");
    assert!(url.contains("post_logout_redirect_uri=https%3A%2F%2Ftraces.example%2Fbye"));
}

#[tokio::test]
async fn a_logout_token_ends_what_it_names_and_is_no_credential() {
    let place = Place::with(|issuer, _| issuer.audience.push("gate:1".into())).await;
    let (one, two) = (place.session(json!({})).await, place.session(json!({})).await);
    let token = |replaced: Value| {
        let mut claims = place.id_claims("", json!({"iat": NOW / 1000, "events": {LOGOUT_EVENT: {}}}));
        claims.as_object_mut().unwrap().remove("nonce");
        for (name, value) in replaced.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        sign("rsa-1", &claims)
    };
    for (replaced, said) in [
        (json!({"events": null}), "not a logout token"),
        (json!({"events": {"other": {}}}), "not a logout token"),
        (json!({"nonce": "n"}), "not a logout token"),
        (json!({"aud": "tracegate"}), "another audience"),
        (json!({"iss": "https://other.example"}), "not trusted"),
        (json!({"sid": null, "sub": null}), "names nobody"),
        (json!({"iat": NOW / 1000 - 601}), "too old"),
        (json!({"iat": null}), "too old"),
        (json!({"exp": NOW / 1000 - 61}), "has expired"),
    ] {
        refused(place.browsers().told_to_end(&token(replaced)).await, said);
    }
    refused(place.browsers().told_to_end("x").await, "not a JWT");
    assert!(place.call(&one.cookie).await.is_ok());
    // Though it is for an audience of ours and names a person, nobody calls with it.
    assert!(place.world.refusal(&token(json!({}))).await.contains("for another purpose"));

    let told = place.browsers().told_to_end(&token(json!({"sid": "other"}))).await.unwrap();
    assert!(place.browsers().end_as_told(&told).await.unwrap().is_empty());
    let told = place.browsers().told_to_end(&token(json!({"sid": null}))).await.unwrap();
    let ended = place.browsers().end_as_told(&told).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert!(place.is_refused(&one.cookie).await && place.is_refused(&two.cookie).await);
}

#[tokio::test]
async fn strangers_come_in_only_where_their_issuer_may_bring_them() {
    let stranger = json!({"sub": "bob"});
    let open = Place::new().await;
    let signed_in = open.sign_in(stranger.clone(), json!({})).await.unwrap();
    assert!(!open.browsers().admit(&signed_in).await.unwrap());
    let closed = Place::with(|issuer, _| issuer.enroll = false).await;
    let signed_in = closed.sign_in(stranger.clone(), json!({})).await.unwrap();
    refused(closed.browsers().admit(&signed_in).await, "not known here");
    let known = closed.sign_in(json!({}), json!({})).await.unwrap();
    assert!(closed.browsers().admit(&known).await.unwrap());
    // The same by a JWT.
    let token = sign("rsa-1", &claims(&closed.server.url, stranger));
    assert!(closed.world.refusal(&token).await.contains("not known here"));
    closed.world.bearer(&sign("rsa-1", &claims(&closed.server.url, json!({})))).await.unwrap();
    // Whoever was shut out is no stranger.
    let store = &open.world.store;
    store.set_active(&ann(), false, "test", UnixMillis(NOW)).await.unwrap();
    let signed_in = open.sign_in(json!({}), json!({})).await.unwrap();
    refused(open.browsers().admit(&signed_in).await, "deactivated");
}

#[tokio::test]
async fn a_service_principal_does_not_sign_in() {
    let place = Place::with(|issuer, _| issuer.service_principal_claim = Some("client".into())).await;
    refused(place.sign_in(json!({"client": "agent"}), json!({})).await, "service principal");
}
