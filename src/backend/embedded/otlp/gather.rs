//! Gathers the spans of an export by trace: the rows to write, and what they say of their traces.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::spans::SpanRow;
use super::super::traces::merge::{FromSpans, TRACE_NAME};
use super::super::traces::tags;
use super::super::traces::usage::Node;
use super::read::Unreadable;
use super::span::{self, INPUTS, Made, OUTPUTS};
use super::{any_value, preview};

/// Contents that are held in memory, in bytes; what is more lies in the scratch file.
const IN_MEMORY: usize = 2 * 1024 * 1024;
/// The most spans of one export; the gateway is stricter.
const MOST_SPANS: usize = 1_000_000;

const TAG_PREFIX: &str = "mlflow.traceTag.";
/// Longest session id, in characters.
const LONGEST_SESSION: usize = 250;

/// Names of services that are put on root spans; of others anybody could make up any.
const KNOWN_SERVICES: [&str; 5] = ["claude-code", "codex_cli_rs", "codex_vscode", "gemini-cli", "qwen-code"];

/// The content of a span: here, or in the scratch file.
#[derive(Debug)]
pub(super) enum Content {
    Memory(String),
    Scratch { offset: u64, length: u64 },
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(text) => text.len() as u64,
            Self::Scratch { length, .. } => *length,
        }
    }

    pub(super) fn read(&self, scratch: Option<&File>) -> std::io::Result<String> {
        match (self, scratch) {
            (Self::Memory(text), _) => Ok(text.clone()),
            (Self::Scratch { offset, length }, Some(file)) => {
                let mut bytes = vec![0; usize::try_from(*length).unwrap_or(usize::MAX)];
                file.read_exact_at(&mut bytes, *offset)?;
                String::from_utf8(bytes).map_err(std::io::Error::other)
            }
            (Self::Scratch { .. }, None) => Err(std::io::Error::other("there is no scratch file")),
        }
    }
}

/// The spans of one trace.
#[derive(Debug)]
pub(super) struct TraceSpans {
    pub trace_id: String,
    pub said: FromSpans,
    /// In nanoseconds, as far as the spans have ended.
    start: i64,
    end: Option<i64>,
    pub nodes: Vec<Node>,
    pub rows: Vec<(SpanRow, Content)>,
    /// Of all contents, in bytes.
    pub length: u64,
    index: HashMap<String, usize>,
    resource_tags: Vec<(String, String)>,
    root_tags: Vec<(String, String)>,
    pub has_root: bool,
}

/// An export that was read.
#[derive(Debug)]
pub(super) struct Export {
    pub traces: Vec<TraceSpans>,
    pub scratch: Option<Arc<File>>,
}

impl Export {
    /// The traces whose root span is among them.
    pub(super) fn with_root(&self) -> Vec<String> {
        self.traces.iter().filter(|trace| trace.has_root).map(|trace| trace.trace_id.clone()).collect()
    }
}

pub(super) struct Gathered {
    directory: PathBuf,
    traces: Vec<TraceSpans>,
    index: HashMap<String, usize>,
    in_memory: usize,
    spans: usize,
    scratch: Option<std::io::BufWriter<File>>,
    written: u64,
    service: Option<&'static str>,
    resource_tags: Vec<(String, String)>,
    /// Traces with spans below the resource that is being read.
    below: HashSet<usize>,
}

