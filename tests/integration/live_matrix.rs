//! Every operation that the manifest has, fired at experiment B by someone who may do nothing there and by
//! nobody: nothing of B comes back, and nothing but look-ups and public operations reach upstream.
//!
//! The requests are made from the manifest itself, so an operation that is added is fired as well.

use serde_json::{Map, Value, json};

use crate::support::callers::Who;
use crate::support::fake_mlflow::{B, SECRET_A, SECRET_B, logged_model, model_name, run, thing, trace};
use crate::support::fake_upstream::Recorded;
use crate::support::gateway::{AGENT, Gateway};
use crate::support::raw_http::{Answer, Request};
use tracegate::classify::{Access, Handling, Manifest, Operation, Source, Step, Target};

/// Forwarded for every authenticated caller: MLflow's own pages, which hold nobody's data.
const OPEN: [&str; 5] = ["ui.index", "ui.static", "ui.build", "ui.telemetry_config", "ui.telemetry"];
/// Forwarded for every authenticated caller and narrowed to nothing; with the list in their answer.
const NARROWED: [(&str, &str); 11] = [
    ("experiment.search", "experiments"),
    ("experiment.search_get", "experiments"),
    ("model.search", "registered_models"),
    ("model_version.search", "model_versions"),
    ("scorer.online_configs", "configs"),
    ("tracegate.access_request.list", "requests"),
    ("tracegate.archive.list", "archives"),
    ("catalog.catalogs.list", "catalogs"),
    ("catalog.external_locations.list", "external_locations"),
    ("catalog.metastore.list", "metastores"),
    ("sql.warehouse.list", "warehouses"),
];
/// Answered by Tracegate itself about the caller alone, or about what it offers to everybody.
const ABOUT_ONESELF: [&str; 16] = [
    "tracegate.whoami",
    "tracegate.access_request.create",
    "browser.account",
    "scim.me",
    "scim.config",
    "scim.types",
    "scim.schemas",
    "permissions.levels",
    "permissions.levels_of_path",
    "oauth.personal_token.list",
    "mlflow_auth.users.list",
    "mlflow_auth.users.current",
    "mlflow_auth.users.current.permissions",
    "catalog.tables.exists",
    "catalog.metastore.summary",
    "catalog.metastore.assignment",
];
/// Open to everybody, and what they answer to who brings no proof.
const UNPROVED: [(&str, u16); 5] = [
    ("browser.sign_in", 501),
    ("browser.callback", 401),
    ("browser.backchannel_sign_out", 400),
    ("oauth.authorize", 501),
    ("oauth.token", 400),
];
/// Operations that answer 400 to a well-formed request. May only shrink.
const MALFORMED: [(&str, &str); 0] = [];

/// The paths of the gateway's own questions.
const LOOK_UPS: [&str; 10] = [
    "/api/2.0/mlflow/experiments/get",
    "/api/2.0/mlflow/experiments/get-by-name",
    "/api/2.0/mlflow/experiments/search",
    "/api/3.0/mlflow/traces/",
    "/api/2.0/mlflow/runs/get",
    "/api/2.0/mlflow/logged-models/",
    "/api/3.0/mlflow/issues/",
    "/api/3.0/mlflow/label-schemas/get",
    "/api/3.0/mlflow/review-queues/get",
    "/api/3.0/mlflow/prompt-optimization/jobs/",
];

fn is_look_up(request: &Recorded) -> bool {
    let path = request.path();
    let known = LOOK_UPS.iter().any(|known| match known.strip_suffix('/') {
        Some(_) => path.strip_prefix(known).is_some_and(|id| !id.is_empty() && !id.contains('/')),
        None => path == *known,
    });
    let dataset = path
        .strip_prefix("/api/3.0/mlflow/datasets/")
        .is_some_and(|rest| !rest.strip_suffix("/experiment-ids").unwrap_or(rest).contains('/'));
    request.method == "GET" && (known || dataset) && !request.header("user-agent").contains(&AGENT)
}

