//! Parameters, from where MLflow's server reads them: the query of a GET, else the JSON body. A DELETE without a body may
//! have them in its query; with both, it is not clear what is meant, and it is refused.

use serde_json::Value;

use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::wire::{Malformed, Method};

/// The value of a parameter; null and the empty string are values.
fn value(call: &Call<'_>, name: &str) -> Result<Option<Value>, Refusal> {
    let in_query = call.head.query.one(name)?.map(|text| Value::String(text.to_owned()));
    let body = call.json.as_ref().filter(|object| !object.is_empty());
    match (call.head.method, body) {
        (Method::Get | Method::Head, _) => Ok(in_query),
        (Method::Delete, None) => Ok(in_query),
        (Method::Delete, Some(_)) if in_query.is_some() => {
            Err(Malformed::new(name, "is given in the query while there is a body").into())
        }
        (_, body) => Ok(body.and_then(|object| object.get(name)).cloned()),
    }
}

fn required(call: &Call<'_>, name: &str) -> Result<Value, Refusal> {
    value(call, name)?.ok_or_else(|| Malformed::new(name, "is missing").into())
}

pub(super) fn text(call: &Call<'_>, name: &str) -> Result<String, Refusal> {
    match required(call, name)? {
        Value::String(text) => Ok(text),
        _ => Err(Malformed::new(name, "must be a string").into()),
    }
}

/// A text that may be absent or null.
pub(super) fn optional_text(call: &Call<'_>, name: &str) -> Result<Option<String>, Refusal> {
    match value(call, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::new(name, "must be a string or null").into()),
    }
}

/// A number, which clients also send as text.
pub(super) fn number(call: &Call<'_>, name: &str) -> Result<i64, Refusal> {
    let number = match required(call, name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Malformed::new(name, "must be an integer").into())
}

pub(super) fn truth(call: &Call<'_>, name: &str) -> Result<bool, Refusal> {
    match required(call, name)? {
        Value::Bool(truth) => Ok(truth),
        _ => Err(Malformed::new(name, "must be true or false").into()),
    }
}
