//! Policy as code, through the command line and its API: planned, applied, tested, exported; and what one would try
//! to get more out of it than one may.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tracegate::access::{EventKind, Principal};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{A, trace};
use crate::support::gateway::Gateway;
use crate::support::raw_http::{Answer, Request};

const PLAN: &str = "/api/tracegate/v1/policy/plan";
const APPLY: &str = "/api/tracegate/v1/policy/apply";
const TEST: &str = "/api/tracegate/v1/policy/test";

/// Bob and Cid are analysts, Cid through juniors; analysts read experiments 1 and, by its folder, 7.
async fn gateway_with_analysts() -> Gateway {
    let gateway = Gateway::start().await;
    let (store, now) = (&gateway.app.store, gateway.app.clock.now());
    let principal = |text: &str| text.parse::<Principal>().unwrap();
    for (group, member) in
        [("group:analysts", "user:bob"), ("group:analysts", "group:juniors"), ("group:juniors", "user:cid")]
    {
        store.add_member(&principal(group), &principal(member), "test", now).await.unwrap();
    }
    let (experiment, folder) = ("experiment:7".parse().unwrap(), "folder:/team".parse().unwrap());
    store.put_securable(&experiment, &folder, "/team/bot", "test", now).await.unwrap();
    for securable in ["experiment:1", "folder:/team"] {
        let grant = serde_json::from_value(json!({
            "principal": "group:analysts", "securable": securable, "privilege": "CAN_READ", "reason": "review",
        }));
        store.add_grant(&grant.unwrap(), "test", now).await.unwrap();
    }
    gateway.app.reload_policy().await.unwrap();
    gateway
}

async fn command(gateway: &Gateway, who: Who, arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_tracegate"))
        .args(arguments)
        .env("TRACEGATE_URL", format!("http://{}", gateway.address))
        .env("TRACEGATE_TOKEN", gateway.token(who))
        .output()
        .await
        .unwrap()
}

#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{error}");
    text + error.as_str()
}

