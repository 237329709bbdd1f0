//! Removes objects of spans that no row names: of exports that were broken off between object and rows, of
//! spans that came again, and of traces whose deletion was interrupted.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use uuid::{NoContext, Timestamp, Uuid};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::Problem;
use crate::clock::UnixMillis;
use crate::objects::SCRATCH;

/// A younger object may wait for its rows, in milliseconds.
const YOUNG: i64 = 3_600_000;

/// A new path for the content of spans. Its name says when it was made.
pub(in crate::backend::embedded) fn payload_path(now: UnixMillis) -> String {
    let milliseconds = u64::try_from(now.0).unwrap_or_default();
    let nanoseconds = u32::try_from(milliseconds % 1000).unwrap_or_default() * 1_000_000;
    let made = Timestamp::from_unix(NoContext, milliseconds / 1000, nanoseconds);
    format!("{}/{}", directory(), Uuid::new_v7(made).simple())
}

fn directory() -> String {
    format!("{SCRATCH}/spans")
}

/// Removes what is left over, and answers how much.
pub(in crate::backend::embedded) async fn sweep(store: &EmbeddedShared) -> Result<u64, Problem> {
    let now = store.clock.now().0;
    let directory = directory();
    let old = |name: &str| {
        let made = Uuid::parse_str(name).ok().and_then(|id| id.get_timestamp());
        made.and_then(|made| i64::try_from(made.to_unix().0).ok())
            .is_some_and(|seconds| seconds.saturating_mul(1000) < now - YOUNG)
    };
    let paths: Vec<String> = store
        .objects
        .list(&directory)
        .await?
        .into_iter()
        .filter(|entry| old(&entry.name))
        .map(|entry| format!("{directory}/{}", entry.name))
        .collect();
    let mut removed = 0;
    for some in paths.chunks(500) {
        let sql = format!(
            "SELECT DISTINCT payload FROM spans WHERE payload IN {}",
            many::texts(store.database.dialect, 1)
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(many::list(some));
        let named: Vec<String> = query.fetch_all(&store.database.reader).await?;
        let named: HashSet<String> = named.into_iter().collect();
        for path in some.iter().filter(|path| !named.contains(*path)) {
            removed += u64::from(store.objects.delete(path).await?);
        }
    }
    Ok(removed)
}
