use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;
use crate::wire::Method;

const AT: &str = "/api/3.0/mlflow/datasets";

async fn create(store: &TestStore, name: &str, more: Value) -> Value {
    let mut body = json!({"name": name, "experiment_ids": ["0"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, made) = store.post(&format!("{AT}/create"), body).await;
    assert_eq!(status, 200, "{made}");
    made["dataset"].clone()
}

async fn upsert(store: &TestStore, id: &str, records: Value) -> (u16, Value) {
    store.post(&format!("{AT}/{id}/records"), json!({ "records": records.to_string() })).await
}

async fn records(store: &TestStore, id: &str, more: &str) -> (Vec<Value>, Option<String>) {
    let (status, page) = store.get(&format!("{AT}/{id}/records{more}")).await;
    assert_eq!(status, 200);
    let token = page.get("next_page_token").map(|token| token.as_str().unwrap().to_owned());
    (serde_json::from_str(page["records"].as_str().unwrap()).unwrap(), token)
}

#[tokio::test]
async fn a_dataset_says_what_it_holds() {
    let store = TestStore::open().await;
    let made =
        create(&store, "d", json!({"tags": r#"{"a": "é", "mlflow.user": "bob", "n": 5, "x": null}"#})).await;
    let id = made["dataset_id"].as_str().unwrap();
    assert_eq!(made["tags"], r#"{"a": "\u00e9", "mlflow.user": "bob", "n": "5"}"#);
    assert_eq!((&made["created_by"], &made["experiment_ids"]), (&json!("bob"), &json!(["0"])));
    assert_eq!((made.get("schema"), made.get("profile")), (None, None));
    assert_eq!(made["digest"].as_str().unwrap().len(), 8);

    store.clock.advance(1000);
    let batch = json!([
        {"inputs": {"q": "x", "n": 1.5}, "expectations": {"e": true}, "tags": {"mlflow.user": "al"}},
        {"inputs": {"q": "y"}, "outputs": "plain"},
    ]);
    assert_eq!(upsert(&store, id, batch).await, (200, json!({"inserted_count": 2, "updated_count": 0})));
    let dataset = store.get(&format!("{AT}/{id}")).await.1["dataset"].clone();
    let schema = r#"{"inputs": {"q": "string", "n": "float"}, "outputs": "string", "expectations": {"e": "boolean"}, "version": "1.0"}"#;
    assert_eq!((&dataset["schema"], &dataset["profile"]), (&json!(schema), &json!(r#"{"num_records": 2}"#)));
    assert_eq!((&dataset["created_by"], &dataset["last_updated_by"]), (&json!("bob"), &json!("al")));
    assert_ne!(dataset["digest"], made["digest"]);

    let all: Vec<Value> =
        records(&store, id, "").await.0.iter().map(|record| record["dataset_record_id"].clone()).collect();
    let delete = async |ids: Value| {
        let body = json!({ "dataset_record_ids": ids });
        store.call(Method::Delete, &format!("{AT}/{id}/records"), body).await.1
    };
    assert_eq!(delete(json!([all[0], "other"])).await, json!({"deleted_count": 1}));
    let profile = async || store.get(&format!("{AT}/{id}")).await.1["dataset"]["profile"].clone();
    assert_eq!(profile().await, r#"{"num_records": 1}"#);
    assert_eq!(delete(json!([all[1]])).await, json!({"deleted_count": 1}));
    assert_eq!(profile().await, "null");

    for _ in 0..2 {
        assert_eq!(store.call(Method::Delete, &format!("{AT}/{id}"), Value::Null).await, (200, json!({})));
    }
    let (status, gone) = store.get(&format!("{AT}/{id}")).await;
    let message = format!("Evaluation dataset with id '{id}' not found");
    assert_eq!((status, &gone["message"]), (404, &json!(message)));
}

#[tokio::test]
async fn records_with_the_same_inputs_are_one() {
    let store = TestStore::open().await;
    let id = create(&store, "d", json!({})).await["dataset_id"].as_str().unwrap().to_owned();
    let source = json!({"source_type": "trace", "source_data": {"trace_id": "tr-1"}});
    let first = json!([
        {"inputs": {"a": 1, "b": 2}, "expectations": {"e": 1}, "tags": {"t": "u"}, "source": source},
        {"inputs": {"b": 2, "a": 1}, "expectations": {"f": [1]}, "outputs": {"o": 1}},
    ]);
    assert_eq!(upsert(&store, &id, first).await.1, json!({"inserted_count": 1, "updated_count": 1}));
    store.clock.advance(10);
    let second = json!([{"inputs": {"a": 1, "b": 2}, "tags": {"mlflow.user": "al"}, "outputs": null}]);
    assert_eq!(upsert(&store, &id, second).await.1, json!({"inserted_count": 0, "updated_count": 1}));
    let (mut found, _) = records(&store, &id, "").await;
    let record = found.pop().unwrap();
    assert!(found.is_empty());
    assert_eq!(
        (&record["inputs"], &record["expectations"]),
        (&json!({"a": 1, "b": 2}), &json!({"e": 1, "f": [1]}))
    );
    assert_eq!(record["tags"], json!({"t": "u", "mlflow.user": "al"}));
    assert_eq!((record.get("outputs"), record.get("created_by")), (None, None));
    assert_eq!((&record["last_updated_by"], &record["source_id"]), (&json!("al"), &json!("tr-1")));
    assert_eq!(record["source"], json!({"source_type": "TRACE", "source_data": {"trace_id": "tr-1"}}));
    assert!(record["last_update_time"].as_i64() > record["created_time"].as_i64());

    for (bad, message) in [
        (json!("xx"), "`records` must be the text of a JSON array"),
        (json!([5]), "Record 0 must be an object"),
        (json!([{"inputs": 5}]), "`inputs` of record 0 must be an object"),
        (json!([{}, {"inputs": null}]), "`inputs` of record 1 must be provided"),
        (
            json!([{"source": {"source_type": "nope"}}]),
            "Invalid dataset record source type: NOPE. Valid source types: ['UNSPECIFIED', 'TRACE', 'HUMAN', 'DOCUMENT', 'CODE']",
        ),
    ] {
        let (status, refused) = upsert(&store, &id, bad).await;
        assert_eq!((status, &refused["message"]), (400, &json!(message)));
    }
    assert_eq!(records(&store, &id, "").await.0.len(), 1);
    assert_eq!(upsert(&store, "d-none", json!([{}])).await.0, 404);
    assert_eq!(records(&store, "d-none", "").await, (vec![], None));
}

#[tokio::test]
async fn many_records_come_back_in_their_order_page_by_page() {
    let store = TestStore::open().await;
    let id = create(&store, "d", json!({})).await["dataset_id"].as_str().unwrap().to_owned();
    let many: Vec<Value> = (0..1200).map(|n| json!({"inputs": {"n": n}})).collect();
    assert_eq!(upsert(&store, &id, json!(many)).await.1["inserted_count"], 1200);
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = records(&store, &id, &format!("?max_results=500&page_token={token}")).await;
        found.extend(page);
        let Some(next) = next else { break };
        // `=` and `+` are for the query to encode.
        token = next.replace('=', "%3D").replace('+', "%2B");
    }
    let numbers: Vec<i64> = found.iter().map(|record| record["inputs"]["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..1200).collect::<Vec<_>>());
    assert_eq!(store.get(&format!("{AT}/{id}/records?page_token=x")).await.0, 400);
}

#[tokio::test]
async fn datasets_are_found_by_what_is_known_of_them() {
    let store = TestStore::open().await;
    for (name, tags) in
        [("alpha", r#"{"k": "1"}"#), ("beta", r#"{"k": "2", "mlflow.user": "bob"}"#), ("Beta", "{}")]
    {
        store.clock.advance(10);
        create(&store, name, json!({ "tags": tags })).await;
    }
    let search = async |body: Value| {
        let (status, page) = store.post(&format!("{AT}/search"), body).await;
        let names: Vec<String> = page["datasets"]
            .as_array()
            .map(|all| all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect())
            .unwrap_or_default();
        (status, names, page)
    };
    let names = async |filter: &str| search(json!({ "filter_string": filter })).await.1;
    assert_eq!(search(json!({})).await.1, ["Beta", "beta", "alpha"]);
    assert_eq!(
        search(json!({"experiment_ids": ["0"], "order_by": ["name"]})).await.1,
        ["Beta", "alpha", "beta"]
    );
    assert_eq!(search(json!({"experiment_ids": ["7"]})).await.2, json!({}));
    assert_eq!(names("name LIKE 'b%'").await, ["beta"]);
    assert_eq!(names("name ILIKE 'b%'").await, ["Beta", "beta"]);
    assert_eq!(names("name IN ('alpha', 'Beta')").await, ["Beta", "alpha"]);
    assert_eq!(names("tags.k != '1' AND created_by = 'bob'").await, ["beta"]);
    assert_eq!(names("created_time > 5 AND tags.`k` = '1'").await, ["alpha"]);
    for (filter, message) in [
        ("foo = 'x'", "Invalid attribute key 'foo' specified."),
        (
            "created_time > 'abc'",
            "Expected numeric value type for numeric attribute: created_time. Found 'abc'",
        ),
        ("created_time > 5.5", "Invalid value for numeric attribute 'created_time': '5.5'"),
        ("tags.a > '1'", "Invalid comparator for tag: >"),
        ("params.x = '1'", "Invalid identifier token 'params' specified"),
        ("name = 'a' OR name = 'b'", "Invalid clause(s) in filter string: OR"),
        ("name", "Invalid clause(s) in filter string: name"),
    ] {
        let (status, _, refused) = search(json!({ "filter_string": filter })).await;
        assert_eq!(status, 400);
        assert!(refused["message"].as_str().unwrap().starts_with(message), "{refused}");
    }
    assert_eq!(search(json!({"order_by": ["tags.k"]})).await.2["message"], "Invalid order_by entity: tag");
    let message = "Invalid value -1 for parameter 'max_results' supplied. It must be a positive integer";
    assert_eq!(search(json!({"max_results": -1})).await.2["message"], message);

    let first = search(json!({"max_results": 2})).await.2;
    let rest = search(json!({"max_results": 2, "page_token": first["next_page_token"]})).await;
    assert_eq!((rest.1, rest.2.get("next_page_token")), (vec!["alpha".to_owned()], None));
    let by_get = store.get(&format!("{AT}/search?experiment_ids=0&max_results=1")).await.1;
    assert_eq!(by_get["datasets"][0]["name"], "Beta");
}

#[tokio::test]
async fn a_dataset_is_in_the_experiments_that_it_was_added_to() {
    let store = TestStore::open().await;
    sqlx::query(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, \
         last_update_time) VALUES (5, 'five', 'x', 'active', 1, 1)",
    )
    .execute(&store.shared.database.writer)
    .await
    .unwrap();
    let id = create(&store, "d", json!({})).await["dataset_id"].as_str().unwrap().to_owned();
    let change = async |how: &str, ids: Value| {
        store.post(&format!("{AT}/{id}/{how}-experiments"), json!({ "experiment_ids": ids })).await
    };
    let ids = async || store.get(&format!("{AT}/{id}/experiment-ids")).await.1;
    store.clock.advance(1);
    let added = change("add", json!(["5", "0"])).await.1;
    assert_eq!((&added["dataset"]["name"], added["dataset"].get("experiment_ids")), (&json!("d"), None));
    assert_eq!(ids().await, json!({"experiment_ids": ["0", "5"]}));
    assert_eq!(change("add", json!(["9"])).await.1["message"], "No Experiment with id=9");
    assert_eq!(change("remove", json!(["0", "7"])).await.0, 200);
    assert_eq!(ids().await, json!({"experiment_ids": ["5"]}));
    change("remove", json!(["5"])).await;
    assert_eq!(ids().await, json!({}));
    let (status, refused) =
        store.post(&format!("{AT}/create"), json!({"name": "n", "experiment_ids": ["9"]})).await;
    assert_eq!((status, &refused["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")));

    let tags = async |text: &str| {
        store.call(Method::Patch, &format!("{AT}/{id}/tags"), json!({ "tags": text })).await.0
    };
    assert_eq!(
        (tags(r#"{"a": true, "b": null}"#).await, tags("[1]").await, tags("{").await),
        (200, 400, 400)
    );
    let dataset = async || store.get(&format!("{AT}/{id}")).await.1["dataset"]["tags"].clone();
    assert_eq!(dataset().await, r#"{"a": "True"}"#);
    store.call(Method::Delete, &format!("{AT}/{id}/tags/a"), Value::Null).await;
    assert_eq!(dataset().await, "{}");
}
