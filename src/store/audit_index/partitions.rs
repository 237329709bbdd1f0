//! PostgreSQL's partitions, a month each, made ahead by whoever inserts.

use std::collections::HashSet;

use parking_lot::Mutex;
use sqlx::PgPool;

const DAY_MS: i64 = 86_400_000;
/// The partitions of a day's month and of this many days later are made when a record of that day comes.
const AHEAD_DAYS: i64 = 7;
/// 1970 to 2200: a record with any other time is the work of a broken clock, and stays in the default one.
const SENSIBLE: std::ops::Range<i64> = 0..7_258_118_400_000;

#[derive(Debug, Default)]
pub struct Known {
    days: Mutex<HashSet<i64>>,
}

impl Known {
    /// Makes what is missing for records of some days. A failure costs no record: what has no partition
    /// of its own goes to the default one, and the next batch tries again.
    pub async fn make(&self, pool: &PgPool, days: impl Iterator<Item = i64>) {
        for day in days {
            if self.days.lock().contains(&day) || !SENSIBLE.contains(&day) {
                continue;
            }
            let made = async {
                // On connections of their own: a failure must not spoil the transaction that inserts.
                for time in [day, day + AHEAD_DAYS * DAY_MS] {
                    sqlx::query("SELECT audit_partition($1)").bind(time).execute(pool).await?;
                }
                Ok::<_, sqlx::Error>(())
            };
            match made.await {
                Ok(()) => {
                    self.days.lock().insert(day);
                }
                Err(error) => tracing::warn!(%error, "a partition of the audit index could not be made"),
            }
        }
    }
}
