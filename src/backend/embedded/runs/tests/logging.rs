//! What is logged to runs, once and again.

use super::*;

fn metric(key: &str, value: Value, timestamp: i64, step: i64) -> Value {
    json!({"key": key, "value": value, "timestamp": timestamp, "step": step})
}

#[tokio::test]
async fn the_latest_value_is_that_of_the_highest_step_then_time_then_number() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0"})).await;
    for (step, time, value, latest) in [
        (1, 10, json!(5), json!(5.0)),
        (0, 99, json!(9), json!(5.0)),
        (1, 10, json!(4), json!(5.0)),
        (1, 10, json!(6), json!(6.0)),
        (1, 11, json!(-1), json!(-1.0)),
        (2, 0, json!("NaN"), json!("NaN")),
        (3, 0, json!("-Infinity"), json!(f64::MIN)),
    ] {
        let mut body = metric("m", value, time, step);
        body["run_id"] = json!(id);
        done(&store, "runs/log-metric", body).await;
        assert_eq!(get(&store, &id).await["data"]["metrics"][0]["value"], latest);
    }
    // The same in one batch, whatever the order.
    let other = create(&store, json!({"experiment_id": "0"})).await;
    let metrics =
        json!([metric("m", json!(1), 5, 2), metric("m", json!(3), 4, 2), metric("m", json!(2), 5, 2)]);
    done(&store, "runs/log-batch", json!({"run_id": other, "metrics": metrics})).await;
    let latest = get(&store, &other).await["data"]["metrics"].clone();
    assert_eq!(latest, json!([{"key": "m", "value": 2.0, "timestamp": 5, "step": 2}]));
}

#[tokio::test]
async fn a_batch_that_is_sent_again_changes_nothing() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0", "run_name": "r"})).await;
    let metrics: Vec<Value> = (0..400).map(|n| metric("m", json!(f64::from(n) / 3.0), n.into(), 0)).collect();
    let batch = json!({
        "run_id": id, "metrics": metrics, "params": [{"key": "p", "value": "1"}, {"key": "q"}],
        "tags": [{"key": "t", "value": "1"}, {"key": "t", "value": "2"}],
    });
    done(&store, "runs/log-batch", batch.clone()).await;
    let first = get(&store, &id).await;
    assert_eq!(first["data"]["params"], json!([{"key": "p", "value": "1"}, {"key": "q", "value": ""}]));
    assert_eq!(first["data"]["tags"][1], json!({"key": "t", "value": "2"}));
    done(&store, "runs/log-batch", batch).await;
    assert_eq!(get(&store, &id).await, first);
    let (_, history) = store.get(&format!("{API}/metrics/get-history?run_id={id}&metric_key=m")).await;
    assert_eq!(history["metrics"].as_array().unwrap().len(), 400);
}

#[tokio::test]
async fn a_batch_that_is_refused_leaves_nothing() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0", "run_name": "r"})).await;
    done(&store, "runs/log-parameter", json!({"run_id": id, "key": "p", "value": "it's"})).await;
    let before = get(&store, &id).await;
    let refused = [
        json!({"params": [{"key": "new", "value": "x"}, {"key": "p", "value": "2"}]}),
        json!({"params": [{"key": "d", "value": "1"}, {"key": "d", "value": "1"}]}),
        json!({"metrics": [metric("ok", json!(1), 1, 0), metric("bad", json!(1), -1, 0)]}),
        json!({"metrics": [metric("ok", json!(true), 1, 0)]}),
        json!({"metrics": [{"key": "m", "timestamp": 1}]}),
        json!({"metrics": (0..1001).map(|n| metric("m", json!(n), n, 0)).collect::<Vec<_>>()}),
        json!({"tags": [{"key": "ok", "value": "1"}, {"key": "../bad", "value": "1"}]}),
        json!({"tags": [{"key": "k".repeat(251), "value": "1"}]}),
    ];
    let mut messages = Vec::new();
    for mut body in refused {
        body["run_id"] = json!(id);
        let (status, answer) = post(&store, "runs/log-batch", body).await;
        assert_eq!(status, 400, "{answer}");
        messages.push(answer["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(get(&store, &id).await, before);
    assert_eq!(
        messages[0],
        format!(
            "Changing param values is not allowed. Params were already logged='[{{'key': 'p', 'old_value': \
             \"it's\", 'new_value': '2'}}]' for run ID='{id}'."
        )
    );
}

#[tokio::test]
async fn data_sets_belong_to_the_experiment_and_their_tags_to_the_run() {
    let store = TestStore::open().await;
    let (a, b) = (create(&store, json!({})).await, create(&store, json!({})).await);
    let dataset = json!({"name": "d", "digest": "x", "source_type": "s", "source": "here", "schema": ""});
    let input = |context: &str, dataset: &Value| json!([{"tags": [{"key": "mlflow.data.context", "value": context}], "dataset": dataset}]);
    done(&store, "runs/log-inputs", json!({"run_id": a, "datasets": input("train", &dataset)})).await;
    // Once more for the same run: as it was. For another run: its own tags, the known data set.
    done(&store, "runs/log-inputs", json!({"run_id": a, "datasets": input("other", &dataset)})).await;
    let mut elsewhere = dataset.clone();
    elsewhere["source"] = json!("there");
    let models = json!([{"model_id": "m-1"}]);
    let body = json!({"run_id": b, "datasets": input("eval", &elsewhere), "models": models});
    done(&store, "runs/log-inputs", body).await;
    let told = json!({"name": "d", "digest": "x", "source_type": "s", "source": "here"});
    assert_eq!(get(&store, &a).await["inputs"], json!({"dataset_inputs": input("train", &told)}));
    let both = json!({"dataset_inputs": input("eval", &told), "model_inputs": models});
    assert_eq!(get(&store, &b).await["inputs"], both);
    let path = "/ajax-api/2.0/mlflow/experiments/search-datasets";
    let (_, summaries) = store.post(path, json!({"experiment_ids": ["0"]})).await;
    let summary = |context| json!({"experiment_id": "0", "name": "d", "digest": "x", "context": context});
    assert_eq!(summaries, json!({"dataset_summaries": [summary("eval"), summary("train")]}));
}

#[tokio::test]
async fn an_output_has_one_step() {
    let store = TestStore::open().await;
    let id = create(&store, json!({})).await;
    let outputs = |step| json!({"run_id": id, "models": [{"model_id": "m-1", "step": step}]});
    done(&store, "runs/outputs", outputs(4)).await;
    done(&store, "runs/outputs", outputs(4)).await;
    assert_eq!(post(&store, "runs/outputs", outputs(5)).await.0, 400);
    let told = json!({"model_outputs": [{"model_id": "m-1", "step": 4}]});
    assert_eq!(get(&store, &id).await["outputs"], told);
}

#[tokio::test]
async fn models_of_old_clients_are_kept_in_a_tag() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"run_name": "r"})).await;
    let model = json!({
        "artifact_path": "model", "run_id": "r", "utc_time_created": "now", "extra": 1,
        "flavors": {"sk": {"a": 1.0, "config": 2}},
    });
    for _ in 0..2 {
        done(&store, "runs/log-model", json!({"run_id": id, "model_json": model.to_string()})).await;
    }
    let kept = r#"{"run_id": "r", "artifact_path": "model", "utc_time_created": "now", "model_uuid": null, "flavors": {"sk": {"a": 1.0}}}"#;
    assert_eq!(get(&store, &id).await["data"]["tags"][0]["value"], json!(format!("[{kept}, {kept}]")));
    let (status, body) = post(&store, "runs/log-model", json!({"run_id": id, "model_json": "{}"})).await;
    let message =
        "Model json is missing mandatory fields: {'artifact_path', 'flavors', 'run_id', 'utc_time_created'}";
    assert_eq!((status, &body["message"]), (400, &json!(message)));
}

