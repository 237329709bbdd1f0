//! Acting on behalf of users: with the rights of both and no more, and both in the record.

use serde_json::json;
use tracegate::access::Principal;
use tracegate::store::audit_index::{AuditQuery, Level, ReadersOf};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, trace};
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::{Answer, Request};

const HEADER: &str = "X-Tracegate-On-Behalf-Of";

struct Agent {
    gateway: Gateway,
    token: String,
}

impl Agent {
    /// A service principal that may act for users, and may read experiments 1 and 2.
    async fn start() -> Self {
        let gateway = Gateway::start().await;
        let new = json!({ "principal": "service_principal:agent" });
        gateway.call(Who::Admin, Request::post("/api/tracegate/v1/principals", &new)).await.expect(200);
        for (on, privilege) in [
            ("workspace:default", "principal.act_for"),
            ("experiment:1", "CAN_READ"),
            ("experiment:2", "CAN_READ"),
        ] {
            grant(&gateway, "service_principal:agent", on, privilege).await;
        }
        let token = token(&gateway, &json!({ "principal": "service_principal:agent" })).await;
        Self { gateway, token }
    }

    async fn for_whom(&self, who: &str, request: Request) -> Answer {
        self.with(&self.token, who, request).await
    }

    async fn with(&self, token: &str, who: &str, request: Request) -> Answer {
        let request = request.header("User-Agent", AGENT).header("Authorization", &format!("Bearer {token}"));
        request.header(HEADER, who).send(self.gateway.address).await
    }
}

async fn grant(gateway: &Gateway, principal: &str, on: &str, privilege: &str) {
    let grant = json!({ "principal": principal, "securable": on, "privilege": privilege });
    gateway.call(Who::Admin, Request::post("/api/tracegate/v1/grants", &grant)).await.expect(200);
}

async fn token(gateway: &Gateway, body: &serde_json::Value) -> String {
    let made = gateway.call(Who::Admin, Request::post("/api/tracegate/v1/tokens", body)).await.expect(200);
    made.json()["token"].as_str().unwrap().to_owned()
}

fn experiment(id: &str) -> Request {
    Request::get(&format!("/api/2.0/mlflow/experiments/get?experiment_id={id}"))
}

#[actix_rt::test]
async fn a_call_needs_the_rights_of_both() {
    let agent = Agent::start().await;
    // `reader` may read 1, the agent 1 and 2, `editor` may edit 1.
    agent.for_whom("user:reader", experiment("1")).await.expect(200);
    agent.for_whom("user:reader", experiment("2")).await.expect(403);
    agent.for_whom("user:stranger", experiment("1")).await.expect(403);
    let edit = Request::post(
        "/api/2.0/mlflow/experiments/set-experiment-tag",
        &json!({ "experiment_id": "1", "key": "k", "value": "v" }),
    );
    agent.for_whom("user:editor", edit.clone()).await.expect(403);
    agent.gateway.call(Who::Editor, edit.clone()).await.expect(200);
    // An administrator's rights do not rub off.
    agent.for_whom("user:admin", edit).await.expect(403);
    agent.for_whom("user:admin", experiment("2")).await.expect(200);
    agent.for_whom("user:admin", Request::get("/api/tracegate/v1/principals")).await.expect(403);
    let whoami =
        agent.for_whom("user:admin", Request::get("/api/tracegate/v1/whoami")).await.expect(200).json();
    assert_eq!(
        (&whoami["principal"], &whoami["actor"]),
        (&json!("user:admin"), &json!("service_principal:agent"))
    );
    assert_eq!(whoami["administrator"], false);
    agent.gateway.stop().await;
}

