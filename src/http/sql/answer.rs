//! Statements as clients read them.

use serde_json::{Map, Value, json};

use super::result;
use crate::app::statements::{Format, Rows, State, Statement};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::handle::origin;
use crate::http::{pages, signed};
use crate::wire::Reply;

/// How long a link is good.
const LINK_MS: i64 = 15 * 60 * 1000;

const BASE: &str = "/api/2.0/sql/statements";

/// The state of a statement, with its manifest and its first chunk if it succeeded.
pub(super) fn statement(call: &Call<'_>, statement: &Statement, state: &State) -> Result<Reply, Refusal> {
    let mut status = json!({ "state": state.as_str() });
    if let State::Failed(failure) = state {
        status["error"] = json!({ "error_code": failure.code, "message": failure.message });
        status["sql_state"] = json!(failure.sql_state);
    }
    let mut answer =
        Map::from_iter([("statement_id".to_owned(), json!(statement.id)), ("status".to_owned(), status)]);
    if let State::Succeeded(rows) = state {
        answer.insert("manifest".to_owned(), manifest(statement, rows));
        let first = if rows.chunks.is_empty() { json!({}) } else { chunk(call, statement, rows, 0)? };
        answer.insert("result".to_owned(), first);
    }
    Ok(pages::written(200, &answer))
}

fn offset(rows: &Rows, index: usize) -> usize {
    rows.chunks[..index].iter().map(|chunk| chunk.num_rows()).sum()
}

fn manifest(statement: &Statement, rows: &Rows) -> Value {
    let columns = result::columns(&rows.schema);
    let chunks: Vec<Value> = rows
        .chunks
        .iter()
        .enumerate()
        .map(|(index, chunk)| {
            json!({
                "chunk_index": index, "row_offset": offset(rows, index), "row_count": chunk.num_rows(),
                "byte_count": chunk.get_array_memory_size(),
            })
        })
        .collect();
    json!({
        "format": match statement.delivery.format {
            Format::JsonArray => "JSON_ARRAY",
            Format::ArrowStream => "ARROW_STREAM",
            Format::Csv => "CSV",
        },
        "schema": { "column_count": columns.len(), "columns": columns },
        "total_chunk_count": chunks.len(),
        "total_row_count": rows.chunks.iter().map(|chunk| chunk.num_rows()).sum::<usize>(),
        "total_byte_count": rows.bytes,
        "truncated": rows.truncated,
        "chunks": chunks,
    })
}

/// One chunk, or the link to it.
pub(super) fn chunk(
    call: &Call<'_>,
    statement: &Statement,
    rows: &Rows,
    index: usize,
) -> Result<Value, Refusal> {
    let there = rows.chunks.get(index).ok_or_else(|| no_chunk(index))?;
    let mut place = json!({
        "chunk_index": index, "row_offset": offset(rows, index), "row_count": there.num_rows(),
        "byte_count": there.get_array_memory_size(),
    });
    if index + 1 < rows.chunks.len() {
        place["next_chunk_index"] = json!(index + 1);
        place["next_chunk_internal_link"] =
            json!(format!("{BASE}/{}/result/chunks/{}", statement.id, index + 1));
    }
    if !statement.delivery.links {
        place["data_array"] = json!(result::json_rows(there)?);
        return Ok(place);
    }
    let until = call.app.clock.now().0 + LINK_MS;
    let path = format!("{BASE}/{}/result/chunks/{index}/data", statement.id);
    let link = signed::link(call.app, call.caller, &path, until)?;
    place["external_link"] = json!(format!("{}{link}", origin(call)?));
    let at =
        jiff::Timestamp::from_millisecond(until).map_err(|error| Refusal::Internal(error.to_string()))?;
    place["expiration"] = json!(at.to_string());
    Ok(json!({ "external_links": [place] }))
}

pub(super) fn no_chunk(index: usize) -> Refusal {
    Refusal::NotFound(format!("the statement has no chunk {index}"))
}
