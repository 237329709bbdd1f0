//! The permissions API over HTTP: what a list says, what it leaves, and who may ask.

use serde_json::{Value, json};
use tracegate::access::{Effect, NewGrant, Principal};
use tracegate::clock::UnixMillis;

use crate::support::callers::Who;
use crate::support::gateway::Gateway;
use crate::support::raw_http::Request;

const ONE: &str = "/api/2.0/permissions/experiments/1";

fn set(path: &str, entries: &Value) -> Request {
    Request::json("PUT", path, &json!({ "access_control_list": entries }))
}

fn update(path: &str, entries: &Value) -> Request {
    Request::json("PATCH", path, &json!({ "access_control_list": entries }))
}

fn user(name: &str, level: &str) -> Value {
    json!({ "user_name": name, "permission_level": level })
}

/// The permissions that a list has for a user or group.
fn of(list: &Value, name: &str) -> Vec<Value> {
    let entries = list["access_control_list"].as_array().unwrap();
    let is = |entry: &&Value| {
        ["user_name", "group_name", "service_principal_name"].iter().any(|key| entry[key] == name)
    };
    let found: Vec<&Value> = entries.iter().filter(is).collect();
    assert!(found.len() < 2, "{list}");
    found.first().map_or_else(Vec::new, |entry| entry["all_permissions"].as_array().unwrap().clone())
}

async fn write(gateway: &Gateway, who: &str, on: &str, privilege: &str, effect: Effect, ends: Option<i64>) {
    let grant = NewGrant {
        principal: who.parse().unwrap(),
        securable: on.parse().unwrap(),
        privilege: privilege.to_owned(),
        effect,
        reason: Some("kept".to_owned()),
        expires_at: ends.map(UnixMillis),
    };
    gateway.app.store.add_grant(&grant, "test", gateway.app.clock.now()).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
}

