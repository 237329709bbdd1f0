//! Builds everything once from the configuration and holds it for every worker.

mod access_tokens;
pub mod archives;
mod enrolment;
pub mod owners;
pub mod payload;
mod policy_feed;
pub mod roots;
mod shadow;
pub mod statements;
pub mod strangers;
pub mod subjects;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{
    AuditSink, Effect, GrantId, MalformedId, NewGrant, PolicyEdit, Principal, Privilege, Rule, Securable,
};
use crate::audit::Audit;
use crate::backend::{self, BackendError};
use crate::classify::Manifest;
use crate::clock::{Clock, SystemClock, UnixMillis};
use crate::config::Config;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::lake::Lake;
use crate::limits::Limits;
use crate::objects::{Minting, Volumes};
use crate::policy::{Builder, Levels, Policy, Unavailable, casbin_rules};
use crate::store::{PolicyRow, PolicyStep, Store, StoreError};
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

/// Times that a change may come between two questions before everything is read.
const ATTEMPTS: usize = 4;
/// Steps up to which taking them one by one is quicker than reading everything.
const MOST_STEPS: i64 = 1000;

/// Hands what the store read to who builds from it; what does not parse must not become a decision.
fn take(builder: &mut Builder, row: PolicyRow<'_>) -> Result<(), StoreError> {
    fn parsed<T: std::str::FromStr<Err = MalformedId>>(text: &str) -> Result<T, StoreError> {
        text.parse().map_err(|error: MalformedId| StoreError::Corrupt(error.to_string()))
    }
    match row {
        PolicyRow::Principal { principal, active } => builder.principal(&parsed(principal)?, active),
        PolicyRow::Member { group, member } => builder.member(&parsed(group)?, &parsed(member)?),
        PolicyRow::Place { securable, parent } => builder.place(&parsed(securable)?, &parsed(parent)?),
        PolicyRow::Grant { id, principal, securable, privilege, deny, expires_at_ms } => {
            builder.grant(&Rule {
                id: GrantId(id),
                principal: parsed(principal)?,
                securable: parsed(securable)?,
                privilege: privilege.to_owned(),
                effect: if deny { Effect::Deny } else { Effect::Allow },
                expires_at: expires_at_ms.map(UnixMillis),
            });
        }
    }
    Ok(())
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
    pub keys: Arc<Keys>,
    pub metrics: Metrics,
    pub backend: backend::Shared,
    pub lake: Lake,
    /// SQL that runs here, and its results.
    pub statements: statements::Statements,
    /// Where the files of volumes lie.
    pub volumes: Volumes,
    /// Which experiments are archived.
    pub archives: archives::Archives,
    /// Makes temporary credentials, where a role for that is configured.
    pub minting: Option<Minting>,
    pub owners: owners::Owners,
    pub roots: roots::ArtifactRoots,
    pub payload_places: payload::PayloadPlaces,
    /// Refusals of callers that nobody knows.
    pub strangers: strangers::Strangers,
    /// Whose traces pass through.
    pub subjects: subjects::Subjects,
    /// How much may be used.
    pub limits: Limits,
}

