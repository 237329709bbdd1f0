//! Each level on experiment A, tried live: for one operation of each privilege, every caller gets what
//! `policies/levels.csv` says, and what is refused does not reach upstream.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, logged_model, model_name, new_trace, run, thing, trace};
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;

/// Privileges of levels that no operation of MLflow's API needs.
const WITHOUT_OPERATION: [&str; 1] = ["monitoring.manage"];

/// A request that needs this privilege on A, or on `model-a`, beside at most `model.read`.
fn request(privilege: &str, number: u64) -> Option<Request> {
    let (trace, run) = (trace(A), run(A));
    let v2 = "/api/2.0/mlflow";
    let v3 = "/api/3.0/mlflow";
    Some(match privilege {
        "experiment.view" => Request::get(&format!("{v2}/experiments/get?experiment_id={A}")),
        "experiment.edit" => {
            let body = json!({"experiment_id": A, "key": "k", "value": "v"});
            Request::post(&format!("{v2}/experiments/set-experiment-tag"), &body)
        }
        "experiment.delete" => {
            Request::post(&format!("{v2}/experiments/delete"), &json!({"experiment_id": A}))
        }
        "experiment.manage" => {
            let body = json!({"experiment_id": A, "key": "mlflow.trace.archiveNow", "value": "v"});
            Request::post(&format!("{v2}/experiments/set-experiment-tag"), &body)
        }
        "run.read" => Request::get(&format!("{v2}/runs/get?run_id={run}")),
        "run.write" => Request::post(
            &format!("{v2}/runs/log-parameter"),
            &json!({"run_id": run, "key": "k", "value": "v"}),
        ),
        "run.delete" => Request::new("DELETE", &format!("{v2}/logged-models/{}", logged_model(A))),
        "artifact.read" => Request::get(&format!("{v2}-artifacts/artifacts/{A}/{run}/artifacts/model.bin")),
        "artifact.write" => {
            Request::new("PUT", &format!("{v2}-artifacts/artifacts/{A}/{run}/artifacts/model.bin")).body("x")
        }
        "trace.list" => {
            let locations = json!([{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}}]);
            Request::post(&format!("{v3}/traces/search"), &json!({"locations": locations}))
        }
        "trace.read" => Request::get(&format!("{v3}/traces/get?trace_id={trace}")),
        "trace.write" => {
            let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
            let info = json!({"trace_id": new_trace(number), "trace_location": location});
            Request::post(&format!("{v3}/traces"), &json!({"trace": {"trace_info": info}}))
        }
        "trace.tag" => {
            Request::json("PATCH", &format!("{v3}/traces/{trace}/tags"), &json!({"key": "k", "value": "v"}))
        }
        "trace.delete" => {
            let body = json!({"experiment_id": A, "request_ids": [trace]});
            Request::post(&format!("{v3}/traces/delete-traces"), &body)
        }
        "assessment.read" => Request::get(&format!("{v3}/traces/{trace}/assessments/a-1")),
        "assessment.write" => {
            let assessment = json!({"trace_id": trace, "assessment_name": "good",
                "source": {"source_type": "HUMAN", "source_id": "x"}, "feedback": {"value": true}});
            Request::post(&format!("{v3}/traces/{trace}/assessments"), &json!({"assessment": assessment}))
        }
        "scorer.read" => Request::get(&format!("{v3}/scorers/get?experiment_id={A}&name=s")),
        "scorer.write" => {
            Request::post(&format!("{v3}/scorers/register"), &json!({"experiment_id": A, "name": "s"}))
        }
        "dataset.write" => Request::new("DELETE", &format!("{v3}/datasets/{}", thing("d", A))),
        "label_schema.write" => Request::json(
            "DELETE",
            &format!("{v3}/label-schemas/delete"),
            &json!({"schema_id": thing("ls", A)}),
        ),
        "model.read" => Request::get(&format!("{v2}/registered-models/get?name={}", model_name(A))),
        "model.write" => {
            let body = json!({"name": model_name(A), "key": "k", "value": "v"});
            Request::post(&format!("{v2}/registered-models/set-tag"), &body)
        }
        "model.delete" => {
            let body = json!({"name": model_name(A), "version": "1"});
            Request::json("DELETE", &format!("{v2}/model-versions/delete"), &body)
        }
        // Deletes no grant, as a rename would: upstream is made to refuse it below.
        "model.manage" => {
            let body = json!({"name": model_name(A), "new_name": "model-new"});
            Request::post(&format!("{v2}/registered-models/rename"), &body)
        }
        _ => return None,
    })
}

fn levels() -> HashSet<(&'static str, &'static str)> {
    let lines = include_str!("../../policies/levels.csv").lines().skip(1);
    lines.filter_map(|line| line.trim().split_once(',')).collect()
}

