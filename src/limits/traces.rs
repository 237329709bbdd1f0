//! The traces that an experiment holds, as the backend counts them, and what was started here since.
//!
//! With one replica nothing is started past this count, so that it never lets through more than the limit.
//! Where it is uncertain (a start whose answer did not come, one that was under way while the backend
//! counted) it counts too many rather than too few, and before anything is refused the backend is asked
//! again, at most once a second (four times with replicas). Replicas do not see each other's starts until they ask: each asks at least
//! once a second, and four times a second within the last twentieth of the limit. So all together pass it by
//! at most what the other replicas start within a quarter of a second, or within a second if that is more
//! than a twentieth of the limit.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Over, trace_key};
use crate::access::{ExperimentId, TraceId};
use crate::clock::{Clock, UnixMillis};

/// How old a count may be, in milliseconds: alone, with other replicas, and with others near the limit.
const OLDEST_ALONE_MS: i64 = 60_000;
const OLDEST_SHARED_MS: i64 = 1000;
const OLDEST_NEAR_MS: i64 = 250;
/// Between two counts because there seems to be no room, in milliseconds.
const PATIENCE_MS: i64 = 1000;
/// The part of the limit that is near it.
const NEAR: u64 = 20;

#[derive(Debug, Default, Clone)]
struct State {
    /// What the backend said, and what was started here since.
    counted: u64,
    /// Starts that are under way.
    reserved: u64,
    /// Starts that ended well, ever: what ended while the backend counted is added to its answer.
    landed: u64,
    asked_at: Option<i64>,
    /// Counted without knowing that they are new.
    unsure: u64,
    /// Something was deleted while the backend counted.
    forgotten: bool,
    turn: Arc<tokio::sync::Mutex<()>>,
}

pub(super) struct Held {
    shared: bool,
    states: Mutex<HashMap<ExperimentId, State>>,
}

/// Whether new traces may be started.
#[derive(Debug)]
pub enum Admission {
    Room(Reservation),
    /// Nothing was reserved. `missing` are those of the known traces that the backend does not hold.
    Full {
        over: Over,
        missing: Vec<TraceId>,
    },
}

impl Admission {
    pub fn unlimited() -> Self {
        Self::Room(Reservation::default())
    }
}

/// Room for traces that are being started. Dropped, they count as started: what the backend did not refuse
/// it may hold.
#[derive(Debug, Default)]
pub struct Reservation {
    of: Option<(Arc<Held>, ExperimentId, u64)>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Held")
    }
}

impl Reservation {
    /// The backend definitely did not take the traces.
    pub fn cancel(mut self) {
        if let Some((held, experiment, traces)) = self.of.take() {
            held.change(&experiment, |state| state.reserved -= traces.min(state.reserved));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some((held, experiment, traces)) = self.of.take() {
            held.change(&experiment, |state| {
                state.reserved -= traces.min(state.reserved);
                state.counted += traces;
                state.landed += traces;
            });
        }
    }
}

/// Traces that a write would start.
#[derive(Debug, Clone, Copy)]
pub struct NewTraces<'a> {
    pub experiment: &'a ExperimentId,
    /// How many nobody has seen before.
    pub fresh: u64,
    /// Those that have an owner already.
    pub known: &'a [TraceId],
}

enum Step {
    Room,
    Full,
    Ask,
}

impl State {
    fn total(&self) -> u64 {
        self.counted.saturating_add(self.reserved)
    }

    /// How old the count is, in milliseconds; a clock that went back makes it old.
    fn age(&self, now: UnixMillis) -> i64 {
        self.asked_at.filter(|at| *at <= now.0).map_or(i64::MAX, |at| now.0 - at)
    }
}

impl Held {
    pub fn new(shared: bool) -> Self {
        Self { shared, states: Mutex::default() }
    }

    /// Makes room for traces that are new for certain, and for `known` ones, which have an owner but may not
    /// be held: they were claimed for what never came, or deleted.
    pub async fn admit<E>(
        self: &Arc<Self>,
        new: &NewTraces<'_>,
        limit: u64,
        clock: &dyn Clock,
        count: impl AsyncFn() -> Result<u64, E>,
        holds: impl AsyncFn(&TraceId) -> Result<bool, E>,
    ) -> Result<Admission, E> {
        let NewTraces { experiment, fresh, known } = *new;
        let all = fresh + known.len() as u64;
        if all == 0 {
            return Ok(Admission::unlimited());
        }
        // Far from the limit the known ones are counted without asking, which is too many, and safe.
        if self.reserve_if_far(experiment, fresh, known.len() as u64, limit, clock.now()) {
            return Ok(Admission::Room(self.reservation(experiment, all)));
        }
        if self.is_unsure(experiment, clock.now()) {
            self.ask(experiment, clock, &count, None).await?;
            if self.reserve_if_far(experiment, fresh, known.len() as u64, limit, clock.now()) {
                return Ok(Admission::Room(self.reservation(experiment, all)));
            }
        }
        let mut missing = Vec::new();
        for trace in known {
            if !holds(trace).await? {
                missing.push(trace.clone());
            }
        }
        let wanted = fresh + missing.len() as u64;
        if wanted == 0 {
            return Ok(Admission::unlimited());
        }
        let mut asked = false;
        loop {
            match self.step(experiment, wanted, limit, clock.now(), asked) {
                Step::Room => return Ok(Admission::Room(self.reservation(experiment, wanted))),
                Step::Full => {
                    let retry_after_ms = PATIENCE_MS.unsigned_abs();
                    let over = Over { key: trace_key(experiment), value: limit, retry_after_ms };
                    return Ok(Admission::Full { over, missing });
                }
                Step::Ask => asked = self.ask(experiment, clock, &count, Some((wanted, limit))).await?,
            }
        }
    }

