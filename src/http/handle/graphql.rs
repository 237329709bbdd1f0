//! GraphQL: every field that names a securable is authorized; model versions shown under a run are
//! narrowed to those that the caller may read.

use serde_json::{Map, Value};

use super::super::call::Call;
use super::super::edit;
use super::super::error::Refusal;
use super::super::lookup::Demand;
use super::super::pages;
use super::After;
use crate::access::{Check, Privilege, Securable};
use crate::classify::{Thing, graphql};
use crate::wire::{Malformed, Reply, json};

pub(super) async fn prepare(call: &mut Call<'_>) -> Result<After, Refusal> {
    let object = call.json.clone().unwrap_or_default();
    let query = edit::text(&object, "query")?.ok_or_else(|| Malformed::new("query", "is missing"))?;
    let operation = edit::text(&object, "operationName")?;
    let none = Map::new();
    let variables = match json::field(&object, "variables")? {
        None => &none,
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err(Malformed::new("variables", "must be an object").into()),
    };
    let reading = graphql::read_query(query, operation, variables)
        .map_err(|error| Refusal::Denied(error.to_string()))?;
    for need in &reading.needs {
        call.resolve_thing(need.privilege, None, &Thing { target: need.target, id: need.id.clone() }).await?;
    }
    if call.demands.is_empty() {
        // `{ __typename }` names nothing and shows nothing.
        call.demands.push(Demand::on(Privilege::PolicyRead, Securable::workspace()));
    }
    Ok(After::GraphQl(reading.model_version_paths))
}

pub(super) async fn finish(
    call: &mut Call<'_>,
    paths: &[Vec<String>],
    reply: Reply,
) -> Result<Reply, Refusal> {
    if paths.is_empty() {
        return Ok(reply);
    }
    let status = reply.status;
    let mut answered = pages::read(call, &reply.headers, reply.body).await?;
    if let Some(data) = answered.get_mut("data") {
        for path in paths {
            narrow(call, data, path)?;
        }
    }
    Ok(pages::written(status, &answered))
}

/// Drops the model versions at the end of a path that the caller may not see, or that do not say whose
/// they are.
fn narrow(call: &Call<'_>, value: &mut Value, path: &[String]) -> Result<(), Refusal> {
    if let Value::Array(entries) = value {
        let Some((_, _)) = path.split_first() else {
            let mut kept = Vec::new();
            for entry in std::mem::take(entries) {
                if visible(call, &entry)? {
                    kept.push(entry);
                }
            }
            *entries = kept;
            return Ok(());
        };
        for entry in entries {
            narrow(call, entry, path)?;
        }
        return Ok(());
    }
    match path.split_first() {
        Some((step, rest)) => match value.get_mut(step) {
            Some(next) => narrow(call, next, rest),
            None => Ok(()),
        },
        None => {
            *value = Value::Null;
            Ok(())
        }
    }
}

fn visible(call: &Call<'_>, entry: &Value) -> Result<bool, Refusal> {
    let name = entry.get("name").and_then(Value::as_str);
    match name.and_then(|name| Securable::registered_model(name).ok()) {
        Some(securable) => call.allows(Check::new(Privilege::ModelRead, securable)),
        None => Ok(false),
    }
}
