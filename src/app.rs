//! Builds everything once from the configuration and holds it for every worker.

pub mod owners;
pub mod roots;
pub mod strangers;
pub mod subjects;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{AuditSink, Effect, NewGrant, Principal, Privilege, Securable};
use crate::audit::Audit;
use crate::backend::{BackendError, UpstreamShared};
use crate::classify::Manifest;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::identity::Identity;
use crate::policy::{Levels, Policy, Unavailable};
use crate::seal::Sealer;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// Why an id could not be resolved; a definite "does not exist" is no error.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Inconsistent(String),
}

/// Everything a worker needs that is shared with the others.
pub struct App {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub manifest: Manifest,
    pub store: Store,
    pub identity: Identity,
    pub policy: Policy,
    /// Where the pipeline writes its records.
    pub audit: Arc<dyn AuditSink>,
    /// The record itself, for queries.
    pub records: Audit,
    pub sealer: Sealer,
    pub metrics: Metrics,
    pub upstream: Arc<UpstreamShared>,
    pub owners: owners::Owners,
    pub roots: roots::ArtifactRoots,
    /// Refusals of callers that nobody knows.
    pub strangers: strangers::Strangers,
    /// Whose traces pass through.
    pub subjects: subjects::Subjects,
}

impl App {
    /// Opens the state, loads the policy and makes ready to serve. The first administrator's token is
    /// returned when this start made one; it is shown nowhere else.
    pub async fn open(config: Config, metrics: Metrics) -> anyhow::Result<(Arc<Self>, Option<String>)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let data_dir = config.server.data_dir.clone();
        std::fs::create_dir_all(&data_dir)
            .map_err(|error| anyhow::anyhow!("`server.data_dir` `{}`: {error}", data_dir.display()))?;
        let manifest = Manifest::builtin().map_err(anyhow::Error::msg)?;
        let levels = match &config.policy.levels_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| anyhow::anyhow!("`policy.levels_file` `{}`: {error}", path.display()))?;
                Levels::parse(&text)?
            }
            None => Levels::builtin()?,
        };
        let store = Store::open(&config.database, &data_dir).await?;
        let records =
            Audit::open(&config.audit, config.database.url.as_deref(), &data_dir, Arc::clone(&clock)).await?;
        let identity = Identity::new(&config.identity, store.clone(), Arc::clone(&clock)).await?;
        let staleness = Duration::from_millis(config.policy.max_staleness_ms);
        let app = Arc::new(Self {
            policy: Policy::new(levels, Arc::clone(&clock), staleness),
            audit: records.sink(),
            sealer: Sealer::new(&store.secret("page-tokens").await?),
            upstream: UpstreamShared::new(&config.mlflow)?,
            metrics,
            owners: owners::Owners::default(),
            roots: roots::ArtifactRoots::default(),
            strangers: strangers::Strangers::default(),
            subjects: subjects::Subjects::new(
                &config.audit.subject_keys,
                store.secret("audit-subjects").await?,
            ),
            config,
            clock,
            manifest,
            store,
            identity,
            records,
        });
        let first_token = app.first_start().await?;
        app.reload_policy().await?;
        Ok((app, first_token))
    }

    /// Makes the first administrator and the default grants, once in the life of a database.
    async fn first_start(&self) -> anyhow::Result<Option<String>> {
        let state = self.store.policy().await?;
        let admins = Principal::group(Principal::ADMINS)?;
        if state.memberships.iter().any(|(group, _)| *group == admins) {
            return Ok(None);
        }
        let now = self.clock.now();
        let users = Principal::group(Principal::USERS)?;
        for privilege in [Privilege::ExperimentCreate, Privilege::ModelCreate] {
            let grant = NewGrant {
                principal: users.clone(),
                securable: Securable::workspace(),
                privilege: privilege.to_string(),
                effect: Effect::Allow,
                reason: Some("default: every user may create; revoke it to restrict".to_owned()),
                expires_at: None,
            };
            self.store.add_grant(&grant, "tracegate", now).await?;
        }
        let first = Principal::user(&self.config.policy.first_administrator)?;
        self.store.ensure_principal(&first, "tracegate", now).await?;
        let (token, _) = self.identity.issue_token(&first, "first administrator", None, "tracegate").await?;
        self.store.add_member(&admins, &first, "tracegate", now).await?;
        Ok(Some(token))
    }

    /// Reads the policy from the store and puts it in force.
    pub async fn reload_policy(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let state = self.store.policy().await?;
        self.policy.publish(state, asked_at);
        self.metrics.policy_version.set(self.policy.version());
        Ok(())
    }

    /// Confirms the policy version with the store; loads a newer one.
    pub async fn confirm_policy(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let version = self.store.policy_version().await?;
        if version == self.policy.version() {
            self.policy.confirm(version, asked_at);
            return Ok(());
        }
        self.reload_policy().await
    }

    /// Confirms the policy again and again, until the task is aborted.
    pub async fn keep_policy_fresh(self: Arc<Self>) {
        let pause = Duration::from_millis(self.config.policy.poll_ms);
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.confirm_policy().await {
                tracing::warn!(%error, "the policy could not be confirmed");
            }
            self.metrics.audit_backlog.set(i64::try_from(self.records.backlog()).unwrap_or(i64::MAX));
        }
    }

    /// Makes sure the policy is at least at the version that the caller demands.
    pub async fn at_least(&self, wanted: i64) -> Result<(), Unavailable> {
        if self.policy.version() < wanted && self.confirm_policy().await.is_err() {
            return Err(Unavailable::Behind { wanted, have: self.policy.version() });
        }
        match self.policy.version() {
            have if have < wanted => Err(Unavailable::Behind { wanted, have }),
            _ => Ok(()),
        }
    }
}
