//! Commands: what statements do besides reading. Each goes through the catalog's own API, so that SQL lets nobody do
//! what a call of that would not.

mod add_columns;
mod create_table;
mod insert;
mod names;
mod show;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::add_columns::add_columns;
use self::create_table::create_table;
use self::insert::insert;
use self::names::{default, full, kind_of, one, place, securable};
use self::show::{describe, in_schema, list, named_like, show_grants};
use super::failure;
use super::statements::Asked;
use crate::access::{Check, Privilege, Securable, SecurableKind};
use crate::app::statements::{Failure, Rows, Witness};
use crate::http::call::Call;
use crate::http::catalog::{self, FunctionDetail, Rule};
use crate::http::error::{CatalogFault, Refusal};
use crate::http::trail::Trail;
use crate::lake::arrow::array::{ArrayRef, RecordBatch};
use crate::lake::arrow::datatypes::{DataType, Field, Schema};
use crate::lake::sql::{Command, Defaults, Name};
use crate::policy::{Permit, Requirement};
use crate::wire::{Body, Query as UrlQuery, Reply};

/// Why a command was not done.
pub(super) enum Stopped {
    Failed(Failure),
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

fn failed(sql_state: &'static str, message: impl Into<String>) -> Stopped {
    Stopped::Failed(failure::bad(sql_state, message.into()))
}

/// Does a command, and answers what it shows.
pub(super) async fn run(
    call: &mut Call<'_>,
    trail: &mut Trail,
    permit: &Permit,
    command: Command,
    asked: &Asked,
) -> Result<Rows, Stopped> {
    let names = &asked.defaults;
    match command {
        Command::CreateCatalog { name, if_not_exists, comment } => {
            let body = json!({ "name": one(&name)?, "comment": comment });
            made(rest(call, trail, "catalogs", "create", "", &[], body).await, if_not_exists)
        }
        Command::CreateSchema { name, if_not_exists, comment } => {
            let named = full(SecurableKind::Schema, &name, names)?;
            let (catalog, schema) = named.id.split_once('.').unwrap_or_default();
            let body = json!({ "name": schema, "catalog_name": catalog, "comment": comment });
            made(rest(call, trail, "schemas", "create", "", &[], body).await, if_not_exists)
        }
        Command::CreateTable { name, if_not_exists, columns, location, comment } => {
            let named = full(SecurableKind::Table, &name, names)?;
            create_table(call, trail, &named, columns, location, comment, if_not_exists).await
        }
        Command::CreateView { name, or_replace, if_not_exists, definition, comment } => {
            let named = full(SecurableKind::View, &name, names)?;
            let mut body = place(&named);
            body.insert("table_type".to_owned(), json!("VIEW"));
            body.insert("view_definition".to_owned(), json!(definition));
            body.insert("comment".to_owned(), json!(comment));
            let created = rest(call, trail, "tables", "create", "", &[], Value::Object(body)).await;
            match created {
                Err(refusal) if or_replace && is_taken(&refusal) => {
                    catalog::redefine(call, trail, &named, &definition, None, comment).await?;
                    Ok(done())
                }
                other => made(other, if_not_exists),
            }
        }
        Command::CreateVolume { name, if_not_exists, location, comment } => {
            let named = full(SecurableKind::Volume, &name, names)?;
            let mut body = place(&named);
            let of = if location.is_some() { "EXTERNAL" } else { "MANAGED" };
            body.insert("volume_type".to_owned(), json!(of));
            body.insert("storage_location".to_owned(), json!(location));
            body.insert("comment".to_owned(), json!(comment));
            made(rest(call, trail, "volumes", "create", "", &[], Value::Object(body)).await, if_not_exists)
        }
        Command::CreateFunction { name, or_replace, function } => {
            let named = full(SecurableKind::Function, &name, names)?;
            let (parameters, returns, body) = (function.parameters, function.returns, function.body);
            let detail = FunctionDetail { parameters, returns, body };
            let mut info = place(&named);
            info.extend(detail.definition());
            info.insert("comment".to_owned(), json!(function.comment));
            let body = json!({ "function_info": info });
            match rest(call, trail, "functions", "create", "", &[], body).await {
                Err(refusal) if or_replace && is_taken(&refusal) => {
                    catalog::redefine(call, trail, &named, "", Some(&detail), function.comment).await?;
                    Ok(done())
                }
                other => made(other, false),
            }
        }
        Command::Drop { kind, name, if_exists, cascade } => {
            let (kind, noun) = kind_of(&kind)?;
            let named = full(kind, &name, names)?;
            if matches!(kind, SecurableKind::Table | SecurableKind::View) {
                same_kind(call, &named).await.or_else(|stopped| ignore_missing(stopped, if_exists))?;
            }
            let force = [("force", if cascade { "true" } else { "false" })];
            match rest(call, trail, noun, "delete", &named.id, &force, Value::Null).await {
                Err(refusal) => ignore_missing(refusal.into(), if_exists).map(|()| done()),
                Ok(_) => Ok(done()),
            }
        }
        Command::SetOwner { kind, name, owner } => {
            let (kind, noun) = kind_of(&kind)?;
            let named = full(kind, &name, names)?;
            rest(call, trail, noun, "update", &named.id, &[], json!({ "owner": owner })).await?;
            Ok(done())
        }
        Command::Grant { privileges, kind, name, principal } => {
            grant(call, trail, &kind, &name, names, json!({ "principal": principal, "add": privileges }))
                .await
        }
        Command::Revoke { privileges, kind, name, principal } => {
            grant(call, trail, &kind, &name, names, json!({ "principal": principal, "remove": privileges }))
                .await
        }
        Command::ShowGrants { principal, kind, name } => {
            show_grants(call, trail, principal, &kind, &name, names).await
        }
        Command::ShowCatalogs { like } => {
            let listed = list(call, trail, "catalogs", &[]).await?;
            Ok(table(&["catalog"], named_like(&listed, like.as_deref()).map(|name| vec![name]).collect()))
        }
        Command::ShowSchemas { catalog, like } => {
            let catalog = match catalog {
                Some(name) => one(&name)?,
                None => default(&names.catalog, "catalog")?,
            };
            let listed = list(call, trail, "schemas", &[("catalog_name", &catalog)]).await?;
            Ok(table(
                &["databaseName"],
                named_like(&listed, like.as_deref()).map(|name| vec![name]).collect(),
            ))
        }
        Command::ShowTables { schema, like } => {
            let (place, listed) = in_schema(call, trail, "tables", schema, names).await?;
            let rows = named_like(&listed, like.as_deref())
                .map(|name| vec![place.clone(), name, Some("false".to_owned())]);
            Ok(table(&["database", "tableName", "isTemporary"], rows.collect()))
        }
        Command::ShowVolumes { schema, like } => {
            let (place, listed) = in_schema(call, trail, "volumes", schema, names).await?;
            let rows = named_like(&listed, like.as_deref()).map(|name| vec![place.clone(), name]);
            Ok(table(&["database", "volume_name"], rows.collect()))
        }
        Command::Describe { kind, name, extended } => {
            describe(call, trail, &kind, &name, names, extended).await
        }
        Command::SetRowFilter { table, filter } => {
            let named = full(SecurableKind::Table, &table, names)?;
            let rule = filter.map(|(function, columns)| rule(&function, columns, names)).transpose()?;
            catalog::set_rule(call, trail, &named, None, rule.as_ref()).await?;
            Ok(done())
        }
        Command::AddColumns { table, columns } => {
            let named = full(SecurableKind::Table, &table, names)?;
            add_columns(call, trail, &named, columns).await
        }
        Command::SetMask { table, column, mask } => {
            let named = full(SecurableKind::Table, &table, names)?;
            // The masked column comes first among those that the function is given.
            let rule = mask
                .map(|(function, columns)| rule(&function, columns.into_iter().skip(1).collect(), names))
                .transpose()?;
            catalog::set_rule(call, trail, &named, Some(&column), rule.as_ref()).await?;
            Ok(done())
        }
        Command::Insert { table, columns, query } => {
            let named = full(SecurableKind::Table, &table, names)?;
            insert(call, trail, permit, &named, &columns, query, asked).await
        }
    }
}

fn rule(function: &Name, columns: Vec<String>, names: &Defaults) -> Result<Rule, Stopped> {
    Ok(Rule { function: full(SecurableKind::Function, function, names)?, columns })
}

/// A call of the catalog's API, as it would come by its own path.
async fn rest(
    call: &mut Call<'_>,
    trail: &Trail,
    noun: &str,
    verb: &str,
    name: &str,
    query: &[(&str, &str)],
    body: Value,
) -> Result<Map<String, Value>, Refusal> {
    call.params = vec![("name".to_owned(), name.to_owned())];
    if noun == "permissions" {
        let (kind, name) = name.split_once(':').unwrap_or_default();
        call.params = vec![("kind".to_owned(), kind.to_owned()), ("name".to_owned(), name.to_owned())];
    }
    call.head.query = UrlQuery::parse("")?;
    for (key, value) in query {
        call.head.query.set(key, value);
    }
    call.body = match without_nulls(body) {
        Value::Null => Body::Empty,
        body => Body::memory(body.to_string()),
    };
    call.json = None;
    let Reply { body, .. } = catalog::answer_as(call, trail, noun, verb).await?;
    let bytes = match body {
        Body::Replay(replay) => replay.as_memory().cloned().unwrap_or_default(),
        _ => bytes::Bytes::new(),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refusal::Internal("the catalog answered no object".to_owned())),
    }
}

