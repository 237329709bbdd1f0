//! Values that are logged with a logged model: the model has them too, with the data set they were measured on.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::metrics::Metric;
use super::row::RunRow;
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::rows;
use crate::database::Dialect;

/// Writes those of the metrics that name a model. The same value again changes nothing; another one for the
/// same model, name, time and step is refused.
pub async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    run: &RunRow,
    metrics: &[Metric],
) -> Result<(), Problem> {
    let mut values: HashMap<(&str, &str, i64, i64), &Metric> = HashMap::new();
    for metric in metrics {
        let Some(model) = &metric.model else { continue };
        let place = (model.as_str(), metric.key.as_str(), metric.time, metric.step);
        let known = values.entry(place).or_insert(metric);
        if known.stored().0 != metric.stored().0 {
            return Err(conflict(metric));
        }
    }
    if values.is_empty() {
        return Ok(());
    }
    check_models(connection, dialect, values.keys().map(|place| place.0)).await?;
    let mut values: Vec<&Metric> = values.into_values().collect();
    // Replicas that write the same rows take them in one order, and do not wait for each other in a circle.
    values.sort_by(|a, b| (&a.model, &a.key, a.time, a.step).cmp(&(&b.model, &b.key, b.time, b.step)));
    for chunk in values.chunks(rows::CHUNK) {
        let insert = "INSERT INTO logged_model_metrics (model_id, key, time, step, run_id, value, experiment_id, \
                      dataset_name, dataset_digest) VALUES";
        let same = "ON CONFLICT (model_id, key, time, step, run_id) DO UPDATE SET value = excluded.value \
                    WHERE logged_model_metrics.value = excluded.value";
        let mut statement = rows::many(insert, chunk.len(), 9, same);
        for metric in chunk {
            statement = statement
                .bind(metric.model.clone())
                .bind(metric.key.clone())
                .bind(metric.time)
                .bind(metric.step)
                .bind(run.run_id.clone())
                .bind(metric.stored().0)
                .bind(run.experiment)
                .bind(metric.dataset_name.clone())
                .bind(metric.dataset_digest.clone());
        }
        let written = statement.execute(&mut *connection).await?.rows_affected();
        if usize::try_from(written) != Ok(chunk.len()) {
            return Err(conflict(chunk[0]));
        }
    }
    Ok(())
}

async fn check_models<'m>(
    connection: &mut AnyConnection,
    dialect: Dialect,
    models: impl Iterator<Item = &'m str>,
) -> Result<(), Problem> {
    let models: std::collections::BTreeSet<&str> = models.collect();
    let text =
        format!("SELECT model_id FROM logged_models WHERE model_id IN {}", rows::texts_of(dialect, "$1"));
    let known: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(text)).bind(json!(models).to_string()).fetch_all(connection).await?;
    match models.into_iter().find(|model| !known.iter().any(|known| known == model)) {
        Some(model) => {
            Err(Problem::new(Code::BadRequest, format!("Logged model with ID '{model}' not found.")))
        }
        None => Ok(()),
    }
}

fn conflict(metric: &Metric) -> Problem {
    Problem::new(
        Code::BadRequest,
        format!(
            "Another value of metric '{}' is logged already with the same model, run, timestamp and step",
            metric.key
        ),
    )
}
