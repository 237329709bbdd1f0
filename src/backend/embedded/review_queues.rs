//! Review queues: traces that people are to review, who they are, and what they are asked. A user's queue
//! belongs to one reviewer and asks all questions of the experiment; a custom one has reviewers and questions
//! of its own.

mod items;
mod update;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _};
use uuid::Uuid;

use self::values::{Kind, NewQueue};
use super::EmbeddedShared;
use super::evaluation;
use super::filter::Query;
use super::filter::order::{Key, KeyKind, Order};
use super::filter::page::Search;
use super::problem::Problem;
use super::python;
use super::reply;
use super::request::Request;
use crate::database::Dialect;
use crate::wire::Reply;

const COLUMNS: &str =
    "SELECT queue_id, experiment_id, name, type, created_by, creation_time, last_update_time";
/// Entries on a page, if the caller does not say.
const PAGE: i64 = 1000;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    request.refuse_nul()?;
    match request.operation.as_str() {
        "review_queue.create" => create(store, &request).await,
        "review_queue.for_user" => for_user(store, &request).await,
        "review_queue.get" => {
            let row = by_id(&store.database.reader, request.required("queue_id")?, "").await?;
            answer_one(store, row).await
        }
        "review_queue.get_by_name" => get_by_name(store, &request).await,
        "review_queue.list" => list(store, &request).await,
        "review_queue.update" => update::update(store, &request).await,
        "review_queue.delete" => delete(store, &request).await,
        "review_queue.item_add" => items::add(store, &request).await,
        "review_queue.item_remove" => items::remove(store, &request).await,
        "review_queue.item_list" => items::list(store, &request).await,
        "review_queue.item_status" => items::set_status(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let name = request.required("name")?;
    let kind = Kind::of(request)?;
    let owner = request.caller.as_ref().map(|caller| caller.principal.name.clone());
    let queue =
        NewQueue::checked(name, kind, &request.texts("users")?, &request.texts("schema_ids")?, owner)?;
    let (now, dialect) = (store.clock.now().0, store.database.dialect);
    let created = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::existing(&mut *connection, &experiment).await?;
            check_schemas(connection, dialect, number, &queue.schemas).await?;
            let id = insert(connection, number, &queue, now).await?;
            id.ok_or_else(|| taken(&queue.name))
        })
    });
    let row = by_id(&store.database.reader, &created.await?, "").await?;
    answer_one(store, row).await
}

/// The queue of a user, which is made if it is not there.
async fn for_user(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let user = values::user(request.required("user")?);
    let queue = NewQueue::checked(&user, Kind::User, &[], &[], Some(user.clone()))?;
    let now = store.clock.now().0;
    let found = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::existing(&mut *connection, &experiment).await?;
            if let Some(id) = insert(connection, number, &queue, now).await? {
                return Ok(id);
            }
            let (id, kind): (String, String) = sqlx::query_as(
                "SELECT queue_id, type FROM review_queues WHERE experiment_id = $1 AND name_key = $2",
            )
            .bind(number)
            .bind(&queue.name)
            .fetch_one(connection)
            .await?;
            if kind != Kind::User.name() {
                return Err(Problem::exists(format!(
                    "A non-user queue named '{}' already exists; cannot get-or-create a user queue with that \
                     name.",
                    queue.name
                )));
            }
            Ok(id)
        })
    });
    let row = by_id(&store.database.reader, &found.await?, "").await?;
    answer_one(store, row).await
}

/// Nothing if the experiment has a queue of this name, in whatever case.
async fn insert(
    connection: &mut AnyConnection,
    experiment: i64,
    queue: &NewQueue,
    now: i64,
) -> Result<Option<String>, Problem> {
    let id = format!("rq-{}", Uuid::new_v4().simple());
    let inserted = sqlx::query(
        "INSERT INTO review_queues (queue_id, experiment_id, name, name_key, type, created_by, creation_time, \
         last_update_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (experiment_id, name_key) DO NOTHING",
    )
    .bind(&id)
    .bind(experiment)
    .bind(&queue.name)
    .bind(queue.name.to_lowercase())
    .bind(queue.kind.name())
    .bind(&queue.owner)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    set_users(connection, &id, &queue.users).await?;
    set_schemas(connection, &id, &queue.schemas).await?;
    Ok(Some(id))
}

