//! A real MLflow tracking server behind HTTP.
//!
//! [`UpstreamShared`] is built once (it refuses a bad configuration) and shared by all workers: the base
//! URL, the gateway's credential, the circuit breaker. Each worker thread makes an [`Upstream`] of it, with
//! connections of its own: a client shared between workers has a p99 of 40 ms.
//!
//! The path of a request: `exchange` (breaker, time limits, retry) → `request` (target, allow-list, body) →
//! the client → `reply` (framing, headers, body). `lookup` asks the gateway's own questions the same way.

mod breaker;
mod connection;
mod exchange;
mod lookup;
mod reply;
mod request;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use actix_service::ServiceExt as _;
use actix_tls::connect::{
    Connection as Dialed, Connector as Dialer, ConnectorService as DialService, Resolver,
};
use async_trait::async_trait;
use awc::http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName, HeaderValue};
use awc::http::{Uri, Version};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use self::breaker::Breaker;
use self::connection::{LastRead, QuickStream};
use self::request::Prepared;
use super::{Authors, Backend, BackendError, ExperimentFacts, ExperimentPage, Outgoing, Owned, TracePage};
use crate::access::{ExperimentId, TraceId};
use crate::config::mlflow::{MlflowConfig, UpstreamUrl};
use crate::policy::Permit;
use crate::wire::Reply;

/// Why the upstream cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`mlflow.url` {0}")]
    Url(&'static str),
    #[error("`mlflow.{0}` cannot be sent in a header")]
    Header(&'static str),
    #[error("the credential file of `mlflow` cannot be read")]
    Credential(#[source] std::io::Error),
}

/// What all workers share.
#[derive(Debug)]
pub struct UpstreamShared {
    url: UpstreamUrl,
    /// Sent with every request: host, credential, and that we take no compression.
    headers: Vec<(HeaderName, HeaderValue)>,
    breaker: Breaker,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
    lookup_timeout: Duration,
    keep_alive: Duration,
    connections: usize,
}

impl UpstreamShared {
    pub fn new(config: &MlflowConfig) -> Result<Arc<Self>, SetupError> {
        // Crates that we use bring two kinds of cryptography along; which one counts must be said. A second
        // time it is said already.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let url = config.url.as_deref().ok_or(SetupError::Url("is not set"))?;
        let url = UpstreamUrl::parse(url).map_err(SetupError::Url)?;
        let host = config.host_header.as_deref().unwrap_or(&url.authority);
        let host = HeaderValue::from_str(host).map_err(|_| SetupError::Header("host_header"))?;
        let mut headers = vec![(HOST, host), (ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        if let Some(credential) = config.authorization().map_err(SetupError::Credential)? {
            let mut value =
                HeaderValue::from_str(&credential).map_err(|_| SetupError::Header("token or password"))?;
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, value));
        }
        let milliseconds = Duration::from_millis;
        Ok(Arc::new(Self {
            url,
            headers,
            breaker: Breaker::new(config.breaker_failures, milliseconds(config.breaker_open_ms)),
            limits: Limits {
                connect_timeout: milliseconds(config.connect_timeout_ms),
                response_timeout: milliseconds(config.response_timeout_ms),
                idle_timeout: milliseconds(config.idle_timeout_ms),
                lookup_timeout: milliseconds(config.lookup_timeout_ms),
                keep_alive: milliseconds(config.keep_alive_ms),
                connections: config.max_connections_per_worker.clamp(1, Semaphore::MAX_PERMITS),
            },
        }))
    }
}

/// One worker's connections to the MLflow server.
pub struct Upstream {
    shared: Arc<UpstreamShared>,
    client: awc::Client,
    last_read: LastRead,
    places: Arc<Semaphore>,
}

impl Upstream {
    pub fn new(shared: Arc<UpstreamShared>) -> Self {
        let last_read = LastRead::default();
        let limits = &shared.limits;
        let watch = last_read.clone();
        let dialer: DialService = Dialer::new(Resolver::default()).service();
        let dialer = dialer.map(move |dialed: Dialed<Uri, TcpStream>| {
            let (stream, uri) = dialed.into_parts();
            Dialed::new(uri, QuickStream::new(stream, watch.clone()))
        });
        let connector = awc::Connector::new()
            .max_http_version(Version::HTTP_11)
            .connector(dialer)
            .timeout(limits.connect_timeout)
            .handshake_timeout(limits.connect_timeout)
            .conn_keep_alive(limits.keep_alive)
            // Ours are counted in `places`, where waiting for one has a limit and an error of its own.
            .limit(0);
        let client = awc::Client::builder()
            .connector(connector)
            .disable_redirects()
            .disable_timeout()
            .no_default_headers()
            .finish();
        let places = Arc::new(Semaphore::new(limits.connections));
        Self { shared, client, last_read, places }
    }
}

#[async_trait(?Send)]
impl Backend for Upstream {
    async fn forward(&self, _permit: Permit, request: Outgoing) -> Result<Reply, BackendError> {
        let Outgoing { head, body, .. } = request;
        let query = head.query.to_encoded();
        let separator = if query.is_empty() { "" } else { "?" };
        let target = format!("{}{separator}{query}", head.path.to_encoded());
        let prepared = Prepared::new(&self.shared, head.method, &target, Some(&head.headers))?;
        let method = prepared.method.clone();
        let limits = &self.shared.limits;
        let answer = self.exchange(prepared, body, limits.response_timeout).await?;
        reply::into_reply(answer, &method, &self.shared.url, limits.idle_timeout)
    }

    async fn owners(&self, kind: Owned, id: &str) -> Result<Option<Vec<ExperimentId>>, BackendError> {
        self.look_up_owners(kind, id).await
    }

    async fn trace_marks(&self, trace: &TraceId) -> Result<Vec<(String, String)>, BackendError> {
        self.look_up_trace_marks(trace).await
    }

    async fn held_traces(&self, experiment: &ExperimentId) -> Result<u64, BackendError> {
        self.look_up_held_traces(experiment).await
    }

    async fn experiment(&self, id: &ExperimentId) -> Result<Option<ExperimentFacts>, BackendError> {
        self.look_up_experiment(id).await
    }

    async fn experiment_by_name(&self, name: &str) -> Result<Option<ExperimentFacts>, BackendError> {
        self.look_up_experiment_by_name(name).await
    }

    async fn experiments(&self, page_token: Option<&str>) -> Result<ExperimentPage, BackendError> {
        self.look_up_experiments(page_token).await
    }

    async fn traces(
        &self,
        experiment: &ExperimentId,
        page_token: Option<&str>,
    ) -> Result<TracePage, BackendError> {
        self.walk_traces(experiment, page_token).await
    }

    async fn runs(
        &self,
        experiment: &ExperimentId,
        page_token: Option<&str>,
    ) -> Result<(Authors, Option<String>), BackendError> {
        self.walk_runs(experiment, page_token).await
    }

    async fn ready(&self) -> Result<(), BackendError> {
        self.look_up_health().await
    }
}
