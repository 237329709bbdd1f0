use serde_json::{Value, json};

use super::super::testing::TestStore;
use crate::wire::Method;

const PATH: &str = "/api/2.0/mlflow/logged-models";
const REGISTRY: &str = "/api/2.0/mlflow";

async fn make(store: &TestStore, name: &str) -> String {
    let body = json!({
        "experiment_id": "0", "name": name, "params": [{ "key": "p", "value": name }],
        "tags": [{ "key": "t", "value": "v" }],
    });
    let (status, made) = store.post(PATH, body).await;
    assert_eq!(status, 200, "{made}");
    made["model"]["info"]["model_id"].as_str().unwrap().to_owned()
}

async fn search(store: &TestStore, more: Value) -> (u16, Value) {
    let mut body = json!({ "experiment_ids": ["0"] });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    store.post(&format!("{PATH}/search"), body).await
}

fn names(page: &Value) -> Vec<&str> {
    let models = page["models"].as_array();
    models.into_iter().flatten().map(|model| model["info"]["name"].as_str().unwrap()).collect()
}

/// A value of the metric `acc` that a run logged with the model.
async fn measure(store: &TestStore, model: &str, value: f64, step: i64, dataset: Option<&str>) {
    let (_, run) = store.post(&format!("{REGISTRY}/runs/create"), json!({ "experiment_id": "0" })).await;
    let mut metric = json!({
        "run_id": run["run"]["info"]["run_id"], "key": "acc", "value": value, "timestamp": step, "step": step,
        "model_id": model,
    });
    if let Some(name) = dataset {
        metric["dataset_name"] = json!(name);
        metric["dataset_digest"] = json!("d");
    }
    let (status, answer) = store.post(&format!("{REGISTRY}/runs/log-metric"), metric).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_model_is_pending_until_it_is_finalized() {
    let store = TestStore::open().await;
    let id = make(&store, "m").await;
    assert!(id.starts_with("m-") && id.len() == 34, "{id}");
    let (_, shown) = store.get(&format!("{PATH}/{id}")).await;
    let info = &shown["model"]["info"];
    assert_eq!(info["status"], "LOGGED_MODEL_PENDING");
    assert_eq!(info["artifact_uri"], format!("mlflow-artifacts:/0/models/{id}/artifacts"));
    assert_eq!(shown["model"]["data"]["params"], json!([{ "key": "p", "value": "m" }]));
    let finalize = |status: Value| json!({ "model_id": id, "status": status });
    for (status, shown) in
        [(json!("LOGGED_MODEL_READY"), "LOGGED_MODEL_READY"), (json!(1), "LOGGED_MODEL_PENDING")]
    {
        let (_, changed) = store.call(Method::Patch, &format!("{PATH}/{id}"), finalize(status)).await;
        assert_eq!(changed["model"]["info"]["status"], shown);
    }
    assert_eq!(store.call(Method::Patch, &format!("{PATH}/{id}"), finalize(json!("DONE"))).await.0, 400);
}

#[tokio::test]
async fn parameters_are_written_once_and_repeats_do_no_harm() {
    let store = TestStore::open().await;
    let id = make(&store, "m").await;
    let log = |value: &str| json!({ "model_id": id, "params": [{ "key": "q", "value": value }] });
    let path = format!("{PATH}/{id}/params");
    assert_eq!(store.post(&path, log("1")).await.0, 200);
    assert_eq!(store.post(&path, log("1")).await.0, 200);
    let refused = store.post(&path, log("2")).await;
    assert_eq!((refused.0, refused.1["error_code"].as_str()), (400, Some("BAD_REQUEST")));
}

#[tokio::test]
async fn a_deleted_model_is_seen_by_who_asks_for_deleted_ones() {
    let store = TestStore::open().await;
    let id = make(&store, "m").await;
    assert_eq!(store.call(Method::Delete, &format!("{PATH}/{id}"), Value::Null).await.0, 200);
    assert_eq!(store.get(&format!("{PATH}/{id}")).await.0, 404);
    assert_eq!(store.get(&format!("{PATH}/{id}?allow_deleted=true")).await.0, 200);
    assert_eq!(search(&store, json!({})).await, (200, json!({})));
    let tags = store.call(Method::Delete, &format!("{PATH}/{id}/tags/nope"), Value::Null).await;
    assert_eq!(tags.1["message"], format!("No tag with key 'nope' found for model with ID '{id}'."));
}

#[tokio::test]
async fn searches_filter_by_everything_that_a_model_has() {
    let store = TestStore::open().await;
    let (one, two) = (make(&store, "one").await, make(&store, "two").await);
    measure(&store, &one, 0.5, 0, None).await;
    measure(&store, &one, 0.1, 1, None).await;
    measure(&store, &two, 0.9, 0, Some("data")).await;
    for (filter, expected) in [
        ("name = 'one'", vec!["one"]),
        ("name = one", vec!["one"]),
        ("name LIKE 'T%'", vec![]),
        ("name ILIKE 'T%'", vec!["two"]),
        ("name IN ('one', 'three')", vec!["one"]),
        ("params.p != 'one' AND tags.`t` = 'v'", vec!["two"]),
        ("metrics.acc > 0.4 AND metrics.acc < 0.2", vec!["one"]),
        ("status = '1' AND creation_timestamp > 0", vec!["one", "two"]),
        ("metrics.acc > nan", vec![]),
    ] {
        let (status, found) =
            search(&store, json!({ "filter": filter, "order_by": [{ "field_name": "name" }] })).await;
        assert_eq!((status, names(&found)), (200, expected), "{filter}");
    }
    for filter in
        ["name", "name > 'x'", "size = 1", "nothing.x = 1", "metrics.acc = 'x'", "name = 'a' OR name = 'b'"]
    {
        assert_eq!(search(&store, json!({ "filter": filter })).await.0, 400, "{filter}");
    }
    let datasets = json!([{ "dataset_name": "data", "dataset_digest": "d" }]);
    assert_eq!(names(&search(&store, json!({ "datasets": datasets })).await.1), ["two"]);
}

#[tokio::test]
async fn searches_order_by_the_latest_value_of_a_metric() {
    let store = TestStore::open().await;
    let (one, two, _none) =
        (make(&store, "one").await, make(&store, "two").await, make(&store, "none").await);
    measure(&store, &one, 0.9, 0, Some("data")).await;
    measure(&store, &one, 0.1, 1, None).await;
    measure(&store, &two, 0.5, 0, None).await;
    let by = |more: Value| {
        let mut order = json!({ "field_name": "metrics.acc" });
        for (key, value) in more.as_object().unwrap() {
            order[key] = value.clone();
        }
        json!({ "order_by": [order, { "field_name": "name" }] })
    };
    for (order, expected) in [
        (json!({}), ["one", "two", "none"]),
        (json!({ "ascending": false }), ["two", "one", "none"]),
        (json!({ "dataset_name": "data" }), ["one", "none", "two"]),
    ] {
        let (_, whole) = search(&store, by(order.clone())).await;
        assert_eq!(names(&whole), expected, "{order}");
        let mut paged = Vec::new();
        let mut asked = by(order);
        asked["max_results"] = json!(1);
        loop {
            let (_, page) = search(&store, asked.clone()).await;
            paged.extend(names(&page).into_iter().map(str::to_owned));
            match page.get("next_page_token") {
                Some(token) => asked["page_token"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(paged, expected);
    }
}

#[tokio::test]
async fn a_model_knows_the_versions_that_were_made_of_it() {
    let store = TestStore::open().await;
    let id = make(&store, "m").await;
    store.post(&format!("{REGISTRY}/registered-models/create"), json!({ "name": "é" })).await;
    let body = json!({ "name": "é", "source": format!("models:/{id}"), "model_id": id });
    for _ in 0..2 {
        let (status, made) = store.post(&format!("{REGISTRY}/model-versions/create"), body.clone()).await;
        assert_eq!(status, 200, "{made}");
    }
    let (_, shown) = store.get(&format!("{PATH}/{id}")).await;
    let tags = shown["model"]["info"]["tags"].as_array().unwrap();
    let versions = tags.iter().find(|tag| tag["key"] == "mlflow.modelVersions").unwrap();
    assert_eq!(versions["value"], r#"[{"name": "\u00e9", "version": 1}, {"name": "\u00e9", "version": 2}]"#);
    let (_, uri) =
        store.get(&format!("{REGISTRY}/model-versions/get-download-uri?name=%C3%A9&version=1")).await;
    assert_eq!(uri["artifact_uri"], format!("mlflow-artifacts:/0/models/{id}/artifacts"));
}
