//! Makes checkpoints by the clock, puts what was signed into the ledger and tells the mirror.
//!
//! It is a task of its own, so that no call ever waits for it. What the writer signs at other times (a
//! new segment, the end) passes through here too.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::ledger;
use super::mirror::Mirror;
use super::spool::Spool;

/// How long something signed may wait for the ledger, and how often a full disk is tried again.
const LOOK: Duration = Duration::from_secs(2);

/// The way from the writer to the ledger; one publication at a time.
pub struct Outlet {
    pub directory: PathBuf,
    pub spool: Arc<Spool>,
    pub mirror: Option<Arc<Mirror>>,
    pub one_at_a_time: Mutex<()>,
}

impl Outlet {
    /// Puts what was signed into the ledger, once it is on the disk as part of the chain.
    pub async fn publish(&self) -> io::Result<()> {
        let _alone = self.one_at_a_time.lock().await;
        let lines = self.spool.signed().lock().clone();
        if lines.is_empty() {
            return Ok(());
        }
        // A spool that closed is on the disk; one that failed is left to the next start.
        if self.spool.state().is_open() {
            self.spool.sync().await.map_err(io::Error::other)?;
        } else {
            self.spool.state().check().map_err(io::Error::other)?;
        }
        let (directory, count) = (self.directory.clone(), lines.len());
        let append = move || ledger::append(&directory, &lines);
        tokio::task::spawn_blocking(append).await.map_err(io::Error::other)??;
        self.spool.signed().lock().drain(..count);
        if let Some(mirror) = &self.mirror {
            mirror.more(count as u64);
        }
        Ok(())
    }
}

pub struct Publisher {
    pub outlet: Arc<Outlet>,
    pub key_file: PathBuf,
    pub every: Duration,
    /// The spool is closed: publish what is left, then stop.
    pub finish: watch::Receiver<bool>,
}

impl Publisher {
    pub async fn run(mut self) {
        let mut due = Instant::now() + self.every;
        loop {
            let finishing = *self.finish.borrow_and_update();
            // By the monotonic clock: one that is set back puts no checkpoint off.
            if !finishing && Instant::now() >= due {
                due = Instant::now() + self.every;
                if let Err(error) = self.outlet.spool.checkpoint(&self.key_file) {
                    tracing::warn!(%error, "no checkpoint could be made");
                }
            }
            if let Err(error) = self.outlet.publish().await {
                tracing::warn!(%error, "checkpoints wait for the file beside the record");
            }
            if finishing {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = self.finish.changed() => {}
            }
        }
    }
}
