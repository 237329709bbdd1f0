//! Owners, and the one spelling of a privilege.

use super::*;
use crate::access::{Effect, GrantId, PolicyEdit};

#[tokio::test]
async fn a_new_owner_replaces_the_old_one() {
    on_both(async |database| {
        let store = database.open().await;
        let owns = |who: &Principal| grant(who, "catalog:main", "OWNER");
        let (first, made) = store.add_grant(&owns(&user("ann")), BY, NOW).await.unwrap();
        assert!(!store.add_grant(&owns(&user("ann")), BY, NOW).await.unwrap().1.changed);
        store.add_grant(&grant(&user("ann"), "schema:main.s", "OWNER"), BY, NOW).await.unwrap();
        store.add_grant(&grant(&user("ann"), "catalog:main", "SELECT"), BY, NOW).await.unwrap();
        let (second, moved) = store.add_grant(&owns(&group("team")), BY, NOW).await.unwrap();
        assert_eq!(made.policy_change.before, serde_json::Value::Null);
        assert_eq!(moved.policy_change.before["principal"], "user:ann");
        assert_eq!(moved.policy_change.after["principal"], "group:team");

        let on_catalog = store.grants(None, Some(&first.grant.securable)).await.unwrap();
        let held: Vec<(String, &str)> = on_catalog
            .iter()
            .map(|one| (one.grant.principal.to_string(), one.grant.privilege.as_str()))
            .collect();
        assert_eq!(held, [("user:ann".to_owned(), "SELECT"), ("group:team".to_owned(), "OWNER")]);
        assert_eq!(store.grants(Some(&user("ann")), None).await.unwrap().len(), 2);

        let edits = store.policy_edits(moved.version - 1, 1).await.unwrap()[0].edits.clone().unwrap();
        assert_eq!(edits[1..], [PolicyEdit::Revoke(first.rule()), PolicyEdit::Grant(second.rule())]);
    })
    .await;
}

#[tokio::test]
async fn two_who_take_ownership_at_once_leave_one_owner() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        for round in 0..10 {
            let owns = |name: String| grant(&user(&name), "catalog:main", "OWNER");
            let (mine, yours) = (owns(format!("a{round}")), owns(format!("b{round}")));
            let (first, second) = tokio::join!(one.add_grant(&mine, BY, NOW), two.add_grant(&yours, BY, NOW));
            assert!(first.unwrap().1.changed && second.unwrap().1.changed);
            assert_eq!(one.grants(None, Some(&mine.securable)).await.unwrap().len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn ownership_is_not_denied_does_not_end_and_is_of_the_catalog() {
    on_both(async |database| {
        let store = database.open().await;
        let plain = grant(&user("ann"), "table:a.b.c", "OWNER");
        for bad in [
            NewGrant { effect: Effect::Deny, ..plain.clone() },
            NewGrant { expires_at: Some(UnixMillis(NOW.0 + 1)), ..plain.clone() },
            grant(&user("ann"), "experiment:1", "OWNER"),
        ] {
            assert!(store.add_grant(&bad, BY, NOW).await.unwrap_err().is_refusal(), "{bad:?}");
        }
        assert_eq!(store.policy_version().await.unwrap(), 0);
        let (owner, _) = store.add_grant(&plain, BY, NOW).await.unwrap();
        store.remove_grant(owner.id, BY, NOW).await.unwrap().unwrap();
        assert!(store.grants(None, None).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_privilege_has_one_spelling_whoever_writes_it() {
    on_both(async |database| {
        let store = database.open().await;
        let (spaced, _) =
            store.add_grant(&grant(&user("ann"), "catalog:c", "USE CATALOG"), BY, NOW).await.unwrap();
        assert_eq!(spaced.grant.privilege, "USE_CATALOG");
        let (same, change) =
            store.add_grant(&grant(&user("ann"), "catalog:C", "USE_CATALOG"), BY, NOW).await.unwrap();
        assert!(!change.changed);
        assert_eq!(same, spaced);
        let (all, _) =
            store.add_grant(&grant(&user("ann"), "catalog:c", "ALL PRIVILEGES"), BY, NOW).await.unwrap();
        assert_eq!(all.grant.privilege, "ALL_PRIVILEGES");

        let mut found = store.grants_by_id(&[all.id, GrantId(77), spaced.id]).await.unwrap();
        found.sort_by_key(|grant| grant.id);
        assert_eq!(found, [spaced, all]);
        let many: Vec<GrantId> = (-2000..2000).map(GrantId).collect();
        assert_eq!(store.grants_by_id(&many).await.unwrap().len(), 2);
        assert!(store.grants_by_id(&[]).await.unwrap().is_empty());
    })
    .await;
}
