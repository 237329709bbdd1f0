//! One object of the catalog, as it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::access::{Location, Principal, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::store::error::StoreError;
use crate::store::rows;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogObject {
    /// A UUID, which stays when the object is renamed.
    pub id: String,
    pub securable: Securable,
    pub owner: Option<Principal>,
    pub comment: Option<String>,
    pub properties: BTreeMap<String, String>,
    pub detail: Detail,
    /// Where its data lies, or that of what is made in it.
    #[serde(serialize_with = "as_text")]
    pub location: Option<Location>,
    #[serde(rename = "created_at_ms")]
    pub created_at: UnixMillis,
    pub created_by: String,
    #[serde(rename = "updated_at_ms")]
    pub updated_at: UnixMillis,
    pub updated_by: String,
}

/// What only one kind of object has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Detail {
    /// `storage_root`: below which a caller wants what is made in it; below our own root if absent.
    Catalog {
        storage_root: Option<String>,
    },
    Schema {
        storage_root: Option<String>,
    },
    Table {
        /// Whether a caller chose where it lies.
        external: bool,
        format: TableFormat,
        columns: Vec<Column>,
        row_filter: Option<RowFilter>,
    },
    View {
        definition: String,
        /// Who wrote the definition, if somebody else than who made the view.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        definer: Option<String>,
        columns: Vec<Column>,
    },
    Volume {
        external: bool,
    },
    /// As it was sent: what it takes, what it gives, and its body.
    Function {
        definition: Map<String, Value>,
    },
    ExternalLocation {
        credential_name: Option<String>,
        read_only: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TableFormat {
    Delta,
}

/// A column, in the words of the catalog's clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub type_text: Option<String>,
    pub type_json: Option<String>,
    pub type_name: Option<String>,
    pub type_precision: Option<i64>,
    pub type_scale: Option<i64>,
    pub type_interval_type: Option<String>,
    pub position: i64,
    pub comment: Option<String>,
    pub nullable: bool,
    pub partition_index: Option<i64>,
    /// What readers see instead of the value.
    pub mask: Option<ColumnMask>,
}

/// A function of these columns says which rows a reader sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFilter {
    pub function_name: String,
    /// Which function of that name was meant: another one that has it later is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_id: Option<String>,
    pub input_column_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnMask {
    pub function_name: String,
    /// As that of a row filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_id: Option<String>,
    pub using_column_names: Vec<String>,
}

impl Detail {
    pub fn kind(&self) -> SecurableKind {
        match self {
            Self::Catalog { .. } => SecurableKind::Catalog,
            Self::Schema { .. } => SecurableKind::Schema,
            Self::Table { .. } => SecurableKind::Table,
            Self::View { .. } => SecurableKind::View,
            Self::Volume { .. } => SecurableKind::Volume,
            Self::Function { .. } => SecurableKind::Function,
            Self::ExternalLocation { .. } => SecurableKind::ExternalLocation,
        }
    }
}

impl CatalogObject {
    /// Its own name, without those of its containers.
    pub fn name(&self) -> &str {
        let id = &self.securable.id;
        id.rsplit_once('.').map_or(id, |(_, name)| name)
    }
}

fn as_text<S: serde::Serializer>(location: &Option<Location>, serializer: S) -> Result<S::Ok, S::Error> {
    location.as_ref().map(Location::as_str).serialize(serializer)
}

/// Which objects share their names. A table and a view of one name would be one thing to a query.
pub(super) fn namespace(kind: SecurableKind) -> &'static str {
    match kind {
        SecurableKind::View => SecurableKind::Table.as_str(),
        other => other.as_str(),
    }
}

/// Where an object lies in the tree, as rows name it.
pub(super) fn parent(securable: &Securable) -> Result<Securable, StoreError> {
    securable.parent().ok_or_else(|| StoreError::Refused(format!("`{securable}` lies nowhere")))
}

macro_rules! select_objects {
    ($end:literal) => {
        concat!(
            "SELECT o.id, o.kind, o.full_name, o.comment, o.properties, o.detail, o.location, \
             o.created_at_ms, o.created_by, o.updated_at_ms, o.updated_by, g.principal AS owner \
             FROM catalog_objects o LEFT JOIN grants g \
             ON g.securable = o.kind || ':' || o.full_name AND g.privilege = 'OWNER' AND g.effect = 'allow' ",
            $end
        )
    };
}
pub(super) use select_objects;

pub(super) fn read(row: &AnyRow) -> Result<CatalogObject, StoreError> {
    let corrupt = |what: &str, error: String| StoreError::Corrupt(format!("{what} in the catalog: {error}"));
    let name = format!("{}:{}", rows::text(row, "kind")?, rows::text(row, "full_name")?);
    let securable: Securable = name.parse().map_err(|_| corrupt("a name", name.clone()))?;
    let json = |error: serde_json::Error| corrupt(&name, error.to_string());
    let detail: Detail = serde_json::from_str(&rows::text(row, "detail")?).map_err(json)?;
    if detail.kind() != securable.kind {
        return Err(corrupt(&name, "is of two kinds".to_owned()));
    }
    Ok(CatalogObject {
        id: rows::text(row, "id")?,
        owner: rows::optional_parsed(row, "owner")?,
        comment: row.try_get("comment")?,
        properties: serde_json::from_str(&rows::text(row, "properties")?).map_err(json)?,
        detail,
        location: row.try_get::<Option<String>, _>("location")?.map(of_ours),
        created_at: rows::time(row, "created_at_ms")?,
        created_by: rows::text(row, "created_by")?,
        updated_at: rows::time(row, "updated_at_ms")?,
        updated_by: rows::text(row, "updated_by")?,
        securable,
    })
}

/// A location that was canonical when it was written.
pub(super) fn of_ours(text: String) -> Location {
    Location::kept(text)
}

pub(super) fn written(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(format!("cannot be kept: {error}")))
}
