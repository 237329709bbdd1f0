use serde_json::{Value, json};

use crate::backend::embedded::testing::{TestStore, bytes_of};
use crate::wire::{Body, Method, Reply};

const PROXY: &str = "/api/2.0/mlflow-artifacts/artifacts";

async fn send(
    store: &TestStore,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    store.send(method, target, headers, None, Body::memory(body.to_owned())).await
}

async fn put(store: &TestStore, path: &str, body: &str) {
    let reply = send(store, Method::Put, &format!("{PROXY}/{path}"), &[], body).await;
    assert_eq!(reply.status, 200);
    assert!(bytes_of(reply).await.is_empty());
}

async fn text(reply: Reply) -> String {
    String::from_utf8(bytes_of(reply).await).unwrap()
}

#[tokio::test]
async fn a_file_is_stored_listed_sent_and_deleted_by_its_path() {
    let store = TestStore::open().await;
    put(&store, "0/run/artifacts/a.json", "hello world\n").await;
    put(&store, "0/run/artifacts/sub/b%20%C3%BC.bin", "x").await;
    let (status, listed) = store.get(&format!("{PROXY}?path=0/run/artifacts/")).await;
    let files = json!({"files": [
        {"path": "a.json", "is_dir": false, "file_size": 12},
        {"path": "sub", "is_dir": true},
    ]});
    assert_eq!((status, listed), (200, files));
    assert_eq!(store.get(&format!("{PROXY}?path=0/none")).await, (200, json!({})));
    let root = store.get(PROXY).await.1;
    assert_eq!(root, json!({"files": [{"path": "0", "is_dir": true}]}));

    let file = format!("{PROXY}/0/run/artifacts/a.json");
    let reply = send(&store, Method::Get, &file, &[], "").await;
    let header = |reply: &Reply, name: &str| reply.headers.get(name).unwrap_or_default().to_owned();
    assert_eq!(reply.status, 200);
    assert_eq!(header(&reply, "content-type"), "text/plain");
    assert_eq!(header(&reply, "content-disposition"), "attachment; filename=a.json");
    assert_eq!(header(&reply, "x-content-type-options"), "nosniff");
    let tag = header(&reply, "etag");
    assert_eq!(text(reply).await, "hello world\n");

    let reply = send(&store, Method::Get, &file, &[("range", "bytes=2-4"), ("if-range", &tag)], "").await;
    assert_eq!((reply.status, header(&reply, "content-range").as_str()), (206, "bytes 2-4/12"));
    assert_eq!(text(reply).await, "llo");
    let reply =
        send(&store, Method::Get, &file, &[("range", "bytes=2-4"), ("if-range", "\"old\"")], "").await;
    assert_eq!((reply.status, text(reply).await.len()), (200, 12));
    let reply = send(&store, Method::Get, &file, &[("range", "bytes=12-")], "").await;
    assert_eq!((reply.status, header(&reply, "content-range").as_str()), (416, "bytes */12"));
    let reply = send(&store, Method::Head, &file, &[], "").await;
    assert_eq!((reply.status, reply.body.length()), (200, Some(12)));
    assert!(bytes_of(reply).await.is_empty());

    let (status, refused) = store.get(&format!("{PROXY}/0/run/artifacts/sub")).await;
    let detail = "Artifact path refers to a directory, not a file: '0/run/artifacts/sub'";
    assert_eq!((status, refused), (400, json!({ "detail": detail })));
    let (status, refused) = store.get(&format!("{PROXY}/0/none")).await;
    assert_eq!((status, &refused["message"]), (404, &json!("No such artifact: '0/none'")));
    for target in ["?path=../x", "?path=/x", "?path=.tracegate/uploads", "/.tracegate/x", "/a%23b"] {
        let (status, refused) = store.get(&format!("{PROXY}{target}")).await;
        assert_eq!((status, &refused["message"]), (400, &json!("Invalid path")), "{target}");
    }

    for gone in ["0/run/artifacts/sub", "0/run/artifacts/a.json", "0/run/artifacts/a.json"] {
        let (status, answer) = store.call(Method::Delete, &format!("{PROXY}/{gone}"), Value::Null).await;
        assert_eq!((status, answer), (200, json!({})));
    }
    assert_eq!(store.get(&format!("{PROXY}?path=0/run/artifacts")).await, (200, json!({})));
}

