use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use proptest::prelude::*;

use super::*;

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn span() -> Span {
    Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        name: "f".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_795_322_693_350_000_999,
        end_time_unix_nano: 1_795_322_693_360_000_000,
        attributes: vec![
            pair("n", Value::IntValue(i64::MAX)),
            pair("d", Value::DoubleValue(1.0)),
            pair("nan", Value::DoubleValue(f64::NAN)),
            pair("b", Value::BytesValue(vec![1, 2, 3])),
            pair("twice", text("first")),
            pair("twice", text("last \"\n\u{1}")),
            pair(
                "list",
                Value::ArrayValue(ArrayValue { values: vec![any(Value::BoolValue(true)).unwrap()] }),
            ),
            pair("map", Value::KvlistValue(KeyValueList { values: vec![pair("x", Value::IntValue(1))] })),
        ],
        events: vec![span::Event { name: "e".to_owned(), time_unix_nano: 7, ..span::Event::default() }],
        status: Some(Status { code: 2, message: "no".to_owned() }),
        ..Span::default()
    }
}

fn export(spans: Vec<Span>) -> Vec<u8> {
    let resource = Resource { attributes: vec![pair("service.name", text("bot"))], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn a_span_becomes_a_row() {
    let mut other = span();
    other.span_id = vec![2; 8];
    other.parent_span_id = vec![1; 8];
    other.events.clear();
    let mut root = span();
    root.parent_span_id = vec![0; 8];
    let read = spans(&export(vec![root, other]), Version::V2, 5).unwrap();
    assert_eq!(read.trace_ids, ["ab".repeat(16)]);
    let rows = read.rows;
    assert_eq!(rows.schema(), crate::schemas::spans());
    let column = |name: &str| rows.column_by_name(name).unwrap();
    assert_eq!(column("service_name").as_string::<i32>().value(0), "bot");
    assert_eq!(column("kind").as_string::<i32>().value(0), "SPAN_KIND_SERVER");
    assert_eq!(
        column("start_time_unix_nano").as_primitive::<Int64Type>().value(0),
        1_795_322_693_350_000_999
    );
    assert_eq!(column("time").as_primitive::<TimestampMicrosecondType>().value(0), 1_795_322_693_350_000);
    assert!(column("parent_span_id").is_null(0) && !column("parent_span_id").is_null(1));
    let attributes: serde_json::Value =
        serde_json::from_str(column("attributes").as_string::<i32>().value(0)).unwrap();
    assert_eq!(
        attributes,
        serde_json::json!({"n": i64::MAX, "d": 1.0, "nan": "NaN", "b": "AQID", "twice": "last \"\n\u{1}",
                           "list": [true], "map": {"x": 1}})
    );
    assert!(column("attributes").as_string::<i32>().value(0).contains("\"d\":1.0"));
    let events = column("events").as_list::<i32>();
    assert_eq!((events.value_length(0), events.value_length(1)), (1, 0));
    let ids = column("record_id").as_string::<i32>();
    assert_ne!(ids.value(0), ids.value(1));
}

#[test]
fn version_1_holds_texts() {
    let read = spans(&export(vec![span()]), Version::V1, 5).unwrap();
    assert_eq!(read.rows.schema(), crate::schemas::spans_v1());
    let map = read.rows.column_by_name("attributes").unwrap().as_map().value(0);
    let (keys, values) = (map.column(0).as_string::<i32>(), map.column(1).as_string::<i32>());
    let at = |wanted: &str| (0..keys.len()).find(|index| keys.value(*index) == wanted).unwrap();
    assert_eq!((values.value(at("map")), values.value(at("d"))), ("{\"x\":1}", "1.0"));
    assert_eq!(values.value(at("twice")), "last \"\n\u{1}");
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut Span);
    let changes: [(Change, &str); 5] = [
        (|span| span.trace_id = vec![0; 16], "trace_id"),
        (|span| span.trace_id = vec![1; 15], "trace_id"),
        (|span| span.span_id.clear(), "span_id"),
        (|span| span.parent_span_id = vec![1; 7], "parent_span_id"),
        (|span| span.links = vec![span::Link::default()], "links.trace_id"),
    ];
    for (change, named) in changes {
        let mut wrong = span();
        change(&mut wrong);
        let refused = spans(&export(vec![wrong]), Version::V2, 5).unwrap_err().to_string();
        assert!(refused.contains(&format!("`{named}`")), "{refused}");
    }
    assert!(matches!(spans(b"\xff\xff\xff", Version::V2, 5), Err(LakeError::Malformed(_))));
}

#[test]
fn attributes_nest_so_deep_and_no_deeper() {
    let mut value = text("x");
    for _ in 0..26 {
        value = Value::KvlistValue(KeyValueList { values: vec![pair("k", value)] });
    }
    let mut deep = span();
    deep.attributes = vec![pair("deep", value)];
    let refused = spans(&export(vec![deep]), Version::V2, 5).unwrap_err().to_string();
    assert!(refused.contains("nest deeper"), "{refused}");
}

#[test]
fn nothing_is_no_rows() {
    let read = spans(&[], Version::V2, 5).unwrap();
    assert_eq!((read.rows.num_rows(), read.trace_ids.len()), (0, 0));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = spans(&bytes, Version::V2, 5);
    }

    #[test]
    fn texts_come_through_as_they_are(key in ".{0,20}", value in ".{0,60}") {
        let mut one = span();
        one.attributes = vec![pair(&key, text(&value))];
        let read = spans(&export(vec![one]), Version::V2, 5).unwrap();
        let column = read.rows.column_by_name("attributes").unwrap();
        let attributes: serde_json::Value = serde_json::from_str(column.as_string::<i32>().value(0)).unwrap();
        prop_assert_eq!(attributes, serde_json::json!({ key: value }));
    }
}
