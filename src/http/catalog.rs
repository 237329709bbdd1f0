//! The catalog over REST, as databricks-sdk and the open-source client of Unity Catalog call it.
//!
//! Who may not see something is answered as if it were not there, by every door alike. What changes something is
//! decided and done at one version of policy, so that nothing slips in between.

mod change;
mod columns;
mod create;
mod effective;
mod input;
mod kinds;
mod list;
mod metastore;
mod people;
mod permissions;
mod places;
mod privileges;
mod rules;
mod show;
mod sight;
mod temporary;

use super::call::Call;
use super::changes::settle;
use super::error::Refusal;
use super::trail::Trail;
use crate::access::SecurableKind;
use crate::store::{CatalogError, Change, Store, StoreError};
use crate::wire::{Malformed, Reply};

pub(super) use columns::{add as add_columns, may_add as may_add_columns};
pub(super) use create::{NewManaged as NewTable, make_table, make_view};
pub(super) use kinds::{denied, missing};
pub(super) use list::like;
pub(super) use people::bare;
pub(super) use permissions::may_grant;
pub(super) use rules::{FunctionDetail, Rule, redefine, set_rule};
pub(super) use show::table_type;
pub(super) use sight::{Sight, hides, of as sight, of_caller as sight_in, seen};

/// How often a change is decided anew because another came first.
const ATTEMPTS: usize = 20;

pub(super) async fn answer(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let name = call.operation.name.clone();
    let mut words = name.split('.').skip(1);
    let (noun, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match noun {
        "credentials" => temporary::answer(call, trail, verb).await,
        _ => answer_as(call, trail, noun, verb).await,
    }
}

/// Answers a call that came by another door as the catalog's own API would: no door is wider.
pub(super) async fn answer_as(
    call: &mut Call<'_>,
    trail: &Trail,
    noun: &str,
    verb: &str,
) -> Result<Reply, Refusal> {
    let kind = match noun {
        "metastore" => return metastore::answer(call, verb).await,
        "permissions" => return permissions::answer(call, trail, verb).await,
        "catalogs" => SecurableKind::Catalog,
        "schemas" => SecurableKind::Schema,
        "tables" => SecurableKind::Table,
        "volumes" => SecurableKind::Volume,
        "functions" => SecurableKind::Function,
        "external_locations" => SecurableKind::ExternalLocation,
        _ => return Err(Refusal::UnknownEndpoint),
    };
    match verb {
        "list" => list::list(call, kind).await,
        "summaries" => list::summaries(call).await,
        "create" => create::create(call, trail, kind).await,
        "get" => show::get(call, kind).await,
        "exists" => show::exists(call).await,
        "update" => change::update(call, trail, kind).await,
        "delete" => change::delete(call, trail, kind).await,
        _ => Err(Refusal::UnknownEndpoint),
    }
}

/// Decides and does a change at one version of policy. When another change comes first, both are done anew.
async fn at_one_version(
    call: &Call<'_>,
    trail: &Trail,
    kind: SecurableKind,
    work: impl AsyncFn(&Store) -> Result<Result<Change, CatalogError>, Refusal>,
) -> Result<(), Refusal> {
    for _ in 0..ATTEMPTS {
        // Taken before anything is decided: what is decided at a later one is not done at this.
        let version = call.view()?.version();
        let store = call.app.store.at_version(version);
        match work(&store).await? {
            Ok(change) => return settle(call.app, trail, change).await,
            Err(CatalogError::Store(StoreError::Moved { .. })) => call.app.confirm_policy().await?,
            Err(error) => return Err(kinds::refusal(kind, error)),
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

/// A yes or no in the query.
fn flag(call: &Call<'_>, name: &str) -> Result<bool, Refusal> {
    match call.head.query.one(name)? {
        None | Some("" | "false" | "False") => Ok(false),
        Some("true" | "True") => Ok(true),
        Some(_) => {
            Err(Malformed::new(format!("query parameter `{name}`"), "must be `true` or `false`").into())
        }
    }
}
