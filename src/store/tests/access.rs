//! Requests for access and reviews, on both databases.

use std::sync::Arc;

use super::{BY, NOW, TestStore, grant, on_both, user};
use crate::clock::UnixMillis;
use crate::store::{
    Asked, Decided, MOST_WAITING, NewAccessRequest, RequestFilter, RequestState, Store, StoreError, WAITS_MS,
};

const HOUR: i64 = 3_600_000;

fn wanted(number: usize, who: &str, on: &str, privilege: &str) -> NewAccessRequest {
    NewAccessRequest {
        id: format!("0190-{number:04}"),
        principal: user(who),
        securable: on.parse().unwrap(),
        privilege: privilege.to_owned(),
        reason: "needed for a test".to_owned(),
        duration_ms: Some(HOUR),
    }
}

async fn known(test: &TestStore, who: &str) -> Store {
    let store = test.open().await;
    store.ensure_principal(&user(who), BY, NOW).await.unwrap();
    store
}

#[tokio::test]
async fn many_at_once_ask_the_same_and_there_is_one_request() {
    on_both(async |test| {
        let store = Arc::new(known(test, "ann").await);
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let store = Arc::clone(&store);
                let new = wanted(number, "ann", "experiment:1", "CAN_READ");
                tokio::spawn(async move { store.ask_access(&new, NOW).await.unwrap() })
            })
            .collect();
        let (mut made, mut ids) = (0, std::collections::HashSet::new());
        for task in tasks {
            match task.await.unwrap() {
                Asked::Made(request) => {
                    made += 1;
                    ids.insert(request.id);
                }
                Asked::Waits(request) => {
                    ids.insert(request.id);
                }
                Asked::TooMany(problem) => panic!("{problem}"),
            }
        }
        assert_eq!((made, ids.len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn many_at_once_approve_and_there_is_one_grant() {
    on_both(async |test| {
        let store = Arc::new(known(test, "ann").await);
        store.ask_access(&wanted(1, "ann", "experiment:1", "CAN_READ"), NOW).await.unwrap();
        let before = store.policy_version().await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    store.approve_access("0190-0001", Some(HOUR), None, BY, NOW).await.unwrap()
                })
            })
            .collect();
        let (mut done, mut over) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Decided::Done { request, grant, change } => {
                    done += 1;
                    let grant = grant.unwrap();
                    assert_eq!(request.grant_id, Some(grant.id.0));
                    assert_eq!(grant.grant.expires_at, Some(UnixMillis(NOW.0 + HOUR)));
                    assert_eq!(change.policy_change.before["request"]["state"], "pending");
                    assert_eq!(change.policy_change.after["request"]["state"], "approved");
                }
                Decided::Over(request) => {
                    over += 1;
                    assert_eq!(request.state, RequestState::Approved);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((done, over), (1, 7));
        assert_eq!(store.grants(Some(&user("ann")), None).await.unwrap().len(), 1);
        assert_eq!(store.policy_version().await.unwrap(), before + 1);
    })
    .await;
}

#[tokio::test]
async fn approval_never_shortens_what_is_held_and_gives_nothing_to_the_inactive() {
    on_both(async |test| {
        let store = known(test, "ann").await;
        store.add_grant(&grant(&user("ann"), "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
        store.ask_access(&wanted(1, "ann", "experiment:1", "CAN_READ"), NOW).await.unwrap();
        let version = store.policy_version().await.unwrap();
        let decided = store.approve_access("0190-0001", Some(HOUR), None, BY, NOW).await.unwrap();
        let Decided::Done { grant: Some(standing), change, .. } = decided else { panic!("{decided:?}") };
        assert_eq!((standing.grant.expires_at, change.changed), (None, false));
        assert_eq!(store.policy_version().await.unwrap(), version);

        store.ask_access(&wanted(2, "ann", "experiment:2", "CAN_READ"), NOW).await.unwrap();
        store.set_active(&user("ann"), false, BY, NOW).await.unwrap();
        let decided = store.approve_access("0190-0002", Some(HOUR), None, BY, NOW).await.unwrap();
        assert!(matches!(decided, Decided::Inactive), "{decided:?}");
        let asked = store.ask_access(&wanted(3, "ann", "experiment:3", "CAN_READ"), NOW).await;
        assert!(matches!(asked, Err(StoreError::NotFound(_))), "{asked:?}");
        assert_eq!(store.grants(Some(&user("ann")), None).await.unwrap().len(), 1);
        // Nothing half done: it waits still.
        let request = store.access_request("0190-0002", NOW).await.unwrap().unwrap();
        assert_eq!((request.state, request.grant_id), (RequestState::Pending, None));
    })
    .await;
}

#[tokio::test]
async fn requests_expire_are_bounded_and_listed_by_state() {
    on_both(async |test| {
        let store = known(test, "ann").await;
        for number in 0..MOST_WAITING as usize {
            let on = format!("experiment:{number}");
            let asked = store.ask_access(&wanted(number, "ann", &on, "CAN_READ"), NOW).await.unwrap();
            assert!(matches!(asked, Asked::Made(_)), "{asked:?}");
        }
        let more = wanted(900, "ann", "experiment:900", "CAN_READ");
        assert!(matches!(store.ask_access(&more, NOW).await.unwrap(), Asked::TooMany(_)));
        let later = UnixMillis(NOW.0 + WAITS_MS);
        let listed = async |state, now| {
            let filter = RequestFilter { state: Some(state), ..RequestFilter::default() };
            store.access_requests(&filter, now, 100).await.unwrap().len()
        };
        assert_eq!(listed(RequestState::Pending, NOW).await, 20);
        assert_eq!(
            (listed(RequestState::Pending, later).await, listed(RequestState::Expired, later).await),
            (0, 20)
        );
        let decided = store.approve_access("0190-0000", Some(HOUR), None, BY, later).await.unwrap();
        assert!(matches!(decided, Decided::Over(request) if request.state == RequestState::Expired));
        assert!(matches!(store.ask_access(&more, later).await.unwrap(), Asked::Made(_)));
        let unknown = store.ask_access(&wanted(901, "ann", "experiment:1", "CAN_FLY"), NOW).await;
        assert!(matches!(unknown, Err(StoreError::UnknownPrivilege(_))), "{unknown:?}");
        let nonsense = store.ask_access(&wanted(902, "ann", "experiment:1", "SELECT"), NOW).await;
        assert!(matches!(nonsense, Err(StoreError::Refused(_))), "{nonsense:?}");
    })
    .await;
}

#[tokio::test]
async fn a_review_is_of_the_grant_that_was_looked_at() {
    on_both(async |test| {
        let store = known(test, "ann").await;
        let (held, _) =
            store.add_grant(&grant(&user("ann"), "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
        let version = store.policy_version().await.unwrap();
        let (_, change) = store.keep_grant(held.id, "on call", BY, NOW).await.unwrap().unwrap();
        assert!(!change.changed && change.policy_change.before["review"].is_null());
        assert_eq!(store.access_reviews(&[held.id]).await.unwrap()[&held.id].reviewed_by, BY);
        assert_eq!(store.policy_version().await.unwrap(), version);
        let (_, change) = store.revoke_reviewed(held.id, "left the team", BY, NOW).await.unwrap().unwrap();
        assert_eq!(change.policy_change.after["reason"], "left the team");
        assert!(store.access_reviews(&[held.id]).await.unwrap().is_empty());
        assert!(store.keep_grant(held.id, "too late", BY, NOW).await.unwrap().is_none());
        assert!(store.revoke_reviewed(held.id, "twice", BY, NOW).await.unwrap().is_none());
    })
    .await;
}
