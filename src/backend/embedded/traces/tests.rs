use serde_json::{Value, json};

use super::super::testing::{TestStore, bytes_of};
use super::retention::retain;
use super::sweep::{payload_path, sweep};
use crate::wire::{Body, Method};

const T0: u64 = 1_795_322_418_413_000_000;

fn id(number: u32) -> String {
    format!("{number:032x}")
}

fn trace(number: u32) -> String {
    format!("tr-{}", id(number))
}

fn span(trace: u32, span: u32, more: Value) -> Value {
    let mut value = json!({
        "traceId": id(trace),
        "spanId": format!("{span:016x}"),
        "name": format!("span {span}"),
        "startTimeUnixNano": (T0 + u64::from(span) * 1_000_000).to_string(),
        "endTimeUnixNano": (T0 + 50_000_000).to_string(),
    });
    if span > 1 {
        value["parentSpanId"] = json!(format!("{:016x}", 1));
    }
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

async fn export(store: &TestStore, spans: Vec<Value>) -> u16 {
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "svc"}}]},
        "scopeSpans": [{"spans": spans}],
    }]});
    let headers = [("content-type", "application/json"), ("x-mlflow-experiment-id", "0")];
    let body = Body::memory(body.to_string());
    store.send(Method::Post, "/v1/traces", &headers, None, body).await.status
}

fn head(number: u32) -> Value {
    json!({"trace": {"trace_info": {
        "trace_id": trace(number),
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        "request_time": "2026-11-22T04:40:18.413Z",
        "execution_duration": "0.050s",
        "state": "OK",
        "request_preview": "question",
        "trace_metadata": {"mlflow.trace.session": "s", "mlflow.trace.sizeStats": "{\"num_spans\": 2}"},
        "tags": {"mlflow.traceName": "n", "service.name": "mine"},
        "assessments": [{
            "assessment_name": "good",
            "source": {"source_type": "HUMAN", "source_id": "me"},
            "create_time": "2026-11-22T04:40:18.413Z",
            "last_update_time": "2026-11-22T04:40:18.413Z",
            "feedback": {"value": true},
        }],
    }}})
}

async fn get(store: &TestStore, number: u32) -> Value {
    let target = format!("/api/3.0/mlflow/traces/get?trace_id={}&allow_partial=true", trace(number));
    let (status, mut body) = store.get(&target).await;
    assert_eq!(status, 200, "{body}");
    body["trace"].take()
}

/// Two exports and a StartTrace, in an order, of a trace with this number.
async fn in_order(store: &TestStore, number: u32, order: &[u32]) -> Value {
    for step in order {
        let usage = json!({"key": "mlflow.chat.tokenUsage", "value": {"kvlistValue": {"values": [
            {"key": "input_tokens", "value": {"intValue": "5"}},
            {"key": "output_tokens", "value": {"intValue": "6"}},
            {"key": "total_tokens", "value": {"intValue": "11"}},
        ]}}});
        let status = match step {
            0 => store.post("/api/3.0/mlflow/traces", head(number)).await.0,
            1 => export(store, vec![span(number, 1, json!({}))]).await,
            _ => export(store, vec![span(number, 2, json!({"attributes": [usage]}))]).await,
        };
        assert_eq!(status, 200);
    }
    let text = get(store, number).await.to_string();
    let own_id =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hex::decode(id(number)).unwrap());
    let mut told: Value =
        serde_json::from_str(&text.replace(&trace(number), "T").replace(&own_id, "T")).unwrap();
    let assessment = &mut told["trace_info"]["assessments"][0];
    assert_eq!(assessment["feedback"], json!({"value": true}));
    assessment["assessment_id"] = json!("A");
    told
}

