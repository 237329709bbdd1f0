//! SCIM over HTTP: what directories may do, and what they must not come to by it.

use serde_json::{Value, json};

use crate::support::callers::Who;
use crate::support::directory::SCIM;
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const WHOAMI: &str = "/api/tracegate/v1/whoami";

fn scim(method: &str, path: &str, body: &Value) -> Request {
    Request::json(method, &format!("{SCIM}/{path}"), body)
}

fn get(path: &str) -> Request {
    Request::get(&format!("{SCIM}/{path}"))
}

fn patch(path: &str, operation: Value) -> Request {
    scim("PATCH", path, &json!({ "Operations": [operation] }))
}

fn delete(path: &str) -> Request {
    Request::new("DELETE", &format!("{SCIM}/{path}"))
}

/// A gateway, and the token of a directory that may manage identities and nothing else.
async fn with_directory() -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let sync = gateway.newcomer("service_principal:sync").await;
    let body = json!({
        "principal": "service_principal:sync", "securable": "workspace:default", "privilege": "identity.manage",
    });
    gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &body)).await.expect(200);
    (gateway, sync)
}

fn names(answer: &Answer, attribute: &str) -> Vec<String> {
    let resources = answer.json()["Resources"].as_array().unwrap().clone();
    resources.iter().map(|one| one[attribute].as_str().unwrap().to_owned()).collect()
}

#[actix_rt::test]
async fn a_directory_keeps_users_groups_and_service_principals() {
    let (gateway, sync) = with_directory().await;
    let ask = async |request: Request| gateway.with_token(&sync, request).await;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ann@example.com", "externalId": "e-1", "displayName": "Ann", "active": true,
        "name": { "givenName": "Ann" }, "password": "never kept",
    });
    let made = ask(scim("POST", "Users", &body)).await.expect(201);
    assert_eq!(made.header("content-type"), Some("application/scim+json"));
    let user = made.json();
    let id = user["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), user["meta"]["location"].as_str());
    assert_eq!((&user["userName"], &user["active"]), (&json!("ann@example.com"), &json!(true)));
    assert!(!user.to_string().contains("never kept"));
    for same in ["ann@example.com", "ANN@example.com"] {
        let refused = ask(scim("POST", "Users", &json!({ "userName": same }))).await.expect(409);
        assert_eq!(
            (&refused.json()["scimType"], &refused.json()["status"]),
            (&json!("uniqueness"), &json!("409"))
        );
    }
    // The same by each of the bases.
    for base in [SCIM, "/api/2.0/scim/v2", "/scim/v2"] {
        let found = ask(Request::get(&format!("{base}/Users/{id}"))).await.expect(200).json();
        assert_eq!((&found["displayName"], &found["name"]["givenName"]), (&json!("Ann"), &json!("Ann")));
        assert_eq!(found["meta"]["location"], format!("{base}/Users/{id}"));
    }
    let group =
        ask(scim("POST", "Groups", &json!({ "displayName": "readers", "members": [{ "value": id }] })))
            .await
            .expect(201)
            .json();
    assert_eq!(group["members"][0]["value"], id);
    let bot =
        ask(scim("POST", "ServicePrincipals", &json!({ "displayName": "Bot" }))).await.expect(201).json();
    assert_eq!(bot["applicationId"].as_str().unwrap().len(), 36);
    let shown = ask(get(&format!("Users/{id}?attributes=groups.display,userName"))).await.expect(200).json();
    assert_eq!(shown["groups"], json!([{ "display": "readers" }]));
    assert!(shown.get("displayName").is_none() && shown["id"] == *id);

    // Paged as databricks-sdk pages: until a page is empty.
    let mut all = Vec::new();
    loop {
        let page = ask(get(&format!("Users?count=4&startIndex={}", all.len() + 1))).await.expect(200);
        assert!(page.json()["totalResults"].as_u64().unwrap() > 4);
        let on_page = names(&page, "userName");
        if on_page.is_empty() {
            break;
        }
        all.extend(on_page);
    }
    let whole = names(&ask(get("Users")).await.expect(200), "userName");
    assert_eq!(all, whole);
    let none = ask(get("Users?count=0")).await.expect(200).json();
    assert_eq!((&none["totalResults"], &none["Resources"]), (&json!(whole.len()), &json!([])));
    let found = ask(get("Users?filter=userName%20eq%20%22ANN@example.com%22")).await.expect(200);
    assert_eq!(names(&found, "userName"), ["ann@example.com"]);
    let sorted = names(&ask(get("Users?sortBy=userName&sortOrder=descending")).await.expect(200), "userName");
    assert!(sorted.windows(2).all(|pair| pair[0].to_lowercase() >= pair[1].to_lowercase()), "{sorted:?}");
    let refused = ask(get("Users?filter=shoeSize%20eq%20%2242%22")).await.expect(400);
    assert_eq!(refused.json()["scimType"], "invalidFilter");

    // A name never changes; an id of another kind, or in another spelling, is nobody's.
    for (path, body) in [
        (format!("Users/{id}"), json!({ "userName": "eve" })),
        (format!("Groups/{}", group["id"].as_str().unwrap()), json!({ "displayName": "admins" })),
        (format!("ServicePrincipals/{}", bot["id"].as_str().unwrap()), json!({ "applicationId": "x" })),
    ] {
        for method in ["PUT", "PATCH"] {
            let body = match method {
                "PUT" => body.clone(),
                _ => json!({ "Operations": [{ "op": "replace", "value": body }] }),
            };
            let refused = ask(scim(method, &path, &body)).await.expect(400);
            assert_eq!(refused.json()["scimType"], "mutability", "{path}: {}", refused.text());
        }
    }
    for foreign in
        [format!("Groups/{id}"), format!("Users/0{id}"), "Users/999999".to_owned(), "Users/me".to_owned()]
    {
        ask(get(&foreign)).await.expect(404);
        ask(delete(&foreign)).await.expect(404);
    }
    // What databricks-sdk sends for `active=False` is refused, and changes nothing.
    let user = format!("Users/{id}");
    let refused = ask(patch(&user, json!({ "op": "replace", "path": "active" }))).await.expect(400);
    assert_eq!(refused.json()["scimType"], "invalidValue");
    assert_eq!(ask(get(&user)).await.json()["active"], true);
    gateway.stop().await;
}

