//! Commits an export: the objects that hold the content of large traces first, then all rows at once, so that
//! an acknowledged export is there whole and one that is not leaves at most an object that the sweep removes.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use sqlx::AnyConnection;

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::spans::{self, Place};
use super::super::traces::start::{Must, artifact_location, artifacts_of};
use super::super::traces::state::{self, Found};
use super::super::traces::sweep::payload_path;
use super::super::traces::{merge, usage};
use super::gather::{Content, Export, TraceSpans};
use crate::database::Dialect;
use crate::wire::Body;

/// Content of one trace in one export that goes beside the database, in bytes.
const LARGE: u64 = 256 * 1024;
/// Spans that are written by one call.
const SPANS_AT_ONCE: usize = 1024;

pub(super) async fn commit(
    store: &EmbeddedShared,
    experiment_id: i64,
    mut export: Export,
) -> Result<(), Problem> {
    let mut payloads = Vec::with_capacity(export.traces.len());
    for trace in &mut export.traces {
        payloads.push(if trace.length > LARGE {
            Some(put_payload(store, trace, export.scratch.clone()).await?)
        } else {
            None
        });
    }
    let dialect = store.database.dialect;
    let written: Vec<String> = payloads.iter().flatten().cloned().collect();
    let committed = store
        .writer
        .write(move |connection| {
            Box::pin(async move { write(connection, dialect, experiment_id, export, &payloads).await })
        })
        .await;
    if committed.is_err() {
        for payload in written {
            // The sweep finds what cannot be deleted now.
            drop(store.objects.delete(&payload).await);
        }
    }
    committed
}

/// Stores the contents of a trace one after another; the rows keep where each is.
async fn put_payload(
    store: &EmbeddedShared,
    trace: &mut TraceSpans,
    scratch: Option<Arc<File>>,
) -> Result<String, Problem> {
    let path = payload_path(store.clock.now());
    let mut offset = 0;
    let mut pieces = Vec::with_capacity(trace.rows.len());
    for (_, content) in &mut trace.rows {
        let length = content.length();
        // What is left behind says where in the object the content is.
        pieces.push(std::mem::replace(content, Content::Scratch { offset, length }));
        offset += length;
    }
    let stream = futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| {
        let scratch = scratch.clone();
        async move {
            let mut gathered = String::new();
            for piece in pieces.by_ref() {
                match piece.read(scratch.as_deref()) {
                    Ok(text) => gathered.push_str(&text),
                    Err(error) => return Some((Err(error), Vec::new().into_iter())),
                }
                if gathered.len() >= 256 * 1024 {
                    break;
                }
            }
            (!gathered.is_empty()).then(|| (Ok(Bytes::from(gathered)), pieces))
        }
    });
    store.objects.put(&path, Body::Stream { stream: Box::pin(stream), length: Some(offset) }).await?;
    Ok(path)
}

async fn write(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment_id: i64,
    export: Export,
    payloads: &[Option<String>],
) -> Result<(), Problem> {
    let location = artifact_location(connection, experiment_id, Must::Exist).await?;
    let ids: Vec<String> = export.traces.iter().map(|trace| trace.trace_id.clone()).collect();
    let mut found = state::load(connection, dialect, &ids).await?;
    let mut known = known_nodes(connection, dialect, &export, &found).await?;
    let mut changes = Vec::with_capacity(export.traces.len());
    for trace in &export.traces {
        let before = found.remove(&trace.trace_id);
        let mut said = trace.said.clone();
        said.tokens = usage::sum_tokens(&trace.nodes);
        said.costs = usage::sum_costs(&trace.nodes);
        if let Some(stored) = before.as_ref().and_then(|found| known.remove(&found.trace_no)) {
            let sent: std::collections::HashSet<&str> =
                trace.nodes.iter().map(|node| node.span.as_str()).collect();
            let mut all: Vec<usage::Node> =
                stored.into_iter().filter(|node| !sent.contains(node.span.as_str())).collect();
            all.extend(trace.nodes.iter().cloned());
            said.tokens = said.tokens.and_then(|_| usage::sum_tokens(&all));
            said.costs = said.costs.and_then(|_| usage::sum_costs(&all));
        }
        let artifacts = artifacts_of(&location, &trace.trace_id);
        let state = before.as_ref().map(|found| found.state.clone());
        let after = merge::with_spans(state, &trace.trace_id, experiment_id, &artifacts, said);
        changes.push((before, after));
    }
    let numbers = state::save(connection, dialect, &changes).await?;
    drop(changes);
    let mut batch = Vec::with_capacity(SPANS_AT_ONCE);
    for (trace, payload) in export.traces.iter().zip(payloads) {
        let number = numbers.get(&trace.trace_id);
        let trace_no = *number.ok_or_else(|| Problem::internal("a trace got no number"))?;
        for (row, content) in &trace.rows {
            let place = match (payload, content) {
                (Some(payload), Content::Scratch { offset, length }) => Place::Object {
                    payload: payload.clone(),
                    offset: i64::try_from(*offset).map_err(Problem::internal)?,
                    length: i64::try_from(*length).map_err(Problem::internal)?,
                },
                _ => Place::Row(content.read(export.scratch.as_deref()).map_err(Problem::internal)?),
            };
            batch.push((trace_no, row, place));
            if batch.len() == SPANS_AT_ONCE {
                spans::put(connection, dialect, &batch).await?;
                batch.clear();
            }
        }
    }
    spans::put(connection, dialect, &batch).await
}

/// The spans that are there already of traces to whose sums this export adds.
async fn known_nodes(
    connection: &mut AnyConnection,
    dialect: Dialect,
    export: &Export,
    found: &std::collections::HashMap<String, Found>,
) -> Result<std::collections::HashMap<i64, Vec<usage::Node>>, Problem> {
    let counts =
        |trace: &&TraceSpans| trace.nodes.iter().any(|node| node.tokens.is_some() || node.costs.is_some());
    let numbers: Vec<i64> = export
        .traces
        .iter()
        .filter(counts)
        .filter_map(|trace| found.get(&trace.trace_id).map(|found| found.trace_no))
        .collect();
    spans::nodes(connection, dialect, &numbers).await
}
