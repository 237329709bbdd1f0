//! A tracking store of our own: MLflow's API over SQLite or PostgreSQL, so that one binary is enough.
//!
//! It takes the same permitted calls as an MLflow server and gives the same answers, errors included.
//! What it does not have answers 501 and names the upstream mode. Everything an answer acknowledges is
//! durable: writes go through [`writer`], which commits many calls at once and answers after the commit.
//!
//! One file per noun; each has an `answer` that takes the operations of that noun. `request` reads
//! parameters as MLflow's server does, `problem` is its way to say no.

mod artifacts;
mod assessments;
mod datasets;
mod entries;
mod evaluation;
mod experiments;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod label_schemas;
mod logged_models;
mod lookup;
mod many;
mod names;
mod otlp;
mod pages;
mod pairs;
mod problem;
mod protobuf_json;
mod python;
mod python_json;
mod registry;
mod reply;
mod request;
mod review_queues;
mod rows;
mod runs;
mod scorers;
mod search;
mod server;
mod spans;
#[cfg(test)]
mod testing;
mod traces;
mod view;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use self::problem::Problem;
use self::request::Request;
use self::traces::retention::Retention;
use self::writer::Writer;
use super::{Backend, BackendError, ExperimentFacts, ExperimentPage, Outgoing, Owned};
use crate::access::{ExperimentId, TraceId};
use crate::clock::Clock;
use crate::config::Config;
use crate::database::{Database, Dialect, OpenError, Place, Schema};
use crate::objects::Objects;
use crate::policy::Permit;
use crate::wire::Reply;

/// The store as all workers share it.
pub struct EmbeddedShared {
    database: Database,
    writer: Writer,
    clock: Arc<dyn Clock>,
    objects: Objects,
    /// What spans hold; nothing if there is no such index, or if the database keeps it by itself.
    content: Option<search::ContentIndex>,
    /// For what is still being received.
    scratch: PathBuf,
    /// The largest export of spans that is read, decompressed, in bytes.
    otlp_limit: u64,
    /// How long traces stay where their experiment does not say.
    retention: Retention,
}

impl std::fmt::Debug for EmbeddedShared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "EmbeddedShared({:?})", self.database.dialect)
    }
}

impl EmbeddedShared {
    /// The tables of traces, and where they are.
    pub fn schema(config: &Config) -> Schema {
        let (place, migrations) = match &config.database.url {
            Some(url) => (Place::Postgres(url.clone()), sqlx::migrate!("migrations/traces_postgres")),
            None => {
                let file = config.server.data_dir.join("traces.db");
                (Place::Sqlite(file), sqlx::migrate!("migrations/traces_sqlite"))
            }
        };
        Schema { name: "traces", place, migrations: numbered(migrations) }
    }

    /// Opens the store that the configuration names: `traces.db` in the data directory, or the tables beside
    /// the state in PostgreSQL.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let data_dir = &config.server.data_dir;
        let connections = config.database.max_connections;
        let Schema { place, migrations, .. } = Self::schema(config);
        let database = match place {
            Place::Postgres(url) => Database::open_postgres(&url, connections, migrations).await?,
            Place::Sqlite(file) => {
                let pragmas = ["PRAGMA cache_size = -16384", "PRAGMA mmap_size = 268435456"];
                Database::open_sqlite(&file, connections, &pragmas, migrations).await?
            }
        };
        let artifact_root =
            config.mlflow.artifacts.clone().unwrap_or_else(|| text(&data_dir.join("artifacts")));
        let objects =
            Objects::open(&artifact_root).map_err(|error| OpenError::File { path: artifact_root, error })?;
        let writer = Writer::start(database.clone());
        let content = match (config.mlflow.content_index, database.dialect) {
            (true, Dialect::Sqlite) => {
                let file = data_dir.join("content.db");
                Some(search::ContentIndex::open(&file, &database, &writer, &objects).await?)
            }
            _ => None,
        };
        let store = Self {
            database,
            writer,
            clock,
            objects,
            content,
            scratch: data_dir.clone(),
            otlp_limit: config.limits.otlp_decompressed_bytes,
            retention: Retention {
                days: config.mlflow.retention_days,
                traces: config.mlflow.retention_traces,
            },
        };
        experiments::ensure_default(&store).await?;
        let store = Arc::new(store);
        tokio::spawn(tend(Arc::downgrade(&store)));
        Ok(store)
    }
}