impl Gathered {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            traces: Vec::new(),
            index: HashMap::new(),
            in_memory: 0,
            spans: 0,
            scratch: None,
            written: 0,
            service: None,
            resource_tags: Vec::new(),
            below: HashSet::new(),
        }
    }

    /// What follows is of this resource.
    pub(super) fn begin_resource(&mut self, resource: Option<Resource>) {
        let attributes = resource.map(|resource| resource.attributes).unwrap_or_default();
        let named = attributes.iter().find(|pair| pair.key == "service.name");
        let name = named.and_then(|pair| any_value::as_text(pair.value.as_ref()));
        self.service = name.and_then(|name| KNOWN_SERVICES.into_iter().find(|known| *known == name));
        self.resource_tags = any_value::distinct(&attributes)
            .into_iter()
            .filter(|pair| !pair.key.starts_with("telemetry.sdk.") && !pair.key.starts_with("mlflow."))
            .filter_map(|pair| {
                let text = any_value::as_text(pair.value.as_ref()).map(str::to_owned);
                let value = text.unwrap_or_else(|| any_value::dumps(pair.value.as_ref()));
                // One that is no tag is left out.
                Some((pair.key.clone(), tags::checked(&pair.key, &value).ok()?.to_owned()))
            })
            .collect();
    }

    /// A resource may follow its spans: only now all is known of it.
    pub(super) fn end_resource(&mut self) {
        for index in std::mem::take(&mut self.below) {
            // The first resource that says something of a trace.
            if self.traces[index].resource_tags.is_empty() {
                self.traces[index].resource_tags.clone_from(&self.resource_tags);
            }
        }
    }

    pub(super) fn add(&mut self, span: Span) -> Result<(), Unreadable> {
        self.spans += 1;
        if self.spans > MOST_SPANS {
            return Err(Unreadable::Format(format!("more than {MOST_SPANS} spans")));
        }
        let mut made = span::make(span, self.service)?;
        let content = self.keep(std::mem::take(&mut made.content))?;
        let at = match self.index.get(&made.trace_id) {
            Some(at) => *at,
            None => {
                self.index.insert(made.trace_id.clone(), self.traces.len());
                self.traces.push(TraceSpans::new(&made));
                self.traces.len() - 1
            }
        };
        self.below.insert(at);
        self.traces[at].add(made, content).map_err(Unreadable::Problem)
    }

    fn keep(&mut self, content: String) -> Result<Content, Unreadable> {
        if self.in_memory + content.len() <= IN_MEMORY {
            self.in_memory += content.len();
            return Ok(Content::Memory(content));
        }
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            None => {
                let file = tempfile::tempfile_in(&self.directory)?;
                self.scratch.insert(std::io::BufWriter::with_capacity(256 * 1024, file))
            }
        };
        scratch.write_all(content.as_bytes())?;
        let (offset, length) = (self.written, content.len() as u64);
        self.written += length;
        Ok(Content::Scratch { offset, length })
    }

    pub(super) fn finish(mut self) -> Result<Export, Unreadable> {
        for trace in &mut self.traces {
            trace.finish();
        }
        let scratch = match self.scratch {
            Some(scratch) => Some(Arc::new(scratch.into_inner().map_err(|error| error.into_error())?)),
            None => None,
        };
        Ok(Export { traces: self.traces, scratch })
    }
}

impl TraceSpans {
    fn new(first: &Made) -> Self {
        Self {
            trace_id: first.trace_id.clone(),
            said: FromSpans::default(),
            start: first.start,
            end: None,
            nodes: Vec::new(),
            rows: Vec::new(),
            length: 0,
            index: HashMap::new(),
            resource_tags: Vec::new(),
            root_tags: Vec::new(),
            has_root: false,
        }
    }

    fn add(&mut self, made: Made, content: Content) -> Result<(), super::super::problem::Problem> {
        self.start = self.start.min(made.start);
        self.end = self.end.max(made.end);
        if self.said.session.is_none() {
            let named = made
                .attributes
                .given("session.id")
                .or_else(|| made.attributes.given("gen_ai.conversation.id"));
            if let Some(session) = named {
                super::super::names::check_length("Session ID", LONGEST_SESSION, &session)?;
                self.said.session = Some(session);
            }
        }
        if self.said.user.is_none() {
            self.said.user = made.attributes.given("user.id");
        }
        if made.parent.is_none() {
            self.root(&made)?;
        }
        let row = SpanRow {
            span_id: made.span_id,
            parent_span_id: made.parent,
            name: made.name,
            span_type: made.span_type,
            status: made.status,
            start_time: made.start,
            end_time: made.end,
            model_name: made.model_name,
            model_provider: made.model_provider,
            costs: made.costs,
            usage: made.usage,
        };
        self.length += content.length();
        // The last of a doubled span counts.
        match self.index.get(&row.span_id) {
            Some(at) => {
                self.length -= self.rows[*at].1.length();
                self.nodes[*at] = made.node;
                self.rows[*at] = (row, content);
            }
            None => {
                self.index.insert(row.span_id.clone(), self.rows.len());
                self.nodes.push(made.node);
                self.rows.push((row, content));
            }
        }
        Ok(())
    }

    /// What the root span says. The first one says how the trace ended; of the rest, the last one counts.
    fn root(&mut self, made: &Made) -> Result<(), super::super::problem::Problem> {
        self.has_root = true;
        let state = if made.status == "ERROR" { "ERROR" } else { "OK" };
        self.said.root_state.get_or_insert_with(|| state.to_owned());
        let shown = |key: &str, role: &str| {
            made.attributes.get(key).filter(|text| !text.is_empty()).map(|text| preview::preview(text, role))
        };
        self.said.request_preview = shown(INPUTS, "user");
        self.said.response_preview = shown(OUTPUTS, "assistant");
        for (key, value) in made.attributes.iter() {
            let Some(key) = key.strip_prefix(TAG_PREFIX) else { continue };
            let value = made.attributes.plain(value);
            match tags::checked(key, &value) {
                Ok(value) => self.root_tags.push((key.to_owned(), value.to_owned())),
                Err(problem) if key == TRACE_NAME => return Err(problem),
                // One that is no tag is left out.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.said.start = self.start.div_euclid(1_000_000);
        self.said.end = self.end.map(|end| end.div_euclid(1_000_000));
        self.said.tags = std::mem::take(&mut self.resource_tags);
        self.said.tags.append(&mut self.root_tags);
    }
}
