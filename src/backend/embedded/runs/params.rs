//! Parameters of runs: logged once, then they stay.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::{row, run_id};
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, names, python, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

const VALUE_LIMIT: usize = 6000;

/// Checks a parameter, and cuts its value as MLflow does. `path` is where messages say that it lies.
pub fn checked(path: &str, key: &str, value: &str) -> Result<(String, String), Problem> {
    let path = if path.is_empty() { "key".to_owned() } else { format!("{path}.key") };
    names::check(&path, key)?;
    names::check_length("Param key", names::NAME_LIMIT, key)?;
    Ok((key.to_owned(), names::cut(VALUE_LIMIT, value).to_owned()))
}

/// A parameter that has another value already.
pub struct Conflict {
    pub key: String,
    pub old: String,
    pub new: String,
}

impl Conflict {
    /// What a batch is told of all of them.
    pub fn of_batch(run_id: &str, conflicts: &[Self]) -> Problem {
        let each: Vec<String> = conflicts
            .iter()
            .map(|conflict| {
                let [key, old, new] =
                    [&conflict.key, &conflict.old, &conflict.new].map(|text| python::repr(text));
                format!("{{'key': {key}, 'old_value': {old}, 'new_value': {new}}}")
            })
            .collect();
        Problem::invalid(format!(
            "Changing param values is not allowed. Params were already logged='[{}]' for run ID='{run_id}'.",
            each.join(", ")
        ))
    }
}

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id(request)?.to_owned();
    let key = request.required("key")?;
    let param = checked("", key, request.text("value")?.unwrap_or_default())?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                match put(connection, dialect, run.run_no, &[param]).await?.pop() {
                    None => Ok(()),
                    Some(Conflict { key, old, new }) => Err(Problem::invalid(format!(
                        "Changing param values is not allowed. Param with key='{key}' was already logged with \
                         value='{old}' for run ID='{run_id}'. Attempted logging new value '{new}'."
                    ))),
                }
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// Writes parameters with different keys, unless some conflict with what the run has. The run is locked.
pub async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    run_no: i64,
    params: &[(String, String)],
) -> Result<Vec<Conflict>, Problem> {
    if params.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<&str> = params.iter().map(|(key, _)| key.as_str()).collect();
    let text = format!(
        "SELECT key, value FROM run_params WHERE run_no = $1 AND key IN {}",
        rows::texts_of(dialect, "$2")
    );
    let found = sqlx::query(AssertSqlSafe(text))
        .bind(run_no)
        .bind(json!(keys).to_string())
        .fetch_all(&mut *connection)
        .await?;
    let mut known: HashMap<String, String> = HashMap::with_capacity(found.len());
    for row in found {
        known.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut conflicts = Vec::new();
    let mut new = Vec::new();
    for (key, value) in params {
        match known.get(key) {
            None => new.push((key, value)),
            Some(old) if old == value => {}
            Some(old) => {
                conflicts.push(Conflict { key: key.clone(), old: old.clone(), new: value.clone() });
            }
        }
    }
    if !conflicts.is_empty() {
        return Ok(conflicts);
    }
    for chunk in new.chunks(rows::CHUNK) {
        let insert = "INSERT INTO run_params (run_no, key, value) VALUES";
        let mut statement = rows::many(insert, chunk.len(), 3, "");
        for (key, value) in chunk {
            statement = statement.bind(run_no).bind((*key).clone()).bind((*value).clone());
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(Vec::new())
}
