//! Runs queries, on threads of their own and within their limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::execute_stream;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::barrier::Barrier;
use super::budget::Budget;
use super::interrupt::{Interrupt, Interrupts};
use super::plan::Planning;
use super::result::{as_plain, fitting, plain, size};
use super::wide::{Widths, cuts};
use super::{
    Defaults, Governor, Parameter, Query, QueryLimits, Rows, SqlError, Truncated, constants, failure,
    functions, syntax,
};
use crate::{Lake, LakeError};

/// Stack of a thread that plans and runs. An expression may be as deep as [`super::allowed`] lets it.
const STACK: usize = 64 * 1024 * 1024;

/// Where tables come from.
#[async_trait]
pub trait Tables: fmt::Debug + Send + Sync {
    async fn provider(&self, place: &str) -> Result<Arc<dyn TableProvider>, LakeError>;
}

#[async_trait]
impl Tables for Lake {
    async fn provider(&self, place: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
        Lake::provider(self, place).await
    }
}

/// Runs statements. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    tables: Arc<dyn Tables>,
    memory: Arc<dyn MemoryPool>,
    session: Arc<SessionState>,
    threads: Arc<Threads>,
}

/// Threads that only run statements: one that computes for long keeps no request from being answered.
#[derive(Debug)]
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that is dropped waits, which those who drop it may not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends the task when the rows are dropped.
struct Ends {
    task: tokio::task::AbortHandle,
    interrupt: Arc<Interrupt>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.interrupt.now();
        self.task.abort();
    }
}

struct Running {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, SqlError>>,
}

impl Engine {
    /// `memory_bytes`: for all statements together. Nothing is put on disk.
    pub fn new(lake: Lake, memory_bytes: usize) -> Result<Self, LakeError> {
        Self::over(Arc::new(lake), memory_bytes)
    }

    /// Over tables from elsewhere.
    pub fn over(tables: Arc<dyn Tables>, memory_bytes: usize) -> Result<Self, LakeError> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
        let broken = |error: &dyn fmt::Display| LakeError::Internal(format!("the SQL engine: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("sql")
            .thread_stack_size(STACK)
            // Whoever asks something short comes first.
            .on_thread_start(|| {
                let _ = rustix::process::nice(5);
            })
            .enable_all()
            .build()
            .map_err(|error| broken(&error))?;
        Ok(Self {
            tables,
            memory: Arc::new(GreedyMemoryPool::new(memory_bytes)),
            session: Arc::new(functions::session(workers.min(4)).map_err(|error| broken(&error))?),
            threads: Arc::new(Threads(Some(runtime))),
        })
    }

    /// Bytes that all statements hold now.
    pub fn memory_in_use(&self) -> usize {
        self.memory.reserved()
    }

    /// Plans a query: every table is asked of the governor, and its rules are in the plan before anything else.
    /// The rows are computed as they are read; dropping them ends the query.
    pub async fn run(
        &self,
        query: &Query,
        parameters: &[Parameter],
        defaults: &Defaults,
        governor: Arc<dyn Governor>,
        limits: &QueryLimits,
    ) -> Result<Rows, SqlError> {
        let deadline = Instant::now() + limits.time;
        let truncated = Truncated::default();
        let (started, begins) = oneshot::channel();
        let interrupt = Interrupt::at(deadline, limits.time);
        let work = Work {
            interrupt: Arc::clone(&interrupt),
            engine: self.clone(),
            text: query.text.clone(),
            parameters: parameters.to_vec(),
            defaults: defaults.clone(),
            governor,
            limits: limits.clone(),
            truncated: truncated.clone(),
        };
        let Some(runtime) = &self.threads.0 else {
            return Err(SqlError::Internal("the SQL engine has ended".to_owned()));
        };
        let task = runtime.spawn(work.run(started));
        let ends = Ends { task: task.abort_handle(), interrupt };
        let late = late(limits.time);
        let Running { schema, batches } = match tokio::time::timeout_at(deadline, begins).await {
            Ok(Ok(running)) => running?,
            // The task ended without a word: it panicked.
            Ok(Err(_)) => return Err(SqlError::Internal("the statement could not be run".to_owned())),
            Err(_) => return Err(late),
        };
        let state = (batches, Some(ends), limits.time);
        let batches = futures_util::stream::unfold(state, move |(mut batches, ends, time)| async move {
            ends.as_ref()?;
            match tokio::time::timeout_at(deadline, batches.recv()).await {
                Ok(Some(Ok(batch))) => Some((Ok(batch), (batches, ends, time))),
                Ok(Some(Err(error))) => Some((Err(error), (batches, None, time))),
                Ok(None) => None,
                Err(_) => Some((Err(self::late(time)), (batches, None, time))),
            }
        });
        Ok(Rows { schema, batches: batches.boxed(), truncated })
    }
}

pub(super) fn late(time: Duration) -> SqlError {
    SqlError::Exhausted(format!(
        "[RESOURCE_EXHAUSTED] the statement took longer than the {} s it may take",
        time.as_secs_f64()
    ))
}

struct Work {
    engine: Engine,
    text: String,
    parameters: Vec<Parameter>,
    defaults: Defaults,
    governor: Arc<dyn Governor>,
    limits: QueryLimits,
    truncated: Truncated,
    interrupt: Arc<Interrupt>,
}

type Started = oneshot::Sender<Result<Running, SqlError>>;

impl Work {
    async fn run(self, started: Started) {
        let (rows, hidden) = match self.rows().await {
            Ok(rows) => rows,
            Err(error) => {
                // Nobody waits any more if it is refused.
                let _ = started.send(Err(error));
                return;
            }
        };
        let (sender, batches) = mpsc::channel(2);
        let schema = plain(&rows.schema());
        if started.send(Ok(Running { schema: Arc::clone(&schema), batches })).is_err() {
            return;
        }
        let ended = std::panic::AssertUnwindSafe(self.forward(rows, schema, hidden, &sender));
        if futures_util::FutureExt::catch_unwind(ended).await.is_err() {
            let broken = SqlError::Internal("the statement could not be run".to_owned());
            let _ = sender.send(Err(broken)).await;
        }
    }

