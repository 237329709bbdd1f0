//! A span as MLflow keeps it: the row that searches look at, and its content, the JSON that MLflow's SDK
//! reads. Attributes are texts of JSON in there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

use super::super::python_json::{write_list, write_object, write_text};
use super::super::traces::usage::{self, Costs, Node};
use super::any_value;
use super::read::Unreadable;
use super::translate::{self, Attributes};
use crate::access::TraceId;

pub(super) const INPUTS: &str = "mlflow.spanInputs";
pub(super) const OUTPUTS: &str = "mlflow.spanOutputs";
pub(super) const SPAN_TYPE: &str = "mlflow.spanType";
pub(super) const CHAT_USAGE: &str = "mlflow.chat.tokenUsage";
pub(super) const LLM_COST: &str = "mlflow.llm.cost";
pub(super) const MODEL: &str = "mlflow.llm.model";
pub(super) const PROVIDER: &str = "mlflow.llm.provider";
const REQUEST_ID: &str = "mlflow.traceRequestId";
const SERVICE_NAME: &str = "service.name";
/// Longest name of a model that is kept for sums, in characters.
const LONGEST_MODEL: usize = 500;

/// A span that was read.
pub(super) struct Made {
    pub trace_id: String,
    pub span_id: String,
    pub parent: Option<String>,
    pub name: String,
    pub span_type: Option<String>,
    pub status: &'static str,
    /// Nanoseconds since 1970.
    pub start: i64,
    pub end: Option<i64>,
    pub model_name: Option<String>,
    pub model_provider: Option<String>,
    pub costs: Costs,
    pub usage: Option<String>,
    pub node: Node,
    pub attributes: Attributes,
    pub content: String,
}

/// Makes a span; `service` is the name of a known client, which its root span carries as an attribute.
pub(super) fn make(span: Span, service: Option<&str>) -> Result<Made, Unreadable> {
    let trace = TraceId::from_otel(&span.trace_id)
        .ok_or_else(|| Unreadable::Span("a trace id must be 16 bytes that are not all zero".to_owned()))?;
    if span.span_id.len() != 8 {
        return Err(Unreadable::Span("a span id must be 8 bytes".to_owned()));
    }
    let root = span.parent_span_id.iter().all(|byte| *byte == 0);
    if !root && span.parent_span_id.len() != 8 {
        return Err(Unreadable::Span("a parent's span id must be 8 bytes".to_owned()));
    }
    if span.name.contains('\0') {
        return Err(Unreadable::Span("a span's name may not hold U+0000".to_owned()));
    }
    let nanoseconds =
        |time: u64| i64::try_from(time).map_err(|_| Unreadable::Span("a time is out of range".to_owned()));
    let (start, end) = (nanoseconds(span.start_time_unix_nano)?, nanoseconds(span.end_time_unix_nano)?);
    let mut attributes = read_attributes(&span.attributes);
    attributes.set(REQUEST_ID, Value::from(trace.as_str()).to_string());
    if let Some(service) = service.filter(|_| root) {
        attributes.set(SERVICE_NAME, Value::from(service).to_string());
    }
    // What the client called it; that of other conventions is in the content alone.
    let span_type = attributes.text(SPAN_TYPE).filter(|name| !name.contains('\0'));
    attributes.unwrap_twice_dumped();
    translate::translate(&mut attributes, &span.events);
    let bounded = |key: &str| {
        let text = attributes.text(key).filter(|text| !text.contains('\0'))?;
        Some(text.chars().take(LONGEST_MODEL).collect::<String>())
    };
    let span_id = hex::encode(&span.span_id);
    let parent = (!root).then(|| hex::encode(&span.parent_span_id));
    let said = |key: &str| match attributes.parsed(key) {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    };
    let (used, cost) = (said(CHAT_USAGE), said(LLM_COST));
    let node = Node {
        span: span_id.clone(),
        parent: parent.clone(),
        tokens: used.as_ref().map(usage::tokens),
        costs: cost.as_ref().map(usage::costs),
    };
    let (status, code) = match span.status.as_ref().map(|status| status.code()) {
        Some(StatusCode::Ok) => ("OK", "STATUS_CODE_OK"),
        Some(StatusCode::Error) => ("ERROR", "STATUS_CODE_ERROR"),
        _ => ("UNSET", "STATUS_CODE_UNSET"),
    };
    let content = content(&span, root, code, &attributes);
    Ok(Made {
        trace_id: trace.as_str().to_owned(),
        span_id,
        parent,
        name: span.name,
        span_type,
        status,
        start,
        end: (end != 0).then_some(end),
        model_name: bounded(MODEL),
        model_provider: bounded(PROVIDER),
        costs: node.costs.unwrap_or_default(),
        usage: used.map(|object| Value::Object(object).to_string()),
        node,
        attributes,
        content,
    })
}

fn read_attributes(pairs: &[KeyValue]) -> Attributes {
    let mut attributes = Attributes::default();
    for pair in pairs {
        attributes.set(&pair.key, any_value::dumps(pair.value.as_ref()));
    }
    attributes
}

fn content(span: &Span, root: bool, code: &str, attributes: &Attributes) -> String {
    let mut out = String::with_capacity(512);
    let id = |out: &mut String, name: &str, bytes: &[u8]| {
        out.push_str(&format!("\"{name}\": \"{}\", ", STANDARD.encode(bytes)));
    };
    out.push('{');
    id(&mut out, "trace_id", &span.trace_id);
    id(&mut out, "span_id", &span.span_id);
    if root {
        out.push_str("\"parent_span_id\": null, ");
    } else {
        id(&mut out, "parent_span_id", &span.parent_span_id);
    }
    out.push_str("\"name\": ");
    write_text(&span.name, &mut out);
    out.push_str(&format!(
        ", \"start_time_unix_nano\": {}, \"end_time_unix_nano\": {}, \"events\": ",
        span.start_time_unix_nano, span.end_time_unix_nano
    ));
    write_list(&span.events, &mut out, |event, out| {
        out.push_str("{\"name\": ");
        write_text(&event.name, out);
        out.push_str(&format!(", \"time_unix_nano\": {}, \"attributes\": ", event.time_unix_nano));
        any_value::write_map(&event.attributes, out);
        out.push('}');
    });
    out.push_str(&format!(", \"status\": {{\"code\": \"{code}\", \"message\": "));
    write_text(span.status.as_ref().map_or("", |status| &status.message), &mut out);
    out.push_str("}, \"attributes\": ");
    write_object(attributes.iter(), &mut out, write_text);
    out.push_str(", \"links\": ");
    write_list(&span.links, &mut out, |link, out| {
        let trace = format!("tr-{:0>32}", hex::encode(&link.trace_id));
        let span = format!("{:0>16}", hex::encode(&link.span_id));
        out.push_str(&format!("{{\"trace_id\": \"{trace}\", \"span_id\": \"{span}\", \"attributes\": "));
        if link.attributes.is_empty() {
            out.push_str("null");
        } else {
            any_value::write_map(&link.attributes, out);
        }
        out.push('}');
    });
    out.push('}');
    out
}
