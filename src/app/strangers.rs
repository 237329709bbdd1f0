//! Refusals of nobody in particular: failed logins, and calls without a credential. Anybody can cause them
//! as fast as he likes, so that a record each, forced to the disk, would fill it. The first few of an
//! address and of a minute get a record each; the others are counted, and the counts are recorded once a
//! minute, so that none goes unmentioned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::App;
use crate::access::{AuditError, Durability, Event, EventId, EventKind, Outcome, RequestContext, Verdict};
use crate::clock::UnixMillis;

const MINUTE_MS: i64 = 60_000;
/// Records of their own that refusals of one address get in a minute.
const OF_ONE_ADDRESS: u32 = 10;
/// Records of their own that all such refusals get in a minute.
const OF_ALL: u32 = 120;
/// Addresses that are counted one by one in a minute; all others are counted together.
const ADDRESSES: usize = 100;

#[derive(Default)]
pub struct Strangers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the minute began.
    began: i64,
    recorded: u32,
    recorded_of: HashMap<String, u32>,
    /// Refusals without a record, by address and by how they were refused.
    counted: HashMap<(Option<String>, Kind), u64>,
}

/// How somebody was refused: a bad credential and a store that cannot say who calls are not one thing to whoever
/// reads the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub status: u16,
    pub outcome: Outcome,
}

impl Strangers {
    /// Whether a refusal gets a record of its own. If not, it is counted.
    pub fn admit(&self, address: Option<&str>, kind: Kind, now: UnixMillis) -> bool {
        let mut state = self.state.lock();
        if !(0..MINUTE_MS).contains(&(now.0 - state.began)) {
            state.began = now.0;
            state.recorded = 0;
            state.recorded_of.clear();
        }
        let address = address.unwrap_or_default();
        // At most one entry for each record, so this cannot grow without end.
        let of_address = state.recorded_of.get(address).copied().unwrap_or_default();
        if state.recorded < OF_ALL && of_address < OF_ONE_ADDRESS {
            state.recorded += 1;
            state.recorded_of.insert(address.to_owned(), of_address + 1);
            return true;
        }
        let known = (Some(address.to_owned()), kind);
        let key = if state.counted.contains_key(&known) || state.counted.len() < ADDRESSES {
            known
        } else {
            (None, kind)
        };
        *state.counted.entry(key).or_default() += 1;
        false
    }

    /// The refusals without a record since this was last asked, by address and kind; without an address those
    /// beyond what is counted one by one.
    fn take(&self) -> Vec<((Option<String>, Kind), u64)> {
        let mut counted: Vec<_> = std::mem::take(&mut self.state.lock().counted).into_iter().collect();
        counted.sort();
        counted
    }

    /// Counts again what could not be recorded.
    fn give_back(&self, counted: impl IntoIterator<Item = ((Option<String>, Kind), u64)>) {
        let mut state = self.state.lock();
        for (key, times) in counted {
            *state.counted.entry(key).or_default() += times;
        }
    }
}

impl App {
    /// Records how many refusals got no record of their own.
    pub async fn record_strangers(&self) -> Result<(), AuditError> {
        let mut counted = self.strangers.take().into_iter();
        while let Some(((address, kind), times)) = counted.next() {
            let decision_id = uuid::Uuid::now_v7();
            let event = Event {
                id: EventId(decision_id),
                kind: EventKind::Complete,
                time: self.clock.now(),
                principal: None,
                proof: None,
                actor: None,
                request: RequestContext {
                    source_address: address.clone().filter(|address| !address.is_empty()),
                    ..RequestContext::default()
                },
                operation: "unknown".to_owned(),
                securables: Vec::new(),
                privileges: Vec::new(),
                decision_id: decision_id.to_string(),
                decision: Verdict::Deny,
                deciding_grants: Vec::new(),
                policy_version: self.policy.version(),
                outcome: kind.outcome,
                status: Some(kind.status),
                reason: Some("more calls of nobody in particular than get a record each".to_owned()),
                bytes_in: 0,
                bytes_out: 0,
                duration_us: 0,
                trace_ids: Vec::new(),
                sight: None,
                listed_trace_ids: Vec::new(),
                question: std::collections::BTreeMap::new(),
                claimed: None,
                shadowed: Vec::new(),
                repeated: Some(times),
                policy_change: None,
            };
            if let Err(error) = self.audit.append(event, Durability::Written).await {
                self.strangers.give_back(std::iter::once(((address, kind), times)).chain(counted));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Records these counts once a minute, until the task is aborted.
    pub async fn keep_count_of_strangers(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(MINUTE_MS.unsigned_abs())).await;
            if let Err(error) = self.record_strangers().await {
                tracing::error!(%error, "the count of refused calls could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED_LOGIN: Kind = Kind { status: 401, outcome: Outcome::Refused };
    const OUTAGE: Kind = Kind { status: 503, outcome: Outcome::Failed };

    #[test]
    fn a_flood_gets_few_records_and_an_exact_count() {
        let strangers = Strangers::default();
        let start = 1_000_000;
        let mut recorded = 0_u64;
        // Ten thousand a minute, from one address and from ever new ones.
        for number in 0..10_000 {
            let address = if number % 2 == 0 { "192.0.2.1".to_owned() } else { format!("address {number}") };
            recorded += u64::from(strangers.admit(Some(&address), FAILED_LOGIN, UnixMillis(start + number)));
        }
        let counted = strangers.take();
        assert_eq!(recorded, u64::from(OF_ALL));
        assert!(counted.len() <= ADDRESSES + 1, "{}", counted.len());
        assert_eq!(recorded + counted.iter().map(|(_, times)| times).sum::<u64>(), 10_000);
        assert!(strangers.take().is_empty());
    }

    #[test]
    fn one_address_does_not_use_up_what_others_get() {
        let strangers = Strangers::default();
        let admitted = |address: &str, time| strangers.admit(Some(address), FAILED_LOGIN, UnixMillis(time));
        assert_eq!((0..50).filter(|_| admitted("192.0.2.1", 5)).count(), OF_ONE_ADDRESS as usize);
        assert!(admitted("192.0.2.2", 5));
        // A minute later, and after a clock that was set back.
        assert!(admitted("192.0.2.1", 5 + MINUTE_MS));
        assert!(admitted("192.0.2.1", 1));
    }

    #[test]
    fn an_outage_is_not_counted_as_failed_logins_and_a_count_that_was_not_recorded_is_kept() {
        let strangers = Strangers::default();
        for number in 0..40 {
            let kind = if number % 4 == 0 { FAILED_LOGIN } else { OUTAGE };
            strangers.admit(Some("192.0.2.1"), kind, UnixMillis(5));
        }
        let counted = strangers.take();
        let of = |kind| counted.iter().find(|((_, of), _)| *of == kind).map(|(_, times)| *times);
        assert_eq!((of(FAILED_LOGIN), of(OUTAGE)), (Some(7), Some(23)));
        strangers.give_back(counted.clone());
        strangers.admit(Some("192.0.2.1"), OUTAGE, UnixMillis(6));
        assert_eq!(strangers.take(), [counted[0].clone(), ((Some("192.0.2.1".to_owned()), OUTAGE), 24)]);
    }
}
