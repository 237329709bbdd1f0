//! Marks of traces that were written to and wait to be copied into their archive, and the batches that are.
//!
//! A mark is made before a write goes on, and is due once the write is over. What is read after a mark was taken into a
//! batch has that write in it; so a mark goes when its batch is in the table, and a write that comes meanwhile leaves a
//! mark of its own. A write of which nobody tells how it ended is looked at after a while, and again and again for as long
//! as one can take: it may go on.

use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::error::StoreError;
use super::{Store, rows};
use crate::access::{ExperimentId, TraceId};
use crate::clock::UnixMillis;
use crate::database::Dialect;

/// How long a write can take of which nobody tells how it ended, in milliseconds.
const LONGEST_WRITE_MS: i64 = 60 * 60 * 1000;
/// How often what such a write may have changed is looked at, in milliseconds.
const UNTOLD_MS: i64 = 120_000;
/// Marks in one statement.
const CHUNK: usize = 200;

/// An archive that this replica works on, until when others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub archive: String,
    pub holder: String,
    /// A batch of which nobody knows whether it is in the table.
    pub batch: Option<i64>,
    /// The last that is.
    pub done: Option<i64>,
    pub stopped: Option<String>,
}

/// Marks every trace that an experiment is known to have.
pub(super) async fn mark_all(
    transaction: &mut Transaction<'static, Any>,
    archive: &str,
    experiment: &ExperimentId,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO archive_marks (archive, trace, call, made_at_ms, ended, due_at_ms) \
         SELECT $1, trace, $2, $4, 1, $4 FROM trace_claims WHERE experiment = $3 \
         ON CONFLICT (archive, trace, call) DO NOTHING",
    )
    .bind(archive)
    .bind(format!("all-{}", uuid::Uuid::new_v4()))
    .bind(experiment.as_str())
    .bind(now.0)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Store {
    /// Marks traces before they are written to: each an archive and a trace. They are due at `due`, or once
    /// [`Store::end_marks`] says that the call is over.
    pub async fn mark_traces(
        &self,
        call: &str,
        marks: &[(String, TraceId)],
        now: UnixMillis,
        due: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().await?;
        for chunk in marks.chunks(CHUNK) {
            let values: Vec<String> = (0..chunk.len())
                .map(|row| format!("(${}, ${}, $1, $2, 0, $3)", row * 2 + 4, row * 2 + 5))
                .collect();
            let statement = format!(
                "INSERT INTO archive_marks (archive, trace, call, made_at_ms, ended, due_at_ms) VALUES {} \
                 ON CONFLICT (archive, trace, call) DO NOTHING",
                values.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(statement)).bind(call).bind(now.0).bind(due.0);
            for (archive, trace) in chunk {
                query = query.bind(archive.clone()).bind(trace.as_str().to_owned());
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The call is over: what it marked is due at `due`.
    pub async fn end_marks(&self, call: &str, due: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("UPDATE archive_marks SET ended = 1, due_at_ms = $2 WHERE call = $1")
            .bind(call)
            .bind(due.0)
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    /// Archives of which something is due, or that are to be looked through once more.
    pub async fn archives_due(&self, now: UnixMillis) -> Result<Vec<String>, StoreError> {
        let found = sqlx::query(
            "SELECT id FROM archives WHERE look_again_at_ms <= $1 OR batch IS NOT NULL OR EXISTS \
             (SELECT 1 FROM archive_marks WHERE archive = archives.id AND due_at_ms <= $1)",
        )
        .bind(now.0)
        .fetch_all(&self.database.reader)
        .await?;
        found.iter().map(|row| rows::text(row, "id")).collect()
    }

    /// Takes an archive for this replica until `until`, unless another has it.
    pub async fn hold_archive(
        &self,
        archive: &str,
        holder: &str,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<Option<Held>, StoreError> {
        let row = sqlx::query(
            "UPDATE archives SET holder = $2, held_until_ms = $4 WHERE id = $1 \
             AND (holder = $2 OR holder IS NULL OR held_until_ms <= $3) RETURNING batch, done, stopped",
        )
        .bind(archive)
        .bind(holder)
        .bind(now.0)
        .bind(until.0)
        .fetch_optional(&self.database.writer)
        .await?;
        row.map(|row| {
            Ok(Held {
                archive: archive.to_owned(),
                holder: holder.to_owned(),
                batch: row.try_get("batch")?,
                done: row.try_get("done")?,
                stopped: row.try_get("stopped")?,
            })
        })
        .transpose()
    }

    /// Gives up what this replica works on, for others to go on at once.
    pub async fn release_archives(&self, holder: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE archives SET holder = NULL, held_until_ms = 0 WHERE holder = $1")
            .bind(holder)
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    /// Gives up one archive.
    pub async fn release_archive(&self, held: &Held) -> Result<(), StoreError> {
        sqlx::query("UPDATE archives SET holder = NULL, held_until_ms = 0 WHERE id = $1 AND holder = $2")
            .bind(&held.archive)
            .bind(&held.holder)
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    /// Marks all of an experiment's traces again, if the time for it has come.
    pub async fn look_again(
        &self,
        held: &Held,
        experiment: &ExperimentId,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let due = sqlx::query(
            "UPDATE archives SET look_again_at_ms = NULL WHERE id = $1 AND holder = $2 AND look_again_at_ms <= $3",
        )
        .bind(&held.archive)
        .bind(&held.holder)
        .bind(now.0)
        .execute(&mut *transaction)
        .await?;
        if due.rows_affected() == 1 {
            mark_all(&mut transaction, &held.archive, experiment, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Begins a batch of at most `most` traces that are due, each with the time of the last write to it. None are: there
    /// is no batch.
    pub async fn begin_batch(
        &self,
        held: &Held,
        batch: i64,
        most: usize,
        now: UnixMillis,
    ) -> Result<Vec<(String, UnixMillis)>, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        if !still_held(&mut transaction, held, Some(batch)).await? {
            return Ok(Vec::new());
        }
        sqlx::query(
            "UPDATE archive_marks SET batch = $2, digest = NULL WHERE archive = $1 AND (ended > 0 OR due_at_ms <= $3) \
             AND trace IN (SELECT trace FROM archive_marks WHERE archive = $1 AND due_at_ms <= $3 \
             GROUP BY trace ORDER BY MIN(due_at_ms) LIMIT $4)",
        )
        .bind(&held.archive)
        .bind(batch)
        .bind(now.0)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
        let found = sqlx::query(
            "SELECT trace, MAX(made_at_ms) AS last FROM archive_marks WHERE archive = $1 AND batch = $2 \
             GROUP BY trace ORDER BY last, trace",
        )
        .bind(&held.archive)
        .bind(batch)
        .fetch_all(&mut *transaction)
        .await?;
        let read = |row| Ok((rows::text(row, "trace")?, rows::time(row, "last")?));
        let traces: Vec<(String, UnixMillis)> = found.iter().map(read).collect::<Result<_, StoreError>>()?;
        if traces.is_empty() {
            transaction.rollback().await?;
            return Ok(traces);
        }
        transaction.commit().await?;
        Ok(traces)
    }

    /// What the archive's table has of these traces: a digest each.
    pub async fn archived_digests(
        &self,
        archive: &str,
        traces: &[String],
    ) -> Result<Vec<(String, String)>, StoreError> {
        let statement = format!(
            "SELECT trace, digest FROM archived_traces WHERE archive = $1 AND trace IN {}",
            self.texts(2)
        );
        let found = sqlx::query(AssertSqlSafe(statement))
            .bind(archive)
            .bind(serde_json::to_string(traces).unwrap_or_default())
            .fetch_all(&self.database.reader)
            .await?;
        found.iter().map(|row| Ok((rows::text(row, "trace")?, rows::text(row, "digest")?))).collect()
    }

    /// Takes traces out of a batch, to be looked at again at `due`: because they did not end yet, or for another reason.
    pub async fn postpone(
        &self,
        held: &Held,
        batch: i64,
        traces: &[String],
        due: UnixMillis,
        unended: bool,
    ) -> Result<(), StoreError> {
        let ended = if unended { 2 } else { 1 };
        let statement = format!(
            "UPDATE archive_marks SET batch = NULL, due_at_ms = $3, ended = {ended} \
             WHERE archive = $1 AND batch = $2 AND trace IN {}",
            self.texts(4)
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(&held.archive)
            .bind(batch)
            .bind(due.0)
            .bind(serde_json::to_string(traces).unwrap_or_default())
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    /// Notes what the rows of a batch say, before they are written. Whether the batch is still this replica's.
    pub async fn note_digests(
        &self,
        held: &Held,
        batch: i64,
        digests: &[(String, String)],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        if !still_held(&mut transaction, held, Some(batch)).await? {
            return Ok(false);
        }
        for (trace, digest) in digests {
            sqlx::query(
                "UPDATE archive_marks SET digest = $4 WHERE archive = $1 AND batch = $2 AND trace = $3",
            )
            .bind(&held.archive)
            .bind(batch)
            .bind(trace)
            .bind(digest)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The batch is over. `written` tells whether its rows are in the table; then their marks go.
    pub async fn end_batch(
        &self,
        held: &Held,
        batch: i64,
        written: bool,
        done: Option<i64>,
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let of_batch = sqlx::query(
            "UPDATE archives SET batch = NULL, done = $4 WHERE id = $1 AND holder = $2 AND batch = $3",
        )
        .bind(&held.archive)
        .bind(&held.holder)
        .bind(batch)
        .bind(done)
        .execute(&mut *transaction)
        .await?;
        if of_batch.rows_affected() == 0 {
            return Ok(0);
        }
        if !written {
            sqlx::query(
                "UPDATE archive_marks SET batch = NULL, digest = NULL WHERE archive = $1 AND batch = $2",
            )
            .bind(&held.archive)
            .bind(batch)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            return Ok(0);
        }
        let copied = sqlx::query(
            "INSERT INTO archived_traces (archive, trace, digest) SELECT DISTINCT archive, trace, digest \
             FROM archive_marks WHERE archive = $1 AND batch = $2 AND digest IS NOT NULL \
             ON CONFLICT (archive, trace) DO UPDATE SET digest = excluded.digest",
        )
        .bind(&held.archive)
        .bind(batch)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        // A write that goes on longer than anybody thought is looked at again, for as long as one can take.
        sqlx::query(
            "UPDATE archive_marks SET batch = NULL, digest = NULL, ended = 3, due_at_ms = $4 \
             WHERE archive = $1 AND batch = $2 AND ended IN (0, 3) AND made_at_ms > $3",
        )
        .bind(&held.archive)
        .bind(batch)
        .bind(now.0 - LONGEST_WRITE_MS)
        .bind(now.0 + UNTOLD_MS)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM archive_marks WHERE archive = $1 AND batch = $2")
            .bind(&held.archive)
            .bind(batch)
            .execute(&mut *transaction)
            .await?;
        if copied > 0 {
            sqlx::query("UPDATE archives SET copied = copied + $2, copied_at_ms = $3 WHERE id = $1")
                .bind(&held.archive)
                .bind(i64::try_from(copied).unwrap_or(i64::MAX))
                .bind(now.0)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(copied)
    }

    /// Says why nothing is copied, or that all is well again.
    pub async fn stop_archive(&self, held: &Held, why: Option<&str>) -> Result<(), StoreError> {
        sqlx::query("UPDATE archives SET stopped = $3 WHERE id = $1 AND holder = $2")
            .bind(&held.archive)
            .bind(&held.holder)
            .bind(why)
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    /// Of each archive: its experiment, why it is stopped, and since when the first write waits for it.
    pub async fn archive_lags(
        &self,
    ) -> Result<Vec<(ExperimentId, Option<String>, Option<UnixMillis>)>, StoreError> {
        let found = sqlx::query(
            "SELECT experiment, stopped, (SELECT MIN(made_at_ms) FROM archive_marks \
             WHERE archive = archives.id AND ended < 2) AS since FROM archives",
        )
        .fetch_all(&self.database.reader)
        .await?;
        let read = |row: &AnyRow| {
            Ok((
                rows::experiment(row, "experiment")?,
                row.try_get("stopped")?,
                rows::optional_time(row, "since")?,
            ))
        };
        found.iter().map(read).collect()
    }

    /// A subquery that yields the texts of the JSON list in parameter `number`.
    fn texts(&self, number: usize) -> String {
        match self.database.dialect {
            Dialect::Sqlite => format!("(SELECT value FROM json_each(${number}))"),
            Dialect::Postgres => format!("(SELECT json_array_elements_text(CAST(${number} AS json)))"),
        }
    }
}

/// Whether the archive is still this replica's; if so, `batch` is the one that it works on.
async fn still_held(
    transaction: &mut Transaction<'static, Any>,
    held: &Held,
    batch: Option<i64>,
) -> Result<bool, StoreError> {
    let row: Option<AnyRow> =
        sqlx::query("UPDATE archives SET batch = $3 WHERE id = $1 AND holder = $2 RETURNING id")
            .bind(&held.archive)
            .bind(&held.holder)
            .bind(batch)
            .fetch_optional(&mut **transaction)
            .await?;
    Ok(row.is_some())
}
