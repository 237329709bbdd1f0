//! Archives: which experiment is copied into which table, in whose name, and how far that is.
//!
//! That there is an archive is a matter of policy: it has a version, so that no replica takes writes for long without
//! knowing of it. How far it is changes all the time and is none.

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::change::{Change, PolicyTransaction};
use super::error::StoreError;
use super::{Store, rows};
use crate::access::{ExperimentId, Principal, Securable};
use crate::clock::UnixMillis;

/// What an archive copies, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    pub id: String,
    pub experiment: ExperimentId,
    /// The table, and the id of the object that it was.
    pub table: Securable,
    pub table_id: String,
    /// In whose name traces are read and rows are written.
    pub owner: Principal,
    /// Of a million traces, how many.
    pub sampled_ppm: u32,
    /// A filter by MLflow's rules that a trace must fit.
    pub filter: Option<String>,
    /// What Databricks' clients set and read; nothing waits for it here.
    pub frequency_minutes: u32,
    pub created_at: UnixMillis,
}

/// How far an archive is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Why nothing is copied now.
    pub stopped: Option<String>,
    /// Rows written so far.
    pub copied: u64,
    pub copied_at: Option<UnixMillis>,
    /// Traces that wait, those among them that did not end yet; and since when the first other one does.
    pub waiting: u64,
    pub waiting_since: Option<UnixMillis>,
}

/// What may be set of an archive that is there.
#[derive(Debug, Clone, Default)]
pub struct ArchiveUpdate {
    pub owner: Option<Principal>,
    pub sampled_ppm: Option<u32>,
    pub filter: Option<Option<String>>,
    pub frequency_minutes: Option<u32>,
}

const SELECT: &str = "SELECT id, experiment, table_name, table_id, owner, sampled_ppm, filter, frequency_minutes, \
                      created_at_ms FROM archives";