#[tokio::test]
async fn a_value_logged_with_a_model_is_the_models_too() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0"})).await;
    let made = done(&store, "logged-models", json!({"experiment_id": "0", "name": "m"})).await;
    let model = made["model"]["info"]["model_id"].as_str().unwrap();
    let value = |value: f64| {
        json!({
            "run_id": id, "key": "k", "value": value, "timestamp": 5, "step": 1, "model_id": model,
            "dataset_name": "d", "dataset_digest": "g",
        })
    };
    done(&store, "runs/log-metric", value(1.5)).await;
    done(&store, "runs/log-batch", json!({"run_id": id, "metrics": [value(1.5), value(1.5)]})).await;
    let (_, told) = store.get(&format!("{API}/logged-models/{model}")).await;
    let expected = json!([{
        "key": "k", "value": 1.5, "timestamp": 5, "step": 1, "dataset_name": "d", "dataset_digest": "g",
        "model_id": model, "run_id": id,
    }]);
    assert_eq!(told["model"]["data"]["metrics"], expected);
    // Another value in its place, and a model that is not there, leave nothing with the run either.
    let before = get(&store, &id).await;
    assert_eq!(before["data"]["metrics"][0]["value"], json!(1.5));
    assert_eq!(post(&store, "runs/log-metric", value(2.5)).await.0, 400);
    let mut unknown = value(3.5);
    unknown["model_id"] = json!("m-none");
    let (status, body) = post(&store, "runs/log-batch", json!({"run_id": id, "metrics": [unknown]})).await;
    assert_eq!((status, &body["error_code"]), (400, &json!("BAD_REQUEST")));
    assert_eq!(get(&store, &id).await, before);
}

#[tokio::test]
async fn a_field_within_a_list_is_read_in_either_spelling_but_not_in_both() {
    let store = TestStore::open().await;
    let id = create(&store, json!({})).await;
    done(&store, "runs/outputs", json!({"run_id": id, "models": [{"modelId": "m-1", "step": 4}]})).await;
    let told = json!({"model_outputs": [{"model_id": "m-1", "step": 4}]});
    assert_eq!(get(&store, &id).await["outputs"], told);
    let both = json!({"run_id": id, "models": [{"modelId": "m-2", "model_id": "m-3"}]});
    assert_eq!(post(&store, "runs/outputs", both).await.0, 400);
    // A value of a model that is not there must not become a value of the run alone.
    let mut value = metric("k", json!(1), 1, 1);
    value["modelId"] = json!("m-none");
    let (status, body) = post(&store, "runs/log-batch", json!({"run_id": id, "metrics": [value]})).await;
    assert_eq!((status, &body["error_code"]), (400, &json!("BAD_REQUEST")));
    assert_eq!(get(&store, &id).await["data"]["metrics"], Value::Null);
}
