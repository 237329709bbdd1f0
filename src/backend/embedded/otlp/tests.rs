use std::io::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use serde_json::{Value, json};

use super::super::testing::{TestStore, bytes_of};
use crate::wire::{Body, Method};

const TRACE: &str = "tr-0101010101010101010101010101010101";

fn attribute(key: &str, value: Kind) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Kind::StringValue(value.to_owned()))
}

fn span(trace: u8, number: u8, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![number; 8],
        parent_span_id: if number == 1 { Vec::new() } else { vec![1; 8] },
        name: format!("span {number}"),
        start_time_unix_nano: 1_795_322_418_413_000_000,
        end_time_unix_nano: 1_795_322_418_423_000_000,
        attributes,
        status: Some(Status { message: String::new(), code: 1 }),
        ..Span::default()
    }
}

fn export(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

async fn send(store: &TestStore, media: &str, encoding: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let mut headers = vec![("content-type", media), ("x-mlflow-experiment-id", "0")];
    headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
    let reply = store.send(Method::Post, "/v1/traces", &headers, None, Body::memory(body)).await;
    let status = reply.status;
    (status, serde_json::from_slice(&bytes_of(reply).await).unwrap_or(Value::Null))
}

const PROTOBUF: &str = "application/x-protobuf";

async fn get(store: &TestStore, trace: u8) -> Value {
    let id = format!("tr-{}", hex::encode([trace; 16]));
    let (status, body) = store.get(&format!("/api/3.0/mlflow/traces/get?trace_id={id}")).await;
    assert_eq!(status, 200, "{body}");
    body["trace"].clone()
}

#[tokio::test]
async fn an_export_may_be_compressed_and_hold_several_traces() {
    let store = TestStore::open().await;
    let plain = export(vec![span(1, 1, vec![]), span(2, 1, vec![]), span(1, 2, vec![])]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&plain).unwrap();
    let ways =
        [(None, plain), (Some("gzip"), gzip.finish().unwrap()), (Some("deflate"), zlib.finish().unwrap())];
    for (encoding, body) in ways {
        assert_eq!(send(&store, PROTOBUF, encoding, body).await, (200, Value::Null));
        assert_eq!(get(&store, 1).await["spans"].as_array().unwrap().len(), 2);
        assert_eq!(get(&store, 2).await["spans"].as_array().unwrap().len(), 1);
    }
    let (status, _) = store.get(&format!("/api/3.0/mlflow/traces/{TRACE}")).await;
    assert_eq!(status, 404, "that id has two digits too many");
}

#[tokio::test]
async fn what_is_damaged_is_refused_as_mlflow_refuses_it() {
    let store = TestStore::open().await;
    let mut not_text = export(vec![span(1, 1, vec![text("k", "valid")])]);
    let at = not_text.windows(5).position(|window| window == b"valid").unwrap();
    not_text[at] = 0xff;
    let detail = |what: &str| json!({ "detail": what });
    let short = Span { span_id: vec![1; 7], ..span(1, 1, vec![]) };
    let nul = Span { name: "a\0b".to_owned(), ..span(1, 1, vec![]) };
    for (media, encoding, body, status, said) in [
        (PROTOBUF, None, not_text, 400, detail("Invalid OpenTelemetry format")),
        (PROTOBUF, None, vec![], 400, detail("Invalid OpenTelemetry format - no spans found")),
        (PROTOBUF, None, vec![0xff, 0xff], 400, detail("Invalid OpenTelemetry format")),
        (PROTOBUF, Some("gzip"), b"xx".to_vec(), 400, detail("Failed to decompress gzip payload")),
        (PROTOBUF, Some("br"), vec![], 400, detail("Unsupported Content-Encoding: br")),
        (
            PROTOBUF,
            None,
            export(vec![short]),
            422,
            detail("Cannot convert OpenTelemetry span to MLflow span: a span id must be 8 bytes"),
        ),
        (
            PROTOBUF,
            None,
            export(vec![nul]),
            422,
            detail("Cannot convert OpenTelemetry span to MLflow span: a span's name may not hold U+0000"),
        ),
        ("application/json", None, b"{".to_vec(), 400, detail("Invalid OpenTelemetry format")),
        ("application/json", None, b"{\"resourceSpans\":[{}]}".to_vec(), 200, Value::Null),
        (PROTOBUF, None, export(vec![]), 200, Value::Null),
    ] {
        assert_eq!(send(&store, media, encoding, body).await, (status, said));
    }
    let traces: i64 = sqlx::query_scalar("SELECT count(*) FROM traces")
        .fetch_one(&store.shared.database.reader)
        .await
        .unwrap();
    assert_eq!(traces, 0);
}

#[tokio::test]
async fn other_conventions_are_said_in_mlflows_words() {
    let store = TestStore::open().await;
    let chat = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4o"),
        text("gen_ai.input.messages", r#"[{"role": "user", "content": "hi"}]"#),
        attribute("gen_ai.usage.input_tokens", Kind::IntValue(10)),
        attribute("gen_ai.usage.output_tokens", Kind::IntValue(20)),
        text("session.id", "s1"),
    ];
    let agent = vec![text("openinference.span.kind", "AGENT"), text("mlflow.traceTag.k", "v")];
    let spans = vec![span(1, 1, agent), span(1, 2, chat.clone()), span(1, 2, chat)];
    assert_eq!(send(&store, PROTOBUF, None, export(spans)).await.0, 200);
    let told = get(&store, 1).await;
    assert_eq!(told["spans"].as_array().unwrap().len(), 2, "a doubled span is one");
    let of = |span: usize, key: &str| {
        let attributes = told["spans"][span]["attributes"].as_array().unwrap();
        attributes.iter().find(|attribute| attribute["key"] == key).map(|found| found["value"].clone())
    };
    assert_eq!(of(0, "mlflow.spanType"), Some(json!({"string_value": "AGENT"})));
    assert_eq!(of(1, "mlflow.spanType"), Some(json!({"string_value": "CHAT_MODEL"})));
    assert_eq!(of(1, "mlflow.llm.model"), Some(json!({"string_value": "gpt-4o"})));
    assert!(of(1, "mlflow.spanInputs").unwrap()["array_value"]["values"][0]["kvlist_value"].is_object());
    let metadata = &told["trace_info"]["trace_metadata"];
    let tokens = r#"{"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}"#;
    assert_eq!(metadata["mlflow.trace.tokenUsage"], tokens);
    assert_eq!(
        metadata["mlflow.trace.cost"],
        r#"{"input_cost": 2.5e-05, "output_cost": 0.0002, "total_cost": 0.00022500000000000002}"#
    );
    assert_eq!(metadata["mlflow.trace.session"], "s1");
    assert_eq!(told["trace_info"]["tags"]["k"], "v");
    let summed: (i64, f64) = sqlx::query_as("SELECT total_tokens, total_cost FROM traces")
        .fetch_one(&store.shared.database.reader)
        .await
        .unwrap();
    assert_eq!(summed, (30, 0.000_225_000_000_000_000_02));
}
