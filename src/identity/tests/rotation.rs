//! Tokens, client secrets and sessions through rotations of their keys, at two replicas.

use std::time::Duration;

use super::browsers::Place;
use super::*;
use crate::clock::UnixMillis;
use crate::store::test_postgres::TestDatabase;
use crate::store::{FIRST_KEY, Purpose, Retirement, StoreError};

const FORCED: Retirement = Retirement { force: true, settled_ms: 0, replaced: false };
const GENTLY: Retirement = Retirement { force: false, ..FORCED };

struct Replica {
    identity: Identity,
    keys: Arc<Keys>,
}

impl Replica {
    async fn new(store: &Store, config: &IdentityConfig, clock: &ManualClock) -> Self {
        let keys = Keys::open(store.clone(), Arc::new(clock.clone()), None).await.unwrap();
        let clock = Arc::new(clock.clone());
        let identity = Identity::with_keys(config, Arc::clone(&keys), store.clone(), clock).await.unwrap();
        Self { identity, keys }
    }

    async fn takes(&self, token: &str) -> bool {
        self.identity.identify(&authorization(&[&format!("Bearer {token}")])).await.is_ok()
    }

    async fn takes_secret(&self, secret: &str) -> bool {
        self.identity.client("agent", secret, None).await.is_ok()
    }
}

async fn postgres() -> (TestDatabase, Store, Store, tempfile::TempDir) {
    let (database, directory) = (TestDatabase::create().await, tempfile::tempdir().unwrap());
    let config = DatabaseConfig { url: Some(database.url.clone()), ..Default::default() };
    let one = Store::open(&config, directory.path()).await.unwrap();
    let two = Store::open(&config, directory.path()).await.unwrap();
    let agent = Principal::service_principal("agent").unwrap();
    one.ensure_principal(&ann(), "root", UnixMillis(NOW)).await.unwrap();
    one.ensure_principal(&agent, "root", UnixMillis(NOW)).await.unwrap();
    (database, one, two, directory)
}

