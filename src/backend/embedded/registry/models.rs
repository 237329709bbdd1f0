//! Making, reading, changing and deleting registered models.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::super::EmbeddedShared;
use super::super::pairs::{self, Pair};
use super::super::problem::Problem;
use super::super::request::Request;
use super::super::{entries, python, reply};
use super::read::{self, MODEL, Model};
use super::{IS_PROMPT, MODEL_TAGS, names};
use crate::wire::Reply;

/// Adds the model, unless the name is taken, and answers its number.
const INSERT: &str = "INSERT INTO registered_models (name, description, creation_time, last_update_time, \
                      last_version) VALUES ($1, $2, $3, $3, 0) ON CONFLICT (name) DO NOTHING RETURNING model_no";

pub async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let tags = pairs::last_of_each(entries::pairs(request, "tags")?);
    let description = request.text("description")?.unwrap_or_default().to_owned();
    names::made_model(&name)?;
    for tag in &tags {
        names::model_tag(tag)?;
    }
    let now = store.clock.now().0;
    let made = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let made: Option<i64> = sqlx::query_scalar(INSERT)
                    .bind(&name)
                    .bind(&description)
                    .bind(now)
                    .fetch_optional(&mut *connection)
                    .await?;
                let Some(model_no) = made else { return Err(taken(connection, &name, &tags).await) };
                MODEL_TAGS.put(connection, model_no, &tags).await?;
                let model = Model { model_no, name, creation_time: now, last_update_time: now, description };
                read::model(connection, &model).await
            })
        })
        .await?;
    reply::json(&made)
}

/// Why a name cannot be given again: what has it may be a prompt, and what wants it as well.
async fn taken(connection: &mut AnyConnection, name: &str, tags: &[Pair]) -> Problem {
    let has_prompt_tag = "SELECT 1 FROM registered_models m JOIN registered_model_tags t ON t.model_no = m.model_no \
                          WHERE m.name = $1 AND t.key = $2";
    let held: Result<Option<i32>, _> =
        sqlx::query_scalar(has_prompt_tag).bind(name).bind(IS_PROMPT).fetch_optional(connection).await;
    let kind = |prompt: bool| if prompt { "Prompt" } else { "Registered Model" };
    let held = match held {
        Ok(held) => kind(held.is_some()),
        Err(error) => return error.into(),
    };
    let wanted = kind(tags.iter().any(|(key, _)| key == IS_PROMPT));
    Problem::exists(if held == wanted {
        format!("{wanted} (name={name}) already exists.")
    } else {
        format!(
            "Tried to create a {} with name {}, but the name is already taken by a {}. MLflow does not allow \
             creating a model and a prompt with the same name.",
            wanted.to_lowercase(),
            python::repr(name),
            held.to_lowercase()
        )
    })
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?;
    let mut reading = store.database.begin_read().await?;
    let model = Model::named(&mut reading, name).await?;
    reply::json(&read::model(&mut reading, &model).await?)
}

pub async fn update(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let description = request.text("description")?.unwrap_or_default().to_owned();
    names::model(&name)?;
    let now = store.clock.now().0;
    let changed = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let update = format!(
                    "UPDATE registered_models SET description = $2, last_update_time = $3 WHERE name = $1 \
                     RETURNING {MODEL}"
                );
                let row = sqlx::query(AssertSqlSafe(update))
                    .bind(&name)
                    .bind(description)
                    .bind(now)
                    .fetch_optional(&mut *connection)
                    .await?
                    .ok_or_else(|| names::no_model(&name))?;
                read::model(connection, &Model::of(&row)?).await
            })
        })
        .await?;
    reply::json(&changed)
}

/// Gives a model another name; its versions, tags and aliases go with it.
pub async fn rename(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    let new_name = request.required("new_name")?.to_owned();
    names::new_model(&new_name)?;
    names::model(&name)?;
    let now = store.clock.now().0;
    let renamed = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let update = format!(
                    "UPDATE registered_models SET name = $2, last_update_time = $3 WHERE name = $1 \
                     RETURNING {MODEL}"
                );
                let row = sqlx::query(AssertSqlSafe(update))
                    .bind(&name)
                    .bind(&new_name)
                    .bind(now)
                    .fetch_optional(&mut *connection)
                    .await
                    .map_err(|error| match error.as_database_error() {
                        Some(refusal) if refusal.is_unique_violation() => {
                            Problem::exists(format!("Registered Model (name={new_name}) already exists."))
                        }
                        _ => error.into(),
                    })?
                    .ok_or_else(|| names::no_model(&name))?;
                let model = Model::of(&row)?;
                sqlx::query("UPDATE model_versions SET last_update_time = $2 WHERE model_no = $1")
                    .bind(model.model_no)
                    .bind(now)
                    .execute(&mut *connection)
                    .await?;
                read::model(connection, &model).await
            })
        })
        .await?;
    reply::json(&renamed)
}

/// Deletes a model with all that it has.
pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let name = request.required("name")?.to_owned();
    names::model(&name)?;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let delete = "DELETE FROM registered_models WHERE name = $1";
                let deleted = sqlx::query(delete).bind(&name).execute(connection).await?;
                if deleted.rows_affected() == 0 { Err(names::no_model(&name)) } else { Ok(()) }
            })
        })
        .await?;
    Ok(reply::empty_object())
}
