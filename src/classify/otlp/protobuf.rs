//! `ExportTraceServiceRequest` in protobuf: walked once to see its traces, and a second time to copy it
//! without some of them. Nothing but an index of cuts is held, whatever the size.

use std::collections::HashSet;
use std::io::{Read, Write};

use super::{
    Export, Gathered, Marks, OtlpError, OtlpLimits, REQUEST_ID, SpanFacts, reserved_resource_attribute,
    reserved_span_attribute,
};
use crate::access::TraceId;
use crate::wire::ReplayBody;
use crate::wire::decompress::{self, Capped, to_error};
use crate::wire::wire_format::{
    LENGTH_DELIMITED, STREAM_END, Tag, VARINT, WireFormat, put_field, put_varint,
};

/// Longest attribute key that is read.
const MAX_KEY_BYTES: u64 = 4096;
/// Longest string value that is looked at; longer ones name no trace.
const MAX_VALUE_BYTES: u64 = 256;

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
    let (_, cuts) = walk(body, encoding, limits, refused, &[])?;
    let mut input = decompress::open(body, encoding, limits.max_decompressed_bytes)?;
    let (mut position, mut written) = (0, 0);
    for cut in cuts {
        written += copy(&mut input, Some(cut.from - position), out)?;
        copy(&mut input, Some(cut.to - cut.from), &mut std::io::sink())?;
        position = cut.to;
        if let Some(length) = cut.new_length {
            let mut varint = Vec::new();
            put_varint(length, &mut varint);
            out.write_all(&varint)?;
            written += varint.len() as u64;
        }
    }
    Ok(written + copy(&mut input, None, out)?)
}

pub(super) fn partial_success(rejected_spans: u64, message: &str) -> Vec<u8> {
    let mut inner = vec![1 << 3 | VARINT];
    put_varint(rejected_spans, &mut inner);
    put_field(2, message.as_bytes(), &mut inner);
    let mut response = Vec::new();
    put_field(1, &inner, &mut response);
    response
}

/// Copies exactly `length` bytes, or all.
fn copy(input: &mut Capped, length: Option<u64>, out: &mut dyn Write) -> Result<u64, OtlpError> {
    let mut buffer = [0; 16 * 1024];
    let mut copied = 0;
    while length != Some(copied) {
        let most = length.map_or(buffer.len(), |length| {
            usize::try_from(length - copied).unwrap_or(usize::MAX).min(buffer.len())
        });
        let read = input.read(&mut buffer[..most]).map_err(to_error)?;
        if read == 0 {
            return match length {
                Some(_) => Err(OtlpError::malformed("the body changed between two readings")),
                None => Ok(copied),
            };
        }
        out.write_all(&buffer[..read])?;
        copied += read as u64;
    }
    Ok(copied)
}

/// A range that is left out, or replaced by a new length.
struct Cut {
    from: u64,
    to: u64,
    new_length: Option<u64>,
}

fn walk(
    body: &ReplayBody,
    encoding: Option<&str>,
    limits: OtlpLimits,
    refused: &HashSet<TraceId>,
    keys: &[String],
) -> Result<(Export, Vec<Cut>), OtlpError> {
    let input = decompress::open(body, encoding, limits.max_decompressed_bytes)?;
    let mut walker = Walker {
        wire: WireFormat::new(input),
        gathered: Gathered::new(limits, keys),
        refused,
        below_resource: HashSet::new(),
        cuts: Vec::new(),
    };
    while let Some(tag) = walker.wire.tag(STREAM_END)? {
        match tag.field {
            1 => {
                walker.nested(tag, STREAM_END, Walker::resource_spans)?;
            }
            _ => walker.wire.skip_field(tag, STREAM_END)?,
        }
    }
    let mut export = walker.gathered.export;
    export.decompressed_bytes = walker.wire.position();
    Ok((export, walker.cuts))
}

