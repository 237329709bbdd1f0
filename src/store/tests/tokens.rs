//! Tokens, shared secrets and artifact roots.

use super::*;
use crate::store::{NewToken, StoreError, TokenKind};

fn token(id: &str, principal: &Principal) -> NewToken {
    NewToken {
        id: id.to_owned(),
        hash: [id.len() as u8; 32].into(),
        principal: principal.clone(),
        name: "laptop".to_owned(),
        created_at: NOW,
        created_by: BY.to_owned(),
        expires_at: Some(UnixMillis(NOW.0 + 1)),
        scopes: None,
        source: None,
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_and_remembers_use_and_revocation() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        assert!(matches!(store.add_token(&token("a", &ann)).await, Err(StoreError::NotFound(_))));
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        store.add_token(&token("a", &ann)).await.unwrap();
        assert!(store.add_token(&token("b", &ann)).await.is_err(), "two tokens of one hash");

        assert!(store.token_by_hash(&[[0; 32].into()]).await.unwrap().is_none());
        let found = store.token_by_hash(&[[1; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!((found.id.as_str(), &found.principal), ("a", &ann));
        assert_eq!((found.last_used_at, found.revoked_at, found.principal_active), (None, None, true));

        store.touch_token("a", UnixMillis(20)).await.unwrap();
        store.touch_token("a", UnixMillis(10)).await.unwrap();
        assert!(store.revoke_token("a", UnixMillis(30)).await.unwrap());
        assert!(!store.revoke_token("a", UnixMillis(40)).await.unwrap());
        assert!(!store.revoke_token("none", NOW).await.unwrap());
        store.set_active(&ann, false, BY, NOW).await.unwrap();
        let found = store.token_by_hash(&[[1; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!(found.last_used_at, Some(UnixMillis(20)));
        assert_eq!(found.revoked_at, Some(UnixMillis(30)));
        assert!(!found.principal_active);
        assert_eq!(store.is_active(&ann).await.unwrap(), Some(false));
        assert_eq!(store.tokens(Some(&ann), TokenKind::Personal).await.unwrap(), [found]);
        assert!(store.tokens(Some(&user("bob")), TokenKind::Personal).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn everyone_gets_the_same_secret_even_when_all_ask_at_once() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        let asked = (0..8).map(|number| {
            let store = if number % 2 == 0 { one.clone() } else { two.clone() };
            async move { store.secret("page-tokens").await.unwrap() }
        });
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| *answer == answers[0] && *answer != [0; 32]));
        assert_ne!(one.secret("other").await.unwrap(), answers[0]);
    })
    .await;
}

#[tokio::test]
async fn no_experiment_is_rooted_in_or_around_another() {
    on_both(async |database| {
        let store = database.open().await;
        let (one, two) = (experiment("1"), experiment("2"));
        assert!(store.put_artifact_root("/a/b/", &one).await.unwrap());
        assert!(store.put_artifact_root("a/b", &one).await.unwrap());
        assert!(store.put_artifact_root("a/b/own", &one).await.unwrap());
        for taken in ["a/b", "a", "a/b/c", "a/b/own/x"] {
            assert!(!store.put_artifact_root(taken, &two).await.unwrap(), "{taken}");
        }
        for free in ["a/bc", "a/B", "a/b.x", "a/b-x", "a/c"] {
            assert!(store.put_artifact_root(free, &two).await.unwrap(), "{free}");
        }
        for bad in ["", "/", "a/../b", "a//b", "./a", "a\0"] {
            assert!(store.put_artifact_root(bad, &two).await.unwrap_err().is_refusal(), "{bad:?}");
        }
        let roots = store.artifact_roots().await.unwrap();
        assert_eq!(roots.len(), 7);
        assert!(roots.contains(&("a/b".to_owned(), one)));
    })
    .await;
}
