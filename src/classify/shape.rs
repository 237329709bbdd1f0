//! What MLflow's protobuf parser accepts as a JSON body, so that a body which it would read only half
//! never reaches it.
//!
//! Upstream parses a body field by field in the order sent, stops at the first that does not fit, and for
//! many operations goes on with what it has. `{"max_results": "x", "experiment_id": "1"}` then searches the
//! issues of *every* experiment, although it names one that the caller may read. `bodies.txt` is generated
//! from the protobuf descriptors; whatever it does not accept is refused here.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::wire::{Malformed, json};

/// Deeper values are refused; the parser upstream gives up at about fifty.
const MAXIMUM_DEPTH: usize = 30;

/// The fields of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Vec<Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    repeated: bool,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Integer {
        least: i128,
        most: i128,
    },
    Number,
    /// Unknown names are ignored upstream, unknown numbers break the parse.
    Choice {
        least: i128,
        most: i128,
    },
    Message(Shape),
    /// Text to text.
    Table,
    Anything,
    Time,
    Duration,
    Mask,
    /// Nothing reads it, so it may not be sent.
    Absent,
}

impl Shape {
    /// Checks every known field; unknown ones are ignored, as upstream does.
    pub fn check(&self, body: &Map<String, Value>) -> Result<(), Malformed> {
        self.check_at("", body)
    }

    fn check_at(&self, path: &str, object: &Map<String, Value>) -> Result<(), Malformed> {
        for field in &self.0 {
            let Some(value) = json::field(object, &field.name)?.filter(|value| !value.is_null()) else {
                continue;
            };
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            if !field.repeated {
                field.kind.check(&path, value)?;
                continue;
            }
            let elements = value.as_array().ok_or_else(|| refuse(&path, "must be a list"))?;
            for element in elements {
                field.kind.check(&format!("{path}[]"), element)?;
            }
        }
        Ok(())
    }
}

impl Kind {
    fn check(&self, path: &str, value: &Value) -> Result<(), Malformed> {
        let (fits, expected) = match self {
            Self::Text => (value.is_string(), "must be a string"),
            Self::Flag => (value.is_boolean(), "must be true or false"),
            Self::Integer { least, most } => (
                integer(value).is_some_and(|number| (*least..=*most).contains(&number)),
                "must be an integer",
            ),
            Self::Number => (value.is_number() || value.as_str().is_some_and(is_number), "must be a number"),
            Self::Choice { least, most } => {
                let named = value.as_str().is_some_and(is_word);
                let numbered = integer(value).is_some_and(|number| (*least..=*most).contains(&number));
                (named || numbered, "must be one of the names of this field")
            }
            Self::Message(shape) => {
                return match value {
                    Value::Object(object) => shape.check_at(path, object),
                    _ => Err(refuse(path, "must be an object")),
                };
            }
            Self::Table => {
                let fits = value.as_object().is_some_and(|table| table.values().all(Value::is_string));
                (fits, "must be an object of strings")
            }
            Self::Anything => (!deeper_than(value, MAXIMUM_DEPTH), "is nested too deeply"),
            Self::Time => (value.as_str().is_some_and(is_time), "must be an RFC 3339 time"),
            Self::Duration => (value.as_str().is_some_and(is_duration), "must be seconds, such as `1.5s`"),
            Self::Mask => {
                (value.as_str().is_some_and(is_mask), "must be lowerCamelCase names between commas")
            }
            Self::Absent => (value.as_array().is_some_and(Vec::is_empty), "may not be sent"),
        };
        if fits { Ok(()) } else { Err(refuse(path, expected)) }
    }
}

fn refuse(path: &str, problem: &str) -> Malformed {
    Malformed::new(format!("body field `{path}`"), problem)
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            (digits.len() <= 20 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse().ok())
                .flatten()
        }
        Value::Number(number) => {
            number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|f| f as i128)
            })
        }
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || (text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
            && text.parse::<f64>().is_ok_and(f64::is_finite))
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
}

