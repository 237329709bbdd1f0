//! What permitted calls are forwarded to.
//!
//! A backend takes the canonical request and the [`Permit`] that proves it allowed, and answers with
//! status, headers and a body that streams. Beside forwarding it answers the few questions that
//! classification asks (which experiment owns this trace?); those are the gateway's own requests, under its
//! own credential, and carry nothing of the caller's.
//!
//! [`Upstream`] is a real MLflow tracking server behind HTTP; [`Embedded`] is a tracking store of our own
//! over SQLite or PostgreSQL. [`spool`] reads a body whole where a
//! classifier must see all of it before anything is forwarded.

mod embedded;
mod error;
mod spool;
mod upstream;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use embedded::fuzz;
pub use embedded::{Embedded, EmbeddedShared};
pub use error::BackendError;
pub use spool::{SpoolError, SpoolLimits, spool};
pub use upstream::{SetupError, Upstream, UpstreamShared};

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::access::{ExperimentId, TraceId};
use crate::clock::Clock;
use crate::config::Config;
use crate::policy::Permit;
use crate::wire::{Body, Head, Reply};

/// A permitted request in its canonical form; the target is rebuilt from `head.path` and `head.query`.
#[derive(Debug)]
pub struct Outgoing {
    /// The manifest's name of the operation, such as `trace.get`.
    pub operation: String,
    /// The parameters of the path, decoded.
    pub params: Vec<(String, String)>,
    pub head: Head,
    /// The JSON body as it was classified and stamped, for those operations that have one.
    pub json: Option<Map<String, Value>>,
    /// The same as bytes.
    pub body: Body,
}

/// The configured store, from which each worker thread has a [`Backend`] made.
#[derive(Debug, Clone)]
pub enum Shared {
    Upstream(Arc<UpstreamShared>),
    Embedded(Arc<EmbeddedShared>),
}

impl Shared {
    pub async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(if config.mlflow.url.is_some() {
            Self::Upstream(UpstreamShared::new(&config.mlflow)?)
        } else {
            Self::Embedded(EmbeddedShared::open(config, Arc::clone(clock)).await?)
        })
    }

    /// For the log of a start: an MLflow server, or a store of our own.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "in the MLflow server of `mlflow.url`",
            Self::Embedded(_) => "here, in a store of its own",
        }
    }

    /// Whether files can be uploaded in parts through the gateway. An MLflow server hands out URLs of its
    /// store for that, past which nothing is checked.
    pub fn takes_parts(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }

    /// Whether the store is Tracegate's own, and no MLflow server's.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }

    pub fn for_worker(&self) -> Rc<dyn Backend> {
        match self {
            Self::Upstream(shared) => Rc::new(Upstream::new(Arc::clone(shared))),
            Self::Embedded(shared) => Rc::new(Embedded::new(Arc::clone(shared))),
        }
    }
}

/// Why the configured store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Upstream(#[from] SetupError),
    #[error("the trace store cannot be opened: {0}")]
    Embedded(#[from] crate::database::OpenError),
}

/// A thing that belongs to experiments without naming them in its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owned {
    Trace,
    Run,
    LoggedModel,
    Dataset,
    Issue,
    LabelSchema,
    ReviewQueue,
    PromptJob,
}

/// What the backend knows of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentFacts {
    pub id: ExperimentId,
    pub name: String,
    pub artifact_location: String,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
}

/// A page of experiments and the token of the next one.
pub type ExperimentPage = (Vec<ExperimentFacts>, Option<String>);

/// A trace as a listing shows it.
#[derive(Debug, Clone)]
pub struct TraceFacts {
    /// Or the id as it stands, if it is of no known form.
    pub id: Result<TraceId, String>,
    /// Who wrote it, as the client said.
    pub author: Option<String>,
    /// Its tags and metadata.
    pub marks: Vec<(String, String)>,
}

/// A page of an experiment's traces and the token of the next one.
pub type TracePage = (Vec<TraceFacts>, Option<String>);

/// How many things somebody wrote, by the name that the client said.
pub type Authors = BTreeMap<String, u64>;

/// A store that permitted calls are forwarded to. One value per worker thread.
///
/// Look-ups answer `None` only when the backend said definitely that the thing does not exist; whatever
/// else goes wrong is an error, and an error is a denial.
#[async_trait(?Send)]
pub trait Backend {
    /// Forwards a permitted request. The reply's body streams; dropping it closes the connection.
    async fn forward(&self, permit: Permit, request: Outgoing) -> Result<Reply, BackendError>;

    /// The experiments that own a thing. Deleted things and things of deleted experiments count.
    /// A dataset may belong to none or to several; everything else belongs to one.
    async fn owners(&self, kind: Owned, id: &str) -> Result<Option<Vec<ExperimentId>>, BackendError>;

    /// The tags and metadata of a trace, by key; none if it has none or does not exist.
    async fn trace_marks(&self, _trace: &TraceId) -> Result<Vec<(String, String)>, BackendError> {
        Ok(Vec::new())
    }

    /// How many traces an experiment holds.
    async fn held_traces(&self, experiment: &ExperimentId) -> Result<u64, BackendError>;

    /// An experiment, deleted ones included.
    async fn experiment(&self, id: &ExperimentId) -> Result<Option<ExperimentFacts>, BackendError>;

    /// The experiment that the backend takes a name for, deleted ones included. A store with a
    /// case-insensitive collation may answer with another spelling: decide by the id.
    async fn experiment_by_name(&self, name: &str) -> Result<Option<ExperimentFacts>, BackendError>;

    /// A page of all experiments, deleted ones included, in the order of their ids.
    async fn experiments(&self, page_token: Option<&str>) -> Result<ExperimentPage, BackendError>;

    /// A page of an experiment's traces, oldest first. A store of our own has none that we do not know.
    async fn traces(
        &self,
        _experiment: &ExperimentId,
        _page_token: Option<&str>,
    ) -> Result<TracePage, BackendError> {
        Ok((Vec::new(), None))
    }

    /// Who wrote the runs of a page of an experiment's.
    async fn runs(
        &self,
        _experiment: &ExperimentId,
        _page_token: Option<&str>,
    ) -> Result<(Authors, Option<String>), BackendError> {
        Ok((Authors::new(), None))
    }

    /// Whether the backend answers at all.
    async fn ready(&self) -> Result<(), BackendError>;
}
