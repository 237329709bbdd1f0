use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;
use crate::wire::Method;

const AT: &str = "/api/3.0/mlflow/scorers";

async fn register(store: &TestStore, name: &str, text: &str) -> (u16, Value) {
    let body = json!({"experiment_id": "0", "name": name, "serialized_scorer": text});
    store.post(&format!("{AT}/register"), body).await
}

#[tokio::test]
async fn a_scorer_has_versions_of_which_the_last_is_listed() {
    let store = TestStore::open().await;
    let first = register(&store, "b", r#"{"name":"b"}"#).await.1;
    let second = register(&store, "b", r#"{"name":"b","more":[1.0]}"#).await.1;
    register(&store, "a", "{}").await;
    assert_eq!((first["version"].as_i64(), second["version"].as_i64()), (Some(1), Some(2)));
    assert_eq!((&first["scorer_id"], &first["experiment_id"]), (&second["scorer_id"], &json!("0")));

    let listed = store.get(&format!("{AT}/list?experiment_id=0")).await.1;
    let names: Vec<_> = listed["scorers"].as_array().unwrap().iter().map(|one| &one["scorer_name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(listed["scorers"][1]["serialized_scorer"], r#"{"name": "b", "more": [1.0]}"#);
    assert_eq!(listed["scorers"][1]["experiment_id"], 0);
    assert_eq!(store.get(&format!("{AT}/list")).await.1, listed);
    assert_eq!(store.get(&format!("{AT}/list?experiment_ids=0&experiment_ids=7")).await.1, listed);
    let versions = store.get(&format!("{AT}/versions?experiment_id=0&name=b")).await.1;
    assert_eq!(versions["scorers"].as_array().unwrap().len(), 2);
    let one = store.get(&format!("{AT}/get?experiment_id=0&name=b&version=1")).await.1;
    assert_eq!(one["scorer"]["serialized_scorer"], r#"{"name":"b"}"#);
    let last = store.get(&format!("{AT}/get?experiment_id=0&name=b")).await.1;
    assert_eq!(last["scorer"]["scorer_version"], 2);

    let delete = async |version: Value| {
        let body = json!({"experiment_id": "0", "name": "b", "version": version});
        store.call(Method::Delete, &format!("{AT}/delete"), body).await
    };
    let absent = "Scorer with name 'b' and version 9 not found for experiment 0.";
    assert_eq!(delete(json!(9)).await.1["message"], absent);
    assert_eq!(delete(json!(2)).await, (200, json!({})));
    let last = store.get(&format!("{AT}/get?experiment_id=0&name=b")).await.1;
    assert_eq!(last["scorer"]["scorer_version"], 1);
    assert_eq!(delete(Value::Null).await, (200, json!({})));
    assert_eq!(delete(Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_would_run_code_or_steer_requests_is_not_kept() {
    let store = TestStore::open().await;
    for (text, status, message) in [
        ("xx", 400, "serialized_scorer must be valid JSON"),
        ("[1]", 400, "serialized_scorer must be a JSON object, got list"),
        (r#"{"e":[{"call_source":"x"}]}"#, 400, "Custom scorer registration (using @scorer decorator) is"),
        (
            r#"{"third_party_scorer_data":{"kwargs":{"a":[["api_base",1]],"b":{"fallbacks":1}}}}"#,
            400,
            "third_party_scorer_data.kwargs must not contain 'api_base', 'fallbacks': these",
        ),
        (
            r#"{"third_party_scorer_data":{"kwargs":[1]}}"#,
            400,
            "third_party_scorer_data.kwargs must be a JSON",
        ),
        (r#"{"builtin_scorer_pydantic_data":{"model":5}}"#, 400, "Scorer model must be a string, got int."),
        (
            r#"{"memory_augmented_judge_data":{"base_judge":{"instructions_judge_pydantic_data":{"model":"gateway:/g"}}}}"#,
            404,
            "GatewayEndpoint not found (name='g')",
        ),
    ] {
        let (answered, refused) = register(&store, "s", text).await;
        assert_eq!(answered, status, "{text}");
        assert!(refused["message"].as_str().unwrap().starts_with(message), "{refused}");
    }
    assert_eq!(register(&store, " ", "{}").await.0, 400);
    assert_eq!(register(&store, "nul\0", "{}").await.0, 400);
    assert_eq!(store.get(&format!("{AT}/list")).await, (200, json!({})));
}

#[tokio::test]
async fn a_scorer_without_a_gateway_can_only_be_switched_off() {
    let store = TestStore::open().await;
    let id = register(&store, "s", "{}").await.1["scorer_id"].as_str().unwrap().to_owned();
    let set = async |rate: Value, filter: Value| {
        let body = json!({"experiment_id": "0", "name": "s", "sample_rate": rate, "filter_string": filter});
        store.call(Method::Put, &format!("{AT}/online-config"), body).await
    };
    assert_eq!(set(json!(0.5), Value::Null).await.0, 400);
    assert_eq!(
        set(json!(1.5), Value::Null).await.1["message"],
        "sample_rate must be between 0.0 and 1.0, got 1.5"
    );
    assert_eq!(set(json!(0), json!("bad (")).await.0, 400);
    assert_eq!(set(json!(0), Value::Null).await.0, 200);
    let (status, answered) = set(json!("0"), json!("status = 'OK'")).await;
    assert_eq!((status, &answered["config"]["sample_rate"]), (200, &json!(0.0)));
    let configs = store.get(&format!("{AT}/online-configs?scorer_ids={id}")).await.1;
    assert_eq!(configs, json!({ "configs": [answered["config"]] }));
}
