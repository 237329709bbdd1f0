use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::wire::wire_format::put_field;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const LIMITS: OtlpLimits =
    OtlpLimits { max_decompressed_bytes: 64 * 1024 * 1024, max_spans: 10_000, max_traces: 1_000 };
const FIRST: &str = "tr-0af7651916cd43dd8448eb211c80319c";
const SECOND: &str = "tr-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Written by Python's `opentelemetry-proto`: two spans of one trace and one, whose parent is zero, of
/// another that sets `mlflow.traceTag.mlflow.artifactLocation`.
const FIXTURE: &str = "0a89040a180a160a0c736572766963652e6e616d6512060a0473686f7012ec030a050a036c69621298010a100af7651916cd43dd8448eb211c80319c1208b7ad6b71692033312a04737465703901000000000000004102000000000000004a400a156d6c666c6f772e747261636552657175657374496412270a252274722d3061663736353139313663643433646438343438656232313163383033313963224a1b0a146d6c666c6f772e74726163655461672e7465616d12030a01785a0312016512d0010a100af7651916cd43dd8448eb211c80319c1208b7ad6b71692033322208b7ad6b71692033312a04737465703901000000000000004102000000000000004a8f010a116d6c666c6f772e7370616e496e70757473127a0a7873656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657473656372657412750a10aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1208b7ad6b7169203333220800000000000000002a04737465703901000000000000004102000000000000004a350a276d6c666c6f772e74726163655461672e6d6c666c6f772e61727469666163744c6f636174696f6e120a0a0866696c653a2f2f2f";

fn fixture() -> Vec<u8> {
    hex::decode(FIXTURE).unwrap()
}

fn read(bytes: &[u8]) -> Result<Export, OtlpError> {
    read_export(&ReplayBody::memory(bytes.to_vec()), PROTOBUF, None, LIMITS)
}

fn read_json(text: &str) -> Result<Export, OtlpError> {
    read_export(&ReplayBody::memory(text.to_owned()), JSON, None, LIMITS)
}

fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_field(number, bytes, &mut out);
    out
}

