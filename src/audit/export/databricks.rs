//! Rows with the columns of Databricks' `system.access.audit`. Services and actions have Databricks' names
//! where it has one for the same thing; `trace.batch_get` and the like, which it has none for, become
//! `mlflowExperiment` / `batchGetTrace`, and everything else is of the service `tracegate`.

use serde_json::{Map, Value, json};

use super::time::{date, instant};
use crate::access::{Event, EventKind};

pub fn row(event: &Event) -> Value {
    let (service, action) = names(event);
    let name =
        event.principal.as_deref().and_then(|principal| principal.split_once(':')).map(|(_, name)| name);
    json!({
        "account_id": null,
        "workspace_id": "0",
        "version": "2.0",
        "event_time": instant(event.time),
        "event_date": date(event.time),
        "source_ip_address": event.request.source_address,
        "user_agent": event.request.user_agent,
        "session_id": null,
        "user_identity": { "email": name, "subject_name": event.principal },
        "service_name": service,
        "action_name": action,
        "request_id": event.request.request_id,
        "request_params": parameters(event),
        "response": event.status.map(|status| json!({
            "status_code": status,
            "error_message": event.reason,
            "result": event.outcome.as_str(),
        })),
        "audit_level": "WORKSPACE_LEVEL",
        "event_id": event.id,
        "identity_metadata": { "run_by": event.actor.as_ref().or(event.principal.as_ref()), "run_as": event.principal },
    })
}

fn names(event: &Event) -> (&'static str, String) {
    let known = |service, action: &str| (service, action.to_owned());
    if let Some(change) = &event.policy_change {
        let on = change.after.get("securable").or_else(|| change.before.get("securable"));
        let of_experiment = on.and_then(Value::as_str).is_some_and(|on| on.starts_with("experiment:"));
        match change.action.as_str() {
            "grant.add" | "grant.remove" if of_experiment => return known("workspace", "changeWorkspaceAcl"),
            "membership.add" => return known("accounts", "addPrincipalToGroup"),
            "membership.remove" => return known("accounts", "removePrincipalFromGroup"),
            _ => {}
        }
    }
    match event.operation.as_str() {
        "experiment.create" => known("mlflowExperiment", "createMlflowExperiment"),
        "experiment.delete" => known("mlflowExperiment", "deleteMlflowExperiment"),
        "experiment.restore" => known("mlflowExperiment", "restoreMlflowExperiment"),
        "experiment.update" => known("mlflowExperiment", "renameMlflowExperiment"),
        "artifact.get" | "artifact.list" | "artifact.proxy_get" | "artifact.proxy_list" => {
            known("mlflowAcledArtifact", "readArtifact")
        }
        "artifact.upload" | "artifact.proxy_put" => known("mlflowAcledArtifact", "writeArtifact"),
        "tracegate.token.create" | "oauth.personal_token.create" => known("accounts", "generateDbToken"),
        "tracegate.token.revoke" | "oauth.personal_token.delete" => known("accounts", "revokeDbToken"),
        "tracegate.principal.create" => known("accounts", "add"),
        operation => match operation.split_once('.') {
            Some(("trace", rest)) => ("mlflowExperiment", camel(&format!("{rest}_trace"))),
            Some(("experiment", rest)) => ("mlflowExperiment", camel(&format!("{rest}_experiment"))),
            _ => ("tracegate", camel(operation)),
        },
    }
}

fn camel(name: &str) -> String {
    let mut camel = String::new();
    for (index, word) in name.split(['_', '.']).filter(|word| !word.is_empty()).enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if index > 0 => camel.extend(first.to_uppercase()),
            Some(first) => camel.push(first),
            None => {}
        }
        camel.push_str(letters.as_str());
    }
    camel
}

/// A map from text to text, as the column is: lists and changes are JSON in it.
fn parameters(event: &Event) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            parameters.insert(key.to_owned(), Value::String(value));
        }
    };
    let list =
        |values: &[String]| (!values.is_empty()).then(|| serde_json::to_string(values).unwrap_or_default());
    put("kind", Some(event.kind.as_str().to_owned()));
    put("operation", Some(event.operation.clone()));
    put("decision_id", Some(event.decision_id.clone()));
    put("decision", Some(event.decision.as_str().to_owned()));
    put("securables", list(&event.securables));
    put("privileges", list(&event.privileges));
    put("trace_ids", list(&event.trace_ids));
    put("listed_trace_ids", list(&event.listed_trace_ids));
    put("sight", serde_json::to_value(event.sight).ok().and_then(|sight| Some(sight.as_str()?.to_owned())));
    put("policy_version", Some(event.policy_version.to_string()));
    put("repeated", event.repeated.map(|times| times.to_string()));
    put("claimed", event.claimed.clone());
    put("actor", event.actor.clone());
    for (key, value) in &event.question {
        put(&format!("question.{key}"), Some(value.clone()));
    }
    if let (EventKind::PolicyChange, Some(change)) = (event.kind, &event.policy_change) {
        put("action", Some(change.action.clone()));
        put("before", Some(change.before.to_string()));
        put("after", Some(change.after.to_string()));
        let of = |field: &str| {
            let held = change.after.get(field).or_else(|| change.before.get(field))?;
            Some(held.as_str()?.to_owned())
        };
        if let Some(experiment) = of("securable").as_deref().and_then(|on| on.strip_prefix("experiment:")) {
            put("aclChangeResourceName", Some(format!("experiments/{experiment}")));
            put("targetUserId", of("principal"));
            put("aclPermissionSet", of("privilege"));
        }
    }
    parameters
}
