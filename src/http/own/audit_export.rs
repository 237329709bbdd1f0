//! The record as a stream of lines, oldest first.

use bytes::Bytes;
use futures_util::stream;

use super::audit::{latest, needed, query, unreadable};
use super::{Call, Refusal};
use crate::audit::export::Format;
use crate::store::audit_index::{AuditIndex, AuditQuery, Order};
use crate::wire::{Body, Headers, Malformed, Reply};

/// `GET audit/export?format` and what `audit/events` filters by. How many records there are is told in
/// `X-Tracegate-Records`; a stream that ends without its last chunk is not whole.
pub(super) async fn export(call: &Call<'_>) -> Result<Reply, Refusal> {
    let format: Format =
        needed(call, "format")?.parse().map_err(|error: crate::audit::export::UnknownFormat| {
            Malformed::new("query parameter `format`", error.to_string())
        })?;
    let mut query = query(call)?;
    query.order = Order::OldestFirst;
    query.limit = Some(AuditQuery::LARGEST_LIMIT);
    // The export leaves records of its own, which must not keep it going.
    query.until.get_or_insert_with(|| call.app.clock.now());
    let complete = latest(call).await;
    let records = call.app.records.index().count(&query).await.map_err(unreadable)?;
    let mut headers = Headers::new();
    headers.push("content-type", format.content_type());
    headers.push("x-tracegate-records", &records.to_string());
    headers.push("x-tracegate-complete", if complete { "true" } else { "false" });
    let start = Some((call.app.records.index().clone(), query));
    let lines = stream::try_unfold(start, move |state| async move {
        let Some((index, query)) = state else { return Ok(None) };
        page(format, index, query).await.map(Some)
    });
    Ok(Reply { status: 200, headers, body: Body::Stream { stream: Box::pin(lines), length: None } })
}

type More = Option<(AuditIndex, AuditQuery)>;

async fn page(
    format: Format,
    index: AuditIndex,
    mut query: AuditQuery,
) -> Result<(Bytes, More), std::io::Error> {
    let page = index.query(&query).await.map_err(|error| {
        tracing::error!(%error, "an export of the record broke off");
        std::io::Error::other("the audit index cannot be read")
    })?;
    let lines = Bytes::from(format.lines(&page.entries));
    let more = page.next.map(|next| {
        query.after = Some(next);
        (index, query)
    });
    Ok((lines, more))
}