fn attribute(number: u32, key: &str, value: &str) -> Vec<u8> {
    field(number, &[field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat())
}

/// A request with one span that consists of the given fields, below the given resource spans fields.
fn request(span: &[Vec<u8>], resource_spans: &[Vec<u8>]) -> Vec<u8> {
    field(1, &[field(2, &field(2, &span.concat())), resource_spans.concat()].concat())
}

fn span_of(trace: u8) -> Vec<Vec<u8>> {
    vec![field(1, &[trace; 16]), field(2, &[7; 8])]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_export_of_a_real_library_is_read() {
    let export = read(&fixture()).unwrap();
    assert_eq!((export.spans, export.decompressed_bytes), (3, 524));
    assert_eq!(
        export.traces,
        [
            TraceSpans {
                trace: TraceId::parse(FIRST).unwrap(),
                spans: 2,
                has_root: true,
                reserved: None,
                foreign_request_id: None,
                marks: vec![]
            },
            TraceSpans {
                trace: TraceId::parse(SECOND).unwrap(),
                spans: 1,
                has_root: true,
                reserved: Some("mlflow.traceTag.mlflow.artifactLocation".to_owned()),
                foreign_request_id: None,
                marks: vec![]
            }
        ]
    );
    assert_eq!(read(b"").unwrap(), Export::default());
}

#[test]
fn every_encoding_reads_alike() {
    let plain = fixture();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&plain).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(&plain).unwrap();
    let (zlib, raw) = (zlib.finish().unwrap(), raw.finish().unwrap());
    let members = [gzip(&plain[..100]), gzip(&plain[100..])].concat();
    for (encoding, bytes) in
        [("gzip", gzip(&plain)), ("GZIP", members), ("deflate", zlib.clone()), ("deflate", raw.clone())]
    {
        let export = read_export(&ReplayBody::memory(bytes), PROTOBUF, Some(encoding), LIMITS).unwrap();
        assert_eq!(export, read(&plain).unwrap(), "{encoding}");
    }
    let refuse = |encoding: &str, bytes: Vec<u8>| {
        let result = read_export(&ReplayBody::memory(bytes), PROTOBUF, Some(encoding), LIMITS);
        assert!(result.is_err(), "{encoding}");
    };
    let mut bad_checksum = zlib.clone();
    *bad_checksum.last_mut().unwrap() ^= 1;
    refuse("deflate", bad_checksum);
    refuse("deflate", zlib[..zlib.len() - 1].to_vec());
    refuse("deflate", raw[..raw.len() - 1].to_vec());
    refuse("deflate", [zlib, vec![0]].concat());
    refuse("deflate", [raw.clone(), raw].concat());
    refuse("deflate", Vec::new());
    let mut bad_checksum = gzip(&plain);
    let crc = bad_checksum.len() - 8;
    bad_checksum[crc] ^= 1;
    refuse("gzip", bad_checksum);
    refuse("gzip", gzip(&plain)[..100].to_vec());
    refuse("gzip", [gzip(&plain), vec![1, 2, 3]].concat());
    refuse("br", plain.clone());
    refuse("gzip, gzip", gzip(&gzip(&plain)));
    assert!(matches!(
        read_export(&ReplayBody::memory(plain), "application/x-protobuf2", None, LIMITS),
        Err(OtlpError::MediaType(_))
    ));
}

#[test]
fn a_bomb_stops_at_the_cap_wherever_it_hides() {
    // 200 members of 16 MiB: about 3 GiB in about 3 MiB.
    let zeros = gzip(&vec![0; 16 * 1024 * 1024]).repeat(200);
    // In a skipped field at each level, claiming all that a length can claim.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x07];
    let heads: [Vec<u8>; 3] = [
        [&[0x7a][..], &claim].concat(),
        [&[0x0a][..], &[0xfa, 0xff, 0xff, 0xff, 0x07], &[0x7a], &[0xf0, 0xff, 0xff, 0xff, 0x07]].concat(),
        [
            &[0x7a, 0x00, 0x0a][..],
            &claim,
            &[0x0a],
            &[0xf0, 0xff, 0xff, 0xff, 0x07],
            &[0x7a],
            &[0xe0, 0xff, 0xff, 0xff, 0x07],
        ]
        .concat(),
    ];
    for head in heads {
        let body = ReplayBody::memory([gzip(&head), zeros.clone()].concat());
        let result = read_export(&body, PROTOBUF, Some("gzip"), LIMITS);
        assert!(
            matches!(result, Err(OtlpError::TooLarge { limit }) if limit == LIMITS.max_decompressed_bytes)
        );
    }
    let body = ReplayBody::memory([gzip(b"{\"a\":\""), zeros].concat());
    assert!(matches!(read_export(&body, JSON, Some("gzip"), LIMITS), Err(OtlpError::TooLarge { .. })));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    // A trace id, a key and a string value of 2 GiB each, with nothing behind them.
    let claim = [0xff_u8, 0xff, 0xff, 0xff, 0x07];
    for head in [
        &[0x0a_u8][..],
        &[0x0a, 0x7f, 0x12, 0x7f, 0x12, 0x7f, 0x0a],
        &[0x0a, 0x7f, 0x12, 0x7f, 0x12, 0x7f, 0x4a, 0x7f, 0x0a],
    ] {
        assert!(matches!(read(&[head, &claim].concat()), Err(OtlpError::Malformed(_))));
    }
}

#[test]
fn what_parsers_read_differently_is_refused() {
    let hidden = request(&span_of(9), &[]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("second trace id", request(&[span_of(1), vec![field(1, &[2; 16])]].concat(), &[])),
        ("second span id", request(&[span_of(1), vec![field(2, &[2; 8])]].concat(), &[])),
        ("second parent", request(&[span_of(1), vec![field(4, &[0; 8]), field(4, &[1; 8])]].concat(), &[])),
        ("no trace id", request(&[field(2, &[7; 8])], &[])),
        ("zero trace id", request(&span_of(0), &[])),
        ("short trace id", request(&[field(1, &[1; 15])], &[])),
        ("long trace id", request(&[field(1, &[1; 17])], &[])),
        ("trace id as number", request(&[vec![0x08, 0x01]], &[])),
        (
            "second key",
            request(&[span_of(1), vec![field(9, &[field(1, b"a"), field(1, b"b")].concat())]].concat(), &[]),
        ),
        ("key that is not UTF-8", request(&[span_of(1), vec![field(9, &field(1, b"\xff"))]].concat(), &[])),
        ("endless key", request(&[span_of(1), vec![field(9, &field(1, &[b'a'; 5000]))]].concat(), &[])),
        ("second resource", request(&span_of(1), &[field(1, b""), field(1, b"")])),
        ("group", [vec![0x7b], hidden.clone(), vec![0x7c]].concat()),
        ("resource spans as group", [vec![0x0b], hidden.clone(), vec![0x0c]].concat()),
        ("padded tag", [vec![0x8a, 0x00], hidden[1..].to_vec()].concat()),
        ("field zero", vec![0x02, 0x00]),
        ("six-byte length", [vec![0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]].concat()),
        ("length past the message", field(1, &[0x12, 0x05, 0x00])),
        ("length past the stream", hidden[..hidden.len() - 1].to_vec()),
        ("cut in a tag", vec![0x8a]),
        ("number past the message", field(1, &[0x18, 0x80])),
    ];
    for (name, bytes) in cases {
        assert!(matches!(read(&bytes), Err(OtlpError::Malformed(_))), "{name} was accepted");
    }
    // A length padded to four bytes is what .NET's exporter sends.
    let padded = [&[0x0a, 0x80 | hidden[1], 0x80, 0x80, 0x00][..], &hidden[2..]].concat();
    assert_eq!(read(&padded).unwrap().spans, 1);
}

#[test]
fn reserved_tags_are_found_by_every_door_of_an_export() {
    let reserved = |bytes: &[u8]| read(bytes).unwrap().traces[0].reserved.clone();
    let with = |key: &str| reserved(&request(&[span_of(1), vec![attribute(9, key, "x")]].concat(), &[]));
    assert!(with("mlflow.traceTag.mlflow.artifactLocation").is_some());
    assert!(with("mlflow.traceTag.MLFLOW.trace.spanslocation ").is_some());
    assert!(with("mlflow.traceTag.team").is_none());
    assert!(with("mlflow.artifactLocation").is_none());
    // The resource's attributes are tags too, also when they follow the spans or the value its key.
    let resource =
        field(1, &field(1, &[field(2, &field(1, b"x")), field(1, b"MLFLOW.artifactLocation")].concat()));
    assert!(reserved(&request(&span_of(1), &[resource])).is_some());
    // Attributes may stand before the ids, and a child counts as well as a root.
    let child =
        [vec![attribute(9, "mlflow.traceTag.mlflow.user", "x"), field(4, &[1; 8])], span_of(1)].concat();
    assert!(reserved(&request(&child, &[])).is_some());
}

#[test]
fn a_span_that_claims_another_trace_is_reported() {
    let claimed = |value: &str| {
        let span = [vec![attribute(9, REQUEST_ID, value)], span_of(0xaa)].concat();
        read(&request(&span, &[])).unwrap().traces[0].foreign_request_id.clone()
    };
    assert_eq!(claimed(SECOND), None);
    assert_eq!(claimed(&format!("\"{SECOND}\"")), None);
    assert_eq!(claimed(FIRST).as_deref(), Some(FIRST));
}

#[test]
fn limits_are_kept() {
    let many: Vec<u8> = (1..=5).flat_map(|trace| request(&span_of(trace), &[])).collect();
    let with = |limits: OtlpLimits| read_export(&ReplayBody::memory(many.clone()), PROTOBUF, None, limits);
    assert!(with(OtlpLimits { max_spans: 5, max_traces: 5, ..LIMITS }).is_ok());
    assert!(matches!(with(OtlpLimits { max_spans: 4, ..LIMITS }), Err(OtlpError::TooManySpans { limit: 4 })));
    assert!(matches!(
        with(OtlpLimits { max_traces: 4, ..LIMITS }),
        Err(OtlpError::TooManyTraces { limit: 4 })
    ));
    assert!(matches!(
        with(OtlpLimits { max_decompressed_bytes: 10, ..LIMITS }),
        Err(OtlpError::TooLarge { limit: 10 })
    ));
}

const JSON_EXPORT: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
 "scopeSpans":[{"spans":[
  {"traceId":"0AF7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"a","startTimeUnixNano":"1"},
  {"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"b7ad6b7169203332","parentSpanId":"b7ad6b7169203331",
   "attributes":[{"key":"mlflow.traceTag.mlflow.trace.spansLocation","value":{"stringValue":"ARTIFACT_REPO"}}]}]}]}]}"#;

