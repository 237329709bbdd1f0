//! Statements that run or have run on this replica, and their results for a time: each its caller's own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::access::Principal;
use crate::config::lake::LakeConfig;
use crate::lake::arrow::array::RecordBatch;
use crate::lake::arrow::datatypes::SchemaRef;
use crate::lake::sql::{Function, TableName};

/// How a caller wants its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonArray,
    ArrowStream,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub format: Format,
    /// By links instead of in the answer.
    pub links: bool,
}

/// A name that was decided about for a statement, and what it meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub name: TableName,
    pub through: Vec<TableName>,
    /// The object, its place and its rules. What reads otherwise now is not what the rows were read from.
    pub meaning: String,
}

/// All that a statement's rows depend on besides the data. Whoever fetches them must still have it.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    pub touched: Vec<Touched>,
    /// The functions that were called by name, and what each was.
    pub functions: BTreeMap<TableName, Function>,
    /// What was answered of memberships.
    pub members: BTreeMap<String, bool>,
    /// Securables and privileges that were asked for, for the record.
    pub demands: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: &'static str,
    pub sql_state: &'static str,
    pub message: String,
}

/// Rows in memory, in pieces of an answer.
#[derive(Debug)]
pub struct Rows {
    pub schema: SchemaRef,
    pub chunks: Vec<RecordBatch>,
    pub bytes: usize,
    pub truncated: bool,
    pub witness: Witness,
}

#[derive(Debug, Clone)]
pub enum State {
    Running,
    Succeeded(Arc<Rows>),
    Failed(Failure),
    Canceled,
    /// Its rows were given up for others of the same caller, or are too old.
    Closed,
}

impl State {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded(_) => "SUCCEEDED",
            Self::Failed(_) => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Closed => "CLOSED",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Succeeded(rows) => rows.bytes,
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub struct Statement {
    pub id: String,
    pub owner: Principal,
    pub delivery: Delivery,
    state: watch::Sender<State>,
    began: Instant,
    work: Mutex<Option<tokio::task::AbortHandle>>,
    /// Held once more by whoever works for it.
    busy: Arc<()>,
}

impl Statement {
    /// Waits until it has ended, and answers in which state.
    pub async fn end_of(self: Arc<Self>) -> &'static str {
        let mut watched = self.state.subscribe();
        drop(watched.wait_for(|state| !matches!(state, State::Running)).await);
        self.state().as_str()
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), State::Running)
    }

    /// To be held for as long as a thread works for it.
    pub fn busy(&self) -> Arc<()> {
        Arc::clone(&self.busy)
    }

    /// Whether it takes a place. One that was given up does so until the thread that works for it is free.
    fn takes_a_place(&self) -> bool {
        match *self.state.borrow() {
            State::Running => true,
            State::Succeeded(_) => false,
            _ => Arc::strong_count(&self.busy) > 1,
        }
    }

    /// Waits until it has ended, at most so long.
    pub async fn ended(&self, at_most: Duration) -> State {
        let mut watched = self.state.subscribe();
        let ended = watched.wait_for(|state| !matches!(state, State::Running));
        drop(tokio::time::timeout(at_most, ended).await);
        self.state()
    }

    /// The first end counts: what was canceled does not succeed later. Whether this was it.
    fn end(&self, state: State) -> bool {
        self.state.send_if_modified(|now| {
            let running = matches!(now, State::Running);
            if running {
                *now = state;
            }
            running
        })
    }

    /// The task that computes it, which cancelling ends.
    pub fn worked_by(&self, work: tokio::task::AbortHandle) {
        *self.work.lock() = Some(work);
        if !self.is_running() {
            self.stop();
        }
    }

    fn stop(&self) {
        if let Some(work) = self.work.lock().take() {
            work.abort();
        }
    }
}

/// Why a statement is not taken: which limit, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    OfPrincipal(usize),
    OfAll(usize),
    Stopping,
}

#[derive(Debug)]
pub struct Statements {
    known: Mutex<Known>,
    /// Of this replica, in the ids of its statements.
    mark: String,
    at_once: usize,
    per_principal: usize,
    result_bytes: usize,
    result_bytes_per_principal: usize,
    kept: Duration,
}

#[derive(Debug, Default)]
struct Known {
    statements: HashMap<String, Arc<Statement>>,
    stopping: bool,
}

/// Ended statements that are remembered of one caller.
const REMEMBERED: usize = 1_000;

