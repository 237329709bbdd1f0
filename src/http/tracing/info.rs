//! The head of a trace: written as the client sends it, read from what is said of the trace and from its root span.

use serde_json::{Map, Value, json};

use super::annotation::{self, Annotation, Kind};
use super::place::{Place, trace_hex};
use super::read::{Found, Reader};
use super::{access, assessments, runs, time};
use crate::access::Privilege;
use crate::classify::reserved;
use crate::http::call::Call;
use crate::http::edit::{self, child, text};
use crate::http::error::Refusal;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::wire::{Malformed, Reply};

/// Traces that one call asks for by id.
const MOST_TRACES: usize = 1000;
/// Characters of inputs and outputs that a head shows when nobody said what to show.
const PREVIEW: usize = 1000;
/// Fields of a head that are kept as they came.
const HEAD: [&str; 7] = [
    "client_request_id",
    "request_preview",
    "response_preview",
    "request_time",
    "execution_duration",
    "state",
    "trace_metadata",
];

/// The place in the path.
pub(super) fn place(call: &Call<'_>) -> Result<Place, Refusal> {
    Ok(Place::parse(call.param("location"), "path")?)
}

/// The place and the trace in the path.
pub(super) fn trace(call: &Call<'_>) -> Result<(Place, String), Refusal> {
    Ok((place(call)?, trace_hex(call.param("trace"), "path")?.to_owned()))
}

/// Refuses a body that names another trace or place than the path.
pub(super) fn agrees(body: &Map<String, Value>, place: &Place, trace: &str) -> Result<(), Refusal> {
    if text(body, "trace_id")?.is_some_and(|id| id != trace && id != place.trace(trace)) {
        return Err(Malformed::new("trace_id", "is not that of the path").into());
    }
    if let Some(location) = child(body, &["trace_location"])?
        && Place::of_json(location)?.as_ref() != Some(place)
    {
        return Err(Malformed::new("trace_location", "is not that of the path").into());
    }
    Ok(())
}

pub(super) async fn create(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (place, trace) = trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    let mut info = sent(call).await?;
    agrees(&info, &place, &trace)?;
    for key in edit::keys_of_pairs(&info, "tags")? {
        if reserved::reserved_trace_tag(&key) {
            return Err(Refusal::Denied(format!("tag `{key}` is reserved and cannot be set by clients")));
        }
    }
    for key in edit::keys_of_pairs(&info, "trace_metadata")? {
        if reserved::reserved_trace_metadata(&key) {
            return Err(Refusal::Denied(format!(
                "metadata `{key}` is reserved and cannot be set by clients"
            )));
        }
    }
    runs::may_name(call, &info).await?;
    let author = call.caller.principal.name.clone();
    edit::set_in_map(&mut info, "trace_metadata", "mlflow.user", &author)?;
    let at = time::next_micros(call.app.clock.now());
    let by = call.caller.principal.to_string();
    let mut rows = vec![head(&info, &trace, &by, at)?];
    if let Some(tags) = child(&info, &["tags"])? {
        for (key, value) in tags {
            let value = value.as_str().ok_or_else(|| Malformed::new("tags", "must hold texts"))?;
            rows.push(Annotation::only(&trace, Kind::Tag, key, json!(value), &by, at));
        }
    }
    if let Some(list) = info.get_mut("assessments").and_then(Value::as_array_mut) {
        for assessment in list {
            let Value::Object(assessment) = assessment else {
                return Err(Malformed::new("assessments", "must hold objects").into());
            };
            rows.push(assessments::made(call, assessment, &trace, at)?);
        }
    }
    let (permit, objects) =
        access::tables(call, trail, &[(Privilege::Modify, place.table(place.notes()))]).await?;
    append(call, &permit, &place, &objects, &rows).await?;
    // What it says was sent by the caller, so it shows nothing to who may not read.
    info.insert("trace_id".to_owned(), json!(trace));
    info.insert("trace_location".to_owned(), place.to_trace_location());
    answered(&info)
}

/// The head as an annotation, its times proved to be times.
fn head(info: &Map<String, Value>, trace: &str, by: &str, at: i64) -> Result<Annotation, Refusal> {
    if let Some(time) = text(info, "request_time")? {
        time::micros(time, "request_time")?;
    }
    if let Some(duration) = text(info, "execution_duration")? {
        time::nanos(duration, "execution_duration")?;
    }
    let mut value = Map::new();
    for field in HEAD {
        if let Some(found) = crate::wire::json::field(info, field)? {
            value.insert(field.to_owned(), found.clone());
        }
    }
    Ok(Annotation::only(trace, Kind::Metadata, "trace", Value::Object(value), by, at))
}

/// Appends annotations to the table that they lie in; the object comes last in `objects`.
pub(super) async fn append(
    call: &Call<'_>,
    permit: &crate::policy::Permit,
    place: &Place,
    objects: &[crate::store::CatalogObject],
    rows: &[Annotation],
) -> Result<(), Refusal> {
    let object = objects.last().ok_or_else(|| Refusal::Internal("no table was asked for".to_owned()))?;
    let batch = annotation::rows(place, rows)?;
    call.app.lake.append(permit, access::location(object)?, batch).await?;
    Ok(())
}

