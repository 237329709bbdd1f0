//! Reviews: who reaches what, how, and whether it is used; and nothing about what is not the reviewer's.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;
use tracegate::access::Principal;

const ROUTE: &str = "/api/tracegate/v1/access-reviews";

fn rows(answer: &Value) -> &Vec<Value> {
    answer["access"].as_array().expect("rows")
}

#[actix_rt::test]
async fn a_manager_sees_everybody_who_reaches_it_and_nothing_of_other_securables() {
    let gateway = Gateway::start().await;
    let store = &gateway.app.store;
    let now = gateway.app.clock.now();
    let team = Principal::group("team").unwrap();
    let inner = Principal::group("inner").unwrap();
    store.add_member(&team, &inner, "test", now).await.unwrap();
    store.add_member(&inner, &Who::Stranger.principal(), "test", now).await.unwrap();
    for (on, privilege, reason) in [
        ("experiment:1", "CAN_READ", "the team triages"),
        ("workspace:default", "CAN_LIST", "a secret of the workspace"),
    ] {
        let body =
            json!({ "principal": "group:team", "securable": on, "privilege": privilege, "reason": reason });
        gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &body)).await.expect(200);
    }
    gateway
        .call(Who::Stranger, Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1"))
        .await
        .expect(200);

    let answer =
        gateway.call(Who::Manager, Request::get(&format!("{ROUTE}?on=experiment:1"))).await.expect(200);
    assert!(!answer.text().contains("a secret of the workspace"));
    let review = answer.json();
    let of = |who: &str, inherited: bool| {
        let found = rows(&review).iter().find(|row| {
            row["principal"] == who && row["inherited"] == inherited && row["privilege"] != "ALL"
        });
        found.unwrap_or_else(|| panic!("{who} {inherited}: {review}")).clone()
    };
    let direct = of("user:stranger", false);
    assert_eq!(direct["via"], json!(["group:team", "group:inner"]));
    assert_eq!(
        (&direct["reason"], &direct["granted_by"]),
        (&json!("the team triages"), &json!("user:admin"))
    );
    assert!(direct["last_used_ms"].as_i64().is_some() && direct["uses"].as_i64() == Some(1), "{direct}");
    let inherited = of("user:stranger", true);
    for hidden in ["grant_id", "securable", "granted_by", "reason", "last_used_ms", "granted_at_ms"] {
        assert!(inherited[hidden].is_null(), "{hidden}: {inherited}");
    }
    // An administrator sees the same with everything in it.
    let whole = gateway.call(Who::Admin, Request::get(&format!("{ROUTE}?on=experiment:1"))).await.expect(200);
    assert!(whole.text().contains("a secret of the workspace") && whole.text().contains("user:admin"));
    // Page by page it is the same list.
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = Request::get(&format!("{ROUTE}?on=experiment:1&limit=2{after}"));
        let page = gateway.call(Who::Admin, page).await.expect(200).json();
        paged.extend(rows(&page).clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(&paged, rows(&whole.json()));

    for request in ["?on=experiment:2", "?on=workspace:default", "?principal=user:reader"] {
        gateway.call(Who::Manager, Request::get(&format!("{ROUTE}{request}"))).await.expect(403);
    }
    gateway.call(Who::Reader, Request::get(&format!("{ROUTE}?on=experiment:1"))).await.expect(403);
    let own = gateway.call(Who::Stranger, Request::get(&format!("{ROUTE}?principal=user:stranger"))).await;
    let own = own.expect(200);
    assert!(
        own.text().contains("CAN_LIST") && !own.text().contains("a secret of the workspace"),
        "{}",
        own.text()
    );
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_review_keeps_or_revokes_and_stands_in_the_record() {
    let gateway = Gateway::start().await;
    let path = format!("{ROUTE}?on=experiment:1&unused_since_days=0");
    let unused = gateway.call(Who::Manager, Request::get(&path)).await.expect(200).json();
    let of = |who: &str| {
        let row = rows(&unused).iter().find(|row| row["principal"] == who);
        row.unwrap_or_else(|| panic!("{who}: {unused}"))["grant_id"].clone()
    };
    let (reader, editor) = (of("user:reader"), of("user:editor"));
    let decide = |grant: &Value, decision: &str, reason: &str| {
        Request::post(ROUTE, &json!({ "grant_id": grant, "decision": decision, "reason": reason }))
    };
    gateway.call(Who::Editor, decide(&reader, "revoke", "I want to")).await.expect(403);
    gateway.call(Who::Editor, decide(&json!(999_999), "keep", "I want to")).await.expect(403);
    gateway.call(Who::Manager, decide(&reader, "keep", " ")).await.expect(400);
    let kept = gateway.call(Who::Manager, decide(&reader, "keep", "on call")).await.expect(200);
    let gone = gateway.call(Who::Manager, decide(&editor, "revoke", "left the team")).await.expect(200);
    gateway
        .call(Who::Editor, Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1"))
        .await
        .expect(403);
    for (answer, action, reason) in
        [(kept, "access_review.keep", "on call"), (gone, "access_review.revoke", "left the team")]
    {
        let records = gateway.records(&answer.decision_id()).await;
        let change = records.iter().find_map(|record| record.policy_change.as_ref()).expect(action);
        assert_eq!(change.action, action);
        assert!(
            change.after.to_string().contains(reason) && change.before.to_string().contains("user:"),
            "{change:?}"
        );
    }
    let again = gateway
        .call(Who::Manager, Request::get(&format!("{ROUTE}?on=experiment:1")))
        .await
        .expect(200)
        .json();
    let row = rows(&again).iter().find(|row| row["grant_id"] == reader).unwrap();
    assert_eq!(
        (&row["last_review"]["reviewed_by"], &row["last_review"]["reason"]),
        (&json!("user:manager"), &json!("on call"))
    );
    assert!(!rows(&again).iter().any(|row| row["grant_id"] == editor));
    gateway.stop().await;
}
