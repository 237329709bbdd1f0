//! Histories of metrics, whole, in pages and in samples.

use super::*;

/// A run whose metric `m` has as many values, three to a step.
async fn measured(store: &TestStore, count: i64) -> String {
    let id = create(store, json!({"experiment_id": "0"})).await;
    let metrics: Vec<Value> = (0..count)
        .map(|n| json!({"key": "m", "value": n % 7, "timestamp": 1000 + n, "step": n / 3}))
        .collect();
    done(store, "runs/log-batch", json!({"run_id": id, "metrics": metrics})).await;
    id
}

async fn times(store: &TestStore, target: &str) -> (Vec<i64>, Option<String>) {
    let (status, body) = store.get(&format!("{API}/metrics/{target}")).await;
    assert_eq!(status, 200, "{body}");
    let metrics = body["metrics"].as_array().cloned().unwrap_or_default();
    let times = metrics.iter().map(|metric| metric["timestamp"].as_i64().unwrap()).collect();
    (times, body["next_page_token"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn pages_of_a_history_neither_repeat_nor_skip_while_it_grows() {
    let store = TestStore::open().await;
    let id = measured(&store, 10).await;
    let target = format!("get-history?run_id={id}&metric_key=m");
    assert_eq!(times(&store, &target).await, ((1000..1010).collect(), None));
    let (first, token) = times(&store, &format!("{target}&max_results=4")).await;
    assert_eq!(first, [1000, 1001, 1002, 1003]);
    let late = json!({"run_id": id, "key": "m", "value": 1, "timestamp": 5});
    done(&store, "runs/log-metric", late).await;
    let next = format!("{target}&max_results=4&page_token={}", token.unwrap());
    let (second, token) = times(&store, &next).await;
    assert_eq!(second, [1004, 1005, 1006, 1007]);
    let last = format!("{target}&max_results=4&page_token={}", token.unwrap());
    assert_eq!(times(&store, &last).await, (vec![1008, 1009], None));
    for bad in ["&max_results=0", "&max_results=-1", "&page_token=x"] {
        assert_eq!(store.get(&format!("{API}/metrics/{target}{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_sample_has_the_first_and_the_last_value_and_no_more_than_asked_for() {
    let store = TestStore::open().await;
    let id = measured(&store, 100).await;
    for size in [1, 2, 3, 7, 50, 99] {
        let target = format!("get-history-bulk-interval?run_ids={id}&metric_key=m&max_results={size}");
        let (sampled, _) = times(&store, &target).await;
        assert_eq!(sampled.len(), size);
        assert_eq!(sampled.last(), Some(&1099));
        assert!(size == 1 || sampled[0] == 1000);
        assert!(sampled.is_sorted());
    }
    let whole = format!("get-history-bulk-interval?run_ids={id}&metric_key=m");
    assert_eq!(times(&store, &whole).await.0.len(), 100);
    let (steps, _) = times(&store, &format!("{whole}&start_step=3&end_step=4")).await;
    assert_eq!(steps, (1009..1015).collect::<Vec<_>>());
    let twice = format!("get-history-bulk-interval?run_ids={id}&run_ids={id}&metric_key=m&max_results=2");
    assert_eq!(times(&store, &twice).await.0, [1000, 1099, 1000, 1099]);
}

#[tokio::test]
async fn the_web_ui_gets_a_bare_nan() {
    let store = TestStore::open().await;
    let id = create(&store, json!({})).await;
    let metric = json!({"run_id": id, "key": "m", "value": "NaN", "timestamp": 5, "step": 3});
    done(&store, "runs/log-metric", metric).await;
    let target = format!("/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={id}&metric_key=m");
    let none = crate::wire::Body::Empty;
    let reply = store.send(crate::wire::Method::Get, &target, &[], None, none).await;
    let text = String::from_utf8(crate::backend::embedded::testing::bytes_of(reply).await).unwrap();
    let expected = format!(
        "{{\"metrics\":[{{\"key\":\"m\",\"run_id\":\"{id}\",\"step\":3,\"timestamp\":5,\"value\":NaN}}]}}"
    );
    assert_eq!(text, expected);
}
