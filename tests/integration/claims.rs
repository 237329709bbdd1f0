//! A trace belongs to the experiment that claimed it first: takeovers, races, refusals, time-outs, and
//! exports that mix one's own spans with others'.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, B, new_trace, trace, trace_info};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{Gateway, holds};
use crate::support::otlp::{self, export, gzip, span};
use crate::support::raw_http::Request;
use tracegate::access::TraceId;

const START: &str = "/api/3.0/mlflow/traces";

fn start(id: &str, experiment: &str) -> Request {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}});
    Request::post(START, &json!({"trace": {"trace_info": {"trace_id": id, "trace_location": location}}}))
}

fn spans(experiment: &str, body: Vec<u8>) -> Request {
    Request::new("POST", "/v1/traces")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Mlflow-Experiment-Id", experiment)
        .body(body)
}

async fn owner(gateway: &Gateway, id: &str) -> Option<String> {
    let claim = gateway.app.store.trace_owner(&TraceId::parse(id).unwrap()).await.unwrap();
    claim.map(|claim| claim.experiment.to_string())
}

/// An ingester of A, an assessor's name lent to an ingester of B.
async fn two_experiments() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.grant(Who::Stranger, "experiment:2", "CAN_INGEST").await;
    gateway
}

#[actix_rt::test]
async fn of_two_that_race_for_a_trace_one_is_forwarded() {
    let gateway = two_experiments().await;
    let mut winners = [0, 0];
    for number in 0..60 {
        let id = new_trace(number);
        gateway.upstream.forget_requests();
        let first = async {
            match number % 3 {
                0 => gateway.call(Who::Ingester, spans(A, export(&[span(&id, 1, "of-a")]))).await,
                _ => gateway.call(Who::Ingester, start(&id, A)).await,
            }
        };
        let second = async {
            match number % 2 {
                0 => gateway.call(Who::Stranger, spans(B, export(&[span(&id, 1, "of-b")]))).await,
                _ => gateway.call(Who::Stranger, start(&id, B)).await,
            }
        };
        let (first, second) = futures_util::join!(first, second);
        let mut statuses = [first.status, second.status];
        let winner = usize::from(second.status == 200);
        winners[winner] += 1;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "{id}: {} {}", first.text(), second.text());
        let forwarded = gateway.forwarded();
        assert_eq!(forwarded.len(), 1, "{id}");
        let of = [A, B][winner];
        let body = String::from_utf8_lossy(&forwarded[0].body).into_owned();
        let named = forwarded[0]
            .header("x-mlflow-experiment-id")
            .first()
            .map_or_else(|| body.contains(&format!("\"experiment_id\":\"{of}\"")), |named| *named == of);
        assert!(named, "{id}: {body}");
        assert_eq!(owner(&gateway, &id).await.as_deref(), Some(of));
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn of_two_ingesters_that_race_to_start_a_trace_one_is_its_own() {
    let gateway = Gateway::start().await;
    gateway.grant(Who::Stranger, "experiment:1", "CAN_INGEST").await;
    for number in 0..30 {
        let id = new_trace(number);
        gateway.upstream.forget_requests();
        let (first, second) = futures_util::join!(
            gateway.call(Who::Ingester, start(&id, A)),
            gateway.call(Who::Stranger, start(&id, A)),
        );
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "{id}: {} {}", first.text(), second.text());
        // The head that the loser sent reached nobody: it could have replaced the winner's.
        assert_eq!(gateway.forwarded().len(), 1, "{id}");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn many_writers_of_one_trace_agree_on_its_owner() {
    let gateway = two_experiments().await;
    for number in 0..10 {
        let id = new_trace(number);
        gateway.upstream.forget_requests();
        let calls = (0..12_u8).map(|writer| {
            let (who, experiment) = if writer % 2 == 0 { (Who::Ingester, A) } else { (Who::Stranger, B) };
            gateway.call(who, spans(experiment, export(&[span(&id, writer + 1, "s")])))
        });
        let answers = futures_util::future::join_all(calls).await;
        let experiments: std::collections::BTreeSet<String> = gateway
            .forwarded()
            .iter()
            .map(|request| request.header("x-mlflow-experiment-id")[0].to_owned())
            .collect();
        assert_eq!(experiments.len(), 1, "{experiments:?}");
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 6);
        assert_eq!(answers.iter().filter(|answer| answer.status == 403).count(), 6);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_definite_refusal_gives_the_claim_back_and_a_time_out_keeps_it() {
    let gateway = Gateway::start_with(|config| config.mlflow.response_timeout_ms = 300).await;
    gateway.grant(Who::Stranger, "experiment:2", "CAN_INGEST").await;
    let refusal =
        || Scripted::json_status(400, &json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}));
    for (number, scripted, status, kept) in [
        (1, refusal(), 400, false),
        (2, Scripted::json_status(500, &json!({"error_code": "INTERNAL_ERROR"})), 500, true),
        (3, Scripted::After(Duration::from_secs(2), Box::new(Scripted::ok("{}"))), 504, true),
        (4, Scripted::Raw(b"rubbish\r\n\r\n".to_vec()), 502, true),
        (5, Scripted::ok("{}"), 200, true),
    ] {
        for (path, twin) in [(START, 0), ("/v1/traces", 100)] {
            let id = new_trace(number + twin);
            let request = |experiment| match twin {
                0 => start(&id, experiment),
                _ => spans(experiment, export(&[span(&id, 1, "s")])),
            };
            let now = scripted.clone();
            gateway.upstream.on("POST", path, move |_| now.clone());
            let answer = gateway.call(Who::Editor, request(A)).await;
            assert_eq!(answer.status, status, "{number} {path}: {}", answer.text());
            assert_eq!(owner(&gateway, &id).await.is_some(), kept, "{number} {path}");
            // Whoever comes next finds it free, or taken.
            gateway.upstream.on("POST", path, |_| Scripted::ok("{}"));
            let next = gateway.call(Who::Stranger, request(B)).await;
            assert_eq!(next.status, if kept { 403 } else { 200 }, "{number} {path}: {}", next.text());
        }
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_trace_that_is_older_than_the_gateway_is_its_owners() {
    let gateway = two_experiments().await;
    for (request, who) in [
        (start(&trace(B), A), Who::Editor),
        (spans(A, export(&[span(&trace(B), 1, "s")])), Who::Editor),
        (start(&trace(B), A), Who::Admin),
    ] {
        gateway.call(who, request).await.expect(403);
    }
    assert!(gateway.forwarded().is_empty());
    assert_eq!(owner(&gateway, &trace(B)).await.as_deref(), Some(B));
    // Its owner's writers go on writing it.
    gateway.call(Who::Stranger, spans(B, export(&[span(&trace(B), 2, "s")]))).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn while_an_owner_cannot_be_asked_for_nothing_is_claimed() {
    let gateway = two_experiments().await;
    let id = new_trace(1);
    gateway.upstream.on("GET", &format!("/api/3.0/mlflow/traces/{id}"), |_| Scripted::status(500, "x"));
    gateway.call(Who::Editor, start(&id, A)).await.expect(502);
    gateway.call(Who::Editor, spans(A, export(&[span(&id, 1, "s")]))).await.expect(502);
    assert_eq!(owner(&gateway, &id).await, None);
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_export_goes_on_without_the_spans_of_others() {
    let gateway = two_experiments().await;
    let (mine, theirs) = (new_trace(1), new_trace(2));
    gateway.call(Who::Stranger, start(&theirs, B)).await.expect(200);
    let mixed = export(&[
        span(&mine, 1, "mine-one"),
        span(&theirs, 9, "slipped-in-one"),
        span(&mine, 2, "mine-two"),
        span(&theirs, 8, "slipped-in-two"),
        span(&trace(B), 7, "slipped-in-three"),
    ]);
    for body in [spans(A, mixed.clone()), spans(A, gzip(&mixed)).header("Content-Encoding", "gzip")] {
        gateway.upstream.forget_requests();
        let answer = gateway.call(Who::Ingester, body).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
        // partial_success { rejected_spans: 3, error_message: … }, behind a length of two bytes.
        assert_eq!((answer.body[0], &answer.body[3..5]), (0x0a, &[0x08, 3][..]), "{:?}", answer.body);
        assert!(holds(&answer.body, &theirs) && holds(&answer.body, "trace.write"));
        let forwarded = &gateway.forwarded()[0];
        assert!(forwarded.header("content-encoding").is_empty());
        assert!(!holds(&forwarded.body, "slipped-in"));
        assert!(holds(&forwarded.body, "mine-one") && holds(&forwarded.body, "mine-two"));
        assert_eq!(forwarded.body, export(&[span(&mine, 1, "mine-one"), span(&mine, 2, "mine-two")]));
        let touched = gateway.records(&answer.decision_id()).await;
        let ids: Vec<String> = touched.into_iter().flat_map(|event| event.trace_ids).collect();
        assert!([&mine, &theirs, &trace(B)].iter().all(|id| ids.contains(id)), "{ids:?}");
    }
    // All of them others': nothing is left to forward.
    gateway.upstream.forget_requests();
    let answer = gateway.call(Who::Ingester, spans(A, export(&[span(&theirs, 9, "slipped-in")]))).await;
    assert_eq!(answer.expect(403).code(), "PERMISSION_DENIED");
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn json_exports_are_held_to_the_same() {
    let gateway = two_experiments().await;
    let span =
        |trace: &str, name: &str| json!({"traceId": &trace[3..], "spanId": "0102030405060708", "name": name});
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span(&new_trace(1), "mine"), span(&trace(B), "slipped-in")]}]}]});
    let request = Request::post("/v1/traces", &body).header("X-Mlflow-Experiment-Id", A);
    let answer = gateway.call(Who::Ingester, request).await.expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"].to_string().trim_matches('"'), "1", "{answer}");
    let forwarded = gateway.forwarded()[0].json().to_string();
    assert!(forwarded.contains("mine") && !forwarded.contains("slipped-in"), "{forwarded}");
    gateway.stop().await;
}

