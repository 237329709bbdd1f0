//! Trace ownership: a trace belongs to the experiment that claimed it first, for good.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Transaction};

use super::error::StoreError;
use super::{Store, rows};
use crate::access::{ExperimentId, Principal, TraceId};
use crate::clock::UnixMillis;
use crate::database::Database;

/// Traces in one statement, well below what either database takes in parameters.
const CHUNK: usize = 500;
/// Attempts when a claim is released, or a starter set, between our two statements.
const ATTEMPTS: usize = 5;

/// Whose trace it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The owner in force, whoever asked.
    pub experiment: ExperimentId,
    pub started_by: Option<Principal>,
    /// This call made the claim.
    pub fresh: bool,
}

/// One claim asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub trace: TraceId,
    pub experiment: ExperimentId,
    pub started_by: Option<Principal>,
    pub now: UnixMillis,
}

impl Store {
    /// Claims the trace for the experiment unless it has an owner, and answers who owns it now. Returns
    /// once that is committed. A known owner's missing starter is filled in; its experiment never changes.
    pub async fn claim_trace(
        &self,
        trace: &TraceId,
        experiment: &ExperimentId,
        started_by: Option<&Principal>,
        now: UnixMillis,
    ) -> Result<Claim, StoreError> {
        let wanted = [(trace.clone(), experiment.clone(), started_by.cloned())];
        let claims = self.claim_traces(&wanted, now).await?;
        claims.into_iter().next().ok_or_else(|| StoreError::Corrupt("a claim without an answer".to_owned()))
    }

    /// Claims several traces in one transaction; the answers are in the order of the questions. Of two
    /// that name one trace, the first counts.
    pub async fn claim_traces(
        &self,
        wanted: &[(TraceId, ExperimentId, Option<Principal>)],
        now: UnixMillis,
    ) -> Result<Vec<Claim>, StoreError> {
        let wanted: Vec<Wanted> = wanted
            .iter()
            .map(|(trace, experiment, started_by)| Wanted {
                trace: trace.clone(),
                experiment: experiment.clone(),
                started_by: started_by.clone(),
                now,
            })
            .collect();
        // Most spans are of traces whose owner is known: those need no write.
        let known = self.owners(wanted.iter().map(|one| &one.trace)).await?;
        if let Some(claims) = settled(&wanted, &known) {
            return Ok(claims);
        }
        self.claims.submit(wanted).await
    }

    /// The trace's owner, if it was ever claimed.
    pub async fn trace_owner(&self, trace: &TraceId) -> Result<Option<Claim>, StoreError> {
        Ok(self.owners([trace].into_iter()).await?.remove(trace))
    }

    /// The owners of those traces that have one.
    pub async fn trace_owners(&self, traces: &[TraceId]) -> Result<HashMap<TraceId, Claim>, StoreError> {
        self.owners(traces.iter()).await
    }

