//! Statements: run for their caller alone, waited for, fetched in chunks, canceled.
//!
//! Whoever fetches rows must still be let in to all that they were read from, in the same way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;

use super::governor::Governor;
use super::{answer, commands, failure, result, warehouses};
use crate::access::{Durability, Sight};
use crate::app::App;
use crate::app::statements::{Delivery, Failure, Format, Full, Rows, State, Statement};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::sent_within;
use crate::http::pages;
use crate::http::trail::{Aside, Trail};
use crate::lake::arrow::array::RecordBatch;
use crate::lake::arrow::compute::concat_batches;
use crate::lake::sql::{self, Defaults, Parameter, Query, QueryLimits, SqlError};
use crate::policy::{Permit, Requirement};
use crate::wire::{Body, Headers, Malformed, Reply};

/// A statement's text is at most 16 MiB; the rest of the body is small.
const BODY: u64 = 17 << 20;
const TEXT: usize = 16 << 20;
/// What an answer may hold inline.
const INLINE: usize = 25 << 20;
/// Rows and bytes of a chunk.
const CHUNK_ROWS: usize = 10_000;
const CHUNK_BYTES: u64 = 8 << 20;
/// Times that a statement is planned anew because policy was changed meanwhile.
pub(super) const ATTEMPTS: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    statement: String,
    warehouse_id: String,
    catalog: Option<String>,
    schema: Option<String>,
    #[serde(default)]
    parameters: Option<Vec<SentParameter>>,
    row_limit: Option<i64>,
    byte_limit: Option<i64>,
    wait_timeout: Option<String>,
    on_wait_timeout: Option<String>,
    disposition: Option<String>,
    format: Option<String>,
    #[serde(rename = "query_tags")]
    _query_tags: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentParameter {
    name: String,
    value: Option<String>,
    #[serde(rename = "type")]
    of: Option<String>,
}

/// What was asked for, read.
pub(super) struct Asked {
    pub text: String,
    pub defaults: Defaults,
    pub parameters: Vec<Parameter>,
    pub limits: QueryLimits,
    wait: Duration,
    cancels: bool,
    delivery: Delivery,
}

fn read(call: &Call<'_>, sent: Sent) -> Result<Asked, Refusal> {
    let refuse = |field: &str, problem: &str| -> Refusal { Malformed::new(field, problem).into() };
    if sent.statement.len() > TEXT {
        return Err(refuse("statement", "is longer than 16 MiB"));
    }
    let wait = match sent.wait_timeout.as_deref().map(|text| text.strip_suffix('s').map(str::parse::<u64>)) {
        None => 10,
        Some(Some(Ok(seconds))) if seconds == 0 || (5..=50).contains(&seconds) => seconds,
        Some(_) => return Err(refuse("wait_timeout", "must be `0s`, or `5s` to `50s`")),
    };
    let cancels = match sent.on_wait_timeout.as_deref() {
        None | Some("CONTINUE") => false,
        Some("CANCEL") if wait == 0 => {
            return Err(refuse("on_wait_timeout", "cannot be `CANCEL` where nothing is waited for"));
        }
        Some("CANCEL") => true,
        Some(_) => return Err(refuse("on_wait_timeout", "must be `CONTINUE` or `CANCEL`")),
    };
    let links = match sent.disposition.as_deref() {
        None | Some("INLINE") => false,
        Some("EXTERNAL_LINKS") => true,
        Some(_) => return Err(refuse("disposition", "must be `INLINE` or `EXTERNAL_LINKS`")),
    };
    let format = match sent.format.as_deref() {
        None | Some("JSON_ARRAY") => Format::JsonArray,
        Some("ARROW_STREAM") if links => Format::ArrowStream,
        Some("CSV") if links => Format::Csv,
        Some("ARROW_STREAM" | "CSV") => {
            return Err(refuse("format", "must be `JSON_ARRAY` with the disposition `INLINE`"));
        }
        Some(_) => return Err(refuse("format", "must be `JSON_ARRAY`, `ARROW_STREAM` or `CSV`")),
    };
    let positive = |field: &str, value: Option<i64>| match value {
        None => Ok(None),
        Some(value) => match u64::try_from(value) {
            Ok(value) if value > 0 => Ok(Some(value)),
            _ => Err(refuse(field, "must be a positive number")),
        },
    };
    let config = &call.app.config.lake;
    let rows =
        positive("row_limit", sent.row_limit)?.map_or(config.query_rows, |rows| rows.min(config.query_rows));
    let parameters = sent.parameters.unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| text.to_lowercase());
    Ok(Asked {
        text: sent.statement,
        defaults: Defaults { catalog: text(sent.catalog), schema: text(sent.schema) },
        parameters: parameters
            .into_iter()
            .map(|one| Parameter { name: one.name, value: one.value, sql_type: one.of })
            .collect(),
        limits: QueryLimits {
            memory_bytes: (config.query_memory_bytes / 4).max(64 << 20).min(config.query_memory_bytes),
            time: Duration::from_secs(config.query_seconds),
            rows: Some(rows),
            bytes: positive("byte_limit", sent.byte_limit)?,
            held: None,
        },
        wait: Duration::from_secs(wait),
        cancels,
        delivery: Delivery { format, links },
    })
}

