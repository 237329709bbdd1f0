//! Break-glass: access for minutes, with a reason, that cannot be made to last.

use serde_json::json;

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;

const ROUTE: &str = "/api/tracegate/v1/break-glass";

fn request(on: &str, privilege: &str, minutes: u64, reason: &str) -> Request {
    Request::post(
        ROUTE,
        &json!({ "securable": on, "privilege": privilege, "minutes": minutes, "reason": reason }),
    )
}

const WHY: &str = "incident 4711, the agent leaks names";

#[actix_rt::test]
async fn it_opens_one_thing_for_minutes_and_leaves_a_record_with_the_reason() {
    let gateway = Gateway::start().await;
    let read = Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1");
    gateway.call(Who::Stranger, read.clone()).await.expect(403);
    let refused = gateway.call(Who::Stranger, request("experiment:1", "CAN_READ", 30, WHY)).await.expect(403);
    assert!(refused.text().contains("break_glass.use"), "{}", refused.text());

    gateway.grant(Who::Stranger, "experiment:1", "break_glass.use").await;
    gateway.call(Who::Stranger, read.clone()).await.expect(403);
    let taken = gateway.call(Who::Stranger, request("experiment:1", "CAN_READ", 30, WHY)).await.expect(200);
    let grant = &taken.json()["grant"];
    assert_eq!(grant["reason"], format!("break-glass: {WHY}"));
    let lasts = grant["expires_at_ms"].as_i64().unwrap() - grant["granted_at_ms"].as_i64().unwrap();
    // The grant is written a moment after its end was reckoned.
    assert!((30 * 60_000 - 10_000..=30 * 60_000).contains(&lasts), "{lasts}");
    gateway.call(Who::Stranger, read).await.expect(200);
    gateway.call(Who::Stranger, request("experiment:2", "CAN_READ", 30, WHY)).await.expect(403);

    let records = gateway.records(&taken.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.as_ref()).expect("before and after");
    assert!(serde_json::to_string(change).unwrap().contains(WHY));
    let metrics = gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200);
    assert!(metrics.text().contains("tracegate_break_glass_total 1"), "{}", metrics.text());
    gateway.stop().await;
}

#[actix_rt::test]
async fn it_cannot_be_made_to_last_or_to_reach_further() {
    let gateway = Gateway::start().await;
    for on in ["workspace:default", "experiment:1"] {
        gateway.grant(Who::Reader, on, "break_glass.use").await;
    }
    for (problem, wanted) in [
        ("privilege", request("experiment:1", "CAN_MANAGE", 5, WHY)),
        ("privilege", request("experiment:1", "ALL", 5, WHY)),
        ("privilege", request("experiment:1", "experiment.manage", 5, WHY)),
        ("privilege", request("experiment:1", "break_glass.use", 5, WHY)),
        ("securable", request("workspace:default", "CAN_READ", 5, WHY)),
        ("break_glass.use", request("catalog:main", "SELECT", 5, WHY)),
        ("minutes", request("experiment:1", "CAN_EDIT", 0, WHY)),
        ("minutes", request("experiment:1", "CAN_EDIT", 61, WHY)),
        ("minutes", request("experiment:1", "CAN_EDIT", u64::MAX, WHY)),
        ("reason", request("experiment:1", "CAN_EDIT", 5, "because   ")),
        // Held for good: the same grant with an end would take it away.
        ("privilege", request("experiment:1", "CAN_READ", 5, WHY)),
    ] {
        let answer = gateway.call(Who::Reader, wanted).await;
        let known = answer.status == 400 || answer.status == 403;
        assert!(known && answer.text().contains(problem), "{problem}: {} {}", answer.status, answer.text());
    }
    let grants = gateway.app.store.grants(Some(&Who::Reader.principal()), None).await.unwrap();
    assert!(grants.iter().all(|grant| grant.grant.expires_at.is_none()), "{grants:?}");

    // A deny beats it, and who manages the experiment can end it.
    gateway.call(Who::Reader, request("experiment:1", "CAN_EDIT", 5, WHY)).await.expect(200);
    let edit = Request::post(
        "/api/2.0/mlflow/experiments/set-experiment-tag",
        &json!({ "experiment_id": "1", "key": "k", "value": "v" }),
    );
    gateway.call(Who::Reader, edit.clone()).await.expect(200);
    let listed =
        gateway.call(Who::Manager, Request::get("/api/tracegate/v1/grants?securable=experiment:1")).await;
    let listed = listed.expect(200).json();
    let id =
        listed["grants"].as_array().unwrap().iter().find(|grant| !grant["expires_at_ms"].is_null()).unwrap();
    let withdraw = Request::new("DELETE", &format!("/api/tracegate/v1/grants/{}", id["id"]));
    gateway.call(Who::Manager, withdraw).await.expect(200);
    gateway.call(Who::Reader, edit).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn it_can_be_turned_off() {
    let gateway = Gateway::start_with(|config| config.policy.break_glass_minutes = 0).await;
    gateway.grant(Who::Stranger, "experiment:1", "break_glass.use").await;
    let answer = gateway.call(Who::Stranger, request("experiment:1", "CAN_READ", 5, WHY)).await.expect(403);
    assert!(answer.text().contains("policy.break_glass_minutes"), "{}", answer.text());
    gateway.stop().await;
}
