//! ArcSight Common Event Format, version 0.

use super::{PRODUCT, VERSION};
use crate::access::{Event, Verdict};
use crate::store::audit_index::AuditEntry;

/// CEF's own limit on a custom string.
const LONGEST: usize = 4000;

pub fn message(entry: &AuditEntry, event: &Event) -> String {
    let severity = if event.decision == Verdict::Deny { 6 } else { 3 };
    let operation = header(&event.operation);
    let mut message = format!(
        "CEF:0|{PRODUCT}|{PRODUCT}|{VERSION}|{operation}|{operation} {}|{severity}|",
        event.outcome.as_str()
    );
    let number = |value: u64| Some(value.to_string());
    let text = |value: &Option<String>| value.clone();
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
    let fields = [
        ("rt", Some(event.time.0.to_string())),
        ("externalId", Some(event.id.to_string())),
        ("act", Some(event.decision.as_str().to_owned())),
        ("outcome", Some(event.outcome.as_str().to_owned())),
        ("src", text(&event.request.source_address)),
        ("suser", text(&event.principal)),
        // CEF's key for the service that did it.
        ("sourceServiceName", text(&event.actor)),
        ("requestMethod", Some(event.request.method.clone())),
        ("request", Some(event.request.path.clone())),
        ("requestClientApplication", text(&event.request.user_agent)),
        ("reason", text(&event.reason)),
        ("in", number(event.bytes_in)),
        ("out", number(event.bytes_out)),
        ("cn1Label", event.status.map(|_| "status".to_owned())),
        ("cn1", event.status.map(|status| status.to_string())),
        ("cn2Label", Some("seq".to_owned())),
        ("cn2", number(entry.seq)),
        ("cn3Label", event.repeated.map(|_| "repeated".to_owned())),
        ("cn3", event.repeated.map(|times| times.to_string())),
        ("cs1Label", Some("decisionId".to_owned())),
        ("cs1", Some(event.decision_id.clone())),
        ("cs2Label", list(&event.securables).map(|_| "securables".to_owned())),
        ("cs2", list(&event.securables)),
        ("cs3Label", list(&event.trace_ids).map(|_| "traceIds".to_owned())),
        ("cs3", list(&event.trace_ids)),
        ("cs4Label", Some("kind".to_owned())),
        ("cs4", Some(event.kind.as_str().to_owned())),
        ("cs5Label", Some("replica".to_owned())),
        ("cs5", Some(entry.replica.clone())),
        ("cs6Label", event.policy_change.as_ref().map(|_| "policyChange".to_owned())),
        ("cs6", event.policy_change.as_ref().and_then(|change| serde_json::to_string(change).ok())),
    ];
    let written: Vec<String> =
        fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", extension(&value?)))).collect();
    message.push_str(&written.join(" "));
    message
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// Cut to what CEF allows; all trace ids are in the other formats.
fn extension(text: &str) -> String {
    let cut: String = text.chars().take(LONGEST).collect();
    cut.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}
