//! Aliases: names that a model gives to one of its versions.

use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::Request;
use super::names;
use super::read::{self, Model, OF_VERSIONS, VERSION, Version};
use crate::wire::Reply;

pub async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let alias = request.required("alias")?.to_owned();
    let number = request.required("version")?;
    names::model(&name)?;
    names::new_alias(&alias)?;
    let number = names::version(number)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let version = Version::numbered(connection, &name, number).await?;
                sqlx::query(
                    "INSERT INTO registered_model_aliases (model_no, alias, version) VALUES ($1, $2, $3) \
                     ON CONFLICT (model_no, alias) DO UPDATE SET version = excluded.version",
                )
                .bind(version.model_no)
                .bind(&alias)
                .bind(number)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// An alias that is not there is deleted as well.
pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let alias = request.required("alias")?.to_owned();
    names::model(&name)?;
    names::alias(&alias)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let model = Model::named(connection, &name).await?;
                sqlx::query("DELETE FROM registered_model_aliases WHERE model_no = $1 AND alias = $2")
                    .bind(model.model_no)
                    .bind(&alias)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?;
    let alias = request.required("alias")?;
    names::model(name)?;
    names::alias(alias)?;
    let mut reading = store.database.begin_read().await?;
    let version = version_of(&mut reading, name, alias).await?;
    reply::json(&json!({ "model_version": read::version(&mut reading, &version).await? }))
}

/// The version that an alias of a model names; `latest` is the one with the highest number.
pub async fn version_of(connection: &mut AnyConnection, name: &str, alias: &str) -> Result<Version, Problem> {
    names::model(name)?;
    names::alias(alias)?;
    let model = Model::named(connection, name).await?;
    let latest = alias.to_lowercase() == "latest";
    let condition = if latest {
        "v.model_no = $1 ORDER BY v.version DESC LIMIT 1"
    } else {
        "v.model_no = $1 AND v.version = (SELECT a.version FROM registered_model_aliases a \
         WHERE a.model_no = $1 AND a.alias = $2)"
    };
    let select = format!("SELECT {VERSION} {OF_VERSIONS} WHERE {condition}");
    let mut query = sqlx::query(AssertSqlSafe(select)).bind(model.model_no);
    if !latest {
        query = query.bind(alias);
    }
    match query.fetch_optional(connection).await? {
        Some(row) => Ok(Version::of(&row)?),
        None if latest => Err(Problem::missing(format!("Latest version not found for model {name}."))),
        None => Err(Problem::invalid(format!("Registered model alias {alias} not found."))),
    }
}
