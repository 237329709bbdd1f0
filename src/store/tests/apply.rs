//! Many steps as one change.

use super::picture::Picture;
use super::*;
use crate::access::{Effect, GrantId};
use crate::store::{NESTING_LIMIT, StoreError, Wanted};

fn join(group: &Principal, member: &Principal) -> Wanted {
    Wanted::Join { group: group.clone(), member: member.clone() }
}

fn leave(group: &Principal, member: &Principal) -> Wanted {
    Wanted::Leave { group: group.clone(), member: member.clone() }
}

#[tokio::test]
async fn steps_take_effect_together_at_one_version() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, readers) = (user("ann"), group("readers"));
        let (old, _) = store.add_grant(&grant(&ann, "experiment:1", "CAN_EDIT"), BY, NOW).await.unwrap();
        let before = Picture::read(&store).await;
        let steps = [
            Wanted::Revoke(old.id),
            join(&readers, &ann),
            Wanted::Grant(grant(&readers, "experiment:1", "CAN_READ")),
            Wanted::Grant(grant(&ann, "catalog:c", "OWNER")),
            Wanted::Grant(grant(&readers, "catalog:c", "OWNER")),
        ];
        let change = store.apply_policy(Some(1), &steps, BY, NOW).await.unwrap();
        assert_eq!((change.version, change.changed), (2, true));
        let (before_json, after_json) = (&change.policy_change.before, &change.policy_change.after);
        assert_eq!(before_json["grants"][0]["privilege"], "CAN_EDIT");
        assert_eq!(before_json["grants"][1]["principal"], "user:ann");
        assert_eq!(before_json["memberships"], serde_json::json!([]));
        assert_eq!(after_json["grants"].as_array().unwrap().len(), 3);
        assert_eq!(after_json["memberships"][0]["member"], "user:ann");
        let log = store.policy_changes(1, 10).await.unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].change, change.policy_change);
        assert_eq!(log[0].change.action, "policy.apply");

        let mut followed = before;
        followed.catch_up(&store).await;
        assert_eq!(followed, Picture::read(&store).await);
        let held: Vec<&str> = followed.grants.values().map(|rule| rule.privilege.as_str()).collect();
        assert_eq!(held, ["CAN_READ", "OWNER"]);

        // All of it is so already, or gone already.
        let again = store
            .apply_policy(
                None,
                &[steps[0].clone(), steps[1].clone(), steps[2].clone(), steps[4].clone()],
                BY,
                NOW,
            )
            .await
            .unwrap();
        assert_eq!((again.version, again.changed), (2, false));
        assert!(!store.apply_policy(Some(2), &[], BY, NOW).await.unwrap().changed);
    })
    .await;
}

#[tokio::test]
async fn a_refused_step_leaves_nothing_and_is_named() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, admins, one, two) = (user("ann"), group("admins"), group("one"), group("two"));
        store.add_member(&admins, &ann, BY, NOW).await.unwrap();
        let (kept, _) = store.add_grant(&grant(&ann, "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
        let before = Picture::read(&store).await;
        let good = [
            Wanted::Revoke(kept.id),
            Wanted::Grant(grant(&user("new"), "experiment:2", "CAN_READ")),
            join(&one, &two),
        ];
        let bad: [(Wanted, &str); 6] = [
            (Wanted::Grant(grant(&ann, "experiment:1", "CAN_FLY")), "`CAN_FLY`"),
            (Wanted::Grant(grant(&ann, "experiment:1", "SELECT")), "cannot be granted"),
            (
                Wanted::Grant(NewGrant { effect: Effect::Deny, ..grant(&ann, "catalog:c", "OWNER") }),
                "cannot be denied",
            ),
            (join(&two, &one), "cannot contain each other"),
            (join(&ann, &one), "not a group"),
            (join(&admins, &group("users")), "every caller"),
        ];
        for (step, says) in bad {
            let steps: Vec<Wanted> = good.iter().cloned().chain([step.clone()]).collect();
            let refused = store.apply_policy(None, &steps, BY, NOW).await.unwrap_err();
            assert!(matches!(&refused, StoreError::Step { index: 3, .. }), "{step:?}: {refused}");
            assert!(refused.is_refusal() && refused.to_string().contains(says), "{refused}");
            assert_eq!(Picture::read(&store).await, before, "{step:?}");
        }
        let steps: Vec<Wanted> = good.iter().cloned().chain([leave(&admins, &ann)]).collect();
        let refused = store.apply_policy(None, &steps, BY, NOW).await;
        assert_eq!(refused.unwrap_err(), StoreError::LastAdministrator);
        assert_eq!(Picture::read(&store).await, before);
    })
    .await;
}