fn id_of(target: Target) -> String {
    match target {
        Target::Workspace => "some-secret".to_owned(),
        Target::Experiment => B.to_owned(),
        Target::ExperimentName => "beta".to_owned(),
        Target::Trace => trace(B),
        Target::Run => run(B),
        Target::LoggedModel => logged_model(B),
        Target::Dataset => thing("d", B),
        Target::Issue => thing("iss", B),
        Target::LabelSchema => thing("ls", B),
        Target::ReviewQueue => thing("rq", B),
        Target::PromptJob => thing("job", B),
        Target::Artifact => format!("{B}/{}/artifacts/model.bin", run(B)),
        Target::File => format!("WorkspaceInternal/Mlflow/Artifacts/{B}/Runs/{}/artifacts/model.bin", run(B)),
        Target::RegisteredModel => model_name(B),
        Target::ModelSource => format!("mlflow-artifacts:/{B}/{}/artifacts/model", run(B)),
        Target::PromptUri => format!("prompts:/{}/1", model_name(B)),
    }
}

/// Puts an id where the steps say.
fn put(value: &mut Value, steps: &[Step], id: &str) {
    match steps.split_first() {
        None => *value = json!(id),
        Some((Step::Field(name), rest)) => {
            if !value.is_object() {
                *value = json!({});
            }
            put(value.as_object_mut().unwrap().entry(name).or_insert(Value::Null), rest, id);
        }
        Some((Step::Each, rest)) => {
            if !value.is_array() {
                *value = json!([null]);
            }
            put(&mut value[0], rest, id);
        }
        Some((Step::Embedded, rest)) => {
            let mut inner = Value::Null;
            put(&mut inner, rest, id);
            *value = json!(inner.to_string());
        }
    }
}

