//! The traces of a queue, and what became of each. An item is done when one of the reviewers says so.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor, Row as _};

use super::{PAGE, answer_page, by_id, page_end, values};
use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::Query;
use crate::backend::embedded::filter::order::{Key, KeyKind, Order};
use crate::backend::embedded::filter::page::Search;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::rows;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::database::Dialect;
use crate::wire::Reply;

const STATUSES: [&str; 3] = ["PENDING", "COMPLETE", "DECLINED"];
const COLUMNS: &str = "SELECT queue_id, item_id, status, completed_by, completed_time, creation_time, \
                       last_update_time";
/// Values in one statement.
const CHUNK: usize = 500;

/// Adds traces of the queue's experiment. Those that are in it already keep their status.
pub(super) async fn add(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let queue = request.required("queue_id")?.to_owned();
    evaluation::known_enumeration(request, "item_type", &["TRACE"])?;
    let items = values::items(&request.texts("item_ids")?)?;
    let now = store.clock.now().0;
    let (dialect, lock) = (store.database.dialect, rows::for_update(store.database.dialect));
    let added = store.writer.write(move |connection| {
        Box::pin(async move {
            // Locked against a change of the questions, which items forbid.
            let row = by_id(&mut *connection, &queue, lock).await?;
            let experiment: i64 = row.try_get(1)?;
            let mut known = HashSet::new();
            for some in items.chunks(CHUNK) {
                let mut query = Query::new(dialect, "SELECT trace_id FROM traces WHERE experiment_id = ");
                query.bind(experiment).push(" AND trace_id IN ").bind_all(some.iter().map(String::as_str));
                query.push(rows::for_share(dialect));
                for row in query.fetch_all(&mut *connection).await? {
                    known.insert(row.try_get::<String, _>(0)?);
                }
            }
            let strange: Vec<&String> = items.iter().filter(|item| !known.contains(*item)).collect();
            if !strange.is_empty() {
                return Err(Problem::missing(format!(
                    "Cannot attach trace(s) {} to review queue '{queue}': they do not exist in experiment \
                     '{experiment}'.",
                    python::repr_list(strange.iter().map(|item| item.as_str()))
                )));
            }
            let mut attached = HashMap::new();
            for some in items.chunks(CHUNK) {
                insert(&mut *connection, dialect, &queue, some, now).await?;
                attached.extend(by_items(&mut *connection, dialect, &queue, some).await?);
            }
            // In the order in which they were given.
            Ok(items.iter().filter_map(|item| attached.remove(item)).collect::<Vec<_>>())
        })
    });
    reply::json(&json!({ "items": added.await? }))
}

async fn insert(
    executor: impl Executor<'_, Database = Any>,
    dialect: Dialect,
    queue: &str,
    items: &[String],
    now: i64,
) -> Result<(), Problem> {
    let mut query = Query::new(
        dialect,
        "INSERT INTO review_queue_items (queue_id, item_id, status, creation_time, last_update_time) VALUES ",
    );
    for (index, item) in items.iter().enumerate() {
        query.push(if index > 0 { ", (" } else { "(" });
        query.bind(queue).push(", ").bind(item.as_str()).push(", 'PENDING', ").bind(now).push(", ");
        query.bind(now).push(")");
    }
    query.push(" ON CONFLICT (queue_id, item_id) DO NOTHING");
    query.fetch_all(executor).await.map(|_| ())
}

async fn by_items(
    executor: impl Executor<'_, Database = Any>,
    dialect: Dialect,
    queue: &str,
    items: &[String],
) -> Result<Vec<(String, Value)>, Problem> {
    let mut query = Query::new(dialect, COLUMNS);
    query.push(" FROM review_queue_items WHERE queue_id = ").bind(queue).push(" AND item_id IN ");
    query.bind_all(items.iter().map(String::as_str));
    let rows = query.fetch_all(executor).await?;
    rows.iter().map(|row| Ok((row.try_get(1)?, shown(row)?))).collect()
}

pub(super) async fn remove(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let queue = request.required("queue_id")?.to_owned();
    let items = values::items(&request.texts("item_ids")?)?;
    let dialect = store.database.dialect;
    let removed = store.writer.write(move |connection| {
        Box::pin(async move {
            by_id(&mut *connection, &queue, "").await?;
            for some in items.chunks(CHUNK) {
                let mut query = Query::new(dialect, "DELETE FROM review_queue_items WHERE queue_id = ");
                query.bind(queue.as_str()).push(" AND item_id IN ");
                query.bind_all(some.iter().map(String::as_str));
                query.fetch_all(&mut *connection).await?;
            }
            Ok(())
        })
    });
    removed.await?;
    Ok(reply::empty_object())
}

