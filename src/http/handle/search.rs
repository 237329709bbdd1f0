//! Listings without a named securable: narrowed to what the caller may see.

use serde_json::Value;

use super::super::call::Call;
use super::super::error::Refusal;
use super::super::pages::{self, Keep, Narrowed, Resumed};
use super::After;
use crate::access::{Check, ExperimentId, Privilege, Securable};
use crate::backend::{BackendError, ExperimentFacts};
use crate::policy::Listed;
use crate::wire::json;

/// Up to so many ids are put into the backend's own filter.
const IDS_IN_FILTER: usize = 500;
/// MLflow's own default page lengths.
const EXPERIMENTS_DEFAULT: usize = 1000;
const MODELS_DEFAULT: usize = 100;

/// Narrowed before the backend where grants name the experiments, and after it always.
pub(super) async fn experiments(call: &mut Call<'_>) -> Result<After, Refusal> {
    let wanted = pages::wanted(call, EXPERIMENTS_DEFAULT)?;
    let Resumed { skip, size } = pages::open(call).await?;
    if let Listed::Only(ids) = call.view()?.listed(call.caller, Privilege::ExperimentView)?
        && ids.len() <= IDS_IN_FILTER
    {
        narrow_filter(call, &ids)?;
    }
    let size = Some(size.unwrap_or(wanted));
    Ok(After::Narrow(Narrowed {
        list: "experiments",
        skip,
        size,
        refill: EXPERIMENTS_DEFAULT,
        wanted,
        keep: Keep::Experiments,
    }))
}

fn narrow_filter(call: &mut Call<'_>, ids: &[ExperimentId]) -> Result<(), Refusal> {
    // No experiment has this id, so an empty list finds nothing.
    let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let list = if quoted.is_empty() { "'-1'".to_owned() } else { quoted.join(", ") };
    let narrowing = format!("experiment_id IN ({list})");
    let joined = |filter: &str| match filter.trim() {
        "" => narrowing.clone(),
        filter => format!("{filter} AND {narrowing}"),
    };
    match &call.json {
        Some(object) => {
            let filter = super::super::edit::text(object, "filter")?.unwrap_or_default();
            let filter = joined(filter);
            super::super::edit::set_text(call.edit(), "filter", &filter)?;
        }
        None => {
            let filter = joined(call.head.query.one("filter")?.unwrap_or_default());
            call.head.query.set("filter", &filter);
        }
    }
    Ok(())
}

pub(super) async fn models(call: &mut Call<'_>, list: &'static str) -> Result<After, Refusal> {
    let wanted = pages::wanted(call, MODELS_DEFAULT)?;
    let Resumed { skip, size } = pages::open(call).await?;
    let size = Some(size.unwrap_or(wanted));
    Ok(After::Narrow(Narrowed { list, skip, size, refill: MODELS_DEFAULT, wanted, keep: Keep::Models }))
}

/// The scorers are named by ids that say nothing of their experiments; the answer does.
pub(super) fn scorer_configs(_call: &mut Call<'_>) -> Result<After, Refusal> {
    let (skip, size, wanted) = (0, None, usize::MAX);
    Ok(After::Narrow(Narrowed { list: "configs", skip, size, refill: 0, wanted, keep: Keep::ScorerConfigs }))
}

/// Whether the caller may see one entry. An entry that does not say what it is stays hidden.
pub(super) async fn keep(call: &Call<'_>, keep: Keep, entry: &Value) -> Result<bool, Refusal> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str);
    match keep {
        Keep::Experiments => {
            let id = text("experiment_id").and_then(|id| ExperimentId::parse(id).ok());
            let (Some(id), Some(name)) = (id, text("name")) else {
                return Err(BackendError::BrokenOff.into());
            };
            let facts = ExperimentFacts {
                id: id.clone(),
                name: name.to_owned(),
                artifact_location: text("artifact_location").unwrap_or_default().to_owned(),
                lifecycle_stage: text("lifecycle_stage").unwrap_or_default().to_owned(),
            };
            call.app.owners.learn(call.app, facts).await?;
            call.allows(Check::new(Privilege::ExperimentView, Securable::experiment(&id)))
        }
        Keep::Models => {
            let Some(securable) = text("name").and_then(|name| Securable::registered_model(name).ok()) else {
                return Ok(false);
            };
            call.allows(Check::new(Privilege::ModelRead, securable))
        }
        Keep::ScorerConfigs => {
            let object = entry.as_object().ok_or(BackendError::BrokenOff)?;
            let id = match json::field(object, "experiment_id")? {
                Some(Value::String(id)) => ExperimentId::parse(id).ok(),
                Some(Value::Number(id)) => ExperimentId::parse(&id.to_string()).ok(),
                _ => None,
            };
            let Some(id) = id else { return Ok(false) };
            call.app.owners.experiment(call.app, call.backend, &id).await?;
            call.allows(Check::new(Privilege::ScorerRead, Securable::experiment(&id)))
        }
    }
}
