//! Keys: one order whoever rotates, an end for what was made with a key that goes, and nothing for what did not know.

use super::*;
use crate::secret::SecretKey;
use crate::store::{
    KeyedHash, MOST_KEYS, NewClientSecret, NewSession, NewToken, Purpose, Retirement, StoreError, TokenKind,
};

const GENTLY: Retirement = Retirement { force: false, settled_ms: 0, replaced: false };
const FORCED: Retirement = Retirement { force: true, ..GENTLY };

fn at(ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

fn hash(key: &str, number: u8) -> KeyedHash {
    KeyedHash { key: key.to_owned(), hash: [number; 32] }
}

fn token(number: u8, key: &str, principal: &Principal) -> NewToken {
    NewToken {
        id: format!("tok_{number}"),
        hash: hash(key, number),
        principal: principal.clone(),
        name: "laptop".to_owned(),
        created_at: NOW,
        created_by: BY.to_owned(),
        expires_at: None,
        scopes: None,
        source: None,
    }
}

fn session(number: u8, key: &str, sealed: &str, principal: &Principal) -> NewSession {
    NewSession {
        id: format!("ses_{number}"),
        hash: hash(key, number),
        principal: principal.clone(),
        issuer: "https://i".to_owned(),
        subject: "s".to_owned(),
        issuer_session: None,
        groups: Vec::new(),
        sealed_tokens: sealed.to_owned(),
        created_at: NOW,
        refresh_at: None,
        expires_at: at(1_000_000_000),
        source_address: None,
        user_agent: None,
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    let error = result.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn the_first_key_is_the_one_that_replicas_of_the_version_before_have() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        // Such a replica was here before.
        let old = one.secret("token-hash").await.unwrap();
        let ensured = Purpose::ALL.into_iter().map(|purpose| {
            let (one, two) = (&one, &two);
            async move {
                let both = tokio::join!(one.ensure_key(purpose, NOW), two.ensure_key(purpose, NOW));
                both.0.and(both.1).unwrap();
            }
        });
        futures_util::future::join_all(ensured).await;
        let keys = one.keys().await.unwrap();
        assert_eq!(keys.len(), Purpose::ALL.len());
        assert!(keys.iter().all(|key| key.id == "k1" && key.active_from == UnixMillis(0)));
        let of = |purpose| keys.iter().find(|key| key.purpose == purpose).unwrap().value.clone().unwrap();
        assert_eq!(of(Purpose::Token).expose(), &old);
        assert_eq!(of(Purpose::Session).expose(), &two.secret("session-hash").await.unwrap());
        assert_ne!(of(Purpose::Sealing).expose(), of(Purpose::Session).expose());
        assert!(
            !format!("{keys:?}").contains(&format!("{old:?}")) && format!("{keys:?}").contains("redacted")
        );
    })
    .await;
}

#[tokio::test]
async fn rotations_at_two_replicas_are_one_after_another() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        one.ensure_key(Purpose::Token, NOW).await.unwrap();
        let rotate = |number: usize| {
            let store = if number.is_multiple_of(2) { one.clone() } else { two.clone() };
            async move { store.rotate_key(Purpose::Token, 0, BY, NOW).await }
        };
        let done = futures_util::future::join_all((0..6).map(rotate)).await;
        let mut made: Vec<String> = done.iter().flatten().map(|key| key.id.clone()).collect();
        made.sort();
        assert_eq!(made, ["k2", "k3", "k4"]);
        for refused in done.into_iter().filter(Result::is_err) {
            assert!(problem(refused).contains("retire one, such as `k1`"));
        }
        let keys = two.keys().await.unwrap();
        assert_eq!(keys.len(), MOST_KEYS);
        let values: std::collections::HashSet<[u8; 32]> =
            keys.iter().map(|key| *key.value.as_ref().unwrap().expose()).collect();
        assert_eq!(values.len(), MOST_KEYS, "a key of its own each");
        // An id is never given again.
        one.retire_key(Purpose::Token, "k1", GENTLY, BY, NOW).await.unwrap();
        one.retire_key(Purpose::Token, "k3", GENTLY, BY, NOW).await.unwrap();
        assert_eq!(two.rotate_key(Purpose::Token, 0, BY, NOW).await.unwrap().id, "k5");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_waits_for_its_time_holds_up_the_next_and_can_be_called_off() {
    on_both(async |database| {
        let store = database.open().await;
        store.ensure_key(Purpose::Sealing, NOW).await.unwrap();
        let made = store.rotate_key(Purpose::Sealing, 60_000, BY, NOW).await.unwrap();
        assert_eq!((made.id.as_str(), made.active_from), ("k2", at(60_000)));
        let again = store.rotate_key(Purpose::Sealing, 0, BY, at(59_999)).await;
        assert!(problem(again).contains("takes over in 1 seconds"));
        // The old one is still what makes.
        for how in [GENTLY, FORCED] {
            let active = store.retire_key(Purpose::Sealing, "k1", how, BY, at(59_999)).await;
            assert!(problem(active).contains("is the active one"));
        }
        store.retire_key(Purpose::Sealing, "k2", GENTLY, BY, at(1)).await.unwrap();
        assert_eq!(store.rotate_key(Purpose::Sealing, 0, BY, at(2)).await.unwrap().id, "k3");
        // Signed URLs live for an hour.
        let early = store.retire_key(Purpose::Sealing, "k1", GENTLY, BY, at(3_600_001)).await;
        assert!(problem(early).contains("for 1 seconds more"));
        store.retire_key(Purpose::Sealing, "k1", GENTLY, BY, at(3_600_002)).await.unwrap();
        for (id, how) in [("k1", FORCED), ("k9", FORCED), ("", GENTLY), ("1", GENTLY)] {
            problem(store.retire_key(Purpose::Sealing, id, how, BY, at(3_600_003)).await);
        }
    })
    .await;
}

