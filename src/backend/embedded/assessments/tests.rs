use serde_json::{Value, json};

use super::super::testing::TestStore;
use crate::wire::Method;

async fn store_with_trace() -> (TestStore, String) {
    let store = TestStore::open().await;
    let body = json!({"trace": {"trace_info": {
        "trace_id": "tr-1",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        "request_time": "2026-11-22T04:40:18.413Z",
        "state": "OK",
    }}});
    assert_eq!(store.post("/api/3.0/mlflow/traces", body).await.0, 200);
    (store, "/api/3.0/mlflow/traces/tr-1/assessments".to_owned())
}

fn assessment(more: Value) -> Value {
    let mut given = json!({"assessment_name": "n", "source": {"source_type": "HUMAN", "source_id": "me"}});
    given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "assessment": given })
}

#[tokio::test]
async fn what_is_overridden_counts_again_once_the_other_is_gone() {
    let (store, path) = store_with_trace().await;
    let (_, first) = store.post(&path, assessment(json!({"feedback": {"value": 5}}))).await;
    let first_id = first["assessment"]["assessment_id"].as_str().unwrap().to_owned();
    let other = assessment(json!({"feedback": {"value": false}, "overrides": first_id}));
    let (_, second) = store.post(&path, other).await;
    let second_id = second["assessment"]["assessment_id"].as_str().unwrap();
    let valid = async || store.get(&format!("{path}/{first_id}")).await.1["assessment"]["valid"].clone();
    assert_eq!(valid().await, json!(false));
    let info = store.get("/api/3.0/mlflow/traces/tr-1").await.1;
    let told = info["trace"]["trace_info"]["assessments"].as_array().unwrap();
    let ids: Vec<&Value> = told.iter().map(|assessment| &assessment["assessment_id"]).collect();
    assert_eq!(ids, [first_id.as_str(), second_id]);
    for _ in 0..2 {
        let deleted = store.call(Method::Delete, &format!("{path}/{second_id}"), Value::Null).await;
        assert_eq!(deleted, (200, json!({})));
    }
    assert_eq!(valid().await, json!(true));
    let nobody = assessment(json!({"feedback": {"value": 1}, "overrides": "nobody"}));
    assert_eq!(store.post(&path, nobody).await.0, 404);
}

#[tokio::test]
async fn values_come_back_as_protobuf_has_them() {
    let (store, path) = store_with_trace().await;
    for (given, told) in [
        (json!({"feedback": {"value": 5}}), json!({"feedback": {"value": 5.0}})),
        (json!({"feedback": {}}), json!({"feedback": {"value": null}})),
        (
            json!({"feedback": {"error": {"error_code": "X", "stack_trace": "y".repeat(10_001)}}}),
            json!({"feedback": {"value": null, "error": {
                "error_code": "X",
                "stack_trace": format!("[Stack trace is truncated]\n...\n{}", "y".repeat(9_969)),
            }}}),
        ),
        (
            json!({"expectation": {"value": ["é", 1]}}),
            json!({"expectation": {"serialized_value": {
                "serialization_format": "JSON_FORMAT", "value": "[\"\\u00e9\", 1.0]",
            }}}),
        ),
        (json!({"issue": {"issue_name": "i"}}), json!({"issue": {"issue_name": "i"}})),
    ] {
        let (status, body) = store.post(&path, assessment(given)).await;
        assert_eq!(status, 200);
        for (kind, value) in told.as_object().unwrap() {
            assert_eq!(&body["assessment"][kind], value);
        }
    }
    for bad in [
        json!({}),
        json!({"expectation": {}}),
        json!({"feedback": {"value": 1}, "expectation": {"value": 2}}),
        json!({"feedback": {"value": 1}, "create_time": "now"}),
        json!({"feedback": {"value": 1}, "rationale": "a\u{0}"}),
    ] {
        assert_eq!(store.post(&path, assessment(bad)).await.0, 400);
    }
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let (store, path) = store_with_trace().await;
    let given = json!({"feedback": {"value": 1}, "rationale": "r", "metadata": {"a": "b"}});
    let (_, made) = store.post(&path, assessment(given)).await;
    let one = format!("{path}/{}", made["assessment"]["assessment_id"].as_str().unwrap());
    let change = json!({
        "assessment": {"assessment_name": "new", "rationale": "ignored", "metadata": {"c": "d"}},
        "update_mask": "assessmentName,metadata",
    });
    let (status, told) = store.call(Method::Patch, &one, change).await;
    assert_eq!(status, 200, "{told}");
    let told = &told["assessment"];
    assert_eq!((&told["assessment_name"], &told["rationale"]), (&json!("new"), &json!("r")));
    assert_eq!(told["metadata"], json!({"a": "b", "c": "d"}));
    let mask_of_none =
        json!({"assessment": {"rationale": "new"}, "update_mask": "rationale,assessment_name"});
    let (status, told) = store.call(Method::Patch, &one, mask_of_none).await;
    assert_eq!((status, &told["assessment"]["rationale"]), (200, &json!("r")));
    let wrong = json!({"assessment": {"expectation": {"value": 1}}, "update_mask": "expectation"});
    assert_eq!(store.call(Method::Patch, &one, wrong).await.0, 400);
}