async fn set_users(connection: &mut AnyConnection, queue: &str, users: &[String]) -> Result<(), Problem> {
    sqlx::query("DELETE FROM review_queue_users WHERE queue_id = $1")
        .bind(queue)
        .execute(&mut *connection)
        .await?;
    // Ten at most.
    for user in users {
        sqlx::query("INSERT INTO review_queue_users (queue_id, user_id) VALUES ($1, $2)")
            .bind(queue)
            .bind(user)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn set_schemas(connection: &mut AnyConnection, queue: &str, schemas: &[String]) -> Result<(), Problem> {
    sqlx::query("DELETE FROM review_queue_schemas WHERE queue_id = $1")
        .bind(queue)
        .execute(&mut *connection)
        .await?;
    for schema in schemas {
        sqlx::query("INSERT INTO review_queue_schemas (queue_id, schema_id) VALUES ($1, $2)")
            .bind(queue)
            .bind(schema)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The questions of a queue are those of its experiment.
async fn check_schemas(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment: i64,
    schemas: &[String],
) -> Result<(), Problem> {
    if schemas.is_empty() {
        return Ok(());
    }
    let mut query = Query::new(dialect, "SELECT schema_id FROM label_schemas WHERE experiment_id = ");
    query.bind(experiment).push(" AND schema_id IN ").bind_all(schemas.iter().map(String::as_str));
    let mut known = Vec::new();
    for row in query.fetch_all(connection).await? {
        known.push(row.try_get::<String, _>(0)?);
    }
    let missing: Vec<&String> = schemas.iter().filter(|schema| !known.contains(schema)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = python::repr_list(missing.iter().map(|id| id.as_str()));
    Err(Problem::invalid(format!("Label schema id(s) {missing} not found for experiment '{experiment}'.")))
}

async fn by_id<'e>(
    executor: impl Executor<'e, Database = Any>,
    id: &str,
    lock: &'static str,
) -> Result<AnyRow, Problem> {
    let row = sqlx::query(AssertSqlSafe(format!("{COLUMNS} FROM review_queues WHERE queue_id = $1{lock}")))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    row.ok_or_else(|| Problem::missing(format!("Review queue with id '{id}' not found.")))
}

async fn get_by_name(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (experiment, name) = (request.required("experiment_id")?, request.required("name")?);
    let number = evaluation::existing(&store.database.reader, experiment).await?;
    let one = format!("{COLUMNS} FROM review_queues WHERE experiment_id = $1 AND name_key = $2");
    let row = sqlx::query(AssertSqlSafe(one))
        .bind(number)
        .bind(name.to_lowercase())
        .fetch_optional(&store.database.reader)
        .await?
        .ok_or_else(|| {
            Problem::missing(format!(
                "Review queue with name '{name}' not found for experiment '{experiment}'."
            ))
        })?;
    answer_one(store, row).await
}

async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?;
    let size = evaluation::page_size(request, PAGE)?;
    let user = request.text("user")?.map(values::user);
    let item = request.text("item_id")?;
    let order = Order(vec![
        Key::new("creation_time", KeyKind::Integer, false),
        Key::new("queue_id", KeyKind::Text, true),
    ]);
    let narrowed = [user.as_deref().unwrap_or_default(), item.unwrap_or_default()];
    let search = Search::of(&["review_queue.list", experiment, narrowed[0], narrowed[1]]);
    let token = search.token(request.text("page_token")?, &order)?;
    let number = evaluation::existing(&store.database.reader, experiment).await?;
    let mut query = Query::new(store.database.dialect, COLUMNS);
    query.push(&order.columns()).push(" FROM review_queues WHERE experiment_id = ").bind(number);
    if let Some(user) = user {
        query.push(" AND queue_id IN (SELECT queue_id FROM review_queue_users WHERE user_id = ");
        query.bind(user).push(")");
    }
    if let Some(item) = item {
        query.push(" AND queue_id IN (SELECT queue_id FROM review_queue_items WHERE item_id = ");
        query.bind(item).push(")");
    }
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(store.database.dialect)).push(" LIMIT ").bind(size + 1);
    let mut rows = query.fetch_all(&store.database.reader).await?;
    let next = page_end(&mut rows, size, &search, &order)?;
    let queues = shown(store, &rows).await?;
    answer_page("review_queues", queues, next)
}

/// Cuts a page to its size, which was asked for with one more, and answers the token of the next one.
fn page_end(rows: &mut Vec<AnyRow>, size: i64, search: &Search, order: &Order) -> Result<String, Problem> {
    let size = usize::try_from(size).map_err(Problem::internal)?;
    let more = rows.len() > size;
    rows.truncate(size);
    match rows.last().filter(|_| more) {
        Some(last) => search.token_after(last, order),
        None => Ok(String::new()),
    }
}

fn answer_page(name: &str, entries: Vec<Value>, next: String) -> Result<Reply, Problem> {
    let mut page = Map::new();
    if !entries.is_empty() {
        page.insert(name.to_owned(), Value::Array(entries));
    }
    page.insert("next_page_token".to_owned(), Value::String(next));
    reply::json(&page)
}

/// One that is not there is deleted already. What reviewers have written stays.
async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.required("queue_id")?.to_owned();
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            sqlx::query("DELETE FROM review_queues WHERE queue_id = $1")
                .bind(&id)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    deleted.await?;
    Ok(reply::empty_object())
}

fn taken(name: &str) -> Problem {
    Problem::exists(format!("Review queue with name '{name}' already exists (names are case-insensitive)."))
}

async fn answer_one(store: &EmbeddedShared, row: AnyRow) -> Result<Reply, Problem> {
    let mut queues = shown(store, &[row]).await?;
    reply::json(&json!({ "review_queue": queues.pop() }))
}

/// Queues with their reviewers and questions, which are read for all of them at once.
async fn shown(store: &EmbeddedShared, rows: &[AnyRow]) -> Result<Vec<Value>, Problem> {
    let mut ids: Vec<String> = Vec::new();
    for row in rows {
        ids.push(row.try_get(0)?);
    }
    let users = members(store, "user_id", "review_queue_users", &ids).await?;
    let schemas = members(store, "schema_id", "review_queue_schemas", &ids).await?;
    let mut queues = Vec::new();
    for (row, id) in rows.iter().zip(&ids) {
        let mut queue = Map::new();
        let mut put = |name: &str, value: Value| queue.insert(name.to_owned(), value);
        put("queue_id", json!(id));
        put("experiment_id", json!(row.try_get::<i64, _>(1)?.to_string()));
        put("name", json!(row.try_get::<String, _>(2)?));
        put("queue_type", json!(row.try_get::<String, _>(3)?));
        if let Some(owner) = row.try_get::<Option<String>, _>(4)? {
            put("created_by", Value::String(owner));
        }
        put("creation_time_ms", json!(row.try_get::<i64, _>(5)?));
        put("last_update_time_ms", json!(row.try_get::<i64, _>(6)?));
        for (name, all) in [("users", &users), ("schema_ids", &schemas)] {
            if let Some(own) = all.get(id) {
                put(name, json!(own));
            }
        }
        queues.push(Value::Object(queue));
    }
    Ok(queues)
}

/// The members of each queue that has some.
async fn members(
    store: &EmbeddedShared,
    column: &'static str,
    table: &'static str,
    queues: &[String],
) -> Result<HashMap<String, Vec<String>>, Problem> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for some in queues.chunks(500) {
        let select = format!("SELECT queue_id, {column} FROM {table} WHERE queue_id IN ");
        let mut query = Query::new(store.database.dialect, &select);
        query.bind_all(some.iter().map(String::as_str)).push(" ORDER BY queue_id, ").push(column);
        for row in query.fetch_all(&store.database.reader).await? {
            found.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
