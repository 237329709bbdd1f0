//! Tokens: for less than all, for a time, and each change of them on record.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::gateway::{Gateway, holds};
use crate::support::logs;
use crate::support::raw_http::{Answer, Request};

const OWN: &str = "/api/tracegate/v1/tokens";

async fn call(gateway: &Gateway, token: &str, request: Request) -> Answer {
    request.header("Authorization", &format!("Bearer {token}")).send(gateway.address).await
}

async fn make(gateway: &Gateway, who: Who, body: &Value) -> Value {
    gateway.call(who, Request::post(OWN, body)).await.expect(200).json()
}

fn experiment(id: &str) -> Request {
    Request::get(&format!("/api/2.0/mlflow/experiments/get?experiment_id={id}"))
}

#[actix_rt::test]
async fn a_scoped_token_does_what_it_is_for_and_nothing_else() {
    let gateway = Gateway::start().await;
    let scopes = json!([{ "privilege": "CAN_READ", "securable": "experiment:1" }]);
    let made = make(&gateway, Who::Admin, &json!({ "name": "narrow", "scopes": scopes })).await;
    assert_eq!(made["record"]["scopes"], scopes);
    let token = made["token"].as_str().unwrap();
    call(&gateway, token, experiment("1")).await.expect(200);
    call(&gateway, token, experiment("2")).await.expect(403);
    let whoami = call(&gateway, token, Request::get("/api/tracegate/v1/whoami")).await.expect(200).json();
    assert_eq!(whoami["scopes"], scopes);
    assert_eq!((&whoami["administrator"], &whoami["credential"]), (&json!(false), &made["record"]["id"]));
    let id = made["record"]["id"].as_str().unwrap();
    for request in [
        Request::post(OWN, &json!({})),
        Request::get(OWN),
        Request::new("DELETE", &format!("{OWN}/{id}")),
        Request::post("/api/2.0/token/create", &json!({})),
        Request::get("/api/2.0/token-management/tokens"),
        Request::post("/api/tracegate/v1/service-principals/agent/secrets", &json!({})),
        Request::get("/api/tracegate/v1/principals"),
        Request::get("/api/tracegate/v1/policy"),
        Request::post("/api/2.0/mlflow/experiments/create", &json!({ "name": "new" })),
        Request::post(
            "/api/2.0/mlflow/experiments/set-experiment-tag",
            &json!({ "experiment_id": "1", "key": "k", "value": "v" }),
        ),
    ] {
        let target = request.target.clone();
        let answer = call(&gateway, token, request).await;
        assert_eq!(answer.status, 403, "{target}: {}", answer.text());
    }
    // It never gives what its owner has not.
    let wide = json!([{ "privilege": "CAN_MANAGE", "securable": "workspace:default" }]);
    let made = make(&gateway, Who::Stranger, &json!({ "scopes": wide })).await;
    call(&gateway, made["token"].as_str().unwrap(), experiment("1")).await.expect(403);
    for bad in [
        json!([]),
        json!([{ "privilege": "SELECT", "securable": "experiment:1" }]),
        json!([{ "privilege": "CAN_READ", "securable": "experiment:1", "more": 1 }]),
        json!(["CAN_READ@experiment:1"]),
        json!(vec![scopes[0].clone(); 51]),
    ] {
        gateway.call(Who::Admin, Request::post(OWN, &json!({ "scopes": bad }))).await.expect(400);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn making_and_revoking_are_on_record_with_before_and_after_and_no_secret() {
    let gateway = Gateway::start().await;
    let made = gateway.call(Who::Reader, Request::post(OWN, &json!({ "name": "laptop" }))).await.expect(200);
    let (token, id) = (made.json()["token"].clone(), made.json()["record"]["id"].clone());
    let records = gateway.records(&made.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.clone()).unwrap();
    assert_eq!((change.action.as_str(), &change.before), ("token.create", &json!(null)));
    assert_eq!((&change.after["id"], &change.after["principal"]), (&id, &json!("user:reader")));
    let path = format!("{OWN}/{}", id.as_str().unwrap());
    // Somebody else's is not one's to revoke, and whoever may not does not learn that it is there.
    let hidden = gateway.call(Who::Editor, Request::new("DELETE", &path)).await.expect(403);
    let missing =
        gateway.call(Who::Editor, Request::new("DELETE", &format!("{OWN}/tok_x"))).await.expect(403);
    let text = |answer: &Answer| answer.text().replace(&answer.decision_id(), "");
    assert_eq!(text(&hidden), text(&missing));
    let revoked = gateway.call(Who::Admin, Request::new("DELETE", &path)).await.expect(200);
    let records = gateway.records(&revoked.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.clone()).unwrap();
    assert_eq!(change.action, "token.revoke");
    assert!(change.before["revoked_at_ms"].is_null() && change.after["revoked_at_ms"].is_i64());
    call(&gateway, token.as_str().unwrap(), experiment("1")).await.expect(401);
    assert!(!holds(&gateway.spool_bytes(), token.as_str().unwrap()));
    assert!(!logs::collected().contains(token.as_str().unwrap()));
    gateway.stop().await;
}

#[actix_rt::test]
async fn lifetimes_are_held_to_the_limit() {
    let gateway = Gateway::start_with(|config| config.identity.token_max_days = Some(30)).await;
    let day = 86_400;
    for (path, body) in [
        (OWN, json!({ "ttl_seconds": 31 * day })),
        (OWN, json!({ "ttl_seconds": u64::MAX })),
        ("/api/2.0/token/create", json!({ "lifetime_seconds": 31 * day })),
    ] {
        let answer = gateway.call(Who::Reader, Request::post(path, &body)).await.expect(400);
        assert!(answer.text().contains("identity.token_max_days"), "{}", answer.text());
    }
    for body in [json!({}), json!({ "ttl_seconds": 30 * day })] {
        let record = make(&gateway, Who::Reader, &body).await["record"].clone();
        let lives = record["expires_at_ms"].as_i64().unwrap() - record["created_at_ms"].as_i64().unwrap();
        assert_eq!(lives, 30 * day * 1000);
    }
    for bad in [json!(0), json!(-2), json!("1")] {
        let body = json!({ "lifetime_seconds": bad });
        gateway.call(Who::Reader, Request::post("/api/2.0/token/create", &body)).await.expect(400);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn databricks_clients_have_tokens_of_their_own_and_no_others() {
    let gateway = Gateway::start().await;
    let create = Request::post("/api/2.0/token/create", &json!({ "comment": "ci", "lifetime_seconds": 60 }));
    let made = gateway.call(Who::Reader, create).await.expect(200).json();
    let (token, id) =
        (made["token_value"].as_str().unwrap(), made["token_info"]["token_id"].as_str().unwrap());
    call(&gateway, token, experiment("1")).await.expect(200);
    let list = Request::get("/api/2.0/token/list");
    let ids = |answer: Answer| -> Vec<String> {
        let infos = answer.expect(200).json()["token_infos"].as_array().unwrap().clone();
        infos.iter().map(|info| info["token_id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids(gateway.call(Who::Reader, list.clone()).await).contains(&id.to_owned()));
    assert!(!ids(gateway.call(Who::Editor, list.clone()).await).contains(&id.to_owned()));
    let delete = Request::post("/api/2.0/token/delete", &json!({ "token_id": id }));
    // Not even an administrator's own door opens others' tokens; that is what token-management is for.
    for who in [Who::Editor, Who::Admin] {
        gateway.call(who, delete.clone()).await.expect(404);
    }
    let managed = format!("/api/2.0/token-management/tokens/{id}");
    for who in [Who::Reader, Who::Manager] {
        for request in [
            Request::get("/api/2.0/token-management/tokens"),
            Request::get(&managed),
            Request::new("DELETE", &managed),
            Request::post(
                "/api/2.0/token-management/on-behalf-of/tokens",
                &json!({ "application_id": "agent" }),
            ),
        ] {
            gateway.call(who, request).await.expect(403);
        }
    }
    let all = gateway.call(Who::Admin, Request::get("/api/2.0/token-management/tokens")).await;
    assert!(ids(all).contains(&id.to_owned()));
    let of = "/api/2.0/token-management/tokens?created_by_username=reader";
    assert_eq!(ids(gateway.call(Who::Admin, Request::get(of)).await), [id]);
    let info = gateway.call(Who::Admin, Request::get(&managed)).await.expect(200).json();
    assert_eq!(info["token_info"]["comment"], "ci");
    gateway.call(Who::Reader, delete.clone()).await.expect(200);
    gateway.call(Who::Reader, delete).await.expect(404);
    gateway.call(Who::Admin, Request::get(&managed)).await.expect(404);
    call(&gateway, token, experiment("1")).await.expect(401);
    let unknown = json!({ "application_id": "nobody" });
    let path = "/api/2.0/token-management/on-behalf-of/tokens";
    gateway.call(Who::Admin, Request::post(path, &unknown)).await.expect(404);
    gateway.stop().await;
}
