use serde_json::{Value, json};

use crate::backend::embedded::testing::TestStore;

const AT: &str = "/api/3.0/mlflow/review-queues";

async fn post(store: &TestStore, what: &str, body: Value) -> (u16, Value) {
    store.post(&format!("{AT}/{what}"), body).await
}

async fn custom(store: &TestStore, name: &str, more: Value) -> (u16, Value) {
    let mut body = json!({"experiment_id": "0", "name": name, "queue_type": "CUSTOM"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(store, "create", body).await
}

async fn traces(store: &TestStore, ids: &[&str]) {
    for id in ids {
        let trace =
            "INSERT INTO traces (trace_id, experiment_id, request_time, state) VALUES ($1, 0, 1, 'OK')";
        sqlx::query(trace).bind(id).execute(&store.shared.database.writer).await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_is_made_found_changed_and_deleted() {
    let store = TestStore::open().await;
    let (status, made) = custom(&store, " Q1 ", json!({"users": [" Bob ", "al", "bob"]})).await;
    let made = made["review_queue"].clone();
    assert_eq!((status, &made["name"], &made["users"]), (200, &json!("Q1"), &json!(["al", "bob"])));
    assert_eq!((made.get("created_by"), made.get("schema_ids")), (None, None));
    assert_eq!(custom(&store, "q1", json!({})).await.1["error_code"], "RESOURCE_ALREADY_EXISTS");
    let id = made["queue_id"].as_str().unwrap();
    assert_eq!(store.get(&format!("{AT}/get?queue_id={id}")).await.1["review_queue"], made);
    let named = store.get(&format!("{AT}/get-by-name?experiment_id=0&name=Q1")).await.1;
    assert_eq!(named["review_queue"], made);

    let user = post(&store, "get-or-create-user", json!({"experiment_id": "0", "user": " Eve "})).await.1;
    let again = post(&store, "get-or-create-user", json!({"experiment_id": "0", "user": "eve"})).await.1;
    assert_eq!(user, again);
    assert_eq!(user["review_queue"]["created_by"], "eve");
    let clash = post(&store, "get-or-create-user", json!({"experiment_id": "0", "user": "q1"})).await;
    assert_eq!(clash.1["error_code"], "RESOURCE_ALREADY_EXISTS");

    let schemas = store.get("/api/3.0/mlflow/label-schemas/list?experiment_id=0").await.1;
    let schema = schemas["label_schemas"][0]["schema_id"].clone();
    let update = async |change: Value| {
        let mut body = change;
        body["queue_id"] = json!(id);
        post(&store, "update", body).await
    };
    let changed = update(json!({
        "name": "q1", "new_owner": " Me ", "update_users": true, "users": ["z"],
        "update_schema_ids": true, "schema_ids": [schema],
    }));
    let changed = changed.await.1["review_queue"].clone();
    assert_eq!((&changed["name"], &changed["created_by"]), (&json!("q1"), &json!("Me")));
    assert_eq!((&changed["users"], &changed["schema_ids"]), (&json!(["z"]), &json!([schema])));
    assert_eq!(update(json!({})).await.1["review_queue"], changed);
    assert_eq!(update(json!({"name": "EVE"})).await.1["error_code"], "RESOURCE_ALREADY_EXISTS");
    let strange = update(json!({"update_schema_ids": true, "schema_ids": ["y", "it's"]})).await;
    let message = "Label schema id(s) ['y', \"it's\"] not found for experiment '0'.";
    assert_eq!((strange.0, &strange.1["message"]), (400, &json!(message)));
    let eve = json!({"queue_id": user["review_queue"]["queue_id"], "name": "x"});
    assert_eq!(post(&store, "update", eve).await.0, 400);

    let listed = store.get(&format!("{AT}/list?experiment_id=0&user=Z")).await.1;
    assert_eq!(listed, json!({"review_queues": [changed], "next_page_token": ""}));
    let first = store.get(&format!("{AT}/list?experiment_id=0&max_results=1")).await.1;
    let token = first["next_page_token"].as_str().unwrap();
    let rest = store.get(&format!("{AT}/list?experiment_id=0&max_results=1&page_token={token}")).await.1;
    assert_eq!((rest["review_queues"].as_array().unwrap().len(), &rest["next_page_token"]), (1, &json!("")));
    for _ in 0..2 {
        assert_eq!(post(&store, "delete", json!({ "queue_id": id })).await, (200, json!({})));
    }
    assert_eq!(store.get(&format!("{AT}/get?queue_id={id}")).await.0, 404);
}

#[tokio::test]
async fn items_are_traces_of_the_experiment_and_are_done_once() {
    let store = TestStore::open().await;
    traces(&store, &["tr-1", "tr-2"]).await;
    let id = custom(&store, "q", json!({})).await.1["review_queue"]["queue_id"].as_str().unwrap().to_owned();
    let add =
        async |items: Value| post(&store, "items/add", json!({"queue_id": id, "item_ids": items})).await;
    let (status, strange) = add(json!(["tr-1", "tr-9"])).await;
    let message = format!(
        "Cannot attach trace(s) ['tr-9'] to review queue '{id}': they do not exist in experiment '0'."
    );
    assert_eq!((status, &strange["message"]), (404, &json!(message)));
    let added = add(json!(["tr-2", " tr-1 ", "tr-2"])).await.1;
    assert_eq!(added["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&added["items"][0]["item_id"], &added["items"][0]["status"]),
        (&json!("tr-2"), &json!("PENDING"))
    );
    assert_eq!(add(json!([])).await.0, 400);

    let set = async |status: &str, by: Value| {
        let body = json!({"queue_id": id, "item_id": "tr-1", "status": status, "completed_by": by});
        post(&store, "items/set-status", body).await
    };
    assert_eq!(set("COMPLETE", Value::Null).await.0, 400);
    store.clock.advance(3);
    let done = set("COMPLETE", json!(" Al ")).await.1["item"].clone();
    assert_eq!(
        (&done["completed_by"], &done["completed_time_ms"]),
        (&json!("al"), &done["last_update_time_ms"])
    );
    store.clock.advance(3);
    assert_eq!(set("COMPLETE", json!("bob")).await.1["item"], done);
    assert_eq!(add(json!(["tr-1"])).await.1["items"], json!([done]));
    let list =
        async |status: &str| store.get(&format!("{AT}/items/list?queue_id={id}&status={status}")).await.1;
    assert_eq!(list("COMPLETE").await, json!({"items": [done], "next_page_token": ""}));
    assert_eq!(list("DECLINED").await, json!({"next_page_token": ""}));
    assert_eq!(set("PENDING", json!("x")).await.0, 400);
    assert_eq!(set("PENDING", Value::Null).await.1["item"].get("completed_by"), None);

    let locked = json!({"queue_id": id, "update_schema_ids": true, "schema_ids": []});
    assert_eq!(post(&store, "update", locked).await.0, 400);
    let with_item = store.get(&format!("{AT}/list?experiment_id=0&item_id=tr-1")).await.1;
    assert_eq!(with_item["review_queues"].as_array().unwrap().len(), 1);
    let removed = json!({"queue_id": id, "item_ids": ["tr-1", "tr-7"]});
    assert_eq!(post(&store, "items/remove", removed).await, (200, json!({})));
    assert_eq!(set("DECLINED", json!("al")).await.0, 404);
    // A trace that is deleted needs no review.
    sqlx::query("DELETE FROM traces").execute(&store.shared.database.writer).await.unwrap();
    assert_eq!(store.get(&format!("{AT}/items/list?queue_id={id}")).await.1, json!({"next_page_token": ""}));
}

#[tokio::test]
async fn queues_that_make_no_sense_are_refused_in_mlflows_words() {
    let store = TestStore::open().await;
    for (body, message) in [
        (
            json!({"name": "Default", "queue_type": 2}),
            "`Default` is a reserved queue name and cannot be used for a custom queue.",
        ),
        (
            json!({"name": "x", "queue_type": "USER", "users": ["y"]}),
            "A user queue must have exactly one assigned user equal to its name; got name='x' and users=['y'].",
        ),
        (
            json!({"name": "x", "queue_type": 1, "schema_ids": ["y"]}),
            "A user queue cannot have explicitly-attached schemas; it resolves to all of the experiment's label schemas.",
        ),
        (json!({"name": "x"}), "`queue_type` must be one of USER or CUSTOM; got proto enum value 0."),
        (json!({"name": "  ", "queue_type": 2}), "`name` must be a non-empty string; got ''."),
        (
            json!({"name": "x", "queue_type": 2, "users": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]}),
            "A review queue can have at most 10 assigned users; got 11.",
        ),
    ] {
        let mut body = body;
        body["experiment_id"] = json!("0");
        let (status, refused) = post(&store, "create", body).await;
        assert_eq!((status, &refused["message"]), (400, &json!(message)));
    }
}
