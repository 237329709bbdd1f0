//! Uploads in parts: each part's URL is good for who began the upload, for that part, while they may write.

use serde_json::{Value, json};
use tracegate::access::Principal;

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const CREATE: &str = "/api/2.0/mlflow-artifacts/mpu/create/1/files";
const FILE: &str = "/api/2.0/mlflow-artifacts/artifacts/1/files/a.bin";

async fn begin(gateway: &Gateway, who: Who) -> Answer {
    gateway.call(who, Request::post(CREATE, &json!({ "path": "/home/ann/a.bin", "num_parts": 2 }))).await
}

/// The request that a client sends for a part: without any credential but the headers it was told.
fn part(offered: &Value, index: usize, body: &str) -> Request {
    let credential = &offered["credentials"][index];
    let url = credential["url"].as_str().unwrap();
    let target = &url[url.find("/api/").unwrap()..];
    let mut request = Request::new("PUT", target).body(body);
    for (name, value) in credential["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    request
}

async fn complete(gateway: &Gateway, who: Who, offered: &Value, tags: &[String]) -> Answer {
    let parts: Vec<Value> = tags
        .iter()
        .zip(1..)
        .map(|(tag, number)| json!({ "part_number": number, "etag": tag, "url": "" }))
        .collect();
    let body = json!({ "path": "/home/ann/a.bin", "upload_id": offered["upload_id"], "parts": parts });
    gateway.call(who, Request::post(&CREATE.replace("create", "complete"), &body)).await
}

#[actix_rt::test]
async fn a_file_in_parts_is_one_file() {
    let gateway = Gateway::start_embedded().await;
    begin(&gateway, Who::Reader).await.expect(403);
    begin(&gateway, Who::Anonymous).await.expect(401);
    let offered = begin(&gateway, Who::Editor).await.expect(200).json();
    let mut tags = Vec::new();
    for (index, text) in ["hello, ", "world"].into_iter().enumerate() {
        let answer = part(&offered, index, text).send(gateway.address).await.expect(200);
        tags.push(answer.header("etag").unwrap().to_owned());
        let record = gateway.ended(&answer.decision_id()).await;
        assert_eq!(record.principal.as_deref(), Some("user:editor"));
        assert_eq!(record.operation, "artifact.mpu_part");
    }
    gateway.call(Who::Reader, Request::get(FILE)).await.expect(404);
    complete(&gateway, Who::Reader, &offered, &tags).await.expect(403);
    complete(&gateway, Who::Editor, &offered, &tags).await.expect(200);
    let file = gateway.call(Who::Reader, Request::get(FILE)).await.expect(200);
    assert_eq!(file.text(), "hello, world");
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_parts_signature_opens_nothing_else_and_dies_with_the_grant() {
    let gateway = Gateway::start_embedded().await;
    let offered = begin(&gateway, Who::Editor).await.expect(200).json();
    let good = part(&offered, 0, "x");
    let signature =
        offered["credentials"][0]["headers"]["x-tracegate-signature"].as_str().unwrap().to_owned();
    let target = good.target.clone();

    let with = |request: Request| request.header("x-tracegate-signature", &signature);
    for other in [
        with(Request::new("PUT", &target.replace("part_number=1", "part_number=2")).body("x")),
        with(Request::new("PUT", &target.replace("/1/files", "/1/other")).body("x")),
        with(Request::new("PUT", FILE).body("x")),
        with(Request::get(FILE)),
        with(Request::get("/api/tracegate/v1/whoami")),
        with(Request::get("/api/2.0/mlflow/experiments/get?experiment_id=1")),
        Request::new("PUT", &target).body("x"),
        Request::new("PUT", &target).body("x").header("x-tracegate-signature", "made up"),
    ] {
        let answer = other.clone().send(gateway.address).await;
        assert_eq!(answer.status, 401, "{} {}: {}", other.method, other.target, answer.text());
    }
    // Two credentials have two readings.
    gateway.call(Who::Admin, good.clone()).await.expect(400);
    good.clone().send(gateway.address).await.expect(200);

    let editor = Who::Editor.principal();
    for grant in gateway.app.store.grants(Some(&editor), None).await.unwrap() {
        gateway.app.store.remove_grant(grant.id, "test", gateway.app.clock.now()).await.unwrap().unwrap();
    }
    gateway.app.reload_policy().await.unwrap();
    good.clone().send(gateway.address).await.expect(403);
    gateway.grant(Who::Editor, "experiment:1", "CAN_EDIT").await;
    good.clone().send(gateway.address).await.expect(200);
    let off: Principal = editor;
    gateway.app.store.set_active(&off, false, "test", gateway.app.clock.now()).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
    let answer = good.send(gateway.address).await;
    assert_eq!(answer.status, 403, "a person who left: {}", answer.text());
    gateway.stop().await;
}
