//! Searches: which runs, in which order, page by page.

use super::*;

/// Runs a, b, c and d in experiment 0, started one after the other.
async fn world() -> (TestStore, Vec<String>) {
    let store = TestStore::open().await;
    let mut ids = Vec::new();
    for (place, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        ids.push(create(&store, json!({"run_name": name, "start_time": place})).await);
    }
    let batch = |run: usize, value: Value, param: &str, tag: &str| {
        json!({
            "run_id": ids[run], "metrics": [{"key": "my metric", "value": value, "timestamp": 1}],
            "params": [{"key": "p", "value": param}], "tags": [{"key": "t", "value": tag}],
        })
    };
    done(&store, "runs/log-batch", batch(0, json!(1.5), "x1", "Tag")).await;
    done(&store, "runs/log-batch", batch(1, json!("NaN"), "x2", "tag")).await;
    done(&store, "runs/log-batch", batch(2, json!(-3), "y", "tug")).await;
    done(&store, "runs/update", json!({"run_id": ids[3], "status": "FINISHED", "end_time": 9})).await;
    (store, ids)
}

#[tokio::test]
async fn filters_look_at_all_that_a_run_has() {
    let (store, ids) = world().await;
    let dataset = json!({"name": "data", "digest": "g", "source_type": "s", "source": "x"});
    let tags = json!([{"key": "mlflow.data.context", "value": "train"}]);
    let datasets = json!([{"tags": tags, "dataset": dataset}]);
    done(&store, "runs/log-inputs", json!({"run_id": ids[0], "datasets": datasets})).await;
    let by_id = format!("run_id IN ('{}', '{}')", ids[1], ids[3]);
    for (filter, expected) in [
        ("metrics.`my metric` > 0", "a"),
        ("metrics.\"my metric\" < 100", "ca"),
        ("metrics.`my metric` != 1.5", "cb"),
        ("metrics.`my metric` = 0", ""),
        ("params.p LIKE 'x%'", "ba"),
        ("params.p LIKE 'X%'", ""),
        ("params.p ILIKE 'X%' AND tags.t = 'tag'", "b"),
        ("tags.t LIKE 't_g'", "cb"),
        ("tags.t != 'tag'", "ca"),
        ("params.p IS NULL", "d"),
        ("tags.t IS NOT NULL", "cba"),
        ("status = 'FINISHED'", "d"),
        ("attributes.end_time >= 9", "d"),
        ("start_time < 2 AND created > 0", "b"),
        ("run_name = 'c'", "c"),
        ("dataset.name = 'data' AND dataset.context = 'train'", "a"),
        ("dataset.digest IN ('z', 'g')", "a"),
        (by_id.as_str(), "db"),
        ("run_name = 'a' AND run_name = 'b'", ""),
    ] {
        let names = found(&store, json!({"filter": filter})).await;
        assert_eq!(names.concat(), expected, "{filter}");
    }
}

#[tokio::test]
async fn orders_put_what_has_no_value_last_and_what_is_no_number_before_it() {
    let (store, _) = world().await;
    for (order, expected) in [
        (json!([]), "dcba"),
        (json!(["metrics.`my metric`"]), "cabd"),
        (json!(["metrics.`my metric` DESC"]), "acbd"),
        (json!(["params.p"]), "abcd"),
        (json!(["params.p desc"]), "cbad"),
        (json!(["tags.t"]), "abcd"),
        (json!(["end_time", "start_time"]), "dabc"),
        (json!(["end_time DESC"]), "dcba"),
        (json!(["status DESC", "run_name"]), "abcd"),
    ] {
        assert_eq!(found(&store, json!({"order_by": order})).await.concat(), expected, "{order}");
        // Page by page it is the same, while runs come that were before the place that was reached.
        let mut search = json!({"experiment_ids": ["0"], "order_by": order, "max_results": 1});
        let mut paged = String::new();
        while let answer = done(&store, "runs/search", search.clone()).await
            && !names(&answer).is_empty()
        {
            paged += &names(&answer).concat();
            search["page_token"] = answer["next_page_token"].clone();
            if search["page_token"].is_null() {
                break;
            }
        }
        assert_eq!(paged, expected, "{order}");
    }
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_runs_come() {
    let (store, _) = world().await;
    let mut search = json!({"experiment_ids": ["0"], "max_results": 2});
    let first = done(&store, "runs/search", search.clone()).await;
    create(&store, json!({"run_name": "late", "start_time": 99})).await;
    search["page_token"] = first["next_page_token"].clone();
    let second = done(&store, "runs/search", search.clone()).await;
    assert_eq!([names(&first), names(&second)].concat().concat(), "dcba");
    assert_eq!(second["next_page_token"], Value::Null);
    search["filter"] = json!("status = 'RUNNING'");
    assert_eq!(post(&store, "runs/search", search).await.0, 400);
}

#[tokio::test]
async fn a_view_shows_active_deleted_or_all_runs() {
    let (store, ids) = world().await;
    done(&store, "runs/delete", json!({"run_id": ids[1]})).await;
    for (view, expected) in [
        (json!(null), "dca"),
        (json!("ACTIVE_ONLY"), "dca"),
        (json!("DELETED_ONLY"), "b"),
        (json!("ALL"), "dcba"),
        (json!(3), "dcba"),
        (json!("no such"), "dca"),
    ] {
        let names = found(&store, json!({"run_view_type": view})).await;
        assert_eq!(names.concat(), expected, "{view}");
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_understood_is_refused_with_the_reason() {
    let store = TestStore::open().await;
    for (search, reason) in [
        (json!({"filter": "metrics.m > 'x'"}), "Expected numeric value type for metric. Found 'x'"),
        (json!({"filter": "a = 1 OR b = 2"}), "Invalid clause(s) in filter string: 'OR'"),
        (json!({"filter": "what.m = 'x'"}), "Invalid entity type 'what'"),
        (json!({"filter": "tags.t > 'x'"}), "Invalid comparator '>' not one of"),
        (json!({"filter": "status IN ('x')"}), "Only ['run_id'] attributes support comparison with a list"),
        (json!({"order_by": ["nowhere"]}), "Invalid attribute key 'nowhere' specified"),
        (json!({"order_by": ["metrics.m", "metrics.m desc"]}), "`order_by` contains duplicate fields"),
        (json!({"max_results": 0}), "Invalid value 0 for parameter 'max_results' supplied"),
        (json!({"max_results": 50_001}), "Invalid value 50001 for parameter 'max_results' supplied"),
        (json!({"experiment_ids": ["x"]}), "Invalid experiment ID 'x'"),
    ] {
        let mut search = search;
        if search["experiment_ids"].is_null() {
            search["experiment_ids"] = json!(["0"]);
        }
        let (status, body) = post(&store, "runs/search", search).await;
        assert_eq!(status, 400, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with(reason), "{message}");
    }
}