#[actix_rt::test]
async fn a_list_shows_what_is_granted_here_and_what_comes_from_above() {
    let gateway = Gateway::start_embedded().await;
    let body = json!({ "name": "/team/bot" });
    let made = gateway.call(Who::Admin, Request::post("/api/2.0/mlflow/experiments/create", &body)).await;
    let path = format!(
        "/api/2.0/permissions/experiments/{}",
        made.expect(200).json()["experiment_id"].as_str().unwrap()
    );
    let team = "/api/2.0/permissions/directories/team";
    gateway.call(Who::Admin, set(team, &json!([user("reader", "CAN_READ")]))).await.expect(200);
    gateway
        .call(Who::Admin, update("/api/2.0/permissions/directories/0", &json!([user("lister", "CAN_LIST")])))
        .await
        .expect(200);
    let list =
        gateway.call(Who::Admin, update(&path, &json!([user("editor", "CAN_RUN")]))).await.expect(200).json();
    assert_eq!(list["object_type"], "mlflowExperiment");
    assert_eq!(of(&list, "editor"), [json!({ "permission_level": "CAN_EDIT", "inherited": false })]);
    let inherited = |level: &str, from: &str| json!({ "permission_level": level, "inherited": true, "inherited_from_object": [from] });
    assert_eq!(of(&list, "reader"), [inherited("CAN_READ", "/directories/team")]);
    assert_eq!(of(&list, "lister"), [inherited("CAN_LIST", "/directories/0")]);
    assert_eq!(of(&list, "admins"), [inherited("CAN_MANAGE", "/directories/0")]);
    // Setting from below leaves what comes from above.
    let list = gateway.call(Who::Admin, set(&path, &json!([]))).await.expect(200).json();
    assert!(
        of(&list, "editor").is_empty() && !of(&list, "reader").is_empty() && !of(&list, "admins").is_empty()
    );
    for (kind, least) in
        [("experiments/1", "CAN_LIST"), ("warehouses/w", "CAN_USE"), ("authorization/tokens", "CAN_USE")]
    {
        let levels = gateway
            .call(Who::Stranger, Request::get(&format!("/api/2.0/permissions/{kind}/permissionLevels")));
        assert_eq!(levels.await.expect(200).json()["permission_levels"][0]["permission_level"], least);
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn setting_replaces_levels_and_leaves_what_a_list_cannot_say() {
    let gateway = Gateway::start_embedded().await;
    let soon = gateway.app.clock.now().0 + 3_600_000;
    write(&gateway, "user:reader", "experiment:1", "CAN_READ", Effect::Allow, Some(soon)).await;
    write(&gateway, "user:lister", "experiment:1", "trace.read", Effect::Allow, None).await;
    write(&gateway, "user:lister", "experiment:1", "CAN_EDIT", Effect::Deny, None).await;
    let version = gateway.app.policy.version();
    let entries =
        json!([user("reader", "CAN_READ"), user("stranger", "CAN_EDIT"), user("stranger", "CAN_READ")]);
    let list = gateway.call(Who::Admin, set(ONE, &entries)).await.expect(200).json();
    assert_eq!(gateway.app.policy.version(), version + 1, "one change");
    let granted = async || {
        let one = "experiment:1".parse().unwrap();
        let grants = gateway.app.store.grants(None, Some(&one)).await.unwrap();
        let mut told: Vec<String> = grants
            .iter()
            .map(|grant| {
                let (grant, ends) = (&grant.grant, grant.grant.expires_at.map(|end| end.0 == soon));
                format!("{} {} {} {ends:?}", grant.principal, grant.effect.as_str(), grant.privilege)
            })
            .collect();
        told.sort();
        told
    };
    let expected = [
        "user:lister allow trace.read None",
        "user:lister deny CAN_EDIT None",
        "user:reader allow CAN_READ Some(true)",
        "user:stranger allow CAN_EDIT None",
    ];
    assert_eq!(granted().await, expected);
    assert_eq!(of(&list, "editor"), [] as [Value; 0]);
    // The same list again changes nothing, and an update touches none but those it names.
    gateway.call(Who::Admin, set(ONE, &entries)).await.expect(200);
    assert_eq!(gateway.app.policy.version(), version + 1);
    gateway.call(Who::Admin, update(ONE, &json!([user("stranger", "CAN_READ")]))).await.expect(200);
    assert_eq!(granted().await[3], "user:stranger allow CAN_READ None");
    assert_eq!(granted().await[..3], expected[..3]);
    gateway.stop().await;
}

#[actix_rt::test]
async fn only_who_manages_asks_and_hidden_is_as_missing() {
    let gateway = Gateway::start().await;
    let everything = |path: &str| {
        [
            Request::get(path),
            set(path, &json!([user("stranger", "CAN_MANAGE")])),
            update(path, &json!([user("stranger", "CAN_MANAGE")])),
        ]
    };
    let before = gateway.policy_as_text().await;
    for who in [Who::Editor, Who::Reader, Who::Assessor, Who::Ingester, Who::Lister] {
        for request in everything(ONE) {
            assert_eq!(gateway.call(who, request).await.expect(403).code(), "PERMISSION_DENIED");
        }
    }
    // Experiment 2 is there and 4040 is not: nobody but administrators can tell.
    for (hidden, missing) in everything("/api/2.0/permissions/experiments/2")
        .into_iter()
        .zip(everything("/api/2.0/permissions/experiments/4040"))
    {
        let (hidden, missing) =
            (gateway.call(Who::Manager, hidden).await, gateway.call(Who::Manager, missing).await);
        assert_eq!((hidden.status, hidden.code().as_str()), (404, "RESOURCE_DOES_NOT_EXIST"));
        let told = |answer: &crate::support::raw_http::Answer, id: &str| {
            answer.json()["message"].as_str().unwrap().split(" (decision").next().unwrap().replace(id, "N")
        };
        assert_eq!((missing.status, told(&missing, "4040")), (404, told(&hidden, "2")));
    }
    for path in ["directories/0", "directories/team", "authorization/tokens", "authorization/passwords"] {
        for request in everything(&format!("/api/2.0/permissions/{path}")) {
            gateway.call(Who::Manager, request).await.expect(403);
        }
    }
    for (path, status) in [
        ("serving-endpoints/e", 404),
        ("experiments/01", 404),
        ("experiments/1%2F2", 404),
        ("notebooks/1", 400),
        ("clusters/c", 404),
        ("sql/warehouses/w", 404),
        ("registered-models/none", 404),
    ] {
        let answer = gateway.call(Who::Manager, Request::get(&format!("/api/2.0/permissions/{path}"))).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_ne!(answer.code(), "ENDPOINT_NOT_FOUND");
    }
    assert_eq!(gateway.policy_as_text().await, before);
    gateway
        .call(Who::Manager, Request::get("/api/2.0/permissions/registered-models/model-a"))
        .await
        .expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn what_cannot_be_set_changes_nothing() {
    let gateway = Gateway::start().await;
    let before = gateway.policy_as_text().await;
    let own = user("manager", "CAN_MANAGE");
    for (status, entries) in [
        (404, json!([own, user("nobody-knows-me", "CAN_READ")])),
        (404, json!([own, { "group_name": "reader", "permission_level": "CAN_READ" }])),
        (400, json!([own, user("reader", "CAN_FLY")])),
        (400, json!([own, user("reader", "can_read")])),
        (400, json!([own, user("reader", "experiment.manage")])),
        (400, json!([own, user("reader", "OWNER")])),
        (400, json!([own, { "user_name": "reader" }])),
        (400, json!([own, { "user_name": "reader", "group_name": "users", "permission_level": "CAN_READ" }])),
        (400, json!([own, { "permission_level": "CAN_READ" }])),
        (400, json!([own, { "group_name": "admins", "permission_level": "CAN_READ" }])),
        (400, json!(["reader"])),
        (400, json!({ "user_name": "reader" })),
        // A manager who leaves itself out could not come back.
        (400, json!([])),
        (400, json!([user("manager", "CAN_EDIT")])),
    ] {
        let answer = gateway.call(Who::Manager, set(ONE, &entries)).await;
        assert_eq!(answer.status, status, "{entries}: {}", answer.text());
        assert_eq!(gateway.policy_as_text().await, before, "{entries}");
    }
    let lowered = update(ONE, &json!([user("manager", "CAN_READ")]));
    gateway.call(Who::Manager, lowered.clone()).await.expect(400);
    gateway.call(Who::Admin, lowered).await.expect(200);
    gateway.call(Who::Manager, Request::get(ONE)).await.expect(403);
    let deleted: Principal = "user:reader".parse().unwrap();
    gateway.app.store.delete_principal(&deleted, "test", gateway.app.clock.now()).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
    gateway.call(Who::Admin, update(ONE, &json!([user("reader", "CAN_READ")]))).await.expect(404);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_list_says_who_may_make_tokens_and_passwords_are_a_setting() {
    let gateway = Gateway::start().await;
    let tokens = "/api/2.0/permissions/authorization/tokens";
    let list = gateway.call(Who::Admin, Request::get(tokens)).await.expect(200).json();
    assert_eq!(of(&list, "users"), [json!({ "permission_level": "CAN_USE", "inherited": false })]);
    let make = Request::post("/api/tracegate/v1/tokens", &json!({ "name": "laptop" }));
    gateway.call(Who::Reader, make.clone()).await.expect(200);
    gateway.call(Who::Admin, set(tokens, &json!([user("editor", "CAN_USE")]))).await.expect(200);
    gateway.call(Who::Reader, make.clone()).await.expect(403);
    gateway.call(Who::Editor, make.clone()).await.expect(200);
    gateway.call(Who::Admin, make).await.expect(200);
    let users = gateway.app.store.grants(Some(&"group:users".parse().unwrap()), None).await.unwrap();
    assert_eq!(users.len(), 2, "what everybody may create stays");
    let passwords = "/api/2.0/permissions/authorization/passwords";
    gateway.call(Who::Admin, Request::get(passwords)).await.expect(200);
    gateway.call(Who::Admin, set(passwords, &json!([user("editor", "CAN_USE")]))).await.expect(400);
    gateway.stop().await;
}

#[actix_rt::test]
async fn two_lists_at_once_are_one_after_the_other() {
    let gateway = Gateway::start().await;
    let own = user("manager", "CAN_MANAGE");
    let lists: Vec<Value> = ["reader", "editor", "lister", "assessor"]
        .iter()
        .map(|name| json!([own, user(name, "CAN_ASSESS")]))
        .collect();
    let calls = lists.iter().map(|entries| gateway.call(Who::Manager, set(ONE, entries)));
    for answer in futures_util::future::join_all(calls).await {
        answer.expect(200);
    }
    let list = gateway.call(Who::Manager, Request::get(ONE)).await.expect(200).json();
    let direct: Vec<&Value> = list["access_control_list"].as_array().unwrap().iter().collect();
    // The manager, the administrators, and whoever the last list named: never a mixture of two.
    assert_eq!(direct.len(), 3, "{list}");
    gateway.stop().await;
}
