//! Which data sets the runs of experiments read.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::{Request, experiment_number};
use crate::backend::embedded::{EmbeddedShared, reply, rows};
use crate::wire::Reply;

const EXPERIMENTS: usize = 20;

pub async fn search(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let ids = request.texts("experiment_ids")?;
    if ids.is_empty() {
        return Err(Problem::invalid("SearchDatasets request must specify at least one experiment_id."));
    }
    if ids.len() > EXPERIMENTS {
        return Err(Problem::invalid(format!(
            "SearchDatasets request cannot specify more than {EXPERIMENTS} experiment_ids. Received {} \
             experiment_ids.",
            ids.len()
        )));
    }
    let numbers: Vec<i64> = ids.iter().map(|id| experiment_number(id)).collect::<Result<_, _>>()?;
    let text = format!(
        "SELECT DISTINCT d.experiment_id, d.name, d.digest, t.value FROM run_datasets d \
         JOIN run_inputs i ON i.dataset_no = d.dataset_no \
         LEFT JOIN run_input_tags t ON t.run_no = i.run_no AND t.dataset_no = i.dataset_no \
         AND t.key = 'mlflow.data.context' WHERE d.experiment_id IN {} \
         ORDER BY d.experiment_id, d.name, d.digest, t.value LIMIT 1000",
        rows::numbers_of(store.database.dialect, "$1")
    );
    let found = sqlx::query(AssertSqlSafe(text))
        .bind(json!(numbers).to_string())
        .fetch_all(&store.database.reader)
        .await?;
    let mut summaries = Vec::with_capacity(found.len());
    for row in found {
        let mut summary = json!({
            "experiment_id": row.try_get::<i64, _>(0)?.to_string(),
            "name": row.try_get::<String, _>(1)?,
            "digest": row.try_get::<String, _>(2)?,
        });
        if let Some(context) = row.try_get::<Option<String>, _>(3)? {
            summary["context"] = context.into();
        }
        summaries.push(summary);
    }
    let mut answer = Map::new();
    if !summaries.is_empty() {
        answer.insert("dataset_summaries".to_owned(), Value::Array(summaries));
    }
    reply::json(&answer)
}