fn is_mask(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b",.".contains(&byte))
}

/// `2026-11-22T04:40:18.413Z`, with at most nine decimals, or an offset instead of `Z`.
fn is_time(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| {
        text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u32>().ok()
    };
    let (Some(year), Some(month), Some(day)) = (part(0..4), part(5..7), part(8..10)) else { return false };
    let (Some(hour), Some(minute), Some(second)) = (part(11..13), part(14..16), part(17..19)) else {
        return false;
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !marks.iter().all(|(at, mark)| text.get(*at..at + 1) == Some(*mark)) {
        return false;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if year == 0 || day == 0 || day > days || hour > 23 || minute > 59 || second > 59 {
        return false;
    }
    let rest = text.get(19..).unwrap_or_default();
    let rest = match rest.strip_prefix('.') {
        Some(rest) => {
            let zone = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if zone == 0 || zone > 9 {
                return false;
            }
            rest.get(zone..).unwrap_or_default()
        }
        None => rest,
    };
    let offset = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.len() == 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit())
            && rest.get(1..3).is_some_and(|hours| hours < "24")
            && rest.get(4..6).is_some_and(|minutes| minutes < "60")
    };
    rest == "Z" || offset(rest)
}

/// `0.118s`: at most 315,576,000,000 seconds with at most nine decimals.
fn is_duration(text: &str) -> bool {
    let Some(seconds) = text.strip_suffix('s') else { return false };
    let seconds = seconds.strip_prefix('-').unwrap_or(seconds);
    let (whole, decimals) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let digits = |text: &str, most: usize| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    digits(whole, 12)
        && digits(decimals, 9)
        && whole.parse::<u64>().is_ok_and(|whole| whole < 315_576_000_000)
}

fn deeper_than(value: &Value, depth: usize) -> bool {
    let inner = |value: &Value| depth == 0 || deeper_than(value, depth - 1);
    match value {
        Value::Array(elements) => elements.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}

/// Reads `bodies.txt`; `None` for a body that upstream reads as plain JSON.
pub(super) fn parse_shapes(text: &str) -> Result<HashMap<String, Option<Shape>>, String> {
    let mut shapes = HashMap::new();
    for (index, line) in
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let fail = |problem: &str| format!("bodies, line {}: {problem}", index + 1);
        let (name, shape) = line.split_once(" = ").ok_or_else(|| fail("no ` = `"))?;
        let shape = match shape {
            "-" => None,
            _ => {
                let mut rest = shape.strip_prefix('{').ok_or_else(|| fail("no `{`"))?;
                let shape = message(&mut rest).map_err(|problem| fail(&problem))?;
                if !rest.is_empty() {
                    return Err(fail("something follows the last `}`"));
                }
                Some(shape)
            }
        };
        if shapes.insert(name.to_owned(), shape).is_some() {
            return Err(fail(&format!("`{name}` stands twice")));
        }
    }
    Ok(shapes)
}

