//! User names and passwords, as clients of MLflow's basic-auth send them.

use super::*;
use crate::access::Scheme;
use crate::clock::UnixMillis;

const PASSWORD: &str = "corréct horse, battery";
const OTHER: &str = "another twelve letters";

async fn world() -> World {
    let world = World::new(IdentityConfig { passwords: true, ..Default::default() }).await;
    world.store.ensure_principal(&ann(), "user:root", UnixMillis(NOW)).await.unwrap();
    set(&world, PASSWORD).await;
    world
}

async fn set(world: &World, password: &str) {
    let hash = world.identity.hash_password(password).await.unwrap();
    world.identity.set_password(&ann(), &hash, "user:root").await.unwrap();
}

async fn refusal(world: &World, name: &str, password: &str) -> String {
    match world.basic(name, password).await {
        Err(IdentityError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// How many guesses from one address are looked at before one has to wait.
async fn guesses(world: &World, name: &str, address: &str) -> usize {
    for number in 0..100 {
        match from(world, name, &format!("guess {number} of many"), address).await {
            Err(IdentityError::Refused { .. }) => {}
            Err(IdentityError::Slowed { .. }) => return number,
            other => panic!("{other:?}"),
        }
    }
    panic!("nothing slows guesses")
}

async fn from(world: &World, name: &str, password: &str, address: &str) -> Result<Caller, IdentityError> {
    let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    Ok(world.identity.identify_from(&authorization(&[&value]), Some(address)).await?.unwrap())
}

#[tokio::test]
async fn a_password_is_its_user_and_nobody_else() {
    let world = world().await;
    let caller = world.basic("ann", PASSWORD).await.unwrap();
    assert_eq!((caller.principal.clone(), caller.asserted_groups), (ann(), vec![]));
    assert_eq!(caller.proof.scheme, Scheme::Password);
    assert!(!caller.proof.credential.contains(PASSWORD));
    for (name, password) in [
        ("ann", OTHER),
        ("bob", PASSWORD),
        ("Ann", PASSWORD),
        ("ann ", PASSWORD),
        ("token", PASSWORD),
        ("a,b", PASSWORD),
    ] {
        assert_eq!(refusal(&world, name, password).await, "the user name or the password is wrong", "{name}");
    }
    // As `Bearer` or without a name it is no password at all.
    assert!(world.bearer("correct-horse-battery").await.is_err());
    assert!(world.basic("", PASSWORD).await.is_err());
    let answer = world.basic("ann", "").await;
    assert!(matches!(answer, Err(IdentityError::Refused { .. })));
}

#[tokio::test]
async fn off_a_password_is_not_even_looked_at() {
    let with = world().await;
    let hash = with.store.password(&ann()).await.unwrap().unwrap().hash.unwrap();
    let without = World::with_secret().await;
    without.store.ensure_principal(&ann(), "user:root", UnixMillis(NOW)).await.unwrap();
    without.store.set_password(&ann(), &hash, "user:root", UnixMillis(NOW)).await.unwrap();
    let reason = refusal(&without, "ann", PASSWORD).await;
    assert!(reason.contains("no token has"), "{reason}");
    assert!(without.identity.hash_password(OTHER).await.is_err());
    assert!(without.identity.is_password_of("ann", PASSWORD, None).await.is_err());
}

#[tokio::test]
async fn tokens_go_on_working_and_are_never_tried_as_passwords() {
    let world = world().await;
    let (secret, _) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    assert_eq!(world.basic("ann", &secret).await.unwrap().proof.scheme, Scheme::Token);
    assert!(refusal(&world, "ann", "tg_somethingelse").await.contains("malformed"));
    let jwt = forged(&json!({"alg": "none"}), &claims(SECRET_ISSUER, json!({})), b"");
    assert_ne!(refusal(&world, "ann", &jwt).await, "the user name or the password is wrong");
    // What would be taken for one of them can be nobody's password.
    for token in ["tg_twelve letters", &jwt] {
        assert!(world.identity.hash_password(token).await.is_err(), "{token}");
    }
}

#[tokio::test]
async fn new_passwords_have_a_least_length_and_no_control_characters() {
    let world = world().await;
    for bad in ["", "eleven char", "twelve\u{0}letters", &"x".repeat(1025)] {
        let refused = world.identity.hash_password(bad).await;
        assert!(matches!(refused, Err(IdentityError::Refused { .. })), "{bad:?}");
    }
    assert!(world.identity.hash_password("äöüäöüäöüäöü").await.is_ok());
}

#[tokio::test]
async fn a_changed_password_counts_at_once_here_and_soon_on_other_replicas() {
    let world = world().await;
    let config = IdentityConfig { passwords: true, ..Default::default() };
    let replica = Identity::new(&config, world.store.clone(), Arc::new(world.clock.clone())).await.unwrap();
    let value = format!("Basic {}", STANDARD.encode(format!("ann:{PASSWORD}")));
    let headers = authorization(&[&value]);
    replica.identify(&headers).await.unwrap();
    world.basic("ann", PASSWORD).await.unwrap();
    set(&world, OTHER).await;
    refusal(&world, "ann", PASSWORD).await;
    world.basic("ann", OTHER).await.unwrap();
    // The other replica believes what the store said for so long and no longer.
    replica.identify(&headers).await.unwrap();
    world.clock.advance(5_000);
    assert!(replica.identify(&headers).await.is_err());
}

#[tokio::test]
async fn a_password_set_twice_in_one_millisecond_is_another_one() {
    let world = world().await;
    world.basic("ann", PASSWORD).await.unwrap();
    let before = world.store.password(&ann()).await.unwrap().unwrap().changed_at;
    set(&world, OTHER).await;
    assert_eq!(world.store.password(&ann()).await.unwrap().unwrap().changed_at, before);
    refusal(&world, "ann", PASSWORD).await;
}

#[tokio::test]
async fn who_is_shut_out_is_refused_though_the_password_is_remembered() {
    let world = world().await;
    world.basic("ann", PASSWORD).await.unwrap();
    world.store.set_active(&ann(), false, "user:root", UnixMillis(NOW)).await.unwrap();
    world.identity.forget();
    assert!(refusal(&world, "ann", PASSWORD).await.contains("deactivated"));
    // Only with the password one learns that.
    assert_eq!(refusal(&world, "ann", OTHER).await, "the user name or the password is wrong");
}

#[tokio::test]
async fn guesses_are_slowed_and_unknown_names_like_known_ones() {
    let world = world().await;
    let (known, unknown) = (guesses(&world, "ann", "a").await, guesses(&world, "nobody", "b").await);
    assert_eq!((known, unknown), (5, 5));
    // The right password waits there as well, and not elsewhere.
    assert!(matches!(from(&world, "ann", PASSWORD, "a").await, Err(IdentityError::Slowed { .. })));
    from(&world, "ann", PASSWORD, "home").await.unwrap();
    // What was verified needs no guess, so nobody is thrown out who is in.
    from(&world, "ann", PASSWORD, "a").await.unwrap();
}

#[tokio::test]
async fn a_verified_password_is_verified_again_after_a_while() {
    let world = world().await;
    world.basic("ann", PASSWORD).await.unwrap();
    assert_eq!(guesses(&world, "ann", "unknown").await, 5);
    world.basic("ann", PASSWORD).await.unwrap();
    // While places at this address fill up again only slowly, what is remembered ends after five minutes.
    world.clock.advance(300_000);
    assert_eq!(guesses(&world, "ann", "unknown").await, 5);
    assert!(matches!(world.basic("ann", PASSWORD).await, Err(IdentityError::Slowed { .. })));
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let world = world().await;
    let tries = (0..40).map(|number| {
        let world = &world;
        async move { from(world, "ann", &format!("guess {number} of many"), "a").await }
    });
    let answers = futures_util::future::join_all(tries).await;
    let looked_at = answers.iter().filter(|one| matches!(one, Err(IdentityError::Refused { .. }))).count();
    assert_eq!(looked_at, 5);
}

#[tokio::test]
async fn an_older_hash_is_put_under_a_new_one_when_its_owner_signs_in() {
    let world = world().await;
    // Made by werkzeug's `generate_password_hash("corréct horse, battery", method="pbkdf2:sha256:1000")`.
    let older = "pbkdf2:sha256:1000$Z2ZqXRlYQuVszRW0$817074438be2b944134dcf7bc69a0d3c05f7e00e475da917faae0a7583a8942b";
    world.store.set_password(&ann(), older, "user:root", UnixMillis(NOW)).await.unwrap();
    world.identity.forget();
    world.basic("ann", PASSWORD).await.unwrap();
    let hash = async || world.store.password(&ann()).await.unwrap().unwrap().hash.unwrap();
    for _ in 0..1_000 {
        if hash().await != older {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(hash().await.starts_with("scrypt:32768:8:1$"));
    world.identity.forget();
    world.basic("ann", PASSWORD).await.unwrap();
    refusal(&world, "ann", OTHER).await;
}
