//! One reading or none: what two programs could read differently is refused, and what was classified is
//! what is forwarded.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, B, SECRET_B, logged_model, new_trace, run, thing, trace};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::Gateway;
use crate::support::otlp;
use crate::support::raw_http::{Answer, Request, exchange};

/// A request of the reader, or of the editor, that must be refused and not forwarded.
async fn refused(gateway: &Gateway, who: Who, request: Request) -> Answer {
    gateway.upstream.forget_requests();
    let shown = format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body));
    let answer = gateway.call(who, request).await;
    assert!(matches!(answer.status, 400 | 403 | 404), "{shown}: {} {}", answer.status, answer.text());
    assert!(gateway.forwarded().is_empty(), "{shown} was forwarded as {}", gateway.forwarded()[0].target);
    assert!(!answer.everything().contains(SECRET_B), "{shown}");
    answer
}

#[actix_rt::test]
async fn paths_with_two_readings_go_nowhere() {
    let gateway = Gateway::start().await;
    let (a, b) = (trace(A), trace(B));
    for target in [
        format!("/api/3.0/mlflow/traces/{a}/../{b}"),
        format!("/api/3.0/mlflow/traces/{a}/%2e%2e/{b}"),
        format!("/api/3.0/mlflow/traces/{a}%2f..%2f{b}"),
        format!("/api/3.0/mlflow/traces/{a}%252f..%252f{b}"),
        format!("/api/3.0/mlflow/traces/{a}/..;/{b}"),
        format!("/api/3.0/mlflow/traces//{b}"),
        format!("//api/3.0/mlflow/traces/{a}"),
        format!("/api/./3.0/mlflow/traces/{a}"),
        format!("/api/3.0/mlflow/traces/{a}%00"),
        format!("/api/3.0/mlflow/traces/{a}%0a"),
        format!("/api/3.0/mlflow/traces/{a}%5c{b}"),
        format!("/api/3.0/mlflow/traces\\{a}"),
        format!("/api/3.0/mlflow/traces/{a};x={b}"),
        format!("/api/3.0/mlflow/traces/{a}%23"),
        format!("/api/3.0/mlflow/traces/{a}%3Ftrace_id={b}"),
        format!("/API/3.0/mlflow/traces/{a}"),
        format!("/api/3.0/MLflow/traces/{a}"),
        format!("/api/3.0/mlflow/traces/{}", a.to_uppercase()),
        format!("/api/3.0/mlflow/traces/{a}%20"),
        format!("/api/3.0/mlflow/traces/{a}%ff"),
        format!("/api/3.0/mlflow/traces/{a}%C0%AE"),
        format!("/ajax-api/ajax-api/3.0/mlflow/traces/{a}"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}/../{B}/x"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}/%2e%2e/{B}/x"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}%2f..%2f{B}%2fx"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}/x%5c..%5c..%5c{B}"),
        format!("/api/2.0/mlflow-artifacts/artifacts/%2f{B}/x"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}/%252e%252e/{B}/x"),
        format!("/api/2.0/mlflow-artifacts/artifacts/{A}//{B}"),
    ] {
        refused(&gateway, Who::Editor, Request::get(&target)).await;
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn queries_with_two_readings_go_nowhere() {
    let gateway = Gateway::start().await;
    let (a, b, run_a, run_b) = (trace(A), trace(B), run(A), run(B));
    for target in [
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&trace_id={b}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&trace_id={a}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&traceId={b}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&TRACE_ID={b}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&trace%5fid={b}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}&trace%255fid={b}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a};trace_id={b}"),
        format!("/api/3.0/mlflow/traces/get?traceId={a}"),
        format!("/api/3.0/mlflow/traces/get?trace_id={a}%00"),
        format!("/api/3.0/mlflow/traces/{a}?trace_id={b}"),
        format!("/api/2.0/mlflow/runs/get?run_id={run_a}&run_uuid={run_b}"),
        format!("/api/2.0/mlflow/runs/get?run_id={run_a}&run_id[]={run_b}&run_id={run_b}"),
        format!("/api/3.0/mlflow/traces/batchGet?trace_ids={a}&trace_ids={b}"),
        format!("/api/3.0/mlflow/traces/batchGet?trace_ids={a},{b}"),
        "/api/3.0/mlflow/traces/batchGet".to_owned(),
        format!("/api/2.0/mlflow/experiments/get?experiment_id=0{A}"),
        format!("/api/2.0/mlflow/experiments/get?experiment_id=+{A}"),
        format!("/api/2.0/mlflow-artifacts/artifacts?path={A}/../{B}"),
        format!("/api/2.0/mlflow-artifacts/artifacts?path={A}%252f..%252f{B}"),
        format!("/api/2.0/mlflow-artifacts/artifacts?path={A}&path={B}"),
        "/api/2.0/mlflow-artifacts/artifacts".to_owned(),
        "/api/2.0/mlflow-artifacts/artifacts?path=".to_owned(),
    ] {
        refused(&gateway, Who::Editor, Request::get(&target)).await;
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn bodies_with_two_readings_go_nowhere() {
    let gateway = Gateway::start().await;
    let infos = "/api/3.0/mlflow/traces/batchGetInfos";
    let (a, b) = (trace(A), trace(B));
    let inner = json!({"trace_ids": [a]}).to_string();
    let utf16: Vec<u8> = inner.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: Vec<Vec<u8>> = vec![
        format!(r#"{{"trace_ids":["{a}"],"trace_ids":["{b}"]}}"#).into(),
        format!(r#"{{"trace_ids":["{a}"],"trace\u005fids":["{b}"]}}"#).into(),
        format!(r#"{{"trace_ids":["{a}"],"traceIds":["{b}"]}}"#).into(),
        format!(r#"{{"trace_ids":["{a}"],"traceIds":null}}"#).into(),
        format!(r#"{{"trace_ids":["{a}",1]}}"#).into(),
        format!(r#"{{"trace_ids":["{a}",null]}}"#).into(),
        format!(r#"{{"trace_ids":["{a}",["{b}"]]}}"#).into(),
        format!(r#"{{"trace_ids":"{a}"}}"#).into(),
        format!(r#"{{"trace_ids":{{"0":"{a}"}}}}"#).into(),
        format!(r#"{{"trace_ids":["{a}"]}} {{"trace_ids":["{b}"]}}"#).into(),
        format!(r#"[{{"trace_ids":["{a}"]}}]"#).into(),
        json!(inner).to_string().into(),
        json!(json!(inner).to_string()).to_string().into(),
        utf16.clone(),
        [b"\xff\xfe".to_vec(), utf16].concat(),
        [b"\xef\xbb\xbf".to_vec(), inner.clone().into()].concat(),
        otlp::gzip(inner.as_bytes()),
        format!("trace_ids={a}").into(),
        b"{}".to_vec(),
        Vec::new(),
    ];
    for body in bodies {
        let request = Request::new("POST", infos).header("Content-Type", "application/json").body(body);
        refused(&gateway, Who::Editor, request).await;
    }
    let zipped = Request::new("POST", infos)
        .header("Content-Type", "application/json")
        .header("Content-Encoding", "gzip")
        .body(otlp::gzip(inner.as_bytes()));
    assert_eq!(refused(&gateway, Who::Editor, zipped).await.status, 400);
    // The same, well written, is a request.
    gateway.call(Who::Editor, Request::post(infos, &json!({"trace_ids": [a]}))).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_id_in_two_places_is_one_id() {
    let gateway = Gateway::start().await;
    let (a, b) = (trace(A), trace(B));
    let assessment = json!({"trace_id": b, "assessment_name": "x", "feedback": {"value": 1}});
    for request in [
        Request::post(&format!("/api/3.0/mlflow/traces/{a}/assessments"), &json!({"assessment": assessment})),
        Request::json(
            "PATCH",
            &format!("/api/3.0/mlflow/traces/{a}/tags"),
            &json!({"trace_id": b, "key": "k", "value": "v"}),
        ),
        Request::json(
            "PATCH",
            &format!("/api/3.0/mlflow/traces/{a}/tags"),
            &json!({"traceId": b, "key": "k", "value": "v"}),
        ),
        Request::json("PATCH", &format!("/api/2.0/mlflow/traces/{a}"), &json!({"request_id": b})),
        Request::post("/api/2.0/mlflow/runs/update", &json!({"run_id": run(A), "run_uuid": run(B)})),
        Request::post("/api/2.0/mlflow/runs/update", &json!({"run_id": run(A), "runUuid": run(B)})),
        Request::json(
            "PATCH",
            &format!("/api/2.0/mlflow/logged-models/{}", logged_model(A)),
            &json!({"model_id": logged_model(B)}),
        ),
        Request::json(
            "PATCH",
            &format!("/api/3.0/mlflow/datasets/{}/tags", thing("d", A)),
            &json!({"dataset_id": thing("d", B), "tags": "{}"}),
        ),
        Request::post(
            "/api/2.0/mlflow/runs/log-batch",
            &json!({"run_id": run(A), "metrics": [{"key": "k", "value": 1.0, "run_id": run(B)}]}),
        ),
        Request::post("/api/2.0/mlflow/runs/set-tag", &json!({"run_id": 1, "key": "k", "value": "v"})),
        Request::post("/api/2.0/mlflow/experiments/update", &json!({"experiment_id": 1, "new_name": "x"})),
        Request::post("/api/2.0/mlflow/runs/search", &json!({"experiment_ids": [1]})),
        Request::post("/api/2.0/mlflow/runs/search", &json!({"experiment_ids": [A, B]})),
        Request::post("/api/2.0/mlflow/runs/search", &json!({})),
    ] {
        refused(&gateway, Who::Manager, request).await;
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_read_brings_no_body_along() {
    let gateway = Gateway::start().await;
    let get = format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A));
    for body in [json!({"trace_id": trace(B)}).to_string(), "x".to_owned()] {
        let request = Request::get(&get).header("Content-Type", "application/json").body(body);
        assert_eq!(refused(&gateway, Who::Reader, request).await.status, 400);
    }
    let token = gateway.token(Who::Reader);
    let chunked = format!(
        "GET {get} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    gateway.upstream.forget_requests();
    let answer = Answer::parse(&exchange(gateway.address, chunked.as_bytes()).await, false);
    assert_eq!((answer.status, gateway.upstream.requests().len()), (400, 0), "{}", answer.text());
    // A DELETE may have one; it names nothing, and stays here.
    let path = format!("/api/3.0/mlflow/datasets/{}", thing("d", A));
    let delete = Request::json("DELETE", &path, &json!({"dataset_id": thing("d", B)}));
    gateway.upstream.forget_requests();
    gateway.call(Who::Editor, delete).await.expect(200);
    assert!(gateway.forwarded()[0].body.is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn what_is_forwarded_is_the_canonical_form() {
    let gateway = Gateway::start().await;
    let (run_a, trace_a) = (run(A), trace(A));
    for (sent, forwarded) in [
        (
            format!("/api/2.0/mlflow/runs/get?run_id={run_a}"),
            format!("/api/2.0/mlflow/runs/get?run_id={run_a}"),
        ),
        (
            format!("/%61pi/2.0/mlflow/runs/g%65t?run%5Fid={run_a}"),
            format!("/api/2.0/mlflow/runs/get?run_id={run_a}"),
        ),
        (
            format!("/api/2.0/mlflow/runs/get/?&&run_id={run_a}&"),
            format!("/api/2.0/mlflow/runs/get?run_id={run_a}"),
        ),
        (format!("/ajax-api/3.0/mlflow/traces/{trace_a}/"), format!("/ajax-api/3.0/mlflow/traces/{trace_a}")),
        (
            format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{run_a}/artifacts/a+b%20c/%C3%BC.txt"),
            format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{run_a}/artifacts/a%2Bb%20c/%C3%BC.txt"),
        ),
        (
            format!("/api/2.0/mlflow/artifacts/list?run_id={run_a}&path=a+b%2Fc"),
            format!("/api/2.0/mlflow/artifacts/list?run_id={run_a}&path=a%20b%2Fc"),
        ),
    ] {
        gateway.upstream.forget_requests();
        gateway.call(Who::Reader, Request::get(&sent)).await.expect(200);
        let targets: Vec<String> = gateway.forwarded().into_iter().map(|request| request.target).collect();
        assert_eq!(targets, [forwarded], "{sent}");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_body_that_is_not_edited_is_replayed_byte_for_byte() {
    let gateway = Gateway::start().await;
    let odd = format!(
        "{{ \"trace_ids\" :\r\n [ \"{}\" ] , \"unknown\": 1.50e0, \"\\u00fc\": \"\\/\" }}\n",
        trace(A)
    );
    let request = Request::new("POST", "/api/3.0/mlflow/traces/batchGetInfos")
        .header("Content-Type", "application/json");
    gateway.call(Who::Reader, request.body(odd.clone())).await.expect(200);
    assert_eq!(gateway.forwarded()[0].body, odd.as_bytes());

    gateway.upstream.forget_requests();
    let export = otlp::gzip(&otlp::export(&[otlp::span(&new_trace(1), 1, "root")]));
    let request = Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("Content-Encoding", "gzip")
        .header("X-Mlflow-Experiment-Id", A);
    gateway.call(Who::Ingester, request.body(export.clone())).await.expect(200);
    let forwarded = &gateway.forwarded()[0];
    assert_eq!(forwarded.body, export);
    assert_eq!(forwarded.header("content-encoding"), ["gzip"]);
    assert_eq!(forwarded.header("x-mlflow-experiment-id"), [A]);

    gateway.upstream.forget_requests();
    let artifact = format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{}/artifacts/x", run(A));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    gateway.call(Who::Editor, Request::new("PUT", &artifact).body(bytes.clone())).await.expect(200);
    assert_eq!(gateway.forwarded()[0].body, bytes);
    gateway.stop().await;
}

#[actix_rt::test]
async fn who_did_something_is_stamped_and_all_else_stays_as_sent() {
    let gateway = Gateway::start().await;
    let run = json!({"experiment_id": A, "user_id": "somebody", "run_name": "r",
        "tags": [{"key": "mlflow.user", "value": "somebody"}, {"key": "x", "value": "y"}]});
    gateway.call(Who::Editor, Request::post("/api/2.0/mlflow/runs/create", &run)).await.expect(200);
    let sent = gateway.forwarded()[0].json();
    assert_eq!(sent["user_id"], "editor");
    let tags = json!([{"key": "x", "value": "y"}, {"key": "mlflow.user", "value": "editor"}]);
    assert_eq!((&sent["tags"], &sent["run_name"]), (&tags, &json!("r")));

    let assess = |kind: Value| {
        let source = json!({"source_type": kind, "source_id": "somebody"});
        let body = json!({"assessment": {"trace_id": trace(A), "assessment_name": "x", "source": source, "feedback": {"value": 1}}});
        Request::post(&format!("/api/3.0/mlflow/traces/{}/assessments", trace(A)), &body)
    };
    for (kind, source) in
        [("HUMAN", "assessor"), ("LLM_JUDGE", "somebody"), ("CODE", "somebody"), ("SOMETHING", "assessor")]
    {
        gateway.upstream.forget_requests();
        gateway.call(Who::Assessor, assess(json!(kind))).await.expect(200);
        assert_eq!(gateway.forwarded()[0].json()["assessment"]["source"]["source_id"], source, "{kind}");
    }
    refused(&gateway, Who::Assessor, assess(json!(1))).await;

    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    let info = json!({"trace_id": new_trace(9), "trace_location": location,
        "trace_metadata": {"mlflow.user": "somebody", "mlflow.trace.user": "end-user"}});
    gateway.upstream.forget_requests();
    let start = Request::post("/api/3.0/mlflow/traces", &json!({"trace": {"trace_info": info}}));
    gateway.call(Who::Ingester, start).await.expect(200);
    let metadata = gateway.forwarded()[0].json()["trace"]["trace_info"]["trace_metadata"].clone();
    assert_eq!(metadata, json!({"mlflow.user": "ingester", "mlflow.trace.user": "end-user"}));
    gateway.stop().await;
}

#[actix_rt::test]
async fn reserved_keys_are_nobodys_to_set_through_any_door() {
    let gateway = Gateway::start().await;
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    let start = |extra: Value| {
        let mut info = json!({"trace_id": new_trace(5), "trace_location": location});
        info.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Request::post("/api/3.0/mlflow/traces", &json!({"trace": {"trace_info": info}}))
    };
    let key = "mlflow.artifactLocation";
    let tags = format!("/api/3.0/mlflow/traces/{}/tags", trace(A));
    for request in [
        start(json!({"tags": {"mlflow.artifactLocation": "file:///etc"}})),
        start(json!({"tags": {"MLFLOW.artifactlocation ": "file:///etc"}})),
        start(json!({"trace_metadata": {"mlflow.trace.spansLocation": "x"}})),
        start(json!({"traceMetadata": {"mlflow.trace.spansLocation": "x"}})),
        Request::json("PATCH", &tags, &json!({"key": key, "value": "file:///etc"})),
        Request::json("PATCH", &tags.replace("3.0", "2.0"), &json!({"key": key, "value": "file:///etc"})),
        Request::json("DELETE", &tags, &json!({"key": key})),
        Request::post(
            "/api/2.0/mlflow/traces",
            &json!({"experiment_id": A, "tags": [{"key": key, "value": "x"}]}),
        ),
        Request::post(
            "/api/2.0/mlflow/traces",
            &json!({"experiment_id": A, "request_metadata": [{"key": key, "value": "x"}]}),
        ),
        Request::json(
            "PATCH",
            &format!("/api/2.0/mlflow/traces/{}", trace(A)),
            &json!({"tags": [{"key": key, "value": "x"}]}),
        ),
        Request::post(
            "/api/2.0/mlflow/experiments/set-experiment-tag",
            &json!({"experiment_id": A, "key": key, "value": "x"}),
        ),
        Request::post(
            "/api/2.0/mlflow/runs/set-tag",
            &json!({"run_id": run(A), "key": "mlflow.user", "value": "somebody"}),
        ),
        Request::post(
            "/api/2.0/mlflow/runs/log-batch",
            &json!({"run_id": run(A), "tags": [{"key": "mlflow.user", "value": "somebody"}]}),
        ),
    ] {
        // The administrator may everything, and still not this.
        refused(&gateway, Who::Manager, request.clone()).await;
        refused(&gateway, Who::Admin, request).await;
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn links_into_another_experiment_are_refused() {
    let gateway = Gateway::start().await;
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    let linked = |key: &str, id: String| {
        let info = json!({"trace_id": new_trace(5), "trace_location": location, "trace_metadata": {key: id}});
        Request::post("/api/3.0/mlflow/traces", &json!({"trace": {"trace_info": info}}))
    };
    let export = Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Mlflow-Experiment-Id", A)
        .header("X-Mlflow-Run-Id", &run(B))
        .body(otlp::export(&[otlp::span(&new_trace(6), 1, "s")]));
    for request in [
        linked("mlflow.sourceRun", run(B)),
        linked("mlflow.modelId", logged_model(B)),
        export,
        Request::post(
            "/api/2.0/mlflow/traces/link-to-run",
            &json!({"run_id": run(A), "trace_ids": [trace(B)]}),
        ),
        Request::post(
            "/api/2.0/mlflow/traces/link-to-run",
            &json!({"run_id": run(B), "trace_ids": [trace(A)]}),
        ),
        Request::post(
            "/api/2.0/mlflow/traces/link-prompts",
            &json!({"trace_id": trace(A), "prompt_versions": [{"name": "model-b", "version": "1"}]}),
        ),
        Request::post(
            "/api/2.0/mlflow/model-versions/create",
            &json!({"name": "model-a", "source": format!("runs:/{}/model", run(B))}),
        ),
        Request::post(
            "/api/2.0/mlflow/model-versions/create",
            &json!({"name": "model-a", "source": format!("mlflow-artifacts:/{B}/x")}),
        ),
        Request::post(
            "/api/2.0/mlflow/model-versions/create",
            &json!({"name": "model-a", "source": format!("mlflow-artifacts:/{A}/../{B}/x")}),
        ),
        Request::post(
            "/api/2.0/mlflow/model-versions/create",
            &json!({"name": "model-a", "source": "file:///etc"}),
        ),
        Request::post(
            "/api/2.0/mlflow/model-versions/create",
            &json!({"name": "model-a", "source": "models:/model-b/1"}),
        ),
        Request::post(
            "/api/2.0/mlflow/runs/log-inputs",
            &json!({"run_id": run(A), "models": [{"model_id": logged_model(B)}]}),
        ),
        Request::post(
            &format!("/api/3.0/mlflow/datasets/{}/add-experiments", thing("d", A)),
            &json!({"dataset_id": thing("d", A), "experiment_ids": [B]}),
        ),
        Request::post(
            &format!("/api/3.0/mlflow/datasets/{}/records", thing("d", A)),
            &json!({"dataset_id": thing("d", A),
            "records": json!([{"inputs": {}, "source": {"source_data": {"trace_id": trace(B)}}}]).to_string()}),
        ),
        Request::post(
            "/api/2.0/mlflow/experiments/create",
            &json!({"name": "x", "artifact_location": format!("mlflow-artifacts:/{B}/x")}),
        ),
        Request::post(
            "/api/2.0/mlflow/experiments/create",
            &json!({"name": "x", "artifact_location": "mlflow-artifacts:/"}),
        ),
        Request::post(
            "/api/2.0/mlflow/experiments/create",
            &json!({"name": "x", "artifact_location": "s3://bucket/x"}),
        ),
    ] {
        refused(&gateway, Who::Manager, request).await;
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn redirects_of_upstream_are_not_followed_and_lead_nowhere_else() {
    let gateway = Gateway::start().await;
    let path = "/api/2.0/mlflow/artifacts/list";
    let list = || Request::get(&format!("{path}?run_id={}", run(A)));
    gateway.upstream.on("GET", path, |_| Scripted::redirect("http://elsewhere.example/secret"));
    let answer = gateway.call(Who::Reader, list()).await.expect(502);
    assert!(!answer.everything().contains("elsewhere"));
    gateway.upstream.on("GET", path, |_| Scripted::redirect("/api/2.0/mlflow/users/list"));
    gateway.upstream.forget_requests();
    let answer = gateway.call(Who::Reader, list()).await.expect(302);
    assert_eq!(answer.header("location"), Some("/api/2.0/mlflow/users/list"));
    assert_eq!(gateway.forwarded().len(), 1);
    gateway.stop().await;
}
