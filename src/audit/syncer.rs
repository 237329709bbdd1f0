//! The thread that forces segments to the disk.
//!
//! It is apart from the writer so that reads, which need no fsync, do not wait for the fsyncs of
//! mutations. Everything that gathered while one fsync ran shares the next.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::segment::SegmentFile;
use super::state::SpoolState;
use crate::access::AuditError;

/// Whoever waits for a record: answered with the record's seq.
pub struct Waiter {
    pub seq: u64,
    pub reply: oneshot::Sender<Result<u64, AuditError>>,
}

impl Waiter {
    pub fn answer(self, result: Result<(), AuditError>) {
        // A caller that went away has been told nothing, so it relies on nothing.
        let _ = self.reply.send(result.map(|()| self.seq));
    }
}

/// Asks for the file as it is now to be forced to the disk before the waiters are answered.
pub struct SyncRequest {
    pub file: Arc<dyn SegmentFile>,
    pub waiters: Vec<Waiter>,
}

pub struct Syncer {
    requests: Option<mpsc::Sender<SyncRequest>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub fn start(state: Arc<SpoolState>) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("audit-syncer".to_owned()).spawn(move || run(&queue, &state))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Answers the waiters once everything written to `file` so far is on the disk. The queue has no
    /// bound of its own; each of its members is a caller that waits.
    pub fn sync(&self, request: SyncRequest) {
        if let Some(requests) = &self.requests {
            // A thread that is gone drops the request, and with it the waiters, who see an error.
            let _ = requests.send(request);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn stopped() -> AuditError {
    AuditError("the audit spool is closed".to_owned())
}

fn run(queue: &mpsc::Receiver<SyncRequest>, state: &SpoolState) {
    let mut gather = Gather::default();
    while let Ok(SyncRequest { file, mut waiters }) = queue.recv() {
        gather.pause();
        let mut pending = vec![file];
        for request in queue.try_iter() {
            if !pending.iter().any(|file| Arc::ptr_eq(file, &request.file)) {
                pending.push(request.file);
            }
            waiters.extend(request.waiters);
        }
        let begun = Instant::now();
        for file in pending {
            if let Err(error) = file.sync() {
                state.fail(format!("a segment cannot be forced to the disk: {error}"));
            }
        }
        gather.synced(waiters.len(), begun.elapsed());
        let result = state.check();
        for waiter in waiters {
            waiter.answer(result.clone());
        }
    }
}

/// How long to wait for company before an fsync.
///
/// Those whom one fsync answered come back together, and the first of them would have one to itself while
/// all others wait for the next: two for what one could do. So after one that answered several, the next
/// waits for a part of what it takes itself. Who is alone waits for nobody.
#[derive(Default)]
struct Gather {
    pause: Duration,
}

impl Gather {
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, which nothing async runs on")]
    fn pause(&self) {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
    }

    fn synced(&mut self, answered: usize, took: Duration) {
        self.pause = if answered > 1 { (took / 4).min(LONGEST_PAUSE) } else { Duration::ZERO };
    }
}

/// On a disk whose fsync takes long, what a caller waits for is long enough.
const LONGEST_PAUSE: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_had_company_waits_for_it_and_never_long() {
        let mut gather = Gather::default();
        let millis = Duration::from_millis;
        for (answered, took, pause) in [
            (1, millis(1), Duration::ZERO),
            (64, millis(1), Duration::from_micros(250)),
            (64, millis(900), LONGEST_PAUSE),
            (1, millis(900), Duration::ZERO),
        ] {
            gather.synced(answered, took);
            assert_eq!(gather.pause, pause, "{answered} {took:?}");
        }
    }
}
