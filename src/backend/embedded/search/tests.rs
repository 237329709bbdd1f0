use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::super::testing::TestStore;

const PATH: &str = "/api/3.0/mlflow/traces/search";

/// A store with a few traces, newest first `t9` … `t0`.
async fn filled() -> TestStore {
    let store = TestStore::open().await;
    for number in 0..10 {
        let state = if number % 3 == 0 { "ERROR" } else { "OK" };
        let session = if number < 4 { "s1" } else { "s2" };
        let tags = json!({
            "mlflow.traceName": format!("name {}", number % 2),
            "color": (["red", "Red", "blue"][number % 3]),
            "long": format!("{}{number}", "x".repeat(300)),
        });
        let metadata = json!({ "mlflow.trace.session": session, "mlflow.sourceRun": format!("run{number}") });
        trace(&store, number, 0, state, &tags, &metadata).await;
    }
    trace(&store, 20, 7, "OK", &json!({}), &json!({})).await;
    execute(&store, "INSERT INTO trace_links (trace_no, kind, target) VALUES (3, 'run', 'run7')").await;
    execute(&store, "INSERT INTO trace_links (trace_no, kind, target) VALUES (4, 'prompt', 'p/1')").await;
    for (id, trace, name, value, number, metadata) in [
        ("a1", 2, "score", "\"yes\"", "NULL", "NULL"),
        ("a2", 5, "score", "0.5", "0.5", "NULL"),
        ("a3", 1, "tone", "\"kind\"", "NULL", "'{\"mlflow.trace.session\": \"s1\"}'"),
    ] {
        execute(
            &store,
            &format!(
                "INSERT INTO assessments (assessment_id, trace_no, name, kind, value, source_type, metadata, \
                 aggregate_value, is_numeric_value, created_time, last_updated_time) VALUES ('{id}', {trace}, \
                 '{name}', 'feedback', '{value}', 'HUMAN', {metadata}, {number}, {number} IS NOT NULL, 1, 1)"
            ),
        )
        .await;
    }
    store
}

async fn execute(store: &TestStore, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(&store.shared.database.writer).await.unwrap();
}

