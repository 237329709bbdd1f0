//! Models and versions as MLflow's JSON, many at once.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::super::pairs::{Pair, rows_of, to_json};
use super::super::problem::Problem;
use super::super::rows::for_update;
use super::{MODEL_TAGS, VERSION_TAGS, names};
use crate::database::Dialect;

/// What [`Model::of`] reads.
pub const MODEL: &str = "model_no, name, creation_time, last_update_time, description";

/// What [`Version::of`] reads.
pub const VERSION: &str = "v.version_no, v.model_no, m.name, v.version, v.creation_time, v.last_update_time, \
                           v.description, v.stage, v.source, v.storage_location, v.run_id, v.run_link";

pub const OF_VERSIONS: &str = "FROM model_versions v JOIN registered_models m ON m.model_no = v.model_no";

#[derive(Debug, Clone)]
pub struct Model {
    pub model_no: i64,
    pub name: String,
    pub creation_time: i64,
    pub last_update_time: i64,
    pub description: String,
}

#[derive(Debug, Clone)]
pub struct Version {
    pub version_no: i64,
    pub model_no: i64,
    pub name: String,
    pub version: i64,
    pub creation_time: i64,
    pub last_update_time: i64,
    pub description: Option<String>,
    pub stage: String,
    pub source: String,
    pub storage_location: String,
    pub run_id: String,
    pub run_link: String,
}

impl Model {
    pub fn of(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            model_no: row.try_get(0)?,
            name: row.try_get(1)?,
            creation_time: row.try_get(2)?,
            last_update_time: row.try_get(3)?,
            description: row.try_get(4)?,
        })
    }

    /// Keeps the model of this name, and its versions, as they are until the transaction ends.
    pub async fn lock(connection: &mut AnyConnection, dialect: Dialect, name: &str) -> Result<(), Problem> {
        if dialect == Dialect::Postgres {
            let lock = format!("SELECT 1 FROM registered_models WHERE name = $1{}", for_update(dialect));
            sqlx::query(AssertSqlSafe(lock)).bind(name).execute(connection).await?;
        }
        Ok(())
    }

    /// The model of a name, which is checked first.
    pub async fn named(connection: &mut AnyConnection, name: &str) -> Result<Self, Problem> {
        names::model(name)?;
        let row =
            sqlx::query(AssertSqlSafe(format!("SELECT {MODEL} FROM registered_models m WHERE m.name = $1")))
                .bind(name)
                .fetch_optional(connection)
                .await?
                .ok_or_else(|| names::no_model(name))?;
        Ok(Self::of(&row)?)
    }
}

impl Version {
    pub fn of(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            version_no: row.try_get(0)?,
            model_no: row.try_get(1)?,
            name: row.try_get(2)?,
            version: row.try_get(3)?,
            creation_time: row.try_get(4)?,
            last_update_time: row.try_get(5)?,
            description: row.try_get(6)?,
            stage: row.try_get(7)?,
            source: row.try_get(8)?,
            storage_location: row.try_get(9)?,
            run_id: row.try_get(10)?,
            run_link: row.try_get(11)?,
        })
    }

    /// A version by its model's name and its number.
    pub async fn numbered(connection: &mut AnyConnection, name: &str, version: i64) -> Result<Self, Problem> {
        let select = format!("SELECT {VERSION} {OF_VERSIONS} WHERE m.name = $1 AND v.version = $2");
        let row = sqlx::query(AssertSqlSafe(select))
            .bind(name)
            .bind(version)
            .fetch_optional(connection)
            .await?
            .ok_or_else(|| names::no_version(name, version))?;
        Ok(Self::of(&row)?)
    }

    fn to_json(&self, tags: Option<&Vec<Pair>>, aliases: Option<&Vec<String>>) -> Value {
        let mut version = json!({
            "name": self.name,
            "version": self.version.to_string(),
            "creation_timestamp": self.creation_time,
            "last_updated_timestamp": self.last_update_time,
            "current_stage": self.stage,
            "source": self.source,
            "run_id": self.run_id,
            "run_link": self.run_link,
            "status": "READY",
        });
        if let Some(description) = &self.description {
            version["description"] = json!(description);
        }
        if let Some(tags) = tags {
            version["tags"] = to_json(tags);
        }
        if let Some(aliases) = aliases {
            version["aliases"] = json!(aliases);
        }
        version
    }
}

