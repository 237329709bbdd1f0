//! Each format against what its publisher says a line must have.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::access::{Event, EventId, EventKind, Outcome, PolicyChange, RequestContext, Sight, Verdict};
use crate::clock::UnixMillis;

fn event() -> Event {
    Event {
        id: EventId(uuid::Uuid::from_u128(7)),
        kind: EventKind::Complete,
        time: UnixMillis(1_767_225_600_123),
        principal: Some("user:ann@example.com".into()),
        proof: Some("token:tok_1".into()),
        actor: None,
        request: RequestContext {
            source_address: Some("192.0.2.1".into()),
            user_agent: Some("odd|agent=1\nnext \\ \"line\"".into()),
            request_id: "r1".into(),
            trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            method: "GET".into(),
            path: "/api/3.0/mlflow/traces/get".into(),
        },
        operation: "trace.batch_get".into(),
        securables: vec!["experiment:1".into()],
        privileges: vec!["trace.read".into()],
        decision_id: "d1".into(),
        decision: Verdict::Allow,
        deciding_grants: vec![3],
        policy_version: 9,
        outcome: Outcome::Success,
        status: Some(200),
        reason: None,
        bytes_in: 1,
        bytes_out: 2,
        duration_us: 3_000,
        trace_ids: vec!["tr-1".into(), "tr-2".into()],
        sight: Some(Sight::Read),
        listed_trace_ids: vec!["tr-2".into()],
        question: Default::default(),
        claimed: None,
        shadowed: Vec::new(),
        repeated: None,
        policy_change: None,
    }
}

/// One that was refused, to nobody, from nowhere.
fn refused() -> Event {
    Event {
        principal: None,
        proof: None,
        actor: None,
        request: RequestContext { method: "POST".into(), path: "/x".into(), ..Default::default() },
        operation: "unknown".into(),
        decision: Verdict::Deny,
        outcome: Outcome::Refused,
        status: Some(401),
        reason: Some("no credentials were sent".into()),
        trace_ids: vec![],
        sight: None,
        listed_trace_ids: vec![],
        claimed: Some("user:ann".into()),
        repeated: Some(4),
        ..event()
    }
}

fn changed() -> Event {
    let grant =
        serde_json::json!({"principal": "user:ben", "securable": "experiment:1", "privilege": "CAN_READ"});
    Event {
        kind: EventKind::PolicyChange,
        policy_change: Some(PolicyChange { action: "grant.add".into(), before: Value::Null, after: grant }),
        status: None,
        ..event()
    }
}

/// Entries with the hashes of a real chain.
fn entries(events: &[Event]) -> Vec<AuditEntry> {
    let mut last: Vec<u8> = Sha256::digest(b"tracegate audit chain 1\na").to_vec();
    let mut entries = Vec::new();
    for (event, seq) in events.iter().zip(1_u64..) {
        let json = serde_json::to_string(event).unwrap();
        last = hash(&last, 1, seq, json.as_bytes());
        entries.push(AuditEntry {
            replica: "a".into(),
            seq,
            id: seq as i64,
            time: event.time,
            kind: event.kind.as_str().into(),
            hash: Some(last.clone()),
            json,
        });
    }
    let json = r#"{"time_ms":1,"odd":"\u0000 spelled  so"}"#.to_owned();
    let hash = hash(&last, 3, 4, json.as_bytes());
    let kind = "closed".into();
    entries.push(AuditEntry {
        replica: "a".into(),
        seq: 4,
        id: 4,
        time: UnixMillis(1),
        kind,
        hash: Some(hash),
        json,
    });
    entries
}

/// As `docs/AUDIT-FORMAT.md` says it.
fn hash(previous: &[u8], kind: u8, seq: u64, payload: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update((payload.len() as u32).to_le_bytes());
    hash.update([kind]);
    hash.update(seq.to_le_bytes());
    hash.update(payload);
    hash.finalize().to_vec()
}