/// Deletes what need not be kept: every minute the traces that are due, every hour what nobody names. Ends
/// with the store.
async fn tend(store: Weak<EmbeddedShared>) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for minute in 0_u64.. {
        minutes.tick().await;
        let Some(store) = store.upgrade() else { return };
        if let Err(problem) = traces::retention::retain(&store).await {
            tracing::warn!(%problem, "traces that are due could not be deleted");
        }
        if minute % 60 == 0
            && let Err(problem) = traces::sweep::sweep(&store).await
        {
            tracing::warn!(%problem, "left-over objects of spans could not be removed");
        }
        if minute % 60 == 0 {
            artifacts::clear_expired(&store).await;
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The state's migrations may be in the same PostgreSQL database: these keep a table of their own.
fn numbered(mut migrations: sqlx::migrate::Migrator) -> sqlx::migrate::Migrator {
    migrations.dangerous_set_table_name("trace_migrations");
    migrations
}

/// A worker's handle on the store.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<EmbeddedShared>);

impl Embedded {
    pub fn new(shared: Arc<EmbeddedShared>) -> Self {
        Self(shared)
    }
}

/// Hands a call to the noun that its operation is about.
async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    let noun = request.operation.split('.').next().unwrap_or_default();
    match (noun, request.operation.as_str()) {
        (_, "trace.search" | "trace.search_v2" | "trace.metrics" | "trace.correlation") => {
            search::answer(store, request).await
        }
        (_, "otlp.export") => otlp::answer(store, request).await,
        ("trace", _) => traces::answer(store, request).await,
        ("assessment", _) => assessments::answer(store, request).await,
        ("experiment", _) => experiments::answer(store, request).await,
        ("run", _) => runs::answer(store, request).await,
        ("artifact", _) => artifacts::answer(store, request).await,
        ("logged_model", _) => logged_models::answer(store, request).await,
        ("model" | "model_version", _) => registry::answer(store, request).await,
        ("scorer", _) => scorers::answer(store, request).await,
        ("label_schema", _) => label_schemas::answer(store, request).await,
        ("review_queue", _) => review_queues::answer(store, request).await,
        ("dataset", _) => datasets::answer(store, request).await,
        ("server" | "ui", _) => server::answer(store, request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

#[async_trait(?Send)]
impl Backend for Embedded {
    async fn forward(&self, permit: Permit, outgoing: Outgoing) -> Result<Reply, BackendError> {
        let head_only = outgoing.head.method == crate::wire::Method::Head;
        let request = Request::new(&permit, outgoing);
        let reply = answer(&self.0, request).await.unwrap_or_else(Problem::into_reply);
        Ok(if head_only { reply::without_body(reply) } else { reply })
    }

    async fn owners(&self, kind: Owned, id: &str) -> Result<Option<Vec<ExperimentId>>, BackendError> {
        lookup::owners(&self.0, kind, id).await
    }

    async fn trace_marks(&self, trace: &TraceId) -> Result<Vec<(String, String)>, BackendError> {
        lookup::trace_marks(&self.0, trace).await
    }

    async fn held_traces(&self, experiment: &ExperimentId) -> Result<u64, BackendError> {
        lookup::held_traces(&self.0, experiment).await
    }

    async fn experiment(&self, id: &ExperimentId) -> Result<Option<ExperimentFacts>, BackendError> {
        lookup::experiment(&self.0, id).await
    }

    async fn experiment_by_name(&self, name: &str) -> Result<Option<ExperimentFacts>, BackendError> {
        lookup::experiment_by_name(&self.0, name).await
    }

    async fn experiments(&self, page_token: Option<&str>) -> Result<ExperimentPage, BackendError> {
        lookup::experiments(&self.0, page_token).await
    }

    async fn ready(&self) -> Result<(), BackendError> {
        lookup::ready(&self.0).await
    }
}