#[actix_rt::test]
async fn deactivation_and_deletion_end_the_very_next_call() {
    let (gateway, sync) = with_directory().await;
    let bob = gateway.newcomer("user:bob").await;
    let user = format!("Users/{}", gateway.id_of("user:bob").await);
    let me = gateway.with_token(&bob, get("Me")).await.expect(200);
    assert_eq!(me.json()["userName"], "bob");
    let discovered =
        gateway.with_token(&bob, Request::get("/.well-known/databricks-config")).await.expect(200);
    assert_eq!(me.header("x-databricks-org-id").unwrap(), discovered.json()["workspace_id"]);
    let replace = json!({ "op": "Replace", "path": "active", "value": "False" });
    gateway.with_token(&sync, patch(&user, replace)).await.expect(200);
    gateway.with_token(&bob, Request::get(WHOAMI)).await.expect(401);
    gateway
        .with_token(&sync, patch(&user, json!({ "op": "add", "value": { "active": true } })))
        .await
        .expect(200);
    gateway.with_token(&bob, Request::get(WHOAMI)).await.expect(200);
    gateway
        .with_token(&sync, scim("PUT", &user, &json!({ "userName": "bob", "active": false })))
        .await
        .expect(200);
    gateway.with_token(&bob, Request::get(WHOAMI)).await.expect(401);
    // A whole resource that says nothing of it does not let anybody in again.
    gateway.with_token(&sync, scim("PUT", &user, &json!({ "userName": "bob" }))).await.expect(200);
    gateway.with_token(&bob, Request::get(WHOAMI)).await.expect(401);
    gateway.with_token(&sync, delete(&user)).await.expect(204);
    gateway.with_token(&sync, get(&user)).await.expect(404);
    let again =
        gateway.with_token(&sync, scim("POST", "Users", &json!({ "userName": "bob" }))).await.expect(201);
    assert_ne!(format!("Users/{}", again.json()["id"].as_str().unwrap()), user);
    gateway.with_token(&bob, Request::get(WHOAMI)).await.expect(401);
    gateway.stop().await;
}

