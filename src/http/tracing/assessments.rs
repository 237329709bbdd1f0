//! Assessments of a trace in tables. A human's is by the caller, whatever the client says.

use serde_json::{Map, Value, json};

use super::annotation::{Annotation, Kind};
use super::place::Place;
use super::read::Reader;
use super::{access, info, time};
use crate::access::{AssessmentId, Privilege};
use crate::http::call::Call;
use crate::http::edit::{child, text};
use crate::http::error::Refusal;
use crate::http::handle::stamp_source;
use crate::http::own::{answered, sent};
use crate::http::trail::Trail;
use crate::wire::{Malformed, Reply, json as fields};

/// What of an assessment its annotation has no column for stands among its metadata, under these keys.
const KEPT: [(&str, &str); 4] = [
    ("span_id", "mlflow.span_id"),
    ("overrides", "mlflow.overrides"),
    ("valid", "mlflow.valid"),
    ("source", "mlflow.source"),
];
const ERROR: [&str; 3] = ["error_code", "error_message", "stack_trace"];
const FORMAT: &str = "mlflow.serialization_format";

pub(super) async fn create(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (place, trace) = info::trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    let mut body = sent(call).await?;
    info::agrees(&body, &place, &trace)?;
    let made = made(call, &mut body, &trace, time::next_micros(call.app.clock.now()))?;
    let needs = [(Privilege::Modify, place.table(place.notes()))];
    let (permit, objects) = access::tables(call, trail, &needs).await?;
    info::append(call, &permit, &place, &objects, std::slice::from_ref(&made)).await?;
    answered(&shown(&place, &made))
}

/// A new assessment, its source stamped.
pub(super) fn made(
    call: &Call<'_>,
    body: &mut Map<String, Value>,
    trace: &str,
    at: i64,
) -> Result<Annotation, Refusal> {
    stamp_source(body, &call.caller.principal.name)?;
    let id = format!("a-{}", uuid::Uuid::new_v4().simple());
    let by = call.caller.principal.to_string();
    let name = text(body, "assessment_name")?.unwrap_or_default();
    if name.is_empty() || name.len() > 250 {
        return Err(Malformed::new("assessment_name", "must have 1 to 250 bytes").into());
    }
    let mut made = Annotation::new(id, trace, Kind::Feedback, name, Value::Null, &by, at);
    merge(&mut made, body)?;
    body.insert("assessment_id".to_owned(), json!(made.id));
    Ok(made)
}

/// Takes over the fields that are there.
fn merge(made: &mut Annotation, body: &Map<String, Value>) -> Result<(), Refusal> {
    match (child(body, &["feedback"])?, child(body, &["expectation"])?) {
        (Some(_), Some(_)) => {
            return Err(Malformed::new("feedback", "comes with `expectation`: send one of them").into());
        }
        (Some(feedback), None) => {
            made.kind = Kind::Feedback;
            made.value = fields::field(feedback, "value")?.cloned().unwrap_or_default();
            let error = child(feedback, &["error"])?;
            for key in ERROR {
                let value = error.map(|error| fields::field(error, key)).transpose()?.flatten();
                set(&mut made.metadata, &format!("mlflow.error.{key}"), value.cloned());
            }
        }
        (None, Some(expectation)) => {
            made.kind = Kind::Expectation;
            let serialized = child(expectation, &["serialized_value"])?;
            made.value = match serialized {
                Some(serialized) => fields::field(serialized, "value")?.cloned().unwrap_or_default(),
                None => fields::field(expectation, "value")?.cloned().unwrap_or_default(),
            };
            let format = serialized.map(|serialized| fields::field(serialized, "serialization_format"));
            set(&mut made.metadata, FORMAT, format.transpose()?.flatten().cloned());
        }
        (None, None) if made.value.is_null() && made.created_at == made.updated_at => {
            return Err(Malformed::new("feedback", "or `expectation` is needed").into());
        }
        (None, None) => {}
    }
    if let Some(name) = text(body, "assessment_name")?.filter(|name| !name.is_empty()) {
        name.clone_into(&mut made.name);
    }
    if let Some(rationale) = text(body, "rationale")? {
        made.comment = Some(rationale.to_owned());
    }
    if let Some(metadata) = child(body, &["metadata"])? {
        made.metadata.retain(|key, _| is_ours(key));
        made.metadata
            .extend(metadata.iter().filter(|(key, _)| !is_ours(key)).map(|(k, v)| (k.clone(), v.clone())));
    }
    for (field, key) in KEPT {
        if let Some(value) = fields::field(body, field)? {
            set(&mut made.metadata, key, Some(value.clone()));
        }
    }
    if let Some(source) = child(body, &["source"])? {
        // As other readers of the table look for it.
        for key in ["source_type", "source_id"] {
            set(&mut made.metadata, &format!("mlflow.source.{key}"), fields::field(source, key)?.cloned());
        }
    }
    Ok(())
}

