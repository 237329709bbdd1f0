//! The canonical query: pairs in order, decoded once.

use super::Malformed;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses a raw query string (without `?`).
    pub fn parse(_raw: &str) -> Result<Self, Malformed> {
        todo!()
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
        todo!()
    }
}