async fn begin(store: &TestStore, parts: i64) -> String {
    let body = json!({"path": "/home/me/big.bin", "num_parts": parts});
    let (status, begun) = store.post("/api/2.0/mlflow-artifacts/mpu/create/0/run/artifacts", body).await;
    assert_eq!(status, 200);
    let numbers: Vec<i64> = begun["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["part_number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=parts).collect::<Vec<_>>());
    begun["upload_id"].as_str().unwrap().to_owned()
}

async fn send_part(store: &TestStore, upload: &str, number: i64, body: &str) -> (u16, String) {
    let target =
        format!("/api/tracegate/v1/multipart/0/run/artifacts?upload_id={upload}&part_number={number}");
    let reply = send(store, Method::Put, &target, &[], body).await;
    (reply.status, reply.headers.get("etag").unwrap_or_default().to_owned())
}

async fn finish(store: &TestStore, how: &str, upload: &str, parts: Value) -> u16 {
    let body = json!({"path": "/home/me/big.bin", "upload_id": upload, "parts": parts});
    store.post(&format!("/api/2.0/mlflow-artifacts/mpu/{how}/0/run/artifacts"), body).await.0
}

#[tokio::test]
async fn parts_become_one_file_in_their_order_once_they_are_complete() {
    let store = TestStore::open().await;
    let upload = begin(&store, 3).await;
    let third = send_part(&store, &upload, 3, "three").await.1;
    let first = send_part(&store, &upload, 1, "one ").await.1;
    let replaced = send_part(&store, &upload, 2, "too ").await.1;
    let second = send_part(&store, &upload, 2, "two ").await.1;
    assert_ne!(second, replaced);
    assert_eq!(send_part(&store, &upload, 0, "x").await.0, 400);
    assert_eq!(send_part(&store, "other", 1, "x").await.0, 404);
    let part = |number: i64, tag: &str| json!({"part_number": number, "etag": tag, "url": "u"});
    let parts = json!([part(3, &third), part(1, &first), part(2, &second)]);

    let file = format!("{PROXY}/0/run/artifacts/big.bin");
    assert_eq!(finish(&store, "complete", &upload, json!([part(1, &second)])).await, 400);
    assert_eq!(finish(&store, "complete", &upload, json!([part(1, "../x")])).await, 400);
    assert_eq!(finish(&store, "complete", &upload, json!([])).await, 400);
    assert_eq!(store.get(&file).await.0, 404);
    assert_eq!(finish(&store, "complete", &upload, parts.clone()).await, 200);
    let whole = send(&store, Method::Get, &file, &[], "").await;
    assert_eq!(text(whole).await, "one two three");
    assert_eq!(store.shared.objects.list(".tracegate/uploads").await.unwrap(), []);
    // Again, as after a lost answer; and an abort that comes too late.
    assert_eq!(finish(&store, "complete", &upload, parts).await, 200);
    assert_eq!(finish(&store, "abort", &upload, json!([])).await, 200);
    assert_eq!(send_part(&store, &upload, 1, "late").await.0, 404);
    assert_eq!(store.get(&file).await.0, 200);
}

#[tokio::test]
async fn an_upload_that_is_aborted_or_forgotten_leaves_no_parts() {
    let store = TestStore::open().await;
    let aborted = begin(&store, 1).await;
    send_part(&store, &aborted, 1, "x").await;
    assert_eq!(finish(&store, "abort", &aborted, json!([])).await, 200);
    assert_eq!(send_part(&store, &aborted, 1, "x").await.0, 404);
    let forgotten = begin(&store, 1).await;
    let tag = send_part(&store, &forgotten, 1, "x").await.1;
    store.clock.advance(25 * 60 * 60 * 1000);
    let parts = json!([{"part_number": 1, "etag": tag}]);
    assert_eq!(finish(&store, "complete", &forgotten, parts).await, 404);
    assert_eq!(store.shared.objects.list(".tracegate/uploads").await.unwrap().len(), 1);
    begin(&store, 1).await;
    assert_eq!(store.shared.objects.list(".tracegate/uploads").await.unwrap(), []);
}
