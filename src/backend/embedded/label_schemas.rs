//! Label schemas: the questions that reviewers of traces are asked. Every experiment has one that nobody made
//! and nobody can change or delete; it is made when the experiment's questions are listed for the first time.

mod input;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use uuid::Uuid;

use self::input::Input;
use super::EmbeddedShared;
use super::evaluation;
use super::filter::Query;
use super::filter::order::{Key, KeyKind, Order};
use super::filter::page::Search;
use super::problem::Problem;
use super::reply;
use super::request::Request;
use super::rows;
use crate::wire::Reply;

const MAX_NAME: usize = 250;
const MAX_INSTRUCTION: usize = 1000;
const DEFAULT_NAME: &str = "Feedback";
const TYPES: [&str; 2] = ["FEEDBACK", "EXPECTATION"];

const COLUMNS: &str = "SELECT schema_id, experiment_id, name, type, instruction, enable_comment, input, \
                       created_time, last_update_time, is_default";

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "label_schema.create" => create(store, &request).await,
        "label_schema.get" => get(store, &request).await,
        "label_schema.get_by_name" => get_by_name(store, &request).await,
        "label_schema.list" => list(store, &request).await,
        "label_schema.update" => update(store, &request).await,
        "label_schema.delete" => delete(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let name = request.required("name")?.to_owned();
    let number = evaluation::enumeration(request, "type", &TYPES);
    let kind = *number.checked_sub(1).and_then(|index| TYPES.get(index)).ok_or_else(|| {
        Problem::invalid(format!(
            "Label schema `type` must be one of FEEDBACK or EXPECTATION; got proto enum value {number}."
        ))
    })?;
    let input = Input::parse(request.json.get("input"))?;
    let instruction = request.text("instruction")?.map(str::to_owned);
    let enable_comment = request.boolean("enable_comment")?.unwrap_or_default();
    check_name(&name)?;
    check_instruction(instruction.as_deref())?;
    input.check()?;
    let now = store.clock.now().0;
    let created = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::existing(&mut *connection, &experiment).await?;
            let schema =
                New { name: &name, kind, instruction: instruction.as_deref(), enable_comment, input };
            let id = insert(&mut *connection, number, &schema, now, false).await?;
            let id = id.ok_or_else(|| taken(&name, number))?;
            by_id(connection, &id, "").await
        })
    });
    reply::json(&json!({ "label_schema": shown(&created.await?)? }))
}

struct New<'a> {
    name: &'a str,
    kind: &'a str,
    instruction: Option<&'a str>,
    enable_comment: bool,
    input: Input,
}

/// Nothing if the experiment has a question of this name.
async fn insert(
    connection: &mut AnyConnection,
    experiment: i64,
    new: &New<'_>,
    now: i64,
    is_default: bool,
) -> Result<Option<String>, Problem> {
    let id = format!("ls-{}", Uuid::new_v4().simple());
    let inserted = sqlx::query(
        "INSERT INTO label_schemas (schema_id, experiment_id, name, type, instruction, enable_comment, input, \
         created_time, last_update_time, is_default) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9) \
         ON CONFLICT (experiment_id, name) DO NOTHING",
    )
    .bind(&id)
    .bind(experiment)
    .bind(new.name)
    .bind(new.kind)
    .bind(new.instruction)
    .bind(i64::from(new.enable_comment))
    .bind(new.input.to_json().to_string())
    .bind(now)
    .bind(i64::from(is_default))
    .execute(connection)
    .await?;
    Ok((inserted.rows_affected() > 0).then_some(id))
}

async fn by_id<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    id: &str,
    lock: &'static str,
) -> Result<AnyRow, Problem> {
    let row = sqlx::query(AssertSqlSafe(format!("{COLUMNS} FROM label_schemas WHERE schema_id = $1{lock}")))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    row.ok_or_else(|| Problem::missing(format!("Label schema with id '{id}' not found.")))
}

async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let row = by_id(&store.database.reader, request.required("schema_id")?, "").await?;
    reply::json(&json!({ "label_schema": shown(&row)? }))
}

async fn get_by_name(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (experiment, name) = (request.required("experiment_id")?, request.required("name")?);
    let number = evaluation::existing(&store.database.reader, experiment).await?;
    let one = format!("{COLUMNS} FROM label_schemas WHERE experiment_id = $1 AND name = $2");
    let row = sqlx::query(AssertSqlSafe(one))
        .bind(number)
        .bind(name)
        .fetch_optional(&store.database.reader)
        .await?
        .ok_or_else(|| {
            Problem::missing(format!(
                "Label schema with name '{name}' not found for experiment '{experiment}'."
            ))
        })?;
    reply::json(&json!({ "label_schema": shown(&row)? }))
}

async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?;
    let size = evaluation::page_size(request, 100)?;
    let order = Order(vec![
        Key::new("created_time", KeyKind::Integer, false),
        Key::new("schema_id", KeyKind::Text, true),
    ]);
    let search = Search::of(&["label_schema.list", experiment]);
    let token = search.token(request.text("page_token")?, &order)?;
    let number = evaluation::existing(&store.database.reader, experiment).await?;
    ensure_default(store, number).await?;
    let mut query = Query::new(store.database.dialect, COLUMNS);
    query.push(&order.columns()).push(" FROM label_schemas WHERE experiment_id = ").bind(number);
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(store.database.dialect)).push(" LIMIT ").bind(size + 1);
    let mut rows = query.fetch_all(&store.database.reader).await?;
    let size = usize::try_from(size).map_err(Problem::internal)?;
    let more = rows.len() > size;
    rows.truncate(size);
    let next = match rows.last().filter(|_| more) {
        Some(last) => search.token_after(last, &order)?,
        None => String::new(),
    };
    let schemas: Vec<Value> = rows.iter().map(shown).collect::<Result<_, _>>()?;
    reply::json(&json!({ "label_schemas": schemas, "next_page_token": next }))
}

