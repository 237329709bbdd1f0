//! Shadow mode: what policy denies on an experiment passes and is noted, and nothing else does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tracegate::access::{Effect, NewGrant, Principal, Securable, Verdict};
use tracegate::clock::UnixMillis;
use tracegate::store::audit_index::AuditQuery;

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, B, run, trace};
use crate::support::gateway::{AGENT, Gateway};
use crate::support::otlp::{export, span};
use crate::support::raw_http::{Answer, Request};

const ROUTE: &str = "/api/tracegate/v1/shadow";
const HEADER: &str = "x-tracegate-shadow";

async fn start(gateway: &Gateway, experiment: &str) {
    let body = json!({ "experiments": [experiment], "reason": "adopting the old server" });
    let answer = gateway.call(Who::Admin, Request::post(ROUTE, &body)).await.expect(200);
    let shadows = answer.json()["shadows"].as_array().cloned().unwrap_or_default();
    assert!(shadows.iter().any(|shadow| shadow["experiment"] == format!("experiment:{experiment}")));
}

async fn end(gateway: &Gateway) {
    gateway.call(Who::Admin, Request::new("DELETE", ROUTE)).await.expect(200);
}

fn read_run(experiment: &str) -> Request {
    Request::get(&format!("/api/2.0/mlflow/runs/get?run_id={}", run(experiment)))
}

fn search(experiments: &[&str]) -> Request {
    let of = |id: &&str| json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}});
    let locations: Vec<Value> = experiments.iter().map(of).collect();
    Request::post("/api/3.0/mlflow/traces/search", &json!({ "locations": locations }))
}

fn spans(experiment: &str, trace: &str) -> Request {
    Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Mlflow-Experiment-Id", experiment)
        .body(export(&[span(trace, 1, "s")]))
}

fn tag_experiment(experiment: &str, key: &str) -> Request {
    let body = json!({ "experiment_id": experiment, "key": key, "value": "7" });
    Request::post("/api/2.0/mlflow/experiments/set-experiment-tag", &body)
}

#[actix_rt::test]
async fn what_is_denied_passes_is_told_and_is_on_record_until_shadow_mode_ends() {
    let gateway = Gateway::start().await;
    gateway.call(Who::Stranger, read_run(A)).await.expect(403);
    start(&gateway, A).await;

    let answer = gateway.call(Who::Stranger, read_run(A)).await.expect(200);
    assert_eq!(answer.header(HEADER), Some("lacks-privileges"));
    let record = gateway.ended(&answer.decision_id()).await;
    assert_eq!(record.decision, Verdict::Allow);
    let missing: Vec<(&str, &str, bool)> = record
        .shadowed
        .iter()
        .map(|missing| (missing.securable.as_str(), missing.privilege.as_str(), missing.narrows))
        .collect();
    assert_eq!(missing, [("experiment:1", "run.read", false)]);
    // Who has the right is no news.
    let answer = gateway.call(Who::Reader, read_run(A)).await.expect(200);
    assert_eq!(answer.header(HEADER), None);
    assert!(gateway.ended(&answer.decision_id()).await.shadowed.is_empty());
    // A call that names anything outside is denied whole.
    gateway.call(Who::Stranger, read_run(B)).await.expect(403);
    gateway.call(Who::Stranger, search(&[A, B])).await.expect(403);
    gateway.call(Who::Stranger, search(&[A])).await.expect(200);
    let explain = "/api/tracegate/v1/explain?privilege=run.read&on=experiment:1";
    let explained = gateway.call(Who::Stranger, Request::get(explain)).await.expect(200).json();
    assert_eq!((&explained["decision"], &explained["in_shadow"]), (&json!("deny"), &json!(true)));
    let metrics = gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200).text();
    assert!(metrics.contains("tracegate_shadowed_total 2"), "{metrics}");
    assert!(metrics.contains("tracegate_shadow_experiments 1"), "{metrics}");

    end(&gateway).await;
    gateway.call(Who::Stranger, read_run(A)).await.expect(403);
    gateway.call(Who::Stranger, search(&[A])).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn it_ends_by_itself_and_a_stale_policy_still_answers_503() {
    let gateway = Gateway::start().await;
    let now = gateway.app.clock.now();
    let experiment: [Securable; 1] = ["experiment:1".parse().unwrap()];
    let over = UnixMillis(now.0 - 1);
    gateway.app.store.begin_shadow(&experiment, "over by now", over, "test", now).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
    gateway.call(Who::Stranger, read_run(A)).await.expect(403);
    let shown = gateway.call(Who::Admin, Request::get(ROUTE)).await.expect(200).json();
    assert_eq!(shown["shadows"], json!([]));
    for (field, body) in [
        ("days", json!({ "experiments": [A], "reason": "long enough a reason", "days": 91 })),
        ("days", json!({ "experiments": [A], "reason": "long enough a reason", "days": 0 })),
        ("reason", json!({ "experiments": [A], "reason": "short" })),
        ("experiments", json!({ "experiments": [], "reason": "long enough a reason" })),
    ] {
        let answer = gateway.call(Who::Admin, Request::post(ROUTE, &body)).await.expect(400);
        assert!(answer.text().contains(field), "{}", answer.text());
    }
    let none = json!({ "experiments": ["999"], "reason": "long enough a reason" });
    gateway.call(Who::Admin, Request::post(ROUTE, &none)).await.expect(404);
    gateway.stop().await;
}

