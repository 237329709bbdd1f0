//! What a run read: data sets, with tags that say what for, and logged models.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::{outputs, row, run_id_of_today};
use crate::backend::embedded::problem::{Code, Problem};
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, entries, names, reply, rows};
use crate::database::Dialect;
use crate::wire::Reply;

const DATASETS_LIMITS: [(&str, usize); 5] =
    [("name", 500), ("digest", 36), ("source", 65_535), ("schema", 1_048_575), ("profile", 16_777_215)];
const TAG_KEY_LIMIT: usize = 255;
const TAG_VALUE_LIMIT: usize = 500;

struct Dataset {
    name: String,
    digest: String,
    source_type: String,
    source: String,
    schema: Option<String>,
    profile: Option<String>,
    tags: Vec<(String, String)>,
}

impl Dataset {
    fn parse(path: &str, object: &Map<String, Value>) -> Result<Self, Problem> {
        let empty = Map::new();
        let inner = match object.get("dataset") {
            Some(Value::Object(inner)) => inner,
            _ => &empty,
        };
        let text = |name| entries::text(inner, &format!("{path}.dataset"), name);
        let owned = |name| Ok::<_, Problem>(text(name)?.unwrap_or_default().to_owned());
        for (name, limit) in DATASETS_LIMITS {
            names::check_length(name, limit, text(name)?.unwrap_or_default())?;
        }
        let mut tags = Vec::new();
        for (path, tag) in entries::objects_in(object, path, "tags")? {
            let field = |name| Ok::<_, Problem>(entries::text(tag, &path, name)?.unwrap_or_default());
            let (key, value) = (field("key")?, field("value")?);
            names::check_length("key", TAG_KEY_LIMIT, key)?;
            names::check_length("value", TAG_VALUE_LIMIT, value)?;
            tags.push((key.to_owned(), value.to_owned()));
        }
        if let Some(key) = entries::doubled(&tags) {
            return Err(Problem::new(Code::BadRequest, format!("tag '{key}' of a data set is given twice")));
        }
        Ok(Self {
            name: owned("name")?,
            digest: owned("digest")?,
            source_type: owned("source_type")?,
            source: owned("source")?,
            schema: text("schema")?.map(str::to_owned),
            profile: text("profile")?.map(str::to_owned),
            tags,
        })
    }
}

pub async fn log(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let run_id = run_id_of_today(request)?.to_owned();
    let mut datasets = Vec::new();
    for (path, object) in entries::objects(request, "datasets")? {
        datasets.push(Dataset::parse(&path, object)?);
    }
    // Of two with one name and digest the first counts.
    let mut seen = HashSet::new();
    datasets.retain(|dataset| seen.insert((dataset.name.clone(), dataset.digest.clone())));
    let models = outputs::models(request)?;
    row::check_id(&run_id)?;
    let dialect = store.database.dialect;
    store
        .writer
        .write(move |connection| {
            Box::pin(async move {
                let run = row::lock_active(connection, dialect, &run_id).await?;
                if !datasets.is_empty() {
                    put(connection, dialect, run.experiment, run.run_no, datasets).await?;
                }
                outputs::put(connection, run.run_no, "input", &models).await?;
                Ok(())
            })
        })
        .await?;
    Ok(reply::empty_object())
}

/// An experiment has a data set once; a run that read it already keeps the tags of its first time.
async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment: i64,
    run_no: i64,
    mut datasets: Vec<Dataset>,
) -> Result<(), Problem> {
    datasets.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
    for chunk in datasets.chunks(rows::CHUNK) {
        let insert = "INSERT INTO run_datasets (experiment_id, name, digest, source_type, source, schema, \
                      profile) VALUES";
        let once = "ON CONFLICT (experiment_id, name, digest) DO NOTHING";
        let mut statement = rows::many(insert, chunk.len(), 7, once);
        for dataset in chunk {
            statement = statement
                .bind(experiment)
                .bind(dataset.name.clone())
                .bind(dataset.digest.clone())
                .bind(dataset.source_type.clone())
                .bind(dataset.source.clone())
                .bind(dataset.schema.clone())
                .bind(dataset.profile.clone());
        }
        statement.execute(&mut *connection).await?;
    }
    let numbers = numbers(connection, dialect, experiment, &datasets).await?;
    let mut linked: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    for dataset in datasets {
        if let Some(number) = numbers.get(&(dataset.name, dataset.digest)) {
            linked.insert(*number, dataset.tags);
        }
    }
    let all: Vec<i64> = linked.keys().copied().collect();
    let mut tags = Vec::new();
    for chunk in all.chunks(rows::CHUNK) {
        let insert = "INSERT INTO run_inputs (run_no, dataset_no) VALUES";
        let mut statement = rows::many(insert, chunk.len(), 2, "ON CONFLICT DO NOTHING RETURNING dataset_no");
        for number in chunk {
            statement = statement.bind(run_no).bind(*number);
        }
        for row in statement.fetch_all(&mut *connection).await? {
            let number: i64 = row.try_get(0)?;
            let of_dataset = linked.remove(&number).unwrap_or_default();
            tags.extend(of_dataset.into_iter().map(|(key, value)| (number, key, value)));
        }
    }
    for chunk in tags.chunks(rows::CHUNK) {
        let insert = "INSERT INTO run_input_tags (run_no, dataset_no, key, value) VALUES";
        let mut statement = rows::many(insert, chunk.len(), 4, "");
        for (number, key, value) in chunk {
            statement = statement.bind(run_no).bind(*number).bind(key.clone()).bind(value.clone());
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn numbers(
    connection: &mut AnyConnection,
    dialect: Dialect,
    experiment: i64,
    datasets: &[Dataset],
) -> Result<HashMap<(String, String), i64>, Problem> {
    let names: HashSet<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let digests: HashSet<&str> = datasets.iter().map(|dataset| dataset.digest.as_str()).collect();
    let text = format!(
        "SELECT name, digest, dataset_no FROM run_datasets WHERE experiment_id = $1 AND name IN {} \
         AND digest IN {}",
        rows::texts_of(dialect, "$2"),
        rows::texts_of(dialect, "$3")
    );
    let found = sqlx::query(AssertSqlSafe(text))
        .bind(experiment)
        .bind(json!(names).to_string())
        .bind(json!(digests).to_string())
        .fetch_all(connection)
        .await?;
    let number = |row: sqlx::any::AnyRow| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
    found.into_iter().map(number).collect()
}
