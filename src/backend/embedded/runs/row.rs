//! A run's row, and the ways to find it.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::{python, rows};
use crate::database::Dialect;

/// What [`RunRow::of_row`] reads, in its order.
pub const COLUMNS: &str = "r.run_no, r.run_id, r.experiment_id, r.name, r.user_id, r.status, r.start_time, \
                           r.end_time, r.lifecycle_stage, r.artifact_uri";

#[derive(Debug, Clone)]
pub struct RunRow {
    pub run_no: i64,
    pub run_id: String,
    pub experiment: i64,
    pub name: String,
    pub user: String,
    pub status: String,
    pub start_time: i64,
    pub end_time: Option<i64>,
    pub lifecycle_stage: String,
    pub artifact_uri: String,
}

impl RunRow {
    pub fn of_row(row: &AnyRow) -> Result<Self, Problem> {
        Ok(Self {
            run_no: row.try_get(0)?,
            run_id: row.try_get(1)?,
            experiment: row.try_get(2)?,
            name: row.try_get(3)?,
            user: row.try_get(4)?,
            status: row.try_get(5)?,
            start_time: row.try_get(6)?,
            end_time: row.try_get(7)?,
            lifecycle_stage: row.try_get(8)?,
            artifact_uri: row.try_get(9)?,
        })
    }
}

pub async fn find(connection: &mut AnyConnection, run_id: &str) -> Result<RunRow, Problem> {
    select(connection, run_id, "").await
}

/// The run, which stays as it is until the transaction ends.
pub async fn lock(connection: &mut AnyConnection, dialect: Dialect, run_id: &str) -> Result<RunRow, Problem> {
    select(connection, run_id, rows::for_update(dialect)).await
}

/// The same of a run that must not be deleted.
pub async fn lock_active(
    connection: &mut AnyConnection,
    dialect: Dialect,
    run_id: &str,
) -> Result<RunRow, Problem> {
    let run = lock(connection, dialect, run_id).await?;
    if run.lifecycle_stage != "active" {
        return Err(Problem::invalid(format!(
            "The run {run_id} must be in the 'active' state. Current state is {}.",
            run.lifecycle_stage
        )));
    }
    Ok(run)
}

async fn select(connection: &mut AnyConnection, run_id: &str, end: &str) -> Result<RunRow, Problem> {
    let text = format!("SELECT {COLUMNS} FROM runs r WHERE r.run_id = $1{end}");
    let found = sqlx::query(AssertSqlSafe(text)).bind(run_id).fetch_optional(connection).await?;
    match found {
        Some(row) => RunRow::of_row(&row),
        None => Err(Problem::missing(format!("Run with id={run_id} not found"))),
    }
}

/// What MLflow wants a run's id to look like where several things are logged at once.
pub fn check_id(run_id: &str) -> Result<(), Problem> {
    let starts = run_id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if starts && run_id.chars().count() <= 256 && run_id.chars().all(word) {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "Invalid value {} for parameter 'run_id' supplied.",
        python::json_text(run_id)
    )))
}