pub(super) async fn execute(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let sent = sent_within(call, BODY, "sql_body_bytes").await?;
    let sent: Sent = serde_json::from_value(serde_json::Value::Object(sent))
        .map_err(|error| Malformed::new("body", error.to_string()))?;
    // Before anything else of it is told.
    let permit = may_use(call, trail, &sent.warehouse_id)?;
    let mut asked = read(call, sent)?;
    let statement = call
        .app
        .statements
        .begin(&call.caller.principal, asked.delivery)
        .map_err(|full| too_many(call, full))?;
    asked.limits.held = Some(statement.busy());
    trail.question([("statement_id".to_owned(), statement.id.clone())].into());
    count(call.app, &statement);
    // Whatever becomes of this call, nothing runs on unseen.
    let mut guard = Guard { app: Arc::clone(call.app), statement: Arc::clone(&statement), runs_on: false };
    match sql::parse(&asked.text) {
        Err(error) => {
            let failed = failure::of_sql(error);
            call.app.statements.end(&statement, State::Failed(failed));
        }
        Ok(sql::Statement::Command(command)) => {
            let state = match commands::run(call, trail, &permit, command, &asked).await {
                Ok(rows) => State::Succeeded(Arc::new(rows)),
                Err(commands::Stopped::Failed(failed)) => State::Failed(failed),
                Err(commands::Stopped::Refused(refusal)) => State::Failed(failure::of_refusal(refusal)?),
            };
            call.app.statements.end(&statement, state);
        }
        Ok(sql::Statement::Query(query)) => {
            let (wait, cancels) = (asked.wait, asked.cancels);
            let work = Work {
                app: Arc::clone(call.app),
                caller: call.caller.clone(),
                statement: Arc::clone(&statement),
                permit,
                query,
                asked,
                aside: trail.aside(),
            };
            statement.worked_by(tokio::spawn(work.run()).abort_handle());
            if let State::Running = statement.ended(wait).await
                && cancels
            {
                call.app.statements.cancel(&statement);
            }
        }
    }
    guard.runs_on = true;
    answered(call, trail, &statement).await
}

/// Counts it as running, and once it has ended by its state.
fn count(app: &Arc<App>, statement: &Arc<Statement>) {
    let (app, ends) = (Arc::clone(app), Arc::clone(statement).end_of());
    app.metrics.statements_running.inc();
    tokio::spawn(async move {
        let state = ends.await;
        app.metrics.statements_running.dec();
        app.metrics.statement(state);
    });
}

/// Ends a statement whose call was refused or broke off before it was answered.
struct Guard {
    app: Arc<App>,
    statement: Arc<Statement>,
    runs_on: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.runs_on {
            self.app.statements.cancel(&self.statement);
        }
    }
}

