//! Artifact roots: which experiment owns the artifacts below a path. No experiment may be rooted in, or
//! around, another's: it would read the other's artifacts as its own.

use super::error::StoreError;
use super::{Store, rows};
use crate::access::ExperimentId;

impl Store {
    /// Every root, as the path below `mlflow-artifacts:/` without slashes at its ends.
    pub async fn artifact_roots(&self) -> Result<Vec<(String, ExperimentId)>, StoreError> {
        let found = sqlx::query("SELECT path, experiment FROM artifact_roots ORDER BY path")
            .fetch_all(&self.database.reader)
            .await?;
        found.iter().map(|row| Ok((rows::text(row, "path")?, rows::experiment(row, "experiment")?))).collect()
    }

    /// Takes a root for the experiment; `false` when another experiment's root is the same path, above it
    /// or below it.
    pub async fn put_artifact_root(&self, path: &str, experiment: &ExperimentId) -> Result<bool, StoreError> {
        let path = clean(path)?;
        // The policy lock keeps two overlapping roots from being taken at once; the version stays.
        let mut policy = self.begin_policy().await?;
        let mut candidates = Vec::new();
        for (index, _) in path.match_indices('/').chain([(path.len(), "")]) {
            candidates.extend(
                sqlx::query("SELECT path, experiment FROM artifact_roots WHERE path = $1")
                    .bind(&path[..index])
                    .fetch_optional(&mut *policy.transaction)
                    .await?,
            );
        }
        // `0` follows `/`: the range holds exactly what lies below the path.
        candidates.extend(
            sqlx::query(
                "SELECT path, experiment FROM artifact_roots \
                 WHERE path > $1 AND path < $2 AND experiment <> $3 LIMIT 1",
            )
            .bind(format!("{path}/"))
            .bind(format!("{path}0"))
            .bind(experiment.as_str())
            .fetch_optional(&mut *policy.transaction)
            .await?,
        );
        for row in &candidates {
            if rows::experiment(row, "experiment")? != *experiment {
                return Ok(false);
            }
        }
        sqlx::query(
            "INSERT INTO artifact_roots (path, experiment) VALUES ($1, $2) ON CONFLICT (path) DO NOTHING",
        )
        .bind(path)
        .bind(experiment.as_str())
        .execute(&mut *policy.transaction)
        .await?;
        policy.transaction.commit().await?;
        Ok(true)
    }
}

fn clean(path: &str) -> Result<&str, StoreError> {
    let path = path.trim_matches('/');
    let good = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.chars().any(char::is_control);
    if path.len() <= 1000 && path.split('/').all(good) {
        Ok(path)
    } else {
        Err(StoreError::Refused(
            "an artifact root is a path below the artifact store without empty, `.` or `..` segments"
                .to_owned(),
        ))
    }
}
