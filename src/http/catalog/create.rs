//! Making objects: each by whoever may, in a container that it sees, with its maker as the owner.

use std::collections::BTreeMap;

use super::input::{self, NewContainer, NewExternalLocation, NewFunction, NewTable, NewVolume};
use super::sight::{self, Sight};
use super::{at_one_version, places, show};
use crate::access::{Location, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::sent_as;
use crate::http::trail::Trail;
use crate::store::{CatalogObject, Column, Detail, NewObject, TableFormat};
use crate::wire::{Malformed, Reply};

/// What was asked for, before anybody is let in.
struct Asked {
    securable: Securable,
    comment: Option<String>,
    properties: BTreeMap<String, String>,
    detail: Detail,
    /// Where the caller wants it, and what it needs on the external location around that.
    place: Option<(Location, Privilege)>,
}

pub(super) async fn create(
    call: &mut Call<'_>,
    trail: &Trail,
    kind: SecurableKind,
) -> Result<Reply, Refusal> {
    let asked = match kind {
        SecurableKind::Catalog | SecurableKind::Schema => container(sent_as(call).await?, kind)?,
        SecurableKind::Volume => volume(sent_as(call).await?)?,
        SecurableKind::Function => function(sent_as(call).await?)?,
        SecurableKind::ExternalLocation => {
            let sent = sent_as(call).await?;
            external_location(call, sent)?
        }
        _ => table(sent_as(call).await?)?,
    };
    let call = &*call;
    make(call, trail, kind, &asked).await?;
    // Its maker sees it, whatever became of it since.
    let (object, _) = sight::seen(call, &asked.securable, true).await?;
    show::one(call, &object, Sight::Full).await
}

/// A table that Tracegate makes for a caller.
pub(in crate::http) struct NewManaged {
    pub columns: Vec<Column>,
    pub properties: BTreeMap<String, String>,
    pub comment: Option<String>,
}

/// Makes a managed table as if the caller had asked for it.
pub(in crate::http) async fn make_table(
    call: &Call<'_>,
    trail: &Trail,
    named: &Securable,
    new: NewManaged,
) -> Result<(), Refusal> {
    let NewManaged { columns, properties, comment } = new;
    let detail = Detail::Table { external: false, format: TableFormat::Delta, columns, row_filter: None };
    let securable = named.clone();
    let asked = Asked { securable, comment, properties, detail, place: None };
    make(call, trail, SecurableKind::Table, &asked).await
}

/// Makes a view as if the caller had asked for it.
pub(in crate::http) async fn make_view(
    call: &Call<'_>,
    trail: &Trail,
    named: &Securable,
    definition: &str,
) -> Result<(), Refusal> {
    let detail = Detail::View { definition: definition.to_owned(), definer: None, columns: Vec::new() };
    let securable = named.clone();
    let asked = Asked { securable, comment: None, properties: BTreeMap::new(), detail, place: None };
    make(call, trail, SecurableKind::View, &asked).await
}

/// Lets in who may make it, and makes it.
async fn make(call: &Call<'_>, trail: &Trail, kind: SecurableKind, asked: &Asked) -> Result<(), Refusal> {
    let id = uuid::Uuid::new_v4().to_string();
    let by = call.caller.principal.to_string();
    at_one_version(call, trail, kind, async |store| {
        let container = sight::may_create(call, &asked.securable).await?;
        if let Some((location, privilege)) = &asked.place
            && kind != SecurableKind::ExternalLocation
        {
            places::may_use(call, location, *privilege).await?;
        }
        let new = NewObject {
            id: id.clone(),
            securable: asked.securable.clone(),
            owner: call.caller.principal.clone(),
            comment: asked.comment.clone(),
            properties: asked.properties.clone(),
            detail: asked.detail.clone(),
            location: location(call, asked, container.as_ref(), &id).await?,
            claim: asked.place.as_ref().map(|(location, _)| location.clone()),
        };
        Ok(store.create_catalog_object(&new, &by, call.app.clock.now()).await)
    })
    .await
}

/// Where an object will lie.
async fn location(
    call: &Call<'_>,
    asked: &Asked,
    container: Option<&CatalogObject>,
    id: &str,
) -> Result<Option<Location>, Refusal> {
    let chosen = asked.place.as_ref().map(|(location, _)| location);
    Ok(match (&asked.detail, container) {
        (Detail::Catalog { .. }, _) => chosen.map(|root| places::below_root(root, "catalogs", id)),
        (Detail::Schema { .. }, _) => chosen.map(|root| places::below_root(root, "schemas", id)),
        (Detail::Table { external: false, .. }, Some(schema)) => {
            Some(places::managed(call, schema, "tables", id).await?)
        }
        (Detail::Volume { external: false }, Some(schema)) => {
            Some(places::managed(call, schema, "volumes", id).await?)
        }
        _ => chosen.cloned(),
    })
}

fn container(sent: NewContainer, kind: SecurableKind) -> Result<Asked, Refusal> {
    let securable = match (kind, &sent.catalog_name) {
        (SecurableKind::Schema, Some(catalog)) => {
            let catalog = Securable::new(SecurableKind::Catalog, catalog)
                .map_err(|error| Malformed::new("catalog_name", error.to_string()))?;
            input::new_name(kind, Some(&catalog.id), &sent.name, "name")?
        }
        (SecurableKind::Schema, None) => return Err(Malformed::new("catalog_name", "is needed").into()),
        (_, Some(_)) => return Err(Malformed::new("catalog_name", "is nothing that a catalog has").into()),
        (_, None) => input::new_name(kind, None, &sent.name, "name")?,
    };
    let root = sent.storage_root.filter(|root| !root.is_empty());
    let root = root.map(|root| places::written("storage_root", &root)).transpose()?;
    let storage_root = root.as_ref().map(|root| root.to_string());
    let detail = match kind {
        SecurableKind::Schema => Detail::Schema { storage_root },
        _ => Detail::Catalog { storage_root },
    };
    Ok(Asked {
        securable,
        comment: input::comment(sent.comment)?,
        properties: input::properties(sent.properties)?,
        detail,
        place: root.map(|root| (root, Privilege::CreateManagedStorage)),
    })
}

/// A name in the schema that a body names.
fn in_schema(kind: SecurableKind, catalog: &str, schema: &str, name: &str) -> Result<Securable, Refusal> {
    let container = Securable::new(SecurableKind::Schema, &format!("{catalog}.{schema}"))
        .map_err(|error| Malformed::new("catalog_name and schema_name", error.to_string()))?;
    input::new_name(kind, Some(&container.id), name, "name")
}

fn table(sent: NewTable) -> Result<Asked, Refusal> {
    let refuse = |field: &str, problem: &str| -> Refusal { Malformed::new(field, problem).into() };
    let columns = input::columns(sent.columns)?;
    let place = sent.storage_location.filter(|location| !location.is_empty());
    let definition = sent.view_definition.filter(|definition| !definition.trim().is_empty());
    let (kind, detail, place) = match (sent.table_type.as_str(), place, definition) {
        ("EXTERNAL", Some(place), None) => {
            let place = places::written("storage_location", &place)?;
            let detail =
                Detail::Table { external: true, format: TableFormat::Delta, columns, row_filter: None };
            (SecurableKind::Table, detail, Some((place, Privilege::CreateExternalTable)))
        }
        ("MANAGED", None, None) => {
            let detail =
                Detail::Table { external: false, format: TableFormat::Delta, columns, row_filter: None };
            (SecurableKind::Table, detail, None)
        }
        ("VIEW", None, Some(definition)) => {
            (SecurableKind::View, Detail::View { definition, definer: None, columns }, None)
        }
        ("EXTERNAL", None, _) => return Err(refuse("storage_location", "is needed for an external table")),
        ("MANAGED" | "VIEW", Some(_), _) => {
            return Err(refuse("storage_location", "is chosen for external tables alone"));
        }
        ("VIEW", _, None) => return Err(refuse("view_definition", "is needed for a view")),
        ("MANAGED" | "EXTERNAL", _, Some(_)) => {
            return Err(refuse("view_definition", "is nothing that a table has"));
        }
        _ => return Err(refuse("table_type", "must be `MANAGED`, `EXTERNAL` or `VIEW`")),
    };
    if kind == SecurableKind::Table && sent.data_source_format.is_none() {
        return Err(refuse("data_source_format", "must be `DELTA`"));
    }
    Ok(Asked {
        securable: in_schema(kind, &sent.catalog_name, &sent.schema_name, &sent.name)?,
        comment: input::comment(sent.comment)?,
        properties: input::properties(sent.properties)?,
        detail,
        place,
    })
}

fn volume(sent: NewVolume) -> Result<Asked, Refusal> {
    let refuse = |field: &str, problem: &str| -> Refusal { Malformed::new(field, problem).into() };
    let place = sent.storage_location.filter(|location| !location.is_empty());
    let place = match (sent.volume_type.as_str(), place) {
        ("EXTERNAL", Some(place)) => {
            Some((places::written("storage_location", &place)?, Privilege::CreateExternalVolume))
        }
        ("MANAGED", None) => None,
        ("EXTERNAL", None) => return Err(refuse("storage_location", "is needed for an external volume")),
        ("MANAGED", Some(_)) => {
            return Err(refuse("storage_location", "is chosen for external volumes alone"));
        }
        _ => return Err(refuse("volume_type", "must be `MANAGED` or `EXTERNAL`")),
    };
    Ok(Asked {
        securable: in_schema(SecurableKind::Volume, &sent.catalog_name, &sent.schema_name, &sent.name)?,
        comment: input::comment(sent.comment)?,
        properties: BTreeMap::new(),
        detail: Detail::Volume { external: place.is_some() },
        place,
    })
}

fn function(sent: NewFunction) -> Result<Asked, Refusal> {
    let info = sent.function_info;
    let text = |key: &str| -> Result<String, Refusal> {
        let text = info.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        text.ok_or_else(|| Malformed::new(format!("function_info.{key}"), "must be a text").into())
    };
    let name = [text("catalog_name")?, text("schema_name")?, text("name")?];
    let comment = info.get("comment").and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(Asked {
        securable: in_schema(SecurableKind::Function, &name[0], &name[1], &name[2])?,
        comment: input::comment(comment)?,
        properties: BTreeMap::new(),
        detail: Detail::Function { definition: input::definition(info)? },
        place: None,
    })
}

fn external_location(call: &Call<'_>, sent: NewExternalLocation) -> Result<Asked, Refusal> {
    let url = places::outside(call, "url", &sent.url)?;
    let credential = sent.credential_name.filter(|name| !name.is_empty());
    if credential.as_ref().is_some_and(|name| name.len() > 255 || name.chars().any(char::is_control)) {
        return Err(Malformed::new("credential_name", "is too long or holds control characters").into());
    }
    Ok(Asked {
        securable: input::new_name(SecurableKind::ExternalLocation, None, &sent.name, "name")?,
        comment: input::comment(sent.comment)?,
        properties: BTreeMap::new(),
        detail: Detail::ExternalLocation {
            credential_name: credential,
            read_only: sent.read_only.unwrap_or(false),
        },
        place: Some((url, Privilege::CreateExternalLocation)),
    })
}
