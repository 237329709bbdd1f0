//! Accounts: numbers that stay, and what ends with an account.

use super::*;
use crate::access::Effect;
use crate::store::{NewToken, StoreError};

fn later(ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

async fn grant(store: &Store, principal: &Principal, on: &str) {
    let grant = NewGrant {
        principal: principal.clone(),
        securable: on.parse::<Securable>().unwrap(),
        privilege: "CAN_READ".to_owned(),
        effect: Effect::Allow,
        reason: None,
        expires_at: None,
    };
    store.add_grant(&grant, BY, NOW).await.unwrap();
}

async fn number(store: &Store, principal: &Principal) -> i64 {
    store.account(principal, NOW).await.unwrap().unwrap().number
}

#[tokio::test]
async fn numbers_are_given_once_and_the_same_to_all_who_ask() {
    on_both(async |test: &TestStore| {
        let (one, other) = (test.open().await, test.open().await);
        for name in ["ann", "bob", "cas"] {
            one.ensure_principal(&user(name), BY, NOW).await.unwrap();
        }
        let (ours, theirs) = tokio::join!(one.accounts(NOW), other.accounts(NOW));
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours, theirs);
        // Three users and the two groups that are always there.
        assert_eq!(ours.len(), 5);
        let ann = number(&one, &user("ann")).await;
        assert_eq!(other.account_of_number(ann).await.unwrap().unwrap().principal, user("ann"));
        one.delete_account(&user("ann"), BY, NOW).await.unwrap();
        assert_eq!(one.account_of_number(ann).await.unwrap(), None);
        one.ensure_principal(&user("dan"), BY, NOW).await.unwrap();
        assert!(number(&one, &user("dan")).await > ann);
        assert_eq!(one.account(&user("nobody"), NOW).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn with_an_account_ends_all_that_it_had_and_opening_it_again_brings_nothing_back() {
    on_both(async |test: &TestStore| {
        let store = test.open().await;
        let ann = user("ann");
        store.add_member(&group("analysts"), &ann, BY, NOW).await.unwrap();
        grant(&store, &ann, "experiment:1").await;
        let token = NewToken {
            id: "tok_1".to_owned(),
            hash: [7; 32],
            principal: ann.clone(),
            name: "laptop".to_owned(),
            created_at: NOW,
            created_by: BY.to_owned(),
            expires_at: None,
        };
        store.add_token(&token).await.unwrap();
        store.set_password(&ann, "hash", BY, NOW).await.unwrap();
        let change = store.delete_account(&ann, BY, later(1)).await.unwrap();
        assert_eq!(change.policy_change.before["grants"][0]["securable"], "experiment:1");
        assert_eq!(change.policy_change.before["memberships"][0]["group"], "group:analysts");
        let gone = async || {
            assert!(store.grants(Some(&ann), None).await.unwrap().is_empty());
            assert!(store.policy().await.unwrap().memberships.is_empty());
            assert_eq!(store.password(&ann).await.unwrap().unwrap().hash, None);
            assert_eq!(store.token_by_hash(&[7; 32]).await.unwrap().unwrap().revoked_at, Some(later(1)));
        };
        gone().await;
        assert_eq!(store.is_active(&ann).await.unwrap(), Some(false));
        // Entering a name again by the way does not open its account.
        store.ensure_principal(&ann, BY, NOW).await.unwrap();
        assert_eq!(store.account(&ann, NOW).await.unwrap(), None);
        assert!(!store.add_password(&ann, "hash", BY, NOW).await.unwrap());
        assert!(matches!(store.delete_account(&ann, BY, NOW).await, Err(StoreError::NotFound(_))));
        let (_, fresh) = store.open_account(&ann, BY, NOW).await.unwrap();
        assert!(fresh && store.is_active(&ann).await.unwrap() == Some(true));
        gone().await;
        let (change, fresh) = store.open_account(&ann, BY, NOW).await.unwrap();
        assert!(!fresh && !change.changed);
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_and_the_built_in_groups_stay() {
    on_both(async |test: &TestStore| {
        let store = test.open().await;
        let (admins, ops) = (group(Principal::ADMINS), group("ops"));
        store.add_member(&admins, &ops, BY, NOW).await.unwrap();
        store.add_member(&ops, &user("root"), BY, NOW).await.unwrap();
        let version = store.policy_version().await.unwrap();
        // Neither the user nor the group through which it is one.
        for last in [user("root"), ops.clone()] {
            let refused = store.delete_account(&last, BY, NOW).await;
            assert!(matches!(refused, Err(StoreError::LastAdministrator)), "{last}: {refused:?}");
        }
        for built_in in [admins.clone(), group(Principal::USERS)] {
            assert!(store.delete_account(&built_in, BY, NOW).await.is_err());
            assert!(store.rename_group(&built_in, &group("x"), BY, NOW).await.is_err());
        }
        assert_eq!(store.policy_version().await.unwrap(), version);
        // A new name keeps them administrators.
        store.rename_group(&ops, &group("operations"), BY, NOW).await.unwrap();
        assert!(matches!(
            store.delete_account(&user("root"), BY, NOW).await,
            Err(StoreError::LastAdministrator)
        ));
    })
    .await;
}

#[tokio::test]
async fn a_renamed_group_keeps_number_grants_and_members_and_its_old_name_is_nothing() {
    on_both(async |test: &TestStore| {
        let store = test.open().await;
        let (old, new) = (group("analysts"), group("readers"));
        store.add_member(&old, &user("ann"), BY, NOW).await.unwrap();
        store.add_member(&group("staff"), &old, BY, NOW).await.unwrap();
        grant(&store, &old, "experiment:1").await;
        let before = store.grants(Some(&old), None).await.unwrap();
        let number_before = number(&store, &old).await;
        store.describe_account(number_before, "who reads", NOW).await.unwrap();
        store.rename_group(&old, &new, BY, NOW).await.unwrap();
        let after = store.grants(Some(&new), None).await.unwrap();
        assert_eq!(after[0].id, before[0].id);
        assert!(store.grants(Some(&old), None).await.unwrap().is_empty());
        let account = store.account(&new, NOW).await.unwrap().unwrap();
        assert_eq!((account.number, account.description.as_deref()), (number_before, Some("who reads")));
        assert_eq!(store.account(&old, NOW).await.unwrap(), None);
        let mut members = store.policy().await.unwrap().memberships;
        members.sort();
        assert_eq!(members, [(new.clone(), user("ann")), (group("staff"), new.clone())]);
        // A name that is taken is not taken over, and one that was deleted is.
        assert!(store.rename_group(&new, &group("staff"), BY, NOW).await.is_err());
        store.rename_group(&new, &old, BY, NOW).await.unwrap();
        assert_eq!(number(&store, &old).await, number_before);
    })
    .await;
}
