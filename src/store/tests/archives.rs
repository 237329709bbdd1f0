//! Archives: what is written to is never forgotten, and what is in the table is known to be.

use super::*;
use crate::access::SecurableKind;
use crate::store::{Archive, ArchiveUpdate, Held};

const MINUTE: i64 = 60_000;

fn at(ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

fn archive(of: &str) -> Archive {
    Archive {
        id: format!("archive-{of}"),
        experiment: experiment(of),
        table: Securable::new(SecurableKind::Table, "main.kept.traces").unwrap(),
        table_id: "t".to_owned(),
        owner: user("ann"),
        sampled_ppm: 1_000_000,
        filter: None,
        frequency_minutes: 15,
        created_at: NOW,
    }
}

async fn held(store: &Store, by: &str, now: i64) -> Option<Held> {
    store.hold_archive("archive-1", by, at(now), at(now + MINUTE)).await.unwrap()
}

async fn begin(store: &Store, held: &Held, batch: i64, now: i64) -> Vec<String> {
    let traces = store.begin_batch(held, batch, 100, at(now)).await.unwrap();
    traces.into_iter().map(|(trace, _)| trace).collect()
}

async fn mark(store: &Store, call: &str, number: usize, now: i64) {
    let marks = [("archive-1".to_owned(), trace(number))];
    store.mark_traces(call, &marks, at(now), at(now + 2 * MINUTE)).await.unwrap();
}

#[tokio::test]
async fn an_experiment_has_one_archive_which_is_a_matter_of_policy() {
    on_both(async |database| {
        let store = database.open().await;
        store.claim_trace(&trace(1), &experiment("1"), None, NOW).await.unwrap();
        store.claim_trace(&trace(2), &experiment("2"), None, NOW).await.unwrap();
        let before = store.archives().await.unwrap();
        assert!(before.1.is_empty());
        let change = store.add_archive(&archive("1"), at(MINUTE), BY, NOW).await.unwrap();
        assert!(change.changed && change.version > before.0);
        let second = Archive { id: "other".to_owned(), ..archive("1") };
        assert!(!store.add_archive(&second, at(MINUTE), BY, NOW).await.unwrap().changed);
        assert_eq!(store.archives().await.unwrap(), (change.version, vec![archive("1")]));
        // What was there before waits to be copied, and nothing of another experiment.
        let held = held(&store, "a", 0).await.unwrap();
        assert_eq!(begin(&store, &held, 1, 0).await, [trace(1).as_str()]);
        store.end_batch(&held, 1, true, None, NOW).await.unwrap();
        // Looked at once more, when its time has come and no sooner.
        store.look_again(&held, &experiment("1"), at(MINUTE - 1)).await.unwrap();
        assert_eq!(store.archive_progress("archive-1").await.unwrap().unwrap().waiting, 0);
        store.look_again(&held, &experiment("1"), at(MINUTE)).await.unwrap();
        store.look_again(&held, &experiment("1"), at(MINUTE)).await.unwrap();
        assert_eq!(store.archive_progress("archive-1").await.unwrap().unwrap().waiting, 1);
        let update = ArchiveUpdate { sampled_ppm: Some(5), owner: Some(user("bob")), ..Default::default() };
        assert!(store.change_archive(&experiment("1"), &update, BY, NOW).await.unwrap().unwrap().changed);
        assert!(!store.change_archive(&experiment("1"), &update, BY, NOW).await.unwrap().unwrap().changed);
        let found = &store.archives().await.unwrap().1[0];
        assert_eq!((found.sampled_ppm, &found.owner), (5, &user("bob")));
        assert!(store.end_archive(&experiment("1"), BY, NOW).await.unwrap().unwrap().changed);
        assert!(store.end_archive(&experiment("1"), BY, NOW).await.unwrap().is_none());
        assert!(store.archive_progress("archive-1").await.unwrap().is_none());
        assert!(store.archives_due(at(10 * MINUTE)).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_write_is_copied_after_it_is_over_and_not_forgotten_if_nobody_says_so() {
    on_both(async |database| {
        let store = database.open().await;
        store.add_archive(&archive("1"), at(1_000 * MINUTE), BY, NOW).await.unwrap();
        let held = held(&store, "a", 0).await.unwrap();
        mark(&store, "one", 1, 0).await;
        assert!(begin(&store, &held, 1, 1).await.is_empty(), "it goes on");
        store.end_marks("one", at(10)).await.unwrap();
        assert!(begin(&store, &held, 1, 9).await.is_empty(), "it rests");
        assert_eq!(begin(&store, &held, 1, 10).await, [trace(1).as_str()]);
        // Written to again while it is read: that is another mark.
        mark(&store, "two", 1, 11).await;
        store.end_marks("two", at(12)).await.unwrap();
        let digests = [(trace(1).to_string(), "d1".to_owned())];
        assert!(store.note_digests(&held, 1, &digests).await.unwrap());
        assert_eq!(store.end_batch(&held, 1, true, Some(1), at(13)).await.unwrap(), 1);
        assert_eq!(begin(&store, &held, 2, 13).await, [trace(1).as_str()]);
        assert_eq!(
            store.archived_digests("archive-1", &[trace(1).to_string()]).await.unwrap(),
            [(trace(1).to_string(), "d1".to_owned())]
        );
        store.end_batch(&held, 2, true, Some(1), at(14)).await.unwrap();
        // A write that takes longer than anybody thought is looked at, and again, and once it is over.
        mark(&store, "three", 3, 20).await;
        for (batch, minutes) in [(3, 3), (4, 6)] {
            assert_eq!(begin(&store, &held, batch, minutes * MINUTE).await, [trace(3).as_str()], "{batch}");
            store.end_batch(&held, batch, true, Some(1), at(minutes * MINUTE)).await.unwrap();
        }
        store.end_marks("three", at(7 * MINUTE)).await.unwrap();
        assert_eq!(begin(&store, &held, 5, 7 * MINUTE).await, [trace(3).as_str()]);
        store.end_batch(&held, 5, true, Some(1), at(7 * MINUTE)).await.unwrap();
        assert!(begin(&store, &held, 6, 600 * MINUTE).await.is_empty());
        // One of which nobody ever tells is given up.
        mark(&store, "four", 4, 0).await;
        assert_eq!(begin(&store, &held, 7, 61 * MINUTE).await, [trace(4).as_str()]);
        store.end_batch(&held, 7, true, Some(1), at(61 * MINUTE)).await.unwrap();
        assert!(begin(&store, &held, 8, 600 * MINUTE).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_is_not_in_the_table_is_begun_again_and_who_lost_the_archive_does_nothing() {
    on_both(async |database| {
        let (store, other) = (database.open().await, database.open().await);
        store.add_archive(&archive("1"), at(1_000 * MINUTE), BY, NOW).await.unwrap();
        let first = held(&store, "a", 0).await.unwrap();
        assert!(held(&other, "b", 1).await.is_none(), "it is held");
        mark(&store, "one", 1, 0).await;
        store.end_marks("one", at(1)).await.unwrap();
        begin(&store, &first, 7, 1).await;
        let digests = [(trace(1).to_string(), "d1".to_owned())];
        assert!(store.note_digests(&first, 7, &digests).await.unwrap());
        // Another takes it over, and is told of the batch.
        let second = held(&other, "b", 2 * MINUTE).await.unwrap();
        assert_eq!((second.batch, second.done), (Some(7), None));
        assert!(!store.note_digests(&first, 7, &digests).await.unwrap());
        assert_eq!(store.end_batch(&first, 7, true, Some(7), NOW).await.unwrap(), 0);
        assert!(begin(&store, &first, 8, 2 * MINUTE).await.is_empty());
        // It is not in the table.
        assert_eq!(other.end_batch(&second, 7, false, Some(9), at(2 * MINUTE)).await.unwrap(), 0);
        assert_eq!(begin(&other, &second, 10, 2 * MINUTE).await, [trace(1).as_str()]);
        // It is: found out by whoever comes next, digests and all.
        assert!(other.note_digests(&second, 10, &digests).await.unwrap());
        let third = held(&store, "c", 10 * MINUTE).await.unwrap();
        assert_eq!((third.batch, third.done), (Some(10), Some(9)));
        assert_eq!(store.end_batch(&third, 10, true, Some(10), at(10 * MINUTE)).await.unwrap(), 1);
        let progress = store.archive_progress("archive-1").await.unwrap().unwrap();
        assert_eq!((progress.copied, progress.waiting, progress.stopped), (1, 0, None));
        // Who gives it up keeps nobody waiting.
        store.release_archives("b").await.unwrap();
        assert!(held(&other, "d", 10 * MINUTE).await.is_none());
        store.release_archives("c").await.unwrap();
        let third = held(&store, "c", 10 * MINUTE).await.unwrap();
        store.release_archive(&third).await.unwrap();
        assert!(held(&other, "d", 10 * MINUTE).await.is_some());
        other.release_archives("d").await.unwrap();
        let third = held(&store, "c", 10 * MINUTE).await.unwrap();
        // Why it is stopped is said by who has it.
        store.stop_archive(&second, Some("x")).await.unwrap();
        assert_eq!(store.archive_lags().await.unwrap(), [(experiment("1"), None, None)]);
        store.stop_archive(&third, Some("x")).await.unwrap();
        assert_eq!(store.archive_lags().await.unwrap(), [(experiment("1"), Some("x".to_owned()), None)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_postponed_waits_its_time_and_holds_up_nothing() {
    on_both(async |database| {
        let store = database.open().await;
        store.add_archive(&archive("1"), at(1_000 * MINUTE), BY, NOW).await.unwrap();
        let held = held(&store, "a", 0).await.unwrap();
        for number in 1..=3 {
            mark(&store, &format!("call-{number}"), number, 0).await;
            store.end_marks(&format!("call-{number}"), at(1)).await.unwrap();
        }
        assert_eq!(begin(&store, &held, 1, 1).await.len(), 3);
        let one = |number: usize| [trace(number).to_string()];
        store.postpone(&held, 1, &one(1), at(100), true).await.unwrap();
        store.postpone(&held, 1, &one(2), at(200), false).await.unwrap();
        store.end_batch(&held, 1, true, None, at(2)).await.unwrap();
        let progress = store.archive_progress("archive-1").await.unwrap().unwrap();
        assert_eq!(progress.waiting, 2);
        assert_eq!(progress.waiting_since, Some(NOW), "of the one that ended");
        assert!(begin(&store, &held, 2, 99).await.is_empty());
        assert_eq!(begin(&store, &held, 2, 100).await, [trace(1).as_str()]);
        store.end_batch(&held, 2, true, None, at(100)).await.unwrap();
        // Written to again, it is due with all that waits of it.
        mark(&store, "again", 2, 110).await;
        store.end_marks("again", at(111)).await.unwrap();
        assert_eq!(begin(&store, &held, 3, 111).await, [trace(2).as_str()]);
        store.end_batch(&held, 3, true, None, at(111)).await.unwrap();
        assert!(begin(&store, &held, 4, 1_000).await.is_empty());
    })
    .await;
}
