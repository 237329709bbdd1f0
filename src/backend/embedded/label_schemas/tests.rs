use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;
use crate::wire::Method;

const AT: &str = "/api/3.0/mlflow/label-schemas";

async fn create(store: &TestStore, name: &str, kind: Value, input: Value) -> (u16, Value) {
    let body = json!({"experiment_id": "0", "name": name, "type": kind, "input": input});
    store.post(&format!("{AT}/create"), body).await
}

#[tokio::test]
async fn a_question_is_made_found_changed_and_deleted() {
    let store = TestStore::open().await;
    let input = json!({"categorical": {"options": ["a", "b"], "multiSelect": true}});
    let (status, made) = create(&store, "Which?", json!("EXPECTATION"), input).await;
    let made = &made["label_schema"];
    assert_eq!((status, made["type"].as_str(), made.get("instruction")), (200, Some("EXPECTATION"), None));
    assert_eq!(made["input"], json!({"categorical": {"options": ["a", "b"], "multi_select": true}}));
    let id = made["schema_id"].as_str().unwrap();
    assert_eq!(store.get(&format!("{AT}/get?schema_id={id}")).await.1["label_schema"], *made);
    let named = store.get(&format!("{AT}/get-by-name?experiment_id=0&name=Which?")).await.1;
    assert_eq!(named["label_schema"], *made);
    let again = create(&store, "Which?", json!(1), json!({"text": {}})).await;
    assert_eq!((again.0, &again.1["error_code"]), (400, &json!("RESOURCE_ALREADY_EXISTS")));

    store.clock.advance(5);
    create(&store, "Other", json!(1), json!({"numeric": {"min_value": 1}})).await;
    let update = async |change: Value| {
        let mut body = change;
        body["schema_id"] = json!(id);
        store.call(Method::Patch, &format!("{AT}/update"), body).await
    };
    assert_eq!(update(json!({"name": "Other"})).await.1["error_code"], "RESOURCE_ALREADY_EXISTS");
    assert_eq!(update(json!({"input": {"text": {}}})).await.0, 400);
    assert_eq!(update(json!({"input": {"categorical": {"options": ["c"]}}})).await.0, 400);
    let changed = update(json!({
        "name": "What?",
        "enableComment": true,
        "input": {"categorical": {"options": ["c"], "multi_select": true}},
    }));
    let changed = changed.await.1["label_schema"].clone();
    assert_eq!((&changed["name"], &changed["enable_comment"]), (&json!("What?"), &json!(true)));
    assert_eq!(changed["input"]["categorical"]["options"], json!(["c"]));
    assert!(changed["last_updated_at"].as_i64() > changed["created_at"].as_i64());

    for _ in 0..2 {
        let deleted = store.call(Method::Delete, &format!("{AT}/delete"), json!({ "schema_id": id })).await;
        assert_eq!(deleted, (200, json!({})));
    }
    assert_eq!(store.get(&format!("{AT}/get?schema_id={id}")).await.0, 404);
}

#[tokio::test]
async fn every_experiment_has_a_question_that_stays_as_it_is() {
    let store = TestStore::open().await;
    store.clock.advance(1);
    let list = async |more: &str| store.get(&format!("{AT}/list?experiment_id=0{more}")).await;
    let (status, listed) = list("").await;
    let default = listed["label_schemas"][0].clone();
    assert_eq!((status, &default["name"], &default["is_default"]), (200, &json!("Feedback"), &json!(true)));
    assert_eq!(list("").await.1, listed);
    let id = json!({ "schema_id": default["schema_id"], "instruction": "other" });
    assert_eq!(store.call(Method::Patch, &format!("{AT}/update"), id.clone()).await.0, 400);
    assert_eq!(store.call(Method::Delete, &format!("{AT}/delete"), id).await.0, 400);
    assert_eq!(create(&store, " feedback ", json!(1), json!({"text": {}})).await.0, 400);

    for number in 0..4 {
        store.clock.advance(1);
        create(&store, &format!("q{number}"), json!("FEEDBACK"), json!({"text": {}})).await;
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("&max_results=2&page_token={token}")).await.1;
        let page_names = page["label_schemas"].as_array().unwrap().iter().map(|one| one["name"].clone());
        names.extend(page_names);
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
        // What comes meanwhile shifts nothing.
        store.clock.advance(1);
        create(&store, &format!("late{}", names.len()), json!(1), json!({"text": {}})).await;
    }
    assert_eq!(names, ["q3", "q2", "q1", "q0", "Feedback"]);
    assert_eq!(list("&max_results=0").await.0, 400);
    assert_eq!(list("&page_token=%21").await.0, 400);
    assert_eq!(store.get(&format!("{AT}/list?experiment_id=9")).await.0, 404);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_refused_in_mlflows_words() {
    let store = TestStore::open().await;
    for (input, message) in [
        (
            json!({}),
            "Label schema `input` must have exactly one of `pass_fail`, `categorical`, `numeric`, or `text` set; got an empty oneof.",
        ),
        (json!({"text": {"max_length": 0}}), "`InputText.max_length` must be at least 1; got 0."),
        (
            json!({"numeric": {"min_value": 1, "max_value": 0.5}}),
            "`InputNumeric.min_value` must be strictly less than `max_value`; got min=1.0, max=0.5.",
        ),
        (
            json!({"pass_fail": {"positive_label": "x"}}),
            "`InputPassFail.negative_label` must be a non-empty string; got ''.",
        ),
        (
            json!({"pass_fail": {"positive_label": "x", "negative_label": "x"}}),
            "`InputPassFail.positive_label` and `negative_label` must be distinct; got 'x' for both.",
        ),
        (
            json!({"categorical": {"options": []}}),
            "`InputCategorical.options` must be a non-empty list; got [].",
        ),
        (
            json!({"categorical": {"options": ["a'b", "a'b"]}}),
            "`InputCategorical.options` must be deduplicated; \"a'b\" appears twice.",
        ),
        (
            json!({"text": {}, "numeric": {}}),
            "Label schema `input` must have exactly one of `pass_fail`, `categorical`, `numeric`, or `text` set; got several.",
        ),
    ] {
        let (status, refused) = create(&store, "q", json!(1), input).await;
        assert_eq!((status, &refused["message"]), (400, &json!(message)));
    }
    for kind in [Value::Null, json!("XX"), json!(3)] {
        let (status, refused) = create(&store, "q", kind, json!({"text": {}})).await;
        let message = "Label schema `type` must be one of FEEDBACK or EXPECTATION; got proto enum value 0.";
        assert_eq!((status, &refused["message"]), (400, &json!(message)));
    }
}
