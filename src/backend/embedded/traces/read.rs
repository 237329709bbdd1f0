//! Whole traces: what is known of them and their spans, in pieces if they are large.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Row as _};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::{Code, Problem};
use super::super::reply;
use super::super::request::Request;
use super::super::spans::{self, Contents};
use super::info::{self, TraceRow};
use super::merge::{SPANS_LOCATION, TRACKING_STORE};
use crate::wire::{Body, Reply};

/// An answer up to this size is made whole, in bytes: if something is wrong, the caller is told.
const WHOLE: usize = 2 * 1024 * 1024;

pub(super) async fn get(store: &Arc<EmbeddedShared>, request: &Request) -> Result<Reply, Problem> {
    let trace_id = request.required("trace_id")?;
    let partial = request.boolean("allow_partial")?.unwrap_or_default();
    let mut row = stored_here(store, trace_id).await?;
    if !partial {
        // Spans may be on their way: StartTrace says how many there are.
        for pause in [1, 2, 0] {
            if complete(store, std::slice::from_ref(&row)).await? == [true] {
                break;
            }
            if pause == 0 {
                return Err(Problem::missing(format!(
                    "Trace with ID {trace_id} is not fully exported yet, please try again later."
                )));
            }
            tokio::time::sleep(Duration::from_secs(pause)).await;
            row = stored_here(store, trace_id).await?;
        }
    }
    let info = info::v3(store, std::slice::from_ref(&row)).await?.concat();
    let parts = [
        Part::Text(format!("{{\"trace\":{{\"trace_info\":{info}")),
        Part::Spans { trace_no: row.trace_no, open: ",\"spans\":[", close: "]" },
        Part::Text("}}".to_owned()),
    ];
    let body = answer_body(store, parts.into()).await?;
    Ok(with_json(body))
}

/// A trace whose spans are kept by this store and not as an artifact.
async fn stored_here(store: &EmbeddedShared, trace_id: &str) -> Result<TraceRow, Problem> {
    let row = super::row(store, trace_id).await?;
    let row = row.ok_or_else(|| Problem::missing(format!("Trace with ID {trace_id} is not found.")))?;
    if spans_are_here(&row)? {
        return Ok(row);
    }
    // As MLflow says it; its clients then ask for the artifact.
    Err(Problem::new(Code::Internal, "Trace data not stored in tracking store"))
}

pub(super) fn spans_are_here(row: &TraceRow) -> Result<bool, Problem> {
    let tags: Map<String, Value> = serde_json::from_str(&row.tags).map_err(Problem::internal)?;
    Ok(tags.get(SPANS_LOCATION).and_then(Value::as_str) == Some(TRACKING_STORE))
}

