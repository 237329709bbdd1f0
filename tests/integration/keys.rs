//! Keys over the API: for administrators alone, on record, and never told.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tracegate::store::Purpose;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, trace, trace_info};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{Gateway, holds};
use crate::support::logs;
use crate::support::raw_http::{Answer, Request};

const KEYS: &str = "/api/tracegate/v1/keys";
const SEARCH: &str = "/api/3.0/mlflow/traces/search";

async fn rotate(gateway: &Gateway, purpose: &str, body: Value) -> Answer {
    gateway.call(Who::Admin, Request::post(&format!("{KEYS}/{purpose}/rotate"), &body)).await
}

async fn retire(gateway: &Gateway, purpose: &str, id: &str, body: Value) -> Answer {
    gateway.call(Who::Admin, Request::post(&format!("{KEYS}/{purpose}/{id}/retire"), &body)).await
}

fn search(token: Option<&str>) -> Request {
    let locations = json!([{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}}]);
    Request::post(SEARCH, &json!({"locations": locations, "max_results": 2, "page_token": token}))
}

#[actix_rt::test]
async fn administrators_rotate_and_retire_and_all_of_it_is_on_record() {
    let gateway = Gateway::start().await;
    let listed = gateway.call(Who::Admin, Request::get(KEYS)).await.expect(200).json();
    let of = |listed: &Value, purpose: &str| -> Vec<Value> {
        let keys = listed["keys"].as_array().unwrap();
        keys.iter().filter(|key| key["purpose"] == purpose).cloned().collect()
    };
    for purpose in Purpose::ALL {
        let keys = of(&listed, purpose.as_str());
        assert_eq!((keys.len(), &keys[0]["id"], &keys[0]["state"]), (1, &json!("k1"), &json!("active")));
    }
    let checkpoint = of(&listed, "checkpoint");
    assert_eq!((checkpoint.len(), &checkpoint[0]["source"]), (1, &json!("file")));
    let before = of(&listed, "token")[0]["in_use"].as_i64().unwrap();
    assert!(before >= 2, "{listed}");

    let made = rotate(&gateway, "token", json!({"overlap_seconds": 0})).await.expect(200);
    assert_eq!((&made.json()["key"]["id"], &made.json()["key"]["state"]), (&json!("k2"), &json!("active")));
    let records = gateway.records(&made.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.clone()).unwrap();
    assert_eq!((change.action.as_str(), &change.before["active"]), ("key.rotate", &json!("k1")));
    assert_eq!(change.after["id"], "k2");

    // Too soon, and with tokens that nobody used since.
    let refused = retire(&gateway, "token", "k1", json!({})).await.expect(400);
    assert!(refused.text().contains("replaced too short a time ago"), "{}", refused.text());
    let active = retire(&gateway, "token", "k2", json!({"force": true})).await.expect(400);
    assert!(active.text().contains("is the active one"));
    // The administrator's own was used since, and is good by the new key.
    for _ in 0..500 {
        let listed = gateway.call(Who::Admin, Request::get(KEYS)).await.expect(200).json();
        if of(&listed, "token")[0]["in_use"].as_i64().unwrap() < before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    gateway.call(Who::Reader, Request::get("/api/tracegate/v1/whoami")).await.expect(200);
    let done = retire(&gateway, "token", "k1", json!({"force": true})).await.expect(200);
    let ended = done.json()["ended"].as_i64().unwrap();
    assert!(ended >= 1 && ended < before, "{ended} of {before}");
    assert_eq!(done.json()["key"]["state"], "retired");
    let records = gateway.records(&done.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.clone()).unwrap();
    assert_eq!((change.action.as_str(), &change.after["ended"]), ("key.retire", &json!(ended)));
    assert_eq!(
        (&change.before["state"], &change.after["key"]["state"]),
        (&json!("accepted"), &json!("retired"))
    );
    gateway.call(Who::Editor, Request::get("/api/tracegate/v1/whoami")).await.expect(401);
    gateway.call(Who::Admin, Request::get("/api/tracegate/v1/whoami")).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn nobody_else_sees_or_changes_keys_and_what_is_asked_wrongly_is_named() {
    let gateway = Gateway::start().await;
    let requests = [
        Request::get(KEYS),
        Request::post(&format!("{KEYS}/token/rotate"), &json!({})),
        Request::post(&format!("{KEYS}/token/k1/retire"), &json!({"force": true})),
    ];
    for who in [Who::Manager, Who::Editor, Who::Reader, Who::Stranger] {
        for request in requests.clone() {
            gateway.call(who, request).await.expect(403);
        }
    }
    for request in requests {
        gateway.call(Who::Anonymous, request).await.expect(401);
    }
    // Nor an administrator's token that is for less.
    let scopes = json!([{ "privilege": "CAN_MANAGE", "securable": "workspace:default" }]);
    let made = Request::post("/api/tracegate/v1/tokens", &json!({ "scopes": scopes }));
    let narrow =
        gateway.call(Who::Admin, made).await.expect(200).json()["token"].as_str().unwrap().to_owned();
    let request = Request::get(KEYS).header("Authorization", &format!("Bearer {narrow}"));
    request.send(gateway.address).await.expect(403);
    for (purpose, body, told) in [
        ("tokens", json!({}), "must be one of sealing"),
        ("checkpoint", json!({}), "rotate-checkpoint"),
        ("token", json!({"overlap_seconds": 100_000}), "overlap_seconds"),
        ("token", json!({"overlap_seconds": -1}), "body"),
        ("token", json!({"key": "mine"}), "key"),
    ] {
        let answer = rotate(&gateway, purpose, body).await.expect(400);
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    for id in ["k2", "K1", "k01", "%6b1%20"] {
        let status = retire(&gateway, "token", id, json!({"force": true})).await.status;
        assert!(matches!(status, 400 | 404), "{id}: {status}");
    }
    let keys = gateway.app.store.keys().await.unwrap();
    assert!(keys.iter().all(|key| key.id == "k1" && key.value.is_some()));
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_page_goes_on_over_a_rotation_and_not_over_the_end_of_its_key() {
    let gateway = Gateway::start().await;
    gateway.upstream.on("POST", SEARCH, |_| {
        Scripted::json(&json!({"traces": [trace_info(&trace(A), A)], "next_page_token": "raw"}))
    });
    let token = async || {
        let page = gateway.call(Who::Reader, search(None)).await.expect(200);
        page.json()["next_page_token"].as_str().unwrap().to_owned()
    };
    let before = token().await;
    rotate(&gateway, "sealing", json!({"overlap_seconds": 0})).await.expect(200);
    let after = token().await;
    assert!(!before.contains('.') && after.starts_with("k2."));
    gateway.call(Who::Reader, search(Some(&before))).await.expect(200);
    gateway.call(Who::Reader, search(Some(&after))).await.expect(200);
    for forged in [after.replacen("k2", "k1", 1), after.replacen("k2.", "", 1), format!("k2.{before}")] {
        gateway.call(Who::Reader, search(Some(&forged))).await.expect(400);
    }
    gateway.call(Who::Editor, search(Some(&after))).await.expect(400);
    retire(&gateway, "sealing", "k1", json!({})).await.expect(400);
    retire(&gateway, "sealing", "k1", json!({"force": true})).await.expect(200);
    let ended = gateway.call(Who::Reader, search(Some(&before))).await.expect(400);
    let unknown = gateway.call(Who::Reader, search(Some("k9.AAAA"))).await.expect(400);
    let text = |answer: &Answer| answer.text().replace(&answer.decision_id(), "");
    assert_eq!(text(&ended), text(&unknown), "a key that is gone and one that never was are told apart");
    gateway.call(Who::Reader, search(Some(&after))).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn no_key_is_told_logged_or_recorded() {
    let gateway = Gateway::start().await;
    let mut told = String::new();
    for purpose in Purpose::ALL {
        told += &rotate(&gateway, purpose.as_str(), json!({"overlap_seconds": 0})).await.expect(200).text();
    }
    let keys = gateway.app.store.keys().await.unwrap();
    told += &retire(&gateway, "sealing", "k1", json!({"force": true})).await.expect(200).text();
    told += &gateway.call(Who::Admin, Request::get(KEYS)).await.expect(200).text();
    told += &format!("{keys:?} {:?}", gateway.app.keys.ring(Purpose::Token));
    told += &logs::collected();
    let recorded = gateway.spool_bytes();
    assert!(holds(&recorded, "key.rotate"));
    assert_eq!(keys.len(), 10);
    for key in keys {
        let value = key.value.unwrap();
        let bytes = value.expose();
        for form in [
            hex::encode(bytes),
            STANDARD.encode(bytes)[..42].to_owned(),
            URL_SAFE_NO_PAD.encode(bytes),
            format!("{bytes:?}"),
        ] {
            assert!(!told.to_lowercase().contains(&form.to_lowercase()), "{:?}", key.purpose);
            assert!(!holds(&recorded, &form), "{:?}", key.purpose);
        }
        assert!(!recorded.windows(32).any(|window| window == bytes));
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn keys_of_a_file_are_rotated_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    let key = STANDARD.encode((1..33).collect::<Vec<u8>>());
    let text = format!("[sealing]\nactive = \"first\"\n[sealing.keys]\nfirst = \"{key}\"\n");
    std::fs::write(&path, text).unwrap();
    let file = path.clone();
    let gateway = Gateway::start_with(|config| config.server.keys_file = Some(file)).await;
    let refused = rotate(&gateway, "sealing", json!({})).await.expect(400);
    assert!(refused.text().contains("server.keys_file"), "{}", refused.text());
    retire(&gateway, "sealing", "first", json!({"force": true})).await.expect(400);
    rotate(&gateway, "token", json!({})).await.expect(200);
    std::fs::write(&path, "nonsense").unwrap();
    let listed = gateway.call(Who::Admin, Request::get(KEYS)).await.expect(200);
    assert!(listed.json()["file_problem"].as_str().unwrap().contains("keys.toml"));
    assert!(listed.text().contains("\"first\"") && !listed.text().contains(&key));
    assert!(logs::collected().contains("the file of keys is refused"));
    assert!(!logs::collected().contains(&key));
    gateway.stop().await;
}