impl Store {
    /// Every archive, and the version of policy at which they are these.
    pub async fn archives(&self) -> Result<(i64, Vec<Archive>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version: i64 = sqlx::query("SELECT version FROM policy_head WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        let found = sqlx::query(SELECT).fetch_all(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok((version, found.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Sets up an archive, unless the experiment has one: then nothing changes. All traces that the experiment is
    /// known to have are due, and will be looked at once more at `look_again`: replicas that do not know of the
    /// archive yet may still be writing.
    pub async fn add_archive(
        &self,
        archive: &Archive,
        look_again: UnixMillis,
        by: &str,
        now: UnixMillis,
    ) -> Result<Change, StoreError> {
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let made = sqlx::query(
            "INSERT INTO archives (id, experiment, table_name, table_id, owner, sampled_ppm, filter, \
             frequency_minutes, created_at_ms, look_again_at_ms, copied, held_until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0) ON CONFLICT (experiment) DO NOTHING",
        )
        .bind(&archive.id)
        .bind(archive.experiment.as_str())
        .bind(&archive.table.id)
        .bind(&archive.table_id)
        .bind(archive.owner.to_string())
        .bind(i64::from(archive.sampled_ppm))
        .bind(&archive.filter)
        .bind(i64::from(archive.frequency_minutes))
        .bind(archive.created_at.0)
        .bind(look_again.0)
        .execute(&mut *policy.transaction)
        .await?;
        if made.rows_affected() == 0 {
            return policy.unchanged("archive.start", json!(null)).await;
        }
        super::archive_marks::mark_all(&mut policy.transaction, &archive.id, &archive.experiment, now)
            .await?;
        policy.commit(by, now, "archive.start", json!(null), told(archive)).await
    }

    /// Changes what an archive copies from now on.
    pub async fn change_archive(
        &self,
        experiment: &ExperimentId,
        update: &ArchiveUpdate,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<Change>, StoreError> {
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let Some(before) = of_experiment(&mut policy, experiment).await? else { return Ok(None) };
        let mut after = before.clone();
        after.owner = update.owner.clone().unwrap_or(before.owner.clone());
        after.sampled_ppm = update.sampled_ppm.unwrap_or(before.sampled_ppm);
        after.filter = update.filter.clone().unwrap_or(before.filter.clone());
        after.frequency_minutes = update.frequency_minutes.unwrap_or(before.frequency_minutes);
        if before == after {
            return policy.unchanged("archive.change", told(&before)).await.map(Some);
        }
        sqlx::query(
            "UPDATE archives SET sampled_ppm = $2, filter = $3, frequency_minutes = $4, owner = $5 WHERE experiment = $1",
        )
        .bind(experiment.as_str())
        .bind(i64::from(after.sampled_ppm))
        .bind(&after.filter)
        .bind(i64::from(after.frequency_minutes))
        .bind(after.owner.to_string())
        .execute(&mut *policy.transaction)
        .await?;
        policy.commit(by, now, "archive.change", told(&before), told(&after)).await.map(Some)
    }

    /// Ends an archive; what it wrote stays in its table.
    pub async fn end_archive(
        &self,
        experiment: &ExperimentId,
        by: &str,
        now: UnixMillis,
    ) -> Result<Option<Change>, StoreError> {
        let mut policy = PolicyTransaction::begin(&self.database).await?;
        let Some(before) = of_experiment(&mut policy, experiment).await? else { return Ok(None) };
        for statement in [
            "DELETE FROM archives WHERE id = $1",
            "DELETE FROM archive_marks WHERE archive = $1",
            "DELETE FROM archived_traces WHERE archive = $1",
        ] {
            sqlx::query(statement).bind(&before.id).execute(&mut *policy.transaction).await?;
        }
        policy.commit(by, now, "archive.stop", told(&before), json!(null)).await.map(Some)
    }

    /// How far an archive is; none if there is no such archive any more.
    pub async fn archive_progress(&self, id: &str) -> Result<Option<Progress>, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let of_archive = sqlx::query("SELECT stopped, copied, copied_at_ms FROM archives WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let waiting = sqlx::query(
            "SELECT COUNT(DISTINCT CASE WHEN ended < 3 THEN trace END) AS waiting, MIN(CASE WHEN ended < 2 THEN made_at_ms END) AS since \
             FROM archive_marks WHERE archive = $1",
        )
        .bind(id)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        let Some(row) = of_archive else { return Ok(None) };
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Some(Progress {
            stopped: row.try_get("stopped")?,
            copied: count(rows::number(&row, "copied")?),
            copied_at: rows::optional_time(&row, "copied_at_ms")?,
            waiting: count(rows::number(&waiting, "waiting")?),
            waiting_since: rows::optional_time(&waiting, "since")?,
        }))
    }
}

async fn of_experiment(
    policy: &mut PolicyTransaction,
    experiment: &ExperimentId,
) -> Result<Option<Archive>, StoreError> {
    let row = sqlx::query(
        "SELECT id, experiment, table_name, table_id, owner, sampled_ppm, filter, frequency_minutes, \
         created_at_ms FROM archives WHERE experiment = $1",
    )
    .bind(experiment.as_str())
    .fetch_optional(&mut *policy.transaction)
    .await?;
    row.as_ref().map(read).transpose()
}

fn told(archive: &Archive) -> serde_json::Value {
    json!({
        "experiment": archive.experiment.as_str(), "table": archive.table.id, "owner": archive.owner.to_string(),
        "sampled_ppm": archive.sampled_ppm, "filter": archive.filter,
        "frequency_minutes": archive.frequency_minutes,
    })
}

fn read(row: &AnyRow) -> Result<Archive, StoreError> {
    let small = |column: &str| -> Result<u32, StoreError> {
        u32::try_from(rows::number(row, column)?)
            .map_err(|_| StoreError::Corrupt(format!("`{column}` of an archive is out of range")))
    };
    let table = Securable::new(crate::access::SecurableKind::Table, &rows::text(row, "table_name")?);
    Ok(Archive {
        id: rows::text(row, "id")?,
        experiment: rows::experiment(row, "experiment")?,
        table: table.map_err(|error| StoreError::Corrupt(error.to_string()))?,
        table_id: rows::text(row, "table_id")?,
        owner: rows::parsed(row, "owner")?,
        sampled_ppm: small("sampled_ppm")?,
        filter: row.try_get("filter")?,
        frequency_minutes: small("frequency_minutes")?,
        created_at: rows::time(row, "created_at_ms")?,
    })
}
