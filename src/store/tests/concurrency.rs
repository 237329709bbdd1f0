//! Many writers, two processes, a restart.

use futures_util::future::join_all;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_meet_no_lock_and_lose_no_version() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        let writers = (0..40usize).map(|number| {
            let store = if number % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                let who = user(&format!("user{number}"));
                let (_, change) =
                    store.add_grant(&grant(&who, "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
                store.claim_trace(&trace(number), &experiment("1"), Some(&who), NOW).await.unwrap();
                store.policy().await.unwrap();
                store.claim_trace(&trace(number / 2), &experiment("1"), None, NOW).await.unwrap();
                change.version
            })
        });
        let mut versions: Vec<i64> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        versions.sort_unstable();
        assert_eq!(versions, (1..=40).collect::<Vec<i64>>());
        let logged: Vec<i64> =
            one.policy_changes(0, 1000).await.unwrap().iter().map(|line| line.version).collect();
        assert_eq!(logged, versions);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_administrators_cannot_remove_each_other_at_once() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        let (admins, ann, bob) = (group("admins"), user("ann"), user("bob"));
        for _ in 0..10 {
            one.add_member(&admins, &ann, BY, NOW).await.unwrap();
            one.add_member(&admins, &bob, BY, NOW).await.unwrap();
            let (first, second) = tokio::join!(
                one.remove_member(&admins, &ann, BY, NOW),
                two.remove_member(&admins, &bob, BY, NOW)
            );
            assert!(first.is_ok() != second.is_ok());
        }
    })
    .await;
}

#[tokio::test]
async fn overlapping_batches_of_two_replicas_do_not_deadlock() {
    on_both(async |database| {
        let (one, two) = (database.open().await, database.open().await);
        for round in 0..10 {
            let base = round * 100;
            let forward: Vec<_> =
                (base..base + 50).map(|number| (trace(number), experiment("1"), Some(user("a")))).collect();
            let backward: Vec<_> =
                (base + 10..base + 60).rev().map(|number| (trace(number), experiment("2"), None)).collect();
            let (first, second) =
                tokio::join!(one.claim_traces(&forward, NOW), two.claim_traces(&backward, NOW));
            let fresh = [first.unwrap(), second.unwrap()].concat().iter().filter(|claim| claim.fresh).count();
            assert_eq!(fresh, 60);
        }
    })
    .await;
}

#[tokio::test]
async fn a_reopened_store_finds_everything() {
    on_both(async |database| {
        let store = database.open().await;
        let ann = user("ann");
        store.add_member(&group("admins"), &ann, BY, NOW).await.unwrap();
        store.add_grant(&grant(&ann, "experiment:1", "CAN_EDIT"), BY, NOW).await.unwrap();
        store.claim_trace(&trace(1), &experiment("1"), Some(&ann), NOW).await.unwrap();
        store.put_artifact_root("1", &experiment("1")).await.unwrap();
        let (policy, secret) = (store.policy().await.unwrap(), store.secret("token-hash").await.unwrap());
        drop(store);

        let store = database.open().await;
        assert_eq!(store.policy().await.unwrap(), policy);
        assert_eq!(store.secret("token-hash").await.unwrap(), secret);
        assert_eq!(store.trace_owner(&trace(1)).await.unwrap().unwrap().started_by, Some(ann));
        assert_eq!(store.artifact_roots().await.unwrap(), [("1".to_owned(), experiment("1"))]);
    })
    .await;
}

#[tokio::test]
async fn a_data_directory_with_an_odd_name_works_and_its_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let odd = directory.path().join("a ?b#c%20é");
    let store = Store::open(&DatabaseConfig::default(), &odd).await.unwrap();
    store.ensure_principal(&user("ann"), BY, NOW).await.unwrap();
    for file in std::fs::read_dir(&odd).unwrap().flatten() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    assert!(odd.join("state.db").exists());
}
