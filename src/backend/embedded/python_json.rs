//! JSON as Python's `json.dumps` writes it, character for character: spans keep such texts, and filters
//! compare with them.

use serde_json::Value;

use super::python;

/// A value with `, ` and `: ` between its parts, and letters of all scripts as they are.
pub fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => match (number.is_f64(), number.as_f64()) {
            (true, Some(float)) => write_float(float, out),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_list(items, out, write),
        Value::Object(map) => {
            write_object(map.iter().map(|(key, value)| (key.as_str(), value)), out, write);
        }
    }
}

/// A list, each of whose items `item` writes.
pub fn write_list<T>(items: &[T], out: &mut String, item: impl Fn(&T, &mut String)) {
    out.push('[');
    for (index, value) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        item(value, out);
    }
    out.push(']');
}

/// An object, each of whose values `item` writes.
pub fn write_object<'k, T>(
    entries: impl Iterator<Item = (&'k str, T)>,
    out: &mut String,
    item: impl Fn(T, &mut String),
) {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_text(key, out);
        out.push_str(": ");
        item(value, out);
    }
    out.push('}');
}

pub fn write_text(text: &str, out: &mut String) {
    // The escapes of both are the same.
    out.push_str(&Value::String(text.to_owned()).to_string());
}

/// A float as Python's `repr` has it: `2.5e-05`, `1e+16`, `3.0`; not a number is `NaN`.
pub fn write_float(float: f64, out: &mut String) {
    if !float.is_finite() {
        let infinite = if float > 0.0 { "Infinity" } else { "-Infinity" };
        return out.push_str(if float.is_nan() { "NaN" } else { infinite });
    }
    out.push_str(&python::float(float));
}

/// The same JSON in ASCII, as `json.dumps` writes it unless told otherwise.
pub fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// Bytes as Python shows them: `b'\x00a'`.
pub fn shown_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut shown = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            b'\'' if quote == '\'' => shown.push_str("\\'"),
            0x20..=0x7e => shown.push(char::from(byte)),
            _ => shown.push_str(&format!("\\x{byte:02x}")),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_those_of_python() {
        let value = json!({"a": [1, null, true, "é\n\"\u{1}\u{7f}"], "b": {}, "c": []});
        assert_eq!(
            dumps(&value),
            "{\"a\": [1, null, true, \"é\\n\\\"\\u0001\u{7f}\"], \"b\": {}, \"c\": []}"
        );
        for (float, text) in [
            (3.0, "3.0"),
            (0.1, "0.1"),
            (2.5e-05, "2.5e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e300, "1.5e+300"),
            (-1e-7, "-1e-07"),
            (0.000_225_000_000_000_000_02, "0.00022500000000000002"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            write_float(float, &mut out);
            assert_eq!(out, text);
        }
        assert_eq!(ascii("\"é😀a\""), r#""\u00e9\ud83d\ude00a""#);
        assert_eq!(shown_bytes(b"\x00\xff'a\\"), r#"b"\x00\xff'a\\""#);
        assert_eq!(shown_bytes(b"'\""), r#"b'\'"'"#);
    }
}