fn is_ours(key: &str) -> bool {
    KEPT.iter().any(|(_, ours)| *ours == key)
        || key == FORMAT
        || key.starts_with("mlflow.error.")
        || key.starts_with("mlflow.source.")
}

fn set(metadata: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => metadata.insert(key.to_owned(), value),
        None => metadata.remove(key),
    };
}

/// As clients read it.
pub(super) fn shown(place: &Place, made: &Annotation) -> Value {
    let kept = |key: &str| made.metadata.get(key).cloned();
    let mut shown = json!({
        "assessment_id": made.id, "assessment_name": made.name, "trace_id": made.trace,
        "trace_location": place.to_trace_location(),
        "create_time": time::timestamp(made.created_at), "last_update_time": time::timestamp(made.updated_at),
        "valid": kept("mlflow.valid").unwrap_or(json!(true)),
    });
    for (field, key) in KEPT {
        if let Some(value) = kept(key) {
            shown[field] = value;
        }
    }
    if let Some(rationale) = &made.comment {
        shown["rationale"] = json!(rationale);
    }
    let metadata: Map<String, Value> =
        made.metadata.iter().filter(|(key, _)| !is_ours(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !metadata.is_empty() {
        shown["metadata"] = Value::Object(metadata);
    }
    if made.kind == Kind::Expectation {
        shown["expectation"] = match kept(FORMAT) {
            Some(format) => {
                json!({"serialized_value": {"serialization_format": format, "value": made.value}})
            }
            None => json!({"value": made.value}),
        };
        return shown;
    }
    let mut feedback = json!({"value": made.value});
    let error: Map<String, Value> = ERROR
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), kept(&format!("mlflow.error.{key}"))?)))
        .collect();
    if !error.is_empty() {
        feedback["error"] = Value::Object(error);
    }
    shown["feedback"] = feedback;
    shown
}

/// The assessment in the path, and the fields to change. MLflow's client leaves out the `?` of its query when it has
/// no warehouse to name, so that its `update_mask` comes as part of the path.
fn named(call: &Call<'_>) -> Result<(AssessmentId, Option<String>), Refusal> {
    match call.param("assessment").split_once("&update_mask=") {
        Some((id, mask)) => Ok((AssessmentId::parse(id)?, Some(mask.to_owned()))),
        None => Ok((AssessmentId::parse(call.param("assessment"))?, None)),
    }
}

/// The assessment in the path, for who may read it.
async fn found(reader: &Reader<'_>, call: &Call<'_>, trace: &str) -> Result<Annotation, Refusal> {
    let (id, _) = named(call)?;
    let mut notes = reader.notes(&[trace.to_owned()]).await?;
    let made = notes.remove(trace).unwrap_or_default().assessments.into_iter();
    made.into_iter().find(|made| made.id == id.as_str()).ok_or_else(|| {
        let trace = reader.place.trace(trace);
        Refusal::NotFound(format!("assessment `{id}` of trace `{trace}` does not exist"))
    })
}

pub(super) async fn get(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (place, trace) = info::trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    let reader = Reader::open(call, trail, place).await?;
    let found = found(&reader, call, &trace).await?;
    answered(&shown(&reader.place, &found))
}

