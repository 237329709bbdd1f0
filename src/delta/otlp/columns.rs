//! Spans as columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Int32Builder, Int64Builder, ListArray, MapBuilder, MapFieldNames, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, SchemaRef};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span, status};

use super::{Version, any_json, id};
use crate::{LakeError, schemas};

/// Attributes in the making: JSON text, or a map of texts.
enum Attributes {
    Json(StringBuilder),
    Texts(Box<MapBuilder<StringBuilder, StringBuilder>>),
}

/// Attributes that are the same for many rows, read once.
pub(super) enum Read {
    Json(String),
    Texts(Vec<(String, Option<String>)>),
}

impl Read {
    fn of(version: Version, attributes: &[KeyValue]) -> Result<Self, LakeError> {
        Ok(match version {
            Version::V2 => Self::Json(any_json::object(attributes)?),
            Version::V1 => {
                let mut texts: Vec<(String, Option<String>)> = Vec::with_capacity(attributes.len());
                for pair in attributes {
                    texts.retain(|(key, _)| *key != pair.key);
                    texts.push((pair.key.clone(), any_json::text(pair.value.as_ref())?));
                }
                Self::Texts(texts)
            }
        })
    }
}

impl Attributes {
    fn new(version: Version) -> Self {
        match version {
            Version::V2 => Self::Json(StringBuilder::new()),
            Version::V1 => {
                let names = MapFieldNames {
                    entry: "key_value".to_owned(),
                    key: "key".to_owned(),
                    value: "value".to_owned(),
                };
                Self::Texts(Box::new(MapBuilder::new(
                    Some(names),
                    StringBuilder::new(),
                    StringBuilder::new(),
                )))
            }
        }
    }

    fn push(&mut self, read: &Read) -> Result<(), LakeError> {
        match (self, read) {
            (Self::Json(column), Read::Json(text)) => column.append_value(text),
            (Self::Texts(column), Read::Texts(texts)) => {
                for (key, value) in texts {
                    column.keys().append_value(key);
                    column.values().append_option(value.as_ref());
                }
                column.append(true).map_err(internal)?;
            }
            _ => return Err(LakeError::Internal("attributes of two versions".to_owned())),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Json(mut column) => Arc::new(column.finish()),
            Self::Texts(mut column) => Arc::new(column.finish()),
        }
    }
}

pub(super) struct Resource {
    service: Option<String>,
    attributes: Read,
    dropped: u32,
    url: String,
}

impl Resource {
    pub fn of(version: Version, of: &ResourceSpans) -> Result<Self, LakeError> {
        let empty: &[KeyValue] = &[];
        let attributes = of.resource.as_ref().map_or(empty, |resource| &resource.attributes);
        let service = attributes.iter().rev().find(|pair| pair.key == "service.name");
        let service = service.and_then(|pair| match pair.value.as_ref()?.value.as_ref()? {
            any_value::Value::StringValue(name) => Some(name.clone()),
            _ => None,
        });
        Ok(Self {
            service,
            attributes: Read::of(version, attributes)?,
            dropped: of.resource.as_ref().map_or(0, |resource| resource.dropped_attributes_count),
            url: of.schema_url.clone(),
        })
    }
}

pub(super) struct Scope {
    name: String,
    version: String,
    attributes: Read,
    dropped: u32,
    url: String,
}

impl Scope {
    pub fn of(version: Version, of: &ScopeSpans) -> Result<Self, LakeError> {
        let scope = of.scope.clone().unwrap_or_default();
        Ok(Self {
            attributes: Read::of(version, &scope.attributes)?,
            name: scope.name,
            version: scope.version,
            dropped: scope.dropped_attributes_count,
            url: of.schema_url.clone(),
        })
    }
}

/// Structs of a list in the making: a column for each field, and where each row's begin.
struct Lists {
    offsets: Vec<i32>,
    time: Int64Builder,
    texts: [StringBuilder; 3],
    attributes: Attributes,
    dropped: Int32Builder,
    flags: Int32Builder,
}

impl Lists {
    fn new(version: Version) -> Self {
        Self {
            offsets: vec![0],
            time: Int64Builder::new(),
            texts: [StringBuilder::new(), StringBuilder::new(), StringBuilder::new()],
            attributes: Attributes::new(version),
            dropped: Int32Builder::new(),
            flags: Int32Builder::new(),
        }
    }

    fn end_row(&mut self, added: usize) -> Result<(), LakeError> {
        let last = self.offsets.last().copied().unwrap_or_default();
        let added = i32::try_from(added).ok().and_then(|added| last.checked_add(added));
        self.offsets.push(added.ok_or_else(|| {
            LakeError::Malformed("has more events or links than one commit can hold".to_owned())
        })?);
        Ok(())
    }
}

