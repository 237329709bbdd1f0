//! Reads the contents of a trace's spans in MLflow's order: the root first, then by start. However many there
//! are, a page of them at a time is in memory.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt as _;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::Problem;

/// A page: so many spans, or so many bytes.
const PAGE_SPANS: usize = 256;
const PAGE_BYTES: i64 = 1024 * 1024;
/// What lies between two contents of one object is read rather than asked for anew, in bytes.
const GAP: i64 = 64 * 1024;

const ORDER: &str = "ORDER BY CASE WHEN parent_span_id IS NULL THEN 0 ELSE 1 END, start_time, span_id";

/// Where the content of one span is.
#[derive(Debug, Clone)]
struct Key {
    span_id: String,
    /// Nothing if it is in its row.
    payload: Option<Arc<str>>,
    offset: i64,
    length: i64,
}

/// The contents of one trace, page by page.
pub(in crate::backend::embedded) struct Contents {
    trace_no: i64,
    /// The first page of a trace that has but one.
    ready: Option<Vec<String>>,
    keys: VecDeque<Key>,
}

impl Contents {
    pub async fn open(store: &EmbeddedShared, trace_no: i64) -> Result<Self, Problem> {
        let reader = &store.database.reader;
        let few = format!("SELECT content FROM spans WHERE trace_no = $1 {ORDER} LIMIT {}", PAGE_SPANS + 1);
        let rows = sqlx::query(AssertSqlSafe(few)).bind(trace_no).fetch_all(reader).await?;
        let contents: Vec<Option<String>> =
            rows.iter().map(|row| row.try_get("content")).collect::<Result<_, _>>()?;
        if contents.len() <= PAGE_SPANS
            && let Some(ready) = contents.into_iter().collect::<Option<Vec<String>>>()
        {
            return Ok(Self { trace_no, ready: Some(ready), keys: VecDeque::new() });
        }
        let all = format!(
            "SELECT span_id, payload, payload_offset, payload_length, LENGTH(content) AS inline \
             FROM spans WHERE trace_no = $1 {ORDER}"
        );
        let rows = sqlx::query(AssertSqlSafe(all)).bind(trace_no).fetch_all(reader).await?;
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        let keys = rows.iter().map(|row| key(row, &mut names)).collect::<Result<_, Problem>>()?;
        Ok(Self { trace_no, ready: None, keys })
    }

    /// The next contents; nothing at the end.
    pub async fn next(&mut self, store: &EmbeddedShared) -> Result<Option<Vec<String>>, Problem> {
        if let Some(ready) = self.ready.take() {
            return Ok((!ready.is_empty()).then_some(ready));
        }
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < PAGE_SPANS && bytes < PAGE_BYTES {
            let Some(key) = self.keys.pop_front() else { break };
            bytes += key.length;
            page.push(key);
        }
        if page.is_empty() {
            return Ok(None);
        }
        let mut found = self.of_rows(store, &page).await?;
        of_objects(store, &page, &mut found).await?;
        // What was deleted meanwhile is not there any more.
        Ok(Some(page.iter().filter_map(|key| found.remove(&key.span_id)).collect()))
    }

    async fn of_rows(
        &self,
        store: &EmbeddedShared,
        page: &[Key],
    ) -> Result<HashMap<String, String>, Problem> {
        let ids: Vec<&str> =
            page.iter().filter(|key| key.payload.is_none()).map(|key| key.span_id.as_str()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT span_id, content FROM spans WHERE trace_no = $1 AND content IS NOT NULL AND span_id IN {}",
            many::texts(store.database.dialect, 2)
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(self.trace_no).bind(many::list(&ids));
        let rows = query.fetch_all(&store.database.reader).await?;
        rows.iter().map(|row| Ok((row.try_get("span_id")?, row.try_get("content")?))).collect()
    }
}

fn key(row: &AnyRow, names: &mut HashMap<String, Arc<str>>) -> Result<Key, Problem> {
    let span_id = row.try_get("span_id")?;
    let payload: Option<String> = row.try_get("payload")?;
    let Some(payload) = payload else {
        let length = row.try_get::<Option<i64>, _>("inline")?.unwrap_or_default();
        return Ok(Key { span_id, payload: None, offset: 0, length });
    };
    let shared = names.entry(payload).or_insert_with_key(|name| Arc::from(name.as_str()));
    Ok(Key {
        span_id,
        payload: Some(Arc::clone(shared)),
        offset: row.try_get("payload_offset")?,
        length: row.try_get("payload_length")?,
    })
}

/// Reads what lies in objects, what lies together at once.
async fn of_objects(
    store: &EmbeddedShared,
    page: &[Key],
    found: &mut HashMap<String, String>,
) -> Result<(), Problem> {
    let mut keys: Vec<(&Arc<str>, &Key)> =
        page.iter().filter_map(|key| Some((key.payload.as_ref()?, key))).collect();
    keys.sort_by_key(|(payload, key)| (*payload, key.offset));
    let mut rest = keys.as_slice();
    while let Some((payload, first)) = rest.first().copied() {
        let mut end = first.offset + first.length;
        let together = rest
            .iter()
            .take_while(|(other, key)| {
                let close = *other == payload && key.offset <= end + GAP;
                end = if close { end.max(key.offset + key.length) } else { end };
                close
            })
            .count();
        let (run, after) = rest.split_at(together);
        rest = after;
        let Some(bytes) = read(store, payload, first.offset..end).await? else { continue };
        for (_, key) in run {
            let from = usize::try_from(key.offset - first.offset).map_err(Problem::internal)?;
            let length = usize::try_from(key.length).map_err(Problem::internal)?;
            let content = bytes.get(from..from + length).unwrap_or_default().to_vec();
            found.insert(key.span_id.clone(), String::from_utf8(content).map_err(Problem::internal)?);
        }
    }
    Ok(())
}

/// Part of an object; nothing if the trace was deleted meanwhile.
async fn read(store: &EmbeddedShared, path: &str, range: Range<i64>) -> Result<Option<Vec<u8>>, Problem> {
    let unsigned = |number: i64| u64::try_from(number).map_err(Problem::internal);
    let range = unsigned(range.start)?..unsigned(range.end)?;
    let length = range.end - range.start;
    let Some((_, mut stream)) = store.objects.get(path, Some(range)).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(Problem::internal)?);
    }
    if bytes.len() as u64 != length {
        return Err(Problem::internal("an object of spans is shorter than its rows say"));
    }
    Ok(Some(bytes))
}
