//! What scorers, label schemas, review queues and datasets have in common.

use serde_json::{Map, Value};
use sqlx::{Any, Executor};

use super::problem::Problem;
use super::request::{Request, wrong_type};

/// Largest page that a caller may ask for.
const MAX_RESULTS: i64 = 50_000;

/// The number of an experiment, in MLflow's words if it is none.
pub(super) fn experiment_number(text: &str) -> Result<i64, Problem> {
    text.trim().parse().map_err(|_| {
        Problem::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer."))
    })
}

async fn lifecycle<'e>(
    executor: impl Executor<'e, Database = Any>,
    experiment: i64,
) -> Result<Option<String>, Problem> {
    let stage = sqlx::query_scalar("SELECT lifecycle_stage FROM experiments WHERE experiment_id = $1")
        .bind(experiment)
        .fetch_optional(executor)
        .await?;
    Ok(stage)
}

fn no_experiment(experiment: i64) -> Problem {
    Problem::missing(format!("No Experiment with id={experiment} exists"))
}

/// An experiment that is there and not deleted.
pub(super) async fn existing<'e>(
    executor: impl Executor<'e, Database = Any>,
    text: &str,
) -> Result<i64, Problem> {
    let experiment = experiment_number(text)?;
    match lifecycle(executor, experiment).await?.as_deref() {
        Some("active") => Ok(experiment),
        _ => Err(no_experiment(experiment)),
    }
}

/// The same where MLflow tells a deleted experiment from one that is not there.
pub(super) async fn active<'e>(
    executor: impl Executor<'e, Database = Any>,
    text: &str,
) -> Result<i64, Problem> {
    let experiment = experiment_number(text)?;
    match lifecycle(executor, experiment).await?.as_deref() {
        Some("active") => Ok(experiment),
        Some(stage) => Err(Problem::invalid(format!(
            "The experiment {experiment} must be in the 'active' state. Current state is {stage}."
        ))),
        None => Err(no_experiment(experiment)),
    }
}

/// The size of a page of a GET, where its handler checks the range.
pub(super) fn page_size(request: &Request, default: i64) -> Result<i64, Problem> {
    let Some(size) = request.integer("max_results")? else { return Ok(default) };
    if !(1..=MAX_RESULTS).contains(&size) {
        return Err(Problem::invalid(format!(
            "max_results must be between 1 and {MAX_RESULTS}. See the API docs for more information about \
             request parameters."
        )));
    }
    Ok(size)
}

/// The size of a page where MLflow's store checks it; protobuf takes zero for none.
pub(super) fn search_size(size: Option<i64>, default: i64) -> Result<i64, Problem> {
    let refuse = |shown: &str, rule: &str| {
        Err(Problem::invalid(format!(
            "Invalid value {shown} for parameter 'max_results' supplied. It must be {rule}"
        )))
    };
    match size {
        None => Ok(default),
        Some(0) => refuse("None", "a positive integer"),
        Some(size) if size < 0 => refuse(&size.to_string(), "a positive integer"),
        Some(size) if size > MAX_RESULTS => refuse(&size.to_string(), "at most 50000"),
        Some(size) => Ok(size),
    }
}

/// What a write that met a name of somebody else's, given at the same moment, is to be told.
pub(super) fn or_taken(error: sqlx::Error, taken: impl FnOnce() -> Problem) -> Problem {
    match error.as_database_error() {
        Some(refusal) if refusal.is_unique_violation() => taken(),
        _ => error.into(),
    }
}

/// Reads the JSON object that a text parameter holds.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// As [`enumeration`], where a number that no one knows would change what is done. A name that no one knows is
/// passed over, as protobuf does.
pub(super) fn known_enumeration(request: &Request, name: &str, names: &[&str]) -> Result<usize, Problem> {
    let number = enumeration(request, name, names);
    let once = |error: crate::wire::Malformed| Problem::invalid(error.to_string());
    let given = match request.json.get(name) {
        Some(value) => value.clone(),
        None => Value::from(request.head.query.one(name).map_err(once)?),
    };
    let unknown = match &given {
        Value::Null => false,
        Value::String(text) => text.parse::<i64>().is_ok_and(|number| number != 0),
        other => other.as_f64() != Some(0.0) && *other != Value::Bool(false),
    };
    if number == 0 && unknown { Err(wrong_type(name, &given)) } else { Ok(number) }
}

/// The number of a protobuf enum's value, given by its number or by its name; zero is "unspecified", and what
/// no one knows is that too.
pub(super) fn enumeration(request: &Request, name: &str, names: &[&str]) -> usize {
    let given = match request.json.get(name) {
        Some(value) => value.clone(),
        None => match request.head.query.one(name) {
            Ok(Some(text)) => Value::String(text.to_owned()),
            _ => return 0,
        },
    };
    let known = |number: &usize| (1..=names.len()).contains(number);
    match &given {
        Value::String(text) => names
            .iter()
            .position(|known| known == text)
            .map(|index| index + 1)
            .or_else(|| text.parse().ok().filter(known))
            .unwrap_or(0),
        // Protobuf takes the whole part of a fraction, and `true` for 1.
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().filter(|float| (0.0..9e15).contains(float)).map(|float| float as u64))
            .and_then(|number| usize::try_from(number).ok())
            .filter(known)
            .unwrap_or(0),
        Value::Bool(set) => usize::from(*set),
        _ => 0,
    }
}
