//! Statements of Tracegate's own over tables of the catalog, governed as if the caller had written them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::Governor;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::lake::{self, LakeError, sql};
use crate::policy::Permit;
use crate::store::StoreError;

/// How often a statement is planned anew because policy changed meanwhile.
const ATTEMPTS: usize = 5;
/// Clients wait for a call of the tracing API no longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// The rows of a statement, in memory, up to so many bytes; more are refused, not cut off.
pub(in crate::http) async fn rows(
    call: &Call<'_>,
    permit: &Permit,
    statement: &str,
    parameters: &[sql::Parameter],
    most_bytes: u64,
) -> Result<Vec<Map<String, Value>>, Refusal> {
    let sql::Statement::Query(query) = sql::parse(statement)? else {
        return Err(Refusal::Internal("a statement of ours is no query".to_owned()));
    };
    let config = &call.app.config.lake;
    let limits = sql::QueryLimits {
        memory_bytes: config.query_memory_bytes / 2,
        time: LONGEST.min(Duration::from_secs(config.query_seconds)),
        rows: None,
        bytes: Some(most_bytes),
        held: None,
    };
    for _ in 0..ATTEMPTS {
        let governor = Arc::new(Governor::new(call.app, call.caller)?);
        let asked: Arc<dyn sql::Governor> = governor.clone();
        match collect(call, permit, &query, parameters, asked, &limits).await {
            Err(_) if governor.has_moved() => call.app.confirm_policy().await?,
            Ok(None) => {
                return Err(Refusal::Oversized {
                    what: "answer",
                    limit: most_bytes,
                    name: "tracing_answer_bytes",
                });
            }
            Ok(Some(rows)) => return Ok(rows),
            Err(error) => return Err(error),
        }
    }
    Err(Refusal::Store(StoreError::Contended("policy changed all the while".to_owned())))
}

/// None: there is more than the limits allow.
async fn collect(
    call: &Call<'_>,
    permit: &Permit,
    query: &sql::Query,
    parameters: &[sql::Parameter],
    governor: Arc<dyn sql::Governor>,
    limits: &sql::QueryLimits,
) -> Result<Option<Vec<Map<String, Value>>>, Refusal> {
    let defaults = sql::Defaults::default();
    let found = call.app.lake.run(permit, query, parameters, &defaults, governor, limits).await;
    let mut found = found?;
    let mut batches = Vec::new();
    while let Some(batch) = found.batches.next().await {
        batches.push(batch?);
    }
    if found.truncated.get() {
        return Ok(None);
    }
    // Beside the worker, which has other calls to answer.
    let written = tokio::task::spawn_blocking(move || -> Result<_, LakeError> {
        let mut rows = Vec::new();
        for batch in &batches {
            rows.extend(lake::json_rows(batch)?);
        }
        Ok(rows)
    });
    let rows = written.await.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(Some(rows?))
}