impl Statements {
    pub fn new(config: &LakeConfig, replica: &str) -> Self {
        use sha2::Digest;
        Self {
            known: Mutex::default(),
            mark: hex::encode(&sha2::Sha256::digest(replica)[..4]),
            at_once: config.queries,
            per_principal: config.queries_per_principal,
            result_bytes: config.result_bytes,
            result_bytes_per_principal: config.result_bytes_per_principal,
            kept: Duration::from_secs(config.result_seconds),
        }
    }

    /// Takes a statement in, if its caller and all together have room for one more.
    pub fn begin(&self, owner: &Principal, delivery: Delivery) -> Result<Arc<Statement>, Full> {
        let mut known = self.known.lock();
        if known.stopping {
            return Err(Full::Stopping);
        }
        self.forget_old(&mut known);
        let running = || known.statements.values().filter(|statement| statement.takes_a_place());
        if running().filter(|statement| statement.owner == *owner).count() >= self.per_principal {
            return Err(Full::OfPrincipal(self.per_principal));
        }
        if running().count() >= self.at_once {
            return Err(Full::OfAll(self.at_once));
        }
        let statement = Arc::new(Statement {
            id: format!("{}-{}", self.mark, uuid::Uuid::new_v4()),
            owner: owner.clone(),
            delivery,
            state: watch::Sender::new(State::Running),
            began: Instant::now(),
            work: Mutex::default(),
            busy: Arc::default(),
        });
        known.statements.insert(statement.id.clone(), Arc::clone(&statement));
        Ok(statement)
    }

    /// Ends a statement. Rows for which there is no room make older ones of the same caller go, and fail otherwise.
    pub fn end(&self, statement: &Statement, state: State) {
        let mut known = self.known.lock();
        let bytes = state.bytes();
        let state = match self.make_room(&mut known, &statement.owner, bytes) {
            true => state,
            false => State::Failed(Failure {
                code: "RESOURCE_EXHAUSTED",
                sql_state: "53000",
                message: format!(
                    "[RESULT_TOO_LARGE] {bytes} bytes of rows do not fit beside the results that are kept; ask for \
                     fewer, or an administrator can raise `lake.result_bytes_per_principal` and `lake.result_bytes`"
                ),
            }),
        };
        statement.end(state);
    }

    fn make_room(&self, known: &mut Known, owner: &Principal, bytes: usize) -> bool {
        if bytes > self.result_bytes_per_principal || bytes > self.result_bytes {
            return false;
        }
        let mut own: Vec<Arc<Statement>> =
            known.statements.values().filter(|one| one.owner == *owner).cloned().collect();
        own.sort_by_key(|one| one.began);
        let mut held: usize = own.iter().map(|one| one.state().bytes()).sum();
        let mut all: usize = known.statements.values().map(|one| one.state().bytes()).sum();
        for older in own {
            if held + bytes <= self.result_bytes_per_principal && all + bytes <= self.result_bytes {
                break;
            }
            let freed = older.state().bytes();
            if freed > 0 {
                older.state.send_replace(State::Closed);
                held -= freed;
                all -= freed;
            }
        }
        all + bytes <= self.result_bytes
    }

    fn forget_old(&self, known: &mut Known) {
        known.statements.retain(|_, one| one.takes_a_place() || one.began.elapsed() < self.kept);
        let mut ended: HashMap<&Principal, Vec<&Arc<Statement>>> = HashMap::new();
        for one in known.statements.values().filter(|one| !one.takes_a_place()) {
            ended.entry(&one.owner).or_default().push(one);
        }
        let mut surplus = Vec::new();
        for mut of_one in ended.into_values().filter(|of_one| of_one.len() > REMEMBERED) {
            of_one.sort_by_key(|one| one.began);
            surplus.extend(of_one[..of_one.len() - REMEMBERED].iter().map(|one| one.id.clone()));
        }
        surplus.iter().for_each(|id| drop(known.statements.remove(id)));
    }

    /// The caller's own statement of this id. Another's is none.
    pub fn of(&self, owner: &Principal, id: &str) -> Option<Arc<Statement>> {
        let mut known = self.known.lock();
        self.forget_old(&mut known);
        known.statements.get(id).filter(|statement| statement.owner == *owner).cloned()
    }

    /// Whether another replica gave out this id.
    pub fn is_of_another(&self, id: &str) -> bool {
        let well_formed = id.len() == 45 && id.as_bytes().get(8) == Some(&b'-');
        well_formed && !id.starts_with(&self.mark)
    }

