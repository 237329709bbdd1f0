//! Walks an export and hands its spans over one by one, so that its size does not matter.

use std::path::PathBuf;

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::problem::Problem;
use super::detail;
use super::gather::{Export, Gathered};
use super::json;
use crate::wire::decompress::{self, Capped};
use crate::wire::wire_format::{LENGTH_DELIMITED, STREAM_END, Tag, WireFormat};
use crate::wire::{ReplayBody, Reply, StreamError};

/// The largest span, in bytes: one span is held whole.
const LARGEST_SPAN: u64 = 64 * 1024 * 1024;

/// Why an export cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("Invalid OpenTelemetry format - no spans found")]
    NoSpans,
    /// What is wrong is not told, as MLflow does not.
    #[error("Invalid OpenTelemetry format")]
    Format(String),
    /// MLflow takes most of these, so that its own words would not tell what is wrong.
    #[error("Cannot convert OpenTelemetry span to MLflow span: {0}")]
    Span(String),
    #[error("Failed to decompress {0} payload")]
    Compressed(String),
    #[error("Unsupported Content-Encoding: {0}")]
    Encoding(String),
    #[error("the export is larger than {0} bytes when decompressed")]
    TooLarge(u64),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{}", .0.message)]
    Problem(Problem),
}

impl Unreadable {
    pub(super) fn answer(self) -> Result<Reply, Problem> {
        tracing::debug!(problem = ?self, "an export was not taken");
        match self {
            Self::Io(error) => Err(full_or_internal(error)),
            Self::Problem(problem) => Err(problem),
            Self::Span(_) => Ok(detail(422, &self.to_string())),
            Self::TooLarge(_) => Ok(detail(413, &self.to_string())),
            _ => Ok(detail(400, &self.to_string())),
        }
    }
}

fn full_or_internal(error: std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::StorageFull {
        tracing::error!(%error, "no room for an export");
        return Problem::new(
            super::super::problem::Code::TemporarilyUnavailable,
            "the disk of the trace store is full; nothing of this call was kept",
        );
    }
    Problem::internal(error)
}

impl From<StreamError> for Unreadable {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Encoding(name) => Self::Encoding(name),
            StreamError::TooLarge { limit } => Self::TooLarge(limit),
            StreamError::Malformed(problem) => Self::Format(problem),
            StreamError::Io(error) => Self::Io(error),
        }
    }
}

/// Reads a whole export.
pub(super) fn export(
    body: &ReplayBody,
    is_json: bool,
    encoding: Option<&str>,
    most: u64,
    scratch: PathBuf,
) -> Result<Export, Unreadable> {
    let mut gathered = Gathered::new(scratch);
    let input = decompress::open(body, encoding, most)?;
    let read = if is_json { json::read(input, &mut gathered) } else { protobuf(input, &mut gathered) };
    match (read, encoding.unwrap_or_default()) {
        // What does not decompress reads as damage.
        (Err(Unreadable::Format(problem)), name) if problem.contains("compressed body") => {
            Err(Unreadable::Compressed(name.to_owned()))
        }
        (Err(unreadable), _) => Err(unreadable),
        (Ok(false), _) => Err(Unreadable::NoSpans),
        (Ok(true), _) => gathered.finish(),
    }
}

/// Answers whether there was any `ResourceSpans`.
fn protobuf(input: Capped, gathered: &mut Gathered) -> Result<bool, Unreadable> {
    let mut wire = WireFormat::new(input);
    let mut any = false;
    while let Some(tag) = wire.tag(STREAM_END)? {
        if tag.field != 1 {
            wire.skip_field(tag, STREAM_END)?;
            continue;
        }
        let end = nested(&mut wire, tag, STREAM_END)?;
        any = true;
        gathered.begin_resource(None);
        while let Some(tag) = wire.tag(end)? {
            match tag.field {
                1 => {
                    let until = nested(&mut wire, tag, end)?;
                    gathered.begin_resource(Some(decode::<Resource>(&wire.bytes(until, LARGEST_SPAN)?)?));
                }
                2 => {
                    let until = nested(&mut wire, tag, end)?;
                    scope_spans(&mut wire, until, gathered)?;
                }
                _ => wire.skip_field(tag, end)?,
            }
        }
        gathered.end_resource();
    }
    Ok(any)
}

fn scope_spans(wire: &mut WireFormat<Capped>, end: u64, gathered: &mut Gathered) -> Result<(), Unreadable> {
    while let Some(tag) = wire.tag(end)? {
        if tag.field != 2 {
            wire.skip_field(tag, end)?;
            continue;
        }
        let until = nested(wire, tag, end)?;
        let span = decode::<Span>(&wire.bytes(until, LARGEST_SPAN)?)?;
        gathered.add(span)?;
    }
    Ok(())
}

fn nested(wire: &mut WireFormat<Capped>, tag: Tag, end: u64) -> Result<u64, Unreadable> {
    if tag.wire_type != LENGTH_DELIMITED {
        return Err(Unreadable::Format(format!("field {} has wire type {}", tag.field, tag.wire_type)));
    }
    Ok(wire.length(end)?)
}

fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, Unreadable> {
    M::decode(bytes).map_err(|error| Unreadable::Format(error.to_string()))
}
