//! What permitted calls are forwarded to.
//!
//! A backend takes the canonical request and the [`Permit`] that proves it allowed, and answers with
//! status, headers and a body that streams. Beside forwarding it answers the few questions that
//! classification asks (which experiment owns this trace?); those are the gateway's own requests, under its
//! own credential, and carry nothing of the caller's.
//!
//! [`Upstream`] is a real MLflow tracking server behind HTTP. [`spool`] reads a body whole where a
//! classifier must see all of it before anything is forwarded.

mod error;
mod spool;
mod upstream;

pub use error::BackendError;
pub use spool::{SpoolError, SpoolLimits, spool};
pub use upstream::{SetupError, Upstream, UpstreamShared};

use async_trait::async_trait;

use crate::access::{ExperimentId, TraceId};
use crate::policy::Permit;
use crate::wire::{Body, Head, Reply};

/// A permitted request in its canonical form; the target is rebuilt from `head.path` and `head.query`.
#[derive(Debug)]
pub struct Outgoing {
    pub head: Head,
    pub body: Body,
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

    /// An experiment, deleted ones included.
    async fn experiment(&self, id: &ExperimentId) -> Result<Option<ExperimentFacts>, BackendError>;

    /// The experiment that the backend takes a name for, deleted ones included. A store with a
    /// case-insensitive collation may answer with another spelling: decide by the id.
    async fn experiment_by_name(&self, name: &str) -> Result<Option<ExperimentFacts>, BackendError>;

    /// A page of all experiments, deleted ones included, in the order of their ids.
    async fn experiments(&self, page_token: Option<&str>) -> Result<ExperimentPage, BackendError>;

    /// Whether the backend answers at all.
    async fn ready(&self) -> Result<(), BackendError>;
}
