//! Principals, groups, grants, the tree and the log of changes.

use super::*;
use crate::access::{Effect, Grant};
use crate::store::{Change, NESTING_LIMIT, StoreError};

#[tokio::test]
async fn a_new_store_has_the_two_groups_and_nothing_else() {
    on_both(async |database| {
        let store = database.open().await;
        store.ping().await.unwrap();
        let names: Vec<String> =
            store.principals().await.unwrap().iter().map(|record| record.principal.to_string()).collect();
        assert_eq!(names, ["group:admins", "group:users"]);
        let policy = store.policy().await.unwrap();
        assert_eq!(policy.version, 0);
        assert!(policy.grants.is_empty() && policy.memberships.is_empty() && policy.inactive.is_empty());
    })
    .await;
}

#[tokio::test]
async fn each_change_raises_the_version_by_one_and_a_repetition_raises_nothing() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, readers) = (user("ann"), group("readers"));
        let read = grant(&ann, "experiment:1", "CAN_READ");
        let (one, folder): (Securable, Securable) =
            ("experiment:1".parse().unwrap(), "folder:/Users/ann".parse().unwrap());
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..2 {
            changes.push(store.ensure_principal(&ann, BY, NOW).await.unwrap());
            changes.push(store.add_member(&readers, &ann, BY, NOW).await.unwrap());
            changes.push(store.add_grant(&read, BY, NOW).await.unwrap().1);
            changes.push(store.put_securable(&one, &folder, "/Users/ann/x", BY, NOW).await.unwrap());
            changes.push(store.set_active(&ann, false, BY, NOW).await.unwrap());
        }
        changes.push(store.remove_member(&readers, &ann, BY, NOW).await.unwrap());
        changes.push(store.remove_member(&readers, &ann, BY, NOW).await.unwrap());
        let changed: Vec<bool> = changes.iter().map(|change| change.changed).collect();
        assert_eq!(changed, [vec![true; 5], vec![false; 5], vec![true, false]].concat());
        let versions: Vec<i64> = changes.iter().map(|change| change.version).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 6, 6]);

        let log = store.policy_changes(0, 100).await.unwrap();
        let lines: Vec<(i64, &str)> =
            log.iter().map(|line| (line.version, line.change.action.as_str())).collect();
        assert_eq!(
            lines,
            [
                (1, "principal.create"),
                (2, "membership.add"),
                (3, "grant.add"),
                (4, "securable.put"),
                (5, "principal.deactivate"),
                (6, "membership.remove"),
            ]
        );
        assert!(log.iter().all(|line| line.by == BY && line.at == NOW));
        assert_eq!(log[4].change.before["active"], true);
        assert_eq!(log[4].change.after["active"], false);
        assert_eq!(store.policy_changes(4, 1).await.unwrap()[0].version, 5);

        let policy = store.policy().await.unwrap();
        assert_eq!((policy.version, policy.inactive), (6, vec![ann]));
        assert_eq!(policy.parents, [(one, folder)]);
    })
    .await;
}

