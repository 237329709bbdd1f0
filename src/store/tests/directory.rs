//! Directory entries, deletion, and the administrator who stays.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::access::{Effect, PrincipalKind};
use crate::store::{NewToken, Profile, StoreError, TokenKind, Wanted, Wish};

fn token(id: &str, principal: &Principal, expires_at: Option<i64>) -> NewToken {
    let mut hash = [0; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    NewToken {
        id: id.to_owned(),
        hash: hash.into(),
        principal: principal.clone(),
        name: "laptop".to_owned(),
        created_at: NOW,
        created_by: BY.to_owned(),
        expires_at: expires_at.map(UnixMillis),
        scopes: None,
        source: None,
    }
}

fn named(display: &str) -> Profile {
    let attributes = json!({ "emails": [{ "value": "a@b.c" }] }).as_object().unwrap().clone();
    Profile { display_name: Some(display.to_owned()), external_id: Some("x-1".to_owned()), attributes }
}

async fn numbers(store: &Store, kind: PrincipalKind) -> Vec<(i64, String)> {
    let entries = store.directory(kind).await.unwrap();
    entries.into_iter().map(|entry| (entry.number, entry.principal.name)).collect()
}

#[tokio::test]
async fn everybody_gets_a_number_that_nobody_else_ever_gets() {
    on_both(async |database| {
        let store = database.open().await;
        for name in ["ann", "bob"] {
            store.ensure_principal(&user(name), BY, NOW).await.unwrap();
        }
        let before = numbers(&store, PrincipalKind::User).await;
        assert_eq!(before.len(), 2);
        assert_eq!(numbers(&store, PrincipalKind::Group).await.len(), 2);
        assert_eq!(numbers(&store, PrincipalKind::User).await, before, "numbers stay");
        let bob = store.directory_of(&user("bob")).await.unwrap().unwrap();
        assert_eq!(store.directory_entry(bob.number).await.unwrap().unwrap().principal, user("bob"));

        store.delete_principal(&user("bob"), BY, NOW).await.unwrap();
        assert!(store.directory_entry(bob.number).await.unwrap().is_none());
        assert!(store.directory_of(&user("bob")).await.unwrap().is_none());
        store.create_principal(&Wish::of(user("bob")), BY, NOW).await.unwrap();
        let again = store.directory_of(&user("bob")).await.unwrap().unwrap();
        assert!(again.number > before.iter().map(|(number, _)| *number).max().unwrap(), "{again:?}");
        let exists = store.create_principal(&Wish::of(user("bob")), BY, NOW).await;
        assert!(matches!(exists, Err(StoreError::Exists(_))));
        let missing = store.change_principal(&Wish::of(user("carol")), BY, NOW).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn a_change_is_one_version_with_before_and_after_and_a_repetition_is_none() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, bob, readers) = (user("ann"), user("bob"), group("readers"));
        for principal in [&ann, &bob, &readers] {
            store.ensure_principal(principal, BY, NOW).await.unwrap();
        }
        let wish = Wish {
            profile: Some(named("Readers")),
            members: Some(BTreeSet::from([ann.clone(), bob.clone()])),
            ..Wish::of(readers.clone())
        };
        let version = store.policy_version().await.unwrap();
        let change = store.change_principal(&wish, BY, NOW).await.unwrap();
        assert_eq!((change.version, change.changed), (version + 1, true));
        let recorded = change.policy_change;
        assert_eq!(recorded.before["profile"], json!([]));
        assert_eq!(recorded.after["profile_changed"], json!(["display_name", "emails", "external_id"]));
        assert_eq!(recorded.after["members_new"], json!(["user:ann", "user:bob"]));
        assert!(!store.change_principal(&wish, BY, NOW).await.unwrap().changed);

        let fewer = Wish { members: Some(BTreeSet::from([bob.clone()])), ..Wish::of(readers.clone()) };
        let recorded = store.change_principal(&fewer, BY, NOW).await.unwrap().policy_change;
        assert_eq!(recorded.before["members_gone"], json!(["user:ann"]));
        assert_eq!(store.policy().await.unwrap().memberships, [(readers, bob.clone())]);
        // Replicas learn of it by its steps alone.
        let steps = store.policy_edits(version, 10).await.unwrap();
        assert_eq!(steps.iter().map(|step| step.edits.as_ref().unwrap().len()).collect::<Vec<_>>(), [2, 1]);
        let of_a_group = Wish { active: Some(false), ..Wish::of(group("readers")) };
        assert!(matches!(store.change_principal(&of_a_group, BY, NOW).await, Err(StoreError::Refused(_))));
        let moved = store.at_version(version).change_principal(&Wish::of(bob), BY, NOW).await;
        assert!(matches!(moved, Err(StoreError::Moved { .. })));
    })
    .await;
}

