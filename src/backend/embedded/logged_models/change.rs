//! Changing a logged model: its status, its end, its tags and parameters. A deleted one can be changed as well.

use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::super::pairs::last_of_each;
use super::super::problem::{Code, Problem};
use super::super::request::{Request, integer, missing, wrong_type};
use super::super::{EmbeddedShared, entries, python, reply};
use super::create::once_each;
use super::read::{self, COLUMNS, Row};
use super::{PARAMS, TAGS, absent};
use crate::wire::Reply;

const STATUSES: [&str; 4] = [
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
];

pub async fn finalize(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = named(request)?.to_owned();
    let status = status_of(request)?;
    let now = store.clock.now().0;
    let changed = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let update = format!(
                    "UPDATE logged_models SET status = $2, last_update_time = $3 WHERE model_id = $1 \
                     RETURNING {COLUMNS}"
                );
                let row = sqlx::query(AssertSqlSafe(update))
                    .bind(&model_id)
                    .bind(status)
                    .bind(now)
                    .fetch_optional(&mut *connection)
                    .await?
                    .ok_or_else(|| absent(&model_id))?;
                read::one(connection, &Row::of(&row)?).await
            })
        })
        .await?;
    reply::json(&changed)
}

/// The model of a call whose body must say it as well as its path does.
fn named(request: &Request) -> Result<&str, Problem> {
    match request.text("model_id")? {
        None => Err(wrong_type("model_id", &Value::Null)),
        Some(_) => request.required("model_id"),
    }
}

/// A status by its name or its number.
fn status_of(request: &Request) -> Result<i64, Problem> {
    let value = match request.json.get("status") {
        None | Some(Value::Null) => return Err(missing("status")),
        Some(value) => value,
    };
    let named = value.as_str().and_then(|name| STATUSES.iter().position(|known| *known == name));
    let number = match named {
        Some(place) => i64::try_from(place).ok(),
        None => integer(value).filter(|number| (0..4).contains(number)),
    };
    number.ok_or_else(|| wrong_type("status", value))
}

pub async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = request.param("model_id").to_owned();
    let now = store.clock.now().0;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let delete =
                    "UPDATE logged_models SET lifecycle_stage = 'deleted', last_update_time = $2 WHERE model_id = $1";
                let deleted = sqlx::query(delete).bind(&model_id).bind(now).execute(connection).await?;
                if deleted.rows_affected() == 0 { Err(absent(&model_id)) } else { Ok(()) }
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn set_tags(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = request.param("model_id").to_owned();
    let tags = once_each(last_of_each(entries::pairs(request, "tags")?), "tags")?;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let model_no = locked(connection, &model_id).await?;
                Ok(TAGS.put(connection, model_no, &tags).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}

pub async fn delete_tag(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = request.param("model_id").to_owned();
    let key = request.param("tag_key").to_owned();
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let model_no = locked(connection, &model_id).await?;
                if TAGS.delete(connection, model_no, &key).await? {
                    return Ok(());
                }
                Err(Problem::missing(format!(
                    "No tag with key {} found for model with ID {}.",
                    python::repr(&key),
                    python::repr(&model_id)
                )))
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// Parameters are written once: the same again changes nothing, another value is refused.
pub async fn log_params(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = named(request)?.to_owned();
    let params = once_each(entries::pairs(request, "params")?, "params")?;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let model_no = locked(connection, &model_id).await?;
                let known = PARAMS.of(connection, &[model_no]).await?.remove(&model_no).unwrap_or_default();
                for (key, value) in &params {
                    if known.iter().any(|(known, other)| known == key && other != value) {
                        return Err(Problem::new(
                            Code::BadRequest,
                            format!(
                                "Parameter {} of logged model '{model_id}' has another value already",
                                python::repr(key)
                            ),
                        ));
                    }
                }
                Ok(PARAMS.put(connection, model_no, &params).await?)
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// The number of a model, whose row nobody else changes until this is done.
async fn locked(connection: &mut AnyConnection, model_id: &str) -> Result<i64, Problem> {
    let lock = "UPDATE logged_models SET status = status WHERE model_id = $1 RETURNING model_no";
    let found = sqlx::query_scalar(lock).bind(model_id).fetch_optional(connection).await?;
    found.ok_or_else(|| absent(model_id))
}
