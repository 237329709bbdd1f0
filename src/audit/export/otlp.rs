//! OpenTelemetry logs in their JSON form, as `/v1/logs` of a collector takes them.

use serde_json::{Value, json};

use super::VERSION;
use crate::access::{Event, Verdict};
use crate::store::audit_index::AuditEntry;

/// Records in one request.
pub const MOST: usize = 100;

pub fn request(events: &[(&AuditEntry, Event)]) -> Value {
    let records: Vec<Value> = events.iter().map(|(entry, event)| record(entry, event)).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            text("service.name", "tracegate"),
            text("service.version", VERSION),
        ] },
        "scopeLogs": [{ "scope": { "name": "tracegate.audit", "version": VERSION }, "logRecords": records }],
    }] })
}

fn record(entry: &AuditEntry, event: &Event) -> Value {
    // 9 is INFO, 13 is WARN.
    let (severity, name) = if event.decision == Verdict::Deny { (13, "WARN") } else { (9, "INFO") };
    let nanos = (i128::from(event.time.0) * 1_000_000).to_string();
    let mut attributes = vec![
        text("tracegate.event.id", &event.id.to_string()),
        text("tracegate.event.kind", event.kind.as_str()),
        text("tracegate.replica", &entry.replica),
        number("tracegate.seq", i128::from(entry.seq)),
        text("tracegate.decision.id", &event.decision_id),
        text("tracegate.decision", event.decision.as_str()),
        text("tracegate.outcome", event.outcome.as_str()),
        text("tracegate.operation", &event.operation),
        number("tracegate.policy.version", i128::from(event.policy_version)),
        text("http.request.method", &event.request.method),
        text("url.path", &event.request.path),
        list("tracegate.securables", &event.securables),
        list("tracegate.trace_ids", &event.trace_ids),
        list("tracegate.listed_trace_ids", &event.listed_trace_ids),
    ];
    for (key, value) in [
        ("user.id", &event.principal),
        ("tracegate.actor", &event.actor),
        ("tracegate.proof", &event.proof),
        ("client.address", &event.request.source_address),
        ("user_agent.original", &event.request.user_agent),
        ("tracegate.reason", &event.reason),
        ("tracegate.claimed", &event.claimed),
    ] {
        attributes.extend(value.as_deref().map(|value| text(key, value)));
    }
    attributes.extend(event.status.map(|status| number("http.response.status_code", i128::from(status))));
    attributes.extend(event.repeated.map(|times| number("tracegate.repeated", i128::from(times))));
    if let Some(sight) = event.sight
        && let Ok(Value::String(sight)) = serde_json::to_value(sight)
    {
        attributes.push(text("tracegate.sight", &sight));
    }
    if let Some(change) = event.policy_change.as_ref().and_then(|change| serde_json::to_string(change).ok()) {
        attributes.push(text("tracegate.policy_change", &change));
    }
    let mut record = json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": name,
        "eventName": "tracegate.audit",
        "body": { "stringValue": format!("{} {}", event.operation, event.outcome.as_str()) },
        "attributes": attributes,
    });
    // `00-TRACE-SPAN-FLAGS`
    let parent: Vec<&str> = event.request.trace_parent.as_deref().unwrap_or_default().split('-').collect();
    if let [_, trace, span, _] = parent.as_slice()
        && trace.len() == 32
        && span.len() == 16
        && parent.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        record["traceId"] = json!(trace);
        record["spanId"] = json!(span);
    }
    record
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are strings in protobuf's JSON.
fn number(key: &str, value: i128) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn list(key: &str, values: &[String]) -> Value {
    let values: Vec<Value> = values.iter().map(|value| json!({ "stringValue": value })).collect();
    json!({ "key": key, "value": { "arrayValue": { "values": values } } })
}
