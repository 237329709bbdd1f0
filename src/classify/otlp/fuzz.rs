//! Exports of any bytes, beside another reader of protobuf, and without the traces that are refused.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::wire::decompress;

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";
const LIMITS: OtlpLimits = OtlpLimits { max_decompressed_bytes: 1 << 20, max_spans: 200, max_traces: 20 };

fn without(data: &[u8], media: &str, refused: &HashSet<TraceId>) -> Vec<u8> {
    let mut out = Vec::new();
    let body = ReplayBody::memory(data.to_vec());
    let written = without_traces(&body, media, None, LIMITS, refused, &mut out).unwrap();
    assert_eq!(written, out.len() as u64);
    out
}

fn read(data: &[u8], media: &str) -> Result<Export, OtlpError> {
    read_export(&ReplayBody::memory(data.to_vec()), media, None, LIMITS)
}

/// What an export reads as, if it can be read; checked beside another reader, and without each of its traces.
pub(crate) fn rewritten(data: &[u8], media: &str) -> Option<Export> {
    let export = read(data, media).ok()?;
    assert!(export.spans <= LIMITS.max_spans && export.traces.len() <= LIMITS.max_traces);
    assert_eq!(export.spans, export.traces.iter().map(|trace| trace.spans).sum::<u64>());
    assert_eq!(export.decompressed_bytes, data.len() as u64);
    let whole = without(data, media, &HashSet::new());
    if media == PROTOBUF {
        assert_eq!(whole, data);
        beside_prost(data, &export);
    } else if !data.is_empty() {
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        assert_eq!(value(&whole), value(data));
    }
    for refused in &export.traces {
        let rest = without(data, media, &HashSet::from([refused.trace.clone()]));
        assert!(media == JSON || rest.len() <= data.len());
        let left = read(&rest, media).unwrap();
        let expected: Vec<_> = export.traces.iter().filter(|trace| trace.trace != refused.trace).collect();
        assert_eq!(left.traces.iter().collect::<Vec<_>>(), expected);
    }
    let all: HashSet<TraceId> = export.traces.iter().map(|trace| trace.trace.clone()).collect();
    assert_eq!(read(&without(data, media, &all), media).unwrap().spans, 0);
    Some(export)
}

fn trace_of(span: &Span) -> Option<TraceId> {
    TraceId::from_otel(&span.trace_id)
}

/// Whatever else reads these bytes finds the same spans in the same traces.
fn beside_prost(data: &[u8], export: &Export) {
    let Ok(mut decoded) = ExportTraceServiceRequest::decode(data) else { return };
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let mut reserved = HashSet::new();
    for resource in &decoded.resource_spans {
        let of_resource = resource.resource.iter().flat_map(|resource| &resource.attributes);
        let tainted = of_resource.into_iter().any(|attribute| reserved_resource_attribute(&attribute.key));
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let trace = trace_of(span).unwrap();
            *counted.entry(trace.as_str().to_owned()).or_default() += 1;
            if tainted || span.attributes.iter().any(|attribute| reserved_span_attribute(&attribute.key)) {
                reserved.insert(trace);
            }
        }
    }
    let ours = export.traces.iter().map(|trace| (trace.trace.as_str().to_owned(), trace.spans));
    assert_eq!(counted, ours.collect());
    for trace in &export.traces {
        assert_eq!(trace.reserved.is_some(), reserved.contains(&trace.trace), "{trace:?}");
    }
    let Some(refused) = export.traces.first().map(|trace| trace.trace.clone()) else { return };
    for scope in decoded.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
        scope.spans.retain(|span| trace_of(span).as_ref() != Some(&refused));
    }
    let rest = without(data, PROTOBUF, &HashSet::from([refused]));
    // NaN is not itself: compared as bytes.
    assert_eq!(
        ExportTraceServiceRequest::decode(rest.as_slice()).unwrap().encode_to_vec(),
        decoded.encode_to_vec()
    );
}

/// A first byte that says how the rest is encoded.
pub(crate) fn encoded(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let encoding = if how & 1 == 0 { "gzip" } else { "deflate" };
    let media = if how & 2 == 0 { PROTOBUF } else { JSON };
    let body = ReplayBody::memory(rest.to_vec());
    let mut plain = Vec::new();
    let opened = decompress::open(&body, Some(encoding), LIMITS.max_decompressed_bytes)
        .is_ok_and(|mut reader| reader.read_to_end(&mut plain).is_ok());
    // The cap holds, whatever stands in the headers of a stream.
    assert!(plain.len() as u64 <= LIMITS.max_decompressed_bytes);
    let packed = read_export(&body, media, Some(encoding), LIMITS);
    match packed {
        Ok(packed) => {
            assert!(opened);
            assert_eq!(packed, read(&plain, media).unwrap());
        }
        Err(_) if opened => assert!(read(&plain, media).is_err()),
        Err(_) => {}
    }
}
