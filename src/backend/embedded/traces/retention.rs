//! Traces do not stay for ever, if somebody says so: an experiment by its tags `tracegate.retention.days` and
//! `tracegate.retention.traces`, the configuration for all others. A tag that is no whole number says nothing.

use sqlx::Row as _;

use super::super::EmbeddedShared;
use super::super::problem::Problem;
use super::delete::{Selection, delete_some};

pub(in crate::backend::embedded) const DAYS: &str = "tracegate.retention.days";
pub(in crate::backend::embedded) const TRACES: &str = "tracegate.retention.traces";

const DAY: i64 = 86_400_000;

/// How long traces stay where their experiment does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::backend::embedded) struct Retention {
    pub days: Option<u32>,
    pub traces: Option<u64>,
}

/// Deletes what is due, a few at a time; between them others write. Answers how many traces went.
pub(in crate::backend::embedded) async fn retain(store: &EmbeddedShared) -> Result<i64, Problem> {
    let experiments = sqlx::query(
        "SELECT experiments.experiment_id AS experiment_id, days.value AS days, counted.value AS counted \
         FROM experiments \
         LEFT JOIN experiment_tags AS days ON days.experiment_id = experiments.experiment_id AND days.key = $1 \
         LEFT JOIN experiment_tags AS counted \
         ON counted.experiment_id = experiments.experiment_id AND counted.key = $2",
    )
    .bind(DAYS)
    .bind(TRACES)
    .fetch_all(&store.database.reader)
    .await?;
    let now = store.clock.now().0;
    let mut deleted = 0;
    for row in &experiments {
        let experiment_id: i64 = row.try_get("experiment_id")?;
        let days: Option<String> = row.try_get("days")?;
        let counted: Option<String> = row.try_get("counted")?;
        let days = days.and_then(|text| text.trim().parse().ok()).or(store.retention.days);
        let counted = counted.and_then(|text| text.trim().parse().ok()).or(store.retention.traces);
        let by_age = days.map(|days: u32| Selection::UpTo(now - i64::from(days) * DAY));
        let by_count =
            counted.map(|count: u64| Selection::AllButNewest(i64::try_from(count).unwrap_or(i64::MAX)));
        for selection in [by_age, by_count].into_iter().flatten() {
            loop {
                let some = delete_some(store, experiment_id, &selection, i64::MAX).await?;
                if some == 0 {
                    break;
                }
                deleted += some;
            }
        }
    }
    Ok(deleted)
}
