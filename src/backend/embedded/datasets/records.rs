//! The records of a dataset, written and read many at once.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::merge::{Given, Record};
use super::{digest, schema};
use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::{Bind, Query};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::rows;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::database::Dialect;
use crate::wire::Reply;

const COLUMNS: &str = "record_id, input_hash, inputs, outputs, expectations, tags, source, created_time, \
                       last_update_time, created_by, last_updated_by";
/// Records in one statement.
const CHUNK: usize = 250;
/// Records on a page, if the caller does not say.
const PAGE: i64 = 1000;

/// Adds records, or changes those that have the same inputs.
pub(super) async fn upsert(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.param("dataset_id").to_owned();
    let records = Given::all(request.required("records")?)?;
    let (now, dialect, lock) =
        (store.clock.now().0, store.database.dialect, rows::for_update(store.database.dialect));
    let upserted = store.writer.write(move |connection| {
        Box::pin(async move {
            let dataset =
                format!("SELECT name, schema, records FROM evaluation_datasets WHERE dataset_id = $1{lock}");
            let dataset =
                sqlx::query(AssertSqlSafe(dataset)).bind(&id).fetch_optional(&mut *connection).await?;
            let dataset = dataset.ok_or_else(|| super::absent(&id))?;
            let (mut inserted, mut updated) = (0_i64, 0_i64);
            for some in records.chunks(CHUNK) {
                let mut known = with_inputs_of(connection, dialect, &id, some).await?;
                for given in some {
                    match known.get_mut(&given.hash) {
                        Some(record) => {
                            record.merge(given, now);
                            updated += 1;
                        }
                        None => {
                            known.insert(given.hash.clone(), Record::new(given, now));
                            inserted += 1;
                        }
                    }
                }
                write(connection, dialect, &id, known.into_values()).await?;
            }
            let (name, known): (String, Option<String>) = (dataset.try_get(0)?, dataset.try_get(1)?);
            let count = dataset.try_get::<i64, _>(2)? + inserted;
            sqlx::query(
                "UPDATE evaluation_datasets SET last_update_time = $2, last_updated_by = $3, digest = $4, \
                 schema = $5, profile = COALESCE($6, profile), records = $7 WHERE dataset_id = $1",
            )
            .bind(&id)
            .bind(now)
            .bind(records.iter().rev().find_map(Given::user))
            .bind(digest(&name, now))
            .bind(schema::extended(known.as_deref(), &records))
            .bind(profile(count))
            .bind(count)
            .execute(connection)
            .await?;
            Ok(json!({ "inserted_count": inserted, "updated_count": updated }))
        })
    });
    reply::json(&upserted.await?)
}

fn profile(records: i64) -> Option<String> {
    (records > 0).then(|| python::json_spaced(&json!({ "num_records": records })))
}

/// The records that have the same inputs as one of these.
async fn with_inputs_of(
    connection: &mut AnyConnection,
    dialect: Dialect,
    dataset: &str,
    records: &[Given],
) -> Result<HashMap<String, Record>, Problem> {
    let mut query = Query::new(dialect, "SELECT ");
    query.push(COLUMNS).push(" FROM evaluation_dataset_records WHERE dataset_id = ").bind(dataset);
    query.push(" AND input_hash IN ").bind_all(records.iter().map(|record| record.hash.as_str()));
    let mut known = HashMap::new();
    for row in query.fetch_all(connection).await? {
        let record = read(&row)?;
        known.insert(record.hash.clone(), record);
    }
    Ok(known)
}

async fn write(
    connection: &mut AnyConnection,
    dialect: Dialect,
    dataset: &str,
    records: impl Iterator<Item = Record>,
) -> Result<(), Problem> {
    let mut query = Query::new(dialect, "INSERT INTO evaluation_dataset_records (dataset_id, ");
    query.push(COLUMNS).push(") VALUES ");
    for (index, record) in records.enumerate() {
        query.push(if index > 0 { ", (" } else { "(" }).bind(dataset);
        let json = |value: &Value| Some(Bind::Text(python::json_spaced(value)));
        let object = |map: Map<String, Value>| json(&Value::Object(map));
        for value in [
            Some(Bind::Text(record.id)),
            Some(Bind::Text(record.hash)),
            json(&record.inputs),
            if record.outputs.is_null() { None } else { json(&record.outputs) },
            record.expectations.and_then(object),
            object(record.tags),
            record.source.as_ref().and_then(json),
            Some(Bind::Integer(record.created_time)),
            Some(Bind::Integer(record.last_update_time)),
            record.created_by.map(Bind::Text),
            record.last_updated_by.map(Bind::Text),
        ] {
            query.push(", ");
            match value {
                Some(value) => query.bind(value),
                None => query.push("NULL"),
            };
        }
        query.push(")");
    }
    query.push(
        " ON CONFLICT (record_id) DO UPDATE SET outputs = excluded.outputs, expectations = excluded.expectations, \
         tags = excluded.tags, last_update_time = excluded.last_update_time, \
         last_updated_by = excluded.last_updated_by",
    );
    query.fetch_all(connection).await.map(|_| ())
}

