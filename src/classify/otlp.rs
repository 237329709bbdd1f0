//! Reads OTLP trace exports (protobuf or JSON, plain, gzip or deflate) in bounded memory: which traces,
//! which reserved attributes; and rewrites an export without the traces that are refused.
//!
//! MLflow names a trace `tr-` and the hex of its `trace_id`, ignoring what the span claims to be, and
//! turns two kinds of attributes into trace tags: `mlflow.traceTag.KEY` of root spans and all attributes
//! of the resource. Whatever its parser could read otherwise than this one is refused.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod json;
mod protobuf;

use std::collections::{HashMap, HashSet};
use std::io::Write;

use crate::access::TraceId;
use crate::classify::reserved;
use crate::wire::{ReplayBody, StreamError};

#[derive(Debug, Clone, Copy)]
pub struct OtlpLimits {
    pub max_decompressed_bytes: u64,
    pub max_spans: u64,
    pub max_traces: usize,
}

/// What an export holds, as far as access is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// In the order in which the traces first appear.
    pub traces: Vec<TraceSpans>,
    pub spans: u64,
    pub decompressed_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSpans {
    pub trace: TraceId,
    pub spans: u64,
    /// Whether a root span is among them: MLflow links such traces to the run of `X-Mlflow-Run-Id`.
    pub has_root: bool,
    /// The first attribute that would write a reserved trace tag.
    pub reserved: Option<String>,
    /// The first `mlflow.traceRequestId` that names another trace. MLflow 3.17 ignores the attribute.
    pub foreign_request_id: Option<String>,
    /// The attributes that were looked for, of its spans and their resources, where they are texts.
    pub marks: Marks,
}

/// Attributes by key and text.
pub type Marks = Vec<(String, String)>;

#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("content type `{0}` is not supported; send `application/x-protobuf` or `application/json`")]
    MediaType(String),
    #[error("content encoding `{0}` is not supported; send `gzip`, `deflate` or none")]
    Encoding(String),
    #[error("the export is larger than {limit} bytes when decompressed")]
    TooLarge { limit: u64 },
    #[error("the export holds more than {limit} spans")]
    TooManySpans { limit: u64 },
    #[error("the export holds spans of more than {limit} traces")]
    TooManyTraces { limit: usize },
    #[error("invalid trace export: {0}")]
    Malformed(String),
    #[error("the export could not be read or written: {0}")]
    Io(#[from] std::io::Error),
}

impl From<StreamError> for OtlpError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Encoding(name) => Self::Encoding(name),
            StreamError::TooLarge { limit } => Self::TooLarge { limit },
            StreamError::Malformed(problem) => Self::Malformed(problem),
            StreamError::Io(error) => Self::Io(error),
        }
    }
}

impl OtlpError {
    fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed(problem.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// As MLflow's server reads the header: parameters are dropped, and case matters.
    fn of(content_type: &str) -> Result<Self, OtlpError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/x-protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            other => Err(OtlpError::MediaType(other.chars().take(80).collect())),
        }
    }
}

/// Reads which traces an export writes to. An export without spans has none.
pub fn read_export(
    body: &ReplayBody,
    content_type: &str,
    content_encoding: Option<&str>,
    limits: OtlpLimits,
) -> Result<Export, OtlpError> {
    read_marked_export(body, content_type, content_encoding, limits, &[])
}

/// As [`read_export`], and notes what attributes of some keys say of each trace.
pub fn read_marked_export(
    body: &ReplayBody,
    content_type: &str,
    content_encoding: Option<&str>,
    limits: OtlpLimits,
    keys: &[String],
) -> Result<Export, OtlpError> {
    match Encoding::of(content_type)? {
        Encoding::Protobuf => protobuf::read(body, content_encoding, limits, keys),
        Encoding::Json => json::read(body, content_encoding, limits, keys),
    }
}

/// Writes the export, uncompressed, without the spans of the refused traces. Protobuf is copied as it
/// stands but for those spans and the lengths around them. Answers the number of bytes written.
pub fn without_traces(
    body: &ReplayBody,
    content_type: &str,
    content_encoding: Option<&str>,
    limits: OtlpLimits,
    refused: &HashSet<TraceId>,
    out: &mut dyn Write,
) -> Result<u64, OtlpError> {
    match Encoding::of(content_type)? {
        Encoding::Protobuf => protobuf::rewrite(body, content_encoding, limits, refused, out),
        Encoding::Json => json::rewrite(body, content_encoding, limits, refused, out),
    }
}

