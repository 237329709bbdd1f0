//! Requests that try to be read in two ways, or to name something that nobody authorizes.

use super::super::Manifest;
use super::*;
use crate::wire::{CanonicalPath, Headers, Method, Query, json};

const TRACE: &str = "tr-a50f1d685f7cf6ff7e0dede8b2acad2c";
const OTHER: &str = "tr-b50f1d685f7cf6ff7e0dede8b2acad2c";
const RUN: &str = "0123456789abcdef0123456789abcdef";
const RUN_B: &str = "f123456789abcdef0123456789abcdef";
const MODEL: &str = "m-0123456789abcdef0123456789abcdef";

/// `PRIVILEGE target:id` of each thing named, or the refusal.
fn call(method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Result<Vec<String>, String> {
    let manifest = Manifest::builtin().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut all = Headers::new();
    headers.iter().for_each(|(name, value)| all.push(name, value));
    let head = Head {
        method,
        path: CanonicalPath::parse(path).map_err(|error| error.to_string())?,
        query: Query::parse(query).map_err(|error| error.to_string())?,
        headers: all,
    };
    let matched = manifest.classify(method, &head.path).map_err(|error| error.to_string())?.unwrap();
    let body = json::parse_object(body.as_bytes()).map_err(|error| error.to_string())?;
    let named = extract(&matched, &head, Some(&body)).map_err(|error| error.to_string())?;
    Ok(named
        .iter()
        .map(|named| format!("{} {}:{}", named.need.privilege, named.thing.target.as_str(), named.thing.id))
        .collect())
}

fn post(path: &str, body: &str) -> Result<Vec<String>, String> {
    call(Method::Post, path, &[], body)
}

fn get(target: &str) -> Result<Vec<String>, String> {
    call(Method::Get, target, &[], "")
}

fn refused(result: &Result<Vec<String>, String>, expected: &str) {
    match result {
        Ok(named) => panic!("accepted: {named:?}"),
        Err(error) => assert!(error.contains(expected), "{error}"),
    }
}

#[test]
fn ids_come_from_path_query_header_and_body() {
    assert_eq!(
        get(&format!("/api/3.0/mlflow/traces/{TRACE}")).unwrap(),
        [format!("trace.read trace:{TRACE}")]
    );
    assert_eq!(
        get(&format!(
            "/api/3.0/mlflow/traces/batchGet?trace_ids={TRACE}&trace_ids={OTHER}&trace_ids={TRACE}"
        ))
        .unwrap(),
        [format!("trace.read trace:{TRACE}"), format!("trace.read trace:{OTHER}")]
    );
    assert_eq!(
        call(Method::Post, "/v1/traces", &[("X-Mlflow-Experiment-Id", "1"), ("x-mlflow-run-id", RUN)], "")
            .unwrap(),
        ["trace.write experiment:1".to_owned(), format!("run.write run:{RUN}")]
    );
    assert_eq!(
        post("/api/3.0/mlflow/traces/search", r#"{"locations":[{"mlflowExperiment":{"experimentId":"1"}},{"mlflow_experiment":{"experiment_id":"2"}}]}"#).unwrap(),
        ["trace.list experiment:1", "trace.list experiment:2"]
    );
    assert_eq!(
        post("/api/2.0/mlflow/experiments/create", r#"{"name":"x"}"#).unwrap(),
        ["experiment.create workspace:"]
    );
}

#[test]
fn an_id_given_twice_must_be_the_same() {
    let same = format!(r#"{{"run_id":"{RUN}","run_uuid":"{RUN}"}}"#);
    assert_eq!(post("/api/2.0/mlflow/runs/update", &same).unwrap(), [format!("run.write run:{RUN}")]);
    // Upstream takes run_id unless it is empty.
    let fallback = format!(r#"{{"run_id":"","run_uuid":"{RUN}"}}"#);
    assert_eq!(post("/api/2.0/mlflow/runs/update", &fallback).unwrap(), [format!("run.write run:{RUN}")]);
    let two = format!(r#"{{"run_id":"{RUN}","run_uuid":"{RUN_B}"}}"#);
    refused(&post("/api/2.0/mlflow/runs/update", &two), "names another run");
    refused(&get(&format!("/get-artifact?run_id={RUN}&run_uuid={RUN_B}&path=x")), "names another run");
    refused(&get(&format!("/api/2.0/mlflow/runs/get?run_id={RUN}&run_id={RUN}")), "once only");
    refused(&get(&format!("/api/3.0/mlflow/traces/{TRACE}?trace_id={OTHER}")), "names another trace");
    let doubled = [("x-mlflow-experiment-id", "1"), ("X-MLflow-Experiment-Id", "2")];
    refused(&call(Method::Post, "/v1/traces", &doubled, ""), "once only");
    // FinalizeLoggedModel acts on the model of the body.
    let path = format!("/api/2.0/mlflow/logged-models/{MODEL}");
    let other = format!(r#"{{"model_id":"m-{RUN_B}","status":1}}"#);
    refused(&call(Method::Patch, &path, &[], &other), "names another logged_model");
    let assessment = format!(r#"{{"assessment":{{"trace_id":"{OTHER}"}}}}"#);
    refused(
        &post(&format!("/api/3.0/mlflow/traces/{TRACE}/assessments"), &assessment),
        "names another trace",
    );
}

#[test]
fn both_spellings_of_a_field_are_refused_at_every_level() {
    let body = format!(r#"{{"run_id":"{RUN}","runId":"{RUN_B}"}}"#);
    refused(&post("/api/2.0/mlflow/runs/delete", &body), "run");
    let nested = r#"{"locations":[{"mlflow_experiment":{"experiment_id":"1","experimentId":"2"}}]}"#;
    refused(&post("/api/3.0/mlflow/traces/search", nested), "experiment");
    let parents = r#"{"locations":[{"mlflow_experiment":{"experiment_id":"1"},"mlflowExperiment":{"experiment_id":"2"}}]}"#;
    refused(&post("/api/3.0/mlflow/traces/search", parents), "xperiment");
    refused(&post("/api/2.0/mlflow/runs/delete", &format!(r#"{{"run_id":"{RUN}","run_id":"{RUN_B}"}}"#)), "");
}

#[test]
fn secondary_ids_are_named_too() {
    let batch = format!(
        r#"{{"run_id":"{RUN}","metrics":[{{"key":"a","value":1,"timestamp":1}},{{"key":"a","value":1,"timestamp":1,"modelId":"{MODEL}","run_id":"{RUN_B}"}}]}}"#
    );
    assert_eq!(
        post("/api/2.0/mlflow/runs/log-batch", &batch).unwrap(),
        [
            format!("run.write run:{RUN}"),
            format!("run.write run:{RUN_B}"),
            format!("run.write logged_model:{MODEL}")
        ]
    );
    let metric = format!(r#"{{"run_id":"{RUN}","key":"k","value":1,"timestamp":1,"model_id":"{MODEL}"}}"#);
    assert_eq!(post("/api/2.0/mlflow/runs/log-metric", &metric).unwrap().len(), 2);
    let version = format!(r#"{{"name":"m","source":"runs:/x","run_id":"{RUN}","model_id":"{MODEL}"}}"#);
    assert_eq!(post("/api/2.0/mlflow/model-versions/create", &version).unwrap().len(), 4);
    let prompts = format!(r#"{{"trace_id":"{TRACE}","prompt_versions":[{{"name":"p","version":"1"}}]}}"#);
    assert_eq!(
        post("/api/2.0/mlflow/traces/link-prompts", &prompts).unwrap(),
        [format!("trace.tag trace:{TRACE}"), "model.read registered_model:p".to_owned()]
    );
    let invoke = format!(r#"{{"experiment_id":"1","trace_ids":["{TRACE}"],"secret_id":"s-1"}}"#);
    let named = post("/ajax-api/3.0/mlflow/issues/invoke", &invoke).unwrap();
    assert!(named.contains(&"gateway.manage workspace:s-1".to_owned()), "{named:?}");
    assert!(
        !post("/ajax-api/3.0/mlflow/issues/invoke", &invoke.replace("secret_id", "x"))
            .unwrap()
            .iter()
            .any(|n| n.contains("gateway"))
    );
}

#[test]
fn traces_in_records_are_read_out_of_the_string() {
    let path = "/api/3.0/mlflow/datasets/d-1/records";
    let body = |records: &str| serde_json::json!({ "records": records }).to_string();
    let records = format!(
        r#"[{{"inputs":{{}}}},{{"inputs":{{}},"source":{{"source_type":"TRACE","source_data":{{"trace_id":"{TRACE}"}}}}}}]"#
    );
    assert_eq!(
        post(path, &body(&records)).unwrap(),
        ["dataset.write dataset:d-1".to_owned(), format!("trace.read trace:{TRACE}")]
    );
    for odd in [
        "{}",
        "1",
        "[1]",
        "[{\"source\":\"x\"}]",
        "[],\"more\":1",
        "[]}, {",
        "[{\"source\":1,\"source\":2}]",
        "[",
    ] {
        assert!(post(path, &body(odd)).is_err(), "{odd}");
    }
}

#[test]
fn ids_must_be_strings_of_the_right_kind() {
    refused(&post("/api/2.0/mlflow/experiments/delete", r#"{"experiment_id":1}"#), "must be a string");
    refused(&post("/api/2.0/mlflow/experiments/delete", r#"{"experiment_id":["1"]}"#), "must be a string");
    refused(
        &post("/api/2.0/mlflow/experiments/delete", r#"{"experiment_id":"01"}"#),
        "is not an experiment id",
    );
    refused(
        &post("/api/2.0/mlflow/experiments/delete", r#"{"experiment_id":" 1"}"#),
        "is not an experiment id",
    );
    refused(&get("/api/3.0/mlflow/traces/..%2F..%2Fx"), "");
    refused(&get("/api/3.0/mlflow/traces/other"), "is not a trace id");
    refused(&get("/ajax-api/3.0/mlflow/get-trace-artifact?request_id=x"), "is not a trace id");
    refused(&get("/api/2.0/mlflow/registered-models/get?name=a%07b"), "control");
    refused(&get(&format!("/api/2.0/mlflow/registered-models/get?name={}", "n".repeat(501))), "1 to 500");
}

#[test]
fn what_upstream_reads_as_everything_must_be_named() {
    for (path, body) in [
        ("/api/3.0/mlflow/issues/search", "{}"),
        ("/api/3.0/mlflow/issues/search", r#"{"experiment_id":null}"#),
        ("/api/3.0/mlflow/issues/search", r#"{"experiment_id":""}"#),
        ("/api/3.0/mlflow/datasets/search", "{}"),
        ("/api/3.0/mlflow/datasets/search", r#"{"experiment_ids":[]}"#),
        ("/api/3.0/mlflow/datasets/create", r#"{"name":"x"}"#),
        ("/api/2.0/mlflow/runs/create", "{}"),
        ("/api/2.0/mlflow/traces", r#"{"timestamp_ms":1}"#),
        ("/api/3.0/mlflow/traces", r#"{"trace":{"trace_info":{"trace_location":{}}}}"#),
        ("/api/3.0/mlflow/traces/search", r#"{"locations":[]}"#),
        (
            "/api/3.0/mlflow/traces/search",
            r#"{"locations":[{"mlflow_experiment":{"experiment_id":"1"}},{"inference_table":{"full_table_name":"t"}}]}"#,
        ),
        ("/api/3.0/mlflow/traces/metrics", r#"{"experiment_ids":["1",""]}"#),
    ] {
        assert!(post(path, body).is_err(), "{path} {body}");
    }
    assert!(get("/api/3.0/mlflow/datasets/search").is_err());
    assert!(get("/api/2.0/mlflow/traces?experiment_ids=").is_err());
    // The handling narrows these two.
    assert!(get("/api/3.0/mlflow/scorers/list").unwrap().is_empty());
    assert!(get("/api/2.0/mlflow-artifacts/artifacts?path=").unwrap().is_empty());
}

#[test]
fn a_body_that_upstream_would_read_half_is_refused() {
    // Each makes MLflow's parser stop before it reaches the experiment, and go on without one.
    for (path, body) in [
        ("/api/3.0/mlflow/issues/search", r#"{"max_results":"x","experiment_id":"1"}"#),
        ("/api/3.0/mlflow/issues/search", r#"{"include_trace_count":"true","experiment_id":"1"}"#),
        ("/api/3.0/mlflow/datasets/search", r#"{"order_by":[5],"experiment_ids":["1"]}"#),
        ("/api/2.0/mlflow/runs/create", r#"{"tags":[{"key":5}],"experiment_id":"1"}"#),
        ("/api/2.0/mlflow/runs/create", r#"{"user_id":{},"experiment_id":"1"}"#),
        (
            "/api/3.0/mlflow/traces",
            r#"{"trace":{"trace_info":{"execution_duration":"x","trace_location":{"mlflow_experiment":{"experiment_id":"1"}}}}}"#,
        ),
        (
            "/api/3.0/mlflow/traces",
            r#"{"trace":{"spans":[{}],"trace_info":{"trace_location":{"mlflow_experiment":{"experiment_id":"1"}}}}}"#,
        ),
    ] {
        refused(&post(path, body), "body field");
    }
    let recorded = r#"{"trace":{"trace_info":{"trace_id":"tr-a50f1d685f7cf6ff7e0dede8b2acad2c","trace_location":{"type":"MLFLOW_EXPERIMENT","mlflow_experiment":{"experiment_id":"1"}},"request_time":"2026-11-22T04:40:18.413Z","execution_duration":"0.118s","state":"OK","trace_metadata":{"mlflow.traceInputs":"{}"},"tags":{"team":"a"},"request_preview":"x","response_preview":"y"}}}"#;
    assert_eq!(post("/api/3.0/mlflow/traces", recorded).unwrap(), ["trace.write experiment:1"]);
}

#[test]
fn lists_are_capped() {
    let ids = |count: usize| (0..count).map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",");
    let body = |count: usize| format!(r#"{{"experiment_ids":[{}]}}"#, ids(count));
    assert_eq!(post("/api/2.0/mlflow/runs/search", &body(1_000)).unwrap().len(), 1_000);
    refused(&post("/api/2.0/mlflow/runs/search", &body(1_001)), "more than 1000");
    let traces: Vec<String> = (0..10_001).map(|id| format!("\"tr-{id:032x}\"")).collect();
    refused(
        &post("/api/3.0/mlflow/traces/batchGetInfos", &format!(r#"{{"trace_ids":[{}]}}"#, traces.join(","))),
        "more than 10000",
    );
}
