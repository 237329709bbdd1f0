//! Searching traces in tables: by when they began, filtered, in pages.
//!
//! A trace is found once its root span is there. What the tables can filter cheaply they do; the rest is decided
//! here on the heads of traces, page by page, until the answer is full.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::info;
use super::matches;
use super::place::{Part, Place};
use super::read::{Found, Reader};
use crate::access::Sight;
use crate::classify::trace_filter::{Clause, Comparison, clauses_of_filter, keys_of_order_by};
use crate::http::call::Call;
use crate::http::edit::{text, texts};
use crate::http::error::Refusal;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::lake::otlp::Version;
use crate::lake::sql::Parameter;
use crate::store::Purpose;
use crate::wire::{Malformed, Reply, json as fields};

const DEFAULT_RESULTS: usize = 100;
const MOST_RESULTS: usize = 500;
const MOST_PLACES: usize = 10;
/// Traces whose heads are read at once.
const AT_ONCE: usize = 400;
/// Rounds of that many after which a page is answered as it is; the next one goes on from there.
const ROUNDS: usize = 25;

/// What is asked for.
pub(super) struct Search {
    places: Vec<Place>,
    clauses: Vec<Clause>,
    descending: bool,
    results: usize,
    token: Option<String>,
    /// What a page's token is bound to.
    question: String,
}

/// Where a page ended: when the last trace that was looked at began, and which it was.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
struct Cursor {
    nanos: i64,
    trace: String,
}

impl Search {
    pub fn of(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let Some(Value::Array(locations)) = fields::field(body, "locations")? else {
            return Err(Malformed::new("locations", "must be a list of locations").into());
        };
        let mut places: Vec<Place> = Vec::new();
        for location in locations {
            let Value::Object(location) = location else {
                return Err(Malformed::new("locations", "must hold objects").into());
            };
            // Clients look for these words, and ask the experiment itself.
            let place = Place::of_json(location)?.ok_or_else(|| {
                Malformed::new(
                    "locations",
                    "holds an experiment: experiment locations not yet supported by this call",
                )
            })?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() || places.len() > MOST_PLACES {
            return Err(Malformed::new("locations", format!("must hold 1 to {MOST_PLACES} locations")).into());
        }
        let results = match fields::field(body, "max_results")? {
            None => DEFAULT_RESULTS,
            Some(number) => number
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=MOST_RESULTS).contains(number))
                .ok_or_else(|| Malformed::new("max_results", format!("must be 1 to {MOST_RESULTS}")))?,
        };
        let filter = text(body, "filter")?.unwrap_or_default();
        let order = texts(body, "order_by")?;
        let clauses = clauses_of_filter(filter)?;
        matches::check(&clauses)?;
        let names: Vec<String> = places.iter().map(Place::to_string).collect();
        Ok(Self {
            question: json!([names, filter, order]).to_string(),
            descending: descending(&order)?,
            places,
            clauses,
            results,
            token: text(body, "page_token")?.filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }
}

/// Traces are ordered by when they began, and by nothing else.
fn descending(order: &[String]) -> Result<bool, Malformed> {
    let keys = keys_of_order_by(order)?;
    let refuse = || Malformed::new("order_by", "must be `timestamp DESC` or `timestamp ASC`");
    match (&keys[..], order) {
        ([], _) => Ok(true),
        ([key], [written]) if key == "attribute.timestamp_ms" || key == "attribute.request_time" => {
            Ok(!written.trim().to_ascii_lowercase().ends_with(" asc") && written.trim().contains(' '))
        }
        _ => Err(refuse()),
    }
}

pub(super) async fn page(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let body = sent(call).await?;
    let found = run(call, trail, &Search::of(&body)?).await?;
    answered(&found)
}

/// A page of trace heads, with the token of the next.
pub(super) async fn run(
    call: &Call<'_>,
    trail: &mut Trail,
    search: &Search,
) -> Result<Map<String, Value>, Refusal> {
    let context = format!("{} tracing.search {}", call.caller.principal, search.question);
    let mut cursor = opened(call, &context, search.token.as_deref()).await?;
    let mut readers = Vec::new();
    for place in &search.places {
        readers.push(Reader::open(call, trail, place.clone()).await?);
    }
    let mut infos: Vec<Value> = Vec::new();
    let mut released: Vec<String> = Vec::new();
    let mut ended = false;
    'pages: for _ in 0..ROUNDS {
        let (candidates, all) = candidates(&readers, search, cursor.as_ref()).await?;
        let heads = heads(&readers, &candidates).await?;
        for (reader, at) in &candidates {
            if infos.len() == search.results {
                break 'pages;
            }
            cursor = Some(at.clone());
            let Some(head) = heads.get(&(*reader, at.trace.clone())) else { continue };
            let Some(source) = readers.get(*reader) else { continue };
            let info = info::info(&source.place, &at.trace, head);
            if matches::all(&search.clauses, &info) {
                released.push(source.place.trace(&at.trace));
                infos.push(Value::Object(info));
            }
        }
        if all {
            ended = true;
            break;
        }
    }
    trail.sees(Sight::Read);
    trail.named_traces(released);
    let mut page = Map::from_iter([("trace_infos".to_owned(), Value::Array(infos))]);
    if let Some(cursor) = cursor.filter(|_| !ended) {
        let position = serde_json::to_vec(&cursor).map_err(|error| Refusal::Internal(error.to_string()))?;
        let sealed = call.app.keys.ring(Purpose::Sealing).seal(call.app.clock.now(), &context, &position);
        let token = sealed.map_err(|error| Refusal::Internal(error.to_string()))?;
        page.insert("next_page_token".to_owned(), json!(token));
    }
    Ok(page)
}