fn may_use(call: &Call<'_>, trail: &mut Trail, warehouse: &str) -> Result<Permit, Refusal> {
    let check = warehouses::check(call, warehouse)?;
    trail.demands(check.securable.to_string(), check.privilege.to_string());
    let (decision, permit) =
        call.view()?.authorize(Some(call.caller), &Requirement::All(vec![check.clone()]))?;
    trail.decision(&decision);
    permit.ok_or_else(|| call.denied(check.privilege, &check.securable))
}

fn too_many(call: &Call<'_>, full: Full) -> Refusal {
    call.app.metrics.limited("statements");
    let message = match full {
        Full::OfPrincipal(most) => format!(
            "`{}` has {most} statements running, the most that it may have at once; an administrator can raise \
             `lake.queries_per_principal`",
            call.caller.principal
        ),
        Full::OfAll(most) => format!(
            "{most} statements are running, the most that may run at once; an administrator can raise `lake.queries`"
        ),
        Full::Stopping => "the gateway is being stopped; send the statement again".to_owned(),
    };
    Refusal::Limited { code: "RESOURCE_EXHAUSTED", message, retry_after_ms: 1000 }
}

/// A query on its way, without its call.
struct Work {
    app: Arc<App>,
    caller: crate::access::Caller,
    statement: Arc<Statement>,
    permit: Permit,
    query: Query,
    asked: Asked,
    aside: Aside,
}

impl Work {
    async fn run(self) {
        let state = match self.rows().await {
            Ok(rows) => State::Succeeded(Arc::new(rows)),
            Err(failed) => State::Failed(failed),
        };
        self.app.statements.end(&self.statement, state);
    }

    async fn rows(&self) -> Result<Rows, Failure> {
        let (rows, governor) =
            planned(&self.app, &self.caller, &self.permit, &self.query, &self.asked, &self.aside).await?;
        let inline = !self.asked.delivery.links;
        collected(rows, &governor, inline, self.app.config.lake.result_bytes_per_principal).await
    }
}

/// Plans a query, at one version of policy, and records what was decided before a row of it is read out.
pub(super) async fn planned(
    app: &Arc<App>,
    caller: &crate::access::Caller,
    permit: &Permit,
    query: &Query,
    asked: &Asked,
    aside: &Aside,
) -> Result<(sql::Rows, Arc<Governor>), Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let governor = Arc::new(
            Governor::new(app, caller)
                .map_err(|error| failure::of_refused(&super::governor::unavailable(error)))?,
        );
        let asks: Arc<dyn sql::Governor> = Arc::clone(&governor) as _;
        let run = app.lake.run(permit, query, &asked.parameters, &asked.defaults, asks, &asked.limits).await;
        if governor.has_moved() && attempts < ATTEMPTS && run.is_err() {
            if let Err(error) = app.confirm_policy().await {
                return Err(failure::of_refused(&super::governor::of_store(error)));
            }
            continue;
        }
        let failed = run.as_ref().err().map(ToString::to_string);
        let denied = matches!(&run, Err(SqlError::Refused(_)));
        let recorded = aside
            .decided(governor.witness().demands, governor.version(), denied, failed.filter(|_| denied))
            .await;
        if recorded.is_err() {
            return Err(Failure {
                code: "TEMPORARILY_UNAVAILABLE",
                sql_state: "58000",
                message: "the audit record cannot be written, so the statement is refused".to_owned(),
            });
        }
        return Ok((run.map_err(failure::of_sql)?, governor));
    }
}

