//! Pages: tokens are sealed for one caller and one search, listings are narrowed and still full, and
//! whoever may only list sees the allow-list and gets no oracle.

use std::collections::BTreeSet;

use base64::Engine;
use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, B, SECRET_A, SECRET_B, new_trace, run, secret, trace, trace_info};
use crate::support::fake_upstream::{Recorded, Scripted};
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;

const SEARCH: &str = "/api/3.0/mlflow/traces/search";

fn search(experiments: &[&str], more: Value) -> Request {
    let locations: Vec<Value> = experiments
        .iter()
        .map(|id| json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}}))
        .collect();
    let mut body = json!({"locations": locations, "max_results": 2});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post(SEARCH, &body)
}

#[actix_rt::test]
async fn a_page_token_is_its_callers_and_its_searches() {
    let gateway = Gateway::start().await;
    let raw = base64::engine::general_purpose::STANDARD.encode(r#"{"offset": 2}"#);
    let (page_token, path) = (raw.clone(), "/api/2.0/mlflow/runs/search");
    for path in [SEARCH, path] {
        let page_token = page_token.clone();
        gateway.upstream.on("POST", path, move |_| {
            Scripted::json(&json!({"traces": [trace_info(&trace(A), A)], "next_page_token": page_token}))
        });
    }
    let runs = |token: &str| Request::post(path, &json!({"experiment_ids": [A], "page_token": token}));
    let first = gateway.call(Who::Reader, search(&[A], json!({"filter": "status = 'OK'"}))).await.expect(200);
    let token = first.json()["next_page_token"].as_str().unwrap().to_owned();
    assert!(!first.text().contains(&raw) && token != raw);

    let with = |token: &str| search(&[A], json!({"filter": "status = 'OK'", "page_token": token}));
    gateway.upstream.forget_requests();
    gateway.call(Who::Reader, with(&token)).await.expect(200);
    assert_eq!(gateway.forwarded()[0].json()["page_token"], raw);

    let mut altered = token.clone().into_bytes();
    altered[30] = if altered[30] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let other_runs = gateway.call(Who::Reader, runs("")).await.expect(200);
    let of_runs = other_runs.json()["next_page_token"].as_str().unwrap().to_owned();
    gateway.upstream.forget_requests();
    for (who, request) in [
        (Who::Editor, with(&token)),
        (Who::Admin, with(&token)),
        (Who::Reader, with(&altered)),
        (Who::Reader, with(&token[..token.len() - 2])),
        (Who::Reader, with(&raw)),
        (Who::Reader, with("2")),
        (Who::Reader, with(&of_runs)),
        (Who::Reader, runs(&token)),
        (Who::Reader, search(&[A], json!({"page_token": token}))),
        (Who::Reader, search(&[A], json!({"filter": "status = 'ERROR'", "page_token": token}))),
        (Who::Reader, search(&[A], json!({"filter": "status = 'OK'", "page_token": 2}))),
    ] {
        let shown = String::from_utf8_lossy(&request.body).into_owned();
        let answer = gateway.call(who, request).await;
        assert_eq!(answer.status, 400, "{who:?} {shown}: {}", answer.text());
        assert!(answer.text().contains("page_token"));
    }
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}

#[actix_rt::test]
async fn every_operation_that_pages_seals_its_token() {
    let gateway = Gateway::start().await;
    let manifest = tracegate::classify::Manifest::builtin().unwrap();
    let mut seen = 0;
    for (operation, request) in crate::live_matrix::every_request(&manifest) {
        let page = json!({"next_page_token": "raw-token-of-upstream"});
        let path = request.target.split('?').next().unwrap().to_owned();
        gateway.upstream.on(&request.method, &path, move |_| Scripted::json(&page));
        let answer = gateway.call(Who::Admin, request.clone()).await;
        gateway.upstream.off(&request.method, &path);
        use tracegate::classify::Handling::{
            ExperimentSearch, ModelSearch, ModelVersionSearch, Page, TracePage,
        };
        let pages = matches!(
            operation.handling,
            Page | TracePage | ExperimentSearch | ModelSearch | ModelVersionSearch
        );
        if pages && request.method != "HEAD" {
            seen += 1;
            let sealed = answer.json()["next_page_token"].as_str().map(str::to_owned);
            // Narrowed listings read on until the cap, then give a token of their own.
            assert!(
                sealed.is_some_and(|sealed| !sealed.contains("raw-token")),
                "{}: {}",
                operation.name,
                answer.text()
            );
        }
    }
    assert!(seen >= 20, "{seen}");
    gateway.stop().await;
}

/// A listing that pages as MLflow does: its token is an offset, and the page's length is the request's.
fn paged(request: &Recorded, list: &str, entries: &[Value]) -> Scripted {
    let body = if request.method == "POST" { request.json() } else { Value::Null };
    let query = |key: &str| {
        let value = request.query().split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        value.map(|value| json!(value))
    };
    let field = |key: &str| body.get(key).cloned().or_else(|| query(key)).unwrap_or(Value::Null);
    let number = |value: Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let offset = number(field("page_token")).unwrap_or(0) as usize;
    let length = number(field("max_results")).unwrap_or(1000) as usize;
    let page: Vec<Value> = entries.iter().skip(offset).take(length).cloned().collect();
    let mut answer = json!({ list: page });
    if offset + length < entries.len() {
        answer["next_page_token"] = json!((offset + length).to_string());
    }
    Scripted::json(&answer)
}

fn experiments(count: u32) -> Vec<Value> {
    (1..=count)
        .map(|id| json!({"experiment_id": id.to_string(), "name": format!("e{id}"), "lifecycle_stage": "active"}))
        .collect()
}

/// Reads every page, with a page length that may change from page to page.
async fn read_all(gateway: &Gateway, who: Who, lengths: &[usize]) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = String::new();
    for length in lengths.iter().cycle().take(100) {
        let body = json!({"max_results": length, "page_token": token});
        let answer = gateway
            .call(who, Request::post("/api/2.0/mlflow/experiments/search", &body))
            .await
            .expect(200)
            .json();
        let ids = answer["experiments"].as_array().cloned().unwrap_or_default();
        pages.push(ids.iter().map(|entry| entry["experiment_id"].as_str().unwrap().to_owned()).collect());
        match answer["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return pages,
        }
    }
    panic!("the pages do not end: {pages:?}");
}

