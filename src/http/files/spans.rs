//! `traces.json` as an export of spans.
//!
//! In the file, ids are base64 of bytes and each attribute's value is JSON in a string; in an export, ids are
//! hexadecimal and a value says its type. The spans of a file must all be of the trace that it is for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::access::TraceId;
use crate::wire::Malformed;

/// How deep values may be nested.
const DEEPEST: usize = 100;

/// The export of a file's spans; nothing if it has none.
pub(super) fn export(file: &[u8], trace: &TraceId, most: u64) -> Result<Option<Vec<u8>>, Malformed> {
    let refuse = |problem: &str| Malformed::new("body", problem);
    let file = crate::wire::json::parse_object(file)?;
    let Some(Value::Array(spans)) = file.get("spans") else {
        return Err(refuse("must be a JSON object with a list of `spans`"));
    };
    if spans.is_empty() {
        return Ok(None);
    }
    if spans.len() as u64 > most {
        return Err(refuse("has more spans than `limits.otlp_spans` allows"));
    }
    let own = trace.as_str().strip_prefix("tr-").unwrap_or(trace.as_str());
    let mut exported = Vec::with_capacity(spans.len());
    for given in spans {
        let given = given.as_object().ok_or_else(|| refuse("each span must be an object"))?;
        let span = span(given)?;
        if span["traceId"].as_str() != Some(own) {
            return Err(refuse("holds a span of another trace than the one that it is for"));
        }
        exported.push(span);
    }
    let export = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": exported }] }] });
    serde_json::to_vec(&export).map(Some).map_err(|error| refuse(&error.to_string()))
}

fn span(given: &Map<String, Value>) -> Result<Value, Malformed> {
    let mut span = Map::new();
    span.insert("traceId".to_owned(), id(given, "trace_id", 16)?.ok_or_else(|| missing("trace_id"))?.into());
    span.insert("spanId".to_owned(), id(given, "span_id", 8)?.ok_or_else(|| missing("span_id"))?.into());
    if let Some(parent) = id(given, "parent_span_id", 8)? {
        span.insert("parentSpanId".to_owned(), parent.into());
    }
    let name = given.get("name").and_then(Value::as_str).ok_or_else(|| missing("name"))?;
    span.insert("name".to_owned(), name.into());
    for (from, to) in
        [("start_time_unix_nano", "startTimeUnixNano"), ("end_time_unix_nano", "endTimeUnixNano")]
    {
        if let Some(time) = time(given, from)? {
            span.insert(to.to_owned(), time.into());
        }
    }
    let mut attributes = Vec::new();
    for (key, value) in object(given, "attributes")? {
        let value = match value {
            // JSON in a string, as the client keeps it.
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
            other => other.clone(),
        };
        attributes.push(json!({ "key": key, "value": any(&value, 0)? }));
    }
    span.insert("attributes".to_owned(), attributes.into());
    let mut events = Vec::new();
    for event in list(given, "events")? {
        let event = event.as_object().ok_or_else(|| missing("events"))?;
        let mut attributes = Vec::new();
        for (key, value) in object(event, "attributes")? {
            attributes.push(json!({ "key": key, "value": any(value, 0)? }));
        }
        events.push(json!({
            "name": event.get("name").and_then(Value::as_str).unwrap_or_default(),
            "timeUnixNano": time(event, "time_unix_nano")?.unwrap_or_else(|| "0".to_owned()),
            "attributes": attributes,
        }));
    }
    span.insert("events".to_owned(), events.into());
    let mut links = Vec::new();
    for link in list(given, "links")? {
        let link = link.as_object().ok_or_else(|| missing("links"))?;
        let mut attributes = Vec::new();
        for (key, value) in object(link, "attributes")? {
            attributes.push(json!({ "key": key, "value": any(value, 0)? }));
        }
        links.push(json!({
            "traceId": linked(link, "trace_id", 16)?,
            "spanId": linked(link, "span_id", 8)?,
            "attributes": attributes,
        }));
    }
    span.insert("links".to_owned(), links.into());
    let status = object(given, "status")?;
    let code = match status.get("code").and_then(Value::as_str) {
        Some("STATUS_CODE_OK" | "OK") => 1,
        Some("STATUS_CODE_ERROR" | "ERROR") => 2,
        _ => 0,
    };
    let message = status.get("message").and_then(Value::as_str).unwrap_or_default();
    span.insert("status".to_owned(), json!({ "code": code, "message": message }));
    Ok(Value::Object(span))
}

fn missing(field: &str) -> Malformed {
    Malformed::new(format!("spans[].{field}"), "is missing or has the wrong type")
}