#[tokio::test]
async fn groups_cannot_contain_each_other_nor_nest_too_deep() {
    on_both(async |database| {
        let store = database.open().await;
        let level = |number: usize| group(&format!("level{number}"));
        assert!(matches!(
            store.add_member(&level(1), &level(1), BY, NOW).await,
            Err(StoreError::Cycle { .. })
        ));
        assert!(matches!(
            store.add_member(&user("ann"), &user("bob"), BY, NOW).await,
            Err(StoreError::NotAGroup(_))
        ));
        for number in 1..NESTING_LIMIT {
            store.add_member(&level(number), &level(number + 1), BY, NOW).await.unwrap();
        }
        let version = store.policy_version().await.unwrap();
        for start in 1..=NESTING_LIMIT {
            assert!(matches!(
                store.add_member(&level(NESTING_LIMIT), &level(start), BY, NOW).await,
                Err(StoreError::Cycle { .. })
            ));
        }
        // Below, above, and two shorter chains put together.
        store.add_member(&group("other1"), &group("other2"), BY, NOW).await.unwrap();
        for (container, member) in
            [(level(NESTING_LIMIT), group("below")), (group("above"), level(1)), (group("other2"), level(2))]
        {
            assert!(matches!(
                store.add_member(&container, &member, BY, NOW).await,
                Err(StoreError::TooDeep { .. })
            ));
        }
        // A user in the deepest group is no further level; a refused change left nothing behind.
        store.add_member(&level(NESTING_LIMIT), &user("ann"), BY, NOW).await.unwrap();
        assert_eq!(store.policy_version().await.unwrap(), version + 2);
        assert!(!store.principals().await.unwrap().iter().any(|known| known.principal == group("below")));
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    on_both(async |database| {
        let store = database.open().await;
        let (admins, operators) = (group("admins"), group("operators"));
        let (ann, bob) = (user("ann"), user("bob"));
        store.add_member(&admins, &ann, BY, NOW).await.unwrap();
        let refused = |answer| matches!(answer, Err(StoreError::LastAdministrator));
        assert!(refused(store.remove_member(&admins, &ann, BY, NOW).await));
        assert!(refused(store.set_active(&ann, false, BY, NOW).await));

        // An empty group is no administrator; neither is one who may not authenticate.
        store.add_member(&admins, &operators, BY, NOW).await.unwrap();
        assert!(refused(store.remove_member(&admins, &ann, BY, NOW).await));
        store.add_member(&operators, &bob, BY, NOW).await.unwrap();
        store.set_active(&bob, false, BY, NOW).await.unwrap();
        assert!(refused(store.remove_member(&admins, &ann, BY, NOW).await));

        store.set_active(&bob, true, BY, NOW).await.unwrap();
        store.remove_member(&admins, &ann, BY, NOW).await.unwrap();
        // Bob is one through his group, so neither edge may go.
        assert!(refused(store.remove_member(&operators, &bob, BY, NOW).await));
        assert!(refused(store.remove_member(&admins, &operators, BY, NOW).await));
        assert!(refused(store.set_active(&bob, false, BY, NOW).await));
        assert!(store.set_active(&admins, false, BY, NOW).await.unwrap_err().is_refusal());
    })
    .await;
}

#[tokio::test]
async fn the_group_of_everyone_cannot_become_administrators() {
    on_both(async |database| {
        let store = database.open().await;
        let (admins, users, between) = (group("admins"), group("users"), group("between"));
        assert!(store.add_member(&admins, &users, BY, NOW).await.unwrap_err().is_refusal());
        store.add_member(&admins, &between, BY, NOW).await.unwrap();
        assert!(store.add_member(&between, &users, BY, NOW).await.unwrap_err().is_refusal());
        store.remove_member(&admins, &between, BY, NOW).await.unwrap();
        store.add_member(&between, &users, BY, NOW).await.unwrap();
        assert!(store.add_member(&admins, &between, BY, NOW).await.unwrap_err().is_refusal());
    })
    .await;
}

#[tokio::test]
async fn granting_again_replaces_and_a_removed_id_is_never_given_again() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        let plain = grant(&ann, "experiment:1", "CAN_READ");
        let (first, _) = store.add_grant(&plain, BY, NOW).await.unwrap();
        let reason = Some("on call; it's \"needed\"".to_owned());
        let ending = NewGrant { reason, expires_at: Some(UnixMillis(9)), ..plain.clone() };
        let (second, change) = store.add_grant(&ending, "user:other", NOW).await.unwrap();
        assert_eq!(second.id, first.id);
        assert_eq!(change.policy_change.before["reason"], serde_json::Value::Null);
        assert_eq!(change.policy_change.after["expires_at_ms"], 9);
        let deny = NewGrant { effect: Effect::Deny, ..plain.clone() };
        store.add_grant(&deny, BY, NOW).await.unwrap();
        store.add_grant(&grant(&user("bob"), "experiment:2", "trace.read"), BY, NOW).await.unwrap();

        assert_eq!(store.grants(None, None).await.unwrap().len(), 3);
        let mine: Vec<Grant> = store.grants(Some(&ann), Some(&plain.securable)).await.unwrap();
        assert_eq!(
            mine.iter().map(|grant| grant.grant.effect).collect::<Vec<_>>(),
            [Effect::Allow, Effect::Deny]
        );
        assert_eq!(mine[0], second);
        assert_eq!(store.grants(None, Some(&plain.securable)).await.unwrap().len(), 2);
        assert_eq!(store.grants(Some(&ann), None).await.unwrap().len(), 2);

        let last = store.grants(None, None).await.unwrap()[2].id;
        assert!(store.remove_grant(last, BY, NOW).await.unwrap().unwrap().changed);
        assert!(store.remove_grant(last, BY, NOW).await.unwrap().is_none());
        let (again, _) = store.add_grant(&grant(&ann, "experiment:3", "ALL"), BY, NOW).await.unwrap();
        assert!(again.id > last);
    })
    .await;
}

#[tokio::test]
async fn a_grant_of_nothing_known_is_refused() {
    on_both(async |database| {
        let store = database.open().await;
        for privilege in ["can_read", "SELECT *", "", "trace.read "] {
            let refused = store.add_grant(&grant(&user("ann"), "experiment:1", privilege), BY, NOW).await;
            assert!(matches!(refused, Err(StoreError::UnknownPrivilege(_))), "{privilege}");
        }
        let reason = Some("line\0break".to_owned());
        let bad = NewGrant { reason, ..grant(&user("ann"), "experiment:1", "CAN_READ") };
        assert!(store.add_grant(&bad, BY, NOW).await.unwrap_err().is_refusal());
        assert_eq!(store.policy_version().await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_tree_has_no_circles() {
    on_both(async |database| {
        let store = database.open().await;
        for (child, parent) in [
            ("experiment:1", "experiment:2"),
            ("workspace:default", "folder:/a"),
            ("folder:/a", "folder:/a/b"),
            ("folder:/a/b", "workspace:default"),
        ] {
            let (child, parent): (Securable, Securable) = (child.parse().unwrap(), parent.parse().unwrap());
            let refused = store.put_securable(&child, &parent, "x", BY, NOW).await;
            assert!(refused.unwrap_err().is_refusal(), "{child} in {parent}");
        }
    })
    .await;
}