fn without_nulls(mut body: Value) -> Value {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        object.values_mut().for_each(|value| *value = without_nulls(value.take()));
    }
    body
}

fn is_taken(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Catalog { fault: CatalogFault::Taken, .. })
}

/// What there is already is as good as made, to whom could have made it.
fn made(created: Result<Map<String, Value>, Refusal>, if_not_exists: bool) -> Result<Rows, Stopped> {
    match created {
        Err(refusal) if if_not_exists && is_taken(&refusal) => Ok(done()),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => Ok(done()),
    }
}

fn ignore_missing(stopped: Stopped, if_exists: bool) -> Result<(), Stopped> {
    match stopped {
        Stopped::Refused(Refusal::Catalog { fault: CatalogFault::Missing, .. }) if if_exists => Ok(()),
        other => Err(other),
    }
}

/// `DROP TABLE` drops no view, and the other way round.
async fn same_kind(call: &Call<'_>, named: &Securable) -> Result<(), Stopped> {
    let (object, _) = catalog::seen(call, named, true).await?;
    if object.securable.kind == named.kind {
        return Ok(());
    }
    Err(failed(
        "42809",
        format!("[WRONG_COMMAND_FOR_OBJECT_TYPE] `{}` is a {}", named.id, object.securable.kind.as_str()),
    ))
}