fn read(row: &AnyRow) -> Result<Record, Problem> {
    let value = |index: usize| -> Result<Option<Value>, Problem> {
        let text: Option<String> = row.try_get(index)?;
        text.map(|text| serde_json::from_str(&text).map_err(Problem::internal)).transpose()
    };
    let object = |index: usize| -> Result<Option<Map<String, Value>>, Problem> {
        Ok(match value(index)? {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        })
    };
    Ok(Record {
        id: row.try_get(0)?,
        hash: row.try_get(1)?,
        inputs: value(2)?.unwrap_or_default(),
        outputs: value(3)?.unwrap_or_default(),
        expectations: object(4)?,
        tags: object(5)?.unwrap_or_default(),
        source: value(6)?,
        created_time: row.try_get(7)?,
        last_update_time: row.try_get(8)?,
        created_by: row.try_get(9)?,
        last_updated_by: row.try_get(10)?,
    })
}

/// A page of records, in the order in which they came. A dataset that is not there has none.
pub(super) async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let dataset = request.param("dataset_id");
    let size = match request.integer("max_results")? {
        None | Some(0) => PAGE,
        given => evaluation::search_size(given, PAGE)?,
    };
    let after = request.text("page_token")?.filter(|token| !token.is_empty()).map(cursor).transpose()?;
    let mut query = Query::new(store.database.dialect, "SELECT ");
    query.push(COLUMNS).push(" FROM evaluation_dataset_records WHERE dataset_id = ").bind(dataset);
    if let Some((time, id)) = after {
        query.push(" AND created_time >= ").bind(time).push(" AND (created_time > ").bind(time);
        query.push(" OR record_id > ").bind(id).push(")");
    }
    query.push(" ORDER BY created_time, record_id LIMIT ").bind(size + 1);
    let mut rows = query.fetch_all(&store.database.reader).await?;
    let size = usize::try_from(size).map_err(Problem::internal)?;
    let more = rows.len() > size;
    rows.truncate(size);
    let mut records = Vec::new();
    let mut end = None;
    for row in &rows {
        let record = read(row)?;
        end = Some(format!("{}:{}", record.created_time, record.id));
        records.push(record.shown(dataset));
    }
    let mut page = Map::new();
    page.insert("records".to_owned(), Value::String(python::json_spaced(&Value::Array(records))));
    if let Some(end) = end.filter(|_| more) {
        page.insert("next_page_token".to_owned(), Value::String(STANDARD.encode(end)));
    }
    reply::json(&page)
}

/// Where a page ended.
fn cursor(token: &str) -> Result<(i64, String), Problem> {
    let read = || {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let (time, id) = text.split_once(':')?;
        (!id.contains('\0')).then_some((time.parse().ok()?, id.to_owned()))
    };
    read().ok_or_else(|| Problem::invalid("Invalid page token: it is not one of this server"))
}

pub(super) async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.param("dataset_id").to_owned();
    let records = request.texts("dataset_record_ids")?;
    let (dialect, lock) = (store.database.dialect, rows::for_update(store.database.dialect));
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            let known = format!("SELECT records FROM evaluation_datasets WHERE dataset_id = $1{lock}");
            let known: Option<i64> =
                sqlx::query_scalar(AssertSqlSafe(known)).bind(&id).fetch_optional(&mut *connection).await?;
            let Some(known) = known else { return Ok(0) };
            let mut deleted = 0;
            for some in records.chunks(CHUNK) {
                let mut query =
                    Query::new(dialect, "DELETE FROM evaluation_dataset_records WHERE dataset_id = ");
                query.bind(id.as_str()).push(" AND record_id IN ");
                query.bind_all(some.iter().map(String::as_str)).push(" RETURNING record_id");
                deleted += query.fetch_all(&mut *connection).await?.len();
            }
            if deleted > 0 {
                let left = known - i64::try_from(deleted).map_err(Problem::internal)?;
                // An empty dataset has the profile `null`, one that never had records has none.
                let profile = profile(left).unwrap_or_else(|| "null".to_owned());
                sqlx::query(
                    "UPDATE evaluation_datasets SET records = $2, profile = $3 WHERE dataset_id = $1",
                )
                .bind(&id)
                .bind(left)
                .bind(profile)
                .execute(connection)
                .await?;
            }
            Ok(deleted)
        })
    });
    reply::json(&json!({ "deleted_count": deleted.await? }))
}