/// Reads fields up to and including the closing brace.
fn message(rest: &mut &str) -> Result<Shape, String> {
    let mut fields = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return Ok(Shape(fields));
        }
        let end = rest.find(['[', ':', '{']).ok_or("no `}`")?;
        let (name, after) = rest.split_at(end);
        let (after, repeated) = after.strip_prefix("[]").map_or((after, false), |after| (after, true));
        let kind = if let Some(inside) = after.strip_prefix('{') {
            *rest = inside;
            Kind::Message(message(rest)?)
        } else {
            let after = after.strip_prefix(':').ok_or_else(|| format!("`{name}` has no kind"))?;
            let end = after.find([' ', '}']).ok_or("no `}`")?;
            let (word, after) = after.split_at(end);
            *rest = after;
            kind(word)?
        };
        fields.push(Field { name: name.to_owned(), repeated, kind });
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    let range = |least: i128, most: i128| Kind::Integer { least, most };
    Ok(match word {
        "s" => Kind::Text,
        "b" => Kind::Flag,
        "i32" => range(i32::MIN.into(), i32::MAX.into()),
        "i64" => range(i64::MIN.into(), i64::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" => range(0, u64::MAX.into()),
        "d" => Kind::Number,
        "map" => Kind::Table,
        "value" => Kind::Anything,
        "time" => Kind::Time,
        "duration" => Kind::Duration,
        "mask" => Kind::Mask,
        "absent" => Kind::Absent,
        _ => {
            let (least, most) = word
                .strip_prefix('e')
                .and_then(|range| range.split_once('-'))
                .and_then(|(least, most)| Some((least.parse().ok()?, most.parse().ok()?)))
                .ok_or_else(|| format!("`{word}` is not a kind"))?;
            Kind::Choice { least, most }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(text: &str) -> Shape {
        parse_shapes(&format!("x = {text}")).unwrap().remove("x").unwrap().unwrap()
    }

    fn fits(shape: &Shape, body: &Value) -> bool {
        shape.check(body.as_object().unwrap()).is_ok()
    }

    #[test]
    fn whatever_breaks_the_upstream_parse_is_refused() {
        let shape = shape(
            "{id:s ids[]:s count:i32 flag:b ratio:d state:e0-3 tags[]{key:s} meta:map v:value at:time took:duration mask:mask spans[]:absent}",
        );
        for good in [
            json!({"id": "1", "ids": ["a"], "count": "7", "flag": true, "ratio": "NaN", "state": "OK"}),
            json!({"id": null, "ids": null, "count": 1.0, "ratio": 1, "state": 3, "unknown": {"x": []}}),
            json!({"tags": [{"key": "a", "more": 1}], "meta": {"a": "b"}, "v": {"a": [1, null]}, "spans": []}),
            json!({"at": "2026-11-22T04:40:18.413Z", "took": "0.118s", "mask": "assessmentName,feedback.value"}),
            json!({"at": "2024-02-29T23:59:59+01:00", "took": "3s", "state": "SOME_NEW_STATE"}),
        ] {
            assert!(fits(&shape, &good), "{good}");
        }
        for bad in [
            json!({"id": 1}),
            json!({"ids": "a"}),
            json!({"ids": [null]}),
            json!({"count": "x"}),
            json!({"count": true}),
            json!({"count": 1.5}),
            json!({"count": 3_000_000_000_u32}),
            json!({"count": " 1"}),
            json!({"flag": "true"}),
            json!({"ratio": "nan"}),
            json!({"ratio": "1e999"}),
            json!({"state": 4}),
            json!({"state": "4"}),
            json!({"state": {}}),
            json!({"tags": [{"key": 5}]}),
            json!({"tags": {"key": "a"}}),
            json!({"tags": [[]]}),
            json!({"meta": {"a": null}}),
            json!({"meta": ["a"]}),
            json!({"at": "2026-13-01T00:00:00Z"}),
            json!({"at": "2023-02-29T00:00:00Z"}),
            json!({"at": "2026-01-01T00:00:00.1234567891Z"}),
            json!({"at": "2026-01-01 00:00:00Z"}),
            json!({"at": "2026-01-01T00:00:00"}),
            json!({"took": "1.5"}),
            json!({"took": "xs"}),
            json!({"mask": "assessment_name"}),
            json!({"mask": {"paths": ["a"]}}),
            json!({"spans": [{}]}),
        ] {
            assert!(!fits(&shape, &bad), "{bad}");
        }
    }

    #[test]
    fn values_are_bounded_in_depth() {
        let shape = shape("{v:value}");
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(fits(&shape, &json!({"v": nested(30)})));
        assert!(!fits(&shape, &json!({"v": nested(31)})));
    }

    #[test]
    fn the_refusal_names_the_field() {
        let error = shape("{a[]{b:s}}").check(json!({"a": [{"b": 1}]}).as_object().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "body field `a[].b`: must be a string");
    }
}
