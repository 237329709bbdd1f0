//! YAML as a tree whose every node knows its line and column, read within bounds.
//!
//! Anchors, aliases and merge keys are refused: in a policy, what is written is what is granted, and a
//! reader should not have to follow references. It also leaves nothing to expand without end.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{DefaultMessageFormatter, Spanned};

/// Lists in maps in lists; a policy file needs five.
const DEEPEST: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub line: u64,
    pub column: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub at: Position,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Nothing,
    Text(String),
    /// A number or a boolean, as text that says so.
    Other(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// What it is, for people.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Nothing => "nothing",
            Kind::Text(_) => "a text",
            Kind::Other(_) => "a number or a truth value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Reads one document; the first thing that is not YAML ends it.
pub(super) fn parse(text: &str) -> Result<Node, (Position, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_aliases: 0,
            max_anchors: 0,
            max_nodes: 4_000_000,
            max_events: 10_000_000,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    };
    let read: Result<Spanned<Kind>, _> = serde_saphyr::from_str_with_options(text, options);
    match read {
        Ok(spanned) => Ok(spanned.into()),
        Err(error) => {
            let at = error.location().map_or(Position { line: 1, column: 1 }, |location| Position {
                line: location.line().max(1),
                column: location.column().max(1),
            });
            let rendered = error.render_with_formatter(&DefaultMessageFormatter);
            Err((at, one_line(&rendered)))
        }
    }
}

/// The message alone: its place is told before it.
fn one_line(rendered: &str) -> String {
    let line = rendered.lines().next().unwrap_or("is not YAML").trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    line.rfind(" at line ").map_or(line, |end| &line[..end]).to_owned()
}

impl From<Spanned<Kind>> for Node {
    fn from(spanned: Spanned<Kind>) -> Self {
        let at =
            Position { line: spanned.referenced.line().max(1), column: spanned.referenced.column().max(1) };
        Self { at, kind: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyKind)
    }
}

struct AnyKind;

impl<'de> Visitor<'de> for AnyKind {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Kind>>()? {
            nodes.push(node.into());
        }
        Ok(Kind::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let at = Position { line: key.referenced.line(), column: key.referenced.column() };
            let key = Node { at, kind: Kind::Text(key.value) };
            let value: Spanned<Kind> = map.next_value()?;
            if entries.len() > 1000 {
                return Err(A::Error::custom("a map has too many keys"));
            }
            entries.push((key, value.into()));
        }
        Ok(Kind::Map(entries))
    }
}
