//! Strict JSON: one object, UTF-8, every key once, so that no two parsers read it differently.
//!
//! MLflow takes either spelling of a protobuf field (`trace_id`, `traceId`), and its server decodes a
//! body twice when it is a JSON string. Here a field has one spelling per request ([`field`]) and a body
//! is an object.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Malformed;

/// Deepest nesting that is read, the body itself counted.
const MAX_DEPTH: usize = 64;

/// Parses a request body that must be one JSON object. Refuses doubled keys at every depth. A body of
/// no bytes is the empty object, as MLflow's server reads it.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let refuse = |error: serde_json::Error| Malformed::new("body", format!("is not strict JSON: {error}"));
    // Decoded here, so that a key or string cannot smuggle bytes that another parser would repair.
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("body", "is not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer).map_err(refuse)?;
    deserializer.end().map_err(refuse)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Malformed::new("body", "must be a JSON object")),
    }
}

/// Looks a protobuf field up by its snake_case name or its camelCase JSON name; both at once is refused.
/// A field that is null counts as absent, as protobuf's JSON mapping has it.
pub fn field<'a>(object: &'a Map<String, Value>, snake: &str) -> Result<Option<&'a Value>, Malformed> {
    let camel = to_camel(snake);
    let value = match (object.get(snake), object.get(&camel)) {
        (Some(_), Some(_)) if camel != snake => {
            return Err(Malformed::new(snake, format!("is given as `{camel}` as well")));
        }
        (Some(value), _) | (None, Some(value)) => value,
        (None, None) => return Ok(None),
    };
    Ok(if value.is_null() { None } else { Some(value) })
}

/// Refuses an object that spells one field in two ways (`run_id` and `runId`) at this level.
pub fn reject_two_spellings(object: &Map<String, Value>) -> Result<(), Malformed> {
    for key in object.keys() {
        let camel = to_camel(key);
        if camel != *key && object.contains_key(&camel) {
            return Err(Malformed::new(key, format!("is given as `{camel}` as well")));
        }
    }
    // `a_b_c` and `aB_c` are spellings of `aBC` that need not both meet it.
    let mut camels: Vec<String> = object.keys().map(|key| to_camel(key)).collect();
    camels.sort_unstable();
    match camels.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Malformed::new(&pair[0], "is given in two spellings")),
        None => Ok(()),
    }
}

/// The JSON name that protobuf derives from a field name: underscores go, the next letter is raised.
fn to_camel(snake: &str) -> String {
    let mut camel = String::with_capacity(snake.len());
    let mut raise = false;
    for character in snake.chars() {
        match character {
            '_' => raise = true,
            _ if raise => {
                camel.push(character.to_ascii_uppercase());
                raise = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}

/// The field that a JSON name is the name of: `experimentId` is `experiment_id`. Other keys stay.
pub fn snake(key: String) -> String {
    if !key.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return key;
    }
    let mut snake = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    if to_camel(&snake) == key { snake } else { key }
}

/// Builds a [`Value`] and refuses what `serde_json` would let pass: doubled keys and deep nesting.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(80).collect();
                return Err(de::Error::custom(format_args!("key `{shown}` is given twice")));
            }
            object.insert(key, entries.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_one_object_with_every_key_once_is_a_body() {
        assert_eq!(parse_object(b"").unwrap(), Map::new());
        assert_eq!(parse_object(b" {\"a\": [1, {\"b\": null}]} \n").unwrap()["a"], json!([1, {"b": null}]));
        for bad in [
            &b" "[..],
            b"[]",
            b"null",
            b"1",
            br#""{\"trace_id\": \"x\"}""#,
            br#"{"a":1,"a":1}"#,
            br#"{"a":1,"\u0061":2}"#,
            br#"{"x":[{"a":{"b":1,"b":2}}]}"#,
            br#"{"a":1} {"a":2}"#,
            br#"{"a":1}x"#,
            br#"{"a":NaN}"#,
            br#"{"a":1e999}"#,
            br#"{"a":"\ud800"}"#,
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\0\"\0a\0\"\0:\x001\0}\0",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"{\"a\":\"\n\"}",
        ] {
            assert!(parse_object(bad).is_err(), "{} was accepted", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn nesting_has_a_floor() {
        let nested = |depth: usize| {
            let (open, close) = ("{\"a\":".repeat(depth - 1), "}".repeat(depth - 1));
            format!("{open}{{}}{close}")
        };
        assert!(parse_object(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse_object(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(parse_object(format!("{{\"a\":{}", "[".repeat(1_000_000)).as_bytes()).is_err());
    }

    #[test]
    fn a_field_has_one_spelling_per_request() {
        let object = parse_object(br#"{"traceId": "x", "run_id": null, "filter": "f"}"#).unwrap();
        assert_eq!(field(&object, "trace_id").unwrap(), Some(&json!("x")));
        assert_eq!(field(&object, "run_id").unwrap(), None);
        assert_eq!(field(&object, "filter").unwrap(), Some(&json!("f")));
        for both in [r#"{"traceId": "x", "trace_id": "x"}"#, r#"{"traceId": "x", "trace_id": null}"#] {
            let object = parse_object(both.as_bytes()).unwrap();
            assert!(field(&object, "trace_id").is_err());
            assert!(reject_two_spellings(&object).is_err());
        }
        assert!(reject_two_spellings(&object).is_ok());
        assert!(reject_two_spellings(&parse_object(br#"{"aB_c":1,"a_bC":1}"#).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_plain_parser_reads(text in "\\PC{0,60}") {
            if let Ok(object) = parse_object(text.as_bytes()) && !text.is_empty() {
                prop_assert_eq!(Value::Object(object), serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
