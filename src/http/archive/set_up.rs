//! Sets archives up, and ends them.

use std::collections::BTreeMap;

use super::mark::WRITES_FOR_MS;
use super::{demands, select};
use crate::access::{Check, ExperimentId, Privilege, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::catalog::{self, NewTable};
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::own::demand;
use crate::http::tracing::{access, columns, is_seen};
use crate::http::trail::Trail;
use crate::lake::schemas;
use crate::store::{Archive, ArchiveUpdate, CatalogObject};
use crate::wire::Malformed;

/// How often Databricks' clients are told that rows come; they come at once.
const FREQUENCY_MINUTES: u32 = 15;

/// What is asked of an archive.
pub(in crate::http) struct Wanted {
    pub table: Option<String>,
    pub sample_rate: Option<f64>,
    pub filter: Option<String>,
    /// Whether one that is there may be changed.
    pub may_exist: bool,
}

/// The experiment, if it is there and the caller manages it.
pub(in crate::http) async fn managed(
    call: &Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
    privilege: Privilege,
) -> Result<(), Refusal> {
    let check = Check::new(privilege, Securable::experiment(experiment));
    trail.demands(check.securable.to_string(), check.privilege.to_string());
    let facts = call.app.owners.experiment(call.app, call.backend, experiment).await?;
    demand(call, check)?;
    match facts {
        Some(_) => Ok(()),
        None => Err(Refusal::NotFound(format!("experiment `{experiment}` does not exist"))),
    }
}

/// Sets an archive up, or changes it. From now on it runs in the caller's name.
pub(in crate::http) async fn set(
    call: &Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
    wanted: Wanted,
) -> Result<Archive, Refusal> {
    managed(call, trail, experiment, Privilege::ExperimentManage).await?;
    let sampled_ppm = wanted.sample_rate.map(|rate| select::ppm(rate, "sample_rate")).transpose()?;
    let filter = wanted.filter.filter(|filter| !filter.trim().is_empty());
    filter.as_deref().map(select::parsed).transpose()?;
    let standing = call.app.archives.of(experiment);
    if let Some(standing) = &standing
        && !wanted.may_exist
    {
        return Err(taken(standing));
    }
    let table = match (&wanted.table, &standing) {
        (Some(name), _) => Securable::new(SecurableKind::Table, name)
            .map_err(|error| Malformed::new("table", error.to_string()))?,
        (None, Some(standing)) => standing.table.clone(),
        (None, None) => return Err(Malformed::new("table", "is missing: `CATALOG.SCHEMA.TABLE`").into()),
    };
    if let Some(standing) = &standing
        && standing.table != table
    {
        return Err(taken(standing));
    }
    let object = table_for(call, trail, &table).await?;
    for check in demands(experiment, &object.securable) {
        trail.demands(check.securable.to_string(), check.privilege.to_string());
        demand(call, check)?;
    }
    let archive = Archive {
        id: uuid::Uuid::new_v4().to_string(),
        experiment: experiment.clone(),
        table,
        table_id: object.id,
        owner: call.caller.principal.clone(),
        sampled_ppm: sampled_ppm.unwrap_or(select::WHOLE_PPM),
        filter: filter.clone(),
        frequency_minutes: FREQUENCY_MINUTES,
        created_at: call.app.clock.now(),
    };
    let (app, now, by) = (call.app, call.app.clock.now(), call.caller.principal.to_string());
    let staleness = i64::try_from(app.config.policy.max_staleness_ms).unwrap_or(i64::MAX / 2);
    let look_again = UnixMillis(now.0 + staleness + WRITES_FOR_MS);
    let added = app.store.add_archive(&archive, look_again, &by, now).await?;
    if added.changed {
        settle(app, trail, added).await?;
        return standing_now(call, experiment);
    }
    app.confirm_policy().await?;
    let standing = standing_now(call, experiment)?;
    if !wanted.may_exist || standing.table != archive.table || standing.table_id != archive.table_id {
        return Err(taken(&standing));
    }
    let update = ArchiveUpdate {
        owner: Some(archive.owner),
        sampled_ppm: Some(archive.sampled_ppm),
        filter: Some(archive.filter),
        frequency_minutes: None,
    };
    change(call, trail, experiment, &update).await
}

/// Changes an archive that is there.
pub(in crate::http) async fn change(
    call: &Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
    update: &ArchiveUpdate,
) -> Result<Archive, Refusal> {
    let (app, by) = (call.app, call.caller.principal.to_string());
    let changed = app.store.change_archive(experiment, update, &by, app.clock.now()).await?;
    settle(app, trail, changed.ok_or_else(|| none(experiment))?).await?;
    standing_now(call, experiment)
}

/// Ends an archive. What it wrote stays.
pub(in crate::http) async fn end(
    call: &Call<'_>,
    trail: &mut Trail,
    experiment: &ExperimentId,
) -> Result<(), Refusal> {
    managed(call, trail, experiment, Privilege::ExperimentManage).await?;
    let (app, by) = (call.app, call.caller.principal.to_string());
    let ended = app.store.end_archive(experiment, &by, app.clock.now()).await?;
    settle(app, trail, ended.ok_or_else(|| none(experiment))?).await
}

pub(super) fn none(experiment: &ExperimentId) -> Refusal {
    Refusal::NotFound(format!("experiment `{experiment}` is not archived"))
}

fn taken(standing: &Archive) -> Refusal {
    let (experiment, table) = (&standing.experiment, &standing.table.id);
    Refusal::Conflict(format!("experiment `{experiment}` is archived into `{table}` already; end that first"))
}

fn standing_now(call: &Call<'_>, experiment: &ExperimentId) -> Result<Archive, Refusal> {
    call.app.archives.of(experiment).ok_or_else(|| none(experiment))
}

/// The table by its name, made if there is none. The caller may write to it, and it has the columns.
async fn table_for(call: &Call<'_>, trail: &mut Trail, named: &Securable) -> Result<CatalogObject, Refusal> {
    let wanted = schemas::archive();
    if !is_seen(call, named).await? {
        let comment = Some("Traces of an experiment, as they came and changed".to_owned());
        let new = NewTable { columns: columns::of(&wanted), properties: BTreeMap::new(), comment };
        catalog::make_table(call, trail, named, new).await?;
    }
    let needs = [(Privilege::Modify, named.clone())];
    let (permit, mut objects) = access::tables(call, trail, &needs).await?;
    let object = objects.pop().ok_or_else(|| catalog::missing(named))?;
    if object.securable.kind != SecurableKind::Table {
        return Err(Malformed::new("table", "must be a table, and no view").into());
    }
    let place = access::location(&object)?;
    call.app.lake.create(&permit, place, wanted.clone(), &BTreeMap::new()).await?;
    let there = call.app.lake.columns(&permit, place).await?;
    for field in wanted.fields() {
        let fits = there.field_with_name(field.name()).is_ok_and(|column| {
            // How a reader names the parts of lists and maps differs, and says nothing.
            columns::of(&one(column)).first().map(|column| column.type_text.clone())
                == columns::of(&one(field)).first().map(|column| column.type_text.clone())
        });
        if !fits {
            let problem = format!(
                "`{}` has no column `{}` as archives have it; name a table that is not there yet",
                named.id,
                field.name()
            );
            return Err(Malformed::new("table", problem).into());
        }
    }
    Ok(object)
}

fn one(field: &crate::lake::arrow::datatypes::Field) -> crate::lake::arrow::datatypes::Schema {
    crate::lake::arrow::datatypes::Schema::new(vec![field.clone()])
}