#[actix_rt::test]
async fn narrowed_pages_are_full_and_lose_nothing() {
    let gateway = Gateway::start().await;
    gateway.upstream.on("POST", "/api/2.0/mlflow/experiments/search", |request| {
        paged(request, "experiments", &experiments(60))
    });
    let mut mine = BTreeSet::from(["1".to_owned()]);
    for id in [3, 4, 5, 6, 7, 8, 20, 21, 33, 34, 35, 36, 37, 38, 39, 58, 60] {
        mine.insert(id.to_string());
        gateway.grant(Who::Reader, &format!("experiment:{id}"), "CAN_READ").await;
    }
    for lengths in [&[4_usize][..], &[1], &[100], &[7, 3], &[10, 2, 2], &[5, 1, 9]] {
        let pages = read_all(&gateway, Who::Reader, lengths).await;
        let all: Vec<&String> = pages.iter().flatten().collect();
        let unique: BTreeSet<String> = pages.iter().flatten().cloned().collect();
        assert_eq!(unique, mine, "{lengths:?}: {pages:?}");
        assert_eq!(all.len(), mine.len(), "twice: {lengths:?}: {pages:?}");
        for (page, length) in pages[..pages.len() - 1].iter().zip(lengths.iter().cycle()) {
            assert_eq!(page.len(), *length, "{lengths:?}: {pages:?}");
        }
    }
    // The administrator sees all of them, whatever their number.
    assert_eq!(read_all(&gateway, Who::Admin, &[25]).await.concat().len(), 60);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_listing_is_narrowed_before_upstream_where_its_filter_can_say_it() {
    let gateway = Gateway::start().await;
    let post = "/api/2.0/mlflow/experiments/search";
    gateway.grant(Who::Reader, "experiment:7", "CAN_READ").await;
    for (filter, sent) in [
        (None, "experiment_id IN ('1', '7')"),
        (Some("name LIKE 'x%'"), "name LIKE 'x%' AND experiment_id IN ('1', '7')"),
    ] {
        gateway.upstream.forget_requests();
        gateway.call(Who::Reader, Request::post(post, &json!({"filter": filter}))).await.expect(200);
        assert_eq!(gateway.forwarded()[0].json()["filter"], sent);
    }
    gateway.upstream.forget_requests();
    gateway.call(Who::Stranger, Request::post(post, &json!({}))).await.expect(200);
    assert_eq!(gateway.forwarded()[0].json()["filter"], "experiment_id IN ('-1')");
    gateway.upstream.forget_requests();
    gateway.call(Who::Reader, Request::get(&format!("{post}?max_results=10"))).await.expect(200);
    assert!(gateway.forwarded()[0].query().contains("experiment_id%20IN%20%28%271%27%2C%20%277%27%29"));
    // Whoever is granted the whole workspace is not narrowed.
    gateway.grant(Who::Stranger, "workspace:default", "CAN_LIST").await;
    gateway.upstream.forget_requests();
    let all = gateway.call(Who::Stranger, Request::post(post, &json!({}))).await.expect(200).json();
    assert_eq!(all["experiments"].as_array().unwrap().len(), 2);
    assert_eq!(gateway.forwarded()[0].json().get("filter"), None);
    gateway.stop().await;
}

/// A filter is an oracle if the answer differs when hidden things match it.
#[actix_rt::test]
async fn nothing_counts_what_is_hidden() {
    let gateway = Gateway::start().await;
    let models: Vec<Value> = (0..60).map(|number| json!({"name": format!("hidden-{number}")})).collect();
    let versions = models.clone();
    gateway.upstream.on("POST", "/api/2.0/mlflow/experiments/search", |request| {
        paged(request, "experiments", &experiments(50))
    });
    gateway.upstream.on("GET", "/api/2.0/mlflow/registered-models/search", move |request| {
        paged(request, "registered_models", &models)
    });
    gateway.upstream.on("GET", "/api/2.0/mlflow/model-versions/search", move |request| {
        paged(request, "model_versions", &versions)
    });
    let requests = || {
        [
            Request::post(
                "/api/2.0/mlflow/experiments/search",
                &json!({"max_results": 1, "filter": "name LIKE 'e%'"}),
            ),
            Request::get(
                "/api/2.0/mlflow/registered-models/search?max_results=1&filter=name+LIKE+%27hidden%25%27",
            ),
            Request::get("/api/2.0/mlflow/model-versions/search?max_results=1"),
            Request::get("/api/3.0/mlflow/scorers/online-configs?scorer_ids=x"),
        ]
    };
    let mut many = Vec::new();
    for request in requests() {
        many.push(gateway.call(Who::Stranger, request).await.expect(200).json());
    }
    for request in requests() {
        // Without a match MLflow writes nothing, or an empty list where it does not write protobuf.
        let list = if request.target.contains("online-configs") { json!({"configs": []}) } else { json!({}) };
        let path = request.target.split('?').next().unwrap().to_owned();
        gateway.upstream.on(&request.method, &path, move |_| Scripted::json(&list));
    }
    let mut none = Vec::new();
    for request in requests() {
        none.push(gateway.call(Who::Stranger, request).await.expect(200).json());
    }
    assert_eq!(many, none);
    gateway.stop().await;
}

#[actix_rt::test]
async fn models_versions_and_scorers_are_narrowed() {
    let gateway = Gateway::start().await;
    for (target, list) in [
        ("/api/2.0/mlflow/registered-models/search", "registered_models"),
        (
            "/ajax-api/2.0/mlflow/registered-models/search?filter=name+LIKE+%27model%25%27",
            "registered_models",
        ),
        ("/api/2.0/mlflow/model-versions/search", "model_versions"),
        ("/api/3.0/mlflow/scorers/online-configs?scorer_ids=x", "configs"),
    ] {
        let seen = gateway.call(Who::Reader, Request::get(target)).await.expect(200);
        assert_eq!(seen.json()[list].as_array().unwrap().len(), 1, "{target}");
        assert!(seen.text().contains(SECRET_A) && !seen.text().contains(SECRET_B), "{target}");
        let nothing = gateway.call(Who::Stranger, Request::get(target)).await.expect(200);
        let entries = nothing.json()[list].as_array().map_or(0, Vec::len);
        assert!(entries == 0 && !nothing.text().contains(SECRET_A), "{target}");
        let all = gateway.call(Who::Admin, Request::get(target)).await.expect(200);
        assert_eq!(all.json()[list].as_array().unwrap().len(), 2, "{target}");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn an_entry_that_does_not_say_what_it_is_stays_hidden() {
    let gateway = Gateway::start().await;
    let entry = json!({"description": SECRET_B});
    gateway.upstream.on("GET", "/api/2.0/mlflow/registered-models/search", move |_| {
        Scripted::json(&json!({"registered_models": [entry, {"name": 5, "x": SECRET_B}]}))
    });
    let models = gateway.call(Who::Reader, Request::get("/api/2.0/mlflow/registered-models/search")).await;
    assert!(!models.text().contains(SECRET_B));
    gateway.upstream.on("POST", "/api/2.0/mlflow/experiments/search", |_| {
        Scripted::json(&json!({"experiments": [{"name": "x", "tags": SECRET_B}]}))
    });
    let experiments =
        gateway.call(Who::Reader, Request::post("/api/2.0/mlflow/experiments/search", &json!({}))).await;
    assert!(!experiments.text().contains(SECRET_B) && experiments.status == 502);
    gateway.stop().await;
}

#[actix_rt::test]
async fn whoever_may_only_list_sees_the_allow_list() {
    let gateway = Gateway::start().await;
    let v2 = json!({"request_id": trace(A), "experiment_id": A, "timestamp_ms": 1, "execution_time_ms": 2, "status": "OK",
        "request_metadata": [{"key": "mlflow.traceInputs", "value": secret(A)}], "tags": [{"key": "k", "value": "v"}]});
    let pages =
        json!({"traces": [trace_info(&trace(A), A), {"trace_id": new_trace(3), "new_field": secret(A)}]});
    gateway.upstream.on("POST", SEARCH, move |_| Scripted::json(&pages));
    gateway.upstream.on("GET", "/api/2.0/mlflow/traces", move |_| Scripted::json(&json!({"traces": [v2]})));

    let listed = gateway.call(Who::Lister, search(&[A], json!({}))).await.expect(200);
    assert!(!listed.text().contains(SECRET_A), "{}", listed.text());
    let first = listed.json()["traces"][0].clone();
    let keys: BTreeSet<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    let allowed = [
        "trace_id",
        "trace_location",
        "request_time",
        "execution_duration",
        "state",
        "trace_metadata",
        "tags",
    ];
    assert_eq!(keys, BTreeSet::from(allowed));
    assert_eq!(first["trace_metadata"], json!({"mlflow.trace.sizeBytes": "100"}));
    assert_eq!(listed.json()["traces"][1], json!({"trace_id": new_trace(3)}));

    let old = Request::get(&format!("/api/2.0/mlflow/traces?experiment_ids={A}"));
    let listed = gateway.call(Who::Lister, old.clone()).await.expect(200);
    assert!(!listed.text().contains(SECRET_A) && listed.text().contains(&trace(A)), "{}", listed.text());
    for request in [search(&[A], json!({})), old] {
        assert!(gateway.call(Who::Reader, request).await.expect(200).text().contains(SECRET_A));
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_page_over_two_experiments_is_masked_for_the_one_that_is_only_listed() {
    let gateway = Gateway::start().await;
    gateway.grant(Who::Reader, "experiment:2", "CAN_LIST").await;
    gateway.upstream.on("POST", SEARCH, |_| {
        Scripted::json(&json!({"traces": [trace_info(&trace(A), A), trace_info(&trace(B), B)]}))
    });
    let page = gateway.call(Who::Reader, search(&[A, B], json!({}))).await.expect(200);
    assert!(page.text().contains(SECRET_A) && !page.text().contains(SECRET_B));
    gateway.call(Who::Lister, search(&[A, B], json!({}))).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_search_is_no_oracle_for_whoever_may_only_list() {
    let gateway = Gateway::start().await;
    gateway.upstream.on("POST", SEARCH, |_| Scripted::json(&json!({"traces": []})));
    for filter in [
        "trace.text LIKE '%secret%'",
        "tags.text LIKE '%secret%'",
        "attributes.text LIKE '%secret%'",
        "span.name = 'secret'",
        "span.content LIKE '%secret%'",
        "metadata.`mlflow.traceInputs` LIKE '%secret%'",
        "request_metadata.x = 'secret'",
        "feedback.good = 'true'",
        "expectation.x = 'secret'",
        "issue.id = 'x'",
        "prompt = 'a/1'",
        "run_id = 'x'",
        "request_preview LIKE '%x%'",
        "status = 'OK' AND trace.text LIKE '%secret%'",
        "status = 'OK'\nAND span.name = 'x'",
        "status = 'OK' OR trace.text LIKE '%x%'",
        "status = 'OK' -- AND",
        "status = 'a''b' AND x.y = 'z'",
    ] {
        let answer = gateway.call(Who::Lister, search(&[A], json!({"filter": filter}))).await;
        assert!(matches!(answer.status, 400 | 403), "{filter}: {}", answer.status);
    }
    for order in ["request_preview DESC", "metadata.x", "span.name", "feedback.good ASC"] {
        let answer = gateway.call(Who::Lister, search(&[A], json!({"order_by": [order]}))).await;
        assert!(matches!(answer.status, 400 | 403), "{order}: {}", answer.status);
    }
    let two = json!({"filter": "status = 'OK'", "order_by": ["timestamp_ms DESC", "metadata.x"]});
    gateway.call(Who::Lister, search(&[A], two)).await.expect(403);
    let query = format!("/api/2.0/mlflow/traces?experiment_ids={A}&filter=metadata.x%20%3D%20%27s%27");
    gateway.call(Who::Lister, Request::get(&query)).await.expect(403);
    let query = format!("/api/2.0/mlflow/traces?experiment_ids={A}&order_by=metadata.x");
    gateway.call(Who::Lister, Request::get(&query)).await.expect(403);
    for path in ["metrics", "calculate-filter-correlation"] {
        let request =
            Request::post(&format!("/api/3.0/mlflow/traces/{path}"), &json!({"experiment_ids": [A]}));
        gateway.call(Who::Lister, request).await.expect(403);
    }
    assert!(gateway.forwarded().is_empty());
    let fine = json!({"filter": "status = 'OK' AND tags.team = 'x'", "order_by": ["timestamp_ms DESC"]});
    gateway.call(Who::Lister, search(&[A], fine)).await.expect(200);
    let reader = search(&[A], json!({"filter": "trace.text LIKE '%x%'"}));
    gateway.call(Who::Reader, reader).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn model_versions_under_a_run_are_narrowed_in_graphql() {
    let gateway = Gateway::start().await;
    gateway.upstream.on("POST", "/graphql", |_| {
        let versions = json!([{"name": "model-a", "version": "1"}, {"name": "model-b", "version": SECRET_B}]);
        Scripted::json(&json!({"data": {"mlflowGetRun": {"run": {"modelVersions": versions}}}}))
    });
    let query = |run: &str| {
        let query = format!(
            "{{ mlflowGetRun(input: {{runId: \"{run}\"}}) {{ run {{ modelVersions {{ name version }} }} }} }}"
        );
        Request::post("/graphql", &json!({"query": query}))
    };
    let answer = gateway.call(Who::Reader, query(&run(A))).await.expect(200);
    assert!(answer.text().contains("model-a") && !answer.text().contains(SECRET_B), "{}", answer.text());
    gateway.upstream.forget_requests();
    gateway.call(Who::Reader, query(&run(B))).await.expect(403);
    let both = format!(
        "{{ a: mlflowGetRun(input: {{runId: \"{}\"}}) {{ run {{ info {{ runId }} }} }} b: mlflowGetRun(input: {{runId: \"{}\"}}) {{ run {{ info {{ runId }} }} }} }}",
        run(A),
        run(B)
    );
    gateway.call(Who::Reader, Request::post("/graphql", &json!({"query": both}))).await.expect(403);
    assert!(gateway.forwarded().is_empty());
    gateway.stop().await;
}
