//! Who owns what: resolves ids that do not name their experiment, through our own claims, a cache, and
//! the backend. An id's owner never changes, so what is found once stays found.

use std::time::Duration;

use moka::future::Cache;

use super::App;
use crate::access::{ExperimentId, Principal, PrincipalKind, Securable, TraceId};
use crate::backend::{Backend, ExperimentFacts, Owned};
use crate::store::Claim;

use super::LookupError;

/// Caches of facts that do not change, or expire by themselves.
pub struct Owners {
    things: Cache<(Owned, String), Vec<ExperimentId>>,
    traces: Cache<TraceId, Claim>,
    experiments: Cache<ExperimentId, ExperimentFacts>,
    /// One place per trace id, so that first sights of an id are handled one after another.
    first_sights: Box<[tokio::sync::Mutex<()>]>,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            things: Cache::new(100_000),
            traces: Cache::new(500_000),
            // A rename by a path around Tracegate is noticed after this time.
            experiments: Cache::builder()
                .max_capacity(100_000)
                .time_to_live(Duration::from_secs(300))
                .build(),
            first_sights: (0..1024).map(|_| tokio::sync::Mutex::new(())).collect(),
        }
    }
}

impl Owners {
    /// The experiments that own a thing; none if it does not exist.
    pub async fn of(
        &self,
        backend: &dyn Backend,
        kind: Owned,
        id: &str,
    ) -> Result<Option<Vec<ExperimentId>>, LookupError> {
        let key = (kind, id.to_owned());
        if let Some(found) = self.things.get(&key).await {
            return Ok(Some(found));
        }
        let found = backend.owners(kind, id).await?;
        if let Some(owners) = &found
            // The experiments of a dataset can be added to and removed from.
            && kind != Owned::Dataset
        {
            self.things.insert(key, owners.clone()).await;
        }
        Ok(found)
    }

    /// The claim on a trace; an owner known to the backend alone is adopted.
    pub async fn of_trace(
        &self,
        app: &App,
        backend: &dyn Backend,
        trace: &TraceId,
    ) -> Result<Option<Claim>, LookupError> {
        if let Some(claim) = self.traces.get(trace).await {
            return Ok(Some(claim));
        }
        if let Some(claim) = app.store.trace_owner(trace).await? {
            self.traces.insert(trace.clone(), claim.clone()).await;
            return Ok(Some(claim));
        }
        let _turn = self.turn(trace).await;
        self.adopt(app, backend, trace).await
    }

    /// Claims a trace for an experiment before it is written to, or finds who owns it already.
    pub async fn claim(
        &self,
        app: &App,
        backend: &dyn Backend,
        trace: &TraceId,
        experiment: &ExperimentId,
        started_by: Option<&Principal>,
    ) -> Result<Claim, LookupError> {
        if let Some(claim) = self.traces.get(trace).await
            && (claim.started_by.is_some() || started_by.is_none())
        {
            return Ok(Claim { fresh: false, ..claim });
        }
        let _turn = self.turn(trace).await;
        if app.store.trace_owner(trace).await?.is_none() {
            self.adopt(app, backend, trace).await?;
        }
        let claim = app.store.claim_trace(trace, experiment, started_by, app.clock.now()).await?;
        self.traces.insert(trace.clone(), claim.clone()).await;
        Ok(claim)
    }

    /// Claims a trace whose id the backend minted for this very call: there is no older owner to ask for.
    pub async fn claim_minted(
        &self,
        app: &App,
        trace: &TraceId,
        experiment: &ExperimentId,
        started_by: &Principal,
    ) -> Result<Claim, LookupError> {
        let _turn = self.turn(trace).await;
        let claim = app.store.claim_trace(trace, experiment, Some(started_by), app.clock.now()).await?;
        self.traces.insert(trace.clone(), claim.clone()).await;
        Ok(claim)
    }

    /// Gives a fresh claim back after the backend definitely refused the write.
    pub async fn release(
        &self,
        app: &App,
        trace: &TraceId,
        experiment: &ExperimentId,
    ) -> Result<(), LookupError> {
        let _turn = self.turn(trace).await;
        app.store.release_claim(trace, experiment).await?;
        self.traces.invalidate(trace).await;
        Ok(())
    }

