//! Group commit of claims: while one transaction commits, the claims that arrive wait together and then
//! share the next. Each caller still returns only once its own claim is committed.

use tokio::sync::{mpsc, oneshot};

use super::claims::{self, Claim, Wanted};
use super::error::StoreError;
use crate::database::Database;

/// Calls that wait at most; more wait for a place.
const QUEUE: usize = 1024;
/// Traces in one transaction at most, unless one call alone brings more.
const BATCH: usize = 1000;

type Answer = Result<Vec<Claim>, StoreError>;

struct Request {
    wanted: Vec<Wanted>,
    answer: oneshot::Sender<Answer>,
}

/// The way to the task that commits; the task ends with the last handle.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    requests: mpsc::Sender<Request>,
}

impl Claims {
    pub fn start(database: Database) -> Self {
        let (requests, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(database, waiting));
        Self { requests }
    }

    pub async fn submit(&self, wanted: Vec<Wanted>) -> Answer {
        let closed = || StoreError::Unavailable("the store is closing".to_owned());
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { wanted, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

async fn run(database: Database, mut waiting: mpsc::Receiver<Request>) {
    while let Some(first) = waiting.recv().await {
        let mut traces = first.wanted.len();
        let mut batch = vec![first];
        while traces < BATCH
            && let Ok(next) = waiting.try_recv()
        {
            traces += next.wanted.len();
            batch.push(next);
        }
        commit(&database, batch).await;
    }
}

async fn commit(database: &Database, batch: Vec<Request>) {
    let together: Vec<Wanted> = batch.iter().flat_map(|request| request.wanted.iter().cloned()).collect();
    match claims::commit(database, &together).await {
        Ok(all) => {
            let mut all = all.into_iter();
            for request in batch {
                let own = all.by_ref().take(request.wanted.len()).collect();
                // A caller that went away is no reason to undo its claim.
                let _ = request.answer.send(Ok(own));
            }
        }
        // One bad member spoils the transaction for all: each is tried by itself, unless nobody can be.
        Err(error) if batch.len() > 1 && !matches!(error, StoreError::Unavailable(_)) => {
            for request in batch {
                let _ = request.answer.send(claims::commit(database, &request.wanted).await);
            }
        }
        Err(error) => {
            for request in batch {
                let _ = request.answer.send(Err(error.clone()));
            }
        }
    }
}