/// Reads rows into chunks.
async fn collected(rows: sql::Rows, governor: &Governor, inline: bool, most: usize) -> Result<Rows, Failure> {
    let sql::Rows { schema, mut batches, .. } = rows;
    let truncated = rows.truncated;
    let (mut chunks, mut waiting): (Vec<RecordBatch>, Vec<RecordBatch>) = (Vec::new(), Vec::new());
    let (mut waiting_bytes, mut bytes, mut written) = (0, 0, 0);
    let whole = |waiting: &mut Vec<RecordBatch>| {
        let whole = concat_batches(&schema, waiting.iter())
            .map_err(|error| failure::of_sql(SqlError::Internal(error.to_string())));
        waiting.clear();
        whole
    };
    let too_large = |limit: usize, how: &str| Failure {
        code: "RESOURCE_EXHAUSTED",
        sql_state: "53000",
        message: format!("[RESULT_TOO_LARGE] the result has more than {limit} bytes; {how}"),
    };
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failure::of_sql)?;
        let mut from = 0;
        while from < batch.num_rows() {
            let held: usize = waiting.iter().map(RecordBatch::num_rows).sum();
            let next = batch.slice(from, (CHUNK_ROWS - held).min(batch.num_rows() - from));
            // A row that is larger than a chunk has one for itself.
            let least = usize::from(waiting.is_empty());
            let fits = sql::result::fitting(&next, CHUNK_BYTES.saturating_sub(waiting_bytes)).max(least);
            let part = next.slice(0, fits);
            from += fits;
            let part_bytes = sql::result::size(&part);
            bytes += part_bytes;
            waiting_bytes += part_bytes;
            if inline {
                let texts = result::json_rows(&part).map_err(failure::of_lake)?;
                let lengths =
                    texts.iter().flatten().map(|text| text.as_ref().map_or(4, |text| text.len() + 3));
                written += lengths.sum::<usize>();
                if written > INLINE {
                    return Err(too_large(INLINE, "ask for it with the disposition `EXTERNAL_LINKS`"));
                }
            }
            if bytes > most as u64 {
                return Err(too_large(most, "ask for fewer rows"));
            }
            waiting.push(part);
            if held + fits >= CHUNK_ROWS || fits < next.num_rows() {
                chunks.push(whole(&mut waiting)?);
                waiting_bytes = 0;
            }
        }
    }
    if !waiting.is_empty() {
        chunks.push(whole(&mut waiting)?);
    }
    let bytes = chunks.iter().map(RecordBatch::get_array_memory_size).sum();
    Ok(Rows { schema, chunks, bytes, truncated: truncated.get(), witness: governor.witness() })
}

/// The caller's own statement. Anybody else's, be the caller an administrator, is none.
fn own(call: &Call<'_>) -> Result<Arc<Statement>, Refusal> {
    let id = call.param("id");
    if let Some(statement) = call.app.statements.of(&call.caller.principal, id) {
        return Ok(statement);
    }
    if call.app.statements.is_of_another(id) {
        // Behind a load balancer the client's next attempt may come to the replica that has it.
        return Err(Refusal::Limited {
            code: "TEMPORARILY_UNAVAILABLE",
            message: "the statement ran on another replica; ask again".to_owned(),
            retry_after_ms: 1000,
        });
    }
    let shown: String = id.chars().take(80).collect();
    Err(Refusal::NotFound(format!("there is no statement `{shown}`")))
}

/// Answers a statement as it is now, once what it shows is recorded.
async fn answered(call: &Call<'_>, trail: &mut Trail, statement: &Statement) -> Result<Reply, Refusal> {
    let state = statement.state();
    match &state {
        State::Succeeded(rows) => release(call, trail, statement, rows, 0).await?,
        State::Failed(failed) if failed.sql_state == "42501" || failed.sql_state == "42P01" => {
            trail.refused();
            trail.note(failed.message.clone());
        }
        State::Failed(failed) => trail.note(failed.message.clone()),
        _ => {}
    }
    answer::statement(call, statement, &state)
}

/// Lets a chunk go out: its caller is still let in to all of it, and it is on the record.
async fn release(
    call: &Call<'_>,
    trail: &mut Trail,
    statement: &Statement,
    rows: &Rows,
    index: usize,
) -> Result<(), Refusal> {
    still_allowed(call, trail, rows).await?;
    if !statement.delivery.links {
        tell(trail, rows, index).await?;
    }
    Ok(())
}