fn permit(call: &Call<'_>, privilege: Privilege, on: &Securable) -> Result<Permit, Stopped> {
    let needs = Requirement::All(vec![Check::new(privilege, on.clone())]);
    let (_, permit) = call.view()?.authorize(Some(call.caller), &needs)?;
    permit.ok_or_else(|| catalog::denied(&call.caller.principal, privilege, on).into())
}

async fn grant(
    call: &mut Call<'_>,
    trail: &Trail,
    kind: &str,
    name: &Name,
    names: &Defaults,
    change: Value,
) -> Result<Rows, Stopped> {
    let on = securable(call, kind, name, names).await?;
    rest(call, trail, "permissions", "update", &on.to_string(), &[], json!({ "changes": [change] })).await?;
    Ok(done())
}

/// Rows of texts.
fn table(titles: &[&str], rows: Vec<Vec<Option<String>>>) -> Rows {
    use crate::lake::arrow::array::StringArray;
    let schema =
        Schema::new(titles.iter().map(|title| Field::new(*title, DataType::Utf8, true)).collect::<Vec<_>>());
    let column = |place: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.get(place).cloned().flatten()).collect::<StringArray>())
    };
    let columns = (0..titles.len()).map(column).collect();
    let schema = Arc::new(schema);
    let chunks = match RecordBatch::try_new(Arc::clone(&schema), columns) {
        Ok(batch) if batch.num_rows() > 0 => vec![batch],
        _ => Vec::new(),
    };
    let bytes = chunks.iter().map(RecordBatch::get_array_memory_size).sum();
    Rows { schema, chunks, bytes, truncated: false, witness: Witness::default() }
}

fn done() -> Rows {
    table(&[], Vec::new())
}
