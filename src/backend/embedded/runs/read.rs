//! Runs as MLflow's clients read them: what was logged is fetched for many runs at once.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::row::{self, RunRow};
use super::run_id;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

#[derive(Debug, Serialize)]
pub struct Run {
    pub info: Info,
    pub data: Data,
    pub inputs: Inputs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

#[derive(Debug, Serialize)]
pub struct Info {
    run_uuid: String,
    experiment_id: String,
    run_name: String,
    user_id: String,
    status: String,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    artifact_uri: String,
    lifecycle_stage: String,
    run_id: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Data {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Parameters and tags come from the database as JSON already: they are most of what runs have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Box<RawValue>>,
}

/// A value of a metric.
#[derive(Debug, Clone, Serialize)]
pub struct Metric {
    pub key: String,
    pub value: Number,
    pub timestamp: i64,
    pub step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// A number, or none: JSON has no word for the latter, protobuf's JSON says `"NaN"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Is(f64),
    Nan,
}

#[derive(Debug, Serialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Inputs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_inputs: Vec<DatasetInput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_inputs: Vec<ModelInput>,
}

#[derive(Debug, Serialize)]
struct DatasetInput {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    dataset: Dataset,
}

#[derive(Debug, Serialize)]
struct Dataset {
    #[serde(skip)]
    number: i64,
    name: String,
    digest: String,
    source_type: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
}

#[derive(Debug, Serialize)]
struct ModelInput {
    model_id: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Outputs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_outputs: Vec<ModelOutput>,
}

#[derive(Debug, Serialize)]
struct ModelOutput {
    model_id: String,
    step: i64,
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(number) => serializer.serialize_f64(*number),
            Self::Nan => serializer.serialize_str("NaN"),
        }
    }
}

impl Number {
    pub fn of(value: f64, is_nan: i64) -> Self {
        if is_nan == 0 { Self::Is(value) } else { Self::Nan }
    }
}

impl Info {
    pub fn of_row(run: &RunRow) -> Self {
        Self {
            run_uuid: run.run_id.clone(),
            experiment_id: run.experiment.to_string(),
            run_name: run.name.clone(),
            user_id: run.user.clone(),
            status: run.status.clone(),
            start_time: run.start_time,
            // Protobuf cannot tell an end at 0 from none.
            end_time: run.end_time.filter(|time| *time != 0),
            artifact_uri: run.artifact_uri.clone(),
            lifecycle_stage: run.lifecycle_stage.clone(),
            run_id: run.run_id.clone(),
        }
    }
}

impl Run {
    pub fn of_row(run: &RunRow) -> Self {
        Self {
            info: Info::of_row(run),
            data: Data::default(),
            inputs: Inputs::default(),
            outputs: Some(Outputs::default()),
        }
    }
}

pub async fn get(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?;
    let mut moment = store.database.begin_read().await?;
    let run = row::find(&mut moment, run_id).await?;
    let run = load(&mut moment, store.database.dialect, &[run], ModelInputs::Told).await?.pop();
    moment.commit().await?;
    reply::json(&json!({ "run": run }))
}

/// A search does not tell which models a run read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelInputs {
    Told,
    Untold,
}

/// The runs with all that was logged to them, in the order of the rows.
pub async fn load(
    connection: &mut AnyConnection,
    dialect: Dialect,
    found: &[RunRow],
    model_inputs: ModelInputs,
) -> Result<Vec<Run>, Problem> {
    let mut all = Runs::new(dialect, found);
    if found.is_empty() {
        return Ok(all.runs);
    }
    let metrics = "SELECT run_no, key, value, is_nan, time, step FROM run_metrics";
    all.each(connection, metrics, "run_no, key", |run, row| {
        run.data.metrics.push(Metric {
            key: row.try_get(1)?,
            value: Number::of(row.try_get(2)?, row.try_get(3)?),
            timestamp: row.try_get(4)?,
            step: row.try_get(5)?,
            run_id: None,
        });
        Ok(())
    })
    .await?;
    all.each_list(connection, "run_params", |run, list| run.data.params = Some(list)).await?;
    all.each_list(connection, "run_tags", |run, list| run.data.tags = Some(list)).await?;
    let inputs = "SELECT i.run_no, d.dataset_no, d.name, d.digest, d.source_type, d.source, d.schema, d.profile, \
                  t.key, t.value FROM run_inputs i JOIN run_datasets d ON d.dataset_no = i.dataset_no \
                  LEFT JOIN run_input_tags t ON t.run_no = i.run_no AND t.dataset_no = i.dataset_no";
    all.each(connection, inputs, "i.run_no, i.dataset_no, t.key", |run, row| {
        add_input(&mut run.inputs.dataset_inputs, row)
    })
    .await?;
    let models = "SELECT run_no, role, model_id, step FROM run_models";
    all.each(connection, models, "run_no, role, model_id", |run, row| {
        let model_id = row.try_get(2)?;
        match (row.try_get(1)?, &mut run.outputs) {
            ("output", Some(outputs)) => {
                outputs.model_outputs.push(ModelOutput { model_id, step: row.try_get(3)? });
            }
            ("input", _) if model_inputs == ModelInputs::Told => {
                run.inputs.model_inputs.push(ModelInput { model_id });
            }
            _ => {}
        }
        Ok(())
    })
    .await?;
    Ok(all.runs)
}

