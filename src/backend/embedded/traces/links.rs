//! Links of traces to runs and to versions of prompts.

use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{Request, missing, wrong_type};
use crate::database::Dialect;
use crate::wire::Reply;

/// Traces that one call may link to a run.
const MOST_TRACES: usize = 100;

pub(super) async fn runs(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    if !request.json.contains_key("trace_ids") {
        return Err(missing("trace_ids"));
    }
    let trace_ids = request.texts("trace_ids")?;
    let run_id = request.required("run_id")?.to_owned();
    if trace_ids.len() > MOST_TRACES {
        return Err(Problem::invalid(format!(
            "Cannot link more than {MOST_TRACES} traces to a run in a single request. Provided {} traces.",
            trace_ids.len()
        )));
    }
    let dialect = store.database.dialect;
    let linked = store.writer.write(move |connection| {
        Box::pin(async move { link_to_run(connection, dialect, &trace_ids, &run_id).await })
    });
    linked.await?;
    Ok(reply::empty_object())
}

/// Links those of the traces that exist.
pub(in crate::backend::embedded) async fn link_to_run(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_ids: &[String],
    run_id: &str,
) -> Result<(), Problem> {
    if run_id.contains('\0') {
        return Err(Problem::invalid("`run_id` may not hold U+0000"));
    }
    let sql = format!(
        "INSERT INTO trace_links (trace_no, kind, target) SELECT trace_no, 'run', $2 FROM traces \
         WHERE trace_id IN {} ON CONFLICT DO NOTHING",
        many::texts(dialect, 1)
    );
    sqlx::query(AssertSqlSafe(sql)).bind(many::list(trace_ids)).bind(run_id).execute(connection).await?;
    Ok(())
}

pub(super) async fn prompts(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let trace_id = request.required("trace_id")?.to_owned();
    if !request.json.contains_key("prompt_versions") {
        return Err(missing("prompt_versions"));
    }
    let mut targets = Vec::new();
    for prompt in request.list("prompt_versions")? {
        targets.push(target(prompt)?);
    }
    if targets.is_empty() {
        return Ok(reply::empty_object());
    }
    let linked = store.writer.write(move |connection| {
        Box::pin(async move {
            let trace_no = super::number_of(connection, &trace_id).await?;
            let trace_no = trace_no.ok_or_else(|| super::not_found(&trace_id))?;
            for target in &targets {
                sqlx::query(
                    "INSERT INTO trace_links (trace_no, kind, target) VALUES ($1, 'prompt', $2) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(trace_no)
                .bind(target)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })
    });
    linked.await?;
    Ok(reply::empty_object())
}

/// `name/version`.
fn target(prompt: &Value) -> Result<String, Problem> {
    let wrong = || wrong_type("prompt_versions", prompt);
    let name = prompt.get("name").and_then(Value::as_str).filter(|name| !name.contains('\0'));
    let version = match prompt.get("version") {
        Some(Value::String(text)) => text.parse::<i64>().ok(),
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    Ok(format!("{}/{}", name.ok_or_else(wrong)?, version.ok_or_else(wrong)?))
}
