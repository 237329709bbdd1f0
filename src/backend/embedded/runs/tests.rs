use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;

mod histories;
mod lifecycle;
mod logging;
mod searching;

const API: &str = "/api/2.0/mlflow";

async fn post(store: &TestStore, operation: &str, body: Value) -> (u16, Value) {
    store.post(&format!("{API}/{operation}"), body).await
}

/// A call that is to be taken.
async fn done(store: &TestStore, operation: &str, body: Value) -> Value {
    let (status, answer) = post(store, operation, body).await;
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

/// A run, in experiment 0 if the body names none.
async fn create(store: &TestStore, mut body: Value) -> String {
    if body["experiment_id"].is_null() {
        body["experiment_id"] = json!("0");
    }
    let made = done(store, "runs/create", body).await;
    made["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

async fn get(store: &TestStore, run: &str) -> Value {
    let (status, body) = store.get(&format!("{API}/runs/get?run_id={run}")).await;
    assert_eq!(status, 200, "{body}");
    body["run"].clone()
}

/// The names of the runs that a search in experiment 0 finds.
async fn found(store: &TestStore, search: Value) -> Vec<String> {
    let mut search = search;
    search["experiment_ids"] = json!(["0"]);
    let answer = done(store, "runs/search", search).await;
    names(&answer)
}

fn names(answer: &Value) -> Vec<String> {
    let runs = answer["runs"].as_array().cloned().unwrap_or_default();
    runs.iter().map(|run| run["info"]["run_name"].as_str().unwrap().to_owned()).collect()
}