#[actix_rt::test]
async fn nobody_gets_more_of_an_experiment_than_work_with_it() {
    let gateway = Gateway::start().await;
    start(&gateway, A).await;
    let wanted = json!({ "experiments": [B], "reason": "I would like to see it" });
    let manages =
        json!({ "principal": "user:stranger", "securable": "experiment:1", "privilege": "CAN_MANAGE" });
    let levels =
        json!({ "access_control_list": [{ "user_name": "stranger", "permission_level": "CAN_MANAGE" }] });
    let glass = json!({ "securable": "experiment:1", "minutes": 5, "reason": "I want to look at it" });
    for (who, request) in [
        (Who::Stranger, Request::post(ROUTE, &wanted)),
        (Who::Manager, Request::post(ROUTE, &json!({ "experiments": [A], "reason": "I manage it myself" }))),
        (Who::Manager, Request::new("DELETE", ROUTE)),
        (Who::Manager, Request::get(ROUTE)),
        (Who::Manager, Request::get(&format!("{ROUTE}/report"))),
        (Who::Stranger, Request::post("/api/tracegate/v1/grants", &manages)),
        (Who::Stranger, Request::json("PATCH", "/api/2.0/permissions/experiments/1", &levels)),
        (Who::Stranger, Request::post("/api/tracegate/v1/break-glass", &glass)),
        (Who::Stranger, tag_experiment(A, "tracegate.retention.days")),
        (Who::Stranger, Request::get("/api/tracegate/v1/policy")),
    ] {
        let answer = gateway.call(who, request).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    // By name, hidden and missing are alike.
    let model = Request::get("/api/2.0/mlflow/registered-models/get?name=model-a");
    gateway.call(Who::Stranger, model).await.expect(404);
    gateway.call(Who::Stranger, tag_experiment(A, "note")).await.expect(200);
    // Traces stay where they are: neither out of the shadow nor into it.
    gateway.call(Who::Stranger, spans(A, &trace(B))).await.expect(403);
    gateway.grant(Who::Stranger, "experiment:2", "CAN_EDIT").await;
    let moved = json!({ "trace": { "trace_info": {
        "trace_id": trace(A), "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": B}},
    } } });
    gateway.call(Who::Stranger, Request::post("/api/3.0/mlflow/traces", &moved)).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_deny_a_narrow_token_and_whoever_acts_for_others_are_what_they_were() {
    let gateway = Gateway::start().await;
    start(&gateway, A).await;
    let deny = NewGrant {
        principal: Who::Lister.principal(),
        securable: "experiment:1".parse().unwrap(),
        privilege: "run.read".to_owned(),
        effect: Effect::Deny,
        reason: None,
        expires_at: None,
    };
    gateway.app.store.add_grant(&deny, "test", gateway.app.clock.now()).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
    gateway.call(Who::Lister, read_run(A)).await.expect(403);
    gateway.call(Who::Stranger, read_run(A)).await.expect(200);

    let bearer = |token: &str, request: Request| {
        request.header("User-Agent", AGENT).header("Authorization", &format!("Bearer {token}"))
    };
    let token = async |who: Who, body: Value| {
        let made = gateway.call(who, Request::post("/api/tracegate/v1/tokens", &body)).await.expect(200);
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let narrow =
        token(Who::Editor, json!({ "scopes": [{ "privilege": "trace.list", "securable": "experiment:1" }] }));
    bearer(&narrow.await, read_run(A)).send(gateway.address).await.expect(403);

    let agent = json!({ "principal": "service_principal:agent" });
    gateway.call(Who::Admin, Request::post("/api/tracegate/v1/principals", &agent)).await.expect(200);
    let agent_token = token(Who::Admin, agent).await;
    gateway
        .grant_to(&Principal::service_principal("agent").unwrap(), "workspace:default", "principal.act_for")
        .await;
    let acting = bearer(&agent_token, read_run(A)).header("X-Tracegate-On-Behalf-Of", "user:reader");
    acting.send(gateway.address).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn listings_show_what_is_in_shadow_and_say_so() {
    let gateway = Gateway::start().await;
    let list = || Request::post("/api/2.0/mlflow/experiments/search", &json!({ "max_results": 10 }));
    let names = |answer: &Answer| -> Vec<String> {
        let json = answer.json();
        let all = json["experiments"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let before = gateway.call(Who::Stranger, list()).await.expect(200);
    assert!(names(&before).is_empty());
    start(&gateway, A).await;
    let during = gateway.call(Who::Stranger, list()).await.expect(200);
    assert_eq!(names(&during), ["alpha"]);
    let record = gateway.ended(&during.decision_id()).await;
    assert_eq!(record.shadowed.len(), 1);
    assert!(record.shadowed[0].narrows && record.shadowed[0].securable == "experiment:1");
    // By name it is the same.
    let by_name =
        |name: &str| Request::get(&format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}"));
    gateway.call(Who::Stranger, by_name("alpha")).await.expect(200);
    gateway.call(Who::Stranger, by_name("beta")).await.expect(404);
    gateway.stop().await;
}

#[actix_rt::test]
async fn without_credentials_nobody_passes_unless_it_is_said_and_then_in_shadow_alone() {
    let closed = Gateway::start().await;
    start(&closed, A).await;
    closed.call(Who::Anonymous, read_run(A)).await.expect(401);
    closed.stop().await;

    let gateway = Gateway::start_with(|config| config.policy.shadow_anonymous = true).await;
    gateway.call(Who::Anonymous, read_run(A)).await.expect(401);
    gateway.call(Who::Anonymous, Request::get("/")).await.expect(401);
    start(&gateway, A).await;
    let answer = gateway.call(Who::Anonymous, read_run(A)).await.expect(200);
    let record = gateway.ended(&answer.decision_id()).await;
    assert_eq!(
        (record.principal.as_deref(), record.proof.as_deref()),
        (Some("user:anonymous"), Some("anonymous:"))
    );
    assert!(record.request.source_address.is_some());
    gateway.call(Who::Anonymous, spans(A, &trace(A))).await.expect(200);
    // A bad credential is no missing one, and what every user may do is not everybody's.
    let bad = read_run(A).header("Authorization", "Bearer nonsense").header("User-Agent", AGENT);
    bad.send(gateway.address).await.expect(401);
    let create = Request::post("/api/2.0/mlflow/experiments/create", &json!({ "name": "mine" }));
    let by_name = Request::get("/api/2.0/mlflow/experiments/get-by-name?experiment_name=beta");
    let own = Request::get("/api/tracegate/v1/whoami");
    for request in [read_run(B), search(&[A, B]), create, by_name, own, Request::get(ROUTE)] {
        let answer = gateway.call(Who::Anonymous, request).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.header("www-authenticate").is_some());
    }
    // By any grant to a user of this name neither, and nobody can be it.
    for (principal, group) in [("user:anonymous", None), ("group:tracegate-shadow", Some("user:stranger"))] {
        let grant = json!({ "principal": principal, "securable": "experiment:2", "privilege": "CAN_READ" });
        gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &grant)).await.expect(400);
        if let Some(member) = group {
            let join = format!("/api/tracegate/v1/groups/{principal}/members/{member}");
            gateway.call(Who::Admin, Request::new("PUT", &join)).await.expect(400);
        }
    }
    end(&gateway).await;
    gateway.call(Who::Anonymous, read_run(A)).await.expect(401);
    gateway.stop().await;
}

/// Calls of several people, each on its own.
fn calls() -> Vec<(Who, Request)> {
    let mut calls = Vec::new();
    for who in [Who::Stranger, Who::Lister, Who::Reader, Who::Ingester, Who::Editor] {
        for experiment in [A, B] {
            calls.push((who, read_run(experiment)));
            calls.push((who, search(&[experiment])));
            calls.push((who, tag_experiment(experiment, "note")));
            calls.push((who, Request::get(&format!("/api/3.0/mlflow/traces/{}", trace(experiment)))));
            let delete = json!({ "experiment_id": experiment, "request_ids": [trace(experiment)] });
            calls.push((who, Request::post("/api/2.0/mlflow/traces/delete-traces", &delete)));
        }
    }
    calls
}

#[actix_rt::test]
async fn the_report_names_exactly_what_enforcement_then_denies() {
    let gateway = Gateway::start().await;
    for experiment in [A, B] {
        start(&gateway, experiment).await;
    }
    for (who, request) in calls() {
        let answer = gateway.call(who, request).await;
        assert_ne!(answer.status, 403, "{}", answer.text());
    }
    gateway.query(&AuditQuery::default()).await;
    let report = gateway.call(Who::Admin, Request::get(&format!("{ROUTE}/report"))).await.expect(200).json();
    assert_eq!((&report["complete"], &report["truncated"]), (&json!(true), &json!(false)));
    let row = |row: &Value| -> (String, String, String) {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("principal"), text("operation"), text("securable"))
    };
    let rows = report["shadowed"].as_array().unwrap();
    let told: BTreeSet<_> = rows.iter().filter(|row| row["narrows"] == false).map(row).collect();
    assert!(told.len() > 20, "{told:?}");

    end(&gateway).await;
    let mut denied = BTreeSet::new();
    for (who, request) in calls() {
        let answer = gateway.call(who, request).await;
        if answer.status == 403 {
            let record = gateway.ended(&answer.decision_id()).await;
            denied.insert((record.principal.unwrap(), record.operation, record.securables[0].clone()));
        }
    }
    assert_eq!(told, denied);
    let of_one =
        gateway.call(Who::Admin, Request::get(&format!("{ROUTE}/report?experiment={A}"))).await.expect(200);
    let of_one: BTreeSet<_> = of_one.json()["shadowed"].as_array().unwrap().iter().map(row).collect();
    assert!(!of_one.is_empty() && of_one.iter().all(|(_, _, securable)| securable == "experiment:1"));
    gateway.stop().await;
}