impl App {
    /// Keeps tables quick to read, as long as the gateway runs.
    pub async fn keep_tables_small(self: Arc<Self>) {
        self.lake.keep_tables_small().await;
    }

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
        if let Some(path) = &config.policy.model_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| anyhow::anyhow!("`policy.model_file` `{}`: {error}", path.display()))?;
            casbin_rules::accept_model(&text)
                .map_err(|error| anyhow::anyhow!("`policy.model_file` `{}`: {error}", path.display()))?;
        }
        let issuers = !config.identity.issuers.is_empty();
        let store = Store::open(&config.database, &data_dir).await?.with_issuers(issuers);
        let records =
            Audit::open(&config.audit, config.database.url.as_deref(), &data_dir, Arc::clone(&clock)).await?;
        let keys = Keys::open(store.clone(), Arc::clone(&clock), config.server.keys_file.as_deref()).await?;
        let identity =
            Identity::with_keys(&config.identity, Arc::clone(&keys), store.clone(), Arc::clone(&clock))
                .await?;
        let identity = identity.at(config.server.public_url.as_deref(), config.server.speaks_tls());
        let staleness = Duration::from_millis(config.policy.max_staleness_ms);
        let app = Arc::new(Self {
            limits: Limits::new(&config.limits, store.clone(), Arc::clone(&clock)),
            policy: Policy::new(levels, Arc::clone(&clock), staleness, config.policy.casbin_sample),
            audit: records.sink(),
            keys,
            backend: backend::Shared::open(&config, &clock).await?,
            lake: Lake::open(&config.lake, &data_dir)?,
            archives: archives::Archives::new(store.clone()),
            statements: statements::Statements::new(&config.lake, records.replica()),
            volumes: Volumes::new(
                config.lake.own_directory(&data_dir),
                config.lake.external_directories.iter().map(std::path::PathBuf::from),
            ),
            minting: config
                .lake
                .credentials_role
                .as_deref()
                .map(|role| {
                    let endpoint = config.lake.credentials_endpoint.as_deref();
                    Minting::new(role, endpoint, config.lake.credentials_seconds)
                })
                .transpose()?,
            metrics,
            owners: owners::Owners::default(),
            roots: roots::ArtifactRoots::default(),
            payload_places: payload::PayloadPlaces::default(),
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
        app.reload_policy().await?;
        app.limits.refresh(app.policy.version()).await?;
        app.archives.refresh(app.policy.version()).await?;
        let first_token = app.first_start().await?;
        Ok((app, first_token))
    }

    /// Makes the first administrator and the default grants, once in the life of a database.
    async fn first_start(&self) -> anyhow::Result<Option<String>> {
        let admins = Principal::group(Principal::ADMINS)?;
        let now = self.clock.now();
        if self.policy.has_members(&admins) {
            return self.rescue(now).await;
        }
        let users = Principal::group(Principal::USERS)?;
        for privilege in [Privilege::ExperimentCreate, Privilege::ModelCreate, Privilege::TokenUse] {
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
        let (token, record) =
            self.identity.issue_token(&first, "first administrator", None, "tracegate").await?;
        let made = self.first_member(&admins, &first, now).await?;
        if !made {
            // Another replica started at the same time, and its token is the one.
            self.identity.revoke_token(&record.id).await?;
        }
        self.confirm_policy().await?;
        Ok(made.then_some(token))
    }

    /// Makes somebody a member of a group that has none; whether it had none until then.
    async fn first_member(
        &self,
        group: &Principal,
        member: &Principal,
        now: UnixMillis,
    ) -> anyhow::Result<bool> {
        loop {
            self.reload_policy().await?;
            if self.policy.has_members(group) {
                return Ok(false);
            }
            // Only as long as what was read is in force. Whoever moved it had few changes to make.
            let unmoved = self.store.at_version(self.policy.version());
            match unmoved.add_member(group, member, "tracegate", now).await {
                Err(StoreError::Moved { .. }) => {}
                done => return Ok(done.map(|_| true)?),
            }
        }
    }

    /// Where every token of every administrator has ended and nobody can sign in elsewhere, whoever can start
    /// the gateway gets a new one: no call can bring this about, but time can.
    async fn rescue(&self, now: UnixMillis) -> anyhow::Result<Option<String>> {
        let Some(administrator) = self.store.administrator_without_token(now).await? else { return Ok(None) };
        tracing::warn!(%administrator, "no administrator had a token that is good, so one was made");
        let issued = self.identity.issue_token(&administrator, "made at a start", None, "tracegate").await?;
        Ok(Some(issued.0))
    }

    /// Reads the whole policy from the store and puts it in force.
    pub async fn reload_policy(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let mut builder = self.policy.builder();
        let version = self.store.read_policy(&mut |row| take(&mut builder, row)).await?;
        self.policy.publish(builder.build(version), asked_at);
        self.metrics.policy_version.set(self.policy.version());
        Ok(())
    }

    /// Confirms the policy version with the store, and puts in force what changed since, limits and archives too.
    pub async fn confirm_policy(&self) -> Result<(), StoreError> {
        self.confirm_version().await?;
        self.limits.refresh(self.policy.version()).await?;
        self.archives.refresh(self.policy.version()).await
    }

    async fn confirm_version(&self) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let asked_at = Instant::now();
            let from = self.policy.version();
            let steps = self.store.policy_edits(from, MOST_STEPS + 1).await?;
            if !steps.is_empty() {
                let few = i64::try_from(steps.len()).is_ok_and(|steps| steps <= MOST_STEPS);
                if few && self.advance(&steps, asked_at) {
                    return Ok(());
                }
                break;
            }
            match self.store.policy_version().await? {
                version if version == from => {
                    self.policy.confirm(version, asked_at);
                    return Ok(());
                }
                // Restored from a backup, or a failover lost commits: nobody knows what else is gone.
                version if version < from => {
                    return Err(StoreError::Corrupt(format!(
                        "the database is at policy version {version}, older than {from}, which is in force; \
                         restart the gateway if the database is right"
                    )));
                }
                // Changed between the two questions.
                _ => {}
            }
        }
        self.reload_policy().await
    }

    /// Takes all steps at once; false if one of them cannot be taken, and only a full read helps.
    fn advance(&self, steps: &[PolicyStep], asked_at: Instant) -> bool {
        let kept: Option<Vec<(i64, &[PolicyEdit])>> =
            steps.iter().map(|step| Some((step.version, step.edits.as_deref()?))).collect();
        let Some(kept) = kept else { return false };
        if let Err(error) = self.policy.advance(kept, asked_at) {
            tracing::warn!(%error, "the policy is read anew");
            return false;
        }
        self.metrics.policy_version.set(self.policy.version());
        true
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