pub(super) async fn get(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (place, trace) = trace(call)?;
    agrees_in_query(call, &place, &trace)?;
    trail.named_traces([place.trace(&trace)]);
    let reader = Reader::open(call, trail, place).await?;
    let found = reader.traces(std::slice::from_ref(&trace)).await?;
    let Some((hex, found)) = found.first() else {
        return Err(Refusal::NotFound(format!("trace `{}` does not exist", reader.place.trace(&trace))));
    };
    answered(&json!({"trace": {"trace_info": info(&reader.place, hex, found)}}))
}

fn agrees_in_query(call: &Call<'_>, place: &Place, trace: &str) -> Result<(), Refusal> {
    if call.head.query.one("trace_id")?.is_some_and(|id| id != trace) {
        return Err(Malformed::new("query parameter `trace_id`", "is not that of the path").into());
    }
    for name in ["location", "location_id"] {
        if let Some(named) = call.head.query.one(name)?
            && Place::parse(named, name)? != *place
        {
            return Err(Malformed::new(format!("query parameter `{name}`"), "is not that of the path").into());
        }
    }
    Ok(())
}

pub(super) async fn batch(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let place = place(call)?;
    if call
        .head
        .query
        .one("location_id")?
        .is_some_and(|named| Place::parse(named, "location_id").ok() != Some(place.clone()))
    {
        return Err(Malformed::new("query parameter `location_id`", "is not that of the path").into());
    }
    let mut hexes: Vec<String> = Vec::new();
    for id in call.head.query.all("trace_ids") {
        let hex = trace_hex(id, "query parameter `trace_ids`")?.to_owned();
        if !hexes.contains(&hex) {
            hexes.push(hex);
        }
    }
    if hexes.is_empty() || hexes.len() > MOST_TRACES {
        let problem = format!("must name between 1 and {MOST_TRACES} traces");
        return Err(Malformed::new("query parameter `trace_ids`", problem).into());
    }
    trail.named_traces(hexes.iter().map(|hex| place.trace(hex)));
    let reader = Reader::open(call, trail, place).await?;
    let version = reader.place.version();
    let found = reader.traces(&hexes).await?;
    let traces: Vec<Value> = found
        .iter()
        .map(|(hex, found)| {
            let spans: Vec<Value> = found.spans.iter().map(|span| span.to_json(version)).collect();
            json!({"trace_info": info(&reader.place, hex, found), "spans": spans})
        })
        .collect();
    answered(&json!({"traces": traces}))
}

/// A trace's head, from what is said of it and from its spans.
pub(super) fn info(place: &Place, trace: &str, found: &Found) -> Map<String, Value> {
    let mut info = match found.notes.head.as_ref().map(|head| &head.value) {
        Some(Value::Object(head)) => head
            .iter()
            .filter(|(key, _)| HEAD.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        _ => Map::new(),
    };
    let root = found.spans.iter().find(|span| span.is_root);
    let mut put = |key: &str, value: Value| {
        info.entry(key.to_owned()).or_insert(value);
    };
    if let Some(root) = root {
        put("request_time", json!(time::timestamp(root.start_nanos / 1000)));
        put("execution_duration", json!(time::duration(root.end_nanos - root.start_nanos)));
        let state = match root.status.as_str() {
            "STATUS_CODE_ERROR" => "ERROR",
            _ => "OK",
        };
        put("state", json!(state));
        for (field, key) in
            [("request_preview", "mlflow.spanInputs"), ("response_preview", "mlflow.spanOutputs")]
        {
            if let Some(value) = root.attributes.get(key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                put(field, json!(text.chars().take(PREVIEW).collect::<String>()));
            }
        }
    } else {
        let started = found.spans.iter().map(|span| span.start_nanos).min();
        let said = found.notes.head.as_ref().map_or(0, |head| head.created_at);
        put("request_time", json!(time::timestamp(started.map_or(said, |nanos| nanos / 1000))));
        put("state", json!("IN_PROGRESS"));
    }
    put("trace_metadata", json!({}));
    let mut tags: Map<String, Value> =
        found.notes.tags.iter().map(|(key, tag)| (key.clone(), tag.value.clone())).collect();
    if let Some(root) = root {
        tags.entry("mlflow.traceName".to_owned()).or_insert_with(|| json!(root.name));
    }
    info.insert("trace_id".to_owned(), json!(trace));
    info.insert("trace_location".to_owned(), place.to_trace_location());
    info.insert("tags".to_owned(), Value::Object(tags));
    let assessments: Vec<Value> =
        found.notes.assessments.iter().map(|made| assessments::shown(place, made)).collect();
    info.insert("assessments".to_owned(), json!(assessments));
    info
}
