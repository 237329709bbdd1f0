//! Path, query, headers, JSON and GraphQL: read once, and what is forwarded reads as what was classified.

#![allow(clippy::unwrap_used, reason = "a failure is what is looked for")]

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::classify::Manifest;
use crate::classify::graphql::read_query;
use crate::wire::json::parse_object;
use crate::wire::{CanonicalPath, Headers, Method, Query};

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| Manifest::builtin().unwrap());

pub(super) fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(path) = CanonicalPath::parse(raw) else { return };
    // Another decoder reads the same in what came and in what goes out.
    let sent = path.to_encoded();
    for spelling in [raw, &sent] {
        let trimmed = spelling.strip_prefix('/').unwrap();
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let decoded = trimmed.split('/').map(|piece| percent_decode_str(piece).decode_utf8().unwrap());
        let decoded: Vec<Cow<'_, str>> = decoded.filter(|piece| !piece.is_empty()).collect();
        assert_eq!(path.segments(), decoded, "{spelling}");
    }
    let again = CanonicalPath::parse(&sent).unwrap();
    assert_eq!((&again, again.to_encoded()), (&path, sent.clone()));
    // However often and wherever a server decodes, it climbs nowhere.
    let everything = percent_decode_str(&sent).decode_utf8().unwrap();
    let twice = percent_decode_str(&everything).decode_utf8().unwrap();
    for text in [&everything, &twice] {
        assert!(!text.split(['/', '\\']).any(|piece| matches!(piece, "." | "..")), "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for method in Method::ALL {
        let matched = |path: &CanonicalPath| {
            let matched = MANIFEST.classify(method, path).ok()??;
            Some((matched.operation.name.clone(), matched.params))
        };
        assert_eq!(matched(&path), matched(&again), "{method} {sent}");
    }
}

pub(super) fn query(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(query) = Query::parse(raw) else { return };
    let sent = query.to_encoded();
    let again = Query::parse(&sent).unwrap();
    assert_eq!((&again, again.to_encoded()), (&query, sent.clone()));
    for spelling in [raw, &sent] {
        let decoded: Vec<_> = form_urlencoded::parse(spelling.as_bytes()).into_owned().collect();
        assert_eq!(query.pairs(), decoded, "{spelling}");
    }
    for (key, _) in query.pairs() {
        let count = query.pairs().iter().filter(|(known, _)| known == key).count();
        assert_eq!(query.one(key).is_ok(), count == 1);
    }
}

/// A header a line.
pub(super) fn headers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<_> = text.split('\n').filter_map(|line| line.split_once(':')).collect();
    let mut headers = Headers::new();
    for (name, value) in &lines {
        headers.push(name, value);
    }
    for (name, _) in &lines {
        let of_name: Vec<_> = lines.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).collect();
        assert_eq!(headers.get(name), Some(of_name[0].1));
        match headers.one(name) {
            Ok(value) => assert_eq!((value, of_name.len()), (Some(of_name[0].1), 1)),
            Err(_) => assert!(of_name.len() > 1),
        }
        headers.remove(name);
        assert_eq!(headers.get(name), None);
        for (_, value) in of_name {
            headers.push(name, value);
        }
    }
}

pub(super) fn json(data: &[u8]) {
    let Ok(object) = parse_object(data) else { return };
    if data.is_empty() {
        return;
    }
    let text = std::str::from_utf8(data).unwrap();
    let plain: Value = serde_json::from_str(text).unwrap();
    let object = Value::Object(object);
    assert_eq!(object, plain);
    // A parser that keeps the first of two keys reads the same, for there are not two.
    let counted = Counted::of(text);
    assert_eq!(counted, entries(&object));
    // What is written anew means the same, and is as strict.
    assert_eq!(Value::Object(parse_object(object.to_string().as_bytes()).unwrap()), object);
}

fn entries(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(entries).sum::<usize>(),
        Value::Array(list) => list.iter().map(entries).sum(),
        _ => 0,
    }
}

/// Counts the keys of all objects as they stand in the text.
struct Counted;

thread_local! {
    static KEYS: Cell<usize> = const { Cell::new(0) };
}

impl Counted {
    fn of(text: &str) -> usize {
        KEYS.set(0);
        let _: Self = serde_json::from_str(text).unwrap();
        KEYS.get()
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Counted {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, Self>()?.is_some() {
            KEYS.set(KEYS.get() + 1);
        }
        Ok(self)
    }
}

/// The variables, a line feed, and the query.
pub(super) fn graphql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (variables, query) = text.split_once('\n').unwrap_or(("", text));
    let variables = parse_object(variables.as_bytes()).unwrap_or_else(|_| Map::new());
    let Ok(reading) = read_query(query, None, &variables) else { return };
    // As another program would print what it read: white space, commas and comments mean nothing.
    let printed = graphql_parser::parse_query::<&str>(query).unwrap().to_string();
    assert_eq!(read_query(&printed, None, &variables).as_ref(), Ok(&reading), "{printed}");
    for need in &reading.needs {
        // An id is one that stands in what was sent, as a text.
        assert!(!need.id.is_empty());
    }
    // Nothing is shown of what was not asked leave for.
    if reading.needs.is_empty() {
        assert!(reading.model_version_paths.is_empty());
        assert!(
            !query.contains("mlflow") || query.contains(['"', '#']) || query.contains("fragment"),
            "{query}"
        );
    }
}
