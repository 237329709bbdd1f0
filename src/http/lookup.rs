//! Look up: turns the things that a request names into checks on securables.

use super::call::Call;
use super::error::Refusal;
use crate::access::{Check, ExperimentId, LoggedModelId, Privilege, RunId, Securable, TraceId};
use crate::backend::Owned;
use crate::classify::{Named, Target, Thing};
use crate::wire::Malformed;

/// A privilege needed on the securables that one thing belongs to.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub privilege: Privilege,
    pub checks: Vec<Check>,
    /// Suffices instead, because the caller started the trace itself.
    pub own: Option<Vec<Check>>,
    /// How a refusal names the thing: "trace `tr-…`, or it does not exist".
    pub thing: String,
    /// By name, a refusal looks like a missing thing; this is its message.
    pub missing: Option<String>,
}

impl Demand {
    pub fn on(privilege: Privilege, securable: Securable) -> Self {
        let thing = match securable.kind {
            crate::access::SecurableKind::Experiment => {
                format!("experiment `{}`, or it does not exist", securable.id)
            }
            _ => format!("`{securable}`"),
        };
        Self { privilege, checks: vec![Check::new(privilege, securable)], own: None, thing, missing: None }
    }

    /// On whatever owns a thing; what does not exist belongs to the workspace, so that only those who
    /// may see everything learn that it is missing.
    fn on_owners(privilege: Privilege, owners: Option<&[ExperimentId]>, kind: &str, id: &str) -> Self {
        let securables: Vec<Securable> = match owners {
            Some(owners) if !owners.is_empty() => owners.iter().map(Securable::experiment).collect(),
            _ => vec![Securable::workspace()],
        };
        Self {
            privilege,
            checks: securables.into_iter().map(|securable| Check::new(privilege, securable)).collect(),
            own: None,
            thing: format!("{kind} `{id}`, or it does not exist"),
            missing: None,
        }
    }
}