/// Which of the traces have as many spans as StartTrace says.
async fn complete(store: &EmbeddedShared, rows: &[TraceRow]) -> Result<Vec<bool>, Problem> {
    let numbers: Vec<i64> = rows.iter().map(|row| row.trace_no).collect();
    let sql = format!(
        "SELECT trace_no, count(*) AS counted FROM spans WHERE trace_no IN {} GROUP BY trace_no",
        many::integers(store.database.dialect, 1)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(many::list(&numbers));
    let mut counts: HashMap<i64, i64> = HashMap::new();
    for row in &query.fetch_all(&store.database.reader).await? {
        counts.insert(row.try_get("trace_no")?, row.try_get("counted")?);
    }
    let expected = |row: &TraceRow| -> Option<i64> {
        let metadata: Map<String, Value> = serde_json::from_str(&row.metadata).ok()?;
        let stats: Value = serde_json::from_str(metadata.get("mlflow.trace.sizeStats")?.as_str()?).ok()?;
        stats.get("num_spans")?.as_i64()
    };
    let counted = |row: &TraceRow| counts.get(&row.trace_no).copied().unwrap_or_default();
    // A trace without any span is not there yet, whatever is expected.
    Ok(rows.iter().map(|row| counted(row) >= expected(row).unwrap_or(1).max(1)).collect())
}

pub(super) async fn batch_get(store: &Arc<EmbeddedShared>, request: &Request) -> Result<Reply, Problem> {
    let (trace_ids, experiments) = super::batch(request)?;
    let mut rows = super::rows(store, &trace_ids, experiments.as_deref()).await?;
    for row in &rows {
        if !spans_are_here(row)? {
            return Err(Problem::new(Code::Internal, "Trace data not stored in tracking store"));
        }
    }
    let mut complete = complete(store, &rows).await?.into_iter();
    rows.retain(|_| complete.next().unwrap_or_default());
    if rows.is_empty() {
        return Ok(reply::empty_object());
    }
    let infos = info::v3(store, &rows).await?;
    let mut parts = VecDeque::new();
    for (index, (row, info)) in rows.iter().zip(infos).enumerate() {
        let before = if index == 0 { "{\"traces\":[" } else { "," };
        parts.push_back(Part::Text(format!("{before}{{\"trace_info\":{info}")));
        parts.push_back(Part::Spans { trace_no: row.trace_no, open: ",\"spans\":[", close: "]" });
        parts.push_back(Part::Text("}".to_owned()));
    }
    parts.push_back(Part::Text("]}".to_owned()));
    let body = answer_body(store, parts).await?;
    Ok(with_json(body))
}

fn with_json(body: Body) -> Reply {
    let mut reply = reply::empty_object();
    reply.body = body;
    reply
}

/// A part of an answer.
pub(super) enum Part {
    Text(String),
    /// The spans of a trace as OTLP's messages, between these if there are any.
    Spans {
        trace_no: i64,
        open: &'static str,
        close: &'static str,
    },
    /// Their contents as they are kept.
    Contents {
        trace_no: i64,
    },
}

/// The spans of a trace that are being written.
struct Writing {
    contents: Contents,
    as_messages: bool,
    open: &'static str,
    close: &'static str,
    any: bool,
}

struct Answer {
    store: Arc<EmbeddedShared>,
    parts: VecDeque<Part>,
    writing: Option<Writing>,
}

impl Answer {
    async fn next(&mut self) -> Result<Option<String>, Problem> {
        loop {
            if let Some(writing) = &mut self.writing {
                match writing.contents.next(&self.store).await? {
                    Some(page) => return writing.write(page).map(Some),
                    None => {
                        let close = if writing.any { writing.close } else { "" };
                        self.writing = None;
                        return Ok(Some(close.to_owned()));
                    }
                }
            }
            let (trace_no, as_messages, open, close) = match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Text(text)) => return Ok(Some(text)),
                Some(Part::Spans { trace_no, open, close }) => (trace_no, true, open, close),
                Some(Part::Contents { trace_no }) => (trace_no, false, "", ""),
            };
            let contents = Contents::open(&self.store, trace_no).await?;
            self.writing = Some(Writing { contents, as_messages, open, close, any: false });
        }
    }
}

impl Writing {
    fn write(&mut self, page: Vec<String>) -> Result<String, Problem> {
        let mut text = String::new();
        for content in page {
            text.push_str(if self.any { "," } else { self.open });
            self.any = true;
            if self.as_messages {
                text.push_str(&spans::otlp(&content)?);
            } else {
                text.push_str(&content);
            }
        }
        Ok(text)
    }
}

/// The parts one after another: whole if that is not much, else as a stream.
pub(super) async fn answer_body(store: &Arc<EmbeddedShared>, parts: VecDeque<Part>) -> Result<Body, Problem> {
    let mut answer = Answer { store: Arc::clone(store), parts, writing: None };
    let mut begun = String::new();
    while begun.len() < WHOLE {
        match answer.next().await? {
            Some(text) => begun.push_str(&text),
            None => return Ok(Body::memory(begun)),
        }
    }
    let rest = futures_util::stream::unfold(answer, |mut answer| async move {
        match answer.next().await {
            Ok(Some(text)) => Some((Ok(Bytes::from(text)), answer)),
            Ok(None) => None,
            Err(problem) => {
                answer.parts.clear();
                answer.writing = None;
                Some((Err(std::io::Error::other(problem)), answer))
            }
        }
    });
    let first = futures_util::stream::iter([Ok(Bytes::from(begun))]);
    Ok(Body::Stream { stream: Box::pin(first.chain(rest)), length: None })
}
