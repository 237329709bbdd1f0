//! What names in commands mean.

use serde_json::{Map, Value, json};

use super::{Stopped, failed};
use crate::access::{Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::catalog;
use crate::http::error::Refusal;
use crate::lake::sql::{Defaults, Name};

pub(super) fn kind_of(kind: &str) -> Result<(SecurableKind, &'static str), Stopped> {
    Ok(match kind {
        "CATALOG" => (SecurableKind::Catalog, "catalogs"),
        "SCHEMA" => (SecurableKind::Schema, "schemas"),
        "TABLE" => (SecurableKind::Table, "tables"),
        "VIEW" => (SecurableKind::View, "tables"),
        "VOLUME" => (SecurableKind::Volume, "volumes"),
        "FUNCTION" => (SecurableKind::Function, "functions"),
        "EXTERNAL LOCATION" | "EXTERNAL_LOCATION" => (SecurableKind::ExternalLocation, "external_locations"),
        "METASTORE" => (SecurableKind::Metastore, "metastore"),
        _ => return Err(failed("42601", "[INVALID_STATEMENT] this kind of object is not known here")),
    })
}

pub(super) fn one(name: &Name) -> Result<String, Stopped> {
    match name.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(failed("42601", "[INVALID_STATEMENT] a name of one part is needed")),
    }
}

pub(super) fn default(value: &Option<String>, what: &str) -> Result<String, Stopped> {
    let missing = || {
        failed("42601", format!("[INVALID_STATEMENT] the name lacks its {what}; write it, or send `{what}`"))
    };
    value.clone().ok_or_else(missing)
}

/// The securable that a name of one to three parts means.
pub(super) fn full(kind: SecurableKind, name: &Name, defaults: &Defaults) -> Result<Securable, Stopped> {
    let wanted = match kind {
        SecurableKind::Metastore => return Ok(Securable::metastore()),
        SecurableKind::Catalog | SecurableKind::ExternalLocation => 1,
        SecurableKind::Schema => 2,
        _ => 3,
    };
    let mut parts = name.clone();
    if parts.is_empty() || parts.len() > wanted || parts.iter().any(|part| part.contains('.')) {
        return Err(failed("42601", format!("[INVALID_STATEMENT] a name of {wanted} parts is needed")));
    }
    if parts.len() + 1 == wanted && wanted == 2 || parts.len() + 2 == wanted {
        if wanted == 3 {
            parts.insert(0, default(&defaults.schema, "schema")?);
        }
        parts.insert(0, default(&defaults.catalog, "catalog")?);
    } else if parts.len() + 1 == wanted {
        parts.insert(0, default(&defaults.catalog, "catalog")?);
    }
    Ok(Securable::new(kind, &parts.join(".")).map_err(Refusal::from)?)
}

/// The fields of a body that say where something is made.
pub(super) fn place(named: &Securable) -> Map<String, Value> {
    let mut parts = named.id.splitn(3, '.');
    ["catalog_name", "schema_name", "name"]
        .into_iter()
        .map(|key| (key.to_owned(), json!(parts.next().unwrap_or_default())))
        .collect()
}

/// What is granted on; a view is granted on as a table, too.
pub(super) async fn securable(
    call: &Call<'_>,
    kind: &str,
    name: &Name,
    names: &Defaults,
) -> Result<Securable, Stopped> {
    let (kind, _) = kind_of(kind)?;
    let named = full(kind, name, names)?;
    if kind == SecurableKind::Metastore {
        return Ok(named);
    }
    Ok(catalog::seen(call, &named, true).await?.0.securable)
}