/// What a request needs beside its ids to be a sensible one.
fn extras(operation: &str) -> Value {
    match operation {
        "trace.start_v3" => json!({"trace": {"trace_info": {"trace_id": trace(B)}}}),
        "trace.tag_set"
        | "trace.tag_set_v2"
        | "trace.tag_delete"
        | "trace.tag_delete_v2"
        | "experiment.tag_set"
        | "experiment.tag_delete" => json!({"key": "k"}),
        "experiment.create" => json!({"name": "gamma"}),
        "model.create" => json!({"name": "model-c"}),
        "model.rename" => json!({"new_name": "model-c"}),
        "ui.graphql" => {
            let query = format!(
                "{{ mlflowGetExperiment(input: {{experimentId: \"{B}\"}}) {{ experiment {{ name }} }} }}"
            );
            json!({"query": query})
        }
        "tracegate.break_glass" => {
            json!({ "securable": "experiment:2", "minutes": 5, "reason": "an incident, truly" })
        }
        "tracegate.access_request.create" => {
            json!({ "securable": "experiment:2", "privilege": "CAN_READ", "reason": "asked by a test" })
        }
        "tracegate.access_request.refuse" => json!({ "reason": "no" }),
        "tracegate.access_review.decide" => json!({ "grant_id": 1, "decision": "keep", "reason": "right" }),
        "tracegate.limit.set" => json!({ "securable": "experiment:2", "name": "traces", "value": 1 }),
        "tracegate.grant.create" => {
            json!({"principal": "user:stranger", "securable": "experiment:2", "privilege": "CAN_READ"})
        }
        "catalog.catalogs.create" => json!({ "name": "mine" }),
        "catalog.schemas.create" => json!({ "name": "mine", "catalog_name": "server" }),
        "catalog.tables.create" => json!({
            "name": "t", "catalog_name": "server", "schema_name": "s", "table_type": "MANAGED",
            "data_source_format": "DELTA",
        }),
        "catalog.volumes.create" => {
            json!({ "name": "v", "catalog_name": "server", "schema_name": "s", "volume_type": "MANAGED" })
        }
        "catalog.functions.create" => {
            json!({ "function_info": { "name": "f", "catalog_name": "server", "schema_name": "s" } })
        }
        "catalog.external_locations.create" => json!({ "name": "mine", "url": "s3://bucket/mine" }),
        "archive.start" => json!({ "archive_table_fullname": "server.s.t" }),
        "archive.set_frequency" => json!({ "monitoring_configuration": { "frequency_minutes": 5 } }),
        "tracegate.archive.set" => json!({ "table": "server.s.t" }),
        "catalog.credentials.table" => {
            json!({ "table_id": "00000000-0000-4000-8000-000000000000", "operation": "READ" })
        }
        "catalog.credentials.volume" => {
            json!({ "volume_id": "00000000-0000-4000-8000-000000000000", "operation": "READ_VOLUME" })
        }
        "catalog.credentials.path" => json!({ "url": "s3://bucket/mine", "operation": "PATH_READ" }),
        "sql.statement.execute" => json!({ "statement": "SELECT 1", "warehouse_id": "tracegate" }),
        "tracing.location.create_schema"
        | "tracing.location.link_schema"
        | "tracing.location.unlink_schema" => {
            json!({ "uc_schema": { "catalog_name": "server", "schema_name": "s" } })
        }
        "tracing.location.create" | "tracing.location.link" => place(),
        "tracing.search" | "tracing.search.start" => json!({ "locations": [place()] }),
        "tracing.tag.set" => json!({ "key": "k", "value": "v" }),
        "tracing.assessment.create" => json!({ "assessment_name": "q", "feedback": { "value": 1 } }),
        "tracing.run.link" | "tracing.run.unlink" => {
            json!({ "run_id": run(B), "trace_ids": [&trace(B)[3..]] })
        }
        "tracegate.token.create" => json!({"principal": "user:admin"}),
        "oauth.personal_token.delete" => json!({"token_id": "tok_1"}),
        "tracegate.principal.create" => json!({"principal": "user:new"}),
        "tracegate.principal.active" => json!({"active": false}),
        "mlflow_auth.users.update_password" => json!({"username": "admin", "password": "twelve letters"}),
        "mlflow_auth.users.permissions.grant" | "mlflow_auth.users.permissions.revoke" => json!({
            "username": "stranger", "resource_type": "experiment", "resource_id": B, "permission": "READ",
        }),
        _ => json!({}),
    }
}

/// A place of traces in the catalog.
fn place() -> Value {
    json!({ "uc_table_prefix": { "catalog_name": "server", "schema_name": "s", "table_prefix": "bot" } })
}

fn extra_query(operation: &str) -> &'static str {
    match operation {
        "tracing.traces.get" => "trace_ids=0102030405060708090a0b0c0d0e0f10",
        "tracegate.explain" => "principal=user%3Aadmin&privilege=trace.read&on=experiment%3A2",
        "tracegate.access_review.list" => "on=experiment%3A2",
        "tracegate.limit.list" => "securable=experiment%3A2",
        "tracegate.limit.clear" => "securable=experiment%3A2&name=traces",
        "tracegate.grant.list" => "securable=experiment%3A2",
        "tracegate.token.list" | "tracegate.session.list" | "tracegate.session.end_all" => {
            "principal=user%3Aadmin"
        }
        "catalog.schemas.list" | "catalog.tables.summaries" => "catalog_name=server",
        "catalog.tables.list" | "catalog.volumes.list" | "catalog.functions.list" => {
            "catalog_name=server&schema_name=s"
        }
        "mlflow_auth.users.get" | "mlflow_auth.users.permissions.list" | "mlflow_auth.users.roles.list" => {
            "username=admin"
        }
        "mlflow_auth.users.permissions.get" => "username=admin&resource_type=experiment&resource_id=2",
        "mlflow_auth.roles.get" | "mlflow_auth.roles.permissions.list" => "role_id=1",
        _ => "",
    }
}

/// Whether the handler, and not the manifest, asks for the experiment in the path.
fn asks_itself(operation: &str) -> bool {
    ["tracing.", "archive.", "tracegate.archive."].iter().any(|family| operation.starts_with(family))
}

