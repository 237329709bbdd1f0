//! Reads the traces of a batch, and makes rows of those that changed.

use std::collections::HashMap;

use futures_util::StreamExt;
use serde_json::Value;

use super::flow::{Flow, Halt};
use super::read::{Found, Reader};
use super::{row, select};
use crate::access::{Caller, TraceId};
use crate::clock::UnixMillis;
use crate::http::error::Refusal;
use crate::http::trail::Trail;

/// Rows of one batch, in bytes of JSON.
const BYTES: usize = 32 * 1024 * 1024;
/// Traces that are read at the same time.
const AT_ONCE: usize = 4;
/// How long after the last write a trace that did not end is archived as it is, in milliseconds.
const UNENDED_MS: i64 = 60_000;

/// A trace, what its row says as a digest, and the row.
pub(super) type Row = (String, String, Value);

/// What a batch came to.
#[derive(Default)]
pub(super) struct Gathered {
    pub rows: Vec<Row>,
    /// Traces that go on.
    pub unended: Vec<String>,
    /// For which there is no room in this batch.
    pub too_many: Vec<String>,
    /// Which could not be read now, and why the last of them could not.
    pub unread: Vec<String>,
    pub why_unread: Option<(Trail, Refusal)>,
}

impl Flow<'_> {
    /// Reads what is due. A trace that cannot be read holds up no other.
    pub async fn gather(
        &self,
        caller: &Caller,
        due: Vec<(String, UnixMillis)>,
        trail: &mut Trail,
    ) -> Result<Gathered, Halt> {
        let filter = self.archive.filter.as_deref().map(select::parsed).transpose();
        let filter = filter.map_err(|error| Halt(error.to_string()))?.unwrap_or_default();
        let sampled = |(trace, _): &(String, UnixMillis)| select::is_sampled(self.archive, trace);
        let wanted: Vec<_> = due.into_iter().filter(sampled).collect();
        let names: Vec<String> = wanted.iter().map(|(trace, _)| trace.clone()).collect();
        let known = self.app.store.archived_digests(&self.archive.id, &names).await?;
        let known: HashMap<String, String> = known.into_iter().collect();
        let reader = &Reader { app: self.app, backend: self.backend, caller };
        let now = self.app.clock.now();
        let mut gathered = Gathered::default();
        let mut bytes = 0;
        let mut readings = futures_util::stream::iter(wanted.into_iter().map(|(trace, last)| async move {
            // What is read is decided anew, trace by trace.
            let mut own = self.trail(caller);
            let found = reader.trace(&trace, &mut own).await;
            (trace, last, own, found)
        }))
        .buffer_unordered(AT_ONCE);
        while let Some((trace, last, own, found)) = readings.next().await {
            let found = match found {
                Ok(Found::Trace(found)) => found,
                Ok(Found::Gone) => continue,
                Ok(Found::TooLarge) => {
                    tracing::warn!(trace, "a trace is too large to be archived");
                    continue;
                }
                Err(refusal) => {
                    gathered.unread.push(trace);
                    gathered.why_unread = Some((own, refusal));
                    continue;
                }
            };
            if found.is_in_progress() && now.0 < last.0 + UNENDED_MS {
                gathered.unended.push(trace);
                continue;
            }
            if !select::fits(&filter, &found.info) {
                continue;
            }
            if bytes >= BYTES {
                gathered.too_many.push(trace);
                continue;
            }
            let row = found.row();
            let (digest, length) = row::digest(&row);
            if known.get(&trace) == Some(&digest) {
                continue;
            }
            bytes += length;
            trail.traces(TraceId::parse(&trace).ok().iter());
            gathered.rows.push((trace, digest, row));
        }
        Ok(gathered)
    }
}
