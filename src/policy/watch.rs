//! casbin watches: a sample of live decisions is made again by casbin, off the request's way. Should the two ever
//! differ, casbin's answer is served from then on, and the alarm is loud.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::question::Question;
use super::snapshot::Snapshot;
use crate::access::{Caller, Check};
use crate::clock::UnixMillis;

/// Decisions that may wait to be made again; more are not sampled.
const WAITING: usize = 1024;

struct Sampled {
    snapshot: Arc<Snapshot>,
    caller: Caller,
    check: Check,
    now: UnixMillis,
    allowed: bool,
}

#[derive(Default)]
struct Counts {
    decided: AtomicU64,
    compared: AtomicU64,
    mismatched: AtomicU64,
    distrusted: AtomicBool,
}

/// How often casbin was asked, and how often it said something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    pub compared: u64,
    pub mismatched: u64,
}

pub(super) struct Watch {
    counts: Arc<Counts>,
    /// Of so many decisions one is made again; 0 for none.
    every: u64,
    sender: Option<SyncSender<Sampled>>,
}

impl Watch {
    pub fn start(every: u64) -> Self {
        let counts = Arc::new(Counts::default());
        if every == 0 {
            return Self { counts, every, sender: None };
        }
        let (sender, receiver) = sync_channel::<Sampled>(WAITING);
        let counting = Arc::clone(&counts);
        // Ends when the last sender is gone.
        std::thread::spawn(move || {
            for sampled in receiver {
                compare(&sampled, &counting);
            }
        });
        Self { counts, every, sender: Some(sender) }
    }

    /// Whether casbin has to decide, since the engine was found wrong.
    pub fn distrusted(&self) -> bool {
        self.counts.distrusted.load(Ordering::Relaxed)
    }

    pub fn compared(&self) -> Compared {
        Compared {
            compared: self.counts.compared.load(Ordering::Relaxed),
            mismatched: self.counts.mismatched.load(Ordering::Relaxed),
        }
    }

    /// Notes a decision that the engine made.
    pub fn made(
        &self,
        snapshot: &Arc<Snapshot>,
        caller: &Caller,
        check: &Check,
        now: UnixMillis,
        allowed: bool,
    ) {
        let Some(sender) = &self.sender else { return };
        if !self.counts.decided.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return;
        }
        let sampled = Sampled {
            snapshot: Arc::clone(snapshot),
            caller: caller.clone(),
            check: check.clone(),
            now,
            allowed,
        };
        // A full queue means that casbin is busy enough.
        let _ = sender.try_send(sampled);
    }

    /// Stops trusting the engine.
    pub fn alarm(&self, caller: &Caller, check: &Check, version: i64, problem: &str) {
        raise(&self.counts, caller, check, version, problem);
    }
}

fn compare(sampled: &Sampled, counts: &Counts) {
    let Sampled { snapshot, caller, check, now, allowed } = sampled;
    let casbins = Question::new(snapshot, caller, *now).casbins(check);
    counts.compared.fetch_add(1, Ordering::Relaxed);
    match casbins {
        Ok(answer) if answer.allowed == *allowed => {}
        Ok(_) => raise(counts, caller, check, snapshot.version(), "casbin decides otherwise"),
        Err(error) => tracing::warn!(%error, "casbin could not be asked about a sampled decision"),
    }
}

fn raise(counts: &Counts, caller: &Caller, check: &Check, version: i64, problem: &str) {
    counts.mismatched.fetch_add(1, Ordering::Relaxed);
    counts.distrusted.store(true, Ordering::Relaxed);
    tracing::error!(
        principal = %caller.principal,
        privilege = %check.privilege,
        securable = %check.securable,
        policy_version = version,
        "ALARM: the policy engine is wrong ({problem}); casbin decides every call until a restart. Report this."
    );
}