    /// Gives up a claim, after the backend definitely refused the trace that it was made for.
    pub async fn release_claim(&self, trace: &TraceId, experiment: &ExperimentId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM trace_claims WHERE trace = $1 AND experiment = $2")
            .bind(trace.as_str())
            .bind(experiment.as_str())
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    async fn owners(
        &self,
        traces: impl Iterator<Item = &TraceId>,
    ) -> Result<HashMap<TraceId, Claim>, StoreError> {
        let traces: Vec<&TraceId> = traces.collect::<HashSet<_>>().into_iter().collect();
        let mut owners = HashMap::with_capacity(traces.len());
        for chunk in traces.chunks(CHUNK) {
            let statement = select(chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for trace in chunk {
                query = query.bind(trace.as_str().to_owned());
            }
            for row in query.fetch_all(&self.database.reader).await? {
                let (trace, claim) = read(&row)?;
                owners.insert(trace, claim);
            }
        }
        Ok(owners)
    }
}

/// The answers, if the rows that stand answer every question without a write.
fn settled(wanted: &[Wanted], rows: &HashMap<TraceId, Claim>) -> Option<Vec<Claim>> {
    wanted.iter().map(|one| rows.get(&one.trace).filter(|row| !fills_starter(one, row)).cloned()).collect()
}

fn fills_starter(wanted: &Wanted, row: &Claim) -> bool {
    row.experiment == wanted.experiment && row.started_by.is_none() && wanted.started_by.is_some()
}

/// Commits the claims, all or none, and answers in their order.
pub(super) async fn commit(database: &Database, wanted: &[Wanted]) -> Result<Vec<Claim>, StoreError> {
    let mut attempt = 1;
    loop {
        match try_commit(database, wanted).await {
            Err(StoreError::Contended(_)) if attempt < ATTEMPTS => attempt += 1,
            answer => return answer,
        }
    }
}

async fn try_commit(database: &Database, wanted: &[Wanted]) -> Result<Vec<Claim>, StoreError> {
    // In the order of trace ids: replicas that lock the same rows do so in the same order.
    let mut firsts: BTreeMap<&TraceId, usize> = BTreeMap::new();
    for (index, one) in wanted.iter().enumerate() {
        firsts.entry(&one.trace).or_insert(index);
    }
    let order: Vec<usize> = firsts.values().copied().collect();
    let mut transaction = database.begin_write().await?;
    let mut fresh: HashSet<String> = HashSet::new();
    let mut claims: HashMap<TraceId, Claim> = HashMap::with_capacity(order.len());
    for chunk in order.chunks(CHUNK) {
        let chunk: Vec<&Wanted> = chunk.iter().filter_map(|index| wanted.get(*index)).collect();
        insert(&mut transaction, &chunk, &mut fresh).await?;
        let mut query = sqlx::query(AssertSqlSafe(select(chunk.len())));
        for one in &chunk {
            query = query.bind(one.trace.as_str().to_owned());
        }
        for row in query.fetch_all(&mut *transaction).await? {
            let (trace, claim) = read(&row)?;
            claims.insert(trace, claim);
        }
    }

    let mut starters: BTreeMap<&TraceId, &Wanted> = BTreeMap::new();
    let mut answers = Vec::with_capacity(wanted.len());
    for (index, one) in wanted.iter().enumerate() {
        // Released by another between the two statements: begin again.
        let row = claims.get_mut(&one.trace).ok_or_else(|| released(one))?;
        if fills_starter(one, row) {
            row.started_by.clone_from(&one.started_by);
            starters.insert(&one.trace, one);
        }
        let is_fresh = fresh.contains(one.trace.as_str()) && firsts.get(&one.trace) == Some(&index);
        answers.push(Claim { fresh: is_fresh, ..row.clone() });
    }
    for one in starters.values() {
        let done = sqlx::query(
            "UPDATE trace_claims SET started_by = $1 \
             WHERE trace = $2 AND experiment = $3 AND started_by IS NULL",
        )
        .bind(one.started_by.as_ref().map(ToString::to_string))
        .bind(one.trace.as_str())
        .bind(one.experiment.as_str())
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Err(released(one));
        }
    }
    transaction.commit().await?;
    Ok(answers)
}

async fn insert(
    transaction: &mut Transaction<'static, Any>,
    chunk: &[&Wanted],
    fresh: &mut HashSet<String>,
) -> Result<(), StoreError> {
    let values: Vec<String> = (0..chunk.len())
        .map(|row| format!("(${}, ${}, ${}, ${})", 4 * row + 1, 4 * row + 2, 4 * row + 3, 4 * row + 4))
        .collect();
    let statement = format!(
        "INSERT INTO trace_claims (trace, experiment, started_by, claimed_at_ms) VALUES {} \
         ON CONFLICT (trace) DO NOTHING RETURNING trace",
        values.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for one in chunk {
        query = query
            .bind(one.trace.as_str().to_owned())
            .bind(one.experiment.as_str().to_owned())
            .bind(one.started_by.as_ref().map(ToString::to_string))
            .bind(one.now.0);
    }
    for row in query.fetch_all(&mut **transaction).await? {
        fresh.insert(rows::text(&row, "trace")?);
    }
    Ok(())
}

fn select(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|place| format!("${place}")).collect();
    format!("SELECT trace, experiment, started_by FROM trace_claims WHERE trace IN ({})", places.join(", "))
}

fn read(row: &AnyRow) -> Result<(TraceId, Claim), StoreError> {
    let trace =
        TraceId::parse(&rows::text(row, "trace")?).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let claim = Claim {
        experiment: rows::experiment(row, "experiment")?,
        started_by: rows::optional_parsed(row, "started_by")?,
        fresh: false,
    };
    Ok((trace, claim))
}

fn released(wanted: &Wanted) -> StoreError {
    StoreError::Contended(format!("the claim of `{}` changed meanwhile", wanted.trace))
}
