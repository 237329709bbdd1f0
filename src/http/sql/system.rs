//! Tables of our own: `information_schema` shows of the catalog what its reader sees, `system.access.audit` the record
//! to whoever may read it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::governor::{Governor, full, of_store};
use crate::access::{Effect, Privilege, Securable, SecurableKind, Verdict};
use crate::http::catalog::{Sight, table_type};
use crate::lake::arrow::array::RecordBatch;
use crate::lake::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use crate::lake::sql::{Refused, TableName};
use crate::store::audit_index::AuditQuery;
use crate::store::{CatalogObject, Detail};

/// Objects that one statement looks at.
const MOST: usize = 20_000;
const BATCH: i64 = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum System {
    Audit,
    /// A view of `information_schema`, of one catalog or of all.
    Information {
        of: Option<String>,
        view: &'static str,
    },
    /// Nothing that there is.
    Unknown,
}

const VIEWS: [&str; 8] =
    ["catalogs", "columns", "routines", "schemata", "table_privileges", "tables", "views", "volumes"];

impl System {
    /// What a name that is kept for us means.
    pub fn named(name: &TableName) -> Option<Self> {
        let information = name.schema == "information_schema";
        if name.catalog != "system" && !information {
            return None;
        }
        if information {
            let view = VIEWS.iter().find(|view| **view == name.table);
            let of = Some(name.catalog.clone()).filter(|catalog| catalog != "system");
            return Some(view.map_or(Self::Unknown, |view| Self::Information { of, view }));
        }
        let audit = name.schema == "access" && name.table == "audit";
        Some(if audit { Self::Audit } else { Self::Unknown })
    }

    pub fn admitted(self, governor: &Governor, name: &TableName) -> Result<Self, Refused> {
        let sees = match &self {
            Self::Audit => governor.allows(Privilege::AuditRead, &Securable::workspace())?,
            Self::Information { of: None, .. } => true,
            Self::Information { of: Some(catalog), .. } => Securable::new(SecurableKind::Catalog, catalog)
                .is_ok_and(|catalog| governor.sight(&catalog) == Sight::Full),
            Self::Unknown => false,
        };
        if sees { Ok(self) } else { Err(Refused::Missing(full(name))) }
    }
}

pub(super) async fn rows(governor: &Governor, system: System) -> Result<RecordBatch, Refused> {
    match system {
        System::Audit => audit(governor).await,
        System::Information { of, view } => information(governor, of.as_deref(), view).await,
        System::Unknown => Err(Refused::Denied("there is no such table".to_owned())),
    }
}

