//! Sessions of browsers.

use super::*;
use crate::store::{NewSession, Sessions, StoreError};

fn session(id: &str, principal: &Principal, subject: &str) -> NewSession {
    NewSession {
        id: id.to_owned(),
        hash: [id.as_bytes()[0]; 32].into(),
        principal: principal.clone(),
        issuer: "https://issuer".to_owned(),
        subject: subject.to_owned(),
        issuer_session: Some(format!("sid-{id}")),
        groups: vec![group("readers")],
        sealed_tokens: "sealed".to_owned(),
        created_at: NOW,
        refresh_at: Some(UnixMillis(NOW.0 + 10)),
        expires_at: UnixMillis(NOW.0 + 1000),
        source_address: None,
        user_agent: Some("a browser".to_owned()),
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_hash_and_ends_once() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, bob) = (user("ann"), user("bob"));
        assert!(matches!(store.add_session(&session("a", &ann, "1")).await, Err(StoreError::NotFound(_))));
        for principal in [&ann, &bob] {
            store.ensure_principal(principal, BY, NOW).await.unwrap();
        }
        for (id, principal, subject) in
            [("a", &ann, "1"), ("b", &ann, "1"), ("c", &bob, "2"), ("d", &bob, "2")]
        {
            store.add_session(&session(id, principal, subject)).await.unwrap();
        }
        assert!(store.add_session(&session("a", &ann, "1")).await.is_err(), "two sessions of one cookie");
        assert!(store.session_by_hash(&[[0; 32].into()]).await.unwrap().is_none());
        let found = store.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!(
            (found.id.as_str(), &found.principal, &found.groups),
            ("a", &ann, &vec![group("readers")])
        );
        assert!(found.principal_active && found.ended_at.is_none() && found.source_address.is_none());

        let later = UnixMillis(NOW.0 + 5);
        store.touch_session("a", later).await.unwrap();
        store.touch_session("a", NOW).await.unwrap();
        assert_eq!(store.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0.last_used_at, later);

        assert_eq!(
            store.end_sessions(Sessions::One("a"), later, "x").await.unwrap(),
            [("a".into(), ann.clone())]
        );
        assert!(store.end_sessions(Sessions::One("a"), later, "y").await.unwrap().is_empty());
        let ended = store.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!((ended.ended_at, ended.ended_why.as_deref()), (Some(later), Some("x")));
        assert!(ended.sealed_tokens.is_empty());
        store.touch_session("a", UnixMillis(NOW.0 + 9)).await.unwrap();
        assert_eq!(store.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0.last_used_at, later);

        let issuer = "https://issuer";
        let other = Sessions::OfSubject { issuer: "https://other", subject: "2" };
        assert!(store.end_sessions(other, later, "x").await.unwrap().is_empty());
        let of_issuer = Sessions::OfIssuerSession { issuer, session: "sid-c" };
        assert_eq!(store.end_sessions(of_issuer, later, "x").await.unwrap().len(), 1);
        let subject = Sessions::OfSubject { issuer, subject: "2" };
        assert_eq!(store.end_sessions(subject, later, "x").await.unwrap(), [("d".into(), bob.clone())]);
        assert_eq!(store.sessions(None, later).await.unwrap().len(), 1);
        assert_eq!(store.sessions(Some(&ann), later).await.unwrap()[0].id, "b");
        assert!(store.sessions(Some(&ann), UnixMillis(NOW.0 + 1000)).await.unwrap().is_empty());
        assert_eq!(store.end_sessions(Sessions::Of(&ann), later, "x").await.unwrap().len(), 1);
        // What is over by itself is not ended again.
        store.add_session(&session("e", &ann, "1")).await.unwrap();
        let over = UnixMillis(NOW.0 + 1000);
        assert!(store.end_sessions(Sessions::One("e"), over, "x").await.unwrap().is_empty());

        assert_eq!(store.prune_sessions(NOW).await.unwrap(), 0);
        assert_eq!(store.prune_sessions(over).await.unwrap(), 0);
        assert_eq!(store.prune_sessions(UnixMillis(NOW.0 + 1001)).await.unwrap(), 5);
    })
    .await;
}

#[tokio::test]
async fn one_replica_has_the_turn_to_renew_and_a_session_that_ended_is_not_renewed() {
    on_both(async |database| {
        let (store, other) = (database.open().await, database.open().await);
        let ann = user("ann");
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        store.add_session(&session("a", &ann, "1")).await.unwrap();
        let (due, lease) = (UnixMillis(NOW.0 + 10), UnixMillis(NOW.0 + 30));
        let (mine, theirs) =
            tokio::join!(store.claim_renewal("a", due, lease), other.claim_renewal("a", due, lease));
        assert_ne!(mine.unwrap(), theirs.unwrap());
        // Whoever had the turn and did not come back loses it.
        assert!(other.claim_renewal("a", lease, UnixMillis(NOW.0 + 60)).await.unwrap());
        store.renew_session("a", &[group("writers")], "anew", Some(UnixMillis(NOW.0 + 90))).await.unwrap();
        let renewed = other.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0;
        assert_eq!((renewed.groups, renewed.sealed_tokens), (vec![group("writers")], "anew".to_owned()));
        store.end_sessions(Sessions::One("a"), NOW, "x").await.unwrap();
        store.renew_session("a", &[], "again", None).await.unwrap();
        let ended = other.session_by_hash(&[[b'a'; 32].into()]).await.unwrap().unwrap().0;
        assert!(ended.sealed_tokens.is_empty() && ended.ended_at.is_some());
        assert!(!store.claim_renewal("a", UnixMillis(NOW.0 + 90), lease).await.unwrap());
    })
    .await;
}