#[actix_rt::test]
async fn both_are_in_the_record_and_are_found_by_it() {
    let agent = Agent::start().await;
    let read = Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)));
    let answer = agent.for_whom("user:reader", read).await.expect(200);
    let record = agent.gateway.ended(&answer.decision_id()).await;
    assert_eq!(record.principal.as_deref(), Some("user:reader"));
    assert_eq!(record.actor.as_deref(), Some("service_principal:agent"));
    assert!(record.proof.unwrap().starts_with("token:tok_"));
    for who in ["user:reader", "service_principal:agent"] {
        let query = AuditQuery { principal: Some(who.to_owned()), ..Default::default() };
        let found = agent.gateway.query(&query).await;
        assert!(found.iter().any(|event| event.decision_id == answer.decision_id()), "{who}");
    }
    let index = agent.gateway.app.records.index();
    let saw = index.readers(&ReadersOf::Trace(trace(A)), Level::Read, None, None).await.unwrap();
    let both = saw.iter().any(|reader| {
        reader.principal == "user:reader" && reader.actor.as_deref() == Some("service_principal:agent")
    });
    assert!(both, "{saw:?}");
    let seen = Request::get(&format!("/api/tracegate/v1/audit/seen?trace_id={}", trace(A)));
    let people = agent.gateway.call(Who::Admin, seen).await.expect(200).json()["people"].clone();
    assert_eq!(people, json!(["service_principal:agent", "user:reader"]));
    let refused = agent.for_whom("user:reader", experiment("2")).await.expect(403);
    let record = agent.gateway.ended(&refused.decision_id()).await;
    assert_eq!(record.actor.as_deref(), Some("service_principal:agent"));
    agent.gateway.stop().await;
}

#[actix_rt::test]
async fn only_known_and_active_users_are_acted_for() {
    let agent = Agent::start().await;
    for (who, status) in [
        ("user:nobody", 403),
        ("group:admins", 400),
        ("group:users", 400),
        ("service_principal:agent", 400),
        ("service_principal:other", 400),
        ("reader", 400),
        ("", 400),
        ("user:", 400),
        ("user:reader,user:admin", 400),
        ("user:reader, user:admin", 400),
        ("USER:reader", 400),
        ("user:Reader", 403),
    ] {
        let answer = agent.for_whom(who, experiment("1")).await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
    }
    // Twice is none, even if both say the same.
    let request = experiment("1").header(HEADER, "user:reader");
    agent.for_whom("user:reader", request).await.expect(400);
    let path = "/api/tracegate/v1/principals/user:reader/active";
    let shut_out = Request::json("PUT", path, &json!({ "active": false }));
    agent.for_whom("user:reader", experiment("1")).await.expect(200);
    agent.gateway.call(Who::Admin, shut_out).await.expect(200);
    agent.for_whom("user:reader", experiment("1")).await.expect(403);
    agent.gateway.stop().await;
}