#[actix_rt::test]
async fn every_level_gives_what_its_file_says_and_no_more() {
    let gateway = Gateway::start().await;
    let refusal = crate::support::fake_upstream::Scripted::json_status(500, &json!({"error_code": "X"}));
    gateway.upstream.on("POST", "/api/2.0/mlflow/registered-models/rename", move |_| refusal.clone());
    let levels = levels();
    let privileges: BTreeSet<&str> = levels.iter().map(|(_, privilege)| *privilege).collect();
    let mut problems = Vec::new();
    let mut number = 0;
    for privilege in privileges {
        for who in Who::ALL {
            number += 1;
            let Some(request) = request(privilege, number) else {
                assert!(WITHOUT_OPERATION.contains(&privilege), "`{privilege}` has no request here");
                continue;
            };
            let has = |privilege| who.level().is_some_and(|level| levels.contains(&(level, privilege)));
            let allowed = who == Who::Admin || has(privilege);
            gateway.upstream.forget_requests();
            let answer = gateway.call(who, request).await;
            let expected: &[u16] = match (allowed, privilege) {
                (true, "model.manage") => &[500],
                (true, _) => &[200],
                (false, _) if who == Who::Anonymous => &[401],
                // Whoever may not see a model is told that there is none; on what it sees, what is missing.
                (false, _) if privilege.starts_with("model.") && !has("model.read") => &[404],
                (false, _) => &[403],
            };
            let forwarded = !gateway.forwarded().is_empty();
            if !expected.contains(&answer.status) || forwarded != allowed {
                let said = answer.text();
                problems
                    .push(format!("{who:?} {privilege}: {} (forwarded: {forwarded}) {said}", answer.status));
            }
            // The request for `experiment.manage` needs `experiment.edit` first.
            let named = [privilege, "experiment.edit"].iter().any(|name| answer.text().contains(name));
            if answer.status == 403 && !named {
                problems.push(format!("{who:?} {privilege}: not named in {}", answer.text()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_ingester_tags_the_traces_that_it_started_and_no_others() {
    let gateway = Gateway::start().await;
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    let (own, editors) = (new_trace(1), new_trace(2));
    for (who, id) in [(Who::Ingester, &own), (Who::Editor, &editors)] {
        let info = json!({"trace_id": id, "trace_location": location});
        let start = Request::post("/api/3.0/mlflow/traces", &json!({"trace": {"trace_info": info}}));
        gateway.call(who, start).await.expect(200);
    }
    let tag = |id: &str| {
        Request::json(
            "PATCH",
            &format!("/api/3.0/mlflow/traces/{id}/tags"),
            &json!({"key": "k", "value": "v"}),
        )
    };
    gateway.call(Who::Ingester, tag(&own)).await.expect(200);
    gateway.call(Who::Ingester, tag(&editors)).await.expect(403);
    let read = Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={own}"));
    gateway.call(Who::Ingester, read).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_deny_and_a_revoked_grant_count_at_once() {
    let gateway = Gateway::start().await;
    let read = || Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)));
    gateway.call(Who::Reader, read()).await.expect(200);
    let deny = json!({"principal": "user:reader", "securable": "experiment:1", "privilege": "trace.read", "effect": "deny"});
    let denied = Request::post("/api/tracegate/v1/grants", &deny);
    let grant = gateway.call(Who::Manager, denied).await.expect(200).json()["grant"]["id"].clone();
    gateway.call(Who::Reader, read()).await.expect(403);
    let withdraw = Request::new("DELETE", &format!("/api/tracegate/v1/grants/{grant}"));
    gateway.call(Who::Editor, withdraw.clone()).await.expect(403);
    gateway.call(Who::Manager, withdraw).await.expect(200);
    gateway.call(Who::Reader, read()).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_deactivated_principal_and_a_revoked_token_are_refused_at_once() {
    let gateway = Gateway::start().await;
    let read = || Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)));
    gateway.call(Who::Reader, read()).await.expect(200);
    let active = |active: bool| {
        Request::json("PUT", "/api/tracegate/v1/principals/user%3Areader/active", &json!({"active": active}))
    };
    gateway.call(Who::Admin, active(false)).await.expect(200);
    let status = gateway.call(Who::Reader, read()).await.status;
    assert!(matches!(status, 401 | 403), "{status}");
    gateway.call(Who::Admin, active(true)).await.expect(200);
    gateway.call(Who::Reader, read()).await.expect(200);
    let tokens = gateway.call(Who::Reader, Request::get("/api/tracegate/v1/tokens")).await.expect(200).json();
    let id = tokens["tokens"][0]["id"].as_str().unwrap().to_owned();
    gateway
        .call(Who::Reader, Request::new("DELETE", &format!("/api/tracegate/v1/tokens/{id}")))
        .await
        .expect(200);
    gateway.call(Who::Reader, read()).await.expect(401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_name_that_something_hidden_has_is_refused_without_a_word_of_it() {
    let gateway = Gateway::start().await;
    let (models, experiments) =
        ("/api/2.0/mlflow/registered-models/create", "/api/2.0/mlflow/experiments/create");
    let taken =
        json!({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "a thing of that name was made by ann"});
    let failed = json!({"error_code": "INTERNAL_ERROR", "message": "database"});
    for path in [models, experiments] {
        let taken = taken.clone();
        gateway
            .upstream
            .on("POST", path, move |_| crate::support::fake_upstream::Scripted::json_status(400, &taken));
    }
    for (path, name, status) in [
        (models, "model-a", 400),
        (models, "model-b", 403),
        (experiments, "alpha", 400),
        (experiments, "beta", 403),
    ] {
        let answer =
            gateway.call(Who::Reader, Request::post(path, &json!({"name": name}))).await.expect(status);
        assert_eq!(answer.text().contains("ann"), status == 400);
    }
    // A server that failed says nothing of names: the client tries again.
    for path in [models, experiments] {
        let failed = failed.clone();
        gateway
            .upstream
            .on("POST", path, move |_| crate::support::fake_upstream::Scripted::json_status(500, &failed));
        gateway.call(Who::Reader, Request::post(path, &json!({"name": "new"}))).await.expect(500);
    }
    gateway.stop().await;
}
