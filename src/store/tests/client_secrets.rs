//! Client secrets, and the access tokens that end with them.

use super::*;
use crate::store::{MOST_SECRETS, NewClientSecret, NewToken, StoreError, TokenKind};

fn agent() -> Principal {
    Principal::service_principal("agent").unwrap()
}

fn secret(number: u8) -> NewClientSecret {
    NewClientSecret {
        id: format!("sec_{number}"),
        hash: [number; 32].into(),
        principal: agent(),
        created_at: NOW,
        created_by: BY.to_owned(),
        expires_at: Some(UnixMillis(NOW.0 + 1_000)),
        scopes: Some(vec!["CAN_INGEST@experiment:1".parse().unwrap()]),
    }
}

fn token(number: u8, source: &str) -> NewToken {
    NewToken {
        id: format!("tok_{number}"),
        hash: [number; 32].into(),
        principal: agent(),
        name: "access token".to_owned(),
        created_at: NOW,
        created_by: BY.to_owned(),
        expires_at: Some(UnixMillis(NOW.0 + 500)),
        scopes: Some(vec!["trace.read@experiment:2".parse().unwrap()]),
        source: Some(source.to_owned()),
    }
}

#[tokio::test]
async fn a_secret_is_kept_with_what_it_is_for_and_ends_with_its_tokens() {
    on_both(async |database| {
        let store = database.open().await;
        assert!(matches!(store.add_client_secret(&secret(1)).await, Err(StoreError::NotFound(_))));
        store.ensure_principal(&agent(), BY, NOW).await.unwrap();
        let of_a_user = NewClientSecret { principal: user("ann"), ..secret(9) };
        store.ensure_principal(&user("ann"), BY, NOW).await.unwrap();
        assert!(store.add_client_secret(&of_a_user).await.unwrap_err().is_refusal());
        store.add_client_secret(&secret(1)).await.unwrap();
        store.add_client_secret(&secret(2)).await.unwrap();
        let found = store.client_secret_by_hash(&[[1; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!(
            (found.id.as_str(), &found.principal, &found.scopes),
            ("sec_1", &agent(), &secret(1).scopes)
        );
        assert!(store.client_secret_by_hash(&[[3; 32].into()]).await.unwrap().is_none());
        assert!(found.in_force(NOW) && !found.in_force(UnixMillis(NOW.0 + 1_000)));

        assert!(store.add_token_for_secret(&token(1, "sec_1"), "sec_1").await.unwrap());
        assert!(store.add_token_for_secret(&token(2, "sec_2"), "sec_2").await.unwrap());
        let kept = store.token("tok_1").await.unwrap().unwrap();
        assert_eq!((kept.kind, &kept.scopes), (TokenKind::Oauth, &token(1, "sec_1").scopes));
        assert_eq!(store.client_secrets(&agent()).await.unwrap()[0].last_used_at, Some(NOW));
        assert!(store.tokens(Some(&agent()), TokenKind::Personal).await.unwrap().is_empty());
        assert_eq!(store.tokens(Some(&agent()), TokenKind::Oauth).await.unwrap().len(), 2);

        // Another's secret cannot be revoked in this one's name.
        assert!(store.revoke_client_secret(&user("ann"), "sec_1", NOW).await.unwrap().is_none());
        assert!(store.revoke_client_secret(&agent(), "sec_1", NOW).await.unwrap().is_some());
        assert!(store.revoke_client_secret(&agent(), "sec_1", NOW).await.unwrap().is_none());
        assert!(store.token("tok_1").await.unwrap().unwrap().revoked_at.is_some());
        assert!(store.token("tok_2").await.unwrap().unwrap().revoked_at.is_none());
        assert!(!store.add_token_for_secret(&token(3, "sec_1"), "sec_1").await.unwrap());
        assert!(store.token("tok_3").await.unwrap().is_none());

        // Nor after its end, nor for somebody who was shut out.
        let late = NewToken { created_at: UnixMillis(NOW.0 + 1_000), ..token(4, "sec_2") };
        assert!(!store.add_token_for_secret(&late, "sec_2").await.unwrap());
        store.set_active(&agent(), false, BY, NOW).await.unwrap();
        assert!(!store.add_token_for_secret(&token(5, "sec_2"), "sec_2").await.unwrap());
        assert!(store.add_client_secret(&secret(6)).await.unwrap_err().is_refusal());
    })
    .await;
}

#[tokio::test]
async fn there_are_only_so_many_secrets_even_when_all_are_made_at_once() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        one.ensure_principal(&agent(), BY, NOW).await.unwrap();
        let made = (0..30_u8).map(|number| {
            let store = if number % 2 == 0 { one.clone() } else { two.clone() };
            async move { store.add_client_secret(&secret(number)).await.is_ok() }
        });
        let made = futures_util::future::join_all(made).await.into_iter().filter(|made| *made).count();
        assert_eq!(made as i64, MOST_SECRETS);
        // What ended makes room.
        let later = NewClientSecret { created_at: UnixMillis(NOW.0 + 2_000), expires_at: None, ..secret(50) };
        one.add_client_secret(&later).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn no_token_outlives_a_secret_that_is_revoked_while_it_is_made() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        one.ensure_principal(&agent(), BY, NOW).await.unwrap();
        for round in 0..10_u8 {
            let id = format!("sec_{round}");
            one.add_client_secret(&secret(round)).await.unwrap();
            let makes = (0..4_u8).map(|number| {
                let (store, id) = (one.clone(), id.clone());
                let token = token(100 + round * 4 + number, &id);
                async move { store.add_token_for_secret(&token, &id).await.unwrap() }
            });
            let principal = agent();
            let revoke = two.revoke_client_secret(&principal, &id, NOW);
            let (_, revoked) = tokio::join!(futures_util::future::join_all(makes), revoke);
            assert!(revoked.unwrap().is_some());
        }
        let tokens = one.tokens(Some(&agent()), TokenKind::Oauth).await.unwrap();
        assert!(tokens.iter().all(|token| token.revoked_at.is_some()), "{tokens:?}");
    })
    .await;
}

#[tokio::test]
async fn old_access_tokens_are_forgotten_and_no_others() {
    on_both(async |database| {
        let store = database.open().await;
        store.ensure_principal(&agent(), BY, NOW).await.unwrap();
        store.add_client_secret(&secret(1)).await.unwrap();
        store.add_token_for_secret(&token(1, "sec_1"), "sec_1").await.unwrap();
        let personal = NewToken { source: None, ..token(2, "") };
        store.add_token(&personal).await.unwrap();
        assert_eq!(store.prune_access_tokens(UnixMillis(NOW.0 + 500)).await.unwrap(), 0);
        assert_eq!(store.prune_access_tokens(UnixMillis(NOW.0 + 501)).await.unwrap(), 1);
        assert!(store.token("tok_1").await.unwrap().is_none());
        assert!(store.token("tok_2").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_number_of_the_directory_names_a_principal() {
    on_both(async |database| {
        let store = database.open().await;
        store.ensure_principal(&agent(), BY, NOW).await.unwrap();
        assert_eq!(store.number_of_principal(&agent()).await.unwrap(), None);
        let insert = "INSERT INTO directory (principal, attributes, changed_at_ms) \
                      VALUES ('service_principal:agent', '{}', 1)";
        database.run(insert).await;
        let number = store.number_of_principal(&agent()).await.unwrap().unwrap();
        assert_eq!(store.principal_of_number(number).await.unwrap(), Some(agent()));
        assert_eq!(store.principal_of_number(number + 1).await.unwrap(), None);
    })
    .await;
}
