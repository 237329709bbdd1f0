//! The attributes of a span: keys, and values that are JSON texts.

use std::collections::HashMap;

use serde_json::Value;

use super::super::span::SPAN_TYPE;

#[derive(Debug, Default)]
pub(in crate::backend::embedded::otlp) struct Attributes {
    entries: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Attributes {
    /// A key that is there keeps its place.
    pub fn set(&mut self, key: &str, json: String) {
        match self.index.get(key) {
            Some(at) => self.entries[*at].1 = json,
            None => {
                self.index.insert(key.to_owned(), self.entries.len());
                self.entries.push((key.to_owned(), json));
            }
        }
    }

    pub fn set_if(&mut self, key: &str, json: Option<String>) {
        if let Some(json) = json {
            self.set(key, json);
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.index.get(key).map(|at| self.entries[*at].1.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, json)| (key.as_str(), json.as_str()))
    }

    pub fn parsed(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// A value that is a text.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// A text itself; other JSON as it stands.
    pub fn plain(&self, json: &str) -> String {
        serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
    }

    /// As [`plain`](Self::plain), of a key that is there and not empty.
    pub fn given(&self, key: &str) -> Option<String> {
        Some(self.plain(self.get(key)?)).filter(|text| !text.is_empty())
    }

    /// A value that says something: not null, zero, false or empty.
    pub fn meaningful(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|json| says_something(json))
    }

    /// A whole number, which may be written as a text.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.parsed(key)? {
            Value::Number(number) => number.as_i64(),
            Value::Bool(truth) => Some(i64::from(truth)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whether the client did not say which type the span has.
    pub fn untyped(&self) -> bool {
        let Some(json) = self.get(SPAN_TYPE) else { return true };
        json.is_empty()
            || matches!(self.parsed(SPAN_TYPE), Some(Value::Null))
            || self.text(SPAN_TYPE).as_deref() == Some("UNKNOWN")
    }

    /// Clients that know MLflow write values as JSON texts, which OTLP then carries as texts: one layer goes.
    /// A number in a text stays a text.
    pub fn unwrap_twice_dumped(&mut self) {
        for (_, json) in &mut self.entries {
            if !json.starts_with('"') {
                continue;
            }
            let Ok(text) = serde_json::from_str::<String>(json) else { continue };
            let opens = text.trim_start().starts_with(['{', '[', '"']);
            if opens && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                *json = text;
            }
        }
    }
}

fn says_something(json: &str) -> bool {
    let json = json.trim();
    let hollow = |open: char, close: char| {
        json.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|inner| inner.trim().is_empty())
    };
    match json {
        "" | "null" | "false" | "\"\"" => false,
        _ if hollow('[', ']') || hollow('{', '}') => false,
        _ => json.parse::<f64>().ok() != Some(0.0),
    }
}
