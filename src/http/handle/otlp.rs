//! OTLP exports: one request may carry spans of several traces; those that are this experiment's go on,
//! the others are reported back and recorded.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::files;
use super::super::limited::{self, Room};
use super::super::trail::Trail;
use super::{After, unclaim};
use crate::access::{Check, ExperimentId, Privilege, Securable, TraceId};
use crate::classify::otlp::{self, Export, OtlpError, OtlpLimits};
use crate::wire::{Body, Malformed, ReplayBody, Reply};

/// Bodies up to this size are read on the worker itself; larger ones beside it, in bytes.
const READ_INLINE: u64 = 256 * 1024;
/// First sights of one export's traces that are looked up at the same time.
const LOOKUPS_AT_ONCE: usize = 8;

/// Reads the export, claims its traces, and takes out those that are not this experiment's.
pub(super) async fn claim(
    call: &mut Call<'_>,
    after: &mut After,
    trail: &mut Trail,
) -> Result<Vec<(TraceId, ExperimentId)>, Refusal> {
    let experiment = call.head.headers.one("x-mlflow-experiment-id")?.unwrap_or_default();
    let experiment = ExperimentId::parse(experiment)?;
    let media = Media::of(call)?;
    let Body::Replay(body) = &call.body else {
        return Err(Malformed::new("body", "is missing").into());
    };
    let body = body.clone();
    let export = read(call, &body, &media).await?;
    trail.traces(export.traces.iter().map(|spans| &spans.trace));

    let (call_ref, experiment_ref) = (&*call, &experiment);
    let settled: Vec<Result<_, Refusal>> = futures_util::stream::iter(&export.traces)
        .map(|spans| async move { settle(call_ref, experiment_ref, spans).await.map(|how| (spans, how)) })
        .buffer_unordered(LOOKUPS_AT_ONCE)
        .collect()
        .await;
    let (mut fresh, mut known) = (Vec::new(), Vec::new());
    let mut refused: HashMap<TraceId, String> = HashMap::new();
    let mut rejected = 0;
    for settled in settled {
        match settled? {
            (spans, Settled::Refused(reason)) => {
                rejected += spans.spans;
                refused.insert(spans.trace.clone(), reason);
            }
            (spans, Settled::Ours { fresh: is_fresh }) => {
                call.written.push((spans.trace.clone(), experiment.clone()));
                if is_fresh {
                    fresh.push((spans.trace.clone(), experiment.clone()));
                } else {
                    known.push(spans.trace.clone());
                }
            }
            (spans, Settled::Shared(owner)) => call.written.push((spans.trace.clone(), owner)),
        }
    }
    let over = make_room(call, &experiment, &mut fresh, &known).await?;
    if let Some((refusal, new)) = over {
        if refused.len() + new.len() == export.traces.len() {
            // Nothing would be kept: the exporter has all of it and may send it again.
            return Err(refusal);
        }
        for spans in export.traces.iter().filter(|spans| new.contains(&spans.trace)) {
            rejected += spans.spans;
            refused.insert(spans.trace.clone(), refusal.to_string());
        }
    }
    for spans in export.traces.iter().filter(|spans| !refused.contains_key(&spans.trace)) {
        let marks = spans.marks.iter().cloned();
        call.marks.extend(marks.map(|(key, value)| (spans.trace.clone(), key, value)));
    }
    if refused.is_empty() {
        return Ok(fresh);
    }
    let mut reasons: Vec<String> = refused.values().cloned().collect();
    reasons.sort();
    reasons.dedup();
    reasons.truncate(5);
    let message = reasons.join("; ");
    if refused.len() == export.traces.len() {
        return Err(Refusal::Denied(message));
    }
    let names: HashSet<TraceId> = refused.into_keys().collect();
    call.body = Body::Replay(without(call, body, &media, names).await?);
    call.head.headers.remove("content-encoding");
    *after = After::PartialExport { rejected, message };
    Ok(fresh)
}

/// Makes room for the traces that an export starts. Without room it gives up their claims and answers why,
/// and which they are: traces that are held can be continued all the same.
async fn make_room(
    call: &mut Call<'_>,
    experiment: &ExperimentId,
    fresh: &mut Vec<(TraceId, ExperimentId)>,
    known: &[TraceId],
) -> Result<Option<(Refusal, HashSet<TraceId>)>, Refusal> {
    let (refusal, missing) = match limited::room(call, experiment, fresh.len() as u64, known).await {
        Ok(Room::Made(reservation)) => {
            call.reserved.push(reservation);
            return Ok(None);
        }
        Ok(Room::Full { refusal, missing }) => (refusal, missing),
        Err(error) => {
            unclaim(call, std::mem::take(fresh)).await?;
            return Err(error);
        }
    };
    let new = fresh.iter().map(|(trace, _)| trace.clone()).chain(missing).collect();
    unclaim(call, std::mem::take(fresh)).await?;
    Ok(Some((refusal, new)))
}