/// An id in hexadecimal; nothing for none, which is also written as zeros.
fn id(given: &Map<String, Value>, field: &str, bytes: usize) -> Result<Option<String>, Malformed> {
    let text = match given.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(missing(field)),
    };
    let decoded = STANDARD.decode(text).map_err(|_| missing(field))?;
    if decoded.len() != bytes {
        return Err(missing(field));
    }
    Ok(decoded.iter().any(|byte| *byte != 0).then(|| hex::encode(decoded)))
}

/// An id of a link, which clients write as they have it: hexadecimal, perhaps behind `tr-`, or base64.
fn linked(given: &Map<String, Value>, field: &str, bytes: usize) -> Result<String, Malformed> {
    let text = given.get(field).and_then(Value::as_str).ok_or_else(|| missing(field))?;
    let plain = text.strip_prefix("tr-").or_else(|| text.strip_prefix("0x")).unwrap_or(text);
    if plain.len() == 2 * bytes && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(plain.to_ascii_lowercase());
    }
    id(given, field, bytes)?.ok_or_else(|| missing(field))
}

fn time(given: &Map<String, Value>, field: &str) -> Result<Option<String>, Malformed> {
    match given.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            number.as_u64().map(|nanoseconds| Some(nanoseconds.to_string())).ok_or_else(|| missing(field))
        }
        Some(_) => Err(missing(field)),
    }
}

fn object<'g>(given: &'g Map<String, Value>, field: &str) -> Result<&'g Map<String, Value>, Malformed> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match given.get(field) {
        None | Some(Value::Null) => Ok(&EMPTY),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(missing(field)),
    }
}

fn list<'g>(given: &'g Map<String, Value>, field: &str) -> Result<&'g [Value], Malformed> {
    match given.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(missing(field)),
    }
}

/// A value that says its type.
fn any(value: &Value, depth: usize) -> Result<Value, Malformed> {
    if depth > DEEPEST {
        return Err(Malformed::new("spans[].attributes", "are nested too deeply"));
    }
    Ok(match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => json!({ "intValue": integer.to_string() }),
            (None, Some(float)) => json!({ "doubleValue": float }),
            (None, None) => json!({ "stringValue": number.to_string() }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(items) => {
            let values = items.iter().map(|item| any(item, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            json!({ "arrayValue": { "values": values } })
        }
        Value::Object(object) => {
            let mut values = Vec::with_capacity(object.len());
            for (key, item) in object {
                values.push(json!({ "key": key, "value": any(item, depth + 1)? }));
            }
            json!({ "kvlistValue": { "values": values } })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "tr-399bad40ff10d344839f0aae2d33dbea";

    fn file(trace: &str) -> Vec<u8> {
        let attributes =
            json!({ "mlflow.spanInputs": "{\"x\": 1}", "mlflow.spanOutputs": "2", "plain": "not json" });
        json!({ "spans": [{
            "trace_id": trace, "span_id": "5rghiPWBJNQ=", "parent_span_id": null, "name": "f",
            "start_time_unix_nano": 1_795_322_687_276_265_780_u64, "end_time_unix_nano": null,
            "events": [], "status": { "code": "STATUS_CODE_OK", "message": "" }, "attributes": attributes, "links": [],
        }] })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn a_file_becomes_an_export_of_the_same_spans() {
        let trace = TraceId::parse(TRACE).unwrap();
        let exported = export(&file("OZutQP8Q00SDnwquLTPb6g=="), &trace, 10).unwrap().unwrap();
        let exported: Value = serde_json::from_slice(&exported).unwrap();
        let span = &exported["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "399bad40ff10d344839f0aae2d33dbea");
        assert_eq!((&span["spanId"], &span["status"]["code"]), (&json!("e6b82188f58124d4"), &json!(1)));
        assert_eq!(span["startTimeUnixNano"], "1795322687276265780");
        assert_eq!(span["attributes"][0]["value"]["kvlistValue"]["values"][0]["value"]["intValue"], "1");
        assert_eq!(span["attributes"][1]["value"]["intValue"], "2");
        assert_eq!(span["attributes"][2]["value"]["stringValue"], "not json");
    }

    #[test]
    fn spans_of_another_trace_and_broken_ones_are_refused() {
        let trace = TraceId::parse(TRACE).unwrap();
        let foreign = export(&file("tN+3x47jwcc4DMZbXZr7WA=="), &trace, 10).unwrap_err();
        assert!(foreign.to_string().contains("another trace"), "{foreign}");
        assert!(export(&file("OZut"), &trace, 10).is_err());
        assert!(export(&file("OZutQP8Q00SDnwquLTPb6g=="), &trace, 0).is_err());
        assert!(export(b"{\"spans\": 1}", &trace, 10).is_err() && export(b"[]", &trace, 10).is_err());
        assert_eq!(export(b"{\"spans\": []}", &trace, 10), Ok(None));
    }
}
