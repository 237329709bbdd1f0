//! JSON within texts, as Python writes it: clients compare and hash these texts.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::backend::embedded::filter::python_text;

/// What `json.dumps` writes.
pub fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write(value, false, &mut text);
    text
}

/// What `json.dumps` writes with `sort_keys`.
pub fn dumps_sorted(value: &Value) -> String {
    let mut text = String::new();
    write(value, true, &mut text);
    text
}

fn write(value: &Value, sorted: bool, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&float_text(float)),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(item, sorted, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<(&String, &Value)> = object.iter().collect();
            if sorted {
                entries.sort_by_key(|(key, _)| *key);
            }
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                quote(key, out);
                out.push_str(": ");
                write(value, sorted, out);
            }
            out.push('}');
        }
    }
}

/// ASCII only; what is beyond is escaped in UTF-16.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a text cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// A float as Python prints it: the fewest digits that read back the same, in exponential form where it is
/// very large or small.
pub fn float_text(float: f64) -> String {
    let exponential = format!("{float:e}");
    let Some((digits, exponent)) = exponential.split_once('e') else { return exponential };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The name of a value's type.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// A list of texts as Python prints it.
pub fn list_text<T: AsRef<str>>(texts: &[T]) -> String {
    let printed: Vec<String> = texts.iter().map(|text| python_text(text.as_ref())).collect();
    format!("[{}]", printed.join(", "))
}

/// Reads the JSON object that a text parameter holds.
pub fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = json!({"b": [1, 2.0, 1e16, 1e-5, 0.0001, -0.5, 1.5e300], "a": "é\"\n😀\u{7f}", "c": {}});
        assert_eq!(
            dumps(&value),
            r#"{"b": [1, 2.0, 1e+16, 1e-05, 0.0001, -0.5, 1.5e+300], "a": "\u00e9\"\n\ud83d\ude00\u007f", "c": {}}"#
        );
        assert_eq!(
            dumps_sorted(&json!({"b": {"d": 1, "c": 2}, "a": null})),
            r#"{"a": null, "b": {"c": 2, "d": 1}}"#
        );
        assert_eq!(list_text(&["a", "it's"]), r#"['a', "it's"]"#);
    }
}