fn written(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Closes the group's access to everything that it had.
const CLOSED: &str = "version: 1
grants:
  - on: experiment:1
    allow:
      - {to: user:manager, privilege: CAN_MANAGE}
      - {to: user:editor, privilege: CAN_EDIT}
      - {to: user:reader, privilege: CAN_READ}
      - {to: user:assessor, privilege: CAN_ASSESS}
      - {to: user:ingester, privilege: CAN_INGEST}
      - {to: user:lister, privilege: CAN_LIST}
  - on: folder:/team
expect:
  - {principal: user:bob, on: experiment:7, may_not: [trace.read]}
  - {principal: user:reader, on: experiment:1, may: [trace.read]}
";

#[actix_rt::test]
async fn closing_a_groups_access_is_planned_applied_once_and_recorded() {
    let gateway = gateway_with_analysts().await;
    let directory = tempfile::tempdir().unwrap();
    let file = written(directory.path(), "closed.yaml", CLOSED);

    let planned = command(&gateway, Who::Admin, &["policy", "plan", &file, "--exit-code", "--json"]).await;
    let plan: Value = serde_json::from_str(&ended(&planned, 2)).unwrap();
    let pairs: Vec<String> = plan["loses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            assert!(pair["privileges"].as_array().unwrap().contains(&json!("trace.read")), "{pair}");
            format!("{} {} {}", pair["principal"], pair["securable"], pair["name"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        pairs,
        [
            "user:bob folder:/team null",
            "user:bob experiment:1 null",
            "user:bob experiment:7 /team/bot",
            "user:cid folder:/team null",
            "user:cid experiment:1 null",
            "user:cid experiment:7 /team/bot",
        ]
    );
    assert_eq!((&plan["gains"], &plan["complete"]), (&json!([]), &json!(true)));
    assert_eq!(plan["changes"].as_array().unwrap().len(), 2);
    assert_eq!((&plan["expectations"], &plan["failures"]), (&json!(2), &json!([])));
    let words = ended(&command(&gateway, Who::Admin, &["policy", "plan", &file]).await, 0);
    assert!(words.contains("- allow CAN_READ to group:analysts on folder:/team (review)"), "{words}");
    assert!(words.contains("user:cid on experiment:7 (/team/bot): "), "{words}");
    assert!(words.contains("gains access: nobody"), "{words}");

    // A dry run is the plan; nothing changed so far.
    ended(&command(&gateway, Who::Admin, &["policy", "apply", &file, "--dry-run"]).await, 0);
    assert_eq!(gateway.app.policy.version(), plan["policy_version"]);

    let version = plan["policy_version"].as_i64().unwrap();
    let body = json!({"policy": closed(), "expected_version": version});
    let answer = gateway.call(Who::Admin, Request::post(APPLY, &body)).await.expect(200);
    assert_eq!(
        (&answer.json()["applied"], &answer.json()["policy_version"]),
        (&json!(true), &json!(version + 1))
    );
    let records = gateway.records(&answer.decision_id()).await;
    let changes: Vec<_> = records.iter().filter(|event| event.kind == EventKind::PolicyChange).collect();
    assert_eq!(changes.len(), 1);
    let change = changes[0].policy_change.as_ref().unwrap();
    assert_eq!(change.action, "policy.apply");
    assert_eq!(change.before["grants"].as_array().unwrap().len(), 2);
    assert_eq!(change.after["grants"], json!([]));
    // The same once more is at a version that has passed; without it, there is nothing left to do.
    let again = gateway.call(Who::Admin, Request::post(APPLY, &body)).await.expect(409);
    assert!(again.text().contains(&format!("version {}", version + 1)), "{}", again.text());
    let rest = ended(&command(&gateway, Who::Admin, &["policy", "apply", &file]).await, 0);
    assert!(rest.contains("nothing would change"), "{rest}");
    assert_eq!(gateway.app.policy.version(), version + 1);
    ended(&command(&gateway, Who::Admin, &["policy", "plan", &file, "--exit-code"]).await, 0);
    gateway.stop().await;
}

/// What the command line sends of `CLOSED`; written by hand, so that the API is tested by itself.
fn closed() -> Value {
    let grant = |who: &str, level: &str| json!({"to": format!("user:{who}"), "privilege": level});
    json!({"grants": [
        {"on": "experiment:1", "allow": [
            grant("manager", "CAN_MANAGE"), grant("editor", "CAN_EDIT"), grant("reader", "CAN_READ"),
            grant("assessor", "CAN_ASSESS"), grant("ingester", "CAN_INGEST"), grant("lister", "CAN_LIST"),
        ]},
        {"on": "folder:/team"},
    ]})
}

#[actix_rt::test]
async fn what_is_exported_plans_to_nothing_and_casbin_gets_its_files() {
    let gateway = gateway_with_analysts().await;
    let directory = tempfile::tempdir().unwrap();
    let (now, store) = (gateway.app.clock.now(), &gateway.app.store);
    for (securable, privilege, extra) in [
        ("table:main.a.b", "OWNER", json!({})),
        ("catalog:main", "USE CATALOG", json!({"reason": "a \"quoted\" reason: #1, {with} all"})),
        ("registered_model:a b, {c}: #1", "CAN_READ", json!({"expires_at_ms": now.0 + 86_400_123})),
        ("experiment:9", "trace.read", json!({"effect": "deny"})),
    ] {
        let mut grant = json!({"principal": "user:a b:c #d", "securable": securable, "privilege": privilege});
        grant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        store.add_grant(&serde_json::from_value(grant).unwrap(), "test", now).await.unwrap();
    }
    gateway.app.reload_policy().await.unwrap();
    let file = directory.path().join("export.yaml");
    let file = file.to_str().unwrap();
    ended(&command(&gateway, Who::Admin, &["policy", "export", "--output", file]).await, 0);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("  - group: group:analysts\n    members: [user:bob, group:juniors]\n"), "{text}");
    // Neither as a part nor as the whole does it differ from what is in force.
    for scope in ["scope: listed", "scope: all"] {
        std::fs::write(file, text.replace("scope: listed", scope)).unwrap();
        let plan = command(&gateway, Who::Admin, &["policy", "plan", file, "--exit-code"]).await;
        assert!(ended(&plan, 0).contains("nothing would change"), "{scope}");
    }
    let to_stdout = ended(&command(&gateway, Who::Admin, &["policy", "export"]).await, 0);
    assert!(to_stdout.contains("  - on: \"registered_model:a b, {c}: #1\"\n"), "{to_stdout}");

    let casbin = directory.path().join("casbin");
    ended(
        &command(&gateway, Who::Admin, &["policy", "export", "--casbin", casbin.to_str().unwrap()]).await,
        0,
    );
    assert!(std::fs::read_to_string(casbin.join("model.conf")).unwrap().contains("[matchers]"));
    let rules = std::fs::read_to_string(casbin.join("policy.csv")).unwrap();
    assert!(rules.lines().any(|line| line.starts_with("p, group:analysts, folder:/team, CAN_READ, allow, ")));
    assert!(rules.lines().any(|line| line == "g, user:bob, group:analysts"), "{rules}");
    assert_eq!(std::fs::read_dir(&casbin).unwrap().count(), 2);
    gateway.stop().await;
}

#[actix_rt::test]
async fn expectations_are_tested_and_stop_an_apply_that_would_break_them() {
    let gateway = gateway_with_analysts().await;
    let directory = tempfile::tempdir().unwrap();
    let text = "version: 1
grants:
  - on: folder:/team
expect:
  - {principal: user:cid, on: experiment:7, may: [trace.read], may_not: [trace.write]}
";
    let file = written(directory.path(), "team.yaml", text);
    let met = ended(&command(&gateway, Who::Admin, &["policy", "test", &file]).await, 0);
    assert!(met.contains("all of 2 expectations are met"), "{met}");
    let unmet = ended(&command(&gateway, Who::Admin, &["policy", "test", &file, "--planned"]).await, 1);
    let line = format!(
        "{file}:5:5: `user:cid` does not have `trace.read` on `experiment:7`: no grant gives `trace.read` on `experiment:7`"
    );
    assert!(unmet.contains(&line), "{unmet}");
    let version = gateway.app.store.policy_version().await.unwrap();
    let refused = ended(&command(&gateway, Who::Admin, &["policy", "apply", &file]).await, 1);
    assert!(refused.contains(&line), "{refused}");
    // Nor by the API alone, which the command line is not needed for.
    let body = json!({"policy": {"grants": [{"on": "folder:/team"}],
        "expect": [{"principal": "user:cid", "on": "experiment:7", "may": ["trace.read"]}]}});
    let answer = gateway.call(Who::Admin, Request::post(APPLY, &body)).await.expect(400);
    assert!(answer.text().contains("expect[0]"), "{}", answer.text());
    assert_eq!(gateway.app.store.policy_version().await.unwrap(), version);
    gateway.stop().await;
}

#[actix_rt::test]
async fn bad_files_are_told_by_line_and_column_and_nothing_is_sent() {
    let gateway = Gateway::start().await;
    let directory = tempfile::tempdir().unwrap();
    let one = written(directory.path(), "one.yaml", "version: 1\ngrants:\n- {on: experiment:x}\n");
    let two = written(directory.path(), "two.yaml", "version: 1\ngroup: []\n");
    for verb in ["plan", "apply", "test"] {
        let told = ended(&command(&gateway, Who::Admin, &["policy", verb, &one, &two]).await, 1);
        assert!(told.contains(&format!("{one}:3:8: `x` is not an experiment id")), "{told}");
        assert!(told.contains(&format!("{two}:2:1: `group` is not known here")), "{told}");
    }
    // What only the gateway can see is told at its place too.
    let text =
        "version: 1\ngroups:\n- {group: a, members: ['group:b']}\n- {group: b, members: ['group:a']}\n";
    let circle = written(directory.path(), "circle.yaml", text);
    let told = ended(&command(&gateway, Who::Admin, &["policy", "apply", &circle]).await, 1);
    assert!(told.contains(&format!("{circle}:3:24: `group:b` would contain `group:a`")), "{told}");
    gateway.stop().await;
}

async fn post(gateway: &Gateway, who: Who, path: &str, policy: &Value) -> Answer {
    gateway.call(who, Request::post(path, &json!({ "policy": policy }))).await
}

#[actix_rt::test]
async fn nobody_gets_more_out_of_files_than_out_of_single_calls() {
    let gateway = gateway_with_analysts().await;
    let own = json!({"grants": [{"on": "experiment:1", "allow": [{"to": "user:stranger", "privilege": "CAN_READ"}]}]});
    // To manage an experiment is not to read or write policy.
    for who in [Who::Manager, Who::Stranger, Who::Anonymous] {
        let status = if who == Who::Anonymous { 401 } else { 403 };
        for path in [PLAN, APPLY, TEST] {
            let answer = post(&gateway, who, path, &own).await.expect(status);
            assert!(
                !answer.text().contains("analysts") && !answer.text().contains("bob"),
                "{}",
                answer.text()
            );
        }
        for path in ["export", "casbin", "casbin?part=model"] {
            gateway.call(who, Request::get(&format!("/api/tracegate/v1/policy/{path}"))).await.expect(status);
        }
    }
    // To read policy is not to write it, nor to read the record.
    gateway.grant(Who::Stranger, "workspace:default", "policy.read").await;
    let plan = post(&gateway, Who::Stranger, PLAN, &own).await.expect(200).json();
    assert_eq!(plan["replay"]["skipped"], "`audit.read` on the workspace is missing");
    assert_eq!(plan["replay"]["would_be_refused"], json!([]));
    post(&gateway, Who::Stranger, APPLY, &own).await.expect(403);
    // To write policy without reading it would tell who may what by the answer.
    gateway.grant(Who::Lister, "workspace:default", "policy.manage").await;
    post(&gateway, Who::Lister, APPLY, &own).await.expect(403);
    post(&gateway, Who::Lister, PLAN, &own).await.expect(403);
    // Both do not reach who is in which group, as the single calls do not.
    gateway.grant(Who::Stranger, "workspace:default", "policy.manage").await;
    let join = json!({"groups": [{"group": "group:admins", "members": ["user:admin", "user:stranger"]}]});
    let refused = post(&gateway, Who::Stranger, APPLY, &join).await.expect(403);
    assert!(refused.text().contains("identity.manage"), "{}", refused.text());
    // A level that `user:stranger` writes for himself changes with the rest or not at all.
    let version = gateway.app.store.policy_version().await.unwrap();
    let both = json!({"grants": own["grants"], "groups": join["groups"]});
    post(&gateway, Who::Stranger, APPLY, &both).await.expect(403);
    assert_eq!(gateway.app.store.policy_version().await.unwrap(), version);
    gateway.stop().await;
}

#[actix_rt::test]
async fn the_last_administrator_stays_whatever_files_say() {
    let gateway = Gateway::start().await;
    for policy in [
        json!({"scope": "all"}),
        json!({"groups": [{"group": "group:admins", "members": []}]}),
        json!({"groups": [{"group": "group:admins", "members": ["group:empty"]}]}),
    ] {
        for path in [PLAN, APPLY] {
            let answer = post(&gateway, Who::Admin, path, &policy).await.expect(400);
            assert!(answer.text().contains("last administrator"), "{}", answer.text());
        }
    }
    // One goes as another comes: that is a change like others.
    let handed = json!({"groups": [{"group": "group:admins", "members": ["user:editor"]}]});
    post(&gateway, Who::Admin, APPLY, &handed).await.expect(200);
    post(&gateway, Who::Admin, PLAN, &handed).await.expect(403);
    post(&gateway, Who::Editor, PLAN, &handed).await.expect(200);
    gateway.stop().await;
}

#[actix_rt::test]
async fn of_two_applies_at_one_version_one_wins() {
    let gateway = Gateway::start().await;
    let version = gateway.app.store.policy_version().await.unwrap();
    let body = |level: &str| {
        json!({"expected_version": version, "policy": {"grants": [
            {"on": "experiment:5", "allow": [{"to": "user:reader", "privilege": level}]},
        ]}})
    };
    let levels = ["CAN_READ", "CAN_EDIT", "CAN_MANAGE", "CAN_LIST"];
    let calls = levels.map(|level| gateway.call(Who::Admin, Request::post(APPLY, &body(level))));
    let answers = futures_util::future::join_all(calls).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
    let on = "experiment:5".parse().unwrap();
    let grants = gateway.app.store.grants(None, Some(&on)).await.unwrap();
    assert_eq!(
        grants.iter().map(|grant| grant.grant.privilege.as_str()).collect::<Vec<_>>(),
        [levels[winner]]
    );
    assert_eq!(gateway.app.store.policy_version().await.unwrap(), version + 1);
    gateway.stop().await;
}

#[actix_rt::test]
async fn what_is_too_much_is_refused_by_the_limits_name() {
    let gateway = Gateway::start().await;
    let version = gateway.app.store.policy_version().await.unwrap();
    let padded = Request::new("POST", PLAN).body(vec![b' '; 16 * 1024 * 1024 + 1]);
    let answer = gateway.call(Who::Admin, padded).await.expect(413);
    assert!(answer.text().contains("policy_document_bytes"), "{}", answer.text());
    let grants = |count: usize| -> Value {
        (0..count)
            .map(|number| {
                json!({"on": format!("experiment:{}", number + 10), "allow": [
                {"to": "user:reader", "privilege": "CAN_READ"}]})
            })
            .collect()
    };
    let answer = post(&gateway, Who::Admin, APPLY, &json!({"grants": grants(20_001)})).await.expect(400);
    assert!(answer.text().contains("policy_changes"), "{}", answer.text());
    let asked = vec!["trace.read"; 1000];
    let expect: Vec<Value> =
        (0..101).map(|_| json!({"principal": "user:x", "on": "experiment:1", "may_not": asked})).collect();
    let answer = post(&gateway, Who::Admin, TEST, &json!({"expect": expect})).await.expect(400);
    assert!(answer.text().contains("policy_expectations"), "{}", answer.text());
    // Unknown fields, doubled securables and other nonsense are named.
    for (policy, named) in [
        (json!({"grant": []}), "grant"),
        (json!({"grants": [{"on": "experiment:1"}, {"on": "experiment:1"}]}), "grants[1]"),
        (
            json!({"grants": [{"on": "experiment:1", "allow": [{"to": "user:x", "privilege": "SELECT"}]}]}),
            "SELECT",
        ),
        (json!({"groups": [{"group": "user:x", "members": []}]}), "groups[0]"),
    ] {
        let answer = post(&gateway, Who::Admin, APPLY, &policy).await.expect(400);
        assert!(answer.text().contains(named), "{}", answer.text());
    }
    assert_eq!(gateway.app.store.policy_version().await.unwrap(), version);
    gateway.stop().await;
}

#[actix_rt::test]
async fn a_plan_tells_which_calls_of_the_last_days_it_would_refuse_or_allow() {
    let gateway = Gateway::start().await;
    let read = || Request::get(&format!("/api/3.0/mlflow/traces/get?trace_id={}", trace(A)));
    for _ in 0..3 {
        gateway.call(Who::Reader, read()).await.expect(200);
    }
    let refused = gateway.call(Who::Stranger, read()).await.expect(403);
    gateway.records(&refused.decision_id()).await;
    let policy = json!({"grants": [{"on": "experiment:1", "allow": [{"to": "user:stranger", "privilege": "CAN_READ"}]}]});
    let plan = post(&gateway, Who::Admin, PLAN, &policy).await.expect(200).json();
    let replay = &plan["replay"];
    let line = |who: &str, calls: u64| json!({"principal": who, "securable": "experiment:1", "privilege": "trace.read", "calls": calls, "certain": true});
    assert_eq!(replay["would_be_refused"], json!([line("user:reader", 3)]), "{replay}");
    assert_eq!(replay["would_be_allowed"], json!([line("user:stranger", 1)]), "{replay}");
    assert_eq!(replay["complete"], true);
    let none = json!({"policy": policy, "replay_days": 0});
    let plan = gateway.call(Who::Admin, Request::post(PLAN, &none)).await.expect(200).json();
    assert!(plan.get("replay").is_none());
    let long = json!({"policy": policy, "replay_days": 91});
    gateway.call(Who::Admin, Request::post(PLAN, &long)).await.expect(400);
    gateway.stop().await;
}
