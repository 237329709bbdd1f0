//! Objects as clients read them. Both clients' fields are there; each leaves out those of the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::sight::{self, Sight};
use super::{flag, people};
use crate::access::{Principal, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::pages;
use crate::store::{CatalogObject, Detail};
use crate::wire::Reply;

/// What of an answer a client does not want.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Omitted {
    pub columns: bool,
    pub properties: bool,
}

/// What every shown object needs besides itself.
pub(super) struct Frame {
    pub metastore_id: String,
    pub names: BTreeMap<Principal, String>,
}

impl Frame {
    pub async fn of(call: &Call<'_>, objects: &[&CatalogObject]) -> Result<Self, Refusal> {
        let owners: Vec<&Principal> = objects.iter().filter_map(|object| object.owner.as_ref()).collect();
        let metastore_id = super::metastore::id(call).await?;
        Ok(Self { metastore_id, names: people::spelled(call, &owners).await? })
    }
}

/// The name in the path, as the securable of a kind.
pub(super) fn named(call: &Call<'_>, kind: SecurableKind) -> Result<Securable, Refusal> {
    Ok(Securable::new(kind, call.param("name"))?)
}

pub(super) async fn get(call: &Call<'_>, kind: SecurableKind) -> Result<Reply, Refusal> {
    let named = named(call, kind)?;
    let (object, sight) = sight::seen(call, &named, flag(call, "include_browse")?).await?;
    one(call, &object, sight).await
}

/// Whether there is a table that the caller sees; what is hidden is none.
pub(super) async fn exists(call: &Call<'_>) -> Result<Reply, Refusal> {
    let named = named(call, SecurableKind::Table)?;
    let exists = match sight::seen(call, &named, true).await {
        Ok(_) => true,
        Err(Refusal::Catalog { .. }) => false,
        Err(other) => return Err(other),
    };
    Ok(pages::written(200, &Map::from_iter([("table_exists".to_owned(), json!(exists))])))
}

/// One object as the whole answer.
pub(super) async fn one(call: &Call<'_>, object: &CatalogObject, sight: Sight) -> Result<Reply, Refusal> {
    let frame = Frame::of(call, &[object]).await?;
    Ok(pages::written(200, &info(object, sight, &frame, Omitted::default())))
}

pub(super) fn info(
    object: &CatalogObject,
    sight: Sight,
    frame: &Frame,
    omitted: Omitted,
) -> Map<String, Value> {
    let mut info = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            info.insert(key.to_owned(), value);
        }
    };
    let id = &object.securable.id;
    let mut containers = id.split('.');
    put("name", json!(object.name()));
    put("full_name", json!(id));
    if !matches!(object.detail, Detail::Catalog { .. } | Detail::ExternalLocation { .. }) {
        put("catalog_name", json!(containers.next()));
    }
    if id.matches('.').count() == 2 {
        put("schema_name", json!(containers.next()));
    }
    put("comment", json!(object.comment));
    put("metastore_id", json!(frame.metastore_id));
    if let Some(table_type) = table_type(&object.detail) {
        put("table_type", json!(table_type));
    }
    if sight < Sight::Full {
        put("browse_only", json!(true));
        return info;
    }
    let owner = object.owner.as_ref();
    put(
        "owner",
        json!(owner.map(|owner| frame.names.get(owner).map_or(owner.name.as_str(), String::as_str))),
    );
    put("created_at", json!(object.created_at.0));
    put("created_by", json!(people::bare(&object.created_by)));
    put("updated_at", json!(object.updated_at.0));
    put("updated_by", json!(people::bare(&object.updated_by)));
    let location = object.location.as_ref().map(|location| location.as_str());
    match &object.detail {
        Detail::Catalog { storage_root } => {
            put("id", json!(object.id));
            put("catalog_type", json!("MANAGED_CATALOG"));
            put("securable_type", json!("CATALOG"));
            put("isolation_mode", json!("OPEN"));
            put("storage_root", json!(storage_root));
            put("storage_location", json!(location));
        }
        Detail::Schema { storage_root } => {
            put("schema_id", json!(object.id));
            put("catalog_type", json!("MANAGED_CATALOG"));
            put("storage_root", json!(storage_root));
            put("storage_location", json!(location));
        }
        Detail::Table { format, columns, row_filter, .. } => {
            put("table_id", json!(object.id));
            put("data_source_format", json!(format));
            put("storage_location", json!(location));
            put("row_filter", row_filter.as_ref().map_or(Value::Null, without_id));
            if !omitted.columns {
                put("columns", columns.iter().map(column).collect());
            }
        }
        Detail::View { definition, columns, .. } => {
            put("table_id", json!(object.id));
            put("view_definition", json!(definition));
            if !omitted.columns {
                put("columns", columns.iter().map(column).collect());
            }
        }
        Detail::Volume { external } => {
            put("volume_id", json!(object.id));
            put("volume_type", json!(if *external { "EXTERNAL" } else { "MANAGED" }));
            put("storage_location", json!(location));
        }
        Detail::Function { definition } => {
            put("function_id", json!(object.id));
            definition.iter().for_each(|(key, value)| put(key, value.clone()));
        }
        Detail::ExternalLocation { credential_name, read_only } => {
            put("id", json!(object.id));
            put("url", json!(location));
            put("credential_name", json!(credential_name));
            put("read_only", json!(read_only));
            put("isolation_mode", json!("ISOLATION_MODE_OPEN"));
        }
    }
    let has_properties = !matches!(
        object.detail,
        Detail::Function { .. } | Detail::Volume { .. } | Detail::ExternalLocation { .. }
    );
    if has_properties && !omitted.properties {
        put("properties", json!(object.properties));
    }
    info
}

pub(in crate::http) fn table_type(detail: &Detail) -> Option<&'static str> {
    match detail {
        Detail::Table { external: true, .. } => Some("EXTERNAL"),
        Detail::Table { .. } => Some("MANAGED"),
        Detail::View { .. } => Some("VIEW"),
        _ => None,
    }
}

/// Without what it does not have.
fn column(column: &crate::store::Column) -> Value {
    let mut shown = json!(column);
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    if let Some(mask) = &column.mask {
        shown["mask"] = without_id(mask);
    }
    shown
}

/// A filter or mask as clients know it.
fn without_id(rule: &impl serde::Serialize) -> Value {
    let mut shown = json!(rule);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("function_id");
    }
    shown
}
