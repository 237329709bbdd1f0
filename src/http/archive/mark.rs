//! Marks of traces that calls write to, so that their archives copy them.
//!
//! They are made before a call goes on and are due once it is over: whatever happens in between, what was written is
//! looked at. A call on experiments without an archive makes none.

use crate::access::{ExperimentId, TraceId};
use crate::classify::Handling;
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::error::Refusal;

/// How long a call may be writing of which nobody tells how it ended, in milliseconds.
pub(super) const WRITES_FOR_MS: i64 = 120_000;
/// How long a trace rests before it is copied, in milliseconds: its spans and its head come in calls of their own.
const RESTS_MS: i64 = 300;

/// The marks of one call, by its name.
pub(in crate::http) struct Marked(String);

/// Marks what a call is about to write. If that cannot be noted, nothing is written.
pub(in crate::http) async fn mark(call: &Call<'_>) -> Result<Option<Marked>, Refusal> {
    if !call.operation.mutates || call.app.archives.is_empty() {
        return Ok(None);
    }
    let mut written: Vec<(TraceId, ExperimentId)> =
        call.written.iter().chain(&call.claims).cloned().collect();
    for trace in &call.trace_ids {
        if let Some(claim) = call.app.owners.of_trace(call.app, call.backend, trace).await? {
            written.push((trace.clone(), claim.experiment));
        }
    }
    put(call, written, false).await
}

/// The call is over, however it ended.
pub(in crate::http) async fn unmark(call: &Call<'_>, marked: Option<Marked>) {
    let due = UnixMillis(call.app.clock.now().0 + RESTS_MS);
    let done = match marked {
        Some(Marked(name)) => call.app.store.end_marks(&name, due).await.map_err(Refusal::from),
        // Its id was not known before.
        None if call.operation.handling == Handling::StartTraceV2 => {
            put(call, call.written.clone(), true).await.map(drop)
        }
        None => Ok(()),
    };
    if let Err(error) = done {
        // It is due all the same, later.
        tracing::warn!(%error, "a write is archived later than it could be");
    }
}

async fn put(
    call: &Call<'_>,
    mut written: Vec<(TraceId, ExperimentId)>,
    is_over: bool,
) -> Result<Option<Marked>, Refusal> {
    written.sort();
    written.dedup();
    let archived = |(trace, experiment): (TraceId, ExperimentId)| {
        call.app.archives.of(&experiment).map(|archive| (archive.id, trace))
    };
    let marks: Vec<(String, TraceId)> = written.into_iter().filter_map(archived).collect();
    if marks.is_empty() {
        return Ok(None);
    }
    let (name, now) = (uuid::Uuid::new_v4().to_string(), call.app.clock.now());
    let due = now.0 + if is_over { RESTS_MS } else { WRITES_FOR_MS };
    call.app.store.mark_traces(&name, &marks, now, UnixMillis(due)).await?;
    Ok(Some(Marked(name)))
}
