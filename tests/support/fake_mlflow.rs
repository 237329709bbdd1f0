//! What an MLflow server with two experiments answers: A (`1`, `alpha`) and B (`2`, `beta`), with one of
//! everything in each. Ids that end in `a` are A's, in `b` B's; others do not exist.

use serde_json::{Value, json};

use super::fake_upstream::{FakeUpstream, Recorded, Scripted};

pub const A: &str = "1";
pub const B: &str = "2";
/// Stands in every answer that has anything of A, or of B, in it.
pub const SECRET_A: &str = "what-only-readers-of-A-may-see";
pub const SECRET_B: &str = "what-only-readers-of-B-may-see";

/// The id of the one thing of a kind in an experiment: `trace(A)`, `run(B)`.
pub fn letters(experiment: &str, length: usize) -> String {
    if experiment == A { "a" } else { "b" }.repeat(length)
}

pub fn trace(experiment: &str) -> String {
    format!("tr-{}", letters(experiment, 32))
}

pub fn run(experiment: &str) -> String {
    letters(experiment, 32)
}

pub fn logged_model(experiment: &str) -> String {
    format!("m-{}", letters(experiment, 32))
}

/// Datasets, issues, label schemas, review queues, jobs: their ids have no form of their own.
pub fn thing(kind: &str, experiment: &str) -> String {
    format!("{kind}-{}", letters(experiment, 8))
}

pub fn model_name(experiment: &str) -> String {
    format!("model-{}", letters(experiment, 1))
}

/// A trace id that MLflow does not know.
pub fn new_trace(number: u64) -> String {
    format!("tr-c{number:030x}0")
}

pub fn secret(experiment: &str) -> &'static str {
    if experiment == A { SECRET_A } else { SECRET_B }
}

pub fn experiment(id: &str) -> Value {
    json!({
        "experiment_id": id, "name": if id == A { "alpha" } else { "beta" }, "lifecycle_stage": "active",
        "artifact_location": format!("mlflow-artifacts:/{id}"), "tags": [{"key": "note", "value": secret(id)}],
    })
}

/// A trace's info with something in every field that says what was said.
pub fn trace_info(id: &str, experiment: &str) -> Value {
    let secret = secret(experiment);
    json!({
        "trace_id": id, "client_request_id": secret,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_preview": secret, "response_preview": secret, "request": secret, "response": secret,
        "request_time": "2026-01-01T00:00:00Z", "execution_duration": "1.5s", "state": "OK",
        "trace_metadata": {"mlflow.traceInputs": secret, "mlflow.traceOutputs": secret, "mlflow.trace.user": secret,
            "mlflow.trace.sizeBytes": "100"},
        "tags": {"mlflow.traceName": "answer", "mlflow.artifactLocation": format!("mlflow-artifacts:/{experiment}/traces/{id}/artifacts"),
            "mlflow.trace.spansLocation": "TRACKING_STORE"},
        "assessments": [{"assessment_name": "good", "rationale": secret}],
    })
}

/// Makes the server answer as MLflow does.
pub fn serve(upstream: &FakeUpstream) {
    upstream.otherwise(answer);
}

fn owner(id: &str) -> Option<&'static str> {
    match id.chars().last() {
        Some('a') => Some(A),
        Some('b') => Some(B),
        _ => None,
    }
}

