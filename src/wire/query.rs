//! The canonical query: pairs in order, decoded once.
//!
//! `;` separates nothing and `+` is a space, as MLflow's server reads them. Two spellings of one key
//! (`run_id` and `runId`) are refused, because a server may pick either.

use std::collections::HashMap;

use super::{Malformed, percent};

/// Longest raw query that is read; long filters come in bodies.
const MAX_BYTES: usize = 64 * 1024;
const MAX_PAIRS: usize = 1000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses a raw query string (without `?`).
    pub fn parse(raw: &str) -> Result<Self, Malformed> {
        let refuse = |problem: &str| Malformed::new("query", problem);
        if raw.len() > MAX_BYTES {
            return Err(Malformed::new("query", format!("is longer than {MAX_BYTES} bytes")));
        }
        if raw.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            return Err(refuse("holds a character that must be percent-encoded"));
        }
        let mut pairs = Vec::new();
        let mut spellings: HashMap<String, String> = HashMap::new();
        for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
            let (raw_key, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
            let key = percent::decode(raw_key, true).map_err(refuse)?;
            let field = || format!("query parameter `{key}`");
            if key.trim().is_empty() || key.chars().any(char::is_control) || percent::holds_escape(&key) {
                return Err(refuse("holds an empty, control or doubly encoded parameter name"));
            }
            let value =
                percent::decode(raw_value, true).map_err(|problem| Malformed::new(field(), problem))?;
            // Filters may be written on several lines; nothing else of the kind is of use.
            if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
                return Err(Malformed::new(field(), "holds a control character"));
            }
            let spelling = spellings.entry(fold(&key)).or_insert_with(|| key.clone());
            if *spelling != key {
                return Err(Malformed::new(field(), format!("is given as `{spelling}` as well")));
            }
            pairs.push((key, value));
            if pairs.len() > MAX_PAIRS {
                return Err(Malformed::new("query", format!("has more than {MAX_PAIRS} parameters")));
            }
        }
        Ok(Self { pairs })
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The only value of a key; a second one is refused even when it is equal.
    pub fn one(&self, key: &str) -> Result<Option<&str>, Malformed> {
        let mut values = self.pairs.iter().filter(|(known, _)| known == key);
        let first = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(Malformed::new(format!("query parameter `{key}`"), "may be given once only"));
        }
        Ok(first)
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.remove(key);
        self.pairs.push((key.to_owned(), value.to_owned()));
    }

    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(known, _)| known != key);
    }

    /// The one spelling of this query, without `?`.
    pub fn to_encoded(&self) -> String {
        let mut encoded = String::new();
        for (key, value) in &self.pairs {
            if !encoded.is_empty() {
                encoded.push('&');
            }
            percent::encode(key, |_| false, &mut encoded);
            encoded.push('=');
            percent::encode(value, |_| false, &mut encoded);
        }
        encoded
    }
}

/// What all spellings of one key have in common: case, underscores, dashes and outer spaces removed.
fn fold(key: &str) -> String {
    key.trim().chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_decoded_once_and_spelled_one_way() {
        for (raw, encoded) in [
            ("", ""),
            ("a=b&c=d", "a=b&c=d"),
            ("&&a=b&", "a=b"),
            ("a", "a="),
            ("a=b=c", "a=b%3Dc"),
            ("a=b;c=d", "a=b%3Bc%3Dd"),
            ("a=x+y%20z%2B", "a=x%20y%20z%2B"),
            ("filter=name+LIKE+'%25ab%25'%0A", "filter=name%20LIKE%20%27%25ab%25%27%0A"),
            ("run_ids=1&run_ids=2", "run_ids=1&run_ids=2"),
            ("%61=1", "a=1"),
            ("experiment_ids[]=1", "experiment_ids%5B%5D=1"),
        ] {
            assert_eq!(Query::parse(raw).unwrap().to_encoded(), encoded, "{raw}");
        }
    }

    #[test]
    fn queries_with_two_readings_are_refused() {
        for raw in [
            "=a",
            "a=%",
            "a=%2",
            "a=%zz",
            "a=%00",
            "a=%7f",
            "a=%1b",
            "a=%ff",
            "a=\u{e9}",
            "a=b c",
            "a=b#c",
            "a%00=b",
            "a%0a=b",
            "a%2561=b",
            "run_id=1&runId=1",
            "run_id=1&RUN_ID=1",
            "run_id=1&run-id=1",
            "runid=1&run_id=1",
            "run_id=1&run_id%20=2",
            "%20=1",
            "a=%ED%A0%80",
        ] {
            assert!(Query::parse(raw).is_err(), "{raw:?} was accepted");
        }
        assert!(Query::parse(&"a=1&".repeat(MAX_PAIRS + 1)).is_err());
        assert!(Query::parse(&format!("a={}", "x".repeat(MAX_BYTES))).is_err());
    }

    #[test]
    fn a_key_that_decides_may_be_given_once() {
        let query = Query::parse("a=1&a=1&b=2").unwrap();
        assert!(query.one("a").is_err());
        assert_eq!(query.one("b").unwrap(), Some("2"));
        assert_eq!(query.one("c").unwrap(), None);
    }

    proptest! {
        #[test]
        fn what_is_forwarded_reads_as_what_was_classified(raw in "([a-zA-Z_;+%0-9]{0,6}(=[ -~]{0,8})?&?){0,5}") {
            if let Ok(query) = Query::parse(&raw) {
                prop_assert_eq!(&Query::parse(&query.to_encoded()).unwrap(), &query);
            }
        }
    }
}
