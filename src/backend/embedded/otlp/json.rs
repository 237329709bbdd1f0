//! `ExportTraceServiceRequest` in OTLP's JSON, where ids are hex. It is read whole, but only one span at a
//! time is more than text.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::gather::Gathered;
use super::read::Unreadable;
use crate::wire::StreamError;
use crate::wire::decompress::{Capped, to_error};
use crate::wire::json::field;

/// Exporters that send more than this send protobuf.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Export<'t> {
    #[serde(borrow, default, rename = "resourceSpans", alias = "resource_spans")]
    resource_spans: Vec<ResourceSpans<'t>>,
}

#[derive(Deserialize)]
struct ResourceSpans<'t> {
    #[serde(borrow, default)]
    resource: Option<&'t RawValue>,
    #[serde(borrow, default, rename = "scopeSpans", alias = "scope_spans")]
    scope_spans: Vec<ScopeSpans<'t>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'t> {
    #[serde(borrow, default)]
    spans: Vec<&'t RawValue>,
}

/// Answers whether there was any `ResourceSpans`.
pub(super) fn read(input: Capped, gathered: &mut Gathered) -> Result<bool, Unreadable> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(to_error).map_err(StreamError::from)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable::TooLarge(MAX_BYTES));
    }
    let export: Export = serde_json::from_slice(&bytes).map_err(wrong)?;
    for resource_spans in &export.resource_spans {
        let resource = resource_spans.resource.map(|raw| object(raw.get())).transpose()?.flatten();
        let attributes = resource.map(|object| key_values(&object)).transpose()?;
        gathered.begin_resource(attributes.map(|attributes| Resource { attributes, ..Resource::default() }));
        for raw in resource_spans.scope_spans.iter().flat_map(|scope_spans| &scope_spans.spans) {
            let given = object(raw.get())?.ok_or_else(|| wrong("a span is null"))?;
            gathered.add(span(&given)?)?;
        }
        gathered.end_resource();
    }
    Ok(!export.resource_spans.is_empty())
}

fn wrong(problem: impl std::fmt::Display) -> Unreadable {
    Unreadable::Format(problem.to_string())
}

/// An object; nothing if it is null.
fn object(json: &str) -> Result<Option<Map<String, Value>>, Unreadable> {
    serde_json::from_str(json).map_err(wrong)
}

type Object = Map<String, Value>;

fn get<'o>(object: &'o Object, name: &str) -> Result<Option<&'o Value>, Unreadable> {
    field(object, name).map_err(wrong)
}

fn text(object: &Object, name: &str) -> Result<String, Unreadable> {
    match get(object, name)? {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(format_args!("`{name}` must be a string"))),
    }
}

fn hex_id(object: &Object, name: &str) -> Result<Vec<u8>, Unreadable> {
    hex::decode(text(object, name)?).map_err(|_| wrong(format_args!("`{name}` must be hex")))
}

/// 64-bit numbers are texts in protobuf's JSON, or numbers.
fn number<T: std::str::FromStr + Default>(object: &Object, name: &str) -> Result<T, Unreadable> {
    let digits = match get(object, name)? {
        None => return Ok(T::default()),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => String::new(),
    };
    digits.parse().map_err(|_| wrong(format_args!("`{name}` must be a whole number")))
}

fn objects<'o>(
    object: &'o Object,
    name: &str,
) -> Result<impl Iterator<Item = Result<&'o Object, Unreadable>> + use<'o>, Unreadable> {
    let items: &[Value] = match get(object, name)? {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong(format_args!("`{name}` must be a list"))),
    };
    Ok(items.iter().map(|item| item.as_object().ok_or_else(|| wrong("a list must hold objects"))))
}

fn span(given: &Object) -> Result<Span, Unreadable> {
    let status = match get(given, "status")? {
        Some(Value::Object(status)) => {
            Some(Status { message: text(status, "message")?, code: code(status)? })
        }
        _ => None,
    };
    let events = objects(given, "events")?.map(|event| {
        let event = event?;
        Ok(Event {
            time_unix_nano: number(event, "time_unix_nano")?,
            name: text(event, "name")?,
            attributes: key_values(event)?,
            dropped_attributes_count: 0,
        })
    });
    let events = events.collect::<Result<_, Unreadable>>()?;
    let links = objects(given, "links")?.map(|link| {
        let link = link?;
        Ok(Link {
            trace_id: hex_id(link, "trace_id")?,
            span_id: hex_id(link, "span_id")?,
            attributes: key_values(link)?,
            ..Link::default()
        })
    });
    let links = links.collect::<Result<_, Unreadable>>()?;
    Ok(Span {
        trace_id: hex_id(given, "trace_id")?,
        span_id: hex_id(given, "span_id")?,
        parent_span_id: hex_id(given, "parent_span_id")?,
        name: text(given, "name")?,
        start_time_unix_nano: number(given, "start_time_unix_nano")?,
        end_time_unix_nano: number(given, "end_time_unix_nano")?,
        attributes: key_values(given)?,
        events,
        links,
        status,
        ..Span::default()
    })
}

fn code(status: &Object) -> Result<i32, Unreadable> {
    match get(status, "code")? {
        Some(Value::String(name)) if name == "STATUS_CODE_OK" => Ok(1),
        Some(Value::String(name)) if name == "STATUS_CODE_ERROR" => Ok(2),
        Some(Value::String(_)) => Ok(0),
        _ => number(status, "code"),
    }
}

fn key_values(holder: &Object) -> Result<Vec<KeyValue>, Unreadable> {
    pairs(holder, "attributes")
}

fn pairs(holder: &Object, name: &str) -> Result<Vec<KeyValue>, Unreadable> {
    let pairs = objects(holder, name)?.map(|pair| {
        let pair = pair?;
        let value = match get(pair, "value")? {
            Some(Value::Object(value)) => Some(any_value(value)?),
            _ => None,
        };
        Ok(KeyValue { key: text(pair, "key")?, value, ..KeyValue::default() })
    });
    pairs.collect()
}

fn any_value(given: &Object) -> Result<AnyValue, Unreadable> {
    let kind = if get(given, "string_value")?.is_some() {
        Some(Kind::StringValue(text(given, "string_value")?))
    } else if let Some(value) = get(given, "bool_value")? {
        Some(Kind::BoolValue(value.as_bool().ok_or_else(|| wrong("`boolValue` must be true or false"))?))
    } else if get(given, "int_value")?.is_some() {
        Some(Kind::IntValue(number(given, "int_value")?))
    } else if let Some(value) = get(given, "double_value")? {
        Some(Kind::DoubleValue(double(value)?))
    } else if get(given, "bytes_value")?.is_some() {
        let bytes = STANDARD.decode(text(given, "bytes_value")?);
        Some(Kind::BytesValue(bytes.map_err(|_| wrong("`bytesValue` must be base64"))?))
    } else if let Some(Value::Object(list)) = get(given, "array_value")? {
        let values = objects(list, "values")?.map(|value| any_value(value?));
        Some(Kind::ArrayValue(ArrayValue { values: values.collect::<Result<_, _>>()? }))
    } else if let Some(Value::Object(map)) = get(given, "kvlist_value")? {
        Some(Kind::KvlistValue(KeyValueList { values: pairs(map, "values")? }))
    } else {
        None
    };
    Ok(AnyValue { value: kind })
}

fn double(value: &Value) -> Result<f64, Unreadable> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            other => other.parse().ok(),
        },
        _ => None,
    }
    .ok_or_else(|| wrong("`doubleValue` must be a number"))
}
