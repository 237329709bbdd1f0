//! The token endpoint and its discovery, as clients and as attackers call them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tracegate::access::{EventKind, Outcome, Principal};
use tracegate::store::audit_index::AuditQuery;

use crate::support::callers::Who;
use crate::support::gateway::{Gateway, holds};
use crate::support::logs;
use crate::support::raw_http::{Answer, Request};

const TOKEN: &str = "/oidc/v1/token";

/// A service principal that is known, and may read experiment 1.
async fn with_agent() -> Gateway {
    let gateway = Gateway::start().await;
    for name in ["agent", "other"] {
        let new = json!({ "principal": format!("service_principal:{name}") });
        gateway.call(Who::Admin, Request::post("/api/tracegate/v1/principals", &new)).await.expect(200);
    }
    let grant =
        json!({"principal": "service_principal:agent", "securable": "experiment:1", "privilege": "CAN_READ"});
    gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &grant)).await.expect(200);
    gateway
}

async fn secret(gateway: &Gateway, body: &Value) -> (String, String) {
    let request = Request::post("/api/tracegate/v1/service-principals/agent/secrets", body);
    let made = gateway.call(Who::Admin, request).await.expect(200).json();
    assert_eq!(made["client_id"], "agent");
    (made["client_secret"].as_str().unwrap().to_owned(), made["record"]["id"].as_str().unwrap().to_owned())
}

