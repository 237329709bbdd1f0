//! Which traces may hold a text in their spans: an index of groups of three characters, in a database beside
//! that of the traces, so that filling it holds nobody up.
//!
//! A trigger of the traces' database notes which traces changed; [`fill`] puts them into the index by and by.
//! What is noted and not yet indexed counts as a candidate of every search, so that searches miss nothing.
//! Candidates are always compared with the spans themselves. Without this file it is made again.

mod fill;
mod pieces;

use std::path::Path;

use sqlx::Row as _;
use tokio::sync::watch;

use self::pieces::PIECES_OF_TRACE;
use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::writer::Writer;
use super::like::longest_literal;
use super::spans::SpanFilter;
use crate::database::{Database, OpenError};
use crate::objects::Objects;

/// With more candidates than this, most pages are full sooner if one looks at the newest traces.
const MAX_CANDIDATES: i64 = 20_000;
/// Traces not yet in the index that are looked at one by one.
const MAX_PENDING: i64 = 5_000;
/// Groups of characters that one search asks for.
const MAX_GROUPS: usize = 24;
/// Characters of a text that are looked for; pieces overlap by more.
const MAX_LITERAL: usize = 64;

/// The index, and the task that fills it, which ends with this.
#[derive(Debug)]
pub struct ContentIndex {
    database: Database,
    _stop: watch::Sender<()>,
}

impl ContentIndex {
    pub async fn open(
        file: &Path,
        traces: &Database,
        writer: &Writer,
        objects: &Objects,
    ) -> Result<Self, OpenError> {
        let migrations = sqlx::migrate!("migrations/content_sqlite");
        let pragmas = ["PRAGMA cache_size = -4096", "PRAGMA mmap_size = 268435456"];
        let database = Database::open_sqlite(file, 4, &pragmas, migrations).await?;
        let (stop, stopped) = watch::channel(());
        let filler = fill::Filler {
            index: database.clone(),
            traces: traces.clone(),
            writer: writer.clone(),
            objects: objects.clone(),
        };
        // A thread of its own: what objects hold is read on one thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let thread = std::thread::Builder::new().name("content-index".to_owned());
        let started =
            runtime.and_then(|runtime| thread.spawn(move || runtime.block_on(fill::run(filler, stopped))));
        started.map_err(|error| OpenError::File { path: file.display().to_string(), error })?;
        Ok(Self { database, _stop: stop })
    }
}

/// A few traces among which are all that hold the texts that the filter looks for; nothing if there may be
/// many, or if nothing is known.
pub async fn candidates(store: &EmbeddedShared, spans: &SpanFilter) -> Result<Option<Vec<i64>>, Problem> {
    let Some(index) = &store.content else { return Ok(None) };
    let literal = spans
        .content_patterns()
        .map(longest_literal)
        .max_by_key(|literal| literal.chars().count())
        .unwrap_or_default();
    let Some(groups) = groups(literal) else { return Ok(None) };
    // First: what leaves this list while we look is in the index by then.
    let pending: Vec<i64> = sqlx::query_scalar("SELECT trace_no FROM content_pending LIMIT $1")
        .bind(MAX_PENDING)
        .fetch_all(&store.database.reader)
        .await?;
    let same: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM content_index").fetch_optional(&store.database.reader).await?;
    if same.is_none() || at_least(pending.len(), MAX_PENDING) {
        return Ok(None);
    }
    let rows = sqlx::query("SELECT rowid FROM pieces WHERE pieces MATCH $1 LIMIT $2")
        .bind(groups)
        .bind(MAX_CANDIDATES)
        .fetch_all(&index.database.reader)
        .await?;
    if at_least(rows.len(), MAX_CANDIDATES) {
        return Ok(None);
    }
    let mut traces = pending;
    for row in &rows {
        traces.push(row.try_get::<i64, _>(0)? / PIECES_OF_TRACE);
    }
    traces.sort_unstable();
    traces.dedup();
    Ok(Some(traces))
}

fn at_least(length: usize, limit: i64) -> bool {
    i64::try_from(length).is_ok_and(|length| length >= limit)
}

/// A text as a query for all its groups of three characters; nothing if it is shorter.
fn groups(literal: &str) -> Option<String> {
    let characters: Vec<char> = literal.chars().take(MAX_LITERAL).collect();
    let mut groups: Vec<String> =
        characters.windows(3).map(|group| group.iter().collect::<String>().replace('"', "\"\"")).collect();
    // Some from everywhere.
    let step = groups.len().div_ceil(MAX_GROUPS).max(1);
    groups = groups.into_iter().step_by(step).collect();
    groups.dedup();
    let quoted: Vec<String> = groups.iter().map(|group| format!("\"{group}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" AND "))
}

#[cfg(test)]
mod tests;