fn lines(format: Format) -> Vec<String> {
    let text = format.lines(&entries(&[event(), refused(), changed()]));
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn values(format: Format) -> Vec<Value> {
    lines(format).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_chain_can_be_verified_from_json_lines_alone() {
    let mut last: Vec<u8> = Sha256::digest(b"tracegate audit chain 1\na").to_vec();
    let all = lines(Format::Jsonl);
    assert_eq!(all.len(), 4);
    for line in &all {
        let value: Value = serde_json::from_str(line).unwrap();
        // The payload as it stands in the line, not as a parser would write it.
        let (_, payload) = line.split_once("\"payload\":").unwrap();
        let payload = payload.strip_suffix('}').unwrap();
        let kind = match value["record"].as_str().unwrap() {
            "event" => 1,
            "recovered" => 2,
            _ => 3,
        };
        last = hash(&last, kind, value["seq"].as_u64().unwrap(), payload.as_bytes());
        assert_eq!(value["hash"], hex::encode(&last));
        assert_eq!(value["replica"], "a");
    }
}

#[test]
fn ocsf_events_have_what_class_6003_requires() {
    let events = values(Format::Ocsf);
    assert_eq!(events.len(), 3);
    for event in &events {
        for required in [
            "activity_id",
            "actor",
            "api",
            "category_uid",
            "class_uid",
            "metadata",
            "severity_id",
            "src_endpoint",
            "time",
            "type_uid",
        ] {
            assert!(!event[required].is_null(), "{required}: {event}");
        }
        assert_eq!((event["class_uid"].as_u64(), event["category_uid"].as_u64()), (Some(6003), Some(6)));
        let activity = event["activity_id"].as_u64().unwrap();
        assert!(activity <= 4);
        assert_eq!(event["type_uid"].as_u64(), Some(600_300 + activity));
        assert!(event["api"]["operation"].is_string());
        assert_eq!(event["metadata"]["version"], "1.3.0");
        assert!(event["metadata"]["product"]["vendor_name"].is_string());
        // At least one of these says where it came from, and who it was.
        assert!(event["src_endpoint"]["ip"].is_string() || event["src_endpoint"]["name"].is_string());
        assert!(event["actor"]["user"]["name"].is_string());
        assert!(event["severity_id"].is_u64() && event["time"].is_i64());
    }
    assert_eq!(events[0]["activity_id"], 2);
    assert_eq!(events[0]["resources"][1]["uid"], "tr-1");
    assert_eq!(events[1]["status_id"], 2);
    assert_eq!(events[2]["activity_id"], 3);
}

/// Splits a CEF message as its receivers do.
fn parse_cef(line: &str) -> (Vec<String>, std::collections::HashMap<String, String>) {
    let mut header = vec![String::new()];
    let mut rest = line.chars();
    while header.len() < 8 {
        match rest.next().unwrap() {
            '\\' => header.last_mut().unwrap().push(rest.next().unwrap()),
            '|' => header.push(String::new()),
            letter => header.last_mut().unwrap().push(letter),
        }
    }
    // A key is a word before an equals sign that is not escaped.
    let text: Vec<char> = rest.collect();
    let mut starts = Vec::new();
    for (at, letter) in text.iter().enumerate() {
        let escaped = text[..at].iter().rev().take_while(|c| **c == '\\').count() % 2 == 1;
        if *letter == '=' && !escaped {
            let key = text[..at].iter().rposition(|c| *c == ' ').map_or(0, |space| space + 1);
            starts.push((key, at));
        }
    }
    let mut fields = std::collections::HashMap::new();
    for (index, (key, equals)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(text.len(), |(next, _)| next - 1);
        let value: String = text[equals + 1..end].iter().collect();
        let value = value.replace("\\n", "\n").replace("\\=", "=").replace("\\\\", "\\");
        fields.insert(text[*key..*equals].iter().collect(), value);
    }
    (header, fields)
}

#[test]
fn cef_messages_are_read_back_whatever_is_in_them() {
    let all = lines(Format::Cef);
    assert_eq!(all.len(), 3, "a line feed in a value would break the line");
    let (header, fields) = parse_cef(&all[0]);
    assert_eq!(&header[..3], ["CEF:0", "Tracegate", "Tracegate"]);
    assert_eq!(header[4], "trace.batch_get");
    assert!(header[6].parse::<u8>().unwrap() <= 10);
    assert_eq!(fields["suser"], "user:ann@example.com");
    assert_eq!(fields["src"], "192.0.2.1");
    assert_eq!(fields["rt"], "1767225600123");
    assert_eq!(fields["requestClientApplication"], "odd|agent=1\nnext \\ \"line\"");
    assert_eq!((fields["cs3Label"].as_str(), fields["cs3"].as_str()), ("traceIds", "tr-1,tr-2"));
    let (_, fields) = parse_cef(&all[1]);
    assert_eq!((fields["act"].as_str(), fields["cn3"].as_str()), ("deny", "4"));
    assert!(!fields.contains_key("suser"));
}

#[test]
fn otlp_requests_have_the_shape_of_the_logs_protocol() {
    let requests = values(Format::Otlp);
    assert_eq!(requests.len(), 1);
    let records = requests[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    for record in records {
        // 64-bit numbers are strings; every attribute is a key with exactly one kind of value.
        assert!(record["timeUnixNano"].as_str().unwrap().parse::<u64>().is_ok());
        assert!((1..=24).contains(&record["severityNumber"].as_u64().unwrap()));
        for attribute in record["attributes"].as_array().unwrap() {
            assert!(attribute["key"].is_string());
            assert_eq!(attribute["value"].as_object().unwrap().len(), 1, "{attribute}");
        }
    }
    assert_eq!(records[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(records[0]["spanId"], "b7ad6b7169203331");
    assert!(records[1].get("traceId").is_none());
    let many: Vec<Event> = (0..250).map(|_| event()).collect();
    assert_eq!(Format::Otlp.lines(&entries(&many)).lines().count(), 3);
}

#[test]
fn databricks_rows_have_exactly_its_columns() {
    let rows = values(Format::Databricks);
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let columns: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            columns,
            [
                "account_id",
                "workspace_id",
                "version",
                "event_time",
                "event_date",
                "source_ip_address",
                "user_agent",
                "session_id",
                "user_identity",
                "service_name",
                "action_name",
                "request_id",
                "request_params",
                "response",
                "audit_level",
                "event_id",
                "identity_metadata",
            ]
        );
        // A map from text to text.
        assert!(row["request_params"].as_object().unwrap().values().all(Value::is_string));
        assert_eq!(row["event_date"], row["event_time"].as_str().unwrap()[..10]);
    }
    assert_eq!(rows[0]["event_time"], "2026-01-01T00:00:00.123Z");
    assert_eq!(
        (rows[0]["service_name"].as_str(), rows[0]["action_name"].as_str()),
        (Some("mlflowExperiment"), Some("batchGetTrace"))
    );
    assert_eq!(rows[0]["request_params"]["trace_ids"], r#"["tr-1","tr-2"]"#);
    assert_eq!(rows[1]["response"]["status_code"], 401);
    assert_eq!(
        (rows[2]["service_name"].as_str(), rows[2]["action_name"].as_str()),
        (Some("workspace"), Some("changeWorkspaceAcl"))
    );
    assert_eq!(rows[2]["request_params"]["aclChangeResourceName"], "experiments/1");
    assert_eq!(rows[2]["request_params"]["targetUserId"], "user:ben");
}

#[test]
fn an_unknown_format_is_named() {
    assert!("xml".parse::<Format>().unwrap_err().to_string().contains("`xml`"));
}
