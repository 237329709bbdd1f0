//! OCSF 1.3, API Activity (6003): who called which operation from where, on what, and how it ended.

use serde_json::{Map, Value, json};

use super::{PRODUCT, VERSION};
use crate::access::{Event, EventKind, Outcome, Sight, Verdict};
use crate::store::audit_index::AuditEntry;

const SCHEMA: &str = "1.3.0";
const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;

pub fn event(entry: &AuditEntry, event: &Event) -> Value {
    let (activity, activity_name) = activity(event);
    let (status, status_name) = match event.outcome {
        Outcome::Success => (1, "Success"),
        Outcome::Refused | Outcome::Failed | Outcome::Interrupted => (2, "Failure"),
        Outcome::Pending => (0, "Unknown"),
    };
    let mut api = Map::new();
    api.insert("operation".to_owned(), json!(event.operation));
    api.insert("service".to_owned(), json!({ "name": PRODUCT }));
    api.insert("request".to_owned(), json!({ "uid": event.request.request_id }));
    if let Some(code) = event.status {
        api.insert("response".to_owned(), json!({ "code": code, "error_message": event.reason }));
    }
    let mut resources: Vec<Value> =
        event.securables.iter().map(|securable| json!({ "uid": securable, "type": "securable" })).collect();
    resources.extend(event.trace_ids.iter().map(|trace| json!({ "uid": trace, "type": "trace" })));
    json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("API Activity: {activity_name}"),
        // Low for what was refused, informational for all else.
        "severity_id": if event.decision == Verdict::Deny { 2 } else { 1 },
        "time": event.time,
        "status_id": status,
        "status": status_name,
        "status_code": event.status.map(|status| status.to_string()),
        "status_detail": event.reason,
        "duration": event.duration_us / 1000,
        "metadata": {
            "version": SCHEMA,
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION },
            "uid": event.id,
            "correlation_uid": event.decision_id,
            "log_name": "audit",
            "log_provider": entry.replica,
            "sequence": entry.seq,
        },
        "actor": { "user": user(event), "invoked_by": event.actor },
        "api": api,
        "src_endpoint": { "ip": event.request.source_address, "name": event.request.source_address.is_none().then_some("unknown") },
        "http_request": {
            "http_method": event.request.method,
            "url": { "path": event.request.path },
            "user_agent": event.request.user_agent,
        },
        "http_response": event.status.map(|status| json!({ "code": status })),
        "resources": resources,
        "unmapped": {
            "kind": event.kind,
            "decision": event.decision,
            "deciding_grants": event.deciding_grants,
            "policy_version": event.policy_version,
            "privileges": event.privileges,
            "sight": event.sight,
            "listed_trace_ids": event.listed_trace_ids,
            "proof": event.proof,
            "question": event.question,
            "claimed": event.claimed,
            "repeated": event.repeated,
            "policy_change": event.policy_change,
        },
    })
    .without_nulls()
}

fn user(event: &Event) -> Value {
    let Some(principal) = &event.principal else { return json!({ "name": "unknown", "type_id": 0 }) };
    let (kind, name) = principal.split_once(':').unwrap_or(("user", principal));
    // 1 is a person, 4 a service.
    json!({ "name": name, "uid": principal, "type_id": if kind == "service_principal" { 4 } else { 1 } })
}

fn activity(event: &Event) -> (u64, &'static str) {
    let named = |words: &[&str]| words.iter().any(|word| event.operation.contains(word));
    if event.kind == EventKind::PolicyChange {
        return (3, "Update");
    }
    match event.request.method.as_str() {
        "GET" | "HEAD" => (2, "Read"),
        "DELETE" => (4, "Delete"),
        "PATCH" | "PUT" => (3, "Update"),
        "POST" if matches!(event.sight, Some(Sight::Read | Sight::Listed)) => (2, "Read"),
        "POST" if named(&["delete", "remove"]) => (4, "Delete"),
        "POST" if named(&["search", "batch", "metrics", "correlation"]) => (2, "Read"),
        "POST" if named(&["create", "start", "export", "register"]) => (1, "Create"),
        "POST" => (3, "Update"),
        _ => (0, "Unknown"),
    }
}

trait WithoutNulls {
    fn without_nulls(self) -> Self;
}

impl WithoutNulls for Value {
    /// OCSF has no nulls: what is not known is not there.
    fn without_nulls(self) -> Self {
        match self {
            Self::Object(object) => Self::Object(
                object
                    .into_iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| (key, value.without_nulls()))
                    .collect(),
            ),
            other => other,
        }
    }
}