struct Walker<'a> {
    wire: WireFormat<Capped>,
    gathered: Gathered,
    refused: &'a HashSet<TraceId>,
    /// The traces with spans below the resource that is being walked.
    below_resource: HashSet<usize>,
    /// In the order of their positions.
    cuts: Vec<Cut>,
}

impl Walker<'_> {
    /// Walks a nested message, whose reader answers by how much it shrinks, and answers by how much the
    /// message with its length does.
    fn nested(
        &mut self,
        tag: Tag,
        end: u64,
        read: fn(&mut Self, u64) -> Result<u64, OtlpError>,
    ) -> Result<u64, OtlpError> {
        expect(tag, LENGTH_DELIMITED)?;
        let length_at = self.wire.position();
        let inner_end = self.wire.length(end)?;
        let start = self.wire.position();
        let slot = self.cuts.len();
        self.cuts.push(Cut { from: length_at, to: start, new_length: None });
        let shrinks = read(self, inner_end)?;
        if shrinks == 0 {
            self.cuts.truncate(slot);
            return Ok(0);
        }
        let new_length = inner_end - start - shrinks;
        self.cuts[slot].new_length = Some(new_length);
        let mut varint = Vec::new();
        put_varint(new_length, &mut varint);
        Ok(shrinks + (start - length_at) - varint.len() as u64)
    }

    fn resource_spans(&mut self, end: u64) -> Result<u64, OtlpError> {
        let (mut shrinks, mut resources, mut reserved, mut marks) = (0, 0, None, Vec::new());
        self.below_resource.clear();
        while let Some(tag) = self.wire.tag(end)? {
            match tag.field {
                1 => {
                    once(&mut resources, "resource")?;
                    expect(tag, LENGTH_DELIMITED)?;
                    (reserved, marks) = self.resource(end)?;
                }
                2 => shrinks += self.nested(tag, end, Self::scope_spans)?,
                _ => self.wire.skip_field(tag, end)?,
            }
        }
        // Only now, because a resource may follow its spans on the wire.
        self.gathered.resource(reserved, &marks, &self.below_resource);
        Ok(shrinks)
    }

    /// Answers the first reserved attribute of a resource, and those that are looked for.
    fn resource(&mut self, end: u64) -> Result<(Option<String>, Marks), OtlpError> {
        let end = self.wire.length(end)?;
        let (mut reserved, mut marks) = (None, Vec::new());
        while let Some(tag) = self.wire.tag(end)? {
            match tag.field {
                1 => {
                    let (key, value) = self.attribute(tag, end)?;
                    marks.extend(self.gathered.mark(&key, value.as_deref()));
                    if reserved.is_none() && reserved_resource_attribute(&key) {
                        reserved = Some(key);
                    }
                }
                _ => self.wire.skip_field(tag, end)?,
            }
        }
        Ok((reserved, marks))
    }

    fn scope_spans(&mut self, end: u64) -> Result<u64, OtlpError> {
        let mut shrinks = 0;
        while let Some(tag) = self.wire.tag(end)? {
            match tag.field {
                2 => {
                    expect(tag, LENGTH_DELIMITED)?;
                    let span = self.span(end)?;
                    if self.refused.contains(&span.trace) {
                        let to = self.wire.position();
                        self.cuts.push(Cut { from: tag.at, to, new_length: None });
                        shrinks += to - tag.at;
                    }
                    let index = self.gathered.add(span)?;
                    self.below_resource.insert(index);
                }
                _ => self.wire.skip_field(tag, end)?,
            }
        }
        Ok(shrinks)
    }

    fn span(&mut self, end: u64) -> Result<SpanFacts, OtlpError> {
        let end = self.wire.length(end)?;
        let (mut trace, mut root, mut reserved, mut request_id) = (None, true, None, None);
        let (mut trace_ids, mut span_ids, mut parents) = (0, 0, 0);
        let mut marks = Vec::new();
        while let Some(tag) = self.wire.tag(end)? {
            match tag.field {
                1 => {
                    once(&mut trace_ids, "trace_id")?;
                    let bytes = self.delimited(tag, end, 16)?;
                    trace = Some(TraceId::from_otel(&bytes).ok_or_else(|| {
                        OtlpError::malformed("a `trace_id` is not 16 bytes or is all zeros")
                    })?);
                }
                2 => {
                    once(&mut span_ids, "span_id")?;
                    expect(tag, LENGTH_DELIMITED)?;
                    self.wire.skip_field(tag, end)?;
                }
                4 => {
                    once(&mut parents, "parent_span_id")?;
                    root = self.delimited(tag, end, MAX_VALUE_BYTES)?.iter().all(|byte| *byte == 0);
                }
                9 => {
                    let (key, value) = self.attribute(tag, end)?;
                    marks.extend(self.gathered.mark(&key, value.as_deref()));
                    if reserved.is_none() && reserved_span_attribute(&key) {
                        reserved = Some(key);
                    } else if key == REQUEST_ID {
                        request_id = value;
                    }
                }
                _ => self.wire.skip_field(tag, end)?,
            }
        }
        let trace = trace.ok_or_else(|| OtlpError::malformed("a span has no `trace_id`"))?;
        Ok(SpanFacts { trace, root, reserved, request_id, marks })
    }

    /// Reads a `KeyValue`: its key, and its value where that is a short string.
    fn attribute(&mut self, tag: Tag, end: u64) -> Result<(String, Option<String>), OtlpError> {
        expect(tag, LENGTH_DELIMITED)?;
        let end = self.wire.length(end)?;
        let (mut key, mut value) = (String::new(), None);
        let (mut keys, mut values) = (0, 0);
        while let Some(tag) = self.wire.tag(end)? {
            match tag.field {
                1 => {
                    once(&mut keys, "key")?;
                    key = String::from_utf8(self.delimited(tag, end, MAX_KEY_BYTES)?)
                        .map_err(|_| OtlpError::malformed("an attribute's key is not UTF-8"))?;
                }
                2 => {
                    once(&mut values, "value")?;
                    expect(tag, LENGTH_DELIMITED)?;
                    value = self.short_string(end)?;
                }
                _ => self.wire.skip_field(tag, end)?,
            }
        }
        Ok((key, value))
    }

    /// Reads an `AnyValue` where it is a short string.
    fn short_string(&mut self, end: u64) -> Result<Option<String>, OtlpError> {
        let end = self.wire.length(end)?;
        let mut value = None;
        while let Some(tag) = self.wire.tag(end)? {
            if tag.field != 1 || tag.wire_type != LENGTH_DELIMITED {
                // A later member of the oneof takes the place of the string.
                value = None;
                self.wire.skip_field(tag, end)?;
                continue;
            }
            let until = self.wire.length(end)?;
            if until - self.wire.position() > MAX_VALUE_BYTES {
                value = None;
                self.wire.skip_to(until)?;
            } else {
                value = String::from_utf8(self.wire.bytes(until, MAX_VALUE_BYTES)?).ok();
            }
        }
        Ok(value)
    }

    fn delimited(&mut self, tag: Tag, end: u64, most: u64) -> Result<Vec<u8>, OtlpError> {
        expect(tag, LENGTH_DELIMITED)?;
        let until = self.wire.length(end)?;
        Ok(self.wire.bytes(until, most)?)
    }
}

/// Protobuf takes the last of a doubled field, or merges them; refused wherever it matters.
fn once(count: &mut u32, field: &str) -> Result<(), OtlpError> {
    *count += 1;
    if *count > 1 { Err(OtlpError::malformed(format!("`{field}` is given twice"))) } else { Ok(()) }
}

/// A known field of another wire type is an unknown field to some parsers and an error to others.
fn expect(tag: Tag, wire_type: u8) -> Result<(), OtlpError> {
    if tag.wire_type == wire_type {
        return Ok(());
    }
    Err(OtlpError::malformed(format!("field {} has wire type {}", tag.field, tag.wire_type)))
}