#[actix_rt::test]
async fn services_that_share_a_trace_write_into_it_where_they_may() {
    let gateway = two_experiments().await;
    let id = new_trace(1);
    gateway.call(Who::Ingester, spans(A, export(&[span(&id, 1, "root")]))).await.expect(200);
    gateway.call(Who::Stranger, spans(B, export(&[span(&id, 2, "child")]))).await.expect(403);
    gateway.grant(Who::Stranger, "experiment:1", "CAN_INGEST").await;
    gateway.call(Who::Stranger, spans(B, export(&[span(&id, 2, "child")]))).await.expect(200);
    assert_eq!(owner(&gateway, &id).await.as_deref(), Some(A));
    gateway.stop().await;
}

#[actix_rt::test]
async fn reserved_attributes_and_malformed_exports_are_refused() {
    let gateway = Gateway::start().await;
    let id = new_trace(1);
    let attribute = |key: &str| {
        otlp::field(
            9,
            &[otlp::field(1, key.as_bytes()), otlp::field(2, &otlp::field(1, b"file:///etc"))].concat(),
        )
    };
    let with = |key: &str| export(&[[span(&id, 1, "s"), attribute(key)].concat()]);
    gateway.call(Who::Editor, spans(A, with("mlflow.traceTag.mlflow.artifactLocation"))).await.expect(403);
    assert!(gateway.forwarded().is_empty());
    assert_eq!(owner(&gateway, &id).await, None);
    let mut cut = export(&[span(&id, 1, "s")]);
    cut.truncate(cut.len() - 3);
    for body in [
        cut,
        vec![0xff; 50],
        b"<html>".to_vec(),
        export(&[otlp::field(1, &[0; 16])]),
        export(&[otlp::field(1, &[1; 15])]),
    ] {
        gateway.call(Who::Editor, spans(A, body)).await.expect(400);
    }
    for (name, value) in
        [("Content-Encoding", "br"), ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip, gzip")]
    {
        gateway
            .call(Who::Editor, spans(A, export(&[span(&id, 1, "s")])).header(name, value))
            .await
            .expect(400);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = Request::new("POST", "/v1/traces")
            .header("Content-Type", kind)
            .header("X-Mlflow-Experiment-Id", A);
        gateway.call(Who::Editor, request.body(export(&[span(&id, 1, "s")]))).await.expect(400);
    }
    let nowhere = Request::new("POST", "/v1/traces").header("Content-Type", "application/x-protobuf");
    gateway.call(Who::Editor, nowhere.body(export(&[span(&id, 1, "s")]))).await.expect(400);
    assert!(gateway.forwarded().is_empty());
    assert_eq!(owner(&gateway, &id).await, None);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_bomb_is_refused_before_it_goes_off_upstream() {
    let gateway = Gateway::start_with(|config| config.limits.otlp_decompressed_bytes = 5_000_000).await;
    let id = new_trace(1);
    let name = "x".repeat(20_000_000);
    let bomb = gzip(&export(&[span(&id, 1, &name)]));
    assert!(bomb.len() < 200_000);
    let answer =
        gateway.call(Who::Editor, spans(A, bomb).header("Content-Encoding", "gzip")).await.expect(413);
    assert!(answer.text().contains("otlp_decompressed_bytes"), "{}", answer.text());
    assert!(gateway.forwarded().is_empty());
    assert_eq!(owner(&gateway, &id).await, None);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_large_export_is_spilled_and_arrives_whole() {
    let gateway = Gateway::start_with(|config| config.limits.spill_bytes = 10_000).await;
    let (mine, name) = (new_trace(1), "y".repeat(3_000_000));
    let body = export(&[span(&mine, 1, &name)]);
    gateway.call(Who::Editor, spans(A, body.clone())).await.expect(200);
    assert_eq!(gateway.forwarded()[0].body, body);
    gateway.upstream.forget_requests();
    let mixed = export(&[span(&mine, 2, &name), span(&trace(B), 1, &name)]);
    gateway.call(Who::Editor, spans(A, mixed)).await.expect(200);
    assert_eq!(gateway.forwarded()[0].body, export(&[span(&mine, 2, &name)]));
    // Spilled bodies leave nothing behind.
    let files: Vec<_> =
        std::fs::read_dir(gateway.data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{files:?}");
    gateway.stop().await;
}

#[actix_rt::test]
async fn the_id_that_an_old_server_mints_is_claimed_before_the_client_has_it() {
    let gateway = two_experiments().await;
    let minted = new_trace(77)[3..].to_owned();
    let id = minted.clone();
    gateway.upstream.on("POST", "/api/2.0/mlflow/traces", move |_| {
        let tags = json!([{"key": "mlflow.artifactLocation", "value": "x"}, {"key": "other", "value": "y"}]);
        Scripted::json(&json!({"trace_info": {"request_id": id, "experiment_id": A, "timestamp_ms": 1, "status": "IN_PROGRESS",
            "tags": tags, "request_metadata": [{"key": "k", "value": "v"}]}}))
    });
    // The server knows the trace by the time it is claimed.
    let known = trace_info(&minted, A);
    gateway.upstream.on("GET", &format!("/api/3.0/mlflow/traces/{minted}"), move |_| {
        Scripted::json(&json!({"trace": {"trace_info": known}}))
    });
    let start = Request::post("/api/2.0/mlflow/traces", &json!({"experiment_id": A, "timestamp_ms": 1}));
    let answer = gateway.call(Who::Ingester, start).await.expect(200);
    assert_eq!(owner(&gateway, &minted).await.as_deref(), Some(A));
    let info = answer.json()["trace_info"].clone();
    assert_eq!(info["request_id"], minted);
    assert_eq!(info["tags"], json!([{"key": "mlflow.artifactLocation", "value": "x"}]));
    assert_eq!(info.get("request_metadata"), None);
    let end = |who| {
        let body = json!({"request_id": minted, "timestamp_ms": 2, "status": "OK"});
        (who, Request::json("PATCH", &format!("/api/2.0/mlflow/traces/{minted}"), &body))
    };
    for ((who, request), status) in
        [(end(Who::Ingester), 200), (end(Who::Stranger), 403), (end(Who::Editor), 200)]
    {
        gateway.call(who, request).await.expect(status);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn whoever_starts_a_trace_blind_gets_back_what_it_sent() {
    let gateway = Gateway::start().await;
    let upstream_says = |id: String| {
        let mut info = trace_info(&id, A);
        info["tags"]["someone"] = json!("elses tag");
        Scripted::json(&json!({"trace": {"trace_info": info}}))
    };
    gateway.upstream.on("POST", START, move |request| {
        upstream_says(request.json()["trace"]["trace_info"]["trace_id"].as_str().unwrap().to_owned())
    });
    let id = new_trace(1);
    let answer = gateway.call(Who::Ingester, start(&id, A)).await.expect(200);
    let info = answer.json()["trace"]["trace_info"].clone();
    let keys: Vec<&String> = info.as_object().unwrap().keys().collect();
    assert!(
        keys.iter()
            .all(|key| ["trace_id", "trace_location", "trace_metadata", "tags"].contains(&key.as_str())),
        "{info}"
    );
    assert_eq!(info["tags"].as_object().unwrap().len(), 2, "{info}");
    assert!(
        !answer.text().contains("elses") && !answer.text().contains(crate::support::fake_mlflow::SECRET_A)
    );
    let reads = gateway.call(Who::Editor, start(&new_trace(2), A)).await.expect(200);
    assert!(reads.text().contains("elses tag"));
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_claim_outlives_a_restart_of_upstream_and_a_deletion() {
    let gateway = two_experiments().await;
    let id = new_trace(1);
    gateway.call(Who::Editor, start(&id, A)).await.expect(200);
    let delete = json!({"experiment_id": A, "request_ids": [id]});
    gateway
        .call(Who::Editor, Request::post("/api/3.0/mlflow/traces/delete-traces", &delete))
        .await
        .expect(200);
    gateway.call(Who::Stranger, start(&id, B)).await.expect(403);
    // Deleting one's own cannot take others' along.
    for ids in [json!([trace(B)]), json!([id, trace(B)])] {
        let body: Value = json!({"experiment_id": A, "request_ids": ids});
        gateway
            .call(Who::Editor, Request::post("/api/3.0/mlflow/traces/delete-traces", &body))
            .await
            .expect(403);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn upstream_is_asked_once_for_the_owner_of_a_new_trace() {
    let gateway = Gateway::start().await;
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let id = new_trace(1);
    let count = std::sync::Arc::clone(&asked);
    gateway.upstream.on("GET", &format!("/api/3.0/mlflow/traces/{id}"), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Scripted::missing()
    });
    for number in 1..6 {
        gateway.call(Who::Ingester, spans(A, export(&[span(&id, number, "s")]))).await.expect(200);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    gateway.stop().await;
}