/// A row has a data set and one of its tags.
fn add_input(inputs: &mut Vec<DatasetInput>, row: &AnyRow) -> Result<(), sqlx::Error> {
    let number: i64 = row.try_get(1)?;
    if inputs.last().is_none_or(|last| last.dataset.number != number) {
        let filled =
            |place| Ok::<_, sqlx::Error>(row.try_get::<Option<String>, _>(place)?.filter(|t| !t.is_empty()));
        let dataset = Dataset {
            number,
            name: row.try_get(2)?,
            digest: row.try_get(3)?,
            source_type: row.try_get(4)?,
            source: row.try_get(5)?,
            schema: filled(6)?,
            profile: filled(7)?,
        };
        inputs.push(DatasetInput { tags: Vec::new(), dataset });
    }
    if let (Some(key), Some(last)) = (row.try_get(8)?, inputs.last_mut()) {
        last.tags.push(Tag { key, value: row.try_get(9)? });
    }
    Ok(())
}

/// The runs that are being filled.
struct Runs {
    runs: Vec<Run>,
    places: HashMap<i64, usize>,
    /// Their numbers as a JSON array, and the SQL that reads it.
    numbers: String,
    among: String,
    /// A list of keys and values as JSON.
    list: &'static str,
}

impl Runs {
    fn new(dialect: Dialect, found: &[RunRow]) -> Self {
        let numbers: Vec<i64> = found.iter().map(|run| run.run_no).collect();
        Self {
            runs: found.iter().map(Run::of_row).collect(),
            places: numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect(),
            numbers: json!(numbers).to_string(),
            among: rows::numbers_of(dialect, "$1"),
            list: match dialect {
                Dialect::Sqlite => "json_group_array(json_object('key', key, 'value', value))",
                Dialect::Postgres => {
                    "CAST(json_agg(json_build_object('key', key, 'value', value) ORDER BY key) AS TEXT)"
                }
            },
        }
    }

    /// Runs one statement for all runs, and hands each row to its run. The run's number is the first column.
    async fn each(
        &mut self,
        connection: &mut AnyConnection,
        select: &str,
        order: &str,
        mut add: impl FnMut(&mut Run, &AnyRow) -> Result<(), sqlx::Error>,
    ) -> Result<(), Problem> {
        let number = order.split(',').next().unwrap_or(order);
        let text = format!("{select} WHERE {number} IN {} ORDER BY {order}", self.among);
        let found =
            sqlx::query(AssertSqlSafe(text)).bind(self.numbers.as_str()).fetch_all(connection).await?;
        for row in &found {
            if let Some(place) = self.places.get(&row.try_get::<i64, _>(0)?) {
                add(&mut self.runs[*place], row)?;
            }
        }
        Ok(())
    }

    /// The same for a table of keys and values, of which each run gets a list.
    async fn each_list(
        &mut self,
        connection: &mut AnyConnection,
        table: &str,
        mut add: impl FnMut(&mut Run, Box<RawValue>),
    ) -> Result<(), Problem> {
        let text = format!(
            "SELECT run_no, {} FROM {table} WHERE run_no IN {} GROUP BY run_no",
            self.list, self.among
        );
        let found =
            sqlx::query(AssertSqlSafe(text)).bind(self.numbers.as_str()).fetch_all(connection).await?;
        for row in &found {
            if let Some(place) = self.places.get(&row.try_get::<i64, _>(0)?) {
                let list = RawValue::from_string(row.try_get(1)?).map_err(Problem::internal)?;
                add(&mut self.runs[*place], list);
            }
        }
        Ok(())
    }
}