async fn ensure_default(store: &EmbeddedShared, experiment: i64) -> Result<(), Problem> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM label_schemas WHERE experiment_id = $1 AND is_default = 1")
            .bind(experiment)
            .fetch_optional(&store.database.reader)
            .await?;
    if known.is_some() {
        return Ok(());
    }
    let now = store.clock.now().0;
    let made = store.writer.write(move |connection| {
        Box::pin(async move {
            let schema = New {
                name: DEFAULT_NAME,
                kind: TYPES[0],
                instruction: Some("Share any feedback on this trace."),
                enable_comment: false,
                input: Input::Text { max_length: None },
            };
            insert(connection, experiment, &schema, now, true).await
        })
    });
    made.await.map(|_| ())
}

async fn update(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.required("schema_id")?.to_owned();
    let name = request.text("name")?.map(str::to_owned);
    let instruction = request.text("instruction")?.map(str::to_owned);
    let enable_comment = request.boolean("enable_comment")?;
    let input = match request.json.get("input") {
        None | Some(Value::Null) => None,
        given => Some(Input::parse(given)?),
    };
    let now = store.clock.now().0;
    let lock = rows::for_update(store.database.dialect);
    let updated = store.writer.write(move |connection| {
        Box::pin(async move {
            let row = by_id(&mut *connection, &id, lock).await?;
            if row.try_get::<i64, _>(9)? != 0 {
                return Err(Problem::invalid("The experiment's default question cannot be edited."));
            }
            if let Some(name) = &name {
                check_name(name)?;
            }
            check_instruction(instruction.as_deref())?;
            if let Some(input) = &input {
                input.check()?;
                input.check_same_kind(&row.try_get::<String, _>(6)?)?;
            }
            let experiment: i64 = row.try_get(1)?;
            sqlx::query(
                "UPDATE label_schemas SET name = COALESCE($2, name), instruction = COALESCE($3, instruction), \
                 enable_comment = COALESCE($4, enable_comment), input = COALESCE($5, input), \
                 last_update_time = $6 WHERE schema_id = $1",
            )
            .bind(&id)
            .bind(&name)
            .bind(instruction)
            .bind(enable_comment.map(i64::from))
            .bind(input.map(|input| input.to_json().to_string()))
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(|error| {
                evaluation::or_taken(error, || taken(name.as_deref().unwrap_or_default(), experiment))
            })?;
            by_id(connection, &id, "").await
        })
    });
    reply::json(&json!({ "label_schema": shown(&updated.await?)? }))
}

/// What reviewers have answered stays; a question that is not there is deleted already.
async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.required("schema_id")?.to_owned();
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            let default: Option<i64> =
                sqlx::query_scalar("SELECT is_default FROM label_schemas WHERE schema_id = $1")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?;
            if default.is_some_and(|default| default != 0) {
                return Err(Problem::invalid("The experiment's default question cannot be deleted."));
            }
            sqlx::query("DELETE FROM label_schemas WHERE schema_id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    deleted.await?;
    Ok(reply::empty_object())
}

fn check_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if length == 0 {
        return Err(Problem::invalid("Label schema `name` must be a non-empty string; got ''."));
    }
    if length > MAX_NAME {
        return Err(Problem::invalid(format!(
            "Label schema `name` must be at most {MAX_NAME} characters; got {length}."
        )));
    }
    if name.trim().to_lowercase() == DEFAULT_NAME.to_lowercase() {
        return Err(Problem::invalid(format!(
            "`{name}` is reserved for the experiment's default question and cannot be used for another label \
             schema."
        )));
    }
    Ok(())
}

fn check_instruction(instruction: Option<&str>) -> Result<(), Problem> {
    let length = instruction.unwrap_or_default().chars().count();
    if length > MAX_INSTRUCTION {
        return Err(Problem::invalid(format!(
            "Label schema `instruction` must be at most {MAX_INSTRUCTION} characters; got {length}."
        )));
    }
    Ok(())
}

fn taken(name: &str, experiment: i64) -> Problem {
    Problem::exists(format!("Label schema with name '{name}' already exists for experiment '{experiment}'."))
}

fn shown(row: &AnyRow) -> Result<Value, Problem> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("schema_id", json!(row.try_get::<String, _>(0)?));
    put("experiment_id", json!(row.try_get::<i64, _>(1)?.to_string()));
    put("name", json!(row.try_get::<String, _>(2)?));
    put("type", json!(row.try_get::<String, _>(3)?));
    if let Some(instruction) = row.try_get::<Option<String>, _>(4)? {
        put("instruction", Value::String(instruction));
    }
    put("enable_comment", json!(row.try_get::<i64, _>(5)? != 0));
    put("input", serde_json::from_str(&row.try_get::<String, _>(6)?).map_err(Problem::internal)?);
    put("created_at", json!(row.try_get::<i64, _>(7)?));
    put("last_updated_at", json!(row.try_get::<i64, _>(8)?));
    put("is_default", json!(row.try_get::<i64, _>(9)? != 0));
    Ok(Value::Object(shown))
}

#[cfg(test)]
mod tests;
