//! The record: who saw or did what is on the disk before it happens, with every id, and nothing more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::live_matrix::every_request;
use crate::support::callers::Who;
use crate::support::fake_mlflow::{self, A, B, SECRET_A, SECRET_B, new_trace, run, trace, trace_info};
use crate::support::fake_upstream::Scripted;
use crate::support::gateway::{AGENT, Gateway, UPSTREAM_TOKEN, holds, spool_bytes};
use crate::support::raw_http::Request;
use crate::support::{logs, otlp};
use tracegate::access::{EventKind, Outcome, Verdict};
use tracegate::audit::{Known, verify};
use tracegate::classify::{Handling, Manifest};
use tracegate::store::audit_index::{AuditQuery, Subject};

const SEARCH: &str = "/api/3.0/mlflow/traces/search";

fn search() -> Request {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    Request::post(SEARCH, &json!({"locations": [location], "max_results": 500}))
}

#[actix_rt::test]
async fn a_page_of_500_leaves_500_ids_before_it_is_released() {
    let gateway = Gateway::start().await;
    let ids: BTreeSet<String> = (0..500).map(new_trace).collect();
    let traces: Vec<Value> = ids.iter().map(|id| trace_info(id, A)).collect();
    let page = json!({"traces": traces});
    gateway.upstream.on("POST", SEARCH, move |_| Scripted::json(&page));
    for who in [Who::Reader, Who::Lister] {
        let answer = gateway.call(who, search()).await.expect(200);
        // As the disk is now, without waiting for anything.
        let spool = gateway.spool_bytes();
        assert!(ids.iter().all(|id| holds(&spool, id)));
        assert_eq!(answer.json()["traces"].as_array().unwrap().len(), 500);
        let records = gateway.records(&answer.decision_id()).await;
        let kinds: Vec<EventKind> = records.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Begin, EventKind::Complete]);
        assert_eq!(records[0].trace_ids.iter().cloned().collect::<BTreeSet<String>>(), ids);
        assert_eq!(records[1].outcome, Outcome::Success);
        assert_eq!(records[1].bytes_out, answer.body.len() as u64);
        let found =
            gateway.query(&AuditQuery { trace_id: Some(new_trace(499)), ..AuditQuery::default() }).await;
        assert!(found.iter().any(|event| event.principal == Some(who.principal().to_string())));
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn reads_by_id_record_what_was_asked_for_and_so_do_refusals() {
    let gateway = Gateway::start().await;
    gateway.grant(Who::Reader, "experiment:2", "CAN_READ").await;
    let (a, b) = (trace(A), trace(B));
    let both = vec![a.clone(), b.clone()];
    let old_info = format!("/api/2.0/mlflow/traces/{a}/info");
    for (request, ids) in [
        (Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={a}")), vec![a.clone()]),
        (Request::get(&format!("/api/3.0/mlflow/traces/{a}")), vec![a.clone()]),
        (Request::get(&old_info), vec![a.clone()]),
        (Request::get(&format!("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={b}")), vec![b.clone()]),
        (Request::get(&format!("/api/3.0/mlflow/traces/batchGet?trace_ids={a}&trace_ids={b}")), both.clone()),
        (Request::post("/api/3.0/mlflow/traces/batchGetInfos", &json!({"trace_ids": both})), both.clone()),
        (
            Request::get(&format!(
                "/api/2.0/mlflow-artifacts/artifacts/{A}/traces/{a}/artifacts/traces.json"
            )),
            vec![a.clone()],
        ),
    ] {
        for (who, status, verdict) in
            [(Who::Reader, 200, Verdict::Allow), (Who::Stranger, 403, Verdict::Deny)]
        {
            let answer = gateway.call(who, request.clone()).await.expect(status);
            assert!(ids.iter().all(|id| holds(&gateway.spool_bytes(), id)));
            let last = gateway.ended(&answer.decision_id()).await;
            let records = gateway.records(&answer.decision_id()).await;
            let first = &records[0];
            let recorded: BTreeSet<&String> = first.trace_ids.iter().collect();
            assert_eq!(recorded, ids.iter().collect(), "{who:?} {}", request.target);
            assert_eq!(first.decision, verdict);
            assert_eq!(first.principal, Some(who.principal().to_string()));
            assert_eq!(first.privileges, ["trace.read"]);
            assert!(first.securables.contains(&format!("experiment:{}", if ids[0] == a { A } else { B })));
            assert_eq!(
                (first.request.user_agent.as_deref(), first.request.source_address.as_deref()),
                (Some(AGENT), Some("127.0.0.1"))
            );
            assert_eq!(first.deciding_grants.is_empty(), status == 403);
            assert_eq!(last.status, Some(status));
            assert_eq!(last.reason.is_some(), status == 403);
        }
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn whatever_is_refused_early_is_recorded_too() {
    let gateway = Gateway::start().await;
    for (principal, request, status, operation) in [
        (None, Request::get("/api/2.0/mlflow/runs/get?run_id=x"), 401, "run.get"),
        (Some("user:reader"), Request::get("/nowhere"), 404, "unknown"),
        (None, Request::get("/api/2.0/mlflow/../x"), 400, "unknown"),
        (None, Request::new("BREW", "/"), 404, "unknown"),
        (Some("user:reader"), Request::get("/api/2.0/mlflow/runs/get"), 400, "run.get"),
        (
            Some("user:reader"),
            Request::post("/api/2.0/mlflow/artifacts/presigned-upload-url", &json!({})),
            501,
            "artifact.presign_upload",
        ),
    ] {
        // What cannot be read says nothing of its sender either.
        let who = if status == 401 { Who::Anonymous } else { Who::Reader };
        let answer = gateway.call(who, request).await.expect(status);
        let records = gateway.records(&answer.decision_id()).await;
        assert_eq!(records.len(), 1, "{records:?}");
        let record = &records[0];
        assert_eq!((record.operation.as_str(), record.status), (operation, Some(status)));
        assert_eq!((record.decision, record.outcome), (Verdict::Deny, Outcome::Refused));
        assert_eq!(record.principal.as_deref(), principal);
    }
    gateway.stop().await;
}

/// How often a path is in the spool: each record of a call has it once.
fn records_of(spool: &[u8], path: &str) -> usize {
    let text = format!("\"path\":\"{path}\"");
    spool.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

/// For every operation that changes anything, at the moment upstream sees it.
#[actix_rt::test]
async fn the_intent_of_a_change_is_on_the_disk_before_upstream_sees_it() {
    let gateway = Gateway::start().await;
    let directory = gateway.audit_directory();
    // Path of the call that is made, how often it was recorded before, and what upstream found.
    let under_way: Arc<Mutex<(String, usize, Vec<bool>)>> = Arc::default();
    let seen = Arc::clone(&under_way);
    gateway.upstream.otherwise(move |request| {
        if request.header("user-agent").contains(&AGENT) {
            let mut state = seen.lock().unwrap();
            let now = records_of(&spool_bytes(&directory), &state.0);
            let recorded = now > state.1;
            state.2.push(recorded);
        }
        fake_mlflow::answer(request)
    });
    let manifest = Manifest::builtin().unwrap();
    let (mut tried, mut late) = (0, Vec::new());
    for (operation, request) in every_request(&manifest) {
        if !operation.mutates || operation.handling == Handling::Own || request.method == "HEAD" {
            continue;
        }
        let path = request.target.split('?').next().unwrap().trim_end_matches('/').replace("%3A", ":");
        *under_way.lock().unwrap() = (path.clone(), records_of(&gateway.spool_bytes(), &path), Vec::new());
        gateway.call(Who::Admin, request).await;
        let found = under_way.lock().unwrap().2.clone();
        tried += found.len();
        if found.contains(&false) {
            late.push(format!("{} {path}", operation.name));
        }
    }
    assert!(late.is_empty(), "{late:#?}");
    assert!(tried > 150, "{tried}");
    gateway.stop().await;
}

#[actix_rt::test]
async fn policy_changes_say_what_was_before_and_after() {
    let gateway = Gateway::start().await;
    let changes = async |decision_id: String| {
        let records = gateway.records(&decision_id).await;
        let changes: Vec<_> =
            records.into_iter().filter(|event| event.kind == EventKind::PolicyChange).collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].policy_version > 0 && changes[0].principal.is_some());
        changes[0].policy_change.clone().unwrap()
    };
    let grant = json!({"principal": "user:stranger", "securable": "experiment:1", "privilege": "CAN_READ", "reason": "review"});
    let made =
        gateway.call(Who::Manager, Request::post("/api/tracegate/v1/grants", &grant)).await.expect(200);
    let change = changes(made.decision_id()).await;
    assert_eq!((change.action.as_str(), &change.before), ("grant.add", &Value::Null));
    assert_eq!((&change.after["privilege"], &change.after["reason"]), (&json!("CAN_READ"), &json!("review")));
    assert!(holds(&gateway.spool_bytes(), "review"));

    let id = made.json()["grant"]["id"].clone();
    let withdrawn =
        gateway.call(Who::Manager, Request::new("DELETE", &format!("/api/tracegate/v1/grants/{id}"))).await;
    let change = changes(withdrawn.expect(200).decision_id()).await;
    assert_eq!((change.action.as_str(), &change.after), ("grant.remove", &Value::Null));
    assert_eq!(change.before["id"], id);

    let member = Request::new("PUT", "/api/tracegate/v1/groups/group%3Ateam/members/user%3Areader");
    let change = changes(gateway.call(Who::Admin, member).await.expect(200).decision_id()).await;
    assert_ne!(change.before, change.after);

    gateway
        .upstream
        .on("POST", "/api/2.0/mlflow/experiments/create", |_| Scripted::json(&json!({"experiment_id": "2"})));
    let create = Request::post("/api/2.0/mlflow/experiments/create", &json!({"name": "mine"}));
    let change = changes(gateway.call(Who::Stranger, create).await.expect(200).decision_id()).await;
    assert_eq!(
        (&change.after["principal"], &change.after["securable"]),
        (&json!("user:stranger"), &json!("experiment:2"))
    );
    gateway.stop().await;
}

#[actix_rt::test]
async fn no_token_and_no_payload_is_in_the_record_or_the_log() {
    const SAID: &str = "what-a-person-said-to-the-model";
    let gateway = Gateway::start().await;
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": A}});
    let info = json!({"trace_id": new_trace(1), "trace_location": location, "request_preview": SAID, "tags": {"note": SAID}});
    let assessment = json!({"assessment": {"trace_id": trace(A), "assessment_name": "x", "rationale": SAID, "feedback": {"value": SAID}}});
    let span = otlp::span(&new_trace(2), 1, SAID);
    let export = |body: Vec<u8>| {
        Request::new("POST", "/v1/traces")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Mlflow-Experiment-Id", A)
            .body(body)
    };
    let artifact = format!("/api/2.0/mlflow-artifacts/artifacts/{A}/{}/artifacts/x", run(A));
    let requests = vec![
        Request::post("/api/3.0/mlflow/traces", &json!({"trace": {"trace_info": info}})),
        Request::post(&format!("/api/3.0/mlflow/traces/{}/assessments", trace(A)), &assessment),
        Request::json(
            "PATCH",
            &format!("/api/3.0/mlflow/traces/{}/tags", trace(A)),
            &json!({"key": "k", "value": SAID}),
        ),
        Request::post(
            SEARCH,
            &json!({"locations": [location], "filter": format!("trace.text LIKE '%{SAID}%'")}),
        ),
        Request::post(SEARCH, &json!({"locations": [location], "filter": format!("nonsense {SAID}")})),
        Request::get(&format!("/api/2.0/mlflow/traces?experiment_ids={A}&filter=x%3D%27{SAID}%27")),
        Request::get(&format!("/nowhere?{SAID}")),
        Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A))),
        Request::post(
            "/api/2.0/mlflow/runs/log-parameter",
            &json!({"run_id": run(A), "key": "k", "value": SAID}),
        ),
        Request::new("POST", "/api/3.0/mlflow/traces").body(format!("{{\"{SAID}")),
        Request::new("POST", "/api/3.0/mlflow/traces").body(format!("\"{SAID}\"")),
        Request::new("PUT", &artifact).body(SAID),
        Request::get(&artifact),
        export(otlp::export(std::slice::from_ref(&span))),
        export(otlp::export(&[span[..span.len() - 3].to_vec()])),
        Request::get("/").header("Cookie", SAID),
    ];
    for request in requests {
        for who in [Who::Editor, Who::Lister, Who::Stranger, Who::Anonymous] {
            gateway.call(who, request.clone()).await;
        }
    }
    // A credential that fails, one that is none, and one that was just issued.
    for authorization in ["Bearer not-the-right-token", "Basic bm90LXRoZTpyaWdodC10b2tlbg=="] {
        Request::get("/").header("Authorization", authorization).send(gateway.address).await.expect(401);
    }
    let issued = Request::post("/api/tracegate/v1/tokens", &json!({"name": "mine"}));
    let issued =
        gateway.call(Who::Editor, issued).await.expect(200).json()["token"].as_str().unwrap().to_owned();
    gateway.app.records.flush(Duration::from_secs(20)).await.unwrap();
    // Who the end users of the traces are is kept beside the record, until it is erased.
    gateway.app.flush_subjects().await.unwrap();
    // Nobody came near a trace of the other experiment.
    for (user, known) in [(SECRET_A, true), (SECRET_B, false)] {
        let subject = Subject { key: "mlflow.trace.user".to_owned(), value: user.to_owned() };
        let erased = gateway.app.records.index().erase_subject(&subject).await.unwrap();
        assert_eq!(erased > 0, known, "{user}");
    }

    let mut places = vec![("the log".to_owned(), logs::collected().into_bytes())];
    for entry in walk(gateway.data.path()) {
        places.push((entry.display().to_string(), std::fs::read(&entry).unwrap()));
    }
    assert!(places.len() > 3 && places.iter().any(|(name, _)| name.ends_with(".seg")));
    let mut secrets: Vec<String> = Who::ALL[..8].iter().map(|who| gateway.token(*who).to_owned()).collect();
    secrets.extend(
        [SAID, SECRET_A, SECRET_B, UPSTREAM_TOKEN, "not-the-right-token", "right-token"].map(str::to_owned),
    );
    secrets.push(issued);
    for (place, bytes) in &places {
        for secret in &secrets {
            assert!(!holds(bytes, secret), "`{secret}` is in {place}");
        }
    }
    let stored = places.iter().any(|(_, bytes)| holds(bytes, "user:editor"));
    assert!(stored, "the search finds what is there");
    gateway.stop().await;
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[actix_rt::test]
async fn the_chain_of_a_busy_gateway_verifies() {
    let gateway = Gateway::start().await;
    let calls = (0..60).map(|number| {
        let who = Who::ALL[number % 9];
        let request =
            Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace([A, B][number % 2])));
        gateway.call(who, request)
    });
    let answers = futures_util::future::join_all(calls).await;
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.decision_id()).collect();
    assert_eq!(ids.len(), 60);
    gateway.app.records.flush(Duration::from_secs(20)).await.unwrap();
    let (app, data) = (Arc::clone(&gateway.app), gateway.audit_directory());
    app.records.close().await.unwrap();
    let verified = verify(&data, Known::default(), &mut |_| {}).unwrap();
    assert!(verified.closed && verified.last_seq >= 60, "{verified:?}");
    let spool = gateway.spool_bytes();
    assert!(ids.iter().all(|id| holds(&spool, id)));
    gateway.stop().await;
}

#[actix_rt::test]
async fn the_record_is_for_those_who_may_read_it_and_reading_it_is_recorded() {
    let gateway = Gateway::start().await;
    gateway
        .call(Who::Reader, Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A))))
        .await;
    let ask = || Request::get(&format!("/api/tracegate/v1/audit/events?trace_id={}", trace(A)));
    for who in [Who::Manager, Who::Reader, Who::Stranger] {
        let answer = gateway.call(who, ask()).await.expect(403);
        assert!(!answer.text().contains("user:reader` on") && answer.json().get("events").is_none());
    }
    let answer = gateway.call(Who::Admin, ask()).await.expect(200);
    let events = answer.json()["events"].as_array().unwrap().clone();
    assert!(
        events.iter().any(|event| event["principal"] == "user:reader" && event["operation"] == "trace.get"),
        "{events:?}"
    );
    let records = gateway.records(&answer.decision_id()).await;
    assert_eq!(records[0].operation, "tracegate.audit.events");
    gateway.stop().await;
}
