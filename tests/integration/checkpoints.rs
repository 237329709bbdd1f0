//! What the API says of signatures is what the record holds, and is told to auditors alone.

use serde_json::Value;

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;
use tracegate::audit::{Checkpoint, Known, PublicKey, verify};

const CHECKPOINTS: &str = "/api/tracegate/v1/audit/checkpoints";

#[actix_rt::test]
async fn checkpoints_and_keys_are_told_to_auditors_page_by_page() {
    let gateway = Gateway::start().await;
    for who in [Who::Reader, Who::Manager] {
        gateway.call(who, Request::get(CHECKPOINTS)).await.expect(403);
    }
    gateway.call(Who::Anonymous, Request::get(CHECKPOINTS)).await.expect(401);
    for _ in 0..4 {
        gateway.app.records.checkpoint().await.unwrap();
    }
    let (mut after, mut found) = (0, Vec::<Checkpoint>::new());
    let key = loop {
        let target = format!("{CHECKPOINTS}?after={after}&limit=2");
        let page = gateway.call(Who::Admin, Request::get(&target)).await.expect(200).json();
        assert_eq!(page["replica"], gateway.app.records.replica());
        found.extend(serde_json::from_value::<Vec<Checkpoint>>(page["checkpoints"].clone()).unwrap());
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break page["keys"][0].clone(),
        }
    };
    // One of the start, and four.
    assert_eq!(found.iter().map(|checkpoint| checkpoint.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let key = PublicKey::from_hex(key["public_key"].as_str().unwrap()).unwrap();
    assert!(found.iter().all(|checkpoint| checkpoint.is_signed_by(key)));
    let wrong =
        gateway.call(Who::Admin, Request::get(&format!("{CHECKPOINTS}?limit=many"))).await.expect(400);
    assert!(wrong.text().contains("limit"), "{}", wrong.text());

    let metrics = gateway.call(Who::Anonymous, Request::get("/metrics")).await.expect(200);
    assert!(metrics.text().contains("tracegate_audit_mirror_lag 0"), "{}", metrics.text());
    let known = Known { public_keys: vec![key], whole: true, ..Known::default() };
    let verified = verify(&gateway.audit_directory(), known, &mut |_| {}).unwrap();
    assert_eq!(verified.checkpoints, 5);
    let reading = gateway.call(Who::Admin, Request::get(CHECKPOINTS)).await.expect(200);
    let records = gateway.records(&reading.decision_id()).await;
    assert_eq!(records[0].operation, "tracegate.audit.checkpoints", "reading it is recorded");
    assert_eq!(records[0].privileges, ["audit.read"]);
    assert_ne!(reading.json()["keys"], Value::Null);
    gateway.stop().await;
}