#[actix_rt::test]
async fn only_service_principals_that_may_act_act() {
    let agent = Agent::start().await;
    let gateway = &agent.gateway;
    let reader = gateway.token(Who::Reader).to_owned();
    grant(gateway, "user:reader", "workspace:default", "principal.act_for").await;
    agent.with(&reader, "user:editor", experiment("1")).await.expect(403);
    let admin = gateway.token(Who::Admin).to_owned();
    agent.with(&admin, "user:editor", experiment("1")).await.expect(403);
    // Without the privilege, a user that is there and one that is not look alike.
    let new = json!({ "principal": "service_principal:plain" });
    gateway.call(Who::Admin, Request::post("/api/tracegate/v1/principals", &new)).await.expect(200);
    grant(gateway, "service_principal:plain", "experiment:1", "CAN_MANAGE").await;
    let plain = token(gateway, &json!({ "principal": "service_principal:plain" })).await;
    let mut said = Vec::new();
    for who in ["user:reader", "user:nobody", "group:admins", "nonsense", ""] {
        let answer = agent.with(&plain, who, experiment("1")).await;
        assert_eq!(answer.status, 403, "{who}");
        said.push(answer.text().replace(&answer.decision_id(), ""));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    // A token that is for less than acting does not act, whatever its owner may do.
    let scopes = json!([{ "privilege": "CAN_READ", "securable": "experiment:1" }]);
    let body = json!({ "principal": "service_principal:agent", "scopes": scopes });
    let narrow = token(gateway, &body).await;
    agent.with(&narrow, "user:reader", experiment("1")).await.expect(403);
    let scopes = json!([
        { "privilege": "principal.act_for", "securable": "workspace:default" },
        { "privilege": "CAN_READ", "securable": "experiment:1" },
    ]);
    let acting = token(gateway, &json!({ "principal": "service_principal:agent", "scopes": scopes })).await;
    agent.with(&acting, "user:reader", experiment("1")).await.expect(200);
    agent.with(&acting, "user:admin", experiment("2")).await.expect(403);
    let nobody = experiment("1").header(HEADER, "user:reader").send(gateway.address).await;
    nobody.expect(401);
    let bad = agent.with("tg_bad", "user:reader", experiment("1")).await;
    bad.expect(401);
    // A privilege that was taken away is gone with the next call.
    let principal = Principal::service_principal("agent").unwrap();
    let grants = gateway.app.store.grants(Some(&principal), None).await.unwrap();
    let act = grants.iter().find(|grant| grant.grant.privilege == "principal.act_for").unwrap();
    let path = format!("/api/tracegate/v1/grants/{}", act.id.0);
    gateway.call(Who::Admin, Request::new("DELETE", &path)).await.expect(200);
    agent.for_whom("user:reader", experiment("1")).await.expect(403);
    agent.gateway.stop().await;
}

#[actix_rt::test]
async fn nothing_is_got_that_outlives_the_call() {
    let agent = Agent::start().await;
    grant(&agent.gateway, "service_principal:agent", "experiment:1", "CAN_MANAGE").await;
    grant(&agent.gateway, "service_principal:agent", "experiment:1", "break_glass.use").await;
    grant(&agent.gateway, "user:manager", "experiment:1", "break_glass.use").await;
    let glass = json!({
        "securable": "experiment:1", "privilege": "CAN_READ", "minutes": 5, "reason": "because I say so",
    });
    for request in [
        Request::post("/api/tracegate/v1/tokens", &json!({})),
        Request::get("/api/tracegate/v1/tokens"),
        Request::post("/api/2.0/token/create", &json!({})),
        Request::get("/api/2.0/token/list"),
        Request::post("/api/2.0/token/delete", &json!({ "token_id": "tok_x" })),
        Request::post("/api/tracegate/v1/break-glass", &glass),
    ] {
        let path = request.target.clone();
        let answer = agent.for_whom("user:manager", request).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(answer.text().contains("on behalf of"), "{path}: {}", answer.text());
    }
    agent.gateway.stop().await;
}

#[actix_rt::test]
async fn a_user_that_is_acted_for_did_not_start_what_he_started_alone() {
    let agent = Agent::start().await;
    grant(&agent.gateway, "service_principal:agent", "experiment:1", "CAN_INGEST").await;
    // The ingester's own trace: he may tag it because he started it.
    let id = format!("tr-{}", "5".repeat(32));
    let start = json!({ "trace": { "trace_info": {
        "trace_id": id, "request_time": "2026-01-01T00:00:00Z", "state": "OK",
        "trace_location": { "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "1" } },
    } } });
    agent.gateway.call(Who::Ingester, Request::post("/api/3.0/mlflow/traces", &start)).await.expect(200);
    let tag = Request::json(
        "PATCH",
        &format!("/api/3.0/mlflow/traces/{id}/tags"),
        &json!({ "trace_id": id, "key": "k", "value": "v" }),
    );
    agent.gateway.call(Who::Ingester, tag.clone()).await.expect(200);
    // The agent did not start it, so both together may not.
    agent.for_whom("user:ingester", tag).await.expect(403);
    agent.gateway.stop().await;
}