#[actix_rt::test]
async fn whoever_is_not_let_in_sees_itself_and_nobody_else() {
    let (gateway, _) = with_directory().await;
    let id = gateway.id_of("user:admin").await;
    for request in [
        get("Users"),
        get(&format!("Users/{id}")),
        get("Users/999999"),
        get("Groups"),
        scim("POST", "Users", &json!({ "userName": "x" })),
        patch(&format!("Users/{id}"), json!({ "op": "replace", "value": { "active": false } })),
        delete(&format!("Users/{id}")),
    ] {
        let refused = gateway.call(Who::Stranger, request.clone()).await.expect(403);
        assert_eq!(refused.json()["status"], "403", "{}", refused.text());
        gateway.call(Who::Anonymous, request).await.expect(401);
    }
    let me = gateway.call(Who::Stranger, get("Me")).await.expect(200).json();
    assert_eq!(me["groups"][0]["display"], "users");
    assert!(me["id"].is_string() && me["active"] == true);
    for path in ["ServiceProviderConfig", "ResourceTypes", "ResourceTypes/User", "Schemas"] {
        gateway.call(Who::Stranger, get(path)).await.expect(200);
    }
    gateway.stop().await;
}

/// Everything by which a directory's token could make itself, or somebody, an administrator.
#[actix_rt::test]
async fn who_may_manage_identities_does_not_come_to_govern_by_it() {
    let (gateway, sync) = with_directory().await;
    let (store, now) = (gateway.app.store.clone(), gateway.app.clock.now());
    let named = crate::support::directory::principal;
    // Groups that govern, or are denied to; an administrator who is shut out; the directory bound by a denial.
    store.add_member(&named("group:admins"), &named("group:ops"), "test", now).await.unwrap();
    let retired = gateway.newcomer("user:retired").await;
    store.add_member(&named("group:ops"), &named("user:retired"), "test", now).await.unwrap();
    store.set_active(&named("user:retired"), false, "test", now).await.unwrap();
    for (who, effect) in [("group:governors", "allow"), ("group:bound", "deny")] {
        let grant = json!({
            "principal": who, "securable": "workspace:default", "privilege": "policy.manage", "effect": effect,
        });
        gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &grant)).await.expect(200);
    }
    store.add_member(&named("group:bound"), &named("service_principal:sync"), "test", now).await.unwrap();
    store.ensure_principal(&named("group:plain"), "test", now).await.unwrap();
    gateway.app.reload_policy().await.unwrap();
    let id = async |name: &str| gateway.id_of(name).await;
    let (own, admin, retired_id) =
        (id("service_principal:sync").await, id("user:admin").await, id("user:retired").await);
    let plain = id("group:plain").await;
    let tokens =
        store.tokens(Some(&named("user:admin")), tracegate::store::TokenKind::Personal).await.unwrap();
    let add = |id: &str| json!({ "op": "add", "path": "members", "value": [{ "value": id }] });
    let mut tries = Vec::new();
    for group in ["group:admins", "group:ops", "group:governors", "group:bound"] {
        let path = format!("Groups/{}", id(group).await);
        tries.extend([
            patch(&path, add(&own)),
            patch(&path, add(&plain)),
            scim("PUT", &path, &json!({ "displayName": &group[6..], "members": [{ "value": own }] })),
            scim("PUT", &path, &json!({ "displayName": &group[6..], "members": [] })),
            patch(&path, json!({ "op": "remove", "path": "members" })),
            delete(&path),
            Request::json(
                "PUT",
                &format!("/api/tracegate/v1/groups/{group}/members/service_principal:sync"),
                &json!({}),
            ),
            Request::new(
                "DELETE",
                &format!("/api/tracegate/v1/groups/{group}/members/service_principal:sync"),
            ),
            Request::new("DELETE", &format!("/api/tracegate/v1/principals/{group}")),
        ]);
    }
    for (user, id) in [("user:admin", &admin), ("user:retired", &retired_id)] {
        let path = format!("Users/{id}");
        tries.extend([
            patch(&path, json!({ "op": "replace", "value": { "active": true, "title": "t" } })),
            patch(&path, json!({ "op": "replace", "value": { "active": false } })),
            scim("PUT", &path, &json!({ "userName": &user[5..], "emails": ["mine@evil"] })),
            delete(&path),
            Request::json(
                "PUT",
                &format!("/api/tracegate/v1/principals/{user}/active"),
                &json!({ "active": true }),
            ),
            Request::json(
                "PUT",
                &format!("/api/tracegate/v1/principals/{user}/active"),
                &json!({ "active": false }),
            ),
            Request::post("/api/tracegate/v1/tokens", &json!({ "principal": user })),
            Request::new("DELETE", &format!("/api/tracegate/v1/principals/{user}")),
        ]);
    }
    tries.push(Request::new("DELETE", &format!("/api/tracegate/v1/tokens/{}", tokens[0].id)));
    let before = gateway.policy_as_text().await;
    for request in tries {
        let told =
            format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body));
        let answer = gateway.with_token(&sync, request).await;
        assert_eq!(answer.status, 403, "{told}: {}", answer.text());
    }
    assert_eq!(gateway.policy_as_text().await, before);
    gateway.with_token(&retired, Request::get(WHOAMI)).await.expect(401);

    // A group that governs nothing is the directory's to fill, until an administrator lets it govern.
    let path = format!("Groups/{plain}");
    let stranger = id("user:stranger").await;
    gateway.with_token(&sync, patch(&path, add(&stranger))).await.expect(200);
    let join = "/api/tracegate/v1/groups/group:ops/members/group:plain";
    gateway.call(Who::Admin, Request::json("PUT", join, &json!({}))).await.expect(200);
    gateway.with_token(&sync, patch(&path, add(&retired_id))).await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn changes_at_the_same_moment_lose_nothing() {
    let (gateway, sync) = with_directory().await;
    let made = gateway
        .with_token(&sync, scim("POST", "Groups", &json!({ "displayName": "many" })))
        .await
        .expect(201);
    let path = format!("Groups/{}", made.json()["id"].as_str().unwrap());
    let mut calls = Vec::new();
    for number in 0..8 {
        let body = json!({ "userName": format!("user-{number}") });
        let user = gateway.with_token(&sync, scim("POST", "Users", &body)).await.expect(201).json();
        let add = json!({ "op": "add", "path": "members", "value": [{ "value": user["id"] }] });
        calls.push(patch(&path, add));
    }
    let done = calls.into_iter().map(|call| gateway.with_token(&sync, call));
    for answer in futures_util::future::join_all(done).await {
        answer.expect(200);
    }
    let group = gateway.with_token(&sync, get(&path)).await.expect(200).json();
    assert_eq!(group["members"].as_array().unwrap().len(), 8);
    // Two users of one name at once are one user.
    let body = json!({ "userName": "twin" });
    let twins = (0..4).map(|_| gateway.with_token(&sync, scim("POST", "Users", &body)));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(twins).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    gateway.stop().await;
}

