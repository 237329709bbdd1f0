//! Starting a run.

use serde_json::json;
use serde_json::value::to_raw_value;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::read::{Run, Tag};
use super::row::RunRow;
use super::{random_names, tags};
use crate::backend::embedded::experiments::must_be_active;
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::{self, Request, experiment_number};
use crate::backend::embedded::{EmbeddedShared, entries, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

pub async fn create(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let experiment = match request.text("experiment_id")?.unwrap_or_default() {
        "" => return Err(Problem::new(Code::BadRequest, request::missing("experiment_id").message)),
        id => experiment_number(id)?,
    };
    let mut tags = entries::pairs(request, "tags")?;
    let mut run = RunRow {
        run_no: 0,
        run_id: uuid::Uuid::new_v4().simple().to_string(),
        experiment,
        name: name(request.text("run_name")?.unwrap_or_default(), &mut tags)?,
        user: request.text("user_id")?.unwrap_or_default().to_owned(),
        status: "RUNNING".to_owned(),
        start_time: request.integer("start_time")?.unwrap_or_default(),
        end_time: None,
        lifecycle_stage: "active".to_owned(),
        artifact_uri: String::new(),
    };
    if let Some(key) = entries::doubled(&tags) {
        return Err(Problem::new(Code::BadRequest, format!("tag '{key}' is given twice")));
    }
    let dialect = store.database.dialect;
    let (run, tags) = store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let root = artifact_root(connection, dialect, experiment).await?;
                run.artifact_uri = below(&root, &format!("{}/artifacts", run.run_id));
                run.run_no = insert(connection, &run).await?;
                tags::put(connection, run.run_no, &tags).await?;
                Ok((run, tags))
            })
        })
        .await?;
    let mut made = Run::of_row(&run);
    let tags: Vec<Tag> = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
    made.data.tags = Some(to_raw_value(&tags).map_err(Problem::internal)?);
    made.outputs = None;
    reply::json(&json!({ "run": made }))
}

/// The run's name: as asked for, or as its tag says, or one of chance. The tag says the same afterwards.
fn name(asked: &str, tags: &mut Vec<(String, String)>) -> Result<String, Problem> {
    let tagged = tags.iter().find(|(key, _)| key == tags::RUN_NAME).map(|(_, value)| value.clone());
    let tagged = tagged.filter(|name| !name.is_empty());
    match tagged {
        Some(tagged) if !asked.is_empty() && tagged != asked => Err(Problem::invalid(format!(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values \
             (run_name='{asked}', mlflow.runName='{tagged}')."
        ))),
        Some(tagged) => Ok(tagged),
        None => {
            let name = if asked.is_empty() { random_names::pick() } else { asked.to_owned() };
            tags.push((tags::RUN_NAME.to_owned(), name.clone()));
            Ok(name)
        }
    }
}

/// Where the artifacts of an experiment are, which must be active and stays so.
pub(in crate::backend::embedded) async fn artifact_root(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment: i64,
) -> Result<String, Problem> {
    let text = format!(
        "SELECT lifecycle_stage, artifact_location FROM experiments WHERE experiment_id = $1{}",
        rows::for_share(dialect)
    );
    let found = sqlx::query(AssertSqlSafe(text)).bind(experiment).fetch_optional(connection).await?;
    let row = found.ok_or_else(|| Problem::missing(format!("No Experiment with id={experiment} exists")))?;
    must_be_active(experiment, row.try_get(0)?)?;
    Ok(row.try_get(1)?)
}

/// A path below a URI: before its query, if it has one.
pub(in crate::backend::embedded) fn below(uri: &str, path: &str) -> String {
    let (base, query) = match uri.find('?') {
        Some(at) if uri.contains(':') => uri.split_at(at),
        _ => (uri, ""),
    };
    let slash = if base.ends_with('/') { "" } else { "/" };
    format!("{base}{slash}{path}{query}")
}

async fn insert(connection: &mut AnyConnection, run: &RunRow) -> Result<i64, Problem> {
    let number = sqlx::query_scalar(
        "INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_time, lifecycle_stage, \
         artifact_uri) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING run_no",
    )
    .bind(&run.run_id)
    .bind(run.experiment)
    .bind(&run.name)
    .bind(&run.user)
    .bind(&run.status)
    .bind(run.start_time)
    .bind(&run.lifecycle_stage)
    .bind(&run.artifact_uri)
    .fetch_one(connection)
    .await?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_path_goes_before_the_query_of_a_uri() {
        assert_eq!(below("mlflow-artifacts:/4", "r/artifacts"), "mlflow-artifacts:/4/r/artifacts");
        assert_eq!(below("s3://b/p/?x=1", "r/artifacts"), "s3://b/p/r/artifacts?x=1");
        assert_eq!(below("/tmp/why?", "r/artifacts"), "/tmp/why?/r/artifacts");
    }
}
