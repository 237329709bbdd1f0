//! What is known of a trace beside its spans, as MLflow tells it: the shape of its version 3 and the older
//! one of version 2. Both as JSON text, so that a page of hundreds is cheap.
//!
//! ```text
//! let rows: Vec<TraceRow> = …SELECT {info::COLUMNS} FROM traces…;
//! let infos: Vec<String> = info::v3(store, &rows).await?;
//! ```

use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::EmbeddedShared;
use super::super::assessments;
use super::super::problem::Problem;
use super::super::protobuf_json::{duration, timestamp};

/// What [`TraceRow::read`] reads, of the table `traces`.
pub(in crate::backend::embedded) const COLUMNS: &str = "trace_no, trace_id, experiment_id, request_time, duration, state, client_request_id, \
     request_preview, response_preview, tags, metadata";

/// The longest key, and value of metadata, and value of a tag that is shown, in characters.
const SHOWN_KEY: usize = 250;
const SHOWN_METADATA: usize = 250;
const SHOWN_TAG: usize = 4096;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::backend::embedded) struct TraceRow {
    pub trace_no: i64,
    pub trace_id: String,
    pub experiment_id: i64,
    pub request_time: i64,
    pub duration: Option<i64>,
    pub state: String,
    pub client_request_id: Option<String>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    /// JSON objects of texts, as the database holds them.
    pub tags: String,
    pub metadata: String,
}

impl TraceRow {
    pub fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            trace_no: row.try_get("trace_no")?,
            trace_id: row.try_get("trace_id")?,
            experiment_id: row.try_get("experiment_id")?,
            request_time: row.try_get("request_time")?,
            duration: row.try_get("duration")?,
            state: row.try_get("state")?,
            client_request_id: row.try_get("client_request_id")?,
            request_preview: row.try_get("request_preview")?,
            response_preview: row.try_get("response_preview")?,
            tags: row.try_get("tags")?,
            metadata: row.try_get("metadata")?,
        })
    }
}

/// The `trace_info` of version 3 of each row, in their order, as JSON text; with their assessments.
pub(in crate::backend::embedded) async fn v3(
    store: &EmbeddedShared,
    rows: &[TraceRow],
) -> Result<Vec<String>, Problem> {
    let numbers: Vec<i64> = rows.iter().map(|row| row.trace_no).collect();
    let mut assessments = assessments::of_traces(store, &numbers).await?;
    rows.iter().map(|row| v3_text(row, &assessments.remove(&row.trace_no).unwrap_or_default())).collect()
}

/// One row whose assessments, as JSON texts, are known.
pub(in crate::backend::embedded) fn v3_text(
    row: &TraceRow,
    assessments: &[String],
) -> Result<String, Problem> {
    let mut info = Map::new();
    info.insert("trace_id".to_owned(), json!(row.trace_id));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            info.insert(name.to_owned(), value);
        }
    };
    put("client_request_id", row.client_request_id.as_ref().map(|text| json!(text)));
    let experiment = json!({"experiment_id": row.experiment_id.to_string()});
    put("trace_location", Some(json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": experiment})));
    put("request_time", Some(json!(timestamp(row.request_time))));
    put("execution_duration", row.duration.map(|milliseconds| json!(duration(milliseconds))));
    put("state", Some(json!(row.state)));
    put("request_preview", row.request_preview.as_ref().map(|text| json!(text)));
    put("response_preview", row.response_preview.as_ref().map(|text| json!(text)));
    let not_empty = |map: Map<String, Value>| (!map.is_empty()).then_some(Value::Object(map));
    put("trace_metadata", not_empty(shown(&row.metadata, SHOWN_METADATA)?));
    put("tags", not_empty(shown(&row.tags, SHOWN_TAG)?));
    let mut text = Value::Object(info).to_string();
    if !assessments.is_empty() {
        text.pop();
        text.push_str(",\"assessments\":[");
        text.push_str(&assessments.join(","));
        text.push_str("]}");
    }
    Ok(text)
}

/// The `trace_info` of version 2, which has no assessments.
pub(in crate::backend::embedded) fn v2(row: &TraceRow) -> Result<String, Problem> {
    let mut info = Map::new();
    info.insert("request_id".to_owned(), json!(row.trace_id));
    info.insert("experiment_id".to_owned(), json!(row.experiment_id.to_string()));
    info.insert("timestamp_ms".to_owned(), json!(row.request_time));
    info.insert("execution_time_ms".to_owned(), json!(row.duration.unwrap_or_default()));
    let status = match row.state.as_str() {
        "STATE_UNSPECIFIED" => "TRACE_STATUS_UNSPECIFIED",
        state => state,
    };
    info.insert("status".to_owned(), json!(status));
    for (name, text, most) in
        [("request_metadata", &row.metadata, SHOWN_METADATA), ("tags", &row.tags, SHOWN_TAG)]
    {
        let pairs: Vec<Value> =
            shown(text, most)?.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        if !pairs.is_empty() {
            info.insert(name.to_owned(), Value::Array(pairs));
        }
    }
    Ok(Value::Object(info).to_string())
}

/// A map of the database with its keys and values cut to what is shown.
fn shown(text: &str, most: usize) -> Result<Map<String, Value>, Problem> {
    let map: Map<String, Value> = serde_json::from_str(text).map_err(Problem::internal)?;
    // No character is more than its bytes.
    if text.len() <= SHOWN_KEY {
        return Ok(map);
    }
    let mut cut_map = Map::new();
    for (key, value) in map {
        let value = value.as_str().unwrap_or_default();
        cut_map.insert(cut(&key, SHOWN_KEY).to_owned(), Value::String(cut(value, most).to_owned()));
    }
    Ok(cut_map)
}

/// The first characters of a text.
pub(in crate::backend::embedded) fn cut(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}
