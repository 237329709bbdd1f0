//! Trace ownership: first come, for good.

use futures_util::future::join_all;

use super::*;
use crate::store::Claim;

#[tokio::test]
async fn of_two_racing_claims_exactly_one_wins() {
    on_both(async |database| {
        // Two handles are two replicas.
        let (one, two) = (database.open().await, database.open().await);
        for round in 0..20 {
            let racers = (0..8).map(|number| {
                let store = if number % 2 == 0 { one.clone() } else { two.clone() };
                let wants = experiment(&(number % 4 + 1).to_string());
                let by = user(&format!("user{number}"));
                async move { store.claim_trace(&trace(round), &wants, Some(&by), NOW).await.unwrap() }
            });
            let claims: Vec<Claim> = join_all(racers).await;
            assert_eq!(claims.iter().filter(|claim| claim.fresh).count(), 1);
            let owner = one.trace_owner(&trace(round)).await.unwrap().unwrap();
            for claim in &claims {
                assert_eq!((&claim.experiment, &claim.started_by), (&owner.experiment, &owner.started_by));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_batch_answers_in_order_and_its_first_claim_of_a_trace_counts() {
    on_both(async |database| {
        let store = database.open().await;
        let (one, two, ann) = (experiment("1"), experiment("2"), user("ann"));
        store.claim_trace(&trace(5), &two, None, NOW).await.unwrap();
        let wanted = [
            (trace(9), one.clone(), None),
            (trace(5), one.clone(), Some(ann.clone())),
            (trace(1), one.clone(), Some(ann.clone())),
            (trace(9), two.clone(), Some(ann.clone())),
            (trace(9), one.clone(), Some(ann.clone())),
        ];
        let claims = store.claim_traces(&wanted, NOW).await.unwrap();
        let told: Vec<(&str, bool, bool)> = claims
            .iter()
            .map(|claim| (claim.experiment.as_str(), claim.started_by.is_some(), claim.fresh))
            .collect();
        assert_eq!(
            told,
            [
                ("1", false, true),
                ("2", false, false),
                ("1", true, true),
                ("1", false, false),
                ("1", true, false)
            ]
        );
        let owners = store.trace_owners(&[trace(1), trace(5), trace(9), trace(77)]).await.unwrap();
        assert_eq!(owners.len(), 3);
        assert_eq!(owners[&trace(5)].started_by, None, "another experiment's caller did not start it");
        assert!(store.claim_traces(&[], NOW).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_missing_starter_is_filled_in_once_and_never_changed() {
    on_both(async |database| {
        let store = database.open().await;
        let one = experiment("1");
        let (ann, bob) = (user("ann"), user("bob"));
        assert!(store.claim_trace(&trace(1), &one, None, NOW).await.unwrap().fresh);
        let filled = store.claim_trace(&trace(1), &one, Some(&ann), NOW).await.unwrap();
        assert_eq!((filled.started_by, filled.fresh), (Some(ann.clone()), false));
        let kept = store.claim_trace(&trace(1), &one, Some(&bob), NOW).await.unwrap();
        assert_eq!(kept.started_by, Some(ann));
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_can_release() {
    on_both(async |database| {
        let store = database.open().await;
        let (one, two) = (experiment("1"), experiment("2"));
        store.claim_trace(&trace(1), &one, None, NOW).await.unwrap();
        store.release_claim(&trace(1), &two).await.unwrap();
        assert_eq!(store.trace_owner(&trace(1)).await.unwrap().unwrap().experiment, one);
        store.release_claim(&trace(1), &one).await.unwrap();
        assert!(store.trace_owner(&trace(1)).await.unwrap().is_none());
        assert!(store.claim_trace(&trace(1), &two, None, NOW).await.unwrap().fresh);
    })
    .await;
}

#[tokio::test]
async fn a_batch_larger_than_one_statement_is_claimed_whole() {
    on_both(async |database| {
        let store = database.open().await;
        let wanted: Vec<_> = (0..1203).map(|number| (trace(number), experiment("3"), None)).collect();
        assert!(store.claim_traces(&wanted, NOW).await.unwrap().iter().all(|claim| claim.fresh));
        let traces: Vec<TraceId> = wanted.into_iter().map(|(trace, _, _)| trace).collect();
        assert_eq!(store.trace_owners(&traces).await.unwrap().len(), 1203);
    })
    .await;
}
