//! Puts what changed into the index, a few traces at a time.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{AnyConnection, Row as _};
use tokio::sync::watch;

use super::super::super::many;
use super::super::super::problem::Problem;
use super::super::super::writer::Writer;
use super::pieces::{PIECES_OF_TRACE, Pieces};
use crate::database::{Database, Dialect};
use crate::objects::Objects;

/// Traces that are indexed together.
const BATCH: i64 = 200;
/// How long to wait when there was nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(10);

pub struct Filler {
    pub index: Database,
    pub traces: Database,
    pub writer: Writer,
    pub objects: Objects,
}

/// Fills the index until the sender is dropped.
pub async fn run(filler: Filler, mut stopped: watch::Receiver<()>) {
    let work = async {
        loop {
            let started = Instant::now();
            let pause = match filler.step().await {
                Ok(0) => IDLE,
                // As long as it worked: callers have the other half of a processor.
                Ok(_) => started.elapsed(),
                Err(error) => {
                    tracing::warn!(%error, "the index of content is not up to date");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopped.changed() => {}
    }
}

impl Filler {
    /// Indexes some of what is pending; answers how many traces.
    pub async fn step(&self) -> Result<usize, Problem> {
        self.recognize().await?;
        let pending: Vec<(i64, i64)> =
            sqlx::query_as("SELECT change, trace_no FROM content_pending ORDER BY change LIMIT $1")
                .bind(BATCH)
                .fetch_all(&self.traces.reader)
                .await?;
        if pending.is_empty() {
            return Ok(0);
        }
        let numbers: Vec<i64> = pending.iter().map(|(_, trace)| *trace).collect();
        let mut transaction = self.index.begin_write().await?;
        forget(&mut transaction, &numbers).await?;
        self.index_traces(&mut transaction, &numbers).await?;
        transaction.commit().await?;
        let changes = many::list(&pending.iter().map(|(change, _)| *change).collect::<Vec<_>>());
        self.writer
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM content_pending WHERE change IN (SELECT value FROM json_each($1))",
                    )
                    .bind(changes)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(pending.len())
    }

    /// If this is not the index of these traces, all of them are pending.
    async fn recognize(&self) -> Result<(), Problem> {
        let ours: Option<String> =
            sqlx::query_scalar("SELECT id FROM identity").fetch_optional(&self.index.reader).await?;
        let theirs: Option<String> =
            sqlx::query_scalar("SELECT id FROM content_index").fetch_optional(&self.traces.reader).await?;
        if ours.is_some() && ours == theirs {
            return Ok(());
        }
        let id = uuid::Uuid::new_v4().to_string();
        let mut transaction = self.index.begin_write().await?;
        sqlx::query("DELETE FROM identity").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO identity (id) VALUES ($1)").bind(&id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.writer
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO content_pending (trace_no) SELECT trace_no FROM traces WHERE true \
                         ON CONFLICT (trace_no) DO NOTHING",
                    )
                    .execute(&mut *connection)
                    .await?;
                    sqlx::query("DELETE FROM content_index").execute(&mut *connection).await?;
                    sqlx::query("INSERT INTO content_index (id) VALUES ($1)")
                        .bind(id)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn index_traces(&self, connection: &mut AnyConnection, traces: &[i64]) -> Result<(), Problem> {
        let sql = format!(
            "SELECT trace_no, content, payload, payload_offset, payload_length FROM spans WHERE trace_no IN {} \
             ORDER BY trace_no",
            many::integers(Dialect::Sqlite, 1)
        );
        let mut spans =
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(many::list(traces)).fetch(&self.traces.reader);
        let mut one = OneTrace::default();
        while let Some(span) = spans.try_next().await? {
            let trace: i64 = span.try_get(0)?;
            if trace != one.trace {
                one.finish(connection).await?;
                one = OneTrace { trace, ..OneTrace::default() };
            }
            if let Some(content) = span.try_get::<Option<String>, _>(1)? {
                one.pieces.push(content.as_bytes());
            } else if let (Some(object), Some(offset), Some(length)) =
                (span.try_get::<Option<String>, _>(2)?, span.try_get(3)?, span.try_get(4)?)
            {
                self.push_beside(connection, &mut one, &object, offset, length).await?;
            }
            one.pieces.end();
            one.insert_full(connection).await?;
        }
        one.finish(connection).await
    }

    /// The content of a span that lies beside the database.
    async fn push_beside(
        &self,
        connection: &mut AnyConnection,
        one: &mut OneTrace,
        object: &str,
        offset: i64,
        length: i64,
    ) -> Result<(), Problem> {
        let start = u64::try_from(offset).unwrap_or_default();
        let end = start + u64::try_from(length).unwrap_or_default();
        let Some((_, mut stream)) = self.objects.get(object, Some(start..end)).await? else { return Ok(()) };
        while let Some(chunk) = stream.next().await {
            one.pieces.push(&chunk.map_err(Problem::internal)?);
            one.insert_full(connection).await?;
        }
        Ok(())
    }
}

/// A trace that is being indexed.
#[derive(Default)]
struct OneTrace {
    trace: i64,
    inserted: i64,
    pieces: Pieces,
}

impl OneTrace {
    async fn insert_full(&mut self, connection: &mut AnyConnection) -> Result<(), Problem> {
        while let Some(piece) = self.pieces.full() {
            self.insert(connection, piece).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, connection: &mut AnyConnection) -> Result<(), Problem> {
        self.insert_full(connection).await?;
        if let Some(piece) = self.pieces.last() {
            self.insert(connection, piece).await?;
        }
        if self.inserted > 0 {
            sqlx::query("INSERT INTO indexed (trace_no, pieces) VALUES ($1, $2)")
                .bind(self.trace)
                .bind(self.inserted)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    async fn insert(&mut self, connection: &mut AnyConnection, piece: String) -> Result<(), Problem> {
        if self.inserted == PIECES_OF_TRACE {
            return Err(Problem::internal(format!("trace {} is too large for the index", self.trace)));
        }
        sqlx::query("INSERT INTO pieces (rowid, text) VALUES ($1, $2)")
            .bind(self.trace * PIECES_OF_TRACE + self.inserted)
            .bind(piece)
            .execute(connection)
            .await?;
        self.inserted += 1;
        Ok(())
    }
}

/// Takes traces out of the index.
async fn forget(connection: &mut AnyConnection, traces: &[i64]) -> Result<(), Problem> {
    let known: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT trace_no, pieces FROM indexed WHERE trace_no IN (SELECT value FROM json_each($1))",
    )
    .bind(many::list(traces))
    .fetch_all(&mut *connection)
    .await?;
    for (trace, pieces) in known {
        for piece in 0..pieces {
            sqlx::query("DELETE FROM pieces WHERE rowid = $1")
                .bind(trace * PIECES_OF_TRACE + piece)
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query("DELETE FROM indexed WHERE trace_no = $1").bind(trace).execute(&mut *connection).await?;
    }
    Ok(())
}