    /// Plans, and begins to execute.
    async fn rows(&self) -> Result<(datafusion::execution::SendableRecordBatchStream, bool), SqlError> {
        let parsed = syntax::query(&self.text)?;
        let session = self.session()?;
        let mut planning = Planning::new(&session, self.engine.tables.as_ref(), self.governor.as_ref());
        let plan = planning.query(parsed.query, &self.parameters, &self.defaults, &[]).await?;
        let hidden = planning.hidden;
        if parsed.explain {
            // The plan is shown as it was asked for, not as statistics or rules have changed it.
            let text = Barrier::sealed(plan).map_err(failure::planning)?.display_indent().to_string();
            return Ok((lines(&text)?, hidden));
        }
        // Computing constants may take its time; other statements have their turn meanwhile.
        let plan = tokio::task::block_in_place(|| constants::folding(|| session.optimize(&plan)));
        let plan = plan.map_err(failure::planning)?;
        constants::check(&plan).map_err(failure::planning)?;
        let plan = session.query_planner().create_physical_plan(&plan, &session).await;
        let plan = plan.map_err(failure::planning)?;
        let rows =
            execute_stream(plan, session.task_ctx()).map_err(|error| failure::running(error, hidden))?;
        Ok((rows, hidden))
    }

    /// The engine's session with this statement's memory. It has no disk and no other files than Delta's.
    fn session(&self) -> Result<SessionState, SqlError> {
        let budget = Budget::new(Arc::clone(&self.engine.memory), self.limits.memory_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(budget))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_object_store_registry(Arc::new(OnlyGiven::default()))
            .build_arc()
            .map_err(failure::planning)?;
        Ok(SessionStateBuilder::new_from_existing(self.engine.session.as_ref().clone())
            .with_runtime_env(runtime)
            .with_physical_optimizer_rule(Arc::new(Widths))
            .with_physical_optimizer_rule(Arc::new(Interrupts(Arc::clone(&self.interrupt))))
            .with_session_id(uuid::Uuid::new_v4().to_string())
            .build())
    }

    async fn forward(
        &self,
        rows: datafusion::execution::SendableRecordBatchStream,
        schema: SchemaRef,
        hidden: bool,
        sender: &mpsc::Sender<Result<RecordBatch, SqlError>>,
    ) {
        // A plain text is larger than a view of it, so it is made of few at once.
        let mut rows = cuts(rows);
        let mut rows_left = self.limits.rows;
        let mut bytes_left = self.limits.bytes;
        while let Some(batch) = rows.next().await {
            let batch = match batch.and_then(|batch| Ok(as_plain(&batch, &schema)?)) {
                Ok(batch) if batch.num_rows() == 0 => continue,
                Ok(batch) => batch,
                Err(error) => {
                    let _ = sender.send(Err(failure::running(error, hidden))).await;
                    return;
                }
            };
            let mut keep = batch.num_rows();
            if let Some(left) = rows_left {
                keep = keep.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            if let Some(left) = bytes_left {
                keep = keep.min(fitting(&batch, left));
            }
            let kept = batch.slice(0, keep);
            rows_left = rows_left.map(|left| left.saturating_sub(keep as u64));
            bytes_left = bytes_left.map(|left| left.saturating_sub(size(&kept)));
            let cut = keep < batch.num_rows();
            if cut {
                self.truncated.set();
            }
            if keep > 0 && sender.send(Ok(kept)).await.is_err() {
                return;
            }
            if cut {
                return;
            }
        }
    }
}

fn lines(text: &str) -> Result<datafusion::execution::SendableRecordBatchStream, SqlError> {
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    let schema = Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)]));
    let column = arrow::array::StringArray::from(text.lines().collect::<Vec<_>>());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)])
        .map_err(|_| SqlError::Internal("the plan could not be shown".to_owned()))?;
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures_util::stream::iter([Ok(batch)]))))
}

/// Stores that tables brought along, and no other: the usual registry has the whole local disk in it.
#[derive(Debug, Default)]
struct OnlyGiven {
    stores: std::sync::RwLock<std::collections::HashMap<String, Arc<dyn object_store::ObjectStore>>>,
}

impl OnlyGiven {
    fn key(url: &url::Url) -> String {
        format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort])
    }
}

impl datafusion::execution::object_store::ObjectStoreRegistry for OnlyGiven {
    fn register_store(
        &self,
        url: &url::Url,
        store: Arc<dyn object_store::ObjectStore>,
    ) -> Option<Arc<dyn object_store::ObjectStore>> {
        let mut stores = self.stores.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        stores.insert(Self::key(url), store)
    }

    fn get_store(&self, url: &url::Url) -> datafusion::common::Result<Arc<dyn object_store::ObjectStore>> {
        let stores = self.stores.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        stores
            .get(&Self::key(url))
            .cloned()
            .ok_or_else(|| datafusion::common::DataFusionError::Internal("no store of a table".to_owned()))
    }
}