fn batch(schema: Schema, rows: &[Value]) -> Result<RecordBatch, Refused> {
    crate::lake::batch(Arc::new(schema), rows).map_err(|error| {
        tracing::error!(%error, "a table of our own could not be made");
        Refused::Unavailable("the table cannot be read now".to_owned())
    })
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn texts(names: &[&str]) -> Schema {
    Schema::new(names.iter().map(|name| text(name)).collect::<Vec<_>>())
}

/// The objects of a kind in a container that the reader sees.
async fn inside(
    governor: &Governor,
    container: &Securable,
    kind: SecurableKind,
    looked_at: &mut usize,
) -> Result<Vec<CatalogObject>, Refused> {
    let (mut seen, mut last) = (Vec::new(), String::new());
    loop {
        let found =
            governor.app.store.catalog_objects(container, kind, &last, BATCH).await.map_err(of_store)?;
        let found = governor.at(found)?;
        let is_last = found.len() < BATCH as usize;
        for object in found {
            *looked_at += 1;
            if *looked_at > MOST {
                return Err(Refused::Denied(format!(
                    "`information_schema` shows at most {MOST} objects; ask for one catalog, or use the catalog's API"
                )));
            }
            last.clone_from(&object.securable.id);
            if governor.sight(&object.securable) == Sight::Full {
                seen.push(object);
            }
        }
        if is_last {
            return Ok(seen);
        }
    }
}

async fn information(governor: &Governor, of: Option<&str>, view: &str) -> Result<RecordBatch, Refused> {
    let looked_at = &mut 0;
    let mut catalogs = inside(governor, &Securable::metastore(), SecurableKind::Catalog, looked_at).await?;
    catalogs.retain(|catalog| of.is_none_or(|of| catalog.securable.id == of));
    let mut rows = Vec::new();
    let owner = |object: &CatalogObject| object.owner.as_ref().map(|owner| owner.name.clone());
    if view == "catalogs" {
        rows.extend(catalogs.iter().map(|catalog| {
            json!({ "catalog_name": catalog.name(), "catalog_owner": owner(catalog), "comment": catalog.comment })
        }));
        return batch(texts(&["catalog_name", "catalog_owner", "comment"]), &rows);
    }
    let kind = match view {
        "volumes" => SecurableKind::Volume,
        "routines" => SecurableKind::Function,
        _ => SecurableKind::Table,
    };
    for catalog in &catalogs {
        for schema in inside(governor, &catalog.securable, SecurableKind::Schema, looked_at).await? {
            if view == "schemata" {
                rows.push(json!({
                    "catalog_name": catalog.name(), "schema_name": schema.name(),
                    "schema_owner": owner(&schema), "comment": schema.comment,
                }));
                continue;
            }
            for object in inside(governor, &schema.securable, kind, looked_at).await? {
                let place = (catalog.name(), schema.name());
                rows.extend(of_object(governor, view, place, &object).await?);
            }
        }
    }
    let schema = match view {
        "schemata" => texts(&["catalog_name", "schema_name", "schema_owner", "comment"]),
        "tables" => {
            texts(&["table_catalog", "table_schema", "table_name", "table_type", "table_owner", "comment"])
        }
        "views" => texts(&["table_catalog", "table_schema", "table_name", "view_definition"]),
        "volumes" => texts(&[
            "volume_catalog",
            "volume_schema",
            "volume_name",
            "volume_type",
            "volume_owner",
            "comment",
        ]),
        "routines" => {
            texts(&["routine_catalog", "routine_schema", "routine_name", "routine_owner", "data_type"])
        }
        "columns" => Schema::new(vec![
            text("table_catalog"),
            text("table_schema"),
            text("table_name"),
            text("column_name"),
            Field::new("ordinal_position", DataType::Int32, true),
            text("full_data_type"),
            text("is_nullable"),
            text("comment"),
        ]),
        _ => texts(&["grantor", "grantee", "table_catalog", "table_schema", "table_name", "privilege_type"]),
    };
    batch(schema, &rows)
}

async fn of_object(
    governor: &Governor,
    view: &str,
    (catalog, schema): (&str, &str),
    object: &CatalogObject,
) -> Result<Vec<Value>, Refused> {
    let owner = object.owner.as_ref().map(|owner| owner.name.clone());
    let table = |more: Value| {
        let mut row =
            json!({ "table_catalog": catalog, "table_schema": schema, "table_name": object.name() });
        if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more);
        }
        row
    };
    Ok(match (view, &object.detail) {
        ("tables", detail) => {
            let more =
                json!({ "table_type": table_type(detail), "table_owner": owner, "comment": object.comment });
            vec![table(more)]
        }
        ("views", Detail::View { definition, .. }) => vec![table(json!({ "view_definition": definition }))],
        ("columns", Detail::Table { columns, .. } | Detail::View { columns, .. }) => columns
            .iter()
            .map(|column| {
                table(json!({
                    "column_name": column.name, "ordinal_position": column.position,
                    "full_data_type": column.type_text, "comment": column.comment,
                    "is_nullable": if column.nullable { "YES" } else { "NO" },
                }))
            })
            .collect(),
        ("volumes", Detail::Volume { external }) => vec![json!({
            "volume_catalog": catalog, "volume_schema": schema, "volume_name": object.name(),
            "volume_type": if *external { "EXTERNAL" } else { "MANAGED" },
            "volume_owner": owner, "comment": object.comment,
        })],
        ("routines", Detail::Function { definition }) => vec![json!({
            "routine_catalog": catalog, "routine_schema": schema, "routine_name": object.name(),
            "routine_owner": owner,
            "data_type": definition.get("full_data_type").or_else(|| definition.get("data_type")),
        })],
        ("table_privileges", _) => {
            // All rows to who manages the table, its own to who reads it: as the grants API shows them.
            let all = governor.allows(Privilege::Manage, &object.securable)?;
            let now = governor.app.clock.now();
            let held = governor.app.store.grants(None, Some(&object.securable)).await.map_err(of_store)?;
            let shown = held.into_iter().filter(|held| {
                let grant = &held.grant;
                grant.effect == Effect::Allow
                    && grant.privilege != "OWNER"
                    && grant.expires_at.is_none_or(|end| now < end)
                    && (all || governor.view.acts_as(&governor.caller, &grant.principal))
            });
            shown
                .map(|held| {
                    table(json!({
                        "grantor": held.granted_by, "grantee": held.grant.principal.name,
                        "privilege_type": held.grant.privilege,
                    }))
                })
                .collect()
        }
        _ => Vec::new(),
    })
}