fn path_parameter(operation: &str, name: &str) -> &'static str {
    match name {
        "kind" if operation.starts_with("catalog.") => "catalog",
        "name" if operation.starts_with("catalog.schemas.") => "server.s",
        "name"
            if ["tables", "volumes", "functions"]
                .iter()
                .any(|noun| operation.split('.').nth(1) == Some(noun)) =>
        {
            "server.s.t"
        }
        "location" => "server.s.bot",
        "trace" if operation.starts_with("tracing.") => "0102030405060708090a0b0c0d0e0f10",
        "assessment" if operation.starts_with("tracing.") => "a-0102030405060708090a0b0c0d0e0f10",
        "experiment" | "experiment_id" if asks_itself(operation) => B,
        "id" => "1",
        "principal" | "member" => "user%3Aadmin",
        "group" => "group%3Aadmins",
        "kind" => "experiments",
        "path" | "artifact_path" => "a/b",
        "name" => "server",
        _ => "anything",
    }
}

fn merge(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, other) => *into = other,
    }
}

/// A request of the operation that names B in every place where an id is looked for.
fn request(operation: &Operation, method: &str, path: &str) -> Request {
    let mut params: Map<String, Value> = Map::new();
    let mut query: Vec<String> = Vec::new();
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut body = json!({});
    for need in &operation.needs {
        let id = id_of(need.target);
        for source in &need.sources {
            match source {
                Source::Path(name) => {
                    params.insert(name.clone(), json!(id));
                }
                Source::Query(name) => query.push(format!("{name}={}", id.replace(':', "%3A"))),
                Source::Header(name) => headers.push((name.clone(), id.clone())),
                Source::Json(steps) => put(&mut body, steps, &id),
            }
        }
    }
    merge(&mut body, extras(&operation.name));
    query.push(extra_query(&operation.name).to_owned());
    let filled: Vec<String> = path
        .split('/')
        .map(|segment| {
            let Some((before, rest)) = segment.split_once('{') else { return segment.to_owned() };
            let (name, after) = rest.split_once('}').unwrap();
            let name = name.trim_end_matches(['.', '!']);
            let value =
                params.get(name).and_then(Value::as_str).unwrap_or(path_parameter(&operation.name, name));
            format!("{before}{value}{after}")
        })
        .collect();
    let query = query.join("&");
    let query = query.trim_matches('&');
    let target = format!("{}{}{query}", filled.join("/"), if query.is_empty() { "" } else { "?" });
    let mut request = Request::new(method, &target);
    if operation.name.starts_with("tracing.spans.") {
        headers.push(("X-Databricks-UC-Table-Name".to_owned(), "server.s.bot_otel_spans".to_owned()));
        headers.push(("Content-Type".to_owned(), "application/x-protobuf".to_owned()));
        request.headers = headers;
        return request.body(Vec::<u8>::new());
    }
    request.headers = headers;
    if operation.handling == Handling::Otlp {
        let span = json!({"traceId": &trace(B)[3..], "spanId": "0102030405060708", "name": "s"});
        let export = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
        request.header("Content-Type", "application/json").body(export.to_string())
    } else if operation.json_body || matches!(method, "POST" | "PUT" | "PATCH") {
        request.header("Content-Type", "application/json").body(body.to_string())
    } else {
        request
    }
}

pub fn every_request(manifest: &Manifest) -> Vec<(&Operation, Request)> {
    let mut requests = Vec::new();
    for operation in manifest.operations() {
        for path in operation.paths() {
            for method in &operation.methods {
                requests.push((operation, request(operation, method.as_str(), &path)));
                if method.as_str() == "GET" && !operation.json_body {
                    requests.push((operation, request(operation, "HEAD", &path)));
                }
            }
        }
    }
    requests
}