/// Waits until nothing that is in force was made with this key: hashing anew is done beside the calls.
async fn moved_on(store: &Store, purpose: Purpose, key: &str) -> bool {
    for _ in 0..500 {
        let counts = store.key_dependents(UnixMillis(NOW)).await.unwrap();
        if counts.get(&(purpose, key.to_owned())).is_none_or(|count| *count == 0) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn tokens_and_secrets_outlive_rotations_and_the_old_key_comes_free_by_use() {
    let (_database, store, elsewhere, _directory) = postgres().await;
    let (clock, config) =
        (ManualClock::at(NOW), IdentityConfig { token_cache_seconds: 0, ..Default::default() });
    let one = Replica::new(&store, &config, &clock).await;
    let two = Replica::new(&elsewhere, &config, &clock).await;
    let agent = Principal::service_principal("agent").unwrap();
    let (used, _) = one.identity.issue_token(&ann(), "used", None, "root").await.unwrap();
    let (unused, record) = one.identity.issue_token(&ann(), "unused", None, "root").await.unwrap();
    let (secret, _) = one.identity.issue_secret(&agent, None, None, "root").await.unwrap();
    for purpose in [Purpose::Token, Purpose::ClientSecret] {
        for _ in 0..2 {
            store.rotate_key(purpose, 0, "root", clock.now()).await.unwrap();
        }
    }
    one.keys.refresh().await.unwrap();
    let (fresh, _) = one.identity.issue_token(&ann(), "fresh", None, "root").await.unwrap();
    // The other replica has not heard of the key that made it, and reads the keys once.
    assert_eq!(two.keys.ring(Purpose::Token).ids(), ["k1"]);
    assert!(two.takes(&fresh).await);
    assert_eq!(two.keys.ring(Purpose::Token).ids(), ["k1", "k2", "k3"]);
    assert!(one.takes(&used).await && two.takes(&used).await);
    assert!(one.takes_secret(&secret).await && two.takes_secret(&secret).await);
    assert!(moved_on(&store, Purpose::ClientSecret, FIRST_KEY).await);
    // Used again, by its new hash, at both.
    assert!(one.takes(&used).await && two.takes(&used).await && two.takes_secret(&secret).await);

    let refused = store.retire_key(Purpose::Token, FIRST_KEY, GENTLY, "root", clock.now()).await;
    let Err(StoreError::Refused(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("1 tokens") || reason.starts_with("2 tokens"), "{reason}");
    // Both were looked for until now; the one that nobody used goes with its key.
    let mut left = 2;
    for _ in 0..500 {
        let counts = store.key_dependents(clock.now()).await.unwrap();
        left = counts[&(Purpose::Token, FIRST_KEY.to_owned())];
        if left == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left, 1);
    let retired = store.retire_key(Purpose::Token, FIRST_KEY, FORCED, "root", clock.now()).await.unwrap();
    assert_eq!(retired.ended, 1);
    store.retire_key(Purpose::ClientSecret, FIRST_KEY, GENTLY, "root", clock.now()).await.unwrap();
    for replica in [&one, &two] {
        replica.keys.refresh().await.unwrap();
        assert!(!replica.takes(&unused).await);
        assert!(replica.takes(&used).await && replica.takes(&fresh).await);
        assert!(replica.takes_secret(&secret).await);
    }
    assert!(store.token(&record.id).await.unwrap().unwrap().revoked_at.is_some());
}

#[tokio::test]
async fn what_is_remembered_of_a_token_does_not_outlive_its_key() {
    let (_database, store, elsewhere, _directory) = postgres().await;
    let (clock, config) =
        (ManualClock::at(NOW), IdentityConfig { token_cache_seconds: 60, ..Default::default() });
    let one = Replica::new(&store, &config, &clock).await;
    let two = Replica::new(&elsewhere, &config, &clock).await;
    let (token, _) = one.identity.issue_token(&ann(), "x", None, "root").await.unwrap();
    assert!(one.takes(&token).await && two.takes(&token).await);
    // Past the store, as a token that nobody hashed anew.
    store.rotate_key(Purpose::Token, 0, "root", clock.now()).await.unwrap();
    assert_eq!(store.retire_key(Purpose::Token, "k1", FORCED, "root", clock.now()).await.unwrap().ended, 1);
    // Nothing was asked of the store since, and the time of what is remembered is not over.
    for replica in [&one, &two] {
        replica.keys.refresh().await.unwrap();
        assert!(!replica.takes(&token).await);
    }
}

#[tokio::test]
async fn a_token_hashed_anew_is_found_by_a_replica_that_knows_the_old_key_alone() {
    let (_database, store, elsewhere, _directory) = postgres().await;
    let (clock, config) =
        (ManualClock::at(NOW), IdentityConfig { token_cache_seconds: 0, ..Default::default() });
    let one = Replica::new(&store, &config, &clock).await;
    let two = Replica::new(&elsewhere, &config, &clock).await;
    let (token, _) = one.identity.issue_token(&ann(), "x", None, "root").await.unwrap();
    store.rotate_key(Purpose::Token, 0, "root", clock.now()).await.unwrap();
    one.keys.refresh().await.unwrap();
    assert!(one.takes(&token).await);
    assert!(moved_on(&store, Purpose::Token, FIRST_KEY).await);
    assert_eq!(two.keys.ring(Purpose::Token).ids(), ["k1"]);
    assert!(two.takes(&token).await);
    // And one that nobody made stays nothing.
    let (strange, _) = {
        let (_other, other_store, _, _directory) = postgres().await;
        let other = Replica::new(&other_store, &config, &clock).await;
        other.identity.issue_token(&ann(), "x", None, "root").await.unwrap()
    };
    assert!(!one.takes(&strange).await && !two.takes(&strange).await);
}

#[tokio::test]
async fn a_session_and_what_its_issuer_gave_outlive_rotations_and_end_with_their_keys() {
    let place = Place::new().await;
    let (store, clock) = (&place.world.store, &place.world.clock);
    let session = place.session(json!({"refresh_token": "r1"})).await;
    let asleep = place.session(json!({"refresh_token": "r2"})).await;
    let csrf = place.world.identity.browsers().csrf_token(&session.id);
    for purpose in [Purpose::Session, Purpose::SessionTokens] {
        store.rotate_key(purpose, 0, "root", clock.now()).await.unwrap();
    }
    let mut config = IdentityConfig::default();
    config.issuers.push(IssuerConfig { client_id: Some("gate:1".into()), ..place.server.issuer() });
    let replica = Replica::new(store, &config, clock).await;
    let mut headers = Headers::new();
    headers.push("cookie", &format!("__Host-tracegate={}", session.cookie));
    assert!(replica.identity.identify(&headers).await.unwrap().is_some());
    let browsers = replica.identity.browsers();
    // A form that was shown before.
    assert!(browsers.is_csrf_token(&session.id, &csrf).await);
    assert!(!browsers.is_csrf_token(&asleep.id, &csrf).await);
    let new = browsers.csrf_token(&session.id);
    assert_ne!(new, csrf);
    // At the replica that has not heard of the new keys.
    assert!(place.world.identity.browsers().is_csrf_token(&session.id, &new).await);
    assert!(place.world.identity.identify(&headers).await.unwrap().is_some());
    for _ in 0..500 {
        let sealed = store.sessions(Some(&ann()), clock.now()).await.unwrap();
        let moved = sealed.iter().find(|one| one.id == session.id).unwrap().sealed_tokens.starts_with("k2.");
        let counts = store.key_dependents(clock.now()).await.unwrap();
        if moved && counts[&(Purpose::Session, FIRST_KEY.to_owned())] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        store.retire_key(Purpose::Session, FIRST_KEY, FORCED, "root", clock.now()).await.unwrap().ended,
        1
    );
    let late = UnixMillis(clock.now().0 + 600_000);
    assert_eq!(
        store.retire_key(Purpose::SessionTokens, FIRST_KEY, GENTLY, "root", late).await.unwrap().ended,
        0
    );
    replica.keys.refresh().await.unwrap();
    assert!(replica.identity.identify(&headers).await.unwrap().is_some());
    assert!(
        !browsers.is_csrf_token(&session.id, &csrf).await && browsers.is_csrf_token(&session.id, &new).await
    );
    let mut other = Headers::new();
    other.push("cookie", &format!("__Host-tracegate={}", asleep.cookie));
    assert!(replica.identity.identify(&other).await.is_err());
    // What the issuer gave is still there, for signing out at it.
    let record = browsers.session(&headers).await.unwrap();
    let url = browsers.sign_out_url(&record, "https://traces.example/").await;
    assert!(url.unwrap().contains("id_token_hint="));
}
