//! The fields of objects that lie in lists of a body, as protobuf reads them: an absent text is empty.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::request::{Request, integer, wrong_type};
use crate::wire::json;

/// An object of a list, and what messages call it.
type Named<'v> = (String, &'v Map<String, Value>);

/// The objects of a list of the body, each with what messages call it: `tags[0]`.
pub fn objects<'r>(request: &'r Request, name: &str) -> Result<Vec<Named<'r>>, Problem> {
    list(request.list(name)?, name)
}

/// The same of a list inside an object of a list.
pub fn objects_in<'v>(
    object: &'v Map<String, Value>,
    path: &str,
    name: &str,
) -> Result<Vec<Named<'v>>, Problem> {
    let path = format!("{path}.{name}");
    match field(object, name)? {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => list(items, &path),
        Some(other) => Err(wrong_type(&path, other)),
    }
}

fn list<'v>(items: &'v [Value], name: &str) -> Result<Vec<Named<'v>>, Problem> {
    let named = items.iter().enumerate().map(|(index, item)| (format!("{name}[{index}]"), item));
    named
        .map(|(path, item)| match item {
            Value::Object(object) => Ok((path, object)),
            other => Err(wrong_type(&path, other)),
        })
        .collect()
}

/// A field of such an object, in either spelling (`model_id`, `modelId`), if it is there and not null.
pub fn field<'v>(object: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Value>, Problem> {
    json::field(object, name).map_err(|error| Problem::invalid(error.to_string()))
}

/// A text of such an object, if it is there.
pub fn text<'v>(object: &'v Map<String, Value>, path: &str, name: &str) -> Result<Option<&'v str>, Problem> {
    match field(object, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(&format!("{path}.{name}"), other)),
    }
}

/// A whole number of such an object, if it is there.
pub fn whole(object: &Map<String, Value>, path: &str, name: &str) -> Result<Option<i64>, Problem> {
    match field(object, name)? {
        None => Ok(None),
        Some(value) => integer(value).map(Some).ok_or_else(|| wrong_type(&format!("{path}.{name}"), value)),
    }
}

/// A number of JSON, where texts say what JSON's numbers cannot: `"NaN"`, `"Infinity"`.
pub fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text != "nan" => text.parse().ok(),
        _ => None,
    }
}

/// The keys and values of a list of tags.
pub fn pairs(request: &Request, name: &str) -> Result<Vec<(String, String)>, Problem> {
    let pair = |(path, object): (String, &Map<String, Value>)| {
        let part = |name| Ok::<_, Problem>(text(object, &path, name)?.unwrap_or_default().to_owned());
        Ok((part("key")?, part("value")?))
    };
    objects(request, name)?.into_iter().map(pair).collect()
}

/// The first key that a list of pairs has twice.
pub fn doubled(pairs: &[(String, String)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    pairs.iter().find(|(key, _)| !seen.insert(key.as_str())).map(|(key, _)| key.as_str())
}
