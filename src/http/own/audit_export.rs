//! The record as a stream of lines, oldest first.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream;

use super::audit::{latest, needed, query, unreadable};
use super::{Call, Refusal};
use crate::audit::Position;
use crate::audit::export::Format;
use crate::audit::export::jsonl::Chain;
use crate::store::audit_index::{AuditIndex, AuditIndexError, AuditQuery, Order, Stretch};
use crate::wire::{Body, BodyStream, Headers, Malformed, Reply};

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
    let index = call.app.records.index().clone();
    let (records, stream) = if format == Format::Jsonl && query.is_of_a_period() {
        let chains = index.stretches(query.since, query.until).await.map_err(unreadable)?;
        let records = chains.iter().map(|chain| chain.last_seq - chain.first_seq + 1).sum();
        (records, whole_chains(index, chains))
    } else {
        (index.count(&query).await.map_err(unreadable)?, chosen(format, index, query))
    };
    let mut headers = Headers::new();
    headers.push("content-type", format.content_type());
    headers.push("x-tracegate-records", &records.to_string());
    headers.push("x-tracegate-complete", if complete { "true" } else { "false" });
    Ok(Reply { status: 200, headers, body: Body::Stream { stream, length: None } })
}

/// Every record of some stretches of chains, so that whoever gets them can verify them.
fn whole_chains(index: AuditIndex, stretches: Vec<Stretch>) -> BodyStream {
    let start = (index, VecDeque::from(stretches), None::<Chain>);
    Box::pin(stream::try_unfold(start, |(index, mut waiting, current)| async move {
        let Some(mut chain) = current else {
            let Some(stretch) = waiting.pop_front() else { return Ok(None) };
            let previous = match stretch.first_seq {
                1 => Some(Position::genesis(&stretch.replica).hash.to_vec()),
                _ => stretch.previous,
            };
            let chain =
                Chain::new(&stretch.replica, stretch.first_seq, stretch.last_seq, previous.as_deref());
            let head = chain.head().map_err(std::io::Error::from)?;
            return Ok(Some((Bytes::from(head), (index, waiting, Some(chain)))));
        };
        let rows = index
            .chain_rows(chain.replica(), chain.seq(), chain.last_seq(), AuditQuery::LARGEST_LIMIT)
            .await
            .map_err(broken_off)?;
        if rows.is_empty() {
            // Retention was faster: what is promised in the first line cannot be kept.
            return Err(std::io::Error::other("records went while they were exported"));
        }
        let lines = chain.lines(&rows).map_err(std::io::Error::from)?;
        let going_on = (chain.seq() < chain.last_seq()).then_some(chain);
        Ok(Some((Bytes::from(lines), (index, waiting, going_on))))
    }))
}

fn broken_off(error: AuditIndexError) -> std::io::Error {
    tracing::error!(%error, "an export of the record broke off");
    std::io::Error::other("the audit index cannot be read")
}

fn chosen(format: Format, index: AuditIndex, query: AuditQuery) -> BodyStream {
    Box::pin(stream::try_unfold(Some((index, query)), move |state| async move {
        let Some((index, query)) = state else { return Ok(None) };
        page(format, index, query).await.map(Some)
    }))
}

type More = Option<(AuditIndex, AuditQuery)>;

async fn page(
    format: Format,
    index: AuditIndex,
    mut query: AuditQuery,
) -> Result<(Bytes, More), std::io::Error> {
    let page = index.query(&query).await.map_err(broken_off)?;
    let lines = Bytes::from(format.lines(&page.entries));
    let more = page.next.map(|next| {
        query.after = Some(next);
        (index, query)
    });
    Ok((lines, more))
}
