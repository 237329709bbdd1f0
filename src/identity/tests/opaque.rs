//! Tokens of our own, as `Bearer` and as the password of `Basic`.

use super::*;
use crate::access::Scheme;
use crate::clock::UnixMillis;
use crate::store::TokenKind;

async fn world_with_ann() -> World {
    let world = World::with_secret().await;
    world.store.ensure_principal(&ann(), "user:root", UnixMillis(NOW)).await.unwrap();
    world
}

#[tokio::test]
async fn nobody_is_nobody_and_a_token_is_its_principal() {
    let world = world_with_ann().await;
    assert_eq!(world.identity.identify(&Headers::new()).await, Ok(None));
    let (secret, record) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    assert!(secret.starts_with("tg_"));
    let caller = world.bearer(&secret).await.unwrap();
    assert_eq!((caller.principal, caller.asserted_groups), (ann(), vec![]));
    assert_eq!((caller.proof.scheme, caller.proof.credential), (Scheme::Token, record.id.clone()));
    assert_eq!(world.store.tokens(Some(&ann()), TokenKind::Personal).await.unwrap()[0].id, record.id);
}

#[tokio::test]
async fn the_user_name_of_basic_is_empty_the_owners_or_token() {
    let world = world_with_ann().await;
    let (secret, _) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    for username in ["", "ann", "token"] {
        assert_eq!(world.basic(username, &secret).await.unwrap().principal, ann(), "{username}");
    }
    for username in ["bob", "Ann", "user:ann", "ann ", "admin"] {
        assert!(world.basic(username, &secret).await.is_err(), "{username}");
    }
    assert!(world.basic("ann", "ann").await.is_err());
    assert!(world.basic("ann", "").await.is_err());
}

#[tokio::test]
async fn two_authorization_headers_are_refused_even_when_they_agree() {
    let world = world_with_ann().await;
    let (secret, _) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    let good = format!("Bearer {secret}");
    for values in [[good.as_str(), good.as_str()], [good.as_str(), ""], ["", good.as_str()]] {
        let answer = world.identity.identify(&authorization(&values)).await;
        assert!(matches!(answer, Err(IdentityError::Refused { .. })));
    }
    let joined = format!("{good}, {good}");
    assert!(world.identity.identify(&authorization(&[&joined])).await.is_err());
}

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let world = world_with_ann().await;
    let ann = ann();
    let issue = |ttl| world.identity.issue_token(&ann, "laptop", ttl, "user:root");
    let (secret, record) = issue(Some(1_000)).await.unwrap();
    assert_eq!(record.expires_at, Some(UnixMillis(NOW + 1_000)));
    world.clock.advance(999);
    world.bearer(&secret).await.unwrap();
    world.clock.advance(1);
    assert!(world.refusal(&secret).await.ends_with("has expired"));
    for ttl in [0, -1, i64::MIN] {
        assert!(issue(Some(ttl)).await.is_err());
    }
    let (secret, _) = issue(Some(i64::MAX)).await.unwrap();
    world.bearer(&secret).await.unwrap();
}

#[tokio::test]
async fn revocation_holds_at_once_here_and_soon_elsewhere() {
    let world = world_with_ann().await;
    let elsewhere =
        Identity::new(&IdentityConfig::default(), world.store.clone(), Arc::new(world.clock.clone()))
            .await
            .unwrap();
    let (secret, record) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    let headers = authorization(&[&format!("Bearer {secret}")]);
    world.bearer(&secret).await.unwrap();
    assert!(elsewhere.identify(&headers).await.unwrap().is_some());
    assert!(world.identity.revoke_token(&record.id).await.unwrap());
    assert!(!world.identity.revoke_token(&record.id).await.unwrap());
    assert!(world.refusal(&secret).await.ends_with("was revoked"));
    world.clock.advance(5_000);
    assert!(elsewhere.identify(&headers).await.is_err());
}

#[tokio::test]
async fn a_deactivated_owner_cannot_call_nor_get_a_token() {
    let world = world_with_ann().await;
    let (secret, _) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    world.bearer(&secret).await.unwrap();
    world.store.set_active(&ann(), false, "user:root", UnixMillis(NOW)).await.unwrap();
    world.identity.forget();
    assert!(world.refusal(&secret).await.contains("deactivated"));
    assert!(world.identity.issue_token(&ann(), "other", None, "user:root").await.is_err());
}

#[tokio::test]
async fn tokens_are_for_known_users_and_service_principals() {
    let world = world_with_ann().await;
    let issue = async |principal: &Principal, name: &str| {
        world.identity.issue_token(principal, name, None, "user:root").await.is_ok()
    };
    assert!(!issue(&Principal::user("nobody").unwrap(), "x").await);
    assert!(!issue(&Principal::group("admins").unwrap(), "x").await);
    assert!(!issue(&ann(), "").await && !issue(&ann(), "a\nb").await);
    assert!(issue(&ann(), "x").await);
}

#[tokio::test]
async fn a_token_of_another_store_or_none_at_all_is_refused() {
    let (world, other) = (world_with_ann().await, world_with_ann().await);
    let (secret, _) = other.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    assert_eq!(world.refusal(&secret).await, "the token is not known");
    let mistyped = format!("{}x", &secret[..secret.len() - 1]);
    for bad in ["tg_", "tg_x", &mistyped, "x", "tg.a.b", "TG_x"] {
        assert!(world.bearer(bad).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let world = world_with_ann().await;
    let (secret, _) = world.identity.issue_token(&ann(), "laptop", None, "user:root").await.unwrap();
    let noted_at = async |expected: i64| {
        // Noted beside the request, so it may come a little later.
        for _ in 0..500 {
            let used = world.store.tokens(Some(&ann()), TokenKind::Personal).await.unwrap()[0].last_used_at;
            if used == Some(UnixMillis(expected)) {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        false
    };
    world.bearer(&secret).await.unwrap();
    assert!(noted_at(NOW).await);
    world.clock.advance(59_999);
    world.bearer(&secret).await.unwrap();
    world.clock.advance(1);
    world.bearer(&secret).await.unwrap();
    assert!(noted_at(world.clock.now().0).await);
}
