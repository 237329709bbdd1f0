//! Who saw a trace, a session, an end user's traces; and the erasure of who the end user is.

use std::collections::BTreeSet;

use super::audit::{latest, limit, needed, text, time, unreadable};
use super::{Call, Refusal};
use crate::store::audit_index::{AuditQuery, Level, Reader, ReadersOf, Subject};
use crate::wire::Malformed;

/// The index answers with one row more than this when there are more.
const MOST_READERS: usize = 10_000;

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Seen {
    people: BTreeSet<String>,
    readers: Vec<Reader>,
    /// True if there are more than 10,000 rows.
    truncated: bool,
    complete: bool,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Traces {
    trace_ids: Vec<String>,
    next: Option<String>,
    complete: bool,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct Erased {
    /// How many traces were forgotten to be of this one.
    erased: u64,
}

/// `GET audit/seen?trace_id` or `?key&value`, with `level`, `since`, `until`
pub(super) async fn seen(call: &Call<'_>) -> Result<Seen, Refusal> {
    let of = match (text(call, "trace_id")?, text(call, "key")?) {
        (Some(trace), None) => ReadersOf::Trace(trace),
        (None, Some(_)) => ReadersOf::Subject(subject(call)?),
        _ => {
            let problem = "needs either `trace_id`, or `key` and `value`";
            return Err(Malformed::new("query", problem).into());
        }
    };
    let level = match text(call, "level")?.as_deref() {
        Some("read") => Level::Read,
        None | Some("listed") => Level::Listed,
        Some("wrote") => Level::Wrote,
        Some(_) => {
            let problem = "must be `read`, `listed` (and above, the default) or `wrote` (and above)";
            return Err(Malformed::new("query parameter `level`", problem).into());
        }
    };
    let complete = latest(call).await;
    let (since, until) = (time(call, "since")?, time(call, "until")?);
    let index = call.app.records.index();
    let mut readers = index.readers(&of, level, since, until).await.map_err(unreadable)?;
    let truncated = readers.len() > MOST_READERS;
    readers.truncate(MOST_READERS);
    let both = |reader: &'_ Reader| [Some(reader.principal.clone()), reader.actor.clone()];
    let people = readers.iter().flat_map(both).flatten().collect();
    Ok(Seen { people, readers, truncated, complete })
}

/// `GET audit/subjects?key&value&limit&after`: the traces that are known to be of a subject
pub(super) async fn traces(call: &Call<'_>) -> Result<Traces, Refusal> {
    let subject = subject(call)?;
    let complete = latest(call).await;
    let limit = limit(call)?.unwrap_or(AuditQuery::DEFAULT_LIMIT);
    let after = text(call, "after")?.unwrap_or_default();
    let index = call.app.records.index();
    let mut traces = index.traces_of(&subject, &after, limit + 1).await.map_err(unreadable)?;
    let more = traces.len() > limit as usize;
    traces.truncate(limit as usize);
    let next = if more { traces.last().cloned() } else { None };
    Ok(Traces { trace_ids: traces, next, complete })
}

/// `DELETE audit/subjects?key&value`: forgets whose traces these were; the record itself never said it
pub(super) async fn erase(call: &Call<'_>) -> Result<Erased, Refusal> {
    let subject = subject(call)?;
    // What waits to be written would come back.
    call.app.flush_subjects().await.map_err(unreadable)?;
    let erased = call.app.records.index().erase_subject(&subject).await.map_err(unreadable)?;
    call.app.subjects.forget();
    Ok(Erased { erased })
}

fn subject(call: &Call<'_>) -> Result<Subject, Refusal> {
    let subject = Subject { key: needed(call, "key")?, value: needed(call, "value")? };
    if call.app.subjects.keys().contains(&subject.key) {
        return Ok(subject);
    }
    let problem = format!(
        "`{}` is not one that is noted; `audit.subject_keys` names {}",
        subject.key,
        call.app.subjects.keys().join(", ")
    );
    Err(Malformed::new("query parameter `key`", problem).into())
}
