//! Logging values of metrics.
//!
//! A history is a set: the same value at the same time and step is kept once, so that a retry changes
//! nothing. The latest value is that of the highest step, then time, then number.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sqlx::AnyConnection;

use super::row::{self, RunRow};
use super::{model_metrics, run_id};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{self, Request, wrong_type};
use crate::backend::embedded::{EmbeddedShared, entries, names, python, reply, rows};
use crate::wire::Reply;

/// A value that is to be logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub key: String,
    /// As it was sent.
    pub sent: f64,
    pub time: i64,
    pub step: i64,
    pub model: Option<String>,
    pub dataset_name: Option<String>,
    pub dataset_digest: Option<String>,
}

impl Metric {
    /// From the fields of a body, or of an object in its list; `path` is where messages say that it lies.
    pub fn parse(object: &Map<String, Value>, path: &str) -> Result<Self, Problem> {
        let field = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let text = |name: &str| match entries::field(object, name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(other) => Err(wrong_type(&field(name), other)),
        };
        let whole = |name: &str| match entries::field(object, name)? {
            None => Ok(None),
            Some(value) => request::integer(value).map(Some).ok_or_else(|| wrong_type(&field(name), value)),
        };
        let key = text("key")?.ok_or_else(|| request::missing(&field("key")))?;
        let sent = match object.get("value") {
            None | Some(Value::Null) => return Err(request::missing(&field("value"))),
            Some(Value::String(text)) if text.is_empty() => return Err(request::missing(&field("value"))),
            Some(value) => entries::double(value).ok_or_else(|| wrong_type(&field("value"), value))?,
        };
        let time = whole("timestamp")?.ok_or_else(|| request::missing(&field("timestamp")))?;
        Ok(Self {
            key,
            sent,
            time,
            step: whole("step")?.unwrap_or_default(),
            model: text("model_id")?,
            dataset_name: text("dataset_name")?,
            dataset_digest: text("dataset_digest")?,
        })
    }

    pub fn check(&self, path: &str) -> Result<(), Problem> {
        let field = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        names::check(&field("name"), &self.key)?;
        if self.time < 0 {
            return Err(Problem::invalid(format!(
                "Invalid value {} for parameter '{}' supplied: metric '{}' (value={}). Timestamp must be a \
                 nonnegative long (64-bit integer) ",
                self.time,
                field("timestamp"),
                self.key,
                python::float(self.sent)
            )));
        }
        names::check_length("Metric name", names::NAME_LIMIT, &self.key)
    }

    /// What columns keep of the value: no number is 0 and a mark, infinity the number next to it.
    pub fn stored(&self) -> (f64, i64) {
        // Adding 0 makes -0 the 0 that databases take it for.
        if self.sent.is_nan() { (0.0, 1) } else { (self.sent.clamp(f64::MIN, f64::MAX) + 0.0, 0) }
    }
}

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?.to_owned();
    let metric = Metric::parse(&request.json, "")?;
    metric.check("")?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                put(connection, &run, std::slice::from_ref(&metric)).await?;
                model_metrics::put(connection, dialect, &run, &[metric]).await
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// A value as the columns keep it.
#[derive(Debug, Clone, Copy)]
struct Stored<'m> {
    key: &'m str,
    time: i64,
    step: i64,
    value: f64,
    is_nan: i64,
}

impl Stored<'_> {
    fn is_later_than(&self, other: &Self) -> bool {
        (self.step, self.time, self.value) > (other.step, other.time, other.value)
    }
}

/// Adds to the histories of a locked run, and makes the latest values what they are then.
pub async fn put(connection: &mut AnyConnection, run: &RunRow, metrics: &[Metric]) -> Result<(), Problem> {
    let stored: Vec<Stored<'_>> = metrics
        .iter()
        .map(|metric| {
            let (value, is_nan) = metric.stored();
            Stored { key: &metric.key, time: metric.time, step: metric.step, value, is_nan }
        })
        .collect();
    let mut latest: HashMap<&str, Stored<'_>> = HashMap::new();
    for metric in &stored {
        let known = latest.entry(metric.key).or_insert(*metric);
        if metric.is_later_than(known) {
            *known = *metric;
        }
    }
    let latest: Vec<Stored<'_>> = latest.into_values().collect();
    let columns = "(run_no, key, time, step, value, is_nan) VALUES";
    write(
        connection,
        run,
        &stored,
        &format!("INSERT INTO metric_history {columns}"),
        "ON CONFLICT DO NOTHING",
    )
    .await?;
    let keep_latest = "ON CONFLICT (run_no, key) DO UPDATE SET time = excluded.time, step = excluded.step, \
                       value = excluded.value, is_nan = excluded.is_nan \
                       WHERE (excluded.step, excluded.time, excluded.value) > \
                       (run_metrics.step, run_metrics.time, run_metrics.value)";
    write(connection, run, &latest, &format!("INSERT INTO run_metrics {columns}"), keep_latest).await
}

async fn write(
    connection: &mut AnyConnection,
    run: &RunRow,
    metrics: &[Stored<'_>],
    insert: &str,
    on_conflict: &str,
) -> Result<(), Problem> {
    for chunk in metrics.chunks(rows::CHUNK) {
        let mut statement = rows::many(insert, chunk.len(), 6, on_conflict);
        for metric in chunk {
            statement = statement
                .bind(run.run_no)
                .bind(metric.key.to_owned())
                .bind(metric.time)
                .bind(metric.step)
                .bind(metric.value)
                .bind(metric.is_nan);
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}