async fn tell(trail: &mut Trail, rows: &Rows, index: usize) -> Result<(), Refusal> {
    let Some(chunk) = rows.chunks.get(index) else { return Ok(()) };
    trail.sees(Sight::Read);
    trail.named_traces(result::trace_ids(chunk));
    if trail.has_many_traces() {
        trail.answered(200);
        trail.begin(Durability::Written).await?;
    }
    Ok(())
}

/// Decides anew, at the version in force.
async fn still_allowed(call: &Call<'_>, trail: &mut Trail, rows: &Rows) -> Result<(), Refusal> {
    for (securable, privilege) in &rows.witness.demands {
        trail.demands(securable.clone(), privilege.clone());
    }
    for _ in 0..ATTEMPTS {
        let governor = Governor::new(call.app, call.caller)?;
        match governor.still_holds(&rows.witness).await {
            Ok(()) => return Ok(()),
            Err(_) if governor.has_moved() => call.app.confirm_policy().await?,
            Err(sql::Refused::Unavailable(problem)) => return Err(Refusal::Internal(problem)),
            Err(refused) => {
                tracing::info!(%refused, "rows are no longer the caller's");
                return Err(Refusal::Denied(
                    "what the statement read may no longer be read in this way; run it again".to_owned(),
                ));
            }
        }
    }
    Err(Refusal::Store(crate::store::StoreError::Contended("policy changed all the while".to_owned())))
}

/// Lets in who may still use the warehouse, to its own statement.
fn again(call: &Call<'_>, trail: &mut Trail) -> Result<Arc<Statement>, Refusal> {
    drop(may_use(call, trail, warehouses::ID)?);
    let statement = own(call)?;
    trail.question([("statement_id".to_owned(), statement.id.clone())].into());
    Ok(statement)
}

pub(super) async fn get(call: &Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let statement = again(call, trail)?;
    answered(call, trail, &statement).await
}

fn succeeded(call: &Call<'_>, statement: &Statement) -> Result<(Arc<Rows>, usize), Refusal> {
    let index = call.param("chunk").parse::<usize>();
    let index = index.map_err(|_| Malformed::new("chunk_index", "must be a number"))?;
    match statement.state() {
        State::Succeeded(rows) if index < rows.chunks.len() => Ok((rows, index)),
        State::Succeeded(_) => Err(answer::no_chunk(index)),
        other => Err(Refusal::NotFound(format!("the statement is {} and has no rows", other.as_str()))),
    }
}

pub(super) async fn chunk(call: &Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let statement = again(call, trail)?;
    let (rows, index) = succeeded(call, &statement)?;
    release(call, trail, &statement, &rows, index).await?;
    let chunk = answer::chunk(call, &statement, &rows, index)?;
    Ok(pages::written(200, &crate::http::own::object(chunk)))
}

/// What a link stands for.
pub(super) async fn data(call: &Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let statement = again(call, trail)?;
    let (rows, index) = succeeded(call, &statement)?;
    still_allowed(call, trail, &rows).await?;
    tell(trail, &rows, index).await?;
    let chunk = &rows.chunks[index];
    let (kind, bytes) = match statement.delivery.format {
        Format::JsonArray => {
            let rows = result::json_rows(chunk)?;
            let text = serde_json::to_vec(&rows).map_err(|error| Refusal::Internal(error.to_string()))?;
            ("application/json", text)
        }
        Format::ArrowStream => {
            ("application/vnd.apache.arrow.stream", result::arrow_stream(&rows.schema, chunk)?)
        }
        Format::Csv => ("text/csv; charset=utf-8", result::csv(&rows.schema, chunk, index == 0)?),
    };
    let mut headers = Headers::new();
    headers.push("content-type", kind);
    headers.push("cache-control", "no-store");
    Ok(Reply { status: 200, headers, body: Body::memory(bytes) })
}

pub(super) fn cancel(call: &Call<'_>) -> Result<Reply, Refusal> {
    let statement = own(call)?;
    call.app.statements.cancel(&statement);
    Ok(pages::written(200, &serde_json::Map::new()))
}