pub(super) async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let queue = request.required("queue_id")?;
    let size = evaluation::page_size(request, PAGE)?;
    let status = evaluation::known_enumeration(request, "status", &STATUSES)?;
    let status = status.checked_sub(1).and_then(|index| STATUSES.get(index));
    let order = Order(vec![
        Key::new("creation_time", KeyKind::Integer, false),
        Key::new("item_id", KeyKind::Text, true),
    ]);
    let search = Search::of(&["review_queue.item_list", queue, status.unwrap_or(&"")]);
    let token = search.token(request.text("page_token")?, &order)?;
    by_id(&store.database.reader, queue, "").await?;
    let mut query = Query::new(store.database.dialect, COLUMNS);
    query.push(&order.columns()).push(" FROM review_queue_items WHERE queue_id = ").bind(queue);
    if let Some(status) = status {
        query.push(" AND status = ").bind(*status);
    }
    if let Some(token) = &token {
        order.after(&mut query, token);
    }
    query.push(&order.clause(store.database.dialect)).push(" LIMIT ").bind(size + 1);
    let mut rows = query.fetch_all(&store.database.reader).await?;
    let next = page_end(&mut rows, size, &search, &order)?;
    answer_page("items", rows.iter().map(shown).collect::<Result<_, _>>()?, next)
}

/// Who says the same again changes nothing: the first one to finish an item has finished it.
pub(super) async fn set_status(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let queue = request.required("queue_id")?.to_owned();
    let item = request.required("item_id")?.trim().to_owned();
    let number = evaluation::enumeration(request, "status", &STATUSES);
    let status = *number.checked_sub(1).and_then(|index| STATUSES.get(index)).ok_or_else(|| {
        Problem::invalid(format!(
            "`status` must be one of PENDING, COMPLETE, or DECLINED; got proto enum value {number}."
        ))
    })?;
    let by = request.text("completed_by")?.map(values::user);
    match (status, &by) {
        ("PENDING", Some(_)) => {
            return Err(Problem::invalid(
                "`completed_by` must not be set when reopening an item to `pending`.",
            ));
        }
        ("PENDING", None) => {}
        (_, Some(by)) if !by.is_empty() => {
            let length = by.chars().count();
            if length > values::MAX_USER {
                let longest = values::MAX_USER;
                return Err(Problem::invalid(format!(
                    "`completed_by` must be at most {longest} characters; got {length}."
                )));
            }
        }
        _ => {
            return Err(Problem::invalid(format!(
                "`completed_by` is required when setting status to `{}`.",
                status.to_lowercase()
            )));
        }
    }
    let (now, lock) = (store.clock.now().0, rows::for_update(store.database.dialect));
    let set = store.writer.write(move |connection| {
        Box::pin(async move {
            by_id(&mut *connection, &queue, "").await?;
            let one = format!("{COLUMNS} FROM review_queue_items WHERE queue_id = $1 AND item_id = $2{lock}");
            let row = sqlx::query(AssertSqlSafe(one.clone()))
                .bind(&queue)
                .bind(&item)
                .fetch_optional(&mut *connection)
                .await?
                .ok_or_else(|| {
                    Problem::missing(format!("Item '{item}' is not attached to review queue '{queue}'."))
                })?;
            if row.try_get::<String, _>(2)? == status {
                return shown(&row);
            }
            sqlx::query(
                "UPDATE review_queue_items SET status = $3, completed_by = $4, completed_time = $5, \
                 last_update_time = $6 WHERE queue_id = $1 AND item_id = $2",
            )
            .bind(&queue)
            .bind(&item)
            .bind(status)
            .bind(&by)
            .bind(by.as_ref().map(|_| now))
            .bind(now)
            .execute(&mut *connection)
            .await?;
            let row = sqlx::query(AssertSqlSafe(one)).bind(&queue).bind(&item).fetch_one(connection).await?;
            shown(&row)
        })
    });
    reply::json(&json!({ "item": set.await? }))
}

fn shown(row: &AnyRow) -> Result<Value, Problem> {
    let mut item = Map::new();
    let mut put = |name: &str, value: Value| item.insert(name.to_owned(), value);
    put("queue_id", json!(row.try_get::<String, _>(0)?));
    put("item_type", json!("TRACE"));
    put("item_id", json!(row.try_get::<String, _>(1)?));
    put("status", json!(row.try_get::<String, _>(2)?));
    if let Some(by) = row.try_get::<Option<String>, _>(3)? {
        put("completed_by", Value::String(by));
    }
    if let Some(time) = row.try_get::<Option<i64>, _>(4)? {
        put("completed_time_ms", json!(time));
    }
    put("creation_time_ms", json!(row.try_get::<i64, _>(5)?));
    put("last_update_time_ms", json!(row.try_get::<i64, _>(6)?));
    Ok(Value::Object(item))
}