    /// Asks the backend, one call at a time; not if whoever was before brought the answer to what is wanted.
    async fn ask<E>(
        &self,
        experiment: &ExperimentId,
        clock: &dyn Clock,
        count: &impl AsyncFn() -> Result<u64, E>,
        wanted: Option<(u64, u64)>,
    ) -> Result<bool, E> {
        let turn = Arc::clone(&self.states.lock().entry(experiment.clone()).or_default().turn);
        let _turn = turn.lock().await;
        let landed = {
            let mut states = self.states.lock();
            let state = states.entry(experiment.clone()).or_default();
            if let Some((new, limit)) = wanted
                && !matches!(self.judge(state, new, limit, clock.now(), false), Step::Ask)
            {
                return Ok(false);
            }
            state.forgotten = false;
            state.landed
        };
        let answer = count().await?;
        let now = clock.now();
        self.change(experiment, |state| {
            state.counted = answer + (state.landed - landed);
            state.unsure = 0;
            // What was deleted meanwhile may be in the answer.
            state.asked_at = (!state.forgotten).then_some(now.0);
        });
        Ok(true)
    }

    fn reservation(self: &Arc<Self>, experiment: &ExperimentId, traces: u64) -> Reservation {
        Reservation { of: Some((Arc::clone(self), experiment.clone(), traces)) }
    }

    fn reserve_if_far(
        &self,
        experiment: &ExperimentId,
        fresh: u64,
        known: u64,
        limit: u64,
        now: UnixMillis,
    ) -> bool {
        let mut states = self.states.lock();
        let Some(state) = states.get_mut(experiment) else { return false };
        let total = state.total().saturating_add(fresh + known);
        let far = total <= limit - limit / NEAR;
        if !far || !matches!(self.judge(state, fresh + known, limit, now, false), Step::Room) {
            return false;
        }
        state.reserved += fresh + known;
        state.unsure += known;
        true
    }

    /// Whether the count is old, or holds traces that were counted without asking, and may be asked for again.
    fn is_unsure(&self, experiment: &ExperimentId, now: UnixMillis) -> bool {
        let states = self.states.lock();
        states.get(experiment).is_none_or(|state| {
            let oldest = match (state.unsure > 0, self.shared) {
                (true, _) => OLDEST_NEAR_MS,
                (false, true) => OLDEST_SHARED_MS,
                (false, false) => OLDEST_ALONE_MS,
            };
            state.age(now) >= oldest
        })
    }

    fn step(&self, experiment: &ExperimentId, new: u64, limit: u64, now: UnixMillis, asked: bool) -> Step {
        let mut states = self.states.lock();
        let state = states.entry(experiment.clone()).or_default();
        let step = self.judge(state, new, limit, now, asked);
        if matches!(step, Step::Room) {
            state.reserved += new;
        }
        step
    }

    fn judge(&self, state: &State, new: u64, limit: u64, now: UnixMillis, asked: bool) -> Step {
        let total = state.total().saturating_add(new);
        let fits = total <= limit;
        let oldest = match (fits, self.shared) {
            (false, false) => PATIENCE_MS,
            (false, true) => OLDEST_NEAR_MS,
            (true, false) => OLDEST_ALONE_MS,
            (true, true) if total > limit - limit / NEAR => OLDEST_NEAR_MS,
            (true, true) => OLDEST_SHARED_MS,
        };
        match (asked || state.age(now) < oldest, fits) {
            (true, true) => Step::Room,
            (true, false) => Step::Full,
            (false, _) => Step::Ask,
        }
    }

    pub fn forget(&self, experiment: &ExperimentId) {
        if let Some(state) = self.states.lock().get_mut(experiment) {
            state.asked_at = None;
            state.forgotten = true;
        }
    }

    fn change(&self, experiment: &ExperimentId, change: impl FnOnce(&mut State)) {
        change(self.states.lock().entry(experiment.clone()).or_default());
    }
}
