use serde_json::{Value, json};

use super::super::testing::TestStore;
use super::names;
use crate::wire::Method;

const MODELS: &str = "/api/2.0/mlflow/registered-models";
const VERSIONS: &str = "/api/2.0/mlflow/model-versions";
const SOURCE: &str = "s3://bucket/model";

async fn make(store: &TestStore, name: &str, tags: Value) {
    let made = store.post(&format!("{MODELS}/create"), json!({ "name": name, "tags": tags })).await;
    assert_eq!(made.0, 200, "{}", made.1);
}

async fn version(store: &TestStore, name: &str, source: &str) -> (u16, Value) {
    store.post(&format!("{VERSIONS}/create"), json!({ "name": name, "source": source })).await
}

fn prompt() -> Value {
    json!([{ "key": "mlflow.prompt.is_prompt", "value": "true" }])
}

fn message(answer: &(u16, Value)) -> &str {
    answer.1["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_model_shows_what_was_written_and_its_latest_versions() {
    let store = TestStore::open().await;
    make(&store, "m", json!([{ "key": "k", "value": "1" }, { "key": "k", "value": "2" }])).await;
    for _ in 0..3 {
        assert_eq!(version(&store, "m", SOURCE).await.0, 200);
    }
    let move_to = |number: &str, archive: bool| json!({ "name": "m", "version": number, "stage": "production", "archive_existing_versions": archive });
    store.post(&format!("{VERSIONS}/transition-stage"), move_to("1", false)).await;
    let moved = store.post(&format!("{VERSIONS}/transition-stage"), move_to("2", true)).await;
    assert_eq!(moved.1["model_version"]["current_stage"], "Production");
    let (status, model) = store.get(&format!("{MODELS}/get?name=m")).await;
    assert_eq!(status, 200);
    let model = &model["registered_model"];
    assert_eq!(model["tags"], json!([{ "key": "k", "value": "2" }]));
    let latest: Vec<_> = model["latest_versions"].as_array().unwrap().iter().collect();
    let latest: Vec<_> =
        latest.iter().map(|v| (v["version"].as_str(), v["current_stage"].as_str())).collect();
    assert_eq!(
        latest,
        [(Some("1"), Some("Archived")), (Some("2"), Some("Production")), (Some("3"), Some("None"))]
    );
}

#[tokio::test]
async fn the_number_of_a_deleted_version_is_not_given_again() {
    let store = TestStore::open().await;
    make(&store, "m", json!([])).await;
    version(&store, "m", SOURCE).await;
    let alias = json!({ "name": "m", "alias": "champion", "version": "1" });
    assert_eq!(store.post(&format!("{MODELS}/alias"), alias).await.0, 200);
    let gone = json!({ "name": "m", "version": "1" });
    assert_eq!(store.call(Method::Delete, &format!("{VERSIONS}/delete"), gone.clone()).await.0, 200);
    assert_eq!(store.call(Method::Delete, &format!("{VERSIONS}/delete"), gone).await.0, 404);
    let lost = store.get(&format!("{MODELS}/alias?name=m&alias=champion")).await;
    assert_eq!((lost.0, message(&lost)), (400, "Registered model alias champion not found."));
    assert_eq!(version(&store, "m", SOURCE).await.1["model_version"]["version"], "2");
}

#[tokio::test]
async fn a_renamed_model_takes_everything_with_it() {
    let store = TestStore::open().await;
    make(&store, "old", json!([{ "key": "k", "value": "v" }])).await;
    make(&store, "other", json!([])).await;
    version(&store, "old", SOURCE).await;
    store.post(&format!("{MODELS}/alias"), json!({ "name": "old", "alias": "a", "version": "1" })).await;
    let rename = |to: &str| json!({ "name": "old", "new_name": to });
    let taken = store.post(&format!("{MODELS}/rename"), rename("other")).await;
    assert_eq!((taken.0, taken.1["error_code"].as_str()), (400, Some("RESOURCE_ALREADY_EXISTS")));
    assert_eq!(store.post(&format!("{MODELS}/rename"), rename("new")).await.0, 200);
    assert_eq!(store.get(&format!("{MODELS}/get?name=old")).await.0, 404);
    let found = store.get(&format!("{MODELS}/alias?name=new&alias=a")).await;
    assert_eq!(found.1["model_version"]["name"], "new");
    let (_, model) = store.get(&format!("{MODELS}/get?name=new")).await;
    assert_eq!(model["registered_model"]["tags"], json!([{ "key": "k", "value": "v" }]));
}

#[tokio::test]
async fn prompts_are_found_by_who_asks_for_them() {
    let store = TestStore::open().await;
    make(&store, "model", json!([])).await;
    make(&store, "prompt", prompt()).await;
    let body = json!({ "name": "prompt", "source": "dummy-source", "tags": prompt() });
    assert_eq!(store.post(&format!("{VERSIONS}/create"), body).await.0, 200);
    version(&store, "model", SOURCE).await;
    for (filter, expected) in [
        ("", "model"),
        ("tags.%60mlflow.prompt.is_prompt%60+=+'true'", "prompt"),
        ("tags.%60mlflow.prompt.is_prompt%60+!=+'true'", "model"),
        ("tags.%60mlflow.prompt.is_prompt%60+!=+'false'", "prompt"),
    ] {
        for (path, list) in [(MODELS, "registered_models"), (VERSIONS, "model_versions")] {
            let (_, found) = store.get(&format!("{path}/search?filter={filter}")).await;
            let names: Vec<_> = found[list].as_array().unwrap().iter().map(|item| &item["name"]).collect();
            assert_eq!(names, [expected], "{list} of {filter}");
        }
    }
    let clash = store.post(&format!("{MODELS}/create"), json!({ "name": "prompt" })).await;
    assert!(message(&clash).contains("already taken by a prompt"), "{}", clash.1);
}

#[tokio::test]
async fn sources_lead_only_to_what_the_request_names() {
    let store = TestStore::open().await;
    make(&store, "m", json!([])).await;
    make(&store, "prompt", prompt()).await;
    assert_eq!(version(&store, "m", SOURCE).await.0, 200);
    for source in [
        "/etc/passwd",
        "file:///etc/passwd",
        "./model",
        "http://elsewhere/model",
        "mlflow-artifacts://elsewhere/model",
        "mlflow-artifacts:/1/run/artifacts",
        "runs:/0123/model",
        "models:/m-0123",
        "models:/prompt/1",
        "s3://bucket/a/../b",
        "s3://bucket/a/%252e%252e/b",
        "s3://bucket",
    ] {
        let refused = version(&store, "m", source).await;
        assert_eq!(
            (refused.0, refused.1["error_code"].as_str()),
            (400, Some("INVALID_PARAMETER_VALUE")),
            "{source}"
        );
    }
    let copied = version(&store, "m", "models:/m/latest").await;
    assert_eq!(copied.1["model_version"]["source"], "models:/m/1");
    let (_, uri) = store.get(&format!("{VERSIONS}/get-download-uri?name=m&version=2")).await;
    assert_eq!(uri, json!({ "artifact_uri": SOURCE }));
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_what_comes_meanwhile() {
    let store = TestStore::open().await;
    for name in ["a", "c", "e"] {
        make(&store, name, json!([])).await;
    }
    let (_, first) = store.get(&format!("{MODELS}/search?max_results=2")).await;
    make(&store, "b", json!([])).await;
    let token = first["next_page_token"].as_str().unwrap();
    let (_, second) = store.get(&format!("{MODELS}/search?max_results=2&page_token={token}")).await;
    let names = |page: &Value| -> Vec<String> {
        let models = page["registered_models"].as_array().unwrap();
        models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names(&first), names(&second)), (vec!["a".into(), "c".into()], vec!["e".into()]));
    assert!(second.get("next_page_token").is_none());
    let other = store.get(&format!("{MODELS}/search?order_by=name+DESC&page_token={token}")).await;
    assert_eq!(other.0, 400);
}

#[test]
fn version_numbers_are_read_as_python_reads_whole_numbers() {
    for (text, number) in [("1", 1), (" +7 ", 7), ("-1", -1), ("1_0", 10), ("007", 7)] {
        assert_eq!(names::version(text), Ok(number), "{text}");
    }
    for text in ["", "x", "1.0", "1__0", "_1", "+", "+-1"] {
        assert!(names::version(text).is_err(), "{text}");
    }
}

#[test]
fn aliases_do_not_look_like_versions() {
    assert_eq!(names::new_alias("v1x"), Ok(()));
    for alias in ["latest", "LATEST", "v1", "V12", "a b", "a/b"] {
        assert!(names::new_alias(alias).is_err(), "{alias}");
    }
}
