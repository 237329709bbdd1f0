//! Writes, committed many at once: what arrives while one transaction commits waits together and shares the
//! next, so that one `fsync` acknowledges all of it. A caller returns only once its own write is durable.
//!
//! SQLite has one writer, which is this task; each call of a batch runs in a savepoint, so that one that is
//! refused takes none of the others with it. PostgreSQL commits groups by itself: there each call has a
//! transaction of its own, and several replicas may write at once.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Executor as _};
use tokio::sync::{mpsc, oneshot};

use super::problem::{Code, Problem};
use crate::database::{Database, Dialect};

/// Calls that wait at most; more wait for a place.
const QUEUE: usize = 4096;
/// Calls that one transaction takes at most.
const BATCH: usize = 512;

/// Tells the caller, given what became of the transaction.
type Deliver = Box<dyn FnOnce(Result<(), Problem>) + Send>;
/// Runs a call on a connection; answers whether what it wrote is to be kept, and how to tell the caller.
type Job = Box<dyn for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, (bool, Deliver)> + Send>;

/// The way to write.
#[derive(Debug, Clone)]
pub struct Writer {
    database: Database,
    queue: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the task that commits; it ends with the last handle.
    pub fn start(database: Database) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        if database.dialect == Dialect::Sqlite {
            tokio::spawn(commit_batches(database.clone(), jobs));
        }
        Self { database, queue }
    }

    /// Runs `work` in a transaction and returns once it is durable. If it is refused, nothing of it is kept.
    /// `work` may be run beside that of other replicas: on PostgreSQL, lock the rows that are read to be
    /// written.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Problem>> + Send + 'static,
    {
        if self.database.dialect == Dialect::Postgres {
            let mut transaction = self.database.begin_write().await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await?;
            return Ok(done);
        }
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let done = work(connection).await;
                let keep = done.is_ok();
                let deliver: Deliver = Box::new(move |committed| {
                    let outcome = done.and_then(|done| committed.map(|()| done));
                    // The caller may have gone; what was committed stays.
                    drop(answer.send(outcome));
                });
                (keep, deliver)
            })
        });
        self.queue.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| Problem::internal("a write ended without an answer"))?
    }
}

fn stopped() -> Problem {
    Problem::new(Code::TemporarilyUnavailable, "the trace store is stopping")
}

async fn commit_batches(database: Database, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let mut delivered = Vec::with_capacity(batch.len());
        let committed = commit(&database, batch.drain(..), &mut delivered).await.map_err(Problem::from);
        for deliver in delivered {
            deliver(committed.clone());
        }
    }
}

/// One transaction of several calls. Whom to tell is left in `delivered`, whatever becomes of it.
async fn commit(
    database: &Database,
    jobs: impl Iterator<Item = Job>,
    delivered: &mut Vec<Deliver>,
) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin_write().await?;
    for job in jobs {
        transaction.execute("SAVEPOINT call").await?;
        let ran = AssertUnwindSafe(job(&mut transaction)).catch_unwind().await;
        let keep = matches!(ran, Ok((true, _)));
        if !keep {
            transaction.execute("ROLLBACK TO call").await?;
        }
        transaction.execute("RELEASE call").await?;
        match ran {
            Ok((_, deliver)) => delivered.push(deliver),
            Err(_) => tracing::error!("a write panicked and was rolled back"),
        }
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests;
