//! Reading and changing JSON bodies by protobuf field names, in either of their two spellings.

use serde_json::{Map, Value};

use crate::wire::{Malformed, json};

/// The object at a path of fields; none if a step is missing.
pub(super) fn child<'a>(
    object: &'a Map<String, Value>,
    path: &[&str],
) -> Result<Option<&'a Map<String, Value>>, Malformed> {
    let mut current = object;
    for step in path {
        match json::field(current, step)? {
            None => return Ok(None),
            Some(Value::Object(next)) => current = next,
            Some(_) => return Err(Malformed::new(path.join("."), "must be an object")),
        }
    }
    Ok(Some(current))
}

/// As [`child`], to be changed.
pub(super) fn child_mut<'a>(
    object: &'a mut Map<String, Value>,
    path: &[&str],
) -> Result<Option<&'a mut Map<String, Value>>, Malformed> {
    let mut current = object;
    for step in path {
        json::field(current, step)?;
        let key = spelling(current, step);
        match current.get_mut(&key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(next)) => current = next,
            Some(_) => return Err(Malformed::new(path.join("."), "must be an object")),
        }
    }
    Ok(Some(current))
}

/// A text field; none if absent.
pub(super) fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Malformed> {
    match json::field(object, field)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::new(field, "must be a string")),
    }
}

/// A list of texts; empty if absent.
pub(super) fn texts(object: &Map<String, Value>, field: &str) -> Result<Vec<String>, Malformed> {
    let refuse = || Malformed::new(field, "must be a list of strings");
    match json::field(object, field)? {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            list.iter().map(|entry| entry.as_str().map(str::to_owned).ok_or_else(refuse)).collect()
        }
        Some(_) => Err(refuse()),
    }
}

/// The keys of a map field, or of a list of `{key, value}` pairs.
pub(super) fn keys_of_pairs(object: &Map<String, Value>, field: &str) -> Result<Vec<String>, Malformed> {
    let refuse = || Malformed::new(field, "must be a map or a list of key and value");
    match json::field(object, field)? {
        None => Ok(Vec::new()),
        Some(Value::Object(map)) => Ok(map.keys().cloned().collect()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|pair| pair.get("key").and_then(Value::as_str).map(str::to_owned).ok_or_else(refuse))
            .collect(),
        Some(_) => Err(refuse()),
    }
}

/// Sets a key in a map field, which is made when absent.
pub(super) fn set_in_map(
    object: &mut Map<String, Value>,
    field: &str,
    key: &str,
    value: &str,
) -> Result<(), Malformed> {
    json::field(object, field)?;
    let name = spelling(object, field);
    let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if map.is_null() {
        *map = Value::Object(Map::new());
    }
    let map = map.as_object_mut().ok_or_else(|| Malformed::new(field, "must be a map"))?;
    map.insert(key.to_owned(), Value::String(value.to_owned()));
    Ok(())
}

/// Sets a key in a list of `{key, value}` pairs, which is made when absent.
pub(super) fn set_in_pairs(
    object: &mut Map<String, Value>,
    field: &str,
    key: &str,
    value: &str,
) -> Result<(), Malformed> {
    json::field(object, field)?;
    let name = spelling(object, field);
    let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    let list = list.as_array_mut().ok_or_else(|| Malformed::new(field, "must be a list"))?;
    list.retain(|pair| pair.get("key").and_then(Value::as_str) != Some(key));
    list.push(serde_json::json!({ "key": key, "value": value }));
    Ok(())
}

/// Sets a text field in whichever spelling is there.
pub(super) fn set_text(object: &mut Map<String, Value>, field: &str, value: &str) -> Result<(), Malformed> {
    json::field(object, field)?;
    let name = spelling(object, field);
    object.insert(name, Value::String(value.to_owned()));
    Ok(())
}

/// How the object spells a field: its camelCase name if that is there, else its snake_case name.
fn spelling(object: &Map<String, Value>, field: &str) -> String {
    let camel = camel_case(field);
    if object.contains_key(&camel) { camel } else { field.to_owned() }
}

fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn both_spellings_are_read_and_changed_in_place() {
        let mut body = object(r#"{"traceInfo": {"traceMetadata": {"a": "b"}}}"#);
        let info = child_mut(&mut body, &["trace_info"]).unwrap().unwrap();
        set_in_map(info, "trace_metadata", "mlflow.user", "ann").unwrap();
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"traceInfo":{"traceMetadata":{"a":"b","mlflow.user":"ann"}}}"#
        );
    }

    #[test]
    fn a_field_in_two_spellings_is_refused() {
        let mut body = object(r#"{"trace_info": {}, "traceInfo": {}}"#);
        assert!(child(&body, &["trace_info"]).is_err());
        assert!(child_mut(&mut body, &["trace_info"]).is_err());
        assert!(set_in_map(&mut body, "trace_info", "k", "v").is_err());
    }

    #[test]
    fn pairs_are_replaced_not_doubled() {
        let mut body =
            object(r#"{"tags": [{"key": "mlflow.user", "value": "eve"}, {"key": "x", "value": "y"}]}"#);
        set_in_pairs(&mut body, "tags", "mlflow.user", "ann").unwrap();
        assert_eq!(keys_of_pairs(&body, "tags").unwrap(), ["x", "mlflow.user"]);
        assert_eq!(body["tags"][1]["value"], "ann");
    }
}
