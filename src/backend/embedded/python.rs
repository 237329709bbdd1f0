//! How Python writes values, which MLflow's messages hold.

use serde_json::Value;

/// `repr` of a `str`: in single quotes, or in double quotes where it holds single ones alone.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            _ if character.is_ascii_control() => out.push_str(&format!("\\x{:02x}", character as u32)),
            _ => out.push(character),
        }
    }
    out.push(quote);
    out
}

/// `repr` of `bytes`.
pub fn bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' if char::from(*byte) == quote => {
                out.push('\\');
                out.push(quote);
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

/// `repr` of a list of `str`.
pub fn repr_list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let items: Vec<String> = texts.into_iter().map(repr).collect();
    format!("[{}]", items.join(", "))
}

/// `repr` of a `float`: the shortest digits that read back the same, with a point or an exponent.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

/// `json.dumps` as messages quote what was sent: sorted keys, no blanks.
pub fn json(value: &Value) -> String {
    write_json(value, true, ",", ":")
}

/// `json.dumps` as it is by default: the keys in their order, blanks between.
pub fn json_spaced(value: &Value) -> String {
    write_json(value, false, ", ", ": ")
}

/// The same with sorted keys.
pub fn json_sorted_spaced(value: &Value) -> String {
    write_json(value, true, ", ", ": ")
}

fn write_json(value: &Value, sorted: bool, comma: &str, colon: &str) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|item| write_json(item, sorted, comma, colon)).collect();
            format!("[{}]", items.join(comma))
        }
        Value::Object(object) => {
            let mut pairs: Vec<(&String, &Value)> = object.iter().collect();
            if sorted {
                pairs.sort_by_key(|(key, _)| *key);
            }
            let pair = |(key, item): (&String, &Value)| {
                format!("{}{colon}{}", json_text(key), write_json(item, sorted, comma, colon))
            };
            let pairs: Vec<String> = pairs.into_iter().map(pair).collect();
            format!("{{{}}}", pairs.join(comma))
        }
        Value::String(text) => json_text(text),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => float(number),
            None => number.to_string(),
        },
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

/// `json.dumps` of a `str`.
pub fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
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
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_quoted_as_python_quotes_them() {
        assert_eq!(repr("a b"), "'a b'");
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("'\"\\\n\u{1}é"), "'\\'\"\\\\\\n\\x01é'");
        assert_eq!(bytes(b"it's\xb5\n\\"), "b\"it's\\xb5\\n\\\\\"");
        assert_eq!(repr_list(["a", "b"]), "['a', 'b']");
    }

    #[test]
    fn floats_have_a_point_or_an_exponent() {
        for (number, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-5.25, "-5.25"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn json_is_ascii_with_sorted_keys() {
        let value = json!({"b": [1, 2.0, null], "a": "é\u{1F600}\"\u{7f}"});
        assert_eq!(json(&value), r#"{"a":"\u00e9\ud83d\ude00\"\u007f","b":[1,2.0,null]}"#);
        assert_eq!(json_spaced(&json!({"b": [1, true], "a": {}})), r#"{"b": [1, true], "a": {}}"#);
    }
}
