use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;

const API: &str = "/api/2.0/mlflow/experiments";

async fn post(store: &TestStore, operation: &str, body: Value) -> (u16, Value) {
    store.post(&format!("{API}/{operation}"), body).await
}

async fn create(store: &TestStore, name: &str) -> String {
    let (status, body) = post(store, "create", json!({ "name": name })).await;
    assert_eq!(status, 200, "{body}");
    body["experiment_id"].as_str().unwrap().to_owned()
}

async fn names(store: &TestStore, search: Value) -> Vec<String> {
    let (status, body) = post(store, "search", search).await;
    assert_eq!(status, 200, "{body}");
    let found = body["experiments"].as_array().cloned().unwrap_or_default();
    found.iter().map(|experiment| experiment["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_experiment_is_told_as_mlflow_tells_it() {
    let store = TestStore::open().await;
    let tags = json!([{"key": "team", "value": "a"}]);
    let (_, made) = post(&store, "create", json!({"name": "e", "tags": tags})).await;
    assert_eq!(made, json!({"experiment_id": "1"}));
    let expected = json!({"experiment": {
        "experiment_id": "1", "name": "e", "artifact_location": "mlflow-artifacts:/1",
        "lifecycle_stage": "active", "last_update_time": 1_795_322_417_000_i64,
        "creation_time": 1_795_322_417_000_i64, "tags": tags, "workspace": "default",
    }});
    assert_eq!(store.get(&format!("{API}/get?experiment_id=1")).await, (200, expected.clone()));
    assert_eq!(store.get(&format!("{API}/get-by-name?experiment_name=e")).await, (200, expected));
    let (status, body) = store.get(&format!("{API}/get?experiment_id=7")).await;
    assert_eq!((status, &body["message"]), (404, &json!("No Experiment with id=7 exists")));
    assert_eq!(body["error_class"], "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn a_name_is_taken_until_it_is_given_up_even_by_a_deleted_experiment() {
    let store = TestStore::open().await;
    let first = create(&store, "a").await;
    let (status, body) = post(&store, "create", json!({"name": "a"})).await;
    assert_eq!((status, &body["error_code"]), (400, &json!("RESOURCE_ALREADY_EXISTS")));
    let second = create(&store, "b").await;
    let (status, _) = post(&store, "update", json!({"experiment_id": second, "new_name": "a"})).await;
    assert_eq!(status, 400);
    assert_eq!(post(&store, "delete", json!({"experiment_id": first})).await, (200, json!({})));
    assert_eq!(post(&store, "create", json!({"name": "a"})).await.0, 400);
    let (status, body) = post(&store, "update", json!({"experiment_id": first, "new_name": "z"})).await;
    assert_eq!((status, &body["error_code"]), (500, &json!("INVALID_STATE")));
    assert_eq!(post(&store, "restore", json!({"experiment_id": first})).await.0, 200);
    assert_eq!(post(&store, "update", json!({"experiment_id": first, "new_name": "z"})).await.0, 200);
    assert_eq!(post(&store, "update", json!({"experiment_id": second, "new_name": "a"})).await.0, 200);
    // What was refused gave no id away, and no id is given twice.
    assert_eq!(create(&store, "c").await, "3");
}

#[tokio::test]
async fn tags_are_set_replaced_and_deleted_while_the_experiment_is_active() {
    let store = TestStore::open().await;
    let id = create(&store, "e").await;
    for value in ["1", "2"] {
        let tag = json!({"experiment_id": id, "key": "k", "value": value});
        assert_eq!(post(&store, "set-experiment-tag", tag).await.0, 200);
    }
    let (_, body) = store.get(&format!("{API}/get?experiment_id={id}")).await;
    assert_eq!(body["experiment"]["tags"], json!([{"key": "k", "value": "2"}]));
    let tag = json!({"experiment_id": id, "key": "k"});
    assert_eq!(post(&store, "delete-experiment-tag", tag.clone()).await.0, 200);
    let (status, body) = post(&store, "delete-experiment-tag", tag.clone()).await;
    let message = format!("No tag with name: k in experiment with id {id}");
    assert_eq!((status, &body["message"]), (404, &json!(message)));
    post(&store, "delete", json!({"experiment_id": id})).await;
    let (status, body) = post(&store, "set-experiment-tag", tag).await;
    let message = format!("The experiment {id} must be in the 'active' state. Current state is deleted.");
    assert_eq!((status, &body["message"]), (400, &json!(message)));
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused() {
    let store = TestStore::open().await;
    for body in [
        json!({}),
        json!({"name": "x".repeat(501)}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "t", "tags": [{"key": "a", "value": 5}]}),
        json!({"name": "t", "tags": [{"key": "a"}, {"key": "a"}]}),
        json!({"name": "t", "tags": [{"key": "a", "value": "x".repeat(20_001)}]}),
        json!({"name": "t", "artifact_location": "relative/path"}),
        json!({"name": "t", "artifact_location": "runs:/x"}),
        json!({"name": "t", "artifact_location": "HTTP://internal/x"}),
        json!({"name": "t", "artifact_location": "mlflow-artifacts://internal/x"}),
        json!({"name": "t", "artifact_location": "/a/b;c"}),
        json!({"name": "t", "artifact_location": "s3://b/p?x=%2e%2e"}),
    ] {
        assert_eq!(post(&store, "create", body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(names(&store, json!({"max_results": 10})).await, ["Default"]);
}

#[tokio::test]
async fn a_search_filters_orders_and_pages_whatever_is_added_meanwhile() {
    let store = TestStore::open().await;
    for name in ["a1", "a2", "a3", "B1"] {
        store.clock.advance(10);
        create(&store, name).await;
    }
    post(&store, "set-experiment-tag", json!({"experiment_id": "2", "key": "k", "value": "v"})).await;
    let found = |filter: &'static str| names(&store, json!({"max_results": 10, "filter": filter}));
    assert_eq!(found("name LIKE 'a%'").await, ["a3", "a2", "a1"]);
    assert_eq!(found("name LIKE 'b%'").await, Vec::<String>::new());
    assert_eq!(found("name ILIKE 'b%'").await, ["B1"]);
    assert_eq!(found("tags.k = 'v'").await, ["a2"]);
    assert_eq!(found("tags.k IS NULL AND name LIKE 'a%'").await, ["a3", "a1"]);
    assert_eq!(found("experiment_id IN ('1', '3', '99')").await, ["a3", "a1"]);

    let mut page = json!({"max_results": 2, "order_by": ["name ASC"]});
    let mut seen = Vec::new();
    for added in ["A0", "a25", "zz"] {
        let (_, body) = post(&store, "search", page.clone()).await;
        for experiment in body["experiments"].as_array().unwrap() {
            seen.push(experiment["name"].as_str().unwrap().to_owned());
        }
        page["page_token"] = body["next_page_token"].clone();
        create(&store, added).await;
    }
    // `A0` came before the place that the first page had reached, `a25` behind that of the second.
    assert_eq!(seen, ["B1", "Default", "a1", "a2", "a25", "a3"]);
    assert_eq!(page["page_token"], Value::Null);
    let (_, first) = post(&store, "search", json!({"max_results": 2})).await;
    let other = json!({"max_results": 2, "filter": "name = 'a1'", "page_token": first["next_page_token"]});
    assert_eq!(post(&store, "search", other).await.0, 400);
}
