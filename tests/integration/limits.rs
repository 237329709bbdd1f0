//! Limits through the whole pipeline: who sets them, what they refuse, and what they leave alone.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::fake_mlflow::new_trace;
use crate::support::gateway::Gateway;
use crate::support::otlp::{export, span};
use crate::support::raw_http::{Answer, Request};
use tracegate::access::{ExperimentId, TraceId};

const ROUTE: &str = "/api/tracegate/v1/limits";
const READ: &str = "/api/2.0/mlflow/experiments/get?experiment_id=1";

fn limit(on: &str, principal: Option<&str>, name: &str, value: u64) -> Request {
    let body = json!({ "securable": on, "principal": principal, "name": name, "value": value });
    Request::json("PUT", ROUTE, &body)
}

fn start(id: &str, experiment: &str) -> Request {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}});
    let info = json!({"trace_id": id, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"});
    Request::post("/api/3.0/mlflow/traces", &json!({ "trace": { "trace_info": info } }))
}

fn spans(experiment: &str, traces: &[&str], number: u8) -> Request {
    let spans: Vec<Vec<u8>> = traces.iter().map(|trace| span(trace, number, "s")).collect();
    Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Mlflow-Experiment-Id", experiment)
        .body(export(&spans))
}

/// Calls until one is refused by a limit of one call in a second: of two calls in a second, one is.
async fn until_limited(gateway: &Gateway, who: Who, most: usize) -> (usize, Answer) {
    for before in 0..most {
        let answer = gateway.call(who, Request::get(READ)).await;
        if answer.status == 429 {
            return (before, answer);
        }
        answer.expect(200);
    }
    panic!("{most} calls passed a limit that should have refused some");
}

#[actix_rt::test]
async fn a_limit_on_requests_is_the_managers_and_says_what_it_is() {
    let gateway = Gateway::start().await;
    gateway.call(Who::Editor, limit("experiment:1", None, "requests_per_second", 1)).await.expect(403);
    gateway.call(Who::Manager, limit("experiment:2", None, "requests_per_second", 1)).await.expect(403);
    gateway
        .call(Who::Manager, limit("workspace:default", Some("user:reader"), "requests_per_second", 1))
        .await
        .expect(403);
    let set =
        gateway.call(Who::Manager, limit("experiment:1", None, "requests_per_second", 1)).await.expect(200);
    let records = gateway.records(&set.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.as_ref()).expect("before and after");
    assert_eq!((&change.before, &change.after["value"]), (&Value::Null, &json!(1)));

    // A stranger's calls are refused by policy, and use nothing up.
    for _ in 0..20 {
        gateway.call(Who::Stranger, Request::get(READ)).await.expect(403);
    }
    let shown = gateway.call(Who::Manager, Request::get(&format!("{ROUTE}?securable=experiment:1"))).await;
    assert_eq!(shown.expect(200).json()["limits"][0]["used"], 0);
    let (_, answer) = until_limited(&gateway, Who::Reader, 200).await;
    assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("REQUEST_LIMIT_EXCEEDED", Some("1")));
    for part in ["requests_per_second", "experiment `1`", "1 requests per second", "whoever manages"] {
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
    for phrase in ["try again", "Unexpected error", "token bucket"] {
        assert!(!answer.text().contains(phrase), "{}", answer.text());
    }
    let metrics = gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200).text();
    assert!(metrics.contains("tracegate_limited_total{limit=\"requests_per_second\"}"), "{metrics}");
    // Another experiment's allowance is its own; and the API that lifts the limit is not limited.
    for _ in 0..10 {
        gateway
            .call(Who::Admin, Request::get("/api/2.0/mlflow/experiments/get?experiment_id=2"))
            .await
            .expect(200);
    }
    let clear = format!("{ROUTE}?securable=experiment:1&name=requests_per_second");
    gateway.call(Who::Editor, Request::new("DELETE", &clear)).await.expect(403);
    gateway.call(Who::Manager, Request::new("DELETE", &clear)).await.expect(200);
    for _ in 0..20 {
        gateway.call(Who::Reader, Request::get(READ)).await.expect(200);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_principal_is_limited_by_itself() {
    let gateway = Gateway::start().await;
    for (on, who) in [("experiment:1", "user:reader"), ("workspace:default", "user:lister")] {
        gateway.call(Who::Admin, limit(on, Some(who), "requests_per_second", 1)).await.expect(200);
    }
    for who in [Who::Reader, Who::Lister] {
        let (_, answer) = until_limited(&gateway, who, 200).await;
        assert!(answer.text().contains(who.name()), "{}", answer.text());
    }
    for _ in 0..20 {
        gateway.call(Who::Editor, Request::get(READ)).await.expect(200);
    }
    let own =
        gateway.call(Who::Lister, Request::get(&format!("{ROUTE}?principal=user:lister"))).await.expect(200);
    assert_eq!(own.json()["limits"][0]["value"], 1);
    gateway.call(Who::Lister, Request::get(&format!("{ROUTE}?principal=user:reader"))).await.expect(403);
    gateway.call(Who::Lister, Request::get(ROUTE)).await.expect(403);
    gateway.call(Who::Stranger, Request::get(&format!("{ROUTE}?securable=experiment:1"))).await.expect(403);
    let seen = gateway.call(Who::Lister, Request::get(&format!("{ROUTE}?securable=experiment:1"))).await;
    assert!(!seen.expect(200).text().contains("user:reader"), "another's limit is not told");
    for (problem, wanted) in [
        ("value", limit("experiment:1", None, "requests_per_second", 0)),
        ("principal", limit("experiment:1", Some("group:users"), "requests_per_second", 5)),
        ("principal", limit("experiment:1", Some("user:reader"), "traces", 5)),
        ("principal", limit("workspace:default", None, "requests_per_second", 5)),
        ("securable", limit("registered_model:model-a", None, "requests_per_second", 5)),
        ("9223372036854775807", limit("experiment:1", None, "traces", u64::MAX)),
    ] {
        let answer = gateway.call(Who::Admin, wanted).await.expect(400);
        assert!(answer.text().contains(problem), "{problem}: {}", answer.text());
    }
    gateway.call(Who::Admin, limit("experiment:999999", None, "traces", 5)).await.expect(404);
    gateway.stop().await;
}

#[actix_rt::test]
async fn what_the_configuration_limits_a_manager_may_lower_and_an_administrator_raise() {
    let gateway = Gateway::start_with(|config| config.limits.traces_per_experiment = Some(10)).await;
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 5)).await.expect(200);
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 10)).await.expect(200);
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 11)).await.expect(403);
    gateway.call(Who::Admin, limit("experiment:1", None, "traces", 11)).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_full_experiment_takes_no_new_trace_and_every_span_of_those_it_holds() {
    let gateway = Gateway::start_embedded().await;
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 2)).await.expect(200);
    let [first, second, third, fourth] = [1, 2, 3, 4].map(new_trace);
    gateway.call(Who::Ingester, start(&first, "1")).await.expect(200);
    gateway.call(Who::Ingester, spans("1", &[&second], 1)).await.expect(200);
    for request in [start(&third, "1"), spans("1", &[&third], 1), spans("1", &[&third, &fourth], 1)] {
        let full = gateway.call(Who::Ingester, request).await.expect(429);
        assert_eq!(full.code(), "RESOURCE_EXHAUSTED");
        assert!(
            full.header("retry-after").is_some() && full.text().contains("2 traces held"),
            "{}",
            full.text()
        );
    }
    let v2 = json!({ "experiment_id": "1", "timestamp_ms": 1, "request_metadata": [], "tags": [] });
    gateway.call(Who::Editor, Request::post("/api/2.0/mlflow/traces", &v2)).await.expect(429);
    // What is held goes on: again, further spans, tags.
    gateway.call(Who::Ingester, start(&first, "1")).await.expect(200);
    gateway.call(Who::Ingester, spans("1", &[&second, &first], 2)).await.expect(200);
    // Both in one export: what is held is kept, what is new is reported.
    let mixed = gateway.call(Who::Ingester, spans("1", &[&second, &third], 3)).await.expect(200);
    assert!(mixed.text().contains("traces held"), "{}", mixed.text());
    let count = async || {
        let shown =
            gateway.call(Who::Manager, Request::get(&format!("{ROUTE}?securable=experiment:1"))).await;
        shown.expect(200).json()["limits"][0]["used"].as_u64().unwrap()
    };
    assert_eq!(count().await, 2);
    // Nobody owns what was refused: it may be started elsewhere.
    assert!(gateway.app.store.trace_owner(&TraceId::parse(&third).unwrap()).await.unwrap().is_none());
    // A delete makes room at once, for one; the deleted id is as new as any other.
    let delete = json!({ "experiment_id": "1", "request_ids": [first] });
    gateway
        .call(Who::Editor, Request::post("/api/3.0/mlflow/traces/delete-traces", &delete))
        .await
        .expect(200);
    gateway.call(Who::Ingester, start(&third, "1")).await.expect(200);
    gateway.call(Who::Ingester, start(&first, "1")).await.expect(429);
    assert_eq!(count().await, 2);
    // Lowered below what is held, nothing is lost and nothing new comes.
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 0)).await.expect(200);
    gateway.call(Who::Ingester, spans("1", &[&second], 4)).await.expect(200);
    gateway.call(Who::Ingester, start(&fourth, "1")).await.expect(429);
    gateway.stop().await;
}

#[actix_rt::test]
async fn many_starts_at_once_fill_an_experiment_exactly() {
    let gateway = Gateway::start_embedded().await;
    gateway.call(Who::Manager, limit("experiment:1", None, "traces", 7)).await.expect(200);
    let ids: Vec<String> = (10..40).map(new_trace).collect();
    let calls = ids.iter().map(|id| gateway.call(Who::Ingester, start(id, "1")));
    let answers = futures_util::future::join_all(calls).await;
    let started = answers.iter().filter(|answer| answer.status == 200).count();
    let full = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(started <= 7 && started + full == 30, "{started} {full}");
    // What was counted too often while others were under way has room a little later.
    let backend = gateway.app.backend.for_worker();
    let experiment = ExperimentId::parse("1").unwrap();
    let mut held = started;
    for id in &ids {
        for _ in 0..100 {
            let answer = gateway.call(Who::Ingester, start(id, "1")).await;
            held = backend.held_traces(&experiment).await.unwrap() as usize;
            if answer.status == 200 || held == 7 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if held == 7 {
            break;
        }
    }
    assert_eq!(held, 7);
    gateway.stop().await;
}