/// An `ExportTraceServiceResponse` that reports rejected spans, in the request's encoding (protobuf when
/// that is unknown).
pub fn partial_success(content_type: &str, rejected_spans: u64, message: &str) -> Vec<u8> {
    match Encoding::of(content_type) {
        Ok(Encoding::Json) => json::partial_success(rejected_spans, message),
        _ => protobuf::partial_success(rejected_spans, message),
    }
}

/// What one span says that matters.
struct SpanFacts {
    trace: TraceId,
    root: bool,
    reserved: Option<String>,
    request_id: Option<String>,
    marks: Marks,
}

/// Gathers spans by trace and keeps the limits.
struct Gathered {
    limits: OtlpLimits,
    /// Attributes to note.
    keys: Vec<String>,
    export: Export,
    index: HashMap<TraceId, usize>,
}

impl Gathered {
    fn new(limits: OtlpLimits, keys: &[String]) -> Self {
        Self { limits, keys: keys.to_vec(), export: Export::default(), index: HashMap::new() }
    }

    /// An attribute as a mark, if it is one that is looked for. Exporters that know MLflow write texts as
    /// JSON.
    fn mark(&self, key: &str, value: Option<&str>) -> Option<(String, String)> {
        let value = value?.trim_matches('"');
        let wanted = !value.is_empty() && self.keys.iter().any(|wanted| wanted == key);
        wanted.then(|| (key.to_owned(), value.to_owned()))
    }

    /// Counts a span and answers which trace, by its index, it belongs to.
    fn add(&mut self, span: SpanFacts) -> Result<usize, OtlpError> {
        self.export.spans += 1;
        if self.export.spans > self.limits.max_spans {
            return Err(OtlpError::TooManySpans { limit: self.limits.max_spans });
        }
        let traces = &mut self.export.traces;
        let index = match self.index.get(&span.trace) {
            Some(index) => *index,
            None if traces.len() >= self.limits.max_traces => {
                return Err(OtlpError::TooManyTraces { limit: self.limits.max_traces });
            }
            None => {
                self.index.insert(span.trace.clone(), traces.len());
                traces.push(TraceSpans {
                    trace: span.trace.clone(),
                    spans: 0,
                    has_root: false,
                    reserved: None,
                    foreign_request_id: None,
                    marks: Vec::new(),
                });
                traces.len() - 1
            }
        };
        let trace = &mut traces[index];
        trace.spans += 1;
        trace.has_root |= span.root;
        add_marks(&mut trace.marks, span.marks);
        if trace.reserved.is_none() {
            trace.reserved = span.reserved;
        }
        if trace.foreign_request_id.is_none() {
            // Exporters that know nothing of MLflow pass its attributes on as JSON strings.
            trace.foreign_request_id =
                span.request_id.filter(|claimed| claimed.trim_matches('"') != span.trace.as_str());
        }
        Ok(index)
    }

    /// Notes what a resource's attributes say on every trace that has spans below it.
    fn resource(&mut self, reserved: Option<String>, marks: &[(String, String)], traces: &HashSet<usize>) {
        for index in traces {
            add_marks(&mut self.export.traces[*index].marks, marks.iter().cloned());
        }
        if let Some(key) = reserved {
            for index in traces {
                self.export.traces[*index].reserved.get_or_insert_with(|| key.clone());
            }
        }
    }
}

/// Distinct, and not more of one trace than anybody could mean.
fn add_marks(marks: &mut Vec<(String, String)>, more: impl IntoIterator<Item = (String, String)>) {
    const MOST: usize = 64;
    for mark in more {
        if marks.len() < MOST && !marks.contains(&mark) {
            marks.push(mark);
        }
    }
}

/// An attribute of a span that MLflow turns into a trace tag; only of root spans, but a span is made one
/// by eight zero bytes, so all are held to it.
fn reserved_span_attribute(key: &str) -> bool {
    const PREFIX: &str = "mlflow.traceTag.";
    let key = key.trim_start();
    key.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        && reserved::reserved_trace_tag(&key[PREFIX.len()..])
}

/// An attribute of a resource becomes a tag by its own name. MLflow skips `mlflow.` but only when it is
/// spelled so.
fn reserved_resource_attribute(key: &str) -> bool {
    reserved::reserved_trace_tag(key)
}

/// The attribute by which a span claims to belong to an MLflow trace.
const REQUEST_ID: &str = "mlflow.traceRequestId";

#[cfg(test)]
mod tests;