/// Versions without their aliases, as searches and models show them.
pub async fn versions(connection: &mut AnyConnection, versions: &[Version]) -> Result<Vec<Value>, Problem> {
    let numbers: Vec<i64> = versions.iter().map(|version| version.version_no).collect();
    let tags = VERSION_TAGS.of(connection, &numbers).await?;
    Ok(versions.iter().map(|version| version.to_json(tags.get(&version.version_no), None)).collect())
}

/// Versions of one model with their aliases.
pub async fn versions_with_aliases(
    connection: &mut AnyConnection,
    versions: &[Version],
) -> Result<Vec<Value>, Problem> {
    let numbers: Vec<i64> = versions.iter().map(|version| version.version_no).collect();
    let models: Vec<i64> = versions.first().map(|version| version.model_no).into_iter().collect();
    let tags = VERSION_TAGS.of(connection, &numbers).await?;
    let mut aliases: HashMap<i64, Vec<String>> = HashMap::new();
    for (alias, version) in aliases_of(connection, &models).await?.into_values().flatten() {
        aliases.entry(version).or_default().push(alias);
    }
    let shown =
        |version: &Version| version.to_json(tags.get(&version.version_no), aliases.get(&version.version));
    Ok(versions.iter().map(shown).collect())
}

/// One version with its aliases.
pub async fn version(connection: &mut AnyConnection, version: &Version) -> Result<Value, Problem> {
    let mut shown = versions_with_aliases(connection, std::slice::from_ref(version)).await?;
    Ok(shown.pop().unwrap_or_default())
}

/// Models with the latest version of each stage.
pub async fn models(connection: &mut AnyConnection, models: &[Model]) -> Result<Vec<Value>, Problem> {
    let numbers: Vec<i64> = models.iter().map(|model| model.model_no).collect();
    let tags = MODEL_TAGS.of(connection, &numbers).await?;
    let aliases = aliases_of(connection, &numbers).await?;
    let latest = latest_versions(connection, &numbers).await?;
    let shown = versions(connection, &latest).await?;
    let mut latest_of: HashMap<i64, Vec<Value>> = HashMap::new();
    for (version, shown) in latest.iter().zip(shown) {
        latest_of.entry(version.model_no).or_default().push(shown);
    }
    let show = |model: &Model| {
        let number = &model.model_no;
        let mut shown = json!({
            "name": model.name,
            "creation_timestamp": model.creation_time,
            "last_updated_timestamp": model.last_update_time,
        });
        if !model.description.is_empty() {
            shown["description"] = json!(model.description);
        }
        if let Some(latest) = latest_of.get(number) {
            shown["latest_versions"] = json!(latest);
        }
        if let Some(tags) = tags.get(number) {
            shown["tags"] = to_json(tags);
        }
        if let Some(aliases) = aliases.get(number) {
            let show =
                |(alias, version): &(String, i64)| json!({ "alias": alias, "version": version.to_string() });
            shown["aliases"] = aliases.iter().map(show).collect();
        }
        shown
    };
    Ok(models.iter().map(show).collect())
}

/// One model with its latest versions, as an answer has it.
pub async fn model(connection: &mut AnyConnection, model: &Model) -> Result<Value, Problem> {
    let mut shown = models(connection, std::slice::from_ref(model)).await?;
    Ok(json!({ "registered_model": shown.pop() }))
}

/// The latest version of each stage of each model, the stage whose first version is oldest first.
pub async fn latest_versions(
    connection: &mut AnyConnection,
    models: &[i64],
) -> Result<Vec<Version>, Problem> {
    // One look-up for each stage, however many versions a model has.
    let stages = super::stages::ALL.map(|stage| format!("SELECT '{stage}' AS stage")).join(" UNION ALL ");
    let select = format!(
        "SELECT {VERSION} FROM registered_models m CROSS JOIN ({stages}) s JOIN model_versions v \
         ON v.model_no = m.model_no AND v.version = (SELECT max(w.version) FROM model_versions w \
         WHERE w.model_no = m.model_no AND w.stage = s.stage)"
    );
    let first =
        "(SELECT min(w.version) FROM model_versions w WHERE w.model_no = v.model_no AND w.stage = v.stage)";
    let rows = rows_of(connection, &select, "m.model_no", first, models).await?;
    Ok(rows.iter().map(Version::of).collect::<Result<_, _>>()?)
}

async fn aliases_of(
    connection: &mut AnyConnection,
    models: &[i64],
) -> Result<HashMap<i64, Vec<(String, i64)>>, Problem> {
    let select = "SELECT model_no, alias, version FROM registered_model_aliases";
    let mut found: HashMap<i64, Vec<(String, i64)>> = HashMap::new();
    for row in rows_of(connection, select, "model_no", "alias", models).await? {
        found.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(found)
}
