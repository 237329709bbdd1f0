//! OTLP, as rows.

mod any_json;
mod columns;

use std::collections::HashSet;

use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::LakeError;
use columns::Columns;

/// The spans of an `ExportTraceServiceRequest` as rows, and what an audit record needs of them.
#[derive(Debug)]
pub struct SpanRows {
    /// As [`crate::schemas::spans`], or [`crate::schemas::spans_v1`].
    pub rows: RecordBatch,
    /// 32 hexadecimal digits each, each once, in the order of their first span.
    pub trace_ids: Vec<String>,
}

/// Which version of the tables rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Reads an export request in protobuf. `now_nanos` is when it came; a span without a start began then.
pub fn spans(request: &[u8], version: Version, now_nanos: i64) -> Result<SpanRows, LakeError> {
    let request = ExportTraceServiceRequest::decode(request)
        // It names every message on the way to the fault.
        .map_err(|error| error.to_string().chars().take(200).collect::<String>())
        .map_err(|problem| LakeError::Malformed(format!("is no OTLP export in protobuf: {problem}")))?;
    let mut columns = Columns::new(version);
    let (mut known, mut trace_ids) = (HashSet::new(), Vec::new());
    for of_resource in &request.resource_spans {
        let resource = columns::Resource::of(version, of_resource)?;
        for of_scope in &of_resource.scope_spans {
            let scope = columns::Scope::of(version, of_scope)?;
            for span in &of_scope.spans {
                let trace = id(&span.trace_id, 16, "trace_id")?;
                let own = id(&span.span_id, 8, "span_id")?;
                // Some exporters write zeros where a root has no parent.
                let parent = match span.parent_span_id.iter().all(|byte| *byte == 0) {
                    true => None,
                    false => Some(id(&span.parent_span_id, 8, "parent_span_id")?),
                };
                columns.push(&resource, &scope, span, &trace, &own, parent.as_deref(), now_nanos)?;
                if known.insert(trace.clone()) {
                    trace_ids.push(trace);
                }
            }
        }
    }
    Ok(SpanRows { rows: columns.finish()?, trace_ids })
}

/// Bytes of an id in hexadecimal digits; of the right length, and not all zero.
fn id(bytes: &[u8], length: usize, field: &str) -> Result<String, LakeError> {
    if bytes.len() != length || bytes.iter().all(|byte| *byte == 0) {
        let problem = format!("has a span whose `{field}` is not {length} bytes that are not all zero");
        return Err(LakeError::Malformed(problem));
    }
    Ok(hex(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests;