async fn trace(
    store: &TestStore,
    number: usize,
    experiment: i64,
    state: &str,
    tags: &Value,
    metadata: &Value,
) {
    let writer = &store.shared.database.writer;
    if experiment != 0 {
        execute(
            store,
            &format!(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, \
                 creation_time, last_update_time) VALUES ({experiment}, 'e{experiment}', '', 'active', 0, 0)"
            ),
        )
        .await;
    }
    let time = 1000 + number as i64;
    let duration = (!number.is_multiple_of(4)).then_some(number as i64);
    sqlx::query(
        "INSERT INTO traces (trace_no, trace_id, experiment_id, request_time, duration, state, tags, metadata) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(number as i64)
    .bind(format!("t{number}"))
    .bind(experiment)
    .bind(time)
    .bind(duration)
    .bind(state)
    .bind(tags.to_string())
    .bind(metadata.to_string())
    .execute(writer)
    .await
    .unwrap();
    for (kind, map) in [(0, tags), (1, metadata)] {
        for (key, value) in map.as_object().unwrap() {
            let value: String = value.as_str().unwrap().chars().take(256).collect();
            sqlx::query("INSERT INTO trace_marks VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(number as i64)
                .bind(kind)
                .bind(key)
                .bind(value)
                .bind(experiment)
                .bind(time)
                .execute(writer)
                .await
                .unwrap();
        }
    }
    for (span, name) in ["root", "llm"].into_iter().enumerate() {
        let content = format!(
            "{{\"name\": \"{name}\", \"attributes\": {{\"model\": \"\\\"M{number}\\\"\", \"text\": \"Ümlaut word{number}\"}}}}"
        );
        sqlx::query(
            "INSERT INTO spans (trace_no, span_id, name, type, status, start_time, end_time, content) \
             VALUES ($1, $2, $3, $4, 'OK', $5, $6, $7)",
        )
        .bind(number as i64)
        .bind(format!("{span:016x}"))
        .bind(name)
        .bind(if span == 0 { "CHAIN" } else { "LLM" })
        .bind(time * 1_000_000)
        .bind(time * 1_000_000 + 5_000_000)
        .bind(content)
        .execute(writer)
        .await
        .unwrap();
    }
}

fn locations(experiments: &[&str]) -> Value {
    experiments
        .iter()
        .map(|id| json!({ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": id } }))
        .collect()
}

fn ids(answer: &Value) -> String {
    let traces = answer["traces"].as_array().cloned().unwrap_or_default();
    traces.iter().map(|trace| trace["trace_id"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

async fn found(store: &TestStore, filter: &str) -> String {
    let (status, answer) =
        store.post(PATH, json!({ "locations": locations(&["0"]), "filter": filter })).await;
    assert_eq!(status, 200, "{filter}: {answer}");
    ids(&answer)
}

#[actix_rt::test]
async fn filters_find_what_they_say() {
    let store = filled().await;
    for (filter, wanted) in [
        ("", "t9 t8 t7 t6 t5 t4 t3 t2 t1 t0"),
        ("status = 'ERROR'", "t9 t6 t3 t0"),
        ("status IN ('ERROR', 'x')", "t9 t6 t3 t0"),
        ("trace.status NOT IN ('ERROR')", "t8 t7 t5 t4 t2 t1"),
        ("status LIKE 'e%'", ""),
        ("status ILIKE 'e%'", "t9 t6 t3 t0"),
        ("timestamp > 1007", "t9 t8"),
        ("timestamp_ms >= 1007.5 AND timestamp < 1009", "t8"),
        ("trace.timestamp_ms = '1003'", "t3"),
        ("execution_time > 6", "t9 t7"),
        ("execution_time != 'x'", "t9 t7 t6 t5 t3 t2 t1"),
        ("end_time = 1008", "t8"),
        ("request_id = 't4'", "t4"),
        ("request_id IN ('t4', 't20', 't1')", "t4 t1"),
        ("request_id RLIKE '^t[12]$'", "t2 t1"),
        ("tags.color = 'red'", "t9 t6 t3 t0"),
        ("tags.color != 'red'", "t8 t7 t5 t4 t2 t1"),
        ("tags.color LIKE 'r%'", "t9 t6 t3 t0"),
        ("tags.color ILIKE 'r_d'", "t9 t7 t6 t4 t3 t1 t0"),
        ("tags.color RLIKE '^[rR]ed$'", "t9 t7 t6 t4 t3 t1 t0"),
        ("tags.`long` LIKE '%x7'", "t7"),
        ("tags.nothing IS NULL AND timestamp > 1008", "t9"),
        ("tags.color IS NOT NULL AND timestamp > 1008", "t9"),
        ("name = 'name 1'", "t9 t7 t5 t3 t1"),
        ("tags.Name = 'name 1' AND tags.color = 'red'", "t9 t3"),
        ("metadata.`mlflow.trace.session` = 's1'", "t3 t2 t1 t0"),
        ("run_id = 'run7'", "t7 t3"),
        ("run_id = 'run6'", "t6"),
        ("run_id != 'run6' AND timestamp > 1004", "t9 t8 t7 t5"),
        ("prompt = 'p/1'", "t4"),
        ("span.name = 'llm' AND span.type = 'CHAIN'", ""),
        ("span.name = 'llm' AND span.type = 'LLM' AND timestamp > 1008", "t9"),
        ("span.type LIKE 'C%' AND timestamp > 1008", "t9"),
        ("span.name RLIKE '^l' AND timestamp > 1008", "t9"),
        ("span.content LIKE '%word3%'", "t3"),
        ("span.content LIKE '%WORD3%'", ""),
        ("trace.text ILIKE '%WORD3%'", "t3"),
        ("tags.text LIKE '%Ümlaut word5\"%'", "t5"),
        ("span.attributes.model LIKE '%M4%'", "t4"),
        ("span.attributes.model RLIKE '^M[45]$'", "t5 t4"),
        ("span.attributes.model = 'M4'", ""),
        ("span.attributes.model != 'M4' AND timestamp > 1008", "t9"),
        ("feedback.score = 'yes'", "t2"),
        ("feedback.score != 'yes'", "t5"),
        ("feedback.score >= 0.5", "t5"),
        ("feedback.score RLIKE 'y.s'", "t2"),
        ("feedback.score IS NOT NULL", "t5 t2"),
        ("feedback.score IS NULL AND timestamp > 1004", "t9 t8 t7 t6"),
        // Said of a session, so of all its traces.
        ("feedback.tone = 'kind'", "t3 t2 t1 t0"),
        ("feedback.tone LIKE '%ind%'", "t3 t2 t1 t0"),
        ("feedback.tone IS NULL", "t9 t8 t7 t6 t5 t4"),
        ("expectation.tone = 'kind'", ""),
        ("issue.id = 'x'", ""),
    ] {
        assert_eq!(found(&store, filter).await, wanted, "{filter}");
    }
    let long = "x".repeat(300);
    assert_eq!(found(&store, &format!("tags.long = '{long}6'")).await, "t6");
    assert_eq!(found(&store, &format!("tags.long = '{long}'")).await, "");
    assert_eq!(found(&store, &format!("tags.long != '{long}6' AND timestamp > 1008")).await, "t9");
}

#[actix_rt::test]
async fn orders_are_total_and_pages_stable() {
    let store = filled().await;
    for (order, wanted) in [
        (json!(["timestamp"]), "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9"),
        (json!(["execution_time DESC"]), "t9 t7 t6 t5 t3 t2 t1 t8 t4 t0"),
        (json!(["execution_time"]), "t1 t2 t3 t5 t6 t7 t9 t8 t4 t0"),
        (json!(["status", "timestamp"]), "t0 t3 t6 t9 t1 t2 t4 t5 t7 t8"),
        (json!(["tags.color DESC"]), "t9 t6 t3 t0 t8 t5 t2 t7 t4 t1"),
        (json!(["name", "request_id DESC"]), "t8 t6 t4 t2 t0 t9 t7 t5 t3 t1"),
        (json!(["tags.nothing"]), "t9 t8 t7 t6 t5 t4 t3 t2 t1 t0"),
        (json!(["end_time DESC"]), "t9 t7 t6 t5 t8 t3 t4 t2 t1 t0"),
    ] {
        let body = json!({ "locations": locations(&["0"]), "order_by": order });
        let (_, whole) = store.post(PATH, body.clone()).await;
        assert_eq!(ids(&whole), wanted, "{order}");
        let mut pages = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut body = body.clone();
            body["max_results"] = json!(3);
            body["page_token"] = token;
            let (status, page) = store.post(PATH, body).await;
            assert_eq!(status, 200, "{page}");
            pages.push(ids(&page));
            token = page["next_page_token"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(pages.join(" "), wanted, "{order}");
    }
}

#[actix_rt::test]
async fn filtered_pages_go_on_where_they_ended() {
    let store = filled().await;
    for filter in [
        "span.content LIKE '%word%'",
        "tags.color RLIKE '.'",
        "metadata.`mlflow.trace.session` != ''",
        "span.name = 'root'",
        "tags.color != 'x'",
    ] {
        let mut all = Vec::new();
        let mut token = Value::Null;
        loop {
            let body = json!({
                "locations": locations(&["0", "7"]), "filter": filter, "max_results": 4, "page_token": token,
            });
            let (_, page) = store.post(PATH, body).await;
            all.push(ids(&page));
            token = page["next_page_token"].clone();
            if token.is_null() {
                break;
            }
        }
        let ten = "t9 t8 t7 t6 t5 t4 t3 t2 t1 t0";
        let spans = filter.starts_with("span");
        let wanted = if spans { format!("t20 {ten}") } else { ten.to_owned() };
        assert_eq!(all.join(" ").trim(), wanted, "{filter}");
    }
}

#[actix_rt::test]
async fn several_experiments_are_one_list() {
    let store = filled().await;
    let body = json!({ "locations": locations(&["7", "0", "99", "7"]), "max_results": 3 });
    let (_, answer) = store.post(PATH, body).await;
    assert_eq!(ids(&answer), "t20 t9 t8");
    let (status, answer) =
        store.get("/api/2.0/mlflow/traces?experiment_ids=0&experiment_ids=7&max_results=2").await;
    assert_eq!(status, 200);
    let requests: Vec<&Value> =
        answer["traces"].as_array().unwrap().iter().map(|t| &t["request_id"]).collect();
    assert_eq!(requests, ["t20", "t9"]);
}

#[actix_rt::test]
async fn what_cannot_be_searched_is_refused_with_its_place() {
    let store = filled().await;
    for (body, message) in [
        (json!({}), "Missing value for required parameter 'locations'."),
        (
            json!({"locations": [], "max_results": 501}),
            "Invalid value 501 for parameter 'max_results' supplied:",
        ),
        (
            json!({"locations": [], "max_results": 0}),
            "Invalid value 0 for parameter 'max_results' supplied. It must be",
        ),
        (json!({"locations": locations(&["x"])}), "Invalid experiment ID 'x'."),
        (json!({"locations": [], "page_token": "%a"}), "Invalid page token, could not base64-decode"),
        (json!({"locations": [], "page_token": "e30="}), "Invalid page token"),
        (json!({"locations": [], "order_by": ["span.name"]}), "Invalid identifier type 'span'"),
        (
            json!({"locations": [], "order_by": ["name", "name"]}),
            "`order_by` contains duplicate fields: ['name', 'name']",
        ),
        (json!({"locations": [], "order_by": [5]}), "Invalid value [5] for parameter 'order_by' supplied:"),
        (json!({"locations": [], "filter": "foo = 'x'"}), "Invalid attribute key 'foo' specified."),
        (json!({"locations": [], "filter": "foo.x = 'x'"}), "Invalid entity type 'foo'. Valid values are {"),
        (json!({"locations": [], "filter": "span.name like 'x'"}), "span.name comparator 'like' not one of"),
        (json!({"locations": [], "filter": "trace.text = 'x'"}), "span.content comparator '=' not one of"),
        (json!({"locations": [], "filter": "name IN ('a')"}), "Invalid comparator 'IN' not one of"),
        (
            json!({"locations": [], "filter": "feedback.x > 'a'"}),
            "Expected a numeric value for feedback when using comparator '>'. Got value 'a' (at character 14)",
        ),
        (json!({"locations": [], "filter": "tags.a RLIKE '('"}), "Invalid regular expression '('"),
        (
            json!({"locations": [], "filter": "status = 'OK' AND prompt = 'x'"}),
            "Invalid prompts filter value 'x'.",
        ),
        (
            json!({"locations": [], "filter": "metadata.`mlflow.trace.cost` LIKE 'x'"}),
            "Comparator 'LIKE' is not supported for reserved metadata",
        ),
        (json!({"locations": [], "filter": "a\u{0}"}), "A filter cannot hold the character U+0000"),
    ] {
        let (status, answer) = store.post(PATH, body.clone()).await;
        assert_eq!(status, 400, "{body}");
        let told = answer["message"].as_str().unwrap();
        assert!(told.starts_with(message), "{body}: {told}");
        assert_eq!(answer["error_code"], "INVALID_PARAMETER_VALUE");
    }
    // A token of another search.
    let (_, page) = store.post(PATH, json!({ "locations": locations(&["0"]), "max_results": 1 })).await;
    let body = json!({
        "locations": locations(&["0"]), "filter": "status = 'OK'", "page_token": page["next_page_token"],
    });
    assert_eq!(store.post(PATH, body).await.0, 400);
}

#[actix_rt::test]
async fn a_token_whose_row_is_gone_still_goes_on() {
    let store = filled().await;
    let body = json!({ "locations": locations(&["0"]), "max_results": 4 });
    let (_, page) = store.post(PATH, body.clone()).await;
    assert_eq!(ids(&page), "t9 t8 t7 t6");
    execute(&store, "DELETE FROM traces WHERE trace_no = 6").await;
    let mut next = body;
    next["page_token"] = page["next_page_token"].clone();
    assert_eq!(ids(&store.post(PATH, next).await.1), "t5 t4 t3 t2");
}

#[actix_rt::test]
async fn correlation_counts_both_filters() {
    let store = filled().await;
    let path = "/api/3.0/mlflow/traces/calculate-filter-correlation";
    let (status, answer) = store
        .post(
            path,
            json!({
                "experiment_ids": ["0"], "filter_string1": "status = 'ERROR'",
                "filter_string2": "span.content LIKE '%word9%'",
            }),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["filter1_count"], 4);
    assert_eq!(answer["filter2_count"], 1);
    assert_eq!(answer["joint_count"], 1);
    assert_eq!(answer["total_count"], 10);
    assert!((answer["npmi"].as_f64().unwrap() - 0.397_940_008_672_037_6).abs() < 1e-12);
    let body = json!({
        "experiment_ids": ["0"], "filter_string1": "status = 'ERROR'", "filter_string2": "status = 'x'",
        "base_filter": "timestamp > 1004",
    });
    let (_, answer) = store.post(path, body).await;
    assert_eq!(answer, json!({"filter1_count": 2, "filter2_count": 0, "joint_count": 0, "total_count": 5}));
}

#[actix_rt::test]
async fn metrics_are_grouped_and_aggregated() {
    let store = filled().await;
    let ask = async |body: Value| {
        let mut whole = json!({ "experiment_ids": ["0"], "view_type": "TRACES" });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let (status, answer) = store.post("/api/3.0/mlflow/traces/metrics", whole).await;
        assert_eq!(status, 200, "{answer}");
        answer["data_points"].as_array().cloned().unwrap_or_default()
    };
    let count = json!([{ "aggregation_type": "COUNT" }]);
    let point = |name: &str, dimensions: Value, values: Value| json!({ "metric_name": name, "dimensions": dimensions, "values": values });
    assert_eq!(
        ask(json!({ "metric_name": "trace_count", "aggregations": count, "dimensions": ["trace_status"] }))
            .await,
        [
            point("trace_count", json!({"trace_status": "ERROR"}), json!({"COUNT": 4.0})),
            point("trace_count", json!({"trace_status": "OK"}), json!({"COUNT": 6.0})),
        ]
    );
    let spread = json!([
        { "aggregation_type": "AVG" }, { "aggregation_type": "PERCENTILE", "percentile_value": 50 },
        { "aggregation_type": "MAX" }, { "aggregation_type": "PERCENTILE", "percentile_value": 99.5 },
    ]);
    assert_eq!(
        ask(json!({
            "metric_name": "latency", "aggregations": spread, "dimensions": ["trace_name"],
            "filters": ["trace.tag.color = 'red'"],
        }))
        .await,
        [
            point(
                "latency",
                json!({"trace_name": "name 0"}),
                json!({"AVG": 6.0, "P50.0": 6.0, "MAX": 6.0, "P99.5": 6.0})
            ),
            point(
                "latency",
                json!({"trace_name": "name 1"}),
                json!({"AVG": 6.0, "P50.0": 6.0, "MAX": 9.0, "P99.5": 8.969999999999999})
            ),
        ]
    );
    assert_eq!(
        ask(json!({
            "metric_name": "session_count", "aggregations": count, "time_interval_seconds": 1,
            "start_time_ms": 0, "end_time_ms": 1008, "filters": ["trace.status = 'OK'"],
        }))
        .await,
        [point("session_count", json!({"time_bucket": "1970-01-01T00:00:01+00:00"}), json!({"COUNT": 2.0}))]
    );
    assert_eq!(
        ask(json!({
            "view_type": "SPANS", "metric_name": "latency", "aggregations": [{ "aggregation_type": "AVG" }],
            "dimensions": ["span_name"], "filters": ["span.type = 'LLM'"],
        }))
        .await,
        [point("latency", json!({"span_name": "llm"}), json!({"AVG": 5.0}))]
    );
    assert_eq!(
        ask(json!({
            "view_type": "ASSESSMENTS", "metric_name": "assessment_count", "aggregations": count,
            "dimensions": ["assessment_name", "assessment_value"], "filters": ["assessment.name = 'score'"],
        }))
        .await,
        [
            point(
                "assessment_count",
                json!({"assessment_name": "score", "assessment_value": "\"yes\""}),
                json!({"COUNT": 1.0})
            ),
            point(
                "assessment_count",
                json!({"assessment_name": "score", "assessment_value": "0.5"}),
                json!({"COUNT": 1.0})
            ),
        ]
    );
    assert_eq!(
        ask(json!({ "metric_name": "trace_count", "aggregations": count, "experiment_ids": [] })).await,
        [json!({ "metric_name": "trace_count", "values": { "COUNT": 0.0 } })]
    );
}
