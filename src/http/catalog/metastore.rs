//! The metastore: there is one, and everybody may know which.

use serde_json::{Map, Value, json};

use super::people;
use crate::access::{Check, Principal, Privilege, Securable};
use crate::http::call::Call;
use crate::http::error::{CatalogFault, Refusal};
use crate::http::pages;
use crate::store::{CatalogError, Metastore};
use crate::wire::Reply;

/// Workspaces have no numbers here; clients are told this one everywhere.
const WORKSPACE: i64 = 0;

pub(super) async fn answer(call: &Call<'_>, verb: &str) -> Result<Reply, Refusal> {
    let metastore = read(call).await?;
    let answer = match verb {
        "summary" => info(call, &metastore).await?,
        "assignment" => Map::from_iter([
            ("workspace_id".to_owned(), json!(WORKSPACE)),
            ("metastore_id".to_owned(), json!(metastore.id)),
        ]),
        "list" => {
            let manages = call.allows(Check::new(Privilege::Manage, Securable::metastore()))?;
            let listed =
                if manages { vec![Value::Object(info(call, &metastore).await?)] } else { Vec::new() };
            Map::from_iter([("metastores".to_owned(), Value::Array(listed))])
        }
        "get" if is_named(&metastore, call.param("name")) => info(call, &metastore).await?,
        "get" => {
            let name: String = call.param("name").chars().take(80).collect();
            return Err(missing(&name));
        }
        _ => return Err(Refusal::UnknownEndpoint),
    };
    Ok(pages::written(200, &answer))
}

pub(super) async fn id(call: &Call<'_>) -> Result<String, Refusal> {
    Ok(read(call).await?.id)
}

/// Refuses any metastore but this one.
pub(super) async fn check_name(call: &Call<'_>, name: &str) -> Result<(), Refusal> {
    if is_named(&read(call).await?, name) {
        return Ok(());
    }
    Err(missing(&name.chars().take(80).collect::<String>()))
}

fn is_named(metastore: &Metastore, name: &str) -> bool {
    name == metastore.id || matches!(name, "default" | "metastore" | "tracegate")
}

fn missing(name: &str) -> Refusal {
    Refusal::Catalog {
        fault: CatalogFault::Missing,
        code: "METASTORE_DOES_NOT_EXIST",
        message: format!("metastore `{name}` does not exist"),
    }
}

async fn read(call: &Call<'_>) -> Result<Metastore, Refusal> {
    let fresh = uuid::Uuid::new_v4().to_string();
    call.app.store.metastore(&fresh, call.app.clock.now()).await.map_err(|error| match error {
        CatalogError::Store(error) => error.into(),
        other => Refusal::Internal(other.to_string()),
    })
}

async fn info(call: &Call<'_>, metastore: &Metastore) -> Result<Map<String, Value>, Refusal> {
    let owner = match &metastore.owner {
        Some(owner) => owner.clone(),
        None => Principal::group(Principal::ADMINS)?,
    };
    let names = people::spelled(call, &[&owner]).await?;
    Ok(Map::from_iter([
        ("metastore_id".to_owned(), json!(metastore.id)),
        ("global_metastore_id".to_owned(), json!(format!("tracegate:{}", metastore.id))),
        ("name".to_owned(), json!("tracegate")),
        ("owner".to_owned(), json!(names.get(&owner))),
        ("created_at".to_owned(), json!(metastore.created_at.0)),
        ("privilege_model_version".to_owned(), json!("1.0")),
        ("external_access_enabled".to_owned(), json!(call.app.minting.is_some())),
    ]))
}