#[tokio::test]
async fn who_is_deleted_loses_all_at_one_version_and_comes_back_with_nothing() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, readers) = (user("ann"), group("readers"));
        store.add_member(&readers, &ann, BY, NOW).await.unwrap();
        store.add_grant(&grant(&ann, "experiment:1", "CAN_MANAGE"), BY, NOW).await.unwrap();
        store.add_grant(&grant(&ann, "catalog:main", "OWNER"), BY, NOW).await.unwrap();
        store.add_token(&token("t", &ann, None)).await.unwrap();
        database
            .run(
                "INSERT INTO access_requests (id, principal, securable, privilege, reason, asked_at_ms, state) \
                 VALUES ('r', 'user:ann', 'experiment:2', 'CAN_READ', 'why', 0, 'pending')",
            )
            .await;
        database
            .run("INSERT INTO passwords (principal, hash, changed_at_ms, changed_by) \
                  VALUES ('user:ann', 'h', 9999999999999, 'x')")
            .await;
        let version = store.policy_version().await.unwrap();
        let change = store.delete_principal(&ann, BY, NOW).await.unwrap();
        assert_eq!(change.version, version + 1);
        let before = change.policy_change.before;
        assert_eq!((before["grants"].as_array().unwrap().len(), &before["ended"]["tokens"]), (2, &json!(1)));
        assert_eq!((&before["ended"]["access_requests"], &before["ended"]["passwords"]), (&json!(1), &json!(1)));

        let nothing = async || {
            let policy = store.policy().await.unwrap();
            assert!(policy.grants.is_empty() && policy.memberships.is_empty(), "{policy:?}");
            let tokens = store.tokens(Some(&ann), TokenKind::Personal).await.unwrap();
            assert!(tokens.iter().all(|token| token.revoked_at.is_some()), "{tokens:?}");
        };
        nothing().await;
        assert_eq!(store.is_active(&ann).await.unwrap(), Some(false));
        assert!(!store.principals().await.unwrap().iter().any(|known| known.principal == ann));

        // Nothing brings it back by the way.
        let deleted = |error: StoreError| assert!(matches!(error, StoreError::Deleted(_)), "{error}");
        deleted(store.ensure_principal(&ann, BY, NOW).await.unwrap_err());
        deleted(store.add_grant(&grant(&ann, "experiment:1", "CAN_READ"), BY, NOW).await.unwrap_err());
        deleted(store.add_member(&readers, &ann, BY, NOW).await.unwrap_err());
        let wanted = [Wanted::Join { group: readers.clone(), member: ann.clone() }];
        deleted(store.apply_policy(None, &wanted, BY, NOW).await.unwrap_err());
        let wish = Wish { members: Some(BTreeSet::from([ann.clone()])), ..Wish::of(readers.clone()) };
        deleted(store.change_principal(&wish, BY, NOW).await.unwrap_err());
        for active in [true, false] {
            let refused = store.set_active(&ann, active, BY, NOW).await;
            assert!(matches!(refused, Err(StoreError::NotFound(_))));
        }
        assert!(matches!(store.delete_principal(&ann, BY, NOW).await, Err(StoreError::NotFound(_))));

        // A token that was made at the very moment of the deletion does not come back either.
        database.run("UPDATE tokens SET revoked_at_ms = NULL WHERE id = 't'").await;
        store.create_principal(&Wish::of(ann.clone()), BY, NOW).await.unwrap();
        nothing().await;
        assert_eq!(store.is_active(&ann).await.unwrap(), Some(true));
        for always in ["admins", "users"] {
            let refused = store.delete_principal(&group(always), BY, NOW).await;
            assert!(matches!(refused, Err(StoreError::Refused(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_and_its_last_token_stay_whatever_is_tried() {
    on_both(async |database| {
        let store = database.open().await;
        let (admins, ops, ann, bob) = (group("admins"), group("ops"), user("ann"), user("bob"));
        store.add_member(&admins, &ops, BY, NOW).await.unwrap();
        store.add_member(&ops, &ann, BY, NOW).await.unwrap();
        store.add_token(&token("a1", &ann, None)).await.unwrap();
        let none = || Some(BTreeSet::new());
        let last = |error: StoreError| {
            assert!(matches!(error, StoreError::LastAdministrator | StoreError::LastCredential), "{error}");
        };
        let every_way = async || {
            last(store.remove_member(&admins, &ops, BY, NOW).await.unwrap_err());
            last(store.remove_member(&ops, &ann, BY, NOW).await.unwrap_err());
            last(store.set_active(&ann, false, BY, NOW).await.unwrap_err());
            last(store.delete_principal(&ann, BY, NOW).await.unwrap_err());
            last(store.delete_principal(&ops, BY, NOW).await.unwrap_err());
            for emptied in [&admins, &ops] {
                let wish = Wish { members: none(), ..Wish::of(emptied.clone()) };
                last(store.change_principal(&wish, BY, NOW).await.unwrap_err());
            }
            let wish = Wish { active: Some(false), ..Wish::of(ann.clone()) };
            last(store.change_principal(&wish, BY, NOW).await.unwrap_err());
            let leave = [Wanted::Leave { group: ops.clone(), member: ann.clone() }];
            last(store.apply_policy(None, &leave, BY, NOW).await.unwrap_err());
            last(store.revoke_token("a1", NOW).await.unwrap_err());
        };
        let version = store.policy_version().await.unwrap();
        every_way().await;
        assert_eq!(store.policy_version().await.unwrap(), version, "what is refused changes nothing");

        // Another administrator who cannot call is none, and neither is one whose token has ended.
        store.add_member(&admins, &bob, BY, NOW).await.unwrap();
        every_way().await;
        store.add_token(&token("b1", &bob, Some(NOW.0))).await.unwrap();
        every_way().await;
        database.run("UPDATE tokens SET expires_at_ms = NULL, scopes = '[]' WHERE id = 'b1'").await;
        every_way().await;
        database.run("UPDATE tokens SET scopes = NULL WHERE id = 'b1'").await;
        assert!(store.revoke_token("a1", NOW).await.unwrap());
        store.delete_principal(&ops, BY, NOW).await.unwrap();
        last(store.revoke_token("b1", NOW).await.unwrap_err());

        // With issuers, administrators sign in there: membership alone counts.
        let store = store.clone().with_issuers(true);
        assert!(store.revoke_token("b1", NOW).await.unwrap());
        last(store.set_active(&bob, false, BY, NOW).await.unwrap_err());
        assert_eq!(store.administrator_without_token(NOW).await.unwrap(), None);
        let store = store.with_issuers(false);
        assert_eq!(store.administrator_without_token(NOW).await.unwrap(), Some(bob.clone()));
        let denied = NewGrant { effect: Effect::Deny, ..grant(&admins, "workspace:default", "ALL") };
        store.add_grant(&denied, BY, NOW).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_two_calls_that_each_take_one_of_the_last_two_administrators_one_is_refused() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        let admins = group("admins");
        for round in 0..6 {
            let pair = [user(&format!("a{round}")), user(&format!("b{round}"))];
            for (place, administrator) in pair.iter().enumerate() {
                one.add_member(&admins, administrator, BY, NOW).await.unwrap();
                let id = format!("t{round}-{place}");
                one.add_token(&token(&id, administrator, None)).await.unwrap();
            }
            // Whoever was left of the round before goes first, so that there are two.
            let members = one.policy().await.unwrap().memberships;
            for (_, old) in members.iter().filter(|(_, member)| !pair.contains(member)) {
                one.remove_member(&admins, old, BY, NOW).await.unwrap();
            }
            let take = async |store: &Store, place: usize| match (round + place) % 4 {
                0 => store.delete_principal(&pair[place], BY, NOW).await.map(|_| ()),
                1 => store.set_active(&pair[place], false, BY, NOW).await.map(|_| ()),
                2 => store.revoke_token(&format!("t{round}-{place}"), NOW).await.map(|_| ()),
                _ => store.remove_member(&admins, &pair[place], BY, NOW).await.map(|_| ()),
            };
            let (first, second) = tokio::join!(take(&one, 0), take(&two, 1));
            assert!(first.is_ok() != second.is_ok(), "round {round}: {first:?} {second:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_renamed_group_keeps_number_grants_and_members_and_its_old_name_is_nothing() {
    on_both(async |database| {
        let store = database.open().await;
        let (old, new) = (group("analysts"), group("readers"));
        store.add_member(&old, &user("ann"), BY, NOW).await.unwrap();
        store.add_member(&group("staff"), &old, BY, NOW).await.unwrap();
        let grant = NewGrant {
            principal: old.clone(),
            securable: "experiment:1".parse().unwrap(),
            privilege: "CAN_READ".to_owned(),
            effect: Effect::Allow,
            reason: None,
            expires_at: None,
        };
        let (granted, _) = store.add_grant(&grant, BY, NOW).await.unwrap();
        let wish = Wish { description: Some("who reads".to_owned()), ..Wish::of(old.clone()) };
        store.change_principal(&wish, BY, NOW).await.unwrap();
        let before = store.directory_of(&old).await.unwrap().unwrap();
        store.rename_group(&old, &new, BY, NOW).await.unwrap();
        let after = store.grants(Some(&new), None).await.unwrap();
        assert_eq!(after.iter().map(|grant| grant.id).collect::<Vec<_>>(), [granted.id]);
        assert!(store.grants(Some(&old), None).await.unwrap().is_empty());
        let entry = store.directory_of(&new).await.unwrap().unwrap();
        assert_eq!((entry.number, entry.description.as_deref()), (before.number, Some("who reads")));
        assert_eq!(store.directory_of(&old).await.unwrap(), None);
        let mut members = store.policy().await.unwrap().memberships;
        members.sort();
        assert_eq!(members, [(new.clone(), user("ann")), (group("staff"), new.clone())]);
        // A name that is taken is not taken over, and one that was given up is free; the built-in ones stay.
        let taken = store.rename_group(&new, &group("staff"), BY, NOW).await;
        assert!(matches!(taken, Err(StoreError::Exists(_))), "{taken:?}");
        assert!(store.rename_group(&group("admins"), &group("x"), BY, NOW).await.is_err());
        store.rename_group(&new, &old, BY, NOW).await.unwrap();
        assert_eq!(store.directory_of(&old).await.unwrap().unwrap().number, before.number);
    })
    .await;
}

#[tokio::test]
async fn what_a_directory_says_of_a_person_stands_in_no_record() {
    on_both(async |database| {
        let store = database.open().await;
        let wish = Wish { profile: Some(named("Ann Archer")), ..Wish::of(user("u-1")) };
        store.create_principal(&wish, BY, NOW).await.unwrap();
        let wish = Wish { profile: Some(named("Ann Baker")), ..Wish::of(user("u-1")) };
        store.change_principal(&wish, BY, NOW).await.unwrap();
        store.delete_principal(&user("u-1"), BY, NOW).await.unwrap();
        let changes = serde_json::to_string(&store.policy_changes(0, 100).await.unwrap()).unwrap();
        for personal in ["Archer", "Baker", "a@b.c"] {
            assert!(!changes.contains(personal), "{personal} in {changes}");
        }
        assert!(changes.contains("profile_changed") && changes.contains("display_name"));
    })
    .await;
}
