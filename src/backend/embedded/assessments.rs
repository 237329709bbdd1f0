//! What people, judges and code say of a trace: feedback, expectations, and references to issues. One may
//! override another, which then no longer counts, until the one that overrides it is deleted.

mod parse;
mod row;
mod show;
#[cfg(test)]
mod tests;
mod update;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

pub(super) use self::parse::Assessment;
use self::row::Stored;
use super::EmbeddedShared;
use super::many;
use super::problem::{Code, Problem};
use super::reply;
use super::request::{Request, missing};
use super::traces;
use crate::database::Dialect;
use crate::wire::Reply;

pub(super) async fn answer(store: &Arc<EmbeddedShared>, request: Request) -> Result<Reply, Problem> {
    match request.operation.as_str() {
        "assessment.get" => get(store, &request).await,
        "assessment.create" => create(store, &request).await,
        "assessment.update" => update::answer(store, &request).await,
        "assessment.delete" => delete(store, &request).await,
        _ => Err(Problem::not_offered(&request.operation)),
    }
}

/// The assessments of many traces as JSON texts, by the number of their trace, oldest first.
pub(super) async fn of_traces(
    store: &EmbeddedShared,
    trace_numbers: &[i64],
) -> Result<HashMap<i64, Vec<String>>, Problem> {
    let mut by_trace: HashMap<i64, Vec<String>> = HashMap::new();
    if trace_numbers.is_empty() {
        return Ok(by_trace);
    }
    let wanted = many::integers(store.database.dialect, 1);
    let sql = format!(
        "SELECT {}, assessments.trace_no FROM assessments JOIN traces ON traces.trace_no = assessments.trace_no \
         WHERE assessments.trace_no IN {wanted} ORDER BY created_time, assessment_id",
        row::COLUMNS
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(many::list(trace_numbers))
        .fetch_all(&store.database.reader)
        .await?;
    for found in &rows {
        let text = show::json(&Stored::read(found)?)?.to_string();
        by_trace.entry(found.try_get("trace_no")?).or_default().push(text);
    }
    Ok(by_trace)
}

/// Writes assessments that came with their trace; one that is there already is written anew.
pub(super) async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_no: i64,
    assessments: &[Assessment],
) -> Result<(), Problem> {
    for assessment in assessments {
        row::put(connection, dialect, trace_no, assessment).await?;
    }
    Ok(())
}

fn reply_with(stored: &Stored) -> Result<Reply, Problem> {
    let mut body = Map::new();
    body.insert("assessment".to_owned(), show::json(stored)?);
    reply::json(&body)
}

async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (trace, id) = (request.param("trace_id"), request.param("assessment_id"));
    let mut connection = store.database.reader.acquire().await?;
    reply_with(&row::find(&mut connection, trace, id).await?)
}

async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let trace = request.param("trace_id").to_owned();
    let Some(Value::Object(given)) = request.json.get("assessment") else {
        return Err(missing("assessment"));
    };
    let assessment = Assessment::parse(given, store.clock.now().0)?;
    let dialect = store.database.dialect;
    let created = store.writer.write(move |connection| {
        Box::pin(async move {
            traces::lock(connection, dialect, std::slice::from_ref(&trace)).await?;
            let trace_no = traces::number_of(connection, &trace)
                .await?
                .ok_or_else(|| Problem::missing(format!("Trace with ID '{trace}' not found.")))?;
            if let Some(overridden) = &assessment.overrides {
                override_by(connection, trace_no, &trace, overridden).await?;
            }
            if !row::insert(connection, dialect, trace_no, &assessment).await? {
                return Err(Problem::exists(format!(
                    "An assessment with ID '{}' already exists",
                    assessment.id
                )));
            }
            row::find(connection, &trace, &assessment.id).await
        })
    });
    reply_with(&created.await?)
}

async fn override_by(
    connection: &mut AnyConnection,
    trace_no: i64,
    trace: &str,
    overridden: &str,
) -> Result<(), Problem> {
    let done = sqlx::query("UPDATE assessments SET valid = 0 WHERE trace_no = $1 AND assessment_id = $2")
        .bind(trace_no)
        .bind(overridden)
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 {
        return Err(row::no_assessment(trace, overridden));
    }
    Ok(())
}

/// Deleting what is not there is done already.
async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let trace = request.param("trace_id").to_owned();
    let id = request.param("assessment_id").to_owned();
    let dialect = store.database.dialect;
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            traces::lock(connection, dialect, std::slice::from_ref(&trace)).await?;
            let Some(trace_no) = traces::number_of(connection, &trace).await? else { return Ok(()) };
            let overrides: Option<Option<String>> = sqlx::query_scalar(
                "SELECT overrides FROM assessments WHERE trace_no = $1 AND assessment_id = $2",
            )
            .bind(trace_no)
            .bind(&id)
            .fetch_optional(&mut *connection)
            .await?;
            let Some(overrides) = overrides else { return Ok(()) };
            sqlx::query("DELETE FROM assessments WHERE trace_no = $1 AND assessment_id = $2")
                .bind(trace_no)
                .bind(&id)
                .execute(&mut *connection)
                .await?;
            if let Some(restored) = overrides {
                sqlx::query("UPDATE assessments SET valid = 1 WHERE trace_no = $1 AND assessment_id = $2")
                    .bind(trace_no)
                    .bind(restored)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    });
    deleted.await?;
    Ok(reply::empty_object())
}

/// A text that every database holds.
fn storable(field: &str, text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(Problem::new(Code::InvalidParameterValue, format!("`{field}` may not hold U+0000")));
    }
    Ok(())
}