/// One row for each record of the index, oldest last.
async fn audit(governor: &Governor) -> Result<RecordBatch, Refused> {
    let most = governor.app.config.lake.audit_rows;
    let unreadable = |_| Refused::Unavailable("the audit index cannot be read".to_owned());
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let query = AuditQuery { limit: Some(AuditQuery::LARGEST_LIMIT), after, ..AuditQuery::default() };
        let page = governor.app.records.query(&query).await.map_err(unreadable)?;
        for entry in &page.entries {
            let Some(event) = entry.event() else { continue };
            if rows.len() == most {
                return Err(Refused::Denied(format!(
                    "`system.access.audit` has more than {most} records (`lake.audit_rows`); ask \
                     `/api/tracegate/v1/audit/events` for a period"
                )));
            }
            let list = |list: &[String]| json!(list.join(" "));
            let micros = event.time.0.saturating_mul(1000);
            rows.push(json!({
                "account_id": "0", "workspace_id": "0", "version": "2.0",
                "event_time": micros, "event_date": event.time.0.div_euclid(86_400_000),
                "source_ip_address": event.request.source_address, "user_agent": event.request.user_agent,
                "session_id": event.proof,
                "user_identity": {
                    "email": event.principal.as_deref().map(crate::http::catalog::bare),
                    "subject_name": event.principal,
                },
                "service_name": event.operation.split('.').next(), "action_name": event.operation,
                "request_id": event.decision_id,
                "request_params": {
                    "kind": event.kind.as_str(), "method": event.request.method, "path": event.request.path,
                    "securables": list(&event.securables), "privileges": list(&event.privileges),
                    "trace_ids": list(&event.trace_ids),
                    "decision": if event.decision == Verdict::Allow { "allow" } else { "deny" },
                    "outcome": event.outcome.as_str(), "policy_version": event.policy_version.to_string(),
                },
                "response": { "status_code": event.status, "error_message": event.reason, "result": null },
                "audit_level": "WORKSPACE_LEVEL", "event_id": event.id.to_string(),
                "identity_metadata": {
                    "run_by": event.actor.as_ref().or(event.principal.as_ref()), "run_as": event.principal,
                },
            }));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return batch(audit_columns(), &rows),
        }
    }
}

fn audit_columns() -> Schema {
    let group =
        |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let entry =
        DataType::Struct(Fields::from(vec![Field::new("keys", DataType::Utf8, false), text("values")]));
    let params = DataType::Map(Arc::new(Field::new("entries", entry, false)), false);
    Schema::new(vec![
        text("account_id"),
        text("workspace_id"),
        text("version"),
        Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("event_date", DataType::Date32, true),
        text("source_ip_address"),
        text("user_agent"),
        text("session_id"),
        group("user_identity", vec![text("email"), text("subject_name")]),
        text("service_name"),
        text("action_name"),
        text("request_id"),
        Field::new("request_params", params, true),
        group(
            "response",
            vec![Field::new("status_code", DataType::Int32, true), text("error_message"), text("result")],
        ),
        text("audit_level"),
        text("event_id"),
        group("identity_metadata", vec![text("run_by"), text("run_as")]),
    ])
}
