//! OTLP into a table: acknowledged once the rows are committed.

use std::io::Read;

use super::access;
use super::place::{Part, Place};
use crate::access::{Durability, Privilege};
use crate::classify::otlp::OtlpError;
use crate::http::call::Call;
use crate::http::convert;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::lake::otlp;
use crate::wire::{Body, Headers, Malformed, ReplayBody, Reply, decompress};

/// Names the table that spans go to.
const TABLE: &str = "x-databricks-uc-table-name";

pub(super) async fn write(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let table = call.head.headers.one(TABLE)?.unwrap_or_default();
    if table.is_empty() {
        let problem = "is missing: name the spans table, `CATALOG.SCHEMA.PREFIX_otel_spans`";
        return Err(Malformed::new(format!("header `{TABLE}`"), problem).into());
    }
    let place = Place::of_spans_table(table, &format!("header `{TABLE}`"))?;
    let kind = call.head.headers.one("content-type")?.unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-protobuf") {
        let problem = "must be `application/x-protobuf`: tables take OTLP in protobuf alone";
        return Err(Malformed::new("header `content-type`", problem).into());
    }
    // Decided before the body is read.
    let needs = [(Privilege::Modify, place.table(Part::Spans))];
    let (permit, objects) = access::tables(call, trail, &needs).await?;
    let object = objects.first().ok_or_else(|| Refusal::Internal("no table was asked for".to_owned()))?;
    let rows = read(call, trail, place.version()).await?;
    trail.named_traces(rows.trace_ids.iter().map(|hex| place.trace(hex)));
    if trail.has_many_traces() {
        trail.begin(Durability::Synced).await?;
    }
    if rows.rows.num_rows() > 0 {
        call.app.lake.append(&permit, access::location(object)?, rows.rows).await?;
    }
    let mut headers = Headers::new();
    headers.push("content-type", "application/x-protobuf");
    // An `ExportTraceServiceResponse` that rejects nothing is empty.
    Ok(Reply { status: 200, headers, body: Body::memory(Vec::new()) })
}

async fn read(
    call: &mut Call<'_>,
    trail: &mut Trail,
    version: otlp::Version,
) -> Result<otlp::SpanRows, Refusal> {
    let limits = &call.app.config.limits;
    let too_large = |limit, key| Refusal::TooLarge { what: "body", limit, key };
    let limit = limits.otlp_body_bytes;
    let bytes = match std::mem::replace(&mut call.body, Body::Empty) {
        Body::Stream { length: Some(length), .. } if length > limit => {
            return Err(too_large(limit, "otlp_body_bytes"));
        }
        Body::Stream { stream, .. } => convert::collect(stream, limit)
            .await
            .map_err(|error| Refusal::of_client(&error))?
            .ok_or_else(|| too_large(limit, "otlp_body_bytes"))?,
        Body::Replay(body) => body.as_memory().cloned().unwrap_or_default(),
        Body::Empty => bytes::Bytes::new(),
    };
    trail.bytes_in(bytes.len() as u64);
    let encoding = call.head.headers.one("content-encoding")?.map(str::to_owned);
    let cap = limits.otlp_decompressed_bytes;
    let now = call.app.clock.now().0.saturating_mul(1_000_000);
    let read = move || -> Result<otlp::SpanRows, Refusal> {
        let plain = match encoding.as_deref() {
            None | Some("" | "identity") => bytes,
            Some(encoding) => {
                let body = ReplayBody::memory(bytes);
                let mut opened = decompress::open(&body, Some(encoding), cap).map_err(OtlpError::from)?;
                let mut plain = Vec::new();
                let read = opened.read_to_end(&mut plain);
                read.map_err(|error| OtlpError::from(decompress::to_error(error)))?;
                plain.into()
            }
        };
        Ok(otlp::spans(&plain, version, now)?)
    };
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| Refusal::Internal(format!("reading an export failed: {error}")))?
}
