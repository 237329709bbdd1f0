//! Logged models as MLflow's JSON, many at once.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::super::pairs::{rows_of, to_json};
use super::super::problem::Problem;
use super::super::request::Request;
use super::super::{EmbeddedShared, reply};
use super::{PARAMS, TAGS, absent};
use crate::wire::Reply;

/// What [`Row::of`] reads.
pub const COLUMNS: &str = "model_no, model_id, experiment_id, name, artifact_location, creation_time, \
                           last_update_time, status, model_type, source_run_id";

const METRICS: &str = "SELECT l.model_no, x.key, x.value, x.time, x.step, x.run_id, x.dataset_name, \
                       x.dataset_digest FROM logged_models l JOIN logged_model_metrics x ON x.model_id = l.model_id";

#[derive(Debug, Clone)]
pub struct Row {
    pub model_no: i64,
    pub model_id: String,
    pub experiment_id: i64,
    pub name: String,
    pub artifact_location: String,
    pub creation_time: i64,
    pub last_update_time: i64,
    pub status: i64,
    pub model_type: String,
    pub source_run_id: String,
}

pub async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let model_id = request.param("model_id");
    let allow_deleted = request.text("allow_deleted")?.is_some_and(|text| text.to_lowercase() == "true");
    let mut reading = store.database.begin_read().await?;
    let condition = if allow_deleted { "" } else { " AND l.lifecycle_stage <> 'deleted'" };
    let select = format!("SELECT {COLUMNS} FROM logged_models l WHERE l.model_id = $1{condition}");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(model_id)
        .fetch_optional(&mut *reading)
        .await?
        .ok_or_else(|| absent(model_id))?;
    reply::json(&one(&mut reading, &Row::of(&row)?).await?)
}

/// One model as an answer has it.
pub async fn one(connection: &mut AnyConnection, row: &Row) -> Result<Value, Problem> {
    let mut shown = many(connection, std::slice::from_ref(row)).await?;
    Ok(json!({ "model": shown.pop() }))
}

pub async fn many(connection: &mut AnyConnection, rows: &[Row]) -> Result<Vec<Value>, Problem> {
    let numbers: Vec<i64> = rows.iter().map(|row| row.model_no).collect();
    let tags = TAGS.of(connection, &numbers).await?;
    let params = PARAMS.of(connection, &numbers).await?;
    let mut metrics = metrics_of(connection, &numbers).await?;
    let show = |row: &Row| {
        let mut data = json!({});
        if let Some(params) = params.get(&row.model_no) {
            data["params"] = to_json(params);
        }
        if let Some(mut metrics) = metrics.remove(&row.model_no) {
            for metric in &mut metrics {
                metric["model_id"] = json!(row.model_id);
            }
            data["metrics"] = Value::Array(metrics);
        }
        let mut info = row.info();
        if let Some(tags) = tags.get(&row.model_no) {
            info["tags"] = to_json(tags);
        }
        json!({ "info": info, "data": data })
    };
    Ok(rows.iter().map(show).collect())
}

async fn metrics_of(
    connection: &mut AnyConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, Vec<Value>>, Problem> {
    let mut found: HashMap<i64, Vec<Value>> = HashMap::new();
    let order = "x.key, x.time, x.step, x.run_id";
    for row in rows_of(connection, METRICS, "l.model_no", order, numbers).await? {
        let mut metric = json!({
            "key": row.try_get::<String, _>(1)?,
            "value": row.try_get::<f64, _>(2)?,
            "timestamp": row.try_get::<i64, _>(3)?,
            "step": row.try_get::<i64, _>(4)?,
            "run_id": row.try_get::<String, _>(5)?,
        });
        for (column, name) in [(6, "dataset_name"), (7, "dataset_digest")] {
            if let Some(text) = row.try_get::<Option<String>, _>(column)? {
                metric[name] = json!(text);
            }
        }
        found.entry(row.try_get(0)?).or_default().push(metric);
    }
    Ok(found)
}

impl Row {
    pub fn of(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            model_no: row.try_get(0)?,
            model_id: row.try_get(1)?,
            experiment_id: row.try_get(2)?,
            name: row.try_get(3)?,
            artifact_location: row.try_get(4)?,
            creation_time: row.try_get(5)?,
            last_update_time: row.try_get(6)?,
            status: row.try_get(7)?,
            model_type: row.try_get(8)?,
            source_run_id: row.try_get(9)?,
        })
    }

    fn info(&self) -> Value {
        let status = match self.status {
            1 => "LOGGED_MODEL_PENDING",
            2 => "LOGGED_MODEL_READY",
            3 => "LOGGED_MODEL_UPLOAD_FAILED",
            _ => "LOGGED_MODEL_STATUS_UNSPECIFIED",
        };
        json!({
            "model_id": self.model_id,
            "experiment_id": self.experiment_id.to_string(),
            "name": self.name,
            "creation_timestamp_ms": self.creation_time,
            "last_updated_timestamp_ms": self.last_update_time,
            "artifact_uri": self.artifact_location,
            "status": status,
            "model_type": self.model_type,
            "source_run_id": self.source_run_id,
        })
    }
}