#[tokio::test]
async fn steps_are_checked_with_those_before_them() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, bob, admins) = (user("ann"), user("bob"), group("admins"));
        store.add_member(&admins, &ann, BY, NOW).await.unwrap();
        // The only administrator goes before the next one comes.
        store.apply_policy(None, &[leave(&admins, &ann), join(&admins, &bob)], BY, NOW).await.unwrap();

        let level = |number: usize| group(&format!("level{number}"));
        let chain: Vec<Wanted> =
            (1..=NESTING_LIMIT).map(|number| join(&level(number), &level(number + 1))).collect();
        let refused = store.apply_policy(None, &chain, BY, NOW).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Step { index, problem }
            if *index == NESTING_LIMIT - 1 && matches!(**problem, StoreError::TooDeep { .. })));
        store.apply_policy(None, &chain[..NESTING_LIMIT - 1], BY, NOW).await.unwrap();
        // Turned round: each edge goes before its opposite comes.
        let turned: Vec<Wanted> = (1..NESTING_LIMIT)
            .flat_map(|number| {
                [leave(&level(number), &level(number + 1)), join(&level(number + 1), &level(number))]
            })
            .collect();
        store.apply_policy(None, &turned, BY, NOW).await.unwrap();
        let circle = [join(&level(1), &level(NESTING_LIMIT))];
        let refused = store.apply_policy(None, &circle, BY, NOW).await.unwrap_err();
        assert!(matches!(refused, StoreError::Step { index: 0, problem }
            if matches!(*problem, StoreError::Cycle { .. })));
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_for_one_version_the_second_is_told_that_policy_moved() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        for round in 0..10 {
            let wanted =
                |name: &str| [Wanted::Grant(grant(&user(name), &format!("experiment:{round}"), "CAN_READ"))];
            let expected = one.policy_version().await.unwrap();
            let (mine, yours) = (wanted("ann"), wanted("bob"));
            let (first, second) = tokio::join!(
                one.apply_policy(Some(expected), &mine, BY, NOW),
                two.apply_policy(Some(expected), &yours, BY, NOW)
            );
            let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
            assert_eq!(won.unwrap().version, expected + 1);
            let moved = StoreError::Moved { expected, current: expected + 1 };
            assert!(moved.is_refusal());
            assert_eq!(lost.unwrap_err(), moved);
            assert_eq!(one.policy_version().await.unwrap(), expected + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_steps_are_one_change() {
    on_both(async |database| {
        let store = database.open().await;
        let mut followed = Picture::read(&store).await;
        let joins = (0..5_000).map(|number| {
            let team = group(&format!("team{}", number / 2));
            if number % 2 == 0 {
                join(&group("all"), &team)
            } else {
                join(&team, &user(&format!("user{}", number % 100)))
            }
        });
        let grants = (0..5_000).map(|number| {
            let who = user(&format!("user{}", number % 300));
            Wanted::Grant(grant(&who, &format!("experiment:{number}"), "CAN_READ"))
        });
        let steps: Vec<Wanted> = joins.chain(grants).collect();
        let change = store.apply_policy(Some(0), &steps, BY, NOW).await.unwrap();
        assert_eq!(change.version, 1);
        followed.catch_up(&store).await;
        assert_eq!((followed.grants.len(), followed.members.len()), (5_000, 5_000));
        assert_eq!(followed, Picture::read(&store).await);
        let revokes: Vec<Wanted> = followed.grants.keys().map(|id| Wanted::Revoke(GrantId(*id))).collect();
        store.apply_policy(Some(1), &revokes, BY, NOW).await.unwrap();
        followed.catch_up(&store).await;
        assert!(followed.grants.is_empty());
    })
    .await;
}