/// What is wrong with an answer to the stranger or to nobody; nothing if it is as it must be.
fn problem(
    who: Who,
    operation: &Operation,
    method: &str,
    answer: &Answer,
    seen: &[Recorded],
) -> Option<String> {
    let name = operation.name.as_str();
    let shown = answer.everything();
    if shown.contains(SECRET_A) || shown.contains(SECRET_B) {
        return Some("shows a secret".to_owned());
    }
    let narrowed = NARROWED.iter().find(|(known, _)| *known == name).map(|(_, list)| *list);
    let passes = operation.access == Access::Public
        || who == Who::Stranger && (OPEN.contains(&name) || narrowed.is_some());
    let unexpected = seen.iter().find(|request| !is_look_up(request));
    if let Some(request) = unexpected.filter(|_| !passes) {
        return Some(format!("let {} {} through", request.method, request.target));
    }
    if let Some((_, status)) = UNPROVED.iter().find(|(known, _)| *known == name) {
        return (answer.status != *status).then(|| format!("answered {}", answer.status));
    }
    if operation.access == Access::Public {
        return (answer.status != 200 && name != "tracegate.ready")
            .then(|| format!("answered {}", answer.status));
    }
    if who == Who::Anonymous {
        return (answer.status != 401).then(|| format!("answered {}", answer.status));
    }
    if let Some(list) = narrowed {
        let entries = |answer: &Answer| answer.json()[list].as_array().map_or(0, Vec::len);
        let empty = method == "HEAD" || entries(answer) == 0;
        return (!empty || answer.status != 200)
            .then(|| format!("answered {}: {}", answer.status, answer.text()));
    }
    if OPEN.contains(&name) || ABOUT_ONESELF.contains(&name) {
        return (answer.status != 200).then(|| format!("answered {}", answer.status));
    }
    let expected: &[u16] = match operation.access {
        Access::Refused => &[501],
        _ if MALFORMED.iter().any(|(known, _)| *known == name) => &[400],
        _ => &[403, 404],
    };
    (!expected.contains(&answer.status)).then(|| format!("answered {}: {}", answer.status, answer.text()))
}

#[actix_rt::test]
async fn strangers_and_nobody_get_nothing_of_b_by_any_operation() {
    let gateway = Gateway::start().await;
    gateway.revoke_defaults().await;
    let manifest = Manifest::builtin().unwrap();
    let requests = every_request(&manifest);
    assert!(requests.len() > 500, "{}", requests.len());
    let mut problems = Vec::new();
    for who in [Who::Stranger, Who::Anonymous] {
        for (operation, request) in &requests {
            gateway.upstream.forget_requests();
            let answer = gateway.call(who, request.clone()).await;
            let seen = gateway.upstream.requests();
            if answer.header("x-tracegate-decision-id").is_none() {
                problems.push(format!("{} has no decision id", operation.name));
            }
            if let Some(problem) = problem(who, operation, &request.method, &answer, &seen) {
                problems.push(format!(
                    "{who:?}: {} ({} {}) {problem}",
                    operation.name, request.method, request.target
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    gateway.stop().await;
}

/// The counterpart, without which the test above could pass because every request is nonsense: the same
/// requests made by an administrator are let through.
#[actix_rt::test]
async fn the_same_requests_are_sensible_ones() {
    let gateway = Gateway::start().await;
    let manifest = Manifest::builtin().unwrap();
    let mut refused = Vec::new();
    for (operation, request) in every_request(&manifest) {
        // Own operations change who may do what; the others of this list say no to everybody.
        if operation.handling == Handling::Own
            || operation.access == Access::Refused
            || operation.handling == Handling::Multipart
            || request.method == "HEAD"
        {
            continue;
        }
        gateway.upstream.forget_requests();
        let answer = gateway.call(Who::Admin, request.clone()).await;
        if gateway.forwarded().is_empty() {
            refused.push(format!("{}: {} {}", operation.name, answer.status, answer.text()));
        }
    }
    assert!(refused.is_empty(), "{} were not forwarded:\n{}", refused.len(), refused.join("\n"));
    gateway.stop().await;
}