enum Settled {
    Ours {
        fresh: bool,
    },
    /// Of another experiment, into which the caller may write too.
    Shared(ExperimentId),
    Refused(String),
}

async fn settle(
    call: &Call<'_>,
    experiment: &ExperimentId,
    spans: &otlp::TraceSpans,
) -> Result<Settled, Refusal> {
    let trace = &spans.trace;
    if let Some(key) = &spans.reserved {
        return Ok(Settled::Refused(format!(
            "trace `{trace}`: span attribute `{key}` would set a reserved tag"
        )));
    }
    // Whoever sends the root span started the trace.
    let starter = spans.has_root.then_some(&call.caller.principal);
    let claim = call.app.owners.claim(call.app, call.backend, trace, experiment, starter).await?;
    if claim.experiment == *experiment {
        return Ok(Settled::Ours { fresh: claim.fresh });
    }
    // Services that share a `traceparent` may write into the trace that the first of them started.
    call.app.owners.experiment(call.app, call.backend, &claim.experiment).await?;
    let owner = Check::new(Privilege::TraceWrite, Securable::experiment(&claim.experiment));
    if call.allows(owner)? && files::payload::allows(call, &claim.experiment, false).await? {
        return Ok(Settled::Shared(claim.experiment));
    }
    Ok(Settled::Refused(format!(
        "`{}` does not have `{}` on trace `{trace}`",
        call.caller.principal,
        Privilege::TraceWrite
    )))
}

/// The answer when some traces were refused.
pub(super) fn partial(
    call: &Call<'_>,
    mut reply: Reply,
    rejected: u64,
    message: &str,
) -> Result<Reply, Refusal> {
    let media = Media::of(call)?;
    reply.headers.set("content-type", media.kind());
    reply.headers.remove("content-length");
    reply.body = Body::memory(otlp::partial_success(&media.content_type, rejected, message));
    Ok(reply)
}

/// Refuses an export in JSON that is not of one trace alone, or would set reserved tags.
pub(super) fn refuse_reserved(call: &Call<'_>, export: &[u8], trace: &TraceId) -> Result<(), Refusal> {
    let body = ReplayBody::memory(export.to_vec());
    let keys = call.app.subjects.keys().to_vec();
    let export = otlp::read_marked_export(&body, "application/json", None, limits(call), &keys)?;
    for spans in &export.traces {
        if spans.trace != *trace {
            return Err(Refusal::Denied(format!("the spans are not all of trace `{trace}`")));
        }
        if let Some(key) = &spans.reserved {
            return Err(Refusal::Denied(format!(
                "trace `{trace}`: span attribute `{key}` would set a reserved tag"
            )));
        }
    }
    Ok(())
}

/// How the body is written.
#[derive(Clone)]
struct Media {
    content_type: String,
    content_encoding: Option<String>,
}

impl Media {
    fn of(call: &Call<'_>) -> Result<Self, Malformed> {
        let headers = &call.head.headers;
        let content_type = headers.one("content-type")?.unwrap_or_default().to_owned();
        Ok(Self { content_type, content_encoding: headers.one("content-encoding")?.map(str::to_owned) })
    }

    fn kind(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim()
    }
}

async fn read(call: &Call<'_>, body: &ReplayBody, media: &Media) -> Result<Export, Refusal> {
    let limits = limits(call);
    let (read_body, media) = (body.clone(), media.clone());
    let keys = call.app.subjects.keys().to_vec();
    let read = move || {
        let encoding = media.content_encoding.as_deref();
        otlp::read_marked_export(&read_body, &media.content_type, encoding, limits, &keys)
    };
    if body.len() <= READ_INLINE
        && body.as_memory().is_some()
        && call.head.headers.get("content-encoding").is_none()
    {
        return Ok(read()?);
    }
    beside(read).await
}

async fn without(
    call: &Call<'_>,
    body: ReplayBody,
    media: &Media,
    refused: HashSet<TraceId>,
) -> Result<ReplayBody, Refusal> {
    let media = media.clone();
    let directory = call.app.config.server.data_dir.clone();
    let limits = limits(call);
    beside(move || {
        let mut file = tempfile::tempfile_in(directory).map_err(OtlpError::from)?;
        let encoding = media.content_encoding.as_deref();
        let length = otlp::without_traces(&body, &media.content_type, encoding, limits, &refused, &mut file)?;
        Ok(ReplayBody::file(file, length))
    })
    .await
}

fn limits(call: &Call<'_>) -> OtlpLimits {
    let limits = &call.app.config.limits;
    OtlpLimits {
        max_decompressed_bytes: limits.otlp_decompressed_bytes,
        max_spans: limits.otlp_spans,
        max_traces: limits.otlp_traces,
    }
}

async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OtlpError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Refusal::Internal(format!("reading an export failed: {error}")))??)
}