#[test]
fn json_is_read_and_rewritten() {
    let export = read_json(JSON_EXPORT).unwrap();
    assert_eq!(export.traces[0].trace.as_str(), FIRST);
    assert!(export.traces[0].has_root && export.traces[0].reserved.is_none());
    assert!(!export.traces[1].has_root && export.traces[1].reserved.is_some());
    let refused = HashSet::from([TraceId::parse(SECOND).unwrap()]);
    let mut out = Vec::new();
    let body = ReplayBody::memory(JSON_EXPORT);
    let written = without_traces(&body, JSON, None, LIMITS, &refused, &mut out).unwrap();
    assert_eq!(written, out.len() as u64);
    let rest = read_json(std::str::from_utf8(&out).unwrap()).unwrap();
    assert_eq!(rest.traces, export.traces[..1]);
    assert_eq!(read_json("{}").unwrap().spans, 0);
}

#[test]
fn json_with_two_readings_is_refused() {
    let span =
        |fields: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#);
    let id = r#""traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#;
    assert!(read_json(&span(id)).is_ok());
    for bad in [
        String::new(),
        "[]".to_owned(),
        r#"{"resource_spans":[]}"#.to_owned(),
        r#"{"resourceSpans":null}"#.to_owned(),
        r#"{"resourceSpans":[],"resourceSpans":[]}"#.to_owned(),
        r#"{"resourceSpans":[null]}"#.to_owned(),
        r#"{"resourceSpans":[{"scope_spans":[]}]}"#.to_owned(),
        r#"{"resourceSpans":[{"resource":[]}]}"#.to_owned(),
        span(""),
        span(r#""traceId":null"#),
        span(r#""traceId":"""#),
        span(r#""traceId":"00000000000000000000000000000000""#),
        span(r#""traceId":"aaaaaaaa aaaaaaaaaaaaaaaaaaaaaaaa""#),
        span(r#""traceId":"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq""#),
        span(r#""traceId":"qqqqqqqqqqqqqqqqqqqqqg==""#),
        span(&format!(r#"{id},"trace_id":"qqqqqqqqqqqqqqqqqqqqqg==""#)),
        span(&format!(r#"{id},"parent_span_id":"""#)),
        span(&format!(r#"{id},{id}"#)),
        span(&format!(r#"{id},"spanId":1"#)),
        span(&format!(r#"{id},"attributes":{{}}"#)),
        span(&format!(r#"{id},"attributes":[{{"key":1}}]"#)),
    ] {
        assert!(read_json(&bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn rejected_spans_are_reported_in_the_request_s_encoding() {
    // As Python's library writes `ExportTraceServiceResponse(partial_success=(300, "no"))`.
    assert_eq!(hex::encode(partial_success(PROTOBUF, 300, "no")), "0a0708ac0212026e6f");
    let json: serde_json::Value = serde_json::from_slice(&partial_success(JSON, 3, "a \"b\"")).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedSpans"], "3");
    assert_eq!(json["partialSuccess"]["errorMessage"], "a \"b\"");
}

#[test]
fn an_export_without_a_trace_is_the_rest_of_it() {
    let first = HashSet::from([TraceId::parse(FIRST).unwrap()]);
    for (encoding, body) in [(None, fixture()), (Some("gzip"), gzip(&fixture()))] {
        let mut out = Vec::new();
        let body = ReplayBody::memory(body);
        let written = without_traces(&body, PROTOBUF, encoding, LIMITS, &first, &mut out).unwrap();
        assert_eq!(written, out.len() as u64);
        let rest = read(&out).unwrap();
        assert_eq!(rest.traces, read(&fixture()).unwrap().traces[1..]);
        assert!(!out.windows(6).any(|window| window == b"secret"));
    }
}

/// A resource, its scopes, and the trace and payload size of each span; padded lengths now and then.
type Shape = Vec<Vec<Vec<(u8, usize)>>>;

fn build(shape: &Shape, skip: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for resource in shape {
        let mut scopes = attribute(1, "service.name", "shop");
        scopes = field(1, &scopes);
        for scope in resource {
            let mut spans = field(1, b"\x0a\x01s");
            for (trace, size) in scope.iter().filter(|(trace, _)| !skip.contains(trace)) {
                let span = [span_of(*trace), vec![attribute(9, "k", &"v".repeat(*size))]].concat().concat();
                spans.extend(field(2, &span));
            }
            scopes.extend(field(2, &spans));
        }
        scopes.extend(field(3, b"schema"));
        out.extend(field(1, &scopes));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rewriting_equals_never_having_sent(
        shape in prop::collection::vec(
            prop::collection::vec(prop::collection::vec((1_u8..5, 0_usize..300), 0..6), 0..4), 0..4),
        skip in prop::collection::vec(1_u8..5, 0..4),
    ) {
        let refused: HashSet<TraceId> = skip.iter().map(|trace| TraceId::from_otel(&[*trace; 16]).unwrap()).collect();
        let mut out = Vec::new();
        let body = ReplayBody::memory(build(&shape, &[]));
        without_traces(&body, PROTOBUF, None, LIMITS, &refused, &mut out).unwrap();
        prop_assert_eq!(&out, &build(&shape, &skip));
        let spans: u64 = read(&out).unwrap().spans;
        prop_assert_eq!(spans, shape.iter().flatten().flatten().filter(|(trace, _)| !skip.contains(trace)).count() as u64);
    }

    #[test]
    fn damaged_exports_are_read_or_refused(position in 0_usize..524, byte: u8, length in 0_usize..=524) {
        let mut bytes = fixture();
        bytes[position] = byte;
        bytes.truncate(length);
        let _ = read(&bytes);
        let mut out = Vec::new();
        let all = HashSet::from([TraceId::parse(FIRST).unwrap()]);
        if without_traces(&ReplayBody::memory(bytes), PROTOBUF, None, LIMITS, &all, &mut out).is_ok() {
            prop_assert!(read(&out).unwrap().traces.iter().all(|trace| trace.trace.as_str() != FIRST));
        }
    }
}

#[test]
fn attributes_that_are_looked_for_are_noted_in_both_encodings() {
    let keys = ["session.id".to_owned()];
    let marks = |bytes: Vec<u8>, media| {
        let export = read_marked_export(&ReplayBody::memory(bytes), media, None, LIMITS, &keys).unwrap();
        export.traces.into_iter().map(|trace| trace.marks).collect::<Vec<_>>()
    };
    let found = vec![vec![("session.id".to_owned(), "s-1".to_owned())]];
    for (key, value, expected) in [
        ("session.id", "s-1", found.clone()),
        ("session.id", "\"s-1\"", found.clone()),
        ("other", "s-1", vec![vec![]]),
    ] {
        let span = request(&[span_of(1), vec![attribute(9, key, value)]].concat(), &[]);
        assert_eq!(marks(span, PROTOBUF), expected, "{key} {value}");
        let json = serde_json::json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": key, "value": {"stringValue": value}}]},
            "scopeSpans": [{"spans": [{"traceId": "0123456789abcdef0123456789abcdef", "spanId": "0123456789abcdef"}]}],
        }]});
        assert_eq!(marks(json.to_string().into_bytes(), JSON), expected, "{key} {value}");
    }
}
