//! `ExportTraceServiceRequest` in OTLP's JSON, where ids are hex.
//!
//! MLflow turns the hex into what protobuf's JSON mapping wants under the camelCase names alone, yet that
//! mapping reads snake_case names as well (and their ids as base64), so those are refused.

use std::collections::HashSet;
use std::io::{Read, Write};

use serde_json::{Map, Value, json};

use super::{
    Export, Gathered, OtlpError, OtlpLimits, REQUEST_ID, SpanFacts, reserved_resource_attribute,
    reserved_span_attribute,
};
use crate::access::TraceId;
use crate::wire::ReplayBody;
use crate::wire::decompress::{self, to_error};
use crate::wire::json::parse_object;

/// JSON is read whole, so it has a cap of its own; exporters that send more than this send protobuf.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

type Object = Map<String, Value>;

pub(super) fn read(
    body: &ReplayBody,
    encoding: Option<&str>,
    limits: OtlpLimits,
    keys: &[String],
) -> Result<Export, OtlpError> {
    Ok(walk(body, encoding, limits, &HashSet::new(), keys)?.0)
}

pub(super) fn rewrite(
    body: &ReplayBody,
    encoding: Option<&str>,
    limits: OtlpLimits,
    refused: &HashSet<TraceId>,
    out: &mut dyn Write,
) -> Result<u64, OtlpError> {
    let (_, request) = walk(body, encoding, limits, refused, &[])?;
    let bytes = serde_json::to_vec(&request).map_err(std::io::Error::from)?;
    out.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

pub(super) fn partial_success(rejected_spans: u64, message: &str) -> Vec<u8> {
    // Protobuf's JSON mapping writes 64-bit numbers as strings.
    json!({"partialSuccess": {"rejectedSpans": rejected_spans.to_string(), "errorMessage": message}})
        .to_string()
        .into_bytes()
}

/// Reads the request, and drops the refused spans from what it answers.
fn walk(
    body: &ReplayBody,
    encoding: Option<&str>,
    limits: OtlpLimits,
    refused: &HashSet<TraceId>,
    keys: &[String],
) -> Result<(Export, Object), OtlpError> {
    let cap = limits.max_decompressed_bytes.min(MAX_BYTES);
    let mut bytes = Vec::new();
    decompress::open(body, encoding, cap)?.read_to_end(&mut bytes).map_err(to_error)?;
    if bytes.is_empty() {
        return Err(OtlpError::malformed("the body is empty"));
    }
    let mut request = parse_object(&bytes).map_err(|error| OtlpError::malformed(error.to_string()))?;
    let mut gathered = Gathered::new(limits, keys);
    refuse_spelling(&request, "resource_spans")?;
    for resource_spans in objects(&mut request, "resourceSpans")? {
        refuse_spelling(resource_spans, "scope_spans")?;
        let of_resource = match resource_spans.get("resource") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(resource)) => attributes(resource)?,
            Some(_) => return Err(OtlpError::malformed("`resource` must be an object")),
        };
        let marks: Vec<_> =
            of_resource.iter().filter_map(|(key, value)| gathered.mark(key, value.as_deref())).collect();
        let reserved =
            of_resource.into_iter().map(|(key, _)| key).find(|key| reserved_resource_attribute(key));
        let mut traces = HashSet::new();
        for scope_spans in objects(resource_spans, "scopeSpans")? {
            let mut keep = Vec::new();
            for span in objects(scope_spans, "spans")? {
                let facts = read_span(span, &gathered)?;
                keep.push(!refused.contains(&facts.trace));
                traces.insert(gathered.add(facts)?);
            }
            if let Some(Value::Array(spans)) = scope_spans.get_mut("spans") {
                let mut keep = keep.into_iter();
                spans.retain(|_| keep.next().unwrap_or(false));
            }
        }
        gathered.resource(reserved, &marks, &traces);
    }
    gathered.export.decompressed_bytes = bytes.len() as u64;
    Ok((gathered.export, request))
}

fn read_span(span: &Object, gathered: &Gathered) -> Result<SpanFacts, OtlpError> {
    for snake in ["trace_id", "span_id", "parent_span_id"] {
        refuse_spelling(span, snake)?;
    }
    let hex_of = |field: &str| match span.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        // Python's `bytes.fromhex` skips white space; we do not.
        Some(Value::String(text)) => {
            hex::decode(text).map_err(|_| OtlpError::malformed(format!("`{field}` must be hex")))
        }
        Some(_) => Err(OtlpError::malformed(format!("`{field}` must be a string"))),
    };
    let trace = TraceId::from_otel(&hex_of("traceId")?)
        .ok_or_else(|| OtlpError::malformed("`traceId` must be 32 hex digits that are not all zero"))?;
    hex_of("spanId")?;
    let root = hex_of("parentSpanId")?.iter().all(|byte| *byte == 0);
    let (mut reserved, mut request_id) = (None, None);
    let mut marks = Vec::new();
    for (key, value) in attributes(span)? {
        marks.extend(gathered.mark(&key, value.as_deref()));
        if reserved.is_none() && reserved_span_attribute(&key) {
            reserved = Some(key);
        } else if key == REQUEST_ID {
            request_id = value;
        }
    }
    Ok(SpanFacts { trace, root, reserved, request_id, marks })
}

/// The attributes of a span or resource: keys, and values that are strings.
fn attributes(holder: &Object) -> Result<Vec<(String, Option<String>)>, OtlpError> {
    let list = match holder.get("attributes") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(OtlpError::malformed("`attributes` must be a list")),
    };
    list.iter()
        .map(|attribute| {
            let attribute = attribute
                .as_object()
                .ok_or_else(|| OtlpError::malformed("an attribute must be an object"))?;
            let key = match attribute.get("key") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(key)) => key.clone(),
                Some(_) => return Err(OtlpError::malformed("an attribute's `key` must be a string")),
            };
            let value = attribute.get("value").and_then(Value::as_object);
            let text = value.and_then(|value| value.get("stringValue").or_else(|| value.get("string_value")));
            Ok((key, text.and_then(Value::as_str).map(str::to_owned)))
        })
        .collect()
}

/// The objects of a list that may be absent.
fn objects<'a>(
    holder: &'a mut Object,
    field: &str,
) -> Result<impl Iterator<Item = &'a mut Object> + use<'a>, OtlpError> {
    let list = match holder.get_mut(field) {
        None => [].iter_mut(),
        Some(Value::Array(list)) => list.iter_mut(),
        Some(_) => return Err(OtlpError::malformed(format!("`{field}` must be a list"))),
    };
    let objects = list
        .map(|item| {
            item.as_object_mut().ok_or_else(|| OtlpError::malformed(format!("`{field}` must hold objects")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(objects.into_iter())
}

fn refuse_spelling(object: &Object, snake: &str) -> Result<(), OtlpError> {
    if object.contains_key(snake) {
        return Err(OtlpError::malformed(format!("`{snake}` must be spelled in camelCase")));
    }
    Ok(())
}
