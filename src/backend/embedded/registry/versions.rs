//! Making, reading, changing and deleting versions of models.

use serde_json::{Value, json};
use sqlx::{AnyConnection, Row as _};

use super::super::EmbeddedShared;
use super::super::names::check_length;
use super::super::pairs::{self, Pair};
use super::super::problem::Problem;
use super::super::request::Request;
use super::super::{entries, logged_models, reply};
use super::read::{self, Model, Version};
use super::source::{self, Origin, Resolved};
use super::{VERSION_TAGS, names, says_prompt, stages};
use crate::wire::Reply;

/// Longest source, in characters: what is escaped many times over takes as many rounds to read.
const SOURCE: usize = 2000;
/// Longest id of a run, in characters: what an index of PostgreSQL surely takes.
const RUN_ID: usize = 500;

/// A version as it is asked for.
struct Wanted {
    name: String,
    tags: Vec<Pair>,
    run_link: String,
    description: String,
    now: i64,
}

pub async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let text = |name: &str| request.text(name).map(|text| text.map(str::to_owned));
    let name = request.required("name")?.to_owned();
    let source = request.required("source")?.to_owned();
    let run_id = text("run_id")?;
    let tags = pairs::last_of_each(entries::pairs(request, "tags")?);
    let run_link = text("run_link")?.unwrap_or_default();
    let description = text("description")?.unwrap_or_default();
    let model_id = text("model_id")?;
    check_length("source", SOURCE, &source)?;
    let is_prompt = says_prompt(&tags);
    source::check(&source, is_prompt)?;
    let origin = Origin { source, run_id, model_id };
    let wanted = Wanted { name, tags, run_link, description, now: store.clock.now().0 };
    let made = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let resolved = source::resolve(connection, origin, is_prompt).await?;
                insert(connection, wanted, resolved).await
            })
        })
        .await?;
    reply::json(&json!({ "model_version": made }))
}

/// Takes the model's next number, and tells the logged model that it has a version.
async fn insert(
    connection: &mut AnyConnection,
    wanted: Wanted,
    resolved: Resolved,
) -> Result<Value, Problem> {
    let Wanted { name, tags, run_link, description, now } = wanted;
    names::model(&name)?;
    for tag in &tags {
        names::version_tag(tag)?;
    }
    // The row stays locked until this is done: two versions never take one number.
    let next = sqlx::query(
        "UPDATE registered_models SET last_version = last_version + 1, last_update_time = $2 WHERE name = $1 \
         RETURNING model_no, last_version",
    )
    .bind(&name)
    .bind(now)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| names::no_model(&name))?;
    let (model_no, version): (i64, i64) = (next.try_get(0)?, next.try_get(1)?);
    let Resolved { source, run_id, model_id, storage_location } = resolved;
    check_length("run_id", RUN_ID, &run_id)?;
    let version_no: i64 = sqlx::query_scalar(
        "INSERT INTO model_versions (model_no, version, creation_time, last_update_time, description, stage, \
         source, storage_location, run_id, run_link) VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9) \
         RETURNING version_no",
    )
    .bind(model_no)
    .bind(version)
    .bind(now)
    .bind(&description)
    .bind(stages::NONE)
    .bind(&source)
    .bind(&storage_location)
    .bind(&run_id)
    .bind(&run_link)
    .fetch_one(&mut *connection)
    .await?;
    VERSION_TAGS.put(connection, version_no, &tags).await?;
    if let Some(model_id) = model_id {
        logged_models::add_version(connection, &model_id, &name, version).await?;
    }
    let made = Version {
        version_no,
        model_no,
        name,
        version,
        creation_time: now,
        last_update_time: now,
        description: Some(description),
        stage: stages::NONE.to_owned(),
        source,
        storage_location,
        run_id,
        run_link,
    };
    read::version(connection, &made).await
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?;
    let number = request.required("version")?;
    names::model(name)?;
    let number = names::version(number)?;
    let mut reading = store.database.begin_read().await?;
    let version = Version::numbered(&mut reading, name, number).await?;
    reply::json(&json!({ "model_version": read::version(&mut reading, &version).await? }))
}

/// Without a description the version has none afterwards.
pub async fn update(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let number = request.required("version")?;
    let description = request.text("description")?.map(str::to_owned);
    names::model(&name)?;
    let number = names::version(number)?;
    let now = store.clock.now().0;
    let dialect = store.database.dialect;
    let changed = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                Model::lock(connection, dialect, &name).await?;
                let mut version = Version::numbered(connection, &name, number).await?;
                sqlx::query(
                    "UPDATE model_versions SET description = $2, last_update_time = $3 WHERE version_no = $1",
                )
                .bind(version.version_no)
                .bind(&description)
                .bind(now)
                .execute(&mut *connection)
                .await?;
                version.description = description;
                version.last_update_time = now;
                read::version(connection, &version).await
            })
        })
        .await?;
    reply::json(&json!({ "model_version": changed }))
}

/// Deletes a version, and the aliases that name it.
pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let number = request.required("version")?;
    let number = names::version(number)?;
    names::model(&name)?;
    let now = store.clock.now().0;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let touch = "UPDATE registered_models SET last_update_time = $2 WHERE name = $1";
                sqlx::query(touch).bind(&name).bind(now).execute(&mut *connection).await?;
                let version = Version::numbered(connection, &name, number).await?;
                sqlx::query("DELETE FROM registered_model_aliases WHERE model_no = $1 AND version = $2")
                    .bind(version.model_no)
                    .bind(number)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("DELETE FROM model_versions WHERE version_no = $1")
                    .bind(version.version_no)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn download_uri(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.text("name")?.unwrap_or_default();
    names::model(name)?;
    let number = names::version(request.text("version")?.unwrap_or_default())?;
    let mut connection = store.database.reader.acquire().await?;
    let version = Version::numbered(&mut connection, name, number).await?;
    reply::json(&json!({ "artifact_uri": version.storage_location }))
}
