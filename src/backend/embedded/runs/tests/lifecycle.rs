//! Runs are made, renamed, deleted and restored.

use super::*;

#[tokio::test]
async fn a_run_is_told_as_mlflow_tells_it() {
    let store = TestStore::open().await;
    let body = json!({"experiment_id": "0", "run_name": "one", "start_time": "5", "user_id": "u"});
    let made = done(&store, "runs/create", body).await["run"].clone();
    let id = made["info"]["run_id"].as_str().unwrap();
    let info = json!({
        "run_uuid": id, "experiment_id": "0", "run_name": "one", "user_id": "u", "status": "RUNNING",
        "start_time": 5, "artifact_uri": format!("mlflow-artifacts:/0/{id}/artifacts"),
        "lifecycle_stage": "active", "run_id": id,
    });
    let data = json!({"tags": [{"key": "mlflow.runName", "value": "one"}]});
    assert_eq!(made, json!({"info": info, "data": data, "inputs": {}}));
    assert_eq!(get(&store, id).await, json!({"info": info, "data": data, "inputs": {}, "outputs": {}}));
    let (status, body) = store.get(&format!("{API}/runs/get?run_id=nope")).await;
    assert_eq!((status, &body["message"]), (404, &json!("Run with id=nope not found")));
}

#[tokio::test]
async fn a_run_without_a_name_gets_one_that_its_tag_says_too() {
    let store = TestStore::open().await;
    let run = get(&store, &create(&store, json!({"experiment_id": "0"})).await).await;
    let name = run["info"]["run_name"].as_str().unwrap();
    assert_eq!(name.split('-').count(), 3);
    assert_eq!(run["data"]["tags"], json!([{"key": "mlflow.runName", "value": name}]));
    let tags = json!([{"key": "mlflow.runName", "value": "b"}]);
    let (status, body) =
        post(&store, "runs/create", json!({"experiment_id": "0", "run_name": "a", "tags": tags})).await;
    assert_eq!(status, 400, "{body}");
    let (status, body) = post(&store, "runs/create", json!({"run_name": "a"})).await;
    assert_eq!((status, &body["error_code"]), (400, &json!("BAD_REQUEST")));
}

#[tokio::test]
async fn the_name_and_its_tag_follow_each_other() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0", "run_name": "a"})).await;
    let both = |run: Value| (run["info"]["run_name"].clone(), run["data"]["tags"][0]["value"].clone());
    done(&store, "runs/update", json!({"run_id": id, "run_name": "b"})).await;
    assert_eq!(both(get(&store, &id).await), (json!("b"), json!("b")));
    done(&store, "runs/set-tag", json!({"run_id": id, "key": "mlflow.runName", "value": "c"})).await;
    assert_eq!(both(get(&store, &id).await), (json!("c"), json!("c")));
    let tags = json!([{"key": "mlflow.runName", "value": "d"}, {"key": "mlflow.runName", "value": ""}]);
    done(&store, "runs/log-batch", json!({"run_id": id, "tags": tags})).await;
    assert_eq!(both(get(&store, &id).await), (json!("d"), json!("d")));
}

#[tokio::test]
async fn a_deleted_run_takes_no_change_until_it_is_restored() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0"})).await;
    done(&store, "runs/delete", json!({"run_id": id})).await;
    for (operation, body) in [
        ("runs/update", json!({"run_id": id, "status": "FAILED"})),
        ("runs/log-metric", json!({"run_id": id, "key": "m", "value": 1, "timestamp": 1})),
        ("runs/log-parameter", json!({"run_id": id, "key": "p", "value": "1"})),
        ("runs/set-tag", json!({"run_id": id, "key": "t", "value": "1"})),
        ("runs/delete-tag", json!({"run_id": id, "key": "mlflow.runName"})),
        ("runs/log-batch", json!({"run_id": id})),
        ("runs/log-inputs", json!({"run_id": id})),
        ("runs/outputs", json!({"run_id": id, "models": []})),
    ] {
        let (status, body) = post(&store, operation, body).await;
        let message = format!("The run {id} must be in the 'active' state. Current state is deleted.");
        assert_eq!((status, &body["message"]), (400, &json!(message)), "{operation}");
    }
    done(&store, "runs/restore", json!({"run_id": id})).await;
    done(&store, "runs/update", json!({"run_id": id, "status": "FAILED"})).await;
}

#[tokio::test]
async fn an_experiment_is_deleted_and_restored_with_its_runs() {
    let store = TestStore::open().await;
    let made = done(&store, "experiments/create", json!({"name": "e"})).await;
    let experiment = made["experiment_id"].as_str().unwrap();
    let id = create(&store, json!({"experiment_id": experiment})).await;
    let other = create(&store, json!({"experiment_id": "0"})).await;
    let stage = async |id: &str| get(&store, id).await["info"]["lifecycle_stage"].clone();
    done(&store, "experiments/delete", json!({"experiment_id": experiment})).await;
    assert_eq!((stage(&id).await, stage(&other).await), (json!("deleted"), json!("active")));
    assert_eq!(post(&store, "runs/create", json!({"experiment_id": experiment})).await.0, 400);
    assert_eq!(post(&store, "experiments/delete", json!({"experiment_id": experiment})).await.0, 404);
    done(&store, "experiments/restore", json!({"experiment_id": experiment})).await;
    assert_eq!(stage(&id).await, json!("active"));
}

#[tokio::test]
async fn a_deleted_run_takes_along_what_it_said_of_traces() {
    let store = TestStore::open().await;
    let id = create(&store, json!({"experiment_id": "0"})).await;
    let writer = &store.shared.database.writer;
    sqlx::query(
        "INSERT INTO traces (trace_no, trace_id, experiment_id, request_time, state) VALUES (1, 'tr', 0, 0, 'OK')",
    )
    .execute(writer)
    .await
    .unwrap();
    for (assessment, run) in [("ours", Some(id.as_str())), ("other", Some("r")), ("free", None)] {
        sqlx::query(
            "INSERT INTO assessments (assessment_id, trace_no, name, kind, value, run_id, source_type, \
             created_time, last_updated_time) VALUES ($1, 1, 'n', 'feedback', '1', $2, 'HUMAN', 0, 0)",
        )
        .bind(assessment)
        .bind(run)
        .execute(writer)
        .await
        .unwrap();
    }
    done(&store, "runs/delete", json!({"run_id": id})).await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT assessment_id FROM assessments ORDER BY assessment_id")
            .fetch_all(&store.shared.database.reader)
            .await
            .unwrap();
    assert_eq!(left, ["free", "other"]);
}