/// Changes the fields that `update_mask` names. It shows the whole assessment, so it takes reading too.
pub(super) async fn update(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    const FIELDS: [&str; 5] = ["assessment_name", "feedback", "expectation", "rationale", "metadata"];
    let mut body = sent(call).await?;
    let call = &*call;
    let (place, trace) = info::trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    info::agrees(&body, &place, &trace)?;
    let (id, in_path) = named(call)?;
    if text(&body, "assessment_id")?.is_some_and(|named| named != id.as_str()) {
        return Err(Malformed::new("assessment_id", "is not that of the path").into());
    }
    let mask = match (call.head.query.one("update_mask")?, &in_path) {
        (Some(_), Some(_)) => return Err(Malformed::new("update_mask", "may be sent once only").into()),
        (mask, in_path) => mask.or(in_path.as_deref()).unwrap_or_default(),
    };
    let mask: Vec<&str> = mask.split(',').filter(|field| !field.is_empty()).collect();
    if let Some(unknown) = mask.iter().find(|field| !FIELDS.contains(field)) {
        let problem = format!("has `{unknown}`; it may name {}", FIELDS.join(", "));
        return Err(Malformed::new("query parameter `update_mask`", problem).into());
    }
    body.retain(|field, _| mask.contains(&field.as_str()));
    let reader = Reader::open(call, trail, place.clone()).await?;
    let mut found = found(&reader, call, &trace).await?;
    found.updated_at = time::next_micros(call.app.clock.now()).max(found.updated_at + 1);
    found.updated_by = call.caller.principal.to_string();
    let kind = found.kind;
    merge(&mut found, &body)?;
    if found.kind != kind {
        return Err(
            Malformed::new("update_mask", "would make an expectation of feedback, or the reverse").into()
        );
    }
    write(call, trail, &place, &found).await?;
    answered(&shown(&place, &found))
}

pub(super) async fn delete(call: &mut Call<'_>, trail: &mut Trail) -> Result<Reply, Refusal> {
    let (place, trace) = info::trace(call)?;
    trail.named_traces([place.trace(&trace)]);
    let reader = Reader::open(call, trail, place.clone()).await?;
    let found = found(&reader, call, &trace).await?;
    let at = time::next_micros(call.app.clock.now()).max(found.updated_at + 1);
    let gone = found.deleted(&call.caller.principal.to_string(), at);
    write(call, trail, &place, &gone).await?;
    answered(&json!({}))
}

async fn write(call: &Call<'_>, trail: &mut Trail, place: &Place, row: &Annotation) -> Result<(), Refusal> {
    let needs = [(Privilege::Modify, place.table(place.notes()))];
    let (permit, objects) = access::tables(call, trail, &needs).await?;
    info::append(call, &permit, place, &objects, std::slice::from_ref(row)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_assessment_is_shown_as_it_was_sent() {
        let sent = object(json!({
            "assessment_name": "q", "span_id": "cd", "valid": true, "rationale": "because", "overrides": "a-1",
            "source": {"source_type": "CODE", "source_id": "default"}, "metadata": {"k": "v"},
            "feedback": {"value": {"score": 1.0}, "error": {"error_code": "E", "error_message": "m"}},
        }));
        let place = Place::parse("main.agents.bot", "p").unwrap();
        let mut made = Annotation::new(
            "a-2".to_owned(),
            &"ab".repeat(16),
            Kind::Feedback,
            "q",
            Value::Null,
            "user:ann",
            7,
        );
        merge(&mut made, &sent).unwrap();
        let shown = shown(&place, &made);
        for (field, value) in &sent {
            assert_eq!(shown.get(field), Some(value), "{field}");
        }
        assert_eq!(made.metadata["mlflow.source.source_type"], "CODE");
    }

    #[test]
    fn metadata_that_a_client_sends_cannot_stand_for_who_assessed() {
        let mut made =
            Annotation::new("a-2".to_owned(), &"ab".repeat(16), Kind::Feedback, "q", json!(1), "user:ann", 7);
        made.metadata.insert("mlflow.source.source_id".to_owned(), json!("ann"));
        let sent =
            object(json!({"metadata": {"mlflow.source.source_id": "eve", "mlflow.source": {}, "k": "v"}}));
        made.updated_at = 8;
        merge(&mut made, &sent).unwrap();
        assert_eq!(Value::Object(made.metadata), json!({"mlflow.source.source_id": "ann", "k": "v"}));
    }
}