pub(super) struct Columns {
    version: Version,
    rows: usize,
    record_id: StringBuilder,
    time: TimestampMicrosecondBuilder,
    date: Date32Builder,
    service: StringBuilder,
    /// trace_id, span_id, trace_state, parent_span_id, name, kind.
    texts: [StringBuilder; 6],
    /// flags, dropped attributes, events and links.
    ints: [Int32Builder; 4],
    start: Int64Builder,
    end: Int64Builder,
    attributes: Attributes,
    events: Lists,
    links: Lists,
    status: [StringBuilder; 2],
    resource: (Attributes, Int32Builder),
    scope: ([StringBuilder; 2], Attributes, Int32Builder),
    urls: [StringBuilder; 2],
}

fn internal(error: arrow::error::ArrowError) -> LakeError {
    LakeError::Internal(error.to_string())
}

fn optional(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn nanos(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

impl Columns {
    pub fn new(version: Version) -> Self {
        let texts = StringBuilder::new;
        Self {
            version,
            rows: 0,
            record_id: texts(),
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            date: Date32Builder::new(),
            service: texts(),
            texts: [texts(), texts(), texts(), texts(), texts(), texts()],
            ints: [Int32Builder::new(), Int32Builder::new(), Int32Builder::new(), Int32Builder::new()],
            start: Int64Builder::new(),
            end: Int64Builder::new(),
            attributes: Attributes::new(version),
            events: Lists::new(version),
            links: Lists::new(version),
            status: [texts(), texts()],
            resource: (Attributes::new(version), Int32Builder::new()),
            scope: ([texts(), texts()], Attributes::new(version), Int32Builder::new()),
            urls: [texts(), texts()],
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a row is of all of these")]
    pub fn push(
        &mut self,
        resource: &Resource,
        scope: &Scope,
        span: &Span,
        trace: &str,
        own: &str,
        parent: Option<&str>,
        now_nanos: i64,
    ) -> Result<(), LakeError> {
        self.rows += 1;
        let start = if span.start_time_unix_nano == 0 { now_nanos } else { nanos(span.start_time_unix_nano) };
        if self.version == Version::V2 {
            self.record_id.append_value(uuid::Uuid::now_v7().to_string());
            self.time.append_value(start.div_euclid(1000));
            self.date.append_value(i32::try_from(start.div_euclid(86_400_000_000_000)).unwrap_or_default());
            self.service.append_option(resource.service.as_ref());
        }
        let [trace_ids, span_ids, states, parents, names, kinds] = &mut self.texts;
        trace_ids.append_value(trace);
        span_ids.append_value(own);
        states.append_option(optional(&span.trace_state));
        parents.append_option(parent);
        names.append_value(&span.name);
        let kind = span::SpanKind::try_from(span.kind).unwrap_or(span::SpanKind::Unspecified);
        kinds.append_value(kind.as_str_name());
        let [flags, attributes, events, links] = &mut self.ints;
        flags.append_value(count(span.flags));
        attributes.append_value(count(span.dropped_attributes_count));
        events.append_value(count(span.dropped_events_count));
        links.append_value(count(span.dropped_links_count));
        self.start.append_value(start);
        self.end.append_value(nanos(span.end_time_unix_nano));
        self.attributes.push(&Read::of(self.version, &span.attributes)?)?;
        for event in &span.events {
            self.events.time.append_value(nanos(event.time_unix_nano));
            self.events.texts[0].append_value(&event.name);
            self.events.attributes.push(&Read::of(self.version, &event.attributes)?)?;
            self.events.dropped.append_value(count(event.dropped_attributes_count));
        }
        self.events.end_row(span.events.len())?;
        for link in &span.links {
            let [traces, spans, states] = &mut self.links.texts;
            traces.append_value(id(&link.trace_id, 16, "links.trace_id")?);
            spans.append_value(id(&link.span_id, 8, "links.span_id")?);
            states.append_option(optional(&link.trace_state));
            self.links.attributes.push(&Read::of(self.version, &link.attributes)?)?;
            self.links.dropped.append_value(count(link.dropped_attributes_count));
            self.links.flags.append_value(count(link.flags));
        }
        self.links.end_row(span.links.len())?;
        let said = span.status.clone().unwrap_or_default();
        let code = status::StatusCode::try_from(said.code).unwrap_or(status::StatusCode::Unset);
        self.status[0].append_option(optional(&said.message));
        self.status[1].append_value(code.as_str_name());
        self.resource.0.push(&resource.attributes)?;
        self.resource.1.append_value(count(resource.dropped));
        self.scope.0[0].append_option(optional(&scope.name));
        self.scope.0[1].append_option(optional(&scope.version));
        self.scope.1.push(&scope.attributes)?;
        self.scope.2.append_value(count(scope.dropped));
        self.urls[0].append_option(optional(&resource.url));
        self.urls[1].append_option(optional(&scope.url));
        Ok(())
    }

    pub fn finish(self) -> Result<RecordBatch, LakeError> {
        let schema = match self.version {
            Version::V1 => schemas::spans_v1(),
            Version::V2 => schemas::spans(),
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        let Self { mut record_id, mut time, mut date, mut service, texts, ints, .. } = self;
        if self.version == Version::V2 {
            columns.push(Arc::new(record_id.finish()));
            columns.push(Arc::new(time.finish()));
            columns.push(Arc::new(date.finish()));
            columns.push(Arc::new(service.finish()));
        }
        let [mut trace_ids, mut span_ids, mut states, mut parents, mut names, mut kinds] = texts;
        let [mut flags, mut attributes, mut events, mut links] = ints;
        let (mut start, mut end) = (self.start, self.end);
        let [mut resource_urls, mut span_urls] = self.urls;
        columns.push(Arc::new(trace_ids.finish()));
        columns.push(Arc::new(span_ids.finish()));
        columns.push(Arc::new(states.finish()));
        columns.push(Arc::new(parents.finish()));
        columns.push(Arc::new(flags.finish()));
        columns.push(Arc::new(names.finish()));
        columns.push(Arc::new(kinds.finish()));
        columns.push(Arc::new(start.finish()));
        columns.push(Arc::new(end.finish()));
        columns.push(self.attributes.finish());
        columns.push(Arc::new(attributes.finish()));
        columns.push(lists(&schema, "events", self.events)?);
        columns.push(Arc::new(events.finish()));
        columns.push(lists(&schema, "links", self.links)?);
        columns.push(Arc::new(links.finish()));
        let [mut messages, mut codes] = self.status;
        let status: Vec<ArrayRef> = vec![Arc::new(messages.finish()), Arc::new(codes.finish())];
        columns.push(structs(&schema, "status", status)?);
        let (attributes, mut dropped) = self.resource;
        let resource = vec![attributes.finish(), Arc::new(dropped.finish()) as ArrayRef];
        columns.push(structs(&schema, "resource", resource)?);
        columns.push(Arc::new(resource_urls.finish()));
        let ([mut names, mut versions], attributes, mut dropped) = self.scope;
        let scope: Vec<ArrayRef> = vec![
            Arc::new(names.finish()),
            Arc::new(versions.finish()),
            attributes.finish(),
            Arc::new(dropped.finish()),
        ];
        columns.push(structs(&schema, "instrumentation_scope", scope)?);
        columns.push(Arc::new(span_urls.finish()));
        RecordBatch::try_new(schema, columns).map_err(internal)
    }
}

fn structs(schema: &SchemaRef, name: &str, columns: Vec<ArrayRef>) -> Result<ArrayRef, LakeError> {
    let field = schema.field_with_name(name).map_err(internal)?;
    let DataType::Struct(fields) = field.data_type() else {
        return Err(LakeError::Internal(format!("`{name}` is no struct")));
    };
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None).map_err(internal)?))
}

fn lists(schema: &SchemaRef, name: &str, lists: Lists) -> Result<ArrayRef, LakeError> {
    let field = schema.field_with_name(name).map_err(internal)?;
    let DataType::List(element) = field.data_type() else {
        return Err(LakeError::Internal(format!("`{name}` is no list")));
    };
    let DataType::Struct(fields) = element.data_type() else {
        return Err(LakeError::Internal(format!("`{name}` holds no structs")));
    };
    let Lists { offsets, mut time, texts: [mut one, mut two, mut three], attributes, mut dropped, mut flags } =
        lists;
    let count = offsets.last().map_or(0, |last| usize::try_from(*last).unwrap_or_default());
    let (is_event, first) = (name == "events", Arc::new(one.finish()) as ArrayRef);
    let columns: Vec<ArrayRef> = match is_event {
        true => vec![Arc::new(time.finish()), first, attributes.finish(), Arc::new(dropped.finish())],
        false => vec![
            first,
            Arc::new(two.finish()),
            Arc::new(three.finish()),
            attributes.finish(),
            Arc::new(dropped.finish()),
            Arc::new(flags.finish()),
        ],
    };
    let values = match count {
        0 => new_null_array(&DataType::Struct(fields.clone()), 0),
        _ => Arc::new(StructArray::try_new(fields.clone(), columns, None::<NullBuffer>).map_err(internal)?),
    };
    let element: Arc<Field> = Arc::clone(element);
    let list = ListArray::try_new(element, OffsetBuffer::new(offsets.into()), values, None);
    Ok(Arc::new(list.map_err(internal)?))
}
