//! A run's status, end and name.

use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::read::Info;
use super::row::{self, RunRow};
use super::{run_id, tags};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{Request, integer, wrong_type};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

/// In the order of their numbers in MLflow's protocol, which count from 1.
const STATUSES: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];

pub async fn update(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?.to_owned();
    let status = status(request.json.get("status"))?;
    let end_time = request.integer("end_time")?;
    let name = request.text("run_name")?.unwrap_or_default().to_owned();
    let dialect = store.database.dialect;
    let run = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let mut run = row::lock_active(connection, dialect, &run_id).await?;
                run.status = status.map_or(run.status, str::to_owned);
                run.end_time = end_time.or(run.end_time);
                if !name.is_empty() {
                    rename(connection, &mut run, name).await?;
                }
                save(connection, &run).await?;
                Ok(run)
            })
        })
        .await?;
    reply::json(&json!({ "run_info": Info::of_row(&run) }))
}

/// By name or number. MLflow's parser passes over a name that the protocol does not know.
fn status(value: Option<&Value>) -> Result<Option<&'static str>, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    if let Some(known) = STATUSES.into_iter().find(|known| value.as_str() == Some(known)) {
        return Ok(Some(known));
    }
    let number = match value {
        // Protobuf takes the whole part of a fraction, and `true` for 1.
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| number as i64),
        Value::Bool(set) => Some(i64::from(*set)),
        other => integer(other),
    };
    let place = number.and_then(|number| usize::try_from(number).ok()?.checked_sub(1));
    match (place.and_then(|place| STATUSES.get(place)), value) {
        (Some(known), _) => Ok(Some(known)),
        (None, Value::String(_)) => Ok(None),
        (None, other) => Err(wrong_type("status", other)),
    }
}

/// Gives the run a name, and its tag the same.
pub async fn rename(connection: &mut AnyConnection, run: &mut RunRow, name: String) -> Result<(), Problem> {
    tags::put(connection, run.run_no, &[(tags::RUN_NAME.to_owned(), name.clone())]).await?;
    run.name = name;
    Ok(())
}

pub async fn save(connection: &mut AnyConnection, run: &RunRow) -> Result<(), Problem> {
    sqlx::query("UPDATE runs SET name = $1, status = $2, end_time = $3 WHERE run_no = $4")
        .bind(&run.name)
        .bind(&run.status)
        .bind(run.end_time)
        .bind(run.run_no)
        .execute(connection)
        .await?;
    Ok(())
}