#[actix_rt::test]
async fn everybody_is_in_users_and_nobody_is_put_there() {
    let (gateway, sync) = with_directory().await;
    let users = format!("Groups/{}", gateway.id_of("group:users").await);
    let admin = gateway.id_of("user:admin").await;
    let add = json!({ "op": "add", "path": "members", "value": [{ "value": admin }] });
    for who in [&sync, gateway.token(Who::Admin)] {
        let refused = gateway.with_token(who, patch(&users, add.clone())).await.expect(400);
        assert_eq!(refused.json()["scimType"], "mutability");
        gateway.with_token(who, delete(&users)).await.expect(400);
    }
    assert_eq!(gateway.call(Who::Admin, get(&users)).await.expect(200).json()["members"], json!([]));
    gateway.stop().await;
}

/// Each administrative change stands in the record with before and after.
#[actix_rt::test]
async fn every_change_is_on_record_with_before_and_after() {
    let gateway = Gateway::start_embedded().await;
    let admin = async |request: Request| {
        let answer = gateway.call(Who::Admin, request).await;
        assert!(answer.status < 300, "{}", answer.text());
        let change = gateway.recorded_change(&answer).await;
        assert_ne!(change["before"], change["after"], "{change}");
        (answer, change)
    };
    let (made, change) =
        admin(scim("POST", "Users", &json!({ "userName": "ann", "password": "hidden" }))).await;
    assert_eq!((&change["before"], &change["after"]["principal"]), (&Value::Null, &json!("user:ann")));
    let ann = format!("Users/{}", made.json()["id"].as_str().unwrap());
    let (_, change) = admin(scim("PUT", &ann, &json!({ "userName": "ann", "displayName": "Ann" }))).await;
    // That it changed, and not how: who a person is must be erasable, and the record is not.
    assert_eq!(change["after"]["profile_changed"], json!(["display_name"]));
    assert!(!change.to_string().contains("Ann"), "{change}");
    let (_, change) = admin(patch(&ann, json!({ "op": "replace", "value": { "active": false } }))).await;
    assert_eq!((&change["before"]["active"], &change["after"]["active"]), (&json!(true), &json!(false)));
    let (made, _) = admin(scim("POST", "Groups", &json!({ "displayName": "readers" }))).await;
    let group = format!("Groups/{}", made.json()["id"].as_str().unwrap());
    let value = &ann["Users/".len()..];
    let add = json!({ "op": "add", "path": "members", "value": [{ "value": value }] });
    let (_, change) = admin(patch(&group, add)).await;
    assert_eq!(change["after"]["members_new"], json!(["user:ann"]));
    let own = "/api/tracegate/v1";
    let said = json!({ "principal": "service_principal:bot", "display_name": "Bot", "email": "b@c.d" });
    admin(Request::post(&format!("{own}/principals"), &said)).await;
    admin(Request::json(
        "PUT",
        &format!("{own}/principals/service_principal:bot/active"),
        &json!({ "active": false }),
    ))
    .await;
    admin(Request::json(
        "PUT",
        &format!("{own}/groups/group:readers/members/service_principal:bot"),
        &json!({}),
    ))
    .await;
    admin(Request::new("DELETE", &format!("{own}/groups/group:readers/members/service_principal:bot"))).await;
    let list =
        |level: &str| json!({ "access_control_list": [{ "user_name": "ann", "permission_level": level }] });
    let (_, change) =
        admin(Request::json("PUT", "/api/2.0/permissions/experiments/1", &list("CAN_READ"))).await;
    assert_eq!(change["after"]["grants"][0]["privilege"], "CAN_READ");
    let (_, change) =
        admin(Request::json("PATCH", "/api/2.0/permissions/experiments/1", &list("CAN_EDIT"))).await;
    assert_eq!(change["before"]["grants"][0]["privilege"], "CAN_READ");
    let (_, change) = admin(delete(&ann)).await;
    assert_eq!(change["before"]["grants"][0]["privilege"], "CAN_EDIT");
    assert_eq!(change["before"]["memberships"][0]["group"], "group:readers");
    admin(Request::new("DELETE", &format!("{own}/principals/service_principal:bot"))).await;
    admin(delete(&group)).await;
    assert!(!String::from_utf8_lossy(&gateway.spool_bytes()).contains("hidden"), "a password was recorded");
    gateway.stop().await;
}
