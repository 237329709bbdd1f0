//! Tags of datasets.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use sqlx::{AnyConnection, Row as _};

use crate::backend::embedded::evaluation;
use crate::backend::embedded::filter::Query;
use crate::backend::embedded::problem::Problem;
use crate::backend::embedded::python;
use crate::backend::embedded::request::Request;
use crate::backend::embedded::{EmbeddedShared, reply};
use crate::wire::Reply;

/// Longest key and value that MLflow's tables take, in characters.
const MAX_KEY: usize = 255;
const MAX_VALUE: usize = 5000;
/// Datasets whose tags one statement reads.
const CHUNK: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Reads the JSON object of a request. What is null is left out, what is no text becomes one.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let object = evaluation::object(text)
            .ok_or_else(|| Problem::invalid("`tags` must be the text of a JSON object"))?;
        let mut tags = BTreeMap::new();
        for (key, value) in object {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Bool(true) => "True".to_owned(),
                Value::Bool(false) => "False".to_owned(),
                other => python::json_spaced(&other),
            };
            if key.contains('\0') || value.contains('\0') {
                return Err(Problem::invalid("A tag cannot hold the character U+0000"));
            }
            if key.chars().count() > MAX_KEY || value.chars().count() > MAX_VALUE {
                return Err(Problem::invalid(format!(
                    "A tag of a dataset has a key of at most {MAX_KEY} and a value of at most {MAX_VALUE} \
                     characters"
                )));
            }
            tags.insert(key, value);
        }
        Ok(Self(tags))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn to_text(&self) -> String {
        let tags: Map<String, Value> =
            self.0.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        python::json_spaced(&Value::Object(tags))
    }

    pub async fn write(&self, connection: &mut AnyConnection, dataset: &str) -> Result<(), Problem> {
        for (key, value) in &self.0 {
            sqlx::query(
                "INSERT INTO evaluation_dataset_tags (dataset_id, key, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (dataset_id, key) DO UPDATE SET value = excluded.value",
            )
            .bind(dataset)
            .bind(key)
            .bind(value)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

pub(super) async fn of(store: &EmbeddedShared, ids: &[String]) -> Result<HashMap<String, Tags>, Problem> {
    let mut all: HashMap<String, Tags> = HashMap::new();
    for some in ids.chunks(CHUNK) {
        let select = "SELECT dataset_id, key, value FROM evaluation_dataset_tags WHERE dataset_id IN ";
        let mut query = Query::new(store.database.dialect, select);
        query.bind_all(some.iter().map(String::as_str));
        for row in query.fetch_all(&store.database.reader).await? {
            all.entry(row.try_get(0)?).or_default().0.insert(row.try_get(1)?, row.try_get(2)?);
        }
    }
    Ok(all)
}

pub(super) async fn set(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let id = request.param("dataset_id").to_owned();
    let tags = Tags::parse(request.required("tags")?)?;
    let set = store.writer.write(move |connection| {
        Box::pin(async move {
            let known: Option<i64> =
                sqlx::query_scalar("SELECT 1 FROM evaluation_datasets WHERE dataset_id = $1")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?;
            if known.is_none() {
                return Err(Problem::missing(format!("Could not find evaluation dataset with ID {id}")));
            }
            tags.write(connection, &id).await
        })
    });
    set.await?;
    Ok(reply::empty_object())
}

/// A tag that is not there is deleted already.
pub(super) async fn delete(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let (id, key) = (request.param("dataset_id").to_owned(), request.param("key").to_owned());
    let deleted = store.writer.write(move |connection| {
        Box::pin(async move {
            sqlx::query("DELETE FROM evaluation_dataset_tags WHERE dataset_id = $1 AND key = $2")
                .bind(&id)
                .bind(&key)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    deleted.await?;
    Ok(reply::empty_object())
}
