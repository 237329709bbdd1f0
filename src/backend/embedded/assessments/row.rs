//! Assessments in the database.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::super::many;
use super::super::problem::Problem;
use super::super::python_json;
use super::parse::{Assessment, Kind};
use crate::database::Dialect;

/// What [`Stored::read`] reads, of `assessments` joined with `traces`.
pub(super) const COLUMNS: &str = "assessment_id, trace_id, name, kind, value, error, span_id, run_id, \
    source_type, source_id, rationale, assessments.metadata, overrides, valid, created_time, last_updated_time";

/// An assessment of a trace.
pub(super) struct Stored {
    pub trace_id: String,
    pub valid: bool,
    pub assessment: Assessment,
}

impl Stored {
    pub fn read(row: &AnyRow) -> Result<Self, Problem> {
        let metadata: Option<String> = row.try_get("metadata")?;
        let kind: String = row.try_get("kind")?;
        let value: String = row.try_get("value")?;
        let assessment = Assessment {
            id: row.try_get("assessment_id")?,
            name: row.try_get("name")?,
            kind: Kind::parse(&kind).ok_or_else(|| Problem::internal("an assessment of no known kind"))?,
            value: serde_json::from_str(&value).map_err(Problem::internal)?,
            error: row.try_get("error")?,
            span_id: row.try_get("span_id")?,
            run_id: row.try_get("run_id")?,
            source_type: row.try_get("source_type")?,
            source_id: row.try_get("source_id")?,
            rationale: row.try_get("rationale")?,
            metadata: match metadata {
                Some(text) => serde_json::from_str(&text).map_err(Problem::internal)?,
                None => serde_json::Map::new(),
            },
            overrides: row.try_get("overrides")?,
            created: row.try_get("created_time")?,
            updated: row.try_get("last_updated_time")?,
        };
        let valid: i64 = row.try_get("valid")?;
        Ok(Self { trace_id: row.try_get("trace_id")?, valid: valid != 0, assessment })
    }
}

/// The assessment of a trace, or why there is none.
pub(super) async fn find(connection: &mut AnyConnection, trace: &str, id: &str) -> Result<Stored, Problem> {
    let sql = format!(
        "SELECT {COLUMNS} FROM assessments JOIN traces ON traces.trace_no = assessments.trace_no \
         WHERE assessment_id = $1 AND trace_id = $2"
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(trace).fetch_optional(&mut *connection).await?;
    match found {
        Some(row) => Stored::read(&row),
        None if super::traces::number_of(connection, trace).await?.is_some() => Err(no_assessment(trace, id)),
        None => Err(Problem::missing(format!("Trace with request_id '{trace}' not found"))),
    }
}

pub(super) fn no_assessment(trace: &str, id: &str) -> Problem {
    Problem::missing(format!("Assessment with ID '{id}' not found for trace '{trace}'"))
}

fn insert_text(dialect: Dialect) -> String {
    format!(
        "INSERT INTO assessments (assessment_id, trace_no, name, kind, value, error, span_id, run_id, \
         source_type, source_id, rationale, metadata, overrides, created_time, last_updated_time, \
         aggregate_value, is_numeric_value, valid) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, {}, $17, 1)",
        many::float(dialect, 16)
    )
}

/// Whether it was new.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_no: i64,
    assessment: &Assessment,
) -> Result<bool, Problem> {
    write(
        connection,
        dialect,
        format!("{} ON CONFLICT (assessment_id) DO NOTHING", insert_text(dialect)),
        trace_no,
        assessment,
    )
    .await
}

/// Writes one anew if it is there, of the same trace.
pub(super) async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_no: i64,
    assessment: &Assessment,
) -> Result<(), Problem> {
    let sql = format!(
        "{} ON CONFLICT (assessment_id) DO UPDATE SET name = excluded.name, kind = excluded.kind, \
         value = excluded.value, error = excluded.error, span_id = excluded.span_id, \
         run_id = excluded.run_id, source_type = excluded.source_type, source_id = excluded.source_id, \
         rationale = excluded.rationale, metadata = excluded.metadata, overrides = excluded.overrides, \
         aggregate_value = excluded.aggregate_value, is_numeric_value = excluded.is_numeric_value \
         WHERE assessments.trace_no = excluded.trace_no",
        insert_text(dialect)
    );
    if write(connection, dialect, sql, trace_no, assessment).await? {
        return Ok(());
    }
    Err(Problem::exists(format!("An assessment with ID '{}' already exists", assessment.id)))
}

async fn write(
    connection: &mut AnyConnection,
    dialect: Dialect,
    sql: String,
    trace_no: i64,
    assessment: &Assessment,
) -> Result<bool, Problem> {
    let (aggregate, numeric) = aggregate(&assessment.value);
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(&assessment.id)
        .bind(trace_no)
        .bind(&assessment.name)
        .bind(assessment.kind.as_str())
        .bind(stored_value(&assessment.value))
        .bind(&assessment.error)
        .bind(&assessment.span_id)
        .bind(&assessment.run_id)
        .bind(&assessment.source_type)
        .bind(&assessment.source_id)
        .bind(&assessment.rationale)
        .bind(stored_metadata(assessment))
        .bind(&assessment.overrides)
        .bind(assessment.created)
        .bind(assessment.updated);
    let query = many::bind_float(query, dialect, aggregate).bind(i64::from(numeric));
    let done = query.execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

pub(super) fn stored_value(value: &Value) -> String {
    python_json::ascii(&python_json::dumps(value))
}

pub(super) fn stored_metadata(assessment: &Assessment) -> Option<String> {
    let metadata = &assessment.metadata;
    (!metadata.is_empty()).then(|| python_json::ascii(&python_json::dumps(&Value::Object(metadata.clone()))))
}

/// A value as a number for means, and whether it is a number itself.
pub(super) fn aggregate(value: &Value) -> (Option<f64>, bool) {
    match value {
        Value::Bool(truth) => (Some(f64::from(u8::from(*truth))), false),
        Value::Number(number) => (number.as_f64(), number.as_f64().is_some()),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "yes" => (Some(1.0), false),
            "no" => (Some(0.0), false),
            _ => (None, false),
        },
        _ => (None, false),
    }
}