    pub fn cancel(&self, statement: &Statement) {
        statement.end(State::Canceled);
        statement.stop();
    }

    /// Ends what runs and takes nothing more in.
    pub fn stop(&self) {
        let running: Vec<Arc<Statement>> = {
            let mut known = self.known.lock();
            known.stopping = true;
            known.statements.values().filter(|one| one.is_running()).cloned().collect()
        };
        running.iter().for_each(|one| self.cancel(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::arrow::datatypes::Schema;

    const INLINE: Delivery = Delivery { format: Format::JsonArray, links: false };

    fn statements(config: LakeConfig) -> Statements {
        Statements::new(&config, "a")
    }

    fn rows(bytes: usize) -> State {
        State::Succeeded(Arc::new(Rows {
            schema: Arc::new(Schema::empty()),
            chunks: Vec::new(),
            bytes,
            truncated: false,
            witness: Witness::default(),
        }))
    }

    fn user(name: &str) -> Principal {
        Principal::user(name).unwrap()
    }

    #[test]
    fn a_statement_is_its_callers_alone() {
        let all = statements(LakeConfig::default());
        let one = all.begin(&user("ann"), INLINE).unwrap();
        assert!(all.of(&user("ann"), &one.id).is_some());
        assert!(all.of(&user("bob"), &one.id).is_none() && all.of(&user("ann"), "x").is_none());
        assert!(!all.is_of_another(&one.id) && !all.is_of_another("x"));
        assert!(Statements::new(&LakeConfig::default(), "b").is_of_another(&one.id));
    }

    #[test]
    fn one_caller_cannot_take_all_places_and_a_place_is_free_again() {
        let all = statements(LakeConfig { queries: 3, queries_per_principal: 2, ..LakeConfig::default() });
        let first = all.begin(&user("ann"), INLINE).unwrap();
        all.begin(&user("ann"), INLINE).unwrap();
        assert_eq!(all.begin(&user("ann"), INLINE).unwrap_err(), Full::OfPrincipal(2));
        all.begin(&user("bob"), INLINE).unwrap();
        assert_eq!(all.begin(&user("eve"), INLINE).unwrap_err(), Full::OfAll(3));
        all.cancel(&first);
        all.begin(&user("eve"), INLINE).unwrap();
    }

    #[test]
    fn one_that_was_given_up_takes_its_place_until_its_thread_is_free() {
        let all = statements(LakeConfig { queries: 3, queries_per_principal: 1, ..LakeConfig::default() });
        let one = all.begin(&user("ann"), INLINE).unwrap();
        let works = one.busy();
        all.cancel(&one);
        assert_eq!(all.begin(&user("ann"), INLINE).unwrap_err(), Full::OfPrincipal(1));
        drop(works);
        let next = all.begin(&user("ann"), INLINE).unwrap();
        let works = next.busy();
        all.end(&next, rows(1));
        // What is left to do after the last row is next to nothing.
        all.begin(&user("ann"), INLINE).unwrap();
        drop(works);
    }

    #[test]
    fn what_was_canceled_does_not_succeed_later() {
        let all = statements(LakeConfig::default());
        let one = all.begin(&user("ann"), INLINE).unwrap();
        all.cancel(&one);
        all.end(&one, rows(1));
        assert_eq!(one.state().as_str(), "CANCELED");
        all.stop();
        assert_eq!(all.begin(&user("ann"), INLINE).unwrap_err(), Full::Stopping);
    }

    #[test]
    fn results_make_only_room_among_their_callers_own() {
        let all = statements(LakeConfig {
            result_bytes: 100,
            result_bytes_per_principal: 60,
            ..LakeConfig::default()
        });
        let run = |who: &str, bytes| {
            let one = all.begin(&user(who), INLINE).unwrap();
            all.end(&one, rows(bytes));
            one
        };
        let bobs = run("bob", 50);
        let (first, second) = (run("ann", 40), run("ann", 40));
        assert_eq!((first.state().as_str(), second.state().as_str()), ("CLOSED", "SUCCEEDED"));
        assert_eq!(run("ann", 61).state().as_str(), "FAILED");
        assert_eq!(run("eve", 20).state().as_str(), "FAILED", "nobody else's results go for her");
        assert_eq!(bobs.state().as_str(), "SUCCEEDED");
    }
}