    /// An experiment's facts, with its place in the folder tree made known to policy.
    pub async fn experiment(
        &self,
        app: &App,
        backend: &dyn Backend,
        id: &ExperimentId,
    ) -> Result<Option<ExperimentFacts>, LookupError> {
        if let Some(facts) = self.experiments.get(id).await {
            return Ok(Some(facts));
        }
        let Some(facts) = backend.experiment(id).await? else { return Ok(None) };
        self.learn(app, facts.clone()).await?;
        Ok(Some(facts))
    }

    /// Notes an experiment's facts. Its folder must be known before anything is decided on it.
    pub async fn learn(&self, app: &App, facts: ExperimentFacts) -> Result<(), LookupError> {
        if let Some(known) = self.experiments.get(&facts.id).await
            && known.name == facts.name
        {
            return Ok(());
        }
        let securable = Securable::experiment(&facts.id);
        let folder = Securable::folder_of_name(&facts.name);
        // An experiment outside folders needs no entry, unless it is one that lay in a folder before.
        if folder.is_some() || app.policy.places(&securable) {
            let parent = folder.unwrap_or_else(Securable::workspace);
            let change = app
                .store
                .put_securable(&securable, &parent, &facts.name, "tracegate", app.clock.now())
                .await?;
            if change.changed {
                app.reload_policy().await?;
            }
        }
        self.experiments.insert(facts.id.clone(), facts).await;
        Ok(())
    }

    /// An experiment's name, if it was asked for lately.
    pub async fn known_name(&self, id: &ExperimentId) -> Option<String> {
        self.experiments.get(id).await.map(|facts| facts.name)
    }

    /// Forgets an experiment's facts, after it was renamed.
    pub async fn forget_experiment(&self, id: &ExperimentId) {
        self.experiments.invalidate(id).await;
    }

    /// Claims traces that the backend says an experiment holds, those left out that are claimed already.
    pub async fn adopt_all(
        &self,
        app: &App,
        experiment: &ExperimentId,
        traces: &[TraceId],
    ) -> Result<Vec<Claim>, LookupError> {
        let nobody = nobody();
        let wanted: Vec<_> =
            traces.iter().map(|trace| (trace.clone(), experiment.clone(), Some(nobody.clone()))).collect();
        // Insert-if-absent, so that whoever claims one of them at the same moment is not overruled.
        Ok(app.store.claim_traces(&wanted, app.clock.now()).await?)
    }

    async fn adopt(
        &self,
        app: &App,
        backend: &dyn Backend,
        trace: &TraceId,
    ) -> Result<Option<Claim>, LookupError> {
        let Some(owners) = backend.owners(Owned::Trace, trace.as_str()).await? else { return Ok(None) };
        let [experiment] = owners.as_slice() else {
            return Err(LookupError::Inconsistent(format!("`{trace}` has {} owners", owners.len())));
        };
        // Whose it is matters to questions about the record, not to access: a failure denies nothing.
        match backend.trace_marks(trace).await {
            Ok(marks) => {
                let marks = marks.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                app.subjects.learn(trace, marks);
            }
            Err(error) => tracing::warn!(%error, %trace, "whose an adopted trace is could not be learnt"),
        }
        let claim = app.store.claim_trace(trace, experiment, Some(&nobody()), app.clock.now()).await?;
        self.traces.insert(trace.clone(), claim.clone()).await;
        Ok(Some(claim))
    }

    async fn turn(&self, trace: &TraceId) -> tokio::sync::MutexGuard<'_, ()> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        trace.hash(&mut hasher);
        let places = self.first_sights.len() as u64;
        let place = usize::try_from(hasher.finish() % places).unwrap_or(0);
        self.first_sights[place].lock().await
    }
}

/// Whose an adopted trace is. Nobody who calls is a group, so it is never its next writer's own.
fn nobody() -> Principal {
    Principal { kind: PrincipalKind::Group, name: Principal::ADMINS.to_owned() }
}