#[tokio::test]
async fn what_still_depends_on_a_key_is_counted_and_ends_only_by_force() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        let agent = Principal::service_principal("agent").unwrap();
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        store.ensure_principal(&agent, BY, NOW).await.unwrap();
        for purpose in Purpose::ALL {
            store.ensure_key(purpose, NOW).await.unwrap();
            store.rotate_key(purpose, 0, BY, NOW).await.unwrap();
        }
        // By a replica of the version before, which knows of no column.
        database
            .run(
                "INSERT INTO tokens (id, hash, principal, name, created_at_ms, created_by) \
                 SELECT 'tok_old', value, 'user:ann', 'old', 0, 'x' FROM secrets WHERE name = 'token-hash'",
            )
            .await;
        store.add_token(&token(1, "k1", &ann)).await.unwrap();
        store.add_token(&token(2, "k2", &ann)).await.unwrap();
        let ended = NewToken { expires_at: Some(NOW), ..token(3, "k1", &ann) };
        store.add_token(&ended).await.unwrap();
        store.add_token(&token(4, "k1", &ann)).await.unwrap();
        store.revoke_token("tok_4", NOW).await.unwrap();
        let secret = NewClientSecret {
            id: "sec_1".to_owned(),
            hash: hash("k1", 1),
            principal: agent.clone(),
            created_at: NOW,
            created_by: BY.to_owned(),
            expires_at: None,
            scopes: None,
        };
        store.add_client_secret(&secret).await.unwrap();
        let got =
            NewToken { source: Some("sec_1".to_owned()), expires_at: Some(at(99)), ..token(5, "k2", &agent) };
        assert!(store.add_token_for_secret(&got, "sec_1").await.unwrap());
        store.add_session(&session(1, "k1", "AAAA", &ann)).await.unwrap();
        store.add_session(&session(2, "k2", "k2.AAAA", &ann)).await.unwrap();

        let counts = store.key_dependents(at(1)).await.unwrap();
        let count = |purpose, key: &str| counts.get(&(purpose, key.to_owned())).copied().unwrap_or(0);
        assert_eq!((count(Purpose::Token, "k1"), count(Purpose::Token, "k2")), (2, 2));
        assert_eq!((count(Purpose::ClientSecret, "k1"), count(Purpose::ClientSecret, "k2")), (1, 0));
        for purpose in [Purpose::Session, Purpose::SessionTokens] {
            assert_eq!((count(purpose, "k1"), count(purpose, "k2")), (1, 1));
        }

        let late = at(3_600_000);
        for (purpose, number) in [
            (Purpose::Token, 2),
            (Purpose::ClientSecret, 1),
            (Purpose::Session, 1),
            (Purpose::SessionTokens, 1),
        ] {
            let refused = problem(store.retire_key(purpose, "k1", GENTLY, BY, at(3_600_000)).await);
            assert!(refused.starts_with(&format!("{number} ")), "{refused}");
            if purpose == Purpose::SessionTokens {
                // Ended with the key of its cookie.
                continue;
            }
            let retired = store.retire_key(purpose, "k1", FORCED, BY, late).await.unwrap();
            assert_eq!(retired.ended, number, "{purpose:?}");
            assert!(retired.key.value.is_some(), "as it was");
            if purpose == Purpose::Session {
                store.add_session(&session(3, "k2", "BBBB", &ann)).await.unwrap();
            }
        }
        let retired = store.retire_key(Purpose::SessionTokens, "k1", FORCED, BY, late).await.unwrap();
        assert_eq!(retired.ended, 1);
        let good: Vec<String> = store
            .tokens(Some(&ann), TokenKind::Personal)
            .await
            .unwrap()
            .into_iter()
            .filter(|token| token.revoked_at.is_none() && token.expires_at.is_none())
            .map(|token| token.id)
            .collect();
        assert_eq!(good, ["tok_2"]);
        // What was got for a secret goes with it, as when it is revoked.
        assert!(store.token("tok_5").await.unwrap().unwrap().revoked_at.is_some());
        let open: Vec<String> =
            store.sessions(None, at(1)).await.unwrap().into_iter().map(|session| session.id).collect();
        assert_eq!(open, ["ses_2"]);
        // The key itself is nowhere any more, neither under its old name.
        let gone = retired.key.value.unwrap();
        assert_ne!(&store.secret("session-tokens").await.unwrap(), gone.expose());
        let keys = store.keys().await.unwrap();
        let left = |key: &SecretKey| key.expose() == gone.expose();
        assert!(!keys.iter().filter_map(|key| key.value.as_ref()).any(left));
        assert_eq!(keys.iter().filter(|key| key.retired_at.is_some()).count(), 4);
    })
    .await;
}

