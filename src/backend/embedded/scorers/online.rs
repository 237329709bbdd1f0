//! How scorers are to be applied to new traces. MLflow does that for scorers whose model its AI gateway
//! serves; the store has none, so a configuration can only say "not at all".

use serde_json::{Map, Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use super::{absent, scorer_id};
use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::{self, Query, Rules};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::{Request, missing, type_name};
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

pub(super) async fn list(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let scorers = request.texts("scorer_ids")?;
    if scorers.is_empty() {
        return Err(missing("scorer_ids"));
    }
    let mut query = Query::new(
        store.database.dialect,
        "SELECT c.config_id, c.scorer_id, c.sample_rate, s.experiment_id, c.filter_string FROM scorer_configs c \
         JOIN scorers s ON s.scorer_id = c.scorer_id WHERE c.scorer_id IN ",
    );
    query.bind_all(scorers);
    let mut configs = Vec::new();
    for row in query.fetch_all(&store.database.reader).await? {
        let experiment: i64 = row.try_get(3)?;
        configs.push(shown(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, experiment, row.try_get(4)?));
    }
    reply::json(&json!({ "configs": configs }))
}

pub(super) async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = request.required("experiment_id")?.to_owned();
    let name = request.required("name")?.to_owned();
    let rate = match request.json.get("sample_rate") {
        None | Some(Value::Null) => return Err(missing("sample_rate")),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_f64(),
    };
    let rate = rate.ok_or_else(|| Problem::invalid("sample_rate must be a number"))?;
    let filter = match request.json.get("filter_string") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            return Err(Problem::invalid(format!(
                "Invalid value {} for parameter 'filter_string' supplied: Value was of type '{}'. Expected type \
                 'str' or None.",
                python::json_spaced(other),
                type_name(other)
            )));
        }
    };
    if !(0.0..=1.0).contains(&rate) {
        let shown = python::float(rate);
        return Err(Problem::invalid(format!("sample_rate must be between 0.0 and 1.0, got {shown}")));
    }
    filter::parse(filter.as_deref().unwrap_or_default(), Rules::TRACES)?;
    let config = Uuid::new_v4().simple().to_string();
    let set = store.writer.write(move |connection| {
        Box::pin(async move {
            let number = evaluation::active(&mut *connection, &experiment).await?;
            let known = scorer_id(&mut *connection, number, &name).await?;
            let scorer = known.ok_or_else(|| absent(&name, None, &experiment))?;
            if rate > 0.0 {
                return Err(Problem::invalid(format!(
                    "Scorer '{name}' does not use a gateway model. Automatic evaluation is only supported for \
                     scorers that use gateway models."
                )));
            }
            sqlx::query(
                "INSERT INTO scorer_configs (scorer_id, config_id, sample_rate, filter_string) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (scorer_id) DO UPDATE SET config_id = excluded.config_id, \
                 sample_rate = excluded.sample_rate, filter_string = excluded.filter_string",
            )
            .bind(&scorer)
            .bind(&config)
            .bind(rate)
            .bind(&filter)
            .execute(connection)
            .await?;
            Ok(shown(config, scorer, rate, number, filter))
        })
    });
    reply::json(&json!({ "config": set.await? }))
}

fn shown(config: String, scorer: String, rate: f64, experiment: i64, filter: Option<String>) -> Value {
    let mut shown = Map::new();
    shown.insert("online_scoring_config_id".to_owned(), Value::String(config));
    shown.insert("scorer_id".to_owned(), Value::String(scorer));
    shown.insert("sample_rate".to_owned(), json!(rate));
    shown.insert("experiment_id".to_owned(), Value::String(experiment.to_string()));
    if let Some(filter) = filter {
        shown.insert("filter_string".to_owned(), Value::String(filter));
    }
    Value::Object(shown)
}