#[tokio::test]
async fn requests_in_any_order_and_twice_make_the_same_trace() {
    let store = TestStore::open().await;
    let expected = in_order(&store, 1, &[0, 1, 2]).await;
    assert_eq!(expected["spans"].as_array().unwrap().len(), 2);
    assert_eq!(expected["trace_info"]["tags"]["service.name"], "svc");
    assert_eq!(
        expected["trace_info"]["trace_metadata"]["mlflow.trace.tokenUsage"],
        r#"{"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}"#
    );
    assert_eq!(expected["trace_info"]["assessments"].as_array().unwrap().len(), 1);
    let orders: [&[u32]; 7] = [
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
        &[2, 2, 0, 0, 1, 1, 0],
        &[1, 0, 1, 2, 0, 2, 1],
    ];
    for (number, order) in (2..).zip(orders) {
        assert_eq!(in_order(&store, number, order).await, expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_large_trace_lies_beside_the_database_and_goes_with_it() {
    let store = TestStore::open().await;
    let text = "x".repeat(700);
    let attribute = json!({"attributes": [{"key": "text", "value": {"stringValue": text}}]});
    let spans: Vec<Value> = (1..=2_000).map(|number| span(9, number, attribute.clone())).collect();
    assert_eq!(export(&store, spans.clone()).await, 200);
    let count = async || {
        let sql = "SELECT count(payload), count(content), count(DISTINCT payload) FROM spans";
        sqlx::query_as::<_, (i64, i64, i64)>(sql).fetch_one(&store.shared.database.reader).await.unwrap()
    };
    assert_eq!(count().await, (2_000, 0, 1));

    let read = get(&store, 9).await;
    let names: Vec<&str> =
        read["spans"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap()).collect();
    let expected: Vec<String> = (1..=2_000).map(|number| format!("span {number}")).collect();
    assert_eq!(names, expected);
    assert_eq!(read["spans"][1_999]["attributes"][0]["value"]["string_value"], json!(text));
    let target = format!("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={}", trace(9));
    let reply = store.send(Method::Get, &target, &[], None, Body::Empty).await;
    let file: Value = serde_json::from_slice(&bytes_of(reply).await).unwrap();
    assert_eq!(file["spans"].as_array().unwrap().len(), 2_000);

    // Sent again, it lies in a new object, and the old one is nobody's.
    assert_eq!(export(&store, spans).await, 200);
    store
        .shared
        .objects
        .put(&payload_path(store.shared.clock.now()), Body::memory("left over"))
        .await
        .unwrap();
    assert_eq!(sweep(&store.shared).await.unwrap(), 0, "what is young may wait for its rows");
    store.clock.advance(4_000_000);
    assert_eq!(sweep(&store.shared).await.unwrap(), 2);
    assert_eq!(get(&store, 9).await["spans"].as_array().unwrap().len(), 2_000);

    let body = json!({"experiment_id": "0", "request_ids": [trace(9)]});
    assert_eq!(store.post("/api/3.0/mlflow/traces/delete-traces", body).await.1["traces_deleted"], 1);
    assert_eq!(count().await, (0, 0, 0));
    assert!(store.shared.objects.list(".tracegate/spans").await.unwrap().is_empty());
}

#[tokio::test]
async fn old_traces_and_too_many_go() {
    let store = TestStore::open().await;
    for number in 1..=250 {
        let start = (T0 + u64::from(number) * 1_000_000_000).to_string();
        assert_eq!(export(&store, vec![span(number, 1, json!({ "startTimeUnixNano": start }))]).await, 200);
    }
    let now = i64::try_from(T0 / 1_000_000).unwrap() + 2 * 86_400_000 + 40_000;
    store.clock.advance(now - store.shared.clock.now().0);
    assert_eq!(retain(&store.shared).await.unwrap(), 0);
    for (key, value) in [(super::retention::DAYS, "2"), (super::retention::TRACES, "120")] {
        let body = json!({"experiment_id": "0", "key": key, "value": value});
        assert_eq!(store.post("/api/2.0/mlflow/experiments/set-experiment-tag", body).await.0, 200);
    }
    // Forty by their age, ninety more by their number.
    assert_eq!(retain(&store.shared).await.unwrap(), 130);
    assert_eq!(retain(&store.shared).await.unwrap(), 0);
    let sql = "SELECT min(request_time), count(*) FROM traces";
    let (oldest, left): (i64, i64) =
        sqlx::query_as(sql).fetch_one(&store.shared.database.reader).await.unwrap();
    assert_eq!((oldest, left), (i64::try_from(T0 / 1_000_000).unwrap() + 131_000, 120));
}

#[tokio::test]
async fn marks_are_in_step_with_tags_and_metadata() {
    let store = TestStore::open().await;
    store.post("/api/3.0/mlflow/traces", head(1)).await;
    let path = format!("/api/3.0/mlflow/traces/{}/tags", trace(1));
    let long = "é".repeat(1_000_000);
    assert_eq!(store.call(Method::Patch, &path, json!({"key": "long", "value": long})).await.0, 200);
    assert_eq!(store.call(Method::Patch, &path, json!({"key": "k", "value": "v"})).await.0, 200);
    assert_eq!(store.call(Method::Delete, &path, json!({"key": "service.name"})).await.0, 200);
    let (status, body) = store.call(Method::Patch, &path, json!({"key": "k", "value": "a\u{0}b"})).await;
    assert_eq!((status, body["error_code"].as_str()), (400, Some("INVALID_PARAMETER_VALUE")));
    let sql = "SELECT key, value, kind FROM trace_marks ORDER BY kind, key";
    let marks: Vec<(String, String, i64)> =
        sqlx::query_as(sql).fetch_all(&store.shared.database.reader).await.unwrap();
    let keys: Vec<(&str, i64)> = marks.iter().map(|(key, _, kind)| (key.as_str(), *kind)).collect();
    let expected = [
        ("k", 0),
        ("long", 0),
        ("mlflow.artifactLocation", 0),
        ("mlflow.traceName", 0),
        ("mlflow.trace.infoFinalized", 1),
        ("mlflow.trace.session", 1),
        ("mlflow.trace.sizeStats", 1),
    ];
    assert_eq!(keys, expected);
    assert_eq!(marks[1].1.chars().count(), 256);
}

#[tokio::test]
async fn ten_thousand_tags_work() {
    let store = TestStore::open().await;
    let mut body = head(1);
    let tags: serde_json::Map<String, Value> =
        (0..10_000).map(|number| (format!("tag {number}"), json!("v"))).collect();
    body["trace"]["trace_info"]["tags"] = Value::Object(tags);
    body["trace"]["trace_info"]["execution_duration"] = json!("-3s");
    let (status, body) = store.post("/api/3.0/mlflow/traces", body).await;
    assert_eq!(status, 200);
    let info = &body["trace"]["trace_info"];
    assert_eq!(info["tags"].as_object().unwrap().len(), 10_001);
    assert_eq!(info["execution_duration"], "-3s");
}

#[tokio::test]
async fn traces_of_other_experiments_stay_there() {
    let store = TestStore::open().await;
    let (_, made) = store.post("/api/2.0/mlflow/experiments/create", json!({"name": "other"})).await;
    let mut elsewhere = head(1);
    elsewhere["trace"]["trace_info"]["trace_location"]["mlflow_experiment"]["experiment_id"] =
        made["experiment_id"].clone();
    assert_eq!(store.post("/api/3.0/mlflow/traces", elsewhere).await.0, 200);
    // The gateway let it pass: its sender may write there as well.
    assert_eq!(export(&store, vec![span(1, 1, json!({}))]).await, 200);
    let told = get(&store, 1).await;
    let location = &told["trace_info"]["trace_location"]["mlflow_experiment"];
    assert_eq!(location["experiment_id"], made["experiment_id"]);
    assert_eq!(store.post("/api/3.0/mlflow/traces", head(1)).await.0, 400);
}