#[tokio::test]
async fn no_force_takes_the_last_credential_of_the_last_administrator() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        store.add_member(&group("admins"), &ann, BY, NOW).await.unwrap();
        store.ensure_key(Purpose::Token, NOW).await.unwrap();
        store.add_token(&token(1, "k1", &ann)).await.unwrap();
        store.rotate_key(Purpose::Token, 0, BY, NOW).await.unwrap();
        let refused = store.retire_key(Purpose::Token, "k1", FORCED, BY, NOW).await;
        assert_eq!(refused.unwrap_err(), StoreError::LastCredential);
        assert!(store.token("tok_1").await.unwrap().unwrap().revoked_at.is_none());
        assert!(store.keys().await.unwrap().iter().all(|key| key.value.is_some()));
        assert!(store.rehash(Purpose::Token, "tok_1", &[1; 32], &hash("k2", 9)).await.unwrap());
        assert_eq!(store.retire_key(Purpose::Token, "k1", GENTLY, BY, NOW).await.unwrap().ended, 0);
    })
    .await;
}

#[tokio::test]
async fn a_hash_is_replaced_once_by_a_key_that_is_in_force() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        store.ensure_key(Purpose::Token, NOW).await.unwrap();
        for _ in 0..2 {
            store.rotate_key(Purpose::Token, 0, BY, NOW).await.unwrap();
        }
        store.add_token(&token(1, "k1", &ann)).await.unwrap();
        store.retire_key(Purpose::Token, "k2", GENTLY, BY, NOW).await.unwrap();
        // A replica that has not heard of that yet must not make the token good for nothing.
        assert!(!store.rehash(Purpose::Token, "tok_1", &[1; 32], &hash("k2", 7)).await.unwrap());
        assert!(!store.rehash(Purpose::Token, "tok_1", &[2; 32], &hash("k3", 8)).await.unwrap());
        assert!(store.rehash(Purpose::Token, "tok_1", &[1; 32], &hash("k3", 8)).await.unwrap());
        assert!(!store.rehash(Purpose::Token, "tok_1", &[1; 32], &hash("k3", 8)).await.unwrap());
        let asked = [hash("k3", 8), hash("k1", 1)];
        let (found, by) = store.token_by_hash(&asked).await.unwrap().unwrap();
        assert_eq!((found.id.as_str(), by), ("tok_1", hash("k3", 8)));
        assert!(store.token_by_hash(&asked[1..]).await.unwrap().is_none());
        assert!(
            store.token_by_hash(&[]).await.is_err()
                && store.token_by_hash(&vec![hash("k1", 1); 9]).await.is_err()
        );
        store.revoke_token("tok_1", NOW).await.unwrap();
        assert!(!store.rehash(Purpose::Token, "tok_1", &[8; 32], &hash("k3", 9)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_purpose_without_a_key_gets_a_new_one_and_not_an_old_one() {
    on_both(async |database| {
        let store = database.open().await;
        store.ensure_key(Purpose::Token, NOW).await.unwrap();
        let first = store.secret("token-hash").await.unwrap();
        // As after a file took over and the key of the database was retired.
        let replaced = Retirement { replaced: true, ..GENTLY };
        store.retire_key(Purpose::Token, "k1", replaced, BY, NOW).await.unwrap();
        store.ensure_key(Purpose::Token, NOW).await.unwrap();
        store.ensure_key(Purpose::Token, NOW).await.unwrap();
        let keys = store.keys().await.unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1].id, "k2");
        assert_ne!(keys[1].value.as_ref().unwrap().expose(), &first);
    })
    .await;
}