impl Call<'_> {
    /// Resolves one named thing and adds what it demands.
    pub(super) async fn resolve(&mut self, named: &Named<'_>) -> Result<(), Refusal> {
        self.resolve_thing(named.need.privilege, named.need.own, &named.thing).await
    }

    /// As [`resolve`](Self::resolve), for a thing found elsewhere than by the manifest.
    pub(super) async fn resolve_thing(
        &mut self,
        privilege: Privilege,
        own: Option<Privilege>,
        thing: &Thing,
    ) -> Result<(), Refusal> {
        let Thing { target, id } = thing;
        match target {
            Target::Workspace => self.demands.push(Demand::on(privilege, Securable::workspace())),
            Target::Experiment => {
                let id = ExperimentId::parse(id)?;
                self.demand_experiment(privilege, &id).await?;
            }
            Target::ExperimentName => self.demand_experiment_name(privilege, id).await?,
            Target::Trace => {
                let trace = TraceId::parse(id)?;
                self.demand_trace(privilege, own, &trace).await?;
            }
            Target::Run => {
                RunId::parse(id)?;
                self.demand_owned(privilege, Owned::Run, "run", id).await?;
            }
            Target::LoggedModel => {
                LoggedModelId::parse(id)?;
                self.demand_owned(privilege, Owned::LoggedModel, "logged model", id).await?;
            }
            Target::Dataset => self.demand_owned(privilege, Owned::Dataset, "dataset", id).await?,
            Target::Issue => self.demand_owned(privilege, Owned::Issue, "issue", id).await?,
            Target::LabelSchema => {
                self.demand_owned(privilege, Owned::LabelSchema, "label schema", id).await?
            }
            Target::ReviewQueue => {
                self.demand_owned(privilege, Owned::ReviewQueue, "review queue", id).await?
            }
            Target::PromptJob => self.demand_owned(privilege, Owned::PromptJob, "job", id).await?,
            Target::Artifact => self.demand_artifact(privilege, id).await?,
            Target::File => super::files::demand(self, privilege, id).await?,
            Target::RegisteredModel => self.demand_model(privilege, id)?,
            Target::ModelSource => self.demand_model_source(id).await?,
            Target::PromptUri => self.demand_model(privilege, prompt_name(id)?)?,
        }
        Ok(())
    }

    /// Demands a privilege on an experiment, whose place in the folder tree is made known first.
    pub(super) async fn demand_experiment(
        &mut self,
        privilege: Privilege,
        id: &ExperimentId,
    ) -> Result<(), Refusal> {
        self.app.owners.experiment(self.app, self.backend, id).await?;
        self.demands.push(Demand::on(privilege, Securable::experiment(id)));
        Ok(())
    }

    async fn demand_experiment_name(&mut self, privilege: Privilege, name: &str) -> Result<(), Refusal> {
        let missing = format!("Could not find experiment with name '{name}'");
        let Some(facts) = self.backend.experiment_by_name(name).await? else {
            return Err(Refusal::NotFound(missing));
        };
        let securable = Securable::experiment(&facts.id);
        self.app.owners.learn(self.app, facts).await?;
        let mut demand = Demand::on(privilege, securable);
        demand.missing = Some(missing);
        self.demands.push(demand);
        Ok(())
    }

    /// Demands a privilege on the experiment that owns a trace.
    pub(super) async fn demand_trace(
        &mut self,
        privilege: Privilege,
        own: Option<Privilege>,
        trace: &TraceId,
    ) -> Result<(), Refusal> {
        let claim = self.app.owners.of_trace(self.app, self.backend, trace).await?;
        if let Some(claim) = &claim {
            self.app.owners.experiment(self.app, self.backend, &claim.experiment).await?;
        }
        let owners = claim.as_ref().map(|claim| std::slice::from_ref(&claim.experiment));
        let mut demand = Demand::on_owners(privilege, owners, "trace", trace.as_str());
        if let (Some(own), Some(claim)) = (own, &claim)
            && claim.started_by.as_ref().is_some_and(|starter| self.is(starter))
        {
            demand.own = Some(vec![Check::new(own, Securable::experiment(&claim.experiment))]);
        }
        self.demands.push(demand);
        self.trace_ids.push(trace.clone());
        Ok(())
    }

    pub(super) async fn demand_owned(
        &mut self,
        privilege: Privilege,
        kind: Owned,
        what: &str,
        id: &str,
    ) -> Result<(), Refusal> {
        let owners = self.app.owners.of(self.backend, kind, id).await?;
        for owner in owners.iter().flatten() {
            self.app.owners.experiment(self.app, self.backend, owner).await?;
        }
        self.demands.push(Demand::on_owners(privilege, owners.as_deref(), what, id));
        Ok(())
    }

    /// Demands a privilege on a registered model or prompt. Whoever cannot see it is told that there is
    /// none of that name, because clients create on that.
    pub(super) fn demand_model(&mut self, privilege: Privilege, name: &str) -> Result<(), Refusal> {
        let securable = Securable::registered_model(name)?;
        let mut visible = Demand::on(Privilege::ModelRead, securable.clone());
        visible.missing = Some(format!("Registered Model with name={name} not found"));
        self.demands.push(visible);
        if privilege != Privilege::ModelRead {
            self.demands.push(Demand::on(privilege, securable));
        }
        Ok(())
    }

    /// A model version is made from artifacts that its creator must be able to read.
    async fn demand_model_source(&mut self, source: &str) -> Result<(), Refusal> {
        let read = Privilege::ArtifactRead;
        if let Some(path) = crate::app::roots::proxied_path(source) {
            return self.demand_artifact(read, &path).await;
        }
        if let Some(run) = source.strip_prefix("runs:/").and_then(|rest| rest.split('/').next()) {
            RunId::parse(run)?;
            return self.demand_owned(read, Owned::Run, "run", run).await;
        }
        if let Some(rest) = source.strip_prefix("models:/") {
            let first = rest.split('/').next().unwrap_or_default();
            if LoggedModelId::parse(first).is_ok() {
                return self.demand_owned(read, Owned::LoggedModel, "logged model", first).await;
            }
            return self.demand_model(Privilege::ModelRead, first);
        }
        if PROMPT_SOURCES.contains(&source) {
            return Ok(());
        }
        // Any other location is the server's own disk or a store that it has credentials for.
        self.demands.push(Demand::on(Privilege::WorkspaceManage, Securable::workspace()));
        Ok(())
    }

    /// Demands what a path under the artifact proxy needs: trace payloads are traces, all else artifacts.
    pub(super) async fn demand_artifact(&mut self, privilege: Privilege, path: &str) -> Result<(), Refusal> {
        let segments = crate::app::roots::segments(path)?;
        if segments.is_empty() {
            self.demands.push(Demand::on(Privilege::WorkspaceManage, Securable::workspace()));
            return Ok(());
        }
        let place = self.app.roots.place(self.app, self.backend, &segments).await?;
        let Some((experiment, rest)) = place else {
            let mut demand = Demand::on(privilege, Securable::workspace());
            demand.thing = format!("artifact path `{path}`, or it does not exist");
            self.demands.push(demand);
            return Ok(());
        };
        self.app.owners.experiment(self.app, self.backend, &experiment).await?;
        let reads = privilege == Privilege::ArtifactRead;
        match rest.as_slice() {
            ["traces", trace, ..] => {
                let trace = TraceId::parse(trace)?;
                let claim = self.app.owners.of_trace(self.app, self.backend, &trace).await?;
                let foreign = claim.as_ref().is_some_and(|claim| claim.experiment != experiment);
                let securable =
                    if foreign { Securable::workspace() } else { Securable::experiment(&experiment) };
                let needed = if reads { Privilege::TraceRead } else { Privilege::ArtifactWrite };
                let mut demand = Demand::on(needed, securable.clone());
                demand.thing = format!("trace `{trace}`, or it does not exist");
                let own = claim.as_ref().and_then(|claim| claim.started_by.as_ref());
                if !reads && !foreign && (claim.is_none() || own.is_some_and(|starter| self.is(starter))) {
                    demand.own = Some(vec![Check::new(Privilege::TraceWrite, securable)]);
                }
                self.demands.push(demand);
                if !reads && !foreign {
                    self.claims.push((trace.clone(), experiment));
                }
                self.trace_ids.push(trace);
            }
            [] | ["traces"] if reads => {
                let securable = Securable::experiment(&experiment);
                self.demands.push(Demand::on(privilege, securable.clone()));
                self.demands.push(Demand::on(Privilege::TraceRead, securable));
            }
            [] | ["traces"] => {
                // Whoever may delete an experiment's whole tree may delete the experiment.
                self.demands
                    .push(Demand::on(Privilege::ExperimentDelete, Securable::experiment(&experiment)));
            }
            _ => self.demands.push(Demand::on(privilege, Securable::experiment(&experiment))),
        }
        Ok(())
    }
}

/// The prompt that `prompts:/NAME/VERSION` or `prompts:/NAME@ALIAS` names.
fn prompt_name(uri: &str) -> Result<&str, Malformed> {
    let refuse = || Malformed::new("prompt uri", "must be `prompts:/NAME/VERSION` or `prompts:/NAME@ALIAS`");
    let rest = uri.strip_prefix("prompts:/").ok_or_else(refuse)?.trim_start_matches('/');
    let (name, version) = rest.rsplit_once('/').or_else(|| rest.rsplit_once('@')).ok_or_else(refuse)?;
    if name.is_empty() || version.is_empty() || name.contains(['/', '@']) { Err(refuse()) } else { Ok(name) }
}

/// What MLflow's clients and pages send as the source of a prompt's version, which has no artifacts.
const PROMPT_SOURCES: [&str; 2] = ["dummy-source", "prompt-template"];