async fn opened(call: &Call<'_>, context: &str, token: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    let Some(token) = token else { return Ok(None) };
    let refuse = || Malformed::new("page_token", "is not one that was issued to you for this request");
    let ring = call.app.keys.ring_for(Purpose::Sealing, token).await;
    let position = ring.open(context, token).map_err(|_| refuse())?;
    Ok(Some(serde_json::from_slice(&position).map_err(|_| refuse())?))
}

/// The next traces after the cursor over all places, in order, each with the place it is of; and whether these are
/// all that are left.
async fn candidates(
    readers: &[Reader<'_>],
    search: &Search,
    cursor: Option<&Cursor>,
) -> Result<(Vec<(usize, Cursor)>, bool), Refusal> {
    let mut found: Vec<(usize, Cursor)> = Vec::new();
    let mut all = true;
    for (index, reader) in readers.iter().enumerate() {
        let (statement, parameters) = statement(&reader.place, search, cursor);
        let rows = reader.rows(&statement, &parameters).await?;
        all &= rows.len() < AT_ONCE;
        for row in rows {
            let trace = row.get("trace_id").and_then(Value::as_str);
            let nanos = row.get("started").and_then(Value::as_i64);
            if let (Some(trace), Some(nanos)) = (trace, nanos) {
                found.push((index, Cursor { nanos, trace: trace.to_owned() }));
            }
        }
    }
    let order = |one: &Cursor, other: &Cursor| -> Ordering {
        let ascending = (one.nanos, &one.trace).cmp(&(other.nanos, &other.trace));
        if search.descending { ascending.reverse() } else { ascending }
    };
    found.sort_by(|one, other| order(&one.1, &other.1));
    // A root span that was sent twice is one trace.
    found.dedup_by(|later, first| (later.0, &later.1.trace) == (first.0, &first.1.trace));
    if found.len() > AT_ONCE {
        found.truncate(AT_ONCE);
        all = false;
    }
    Ok((found, all))
}

/// The root spans of a place from the cursor on, as far as SQL can filter them.
fn statement(place: &Place, search: &Search, cursor: Option<&Cursor>) -> (String, Vec<Parameter>) {
    let spans = place.quoted(Part::Spans);
    let (after, direction) = if search.descending { ("<", "DESC") } else { (">", "ASC") };
    let mut wheres = vec!["(parent_span_id IS NULL OR parent_span_id = '')".to_owned()];
    let mut parameters = Vec::new();
    if let Some(Cursor { nanos, trace }) = cursor {
        // The trace was read from the table, where anything may have been written: it is a parameter.
        parameters.push(parameter("after_trace", trace));
        wheres.push(format!(
            "(start_time_unix_nano {after} {nanos} OR \
             (start_time_unix_nano = {nanos} AND trace_id {after} :after_trace))"
        ));
    }
    for (index, clause) in search.clauses.iter().enumerate() {
        if let Some(narrower) = narrower(place, clause, index, &mut parameters) {
            wheres.push(narrower);
        }
    }
    let statement = format!(
        "SELECT trace_id, start_time_unix_nano AS started FROM {spans} WHERE {} \
         ORDER BY started {direction}, trace_id {direction} LIMIT {AT_ONCE}",
        wheres.join(" AND ")
    );
    (statement, parameters)
}

fn parameter(name: &str, value: &str) -> Parameter {
    Parameter { name: name.to_owned(), value: Some(value.to_owned()), sql_type: None }
}

/// What of a clause SQL decides: nothing that it lets through is wrong unless `matches` lets it through too, except
/// for spans, of which SQL alone decides.
fn narrower(place: &Place, clause: &Clause, index: usize, parameters: &mut Vec<Parameter>) -> Option<String> {
    let spans = place.quoted(Part::Spans);
    let (entity, name) = clause.key.split_once('.')?;
    let value = clause.values.first().map(String::as_str);
    let named = format!("value_{index}");
    match (entity, name, value) {
        ("attribute", "timestamp_ms", Some(value)) => {
            let millis = value.parse::<i64>().ok()?;
            let (from, to) = (millis.checked_mul(1_000_000)?, millis.checked_add(1)?.checked_mul(1_000_000)?);
            Some(match clause.comparison {
                Comparison::Greater => format!("start_time_unix_nano >= {to}"),
                Comparison::GreaterOrEqual => format!("start_time_unix_nano >= {from}"),
                Comparison::Less => format!("start_time_unix_nano < {from}"),
                Comparison::LessOrEqual => format!("start_time_unix_nano < {to}"),
                Comparison::Equal => {
                    format!("start_time_unix_nano >= {from} AND start_time_unix_nano < {to}")
                }
                _ => return None,
            })
        }
        ("tag", key, Some(value))
            if clause.comparison == Comparison::Equal
                && place.version() == Version::V2
                && !key.starts_with("mlflow.") =>
        {
            parameters.push(parameter(&named, &Value::from(value).to_string()));
            parameters.push(parameter(&format!("key_{index}"), key));
            Some(format!(
                "trace_id IN (SELECT target_id FROM {} WHERE annotation_type = 'TAG' AND name = :key_{index} \
                 AND value = :{named})",
                place.quoted(Part::Annotations)
            ))
        }
        ("span", field, value) => {
            let comparison = match clause.comparison {
                Comparison::Equal => "=",
                Comparison::NotEqual => "!=",
                Comparison::Like => "LIKE",
                Comparison::ILike => "ILIKE",
                _ => return None,
            };
            let column = match field {
                "name" => "name",
                "status" => "replace(status['code'], 'STATUS_CODE_', '')",
                "content" => "CAST(attributes AS STRING)",
                _ => return None,
            };
            parameters.push(parameter(&named, value?));
            Some(format!("trace_id IN (SELECT trace_id FROM {spans} WHERE {column} {comparison} :{named})"))
        }
        _ => None,
    }
}

/// The heads of traces, by place and trace.
async fn heads(
    readers: &[Reader<'_>],
    candidates: &[(usize, Cursor)],
) -> Result<BTreeMap<(usize, String), Found>, Refusal> {
    let mut heads = BTreeMap::new();
    for (index, reader) in readers.iter().enumerate() {
        let of_place = candidates.iter().filter(|(place, _)| *place == index);
        // What is no trace id was not written by us, and is not shown.
        let hexes: Vec<String> = of_place
            .map(|(_, at)| at.trace.clone())
            .filter(|trace| super::place::trace_hex(trace, "trace_id").is_ok())
            .collect();
        let mut notes = reader.notes(&hexes).await?;
        let mut roots = reader.spans(&hexes, true).await?;
        for hex in hexes {
            let found = Found {
                notes: notes.remove(&hex).unwrap_or_default(),
                spans: roots.remove(&hex).unwrap_or_default(),
            };
            heads.insert((index, hex), found);
        }
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(body: Value) -> Result<Search, Refusal> {
        Search::of(body.as_object().unwrap())
    }

    const PLACE: &str =
        r#"{"uc_table_prefix": {"catalog_name": "m", "schema_name": "a", "table_prefix": "b"}}"#;

    fn asked(filter: &str) -> Value {
        json!({"locations": [serde_json::from_str::<Value>(PLACE).unwrap()], "filter": filter})
    }

    #[test]
    fn an_experiment_is_asked_of_itself() {
        let body = json!({"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}]});
        let refused = search(body).err().unwrap().to_string();
        assert!(refused.contains("locations not yet supported"), "{refused}");
    }

    #[test]
    fn values_of_a_filter_never_stand_in_the_statement() {
        let filter = "tag.team = 'x; DROP TABLE y' AND span.name LIKE '%secret%' AND timestamp > 5";
        let search = search(asked(filter)).unwrap();
        let cursor = Cursor { nanos: 7, trace: "' OR 1=1 --".to_owned() };
        let (statement, parameters) = statement(&search.places[0], &search, Some(&cursor));
        for value in ["DROP", "secret", "OR 1=1"] {
            assert!(!statement.contains(value), "{statement}");
            assert!(parameters.iter().any(|parameter| parameter.value.as_deref().unwrap().contains(value)));
        }
        assert!(statement.contains("start_time_unix_nano >= 6000000"), "{statement}");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for body in [
            json!({}),
            json!({"locations": []}),
            json!({"locations": ["m.a"]}),
            asked("status = 'OK' OR status = 'ERROR'"),
            asked("status RLIKE '.*'"),
            asked("attributes.unknown = 'x'"),
        ] {
            assert!(search(body.clone()).is_err(), "{body}");
        }
        for (order, wanted) in [
            (json!([]), Some(true)),
            (json!(["timestamp DESC"]), Some(true)),
            (json!(["timestamp_ms ASC"]), Some(false)),
            (json!(["timestamp"]), Some(false)),
            (json!(["execution_time"]), None),
        ] {
            let mut body = asked("");
            body["order_by"] = order.clone();
            assert_eq!(search(body).ok().map(|search| search.descending), wanted, "{order}");
        }
    }
}
