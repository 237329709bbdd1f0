//! Requests for access: anybody asks, whoever manages decides, and asking tells nothing.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const ROUTE: &str = "/api/tracegate/v1/access-requests";
const WHY: &str = "triage of incident 4711";

fn ask(on: &str, privilege: &str, minutes: Option<u64>) -> Request {
    Request::post(
        ROUTE,
        &json!({ "securable": on, "privilege": privilege, "reason": WHY, "minutes": minutes }),
    )
}

fn decide(id: &str, what: &str, body: &Value) -> Request {
    Request::post(&format!("{ROUTE}/{id}/{what}"), body)
}

fn id(answer: &Answer) -> String {
    answer.json()["request"]["id"].as_str().expect("an id").to_owned()
}

#[actix_rt::test]
async fn an_approved_request_is_a_grant_with_an_end_and_a_record() {
    let gateway = Gateway::start().await;
    let read = Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1");
    let refused = gateway.call(Who::Stranger, read.clone()).await.expect(403);
    assert!(refused.text().contains("tracegate access request"), "{}", refused.text());
    let asked = gateway.call(Who::Stranger, ask("experiment:1", "CAN_READ", Some(60))).await.expect(200);
    let request = id(&asked);
    let again = gateway.call(Who::Stranger, ask("experiment:1", "CAN_READ", Some(60))).await.expect(200);
    assert_eq!(id(&again), request, "the same again is not doubled");
    let listed =
        gateway.call(Who::Manager, Request::get(&format!("{ROUTE}?state=pending"))).await.expect(200);
    assert_eq!(listed.json()["requests"][0]["id"], request.as_str());

    let approval = json!({ "reason": "welcome" });
    let approved = gateway.call(Who::Manager, decide(&request, "approve", &approval)).await.expect(200);
    let grant = &approved.json()["grant"];
    let lasts = grant["expires_at_ms"].as_i64().unwrap() - grant["granted_at_ms"].as_i64().unwrap();
    assert_eq!(lasts, 60 * 60_000);
    assert!(grant["reason"].as_str().unwrap().contains(WHY));
    gateway.call(Who::Stranger, read).await.expect(200);
    let twice = gateway.call(Who::Manager, decide(&request, "approve", &approval)).await.expect(409);
    assert!(twice.text().contains("approved"), "{}", twice.text());
    for (call, action) in [(&asked, "access_request.ask"), (&approved, "access_request.approve")] {
        let records = gateway.records(&call.decision_id()).await;
        let changes: Vec<_> = records.iter().filter_map(|record| record.policy_change.as_ref()).collect();
        assert!(
            changes.iter().any(|change| change.action == action && change.before != change.after),
            "{action}"
        );
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn asking_is_no_oracle_and_foreign_requests_are_not_there() {
    let gateway = Gateway::start().await;
    let mut answers = Vec::new();
    // Hidden, missing and visible.
    for on in ["experiment:1", "experiment:999999", "registered_model:no-such", "folder:/no/such"] {
        let answer = gateway.call(Who::Reader, ask(on, "CAN_EDIT", Some(5))).await.expect(200);
        let mut told = answer.json()["request"].clone();
        for field in ["id", "asked_at_ms", "securable"] {
            told[field] = Value::Null;
        }
        answers.push(told);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // Nothing was asked of the backend for it.
    assert!(gateway.forwarded().is_empty());

    let request = id(&gateway.call(Who::Reader, ask("experiment:2", "CAN_READ", Some(5))).await.expect(200));
    let missing = "0190a3b2-0000-7000-8000-000000000000";
    // The manager of experiment 1 manages nothing of experiment 2.
    for who in [Who::Manager, Who::Stranger] {
        let mut told = Vec::new();
        for one in [request.as_str(), missing] {
            let path = format!("{ROUTE}/{one}");
            let gets = gateway.call(who, Request::get(&path)).await.expect(404);
            gateway.call(who, decide(one, "approve", &json!({}))).await.expect(404);
            gateway.call(who, decide(one, "refuse", &json!({ "reason": "no" }))).await.expect(404);
            gateway.call(who, Request::new("DELETE", &path)).await.expect(404);
            told.push(
                gets.json()["message"]
                    .as_str()
                    .unwrap()
                    .replace(one, "ID")
                    .split(" (")
                    .next()
                    .unwrap()
                    .to_owned(),
            );
        }
        assert_eq!(told[0], told[1]);
    }
    let listed = gateway.call(Who::Manager, Request::get(ROUTE)).await.expect(200).json();
    let securables: Vec<&str> =
        listed["requests"].as_array().unwrap().iter().map(|one| one["securable"].as_str().unwrap()).collect();
    assert_eq!(securables, ["experiment:1"], "what he manages, and nothing else");
    let all = gateway.call(Who::Admin, Request::get(&format!("{ROUTE}?limit=2"))).await.expect(200).json();
    assert_eq!(all["requests"].as_array().unwrap().len(), 2);
    let next = all["next"].as_str().unwrap();
    let rest = gateway.call(Who::Admin, Request::get(&format!("{ROUTE}?limit=9&after={next}"))).await;
    assert_eq!(rest.expect(200).json()["requests"].as_array().unwrap().len(), 3);
    // A page token is for who got it.
    gateway.call(Who::Manager, Request::get(&format!("{ROUTE}?after={next}"))).await.expect(400);
    gateway.stop().await;
}

#[actix_rt::test]
async fn nobody_decides_alone_and_nothing_is_approved_that_does_not_exist() {
    let gateway = Gateway::start().await;
    // Whoever asks, manager or administrator, another decides.
    for who in [Who::Manager, Who::Admin] {
        let own = id(&gateway.call(who, ask("experiment:1", "CAN_EDIT", Some(5))).await.expect(200));
        let refused = gateway.call(who, decide(&own, "approve", &json!({}))).await.expect(403);
        assert!(refused.text().contains("nobody decides its own"), "{}", refused.text());
        gateway.call(who, decide(&own, "refuse", &json!({ "reason": "no" }))).await.expect(403);
    }
    // Who can see its own request cannot decide on it either.
    let own = id(&gateway.call(Who::Reader, ask("experiment:1", "CAN_EDIT", None)).await.expect(200));
    gateway.call(Who::Reader, decide(&own, "approve", &json!({}))).await.expect(403);
    // Without an end is said, and not forgotten.
    let vague = gateway.call(Who::Manager, decide(&own, "approve", &json!({}))).await.expect(400);
    assert!(vague.text().contains("without_end"), "{}", vague.text());
    gateway
        .call(Who::Manager, decide(&own, "approve", &json!({"minutes": 5, "without_end": true})))
        .await
        .expect(400);
    let done = gateway.call(Who::Manager, decide(&own, "approve", &json!({ "without_end": true }))).await;
    assert!(done.expect(200).json()["grant"]["expires_at_ms"].is_null());

    for on in ["experiment:999999", "folder:/no/such", "registered_model:no-such"] {
        let request = id(&gateway.call(Who::Reader, ask(on, "CAN_READ", Some(5))).await.expect(200));
        gateway.call(Who::Admin, decide(&request, "approve", &json!({}))).await.expect(409);
        let path = format!("{ROUTE}/{request}");
        assert_eq!(
            gateway.call(Who::Reader, Request::get(&path)).await.expect(200).json()["request"]["state"],
            "pending"
        );
        gateway.call(Who::Reader, Request::new("DELETE", &path)).await.expect(200);
        gateway.call(Who::Admin, decide(&request, "approve", &json!({}))).await.expect(409);
    }
    // Asked before it could be known to be wrong.
    for (field, request) in [
        (
            "reason",
            Request::post(
                ROUTE,
                &json!({"securable": "experiment:1", "privilege": "CAN_READ", "reason": "because"}),
            ),
        ),
        ("minutes", ask("experiment:1", "CAN_READ", Some(0))),
        ("minutes", ask("experiment:1", "CAN_READ", Some(u64::MAX))),
        ("CAN_FLY", ask("experiment:1", "CAN_FLY", Some(5))),
        ("SELECT", ask("experiment:1", "SELECT", Some(5))),
    ] {
        let answer = gateway.call(Who::Reader, request).await.expect(400);
        assert!(answer.text().contains(field), "{field}: {}", answer.text());
    }
    gateway.call(Who::Anonymous, ask("experiment:1", "CAN_READ", Some(5))).await.expect(401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn break_glass_does_not_replace_a_lasting_grant_in_another_spelling() {
    let gateway = Gateway::start().await;
    gateway.grant(Who::Editor, "experiment:1", "break_glass.use").await;
    let body = json!({ "securable": "experiment:1", "privilege": "CAN_RUN", "minutes": 5, "reason": WHY });
    let refused = gateway.call(Who::Editor, Request::post("/api/tracegate/v1/break-glass", &body)).await;
    assert!(refused.expect(400).text().contains("granted to you already"));
    let held = gateway.app.store.grants(Some(&Who::Editor.principal()), None).await.unwrap();
    assert!(held.iter().all(|grant| grant.grant.expires_at.is_none()), "{held:?}");
    gateway.stop().await;
}
