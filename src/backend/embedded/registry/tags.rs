//! Tags of models and of their versions.

use super::super::EmbeddedShared;
use super::super::pairs::Pair;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::Request;
use super::read::{Model, Version};
use super::{MODEL_TAGS, VERSION_TAGS, names};
use crate::wire::Reply;

fn tag_of(request: &Request) -> Result<Pair, Problem> {
    Ok((request.required("key")?.to_owned(), request.text("value")?.unwrap_or_default().to_owned()))
}

pub async fn set_of_model(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let tag = tag_of(request)?;
    names::model(&name)?;
    names::model_tag(&tag)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let model = Model::named(connection, &name).await?;
                Ok(MODEL_TAGS.put(connection, model.model_no, &[tag]).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// A tag that is not there is deleted as well.
pub async fn delete_of_model(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let key = request.required("key")?.to_owned();
    names::model(&name)?;
    names::tag_key(&key)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let model = Model::named(connection, &name).await?;
                Ok(MODEL_TAGS.delete(connection, model.model_no, &key).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn set_of_version(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let number = request.required("version")?;
    let tag = tag_of(request)?;
    names::model(&name)?;
    let number = names::version(number)?;
    names::version_tag(&tag)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let version = Version::numbered(connection, &name, number).await?;
                Ok(VERSION_TAGS.put(connection, version.version_no, &[tag]).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn delete_of_version(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let number = request.required("version")?;
    let key = request.required("key")?.to_owned();
    names::model(&name)?;
    let number = names::version(number)?;
    names::tag_key(&key)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let version = Version::numbered(connection, &name, number).await?;
                Ok(VERSION_TAGS.delete(connection, version.version_no, &key).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}