fn owned(id: &str, shape: impl Fn(&'static str) -> Value) -> Scripted {
    owner(id).map_or_else(Scripted::missing, |owner| Scripted::json(&shape(owner)))
}

fn parameter(request: &Recorded, key: &str) -> String {
    let value = request.query().split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().to_owned()
}

pub fn answer(request: &Recorded) -> Scripted {
    let path = request.path().replacen("/ajax-api/", "/api/", 1);
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    let key = (method, segments.as_slice());
    match key {
        ("GET", ["health"]) => Scripted::ok("OK"),
        ("GET", ["version"]) => Scripted::ok("3.17.2"),
        ("GET", ["api", "3.0", "mlflow", "server-info"]) => Scripted::json(
            &json!({"store_type": "SqlStore", "workspaces_enabled": true, "multipart_uploads": true}),
        ),
        ("GET", [""] | ["static-files" | "build", ..] | ["api", "3.0", "mlflow", "ui-telemetry"])
        | ("POST", ["api", "3.0", "mlflow", "ui-telemetry"]) => Scripted::ok("{\"page\": true}"),
        ("GET", ["api", "2.0", "mlflow", "experiments", "get"]) => {
            match parameter(request, "experiment_id").as_str() {
                id @ (A | B) => Scripted::json(&json!({"experiment": experiment(id)})),
                _ => Scripted::missing(),
            }
        }
        ("GET", ["api", "2.0", "mlflow", "experiments", "get-by-name"]) => {
            match parameter(request, "experiment_name").as_str() {
                "alpha" => Scripted::json(&json!({"experiment": experiment(A)})),
                "beta" => Scripted::json(&json!({"experiment": experiment(B)})),
                _ => Scripted::missing(),
            }
        }
        // As an MLflow that does not know the filter: both, whatever was asked for.
        (_, ["api", "2.0", "mlflow", "experiments", "search"]) => {
            Scripted::json(&json!({"experiments": [experiment(A), experiment(B)]}))
        }
        ("GET", ["api", "3.0", "mlflow", "traces", id]) if id.len() >= 32 => {
            owned(id, |owner| json!({"trace": {"trace_info": trace_info(id, owner)}}))
        }
        ("GET", ["api", "2.0", "mlflow", "runs", "get"]) => {
            let id = parameter(request, "run_id");
            owned(&id, |owner| {
                let data = json!({"params": [{"key": "k", "value": secret(owner)}]});
                json!({"run": {"info": {"run_id": id, "experiment_id": owner}, "data": data}})
            })
        }
        ("GET", ["api", "2.0", "mlflow", "logged-models", id]) => owned(
            id,
            |owner| json!({"model": {"info": {"model_id": id, "experiment_id": owner, "name": secret(owner)}}}),
        ),
        ("GET", ["api", "3.0", "mlflow", "issues", id]) => owned(
            id,
            |owner| json!({"issue": {"issue_id": id, "experiment_id": owner, "description": secret(owner)}}),
        ),
        ("GET", ["api", "3.0", "mlflow", "label-schemas", "get"]) => {
            let id = parameter(request, "schema_id");
            owned(
                &id,
                |owner| json!({"label_schema": {"schema_id": id, "experiment_id": owner, "name": secret(owner)}}),
            )
        }
        ("GET", ["api", "3.0", "mlflow", "review-queues", "get"]) => {
            let id = parameter(request, "queue_id");
            owned(
                &id,
                |owner| json!({"review_queue": {"queue_id": id, "experiment_id": owner, "name": secret(owner)}}),
            )
        }
        ("GET", ["api", "3.0", "mlflow", "prompt-optimization", "jobs", id]) if *id != "search" => {
            owned(id, |owner| json!({"job": {"job_id": id, "experiment_id": owner, "x": secret(owner)}}))
        }
        ("GET", ["api", "3.0", "mlflow", "datasets", id]) if *id != "search" => {
            owned(id, |owner| json!({"dataset": {"dataset_id": id, "name": secret(owner)}}))
        }
        ("GET", ["api", "3.0", "mlflow", "datasets", id, "experiment-ids"]) => {
            owned(id, |owner| json!({"experiment_ids": [owner]}))
        }
        ("GET", ["api", "2.0", "mlflow", "registered-models", "search"]) => Scripted::json(&json!({
            "registered_models": [{"name": "model-a", "description": SECRET_A},
                {"name": "model-b", "description": SECRET_B}]
        })),
        ("GET", ["api", "2.0", "mlflow", "model-versions", "search"]) => Scripted::json(&json!({
            "model_versions": [{"name": "model-a", "description": SECRET_A},
                {"name": "model-b", "description": SECRET_B}]
        })),
        ("GET", ["api", "3.0", "mlflow", "scorers", "online-configs"]) => Scripted::json(&json!({
            "configs": [{"experiment_id": A, "scorer": SECRET_A}, {"experiment_id": B, "scorer": SECRET_B}]
        })),
        _ => Scripted::json(&json!({"done": true, "secret": SECRET_B})).header("x-from-upstream", SECRET_B),
    }
}
