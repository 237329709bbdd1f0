//! Spans in the database. Their content, the JSON of each, is in its row or, of a large trace, in an object
//! beside the database, of which the row says where.

mod read;
mod show;

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

pub(super) use self::read::Contents;
pub(super) use self::show::otlp;
use super::many;
use super::problem::Problem;
use super::traces::usage::{self, Costs, Node};
use crate::database::Dialect;

/// A span without its content.
#[derive(Debug, Clone)]
pub(super) struct SpanRow {
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub name: String,
    pub span_type: Option<String>,
    pub status: &'static str,
    /// Nanoseconds since 1970.
    pub start_time: i64,
    pub end_time: Option<i64>,
    pub model_name: Option<String>,
    pub model_provider: Option<String>,
    pub costs: Costs,
    pub usage: Option<String>,
}

/// Where the content of a span is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Row(String),
    Object { payload: String, offset: i64, length: i64 },
}

const INSERT: &str = "INSERT INTO spans (trace_no, span_id, parent_span_id, name, type, status, start_time, \
    end_time, model_name, model_provider, input_cost, output_cost, total_cost, usage, content, payload, \
    payload_offset, payload_length) VALUES ";
const COLUMNS: usize = 18;
const UPDATE: &str = " ON CONFLICT (trace_no, span_id) DO UPDATE SET parent_span_id = excluded.parent_span_id, \
    name = excluded.name, type = excluded.type, status = excluded.status, start_time = excluded.start_time, \
    end_time = excluded.end_time, model_name = excluded.model_name, \
    model_provider = excluded.model_provider, input_cost = excluded.input_cost, \
    output_cost = excluded.output_cost, total_cost = excluded.total_cost, usage = excluded.usage, \
    content = excluded.content, payload = excluded.payload, payload_offset = excluded.payload_offset, \
    payload_length = excluded.payload_length";

/// Writes some spans, none twice, each with the number of its trace.
pub(super) async fn put(
    connection: &mut AnyConnection,
    dialect: Dialect,
    spans: &[(i64, &SpanRow, Place)],
) -> Result<(), Problem> {
    for piece in many::pieces(spans) {
        let sql = format!(
            "{INSERT}{}{UPDATE}",
            many::placeholders_with_floats(dialect, piece.len(), COLUMNS, 10..13)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (trace_no, span, place) in piece {
            query = query
                .bind(*trace_no)
                .bind(&span.span_id)
                .bind(&span.parent_span_id)
                .bind(&span.name)
                .bind(&span.span_type)
                .bind(span.status)
                .bind(span.start_time)
                .bind(span.end_time)
                .bind(&span.model_name)
                .bind(&span.model_provider);
            for amount in span.costs {
                query = many::bind_float(query, dialect, amount);
            }
            query = query.bind(&span.usage);
            query = match place {
                Place::Row(content) => {
                    query.bind(content).bind(None::<String>).bind(None::<i64>).bind(None::<i64>)
                }
                Place::Object { payload, offset, length } => {
                    query.bind(None::<String>).bind(payload).bind(*offset).bind(*length)
                }
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What the spans of some traces say of tokens and cost, by the number of the trace.
pub(super) async fn nodes(
    connection: &mut AnyConnection,
    dialect: Dialect,
    trace_numbers: &[i64],
) -> Result<HashMap<i64, Vec<Node>>, Problem> {
    let mut by_trace: HashMap<i64, Vec<Node>> = HashMap::new();
    if trace_numbers.is_empty() {
        return Ok(by_trace);
    }
    let sql = format!(
        "SELECT trace_no, span_id, parent_span_id, usage, input_cost, output_cost, total_cost FROM spans \
         WHERE trace_no IN {}",
        many::integers(dialect, 1)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(many::list(trace_numbers));
    for row in &query.fetch_all(connection).await? {
        let used: Option<String> = row.try_get("usage")?;
        let costs: Costs =
            [row.try_get("input_cost")?, row.try_get("output_cost")?, row.try_get("total_cost")?];
        by_trace.entry(row.try_get("trace_no")?).or_default().push(Node {
            span: row.try_get("span_id")?,
            parent: row.try_get("parent_span_id")?,
            tokens: used.map(|text| usage::tokens(&usage::object(&text))),
            costs: costs.iter().any(Option::is_some).then_some(costs),
        });
    }
    Ok(by_trace)
}