fn form(body: &str) -> Request {
    Request::new("POST", TOKEN).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

fn basic(client: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")))
}

const CLIENT: &str = "grant_type=client_credentials&scope=all-apis";

async fn access(gateway: &Gateway, secret: &str) -> String {
    let answer = form(CLIENT).header("Authorization", &basic("agent", secret)).send(gateway.address).await;
    let answer = answer.expect(200).json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(answer["scope"], "all-apis");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn read(gateway: &Gateway, token: &str, experiment: &str) -> Answer {
    let target = format!("/api/2.0/mlflow/experiments/get?experiment_id={experiment}");
    Request::get(&target).header("Authorization", &format!("Bearer {token}")).send(gateway.address).await
}

#[actix_rt::test]
async fn a_client_gets_a_token_by_either_way_and_loses_it_with_its_secret() {
    let gateway = with_agent().await;
    let (secret, id) = secret(&gateway, &json!({ "ttl_seconds": 86_400 })).await;
    let token = access(&gateway, &secret).await;
    read(&gateway, &token, "1").await.expect(200);
    read(&gateway, &token, "2").await.expect(403);
    let in_form =
        form(&format!("{CLIENT}&client_id=agent&client_secret={secret}")).send(gateway.address).await;
    assert_eq!(in_form.header("cache-control"), Some("no-store"));
    let other = in_form.expect(200).json()["access_token"].as_str().unwrap().to_owned();
    read(&gateway, &other, "1").await.expect(200);

    // A caller's token list does not show it; who manages identities can see it.
    let list = "/api/tracegate/v1/tokens?principal=service_principal:agent";
    let listed = gateway.call(Who::Admin, Request::get(list)).await.expect(200).json();
    assert_eq!(listed["tokens"], json!([]));
    let listed =
        gateway.call(Who::Admin, Request::get(&format!("{list}&kind=oauth"))).await.expect(200).json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(listed["tokens"][0]["source"], id.as_str());

    let revoke = format!("/api/tracegate/v1/service-principals/agent/secrets/{id}");
    let revoked = gateway.call(Who::Admin, Request::new("DELETE", &revoke)).await.expect(200);
    for token in [&token, &other] {
        read(&gateway, token, "1").await.expect(401);
    }
    let refused = form(CLIENT).header("Authorization", &basic("agent", &secret)).send(gateway.address).await;
    assert_eq!(refused.expect(401).json()["error"], "invalid_client");
    gateway.call(Who::Admin, Request::new("DELETE", &revoke)).await.expect(404);
    let records = gateway.records(&revoked.decision_id()).await;
    let change = records.iter().find_map(|record| record.policy_change.as_ref()).unwrap();
    assert_eq!(change.action, "client_secret.revoke");
    assert!(change.before["revoked_at_ms"].is_null() && change.after["revoked_at_ms"].is_i64());
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_token_that_was_given_is_recorded_with_what_it_was_given_for() {
    let gateway = with_agent().await;
    let (secret, id) = secret(&gateway, &json!({})).await;
    let answer = form(CLIENT).header("Authorization", &basic("agent", &secret)).send(gateway.address).await;
    let answer = answer.expect(200);
    let records = gateway.records(&answer.decision_id()).await;
    let kinds: Vec<EventKind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [EventKind::Begin, EventKind::Complete]);
    let end = &records[1];
    assert_eq!(end.principal.as_deref(), Some("service_principal:agent"));
    assert_eq!(end.proof, Some(format!("client_secret:{id}")));
    let given = end.reason.as_deref().unwrap();
    assert!(given.starts_with("gave `tok_"), "{given}");

    let wrong = format!("{secret}x");
    let refused = form(CLIENT).header("Authorization", &basic("agent", &wrong)).send(gateway.address).await;
    let refused = refused.expect(401);
    let record = gateway.ended(&refused.decision_id()).await;
    assert_eq!((record.principal, record.claimed.as_deref()), (None, Some("service_principal:agent")));
    assert_eq!(record.outcome, Outcome::Refused);
    // Not even as a name that is none.
    let swapped = form(CLIENT).header("Authorization", &basic(&secret, "agent")).send(gateway.address).await;
    let record = gateway.ended(&swapped.expect(401).decision_id()).await;
    assert_eq!(record.claimed, None);
    let (said, spool) = (logs::collected(), gateway.spool_bytes());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    for text in [secret.as_str(), wrong.as_str(), token.as_str()] {
        assert!(!said.contains(text) && !holds(&spool, text), "a secret was written");
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn nobody_learns_which_clients_there_are() {
    let gateway = with_agent().await;
    let (secret, _) = secret(&gateway, &json!({})).await;
    let wrong = "tgs_AAAA";
    let mut answers = Vec::new();
    for (client, secret) in
        [("agent", wrong), ("nobody", wrong), ("other", secret.as_str()), ("admin", "x"), ("", "")]
    {
        let answer = form(CLIENT).header("Authorization", &basic(client, secret)).send(gateway.address).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = answer.text().replace(&answer.decision_id(), "");
        answers.push(text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    gateway.stop().await;
}

#[actix_rt::test]
async fn many_wrong_secrets_are_told_to_wait_and_the_right_one_is_taken() {
    let gateway = with_agent().await;
    let (secret, _) = secret(&gateway, &json!({})).await;
    let mut statuses = Vec::new();
    for number in 0..40 {
        let wrong = format!("tgs_{number}");
        let answer =
            form(CLIENT).header("Authorization", &basic("agent", &wrong)).send(gateway.address).await;
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait));
            assert_eq!(answer.json()["error"], "temporarily_unavailable");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 30, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    access(&gateway, &secret).await;
    // Neither do they fill the record: a few have one each, the others are counted.
    let query = AuditQuery { operation: Some("oauth.token".into()), limit: Some(1000), ..Default::default() };
    let refused = gateway.query(&query).await.into_iter().filter(|record| record.principal.is_none()).count();
    assert!(refused < 40, "{refused}");
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_form_with_two_readings_is_refused() {
    let gateway = with_agent().await;
    let (secret, _) = secret(&gateway, &json!({})).await;
    let credentials = format!("client_id=agent&client_secret={secret}");
    let basic = basic("agent", &secret);
    for (problem, request) in [
        ("twice", form(&format!("{CLIENT}&{credentials}&client_id=agent"))),
        ("two grants", form(&format!("{CLIENT}&{credentials}&grant_type=client_credentials"))),
        ("two spellings", form(&format!("{CLIENT}&{credentials}&clientId=agent"))),
        ("unknown", form(&format!("{CLIENT}&{credentials}&admin=1"))),
        ("assumed group", form(&format!("{CLIENT}&{credentials}&assume_group=1"))),
        ("both ways", form(&format!("{CLIENT}&{credentials}")).header("Authorization", &basic)),
        ("two clients", form(&format!("{CLIENT}&client_id=other")).header("Authorization", &basic)),
        ("two headers", form(CLIENT).header("Authorization", &basic).header("Authorization", &basic)),
        ("mixed grants", form(&format!("{CLIENT}&subject_token=x")).header("Authorization", &basic)),
        ("json", Request::post(TOKEN, &json!({"grant_type": "client_credentials"}))),
        ("no type", Request::new("POST", TOKEN).body(format!("{CLIENT}&{credentials}"))),
        ("compressed", form(&format!("{CLIENT}&{credentials}")).header("Content-Encoding", "gzip")),
        ("another grant", form(&format!("grant_type=password&{credentials}"))),
        ("no grant", form(&credentials)),
        ("foreign scope", form(&format!("grant_type=client_credentials&scope=sql&{credentials}"))),
        (
            "all and less",
            form(&format!(
                "grant_type=client_credentials&scope=all-apis+CAN_READ@experiment:1&{credentials}"
            )),
        ),
    ] {
        let answer = request.send(gateway.address).await;
        assert_eq!(answer.status, 400, "{problem}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(
            ["invalid_request", "unsupported_grant_type", "invalid_scope"].contains(&error.as_str()),
            "{problem}"
        );
        assert!(!answer.everything().contains(&secret), "{problem}");
    }
    // Not in a query, which is written to logs on the way; and a bearer token is no client's secret.
    let query = Request::new("POST", &format!("{TOKEN}?{credentials}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(CLIENT);
    query.send(gateway.address).await.expect(400);
    let bearer = format!("Bearer {}", gateway.token(Who::Admin));
    form(CLIENT).header("Authorization", &bearer).send(gateway.address).await.expect(401);
    Request::get(TOKEN).send(gateway.address).await.expect(404);
    assert!(!holds(&gateway.spool_bytes(), &secret) && !logs::collected().contains(&secret));
    gateway.stop().await;
}

#[actix_rt::test]
async fn scopes_of_the_secret_and_of_the_request_both_narrow() {
    let gateway = with_agent().await;
    let scopes = json!([{ "privilege": "CAN_READ", "securable": "experiment:1" }]);
    let (bound, _) = secret(&gateway, &json!({ "scopes": scopes })).await;
    let got = form(CLIENT).header("Authorization", &basic("agent", &bound)).send(gateway.address).await;
    let got = got.expect(200).json();
    assert_eq!(got["scope"], "CAN_READ@experiment:1");
    let token = got["access_token"].as_str().unwrap();
    read(&gateway, token, "1").await.expect(200);
    // It is for reading: not for making tokens or secrets, nor for a list of them.
    for request in [
        Request::get("/api/2.0/token/list"),
        Request::post("/api/2.0/token/create", &json!({})),
        Request::get("/api/tracegate/v1/tokens"),
    ] {
        request.header("Authorization", &format!("Bearer {token}")).send(gateway.address).await.expect(403);
    }
    let more = form("grant_type=client_credentials&scope=CAN_MANAGE@experiment:1");
    let refused = more.header("Authorization", &basic("agent", &bound)).send(gateway.address).await;
    assert_eq!(refused.expect(400).json()["error"], "invalid_scope");
    let (free, _) = secret(&gateway, &json!({})).await;
    let less = form("grant_type=client_credentials&scope=run.read@experiment:1");
    let less =
        less.header("Authorization", &basic("agent", &free)).send(gateway.address).await.expect(200).json();
    read(&gateway, less["access_token"].as_str().unwrap(), "1").await.expect(403);
    gateway.stop().await;
}

#[actix_rt::test]
async fn discovery_names_the_host_it_was_asked_at_and_is_kept_by_nobody() {
    let gateway = Gateway::start().await;
    let config = Request::get("/.well-known/databricks-config").send(gateway.address).await.expect(200);
    assert_eq!((config.header("cache-control"), config.header("vary")), (Some("no-store"), Some("Host")));
    assert_eq!(config.json()["oidc_endpoint"], "http://gateway/oidc");
    assert!(config.json()["workspace_id"].is_string());
    for path in ["/oidc/.well-known/oauth-authorization-server", "/oidc/.well-known/openid-configuration"] {
        let metadata = Request::get(path).send(gateway.address).await.expect(200);
        assert_eq!(metadata.header("cache-control"), Some("no-store"));
        assert_eq!(metadata.json()["token_endpoint"], "http://gateway/oidc/v1/token");
        assert_eq!(metadata.json()["issuer"], "http://gateway/oidc");
    }
    for host in ["evil/path", "a\"b", "a b", "a@b", "", "a:b"] {
        let bytes = format!(
            "GET /.well-known/databricks-config HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        let answer = crate::support::raw_http::exchange(gateway.address, bytes.as_bytes()).await;
        let answer = Answer::parse(&answer, false);
        assert_eq!(answer.status, 400, "{host}: {}", answer.text());
    }
    Request::get("/oidc/v1/authorize").send(gateway.address).await.expect(501);
    gateway.stop().await;

    let gateway = Gateway::start_with(|config| {
        config.server.public_url = Some("https://gate.example/".to_owned());
    })
    .await;
    let config = Request::get("/.well-known/databricks-config").send(gateway.address).await.expect(200);
    assert_eq!(config.json()["oidc_endpoint"], "https://gate.example/oidc");
    gateway.stop().await;
}

#[actix_rt::test]
async fn secrets_are_for_those_who_manage_identities_and_for_service_principals() {
    let gateway = with_agent().await;
    let own = "/api/tracegate/v1/service-principals/agent/secrets";
    let databricks = "/api/2.0/accounts/servicePrincipals/agent/credentials/secrets";
    for path in [own, databricks] {
        for who in [Who::Manager, Who::Stranger] {
            gateway.call(who, Request::get(path)).await.expect(403);
            gateway.call(who, Request::post(path, &json!({}))).await.expect(403);
        }
        Request::post(path, &json!({})).send(gateway.address).await.expect(401);
    }
    let made = gateway
        .call(Who::Admin, Request::post(databricks, &json!({ "lifetime": "7200s" })))
        .await
        .expect(200);
    let made = made.json();
    assert_eq!(made["status"], "ACTIVE");
    access(&gateway, made["secret"].as_str().unwrap()).await;
    let listed = gateway.call(Who::Admin, Request::get(databricks)).await.expect(200);
    assert_eq!(listed.json()["secrets"][0]["id"], made["id"]);
    assert!(!listed.text().contains(made["secret"].as_str().unwrap()));
    let id = made["id"].as_str().unwrap();
    // Somebody else's secret is none of this one's.
    let other = format!("/api/2.0/accounts/servicePrincipals/other/credentials/secrets/{id}");
    gateway.call(Who::Admin, Request::new("DELETE", &other)).await.expect(404);
    gateway.call(Who::Admin, Request::new("DELETE", &format!("{databricks}/{id}"))).await.expect(200);
    let listed = gateway.call(Who::Admin, Request::get(databricks)).await.expect(200);
    assert_eq!(listed.json()["secrets"], json!([]));
    for (path, body, status) in [
        (databricks.replace("agent", "nobody"), json!({}), 404),
        // Digits are a number of the directory, and there is none.
        (databricks.replace("agent", "123"), json!({}), 404),
        (own.replace("agent", "nobody"), json!({}), 404),
        (own.replace("agent", "user:reader"), json!({}), 404),
        (databricks.to_owned(), json!({ "lifetime": "1h" }), 400),
        (databricks.to_owned(), json!({ "scopes": ["sql"] }), 400),
        (own.to_owned(), json!({ "ttl_seconds": 0 }), 400),
        (own.to_owned(), json!({ "scopes": [] }), 400),
    ] {
        let answer = gateway.call(Who::Admin, Request::post(&path, &body)).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
    }
    gateway.stop().await;
}

#[actix_rt::test]
async fn shutting_a_service_principal_out_ends_its_tokens_with_the_next_call() {
    let gateway = with_agent().await;
    let (secret, _) = secret(&gateway, &json!({})).await;
    let token = access(&gateway, &secret).await;
    read(&gateway, &token, "1").await.expect(200);
    let path = "/api/tracegate/v1/principals/service_principal:agent/active";
    gateway.call(Who::Admin, Request::json("PUT", path, &json!({ "active": false }))).await.expect(200);
    read(&gateway, &token, "1").await.expect(401);
    form(CLIENT).header("Authorization", &basic("agent", &secret)).send(gateway.address).await.expect(401);
    assert_eq!(
        gateway.app.store.is_active(&Principal::service_principal("agent").unwrap()).await.unwrap(),
        Some(false)
    );
    gateway.stop().await;
}
