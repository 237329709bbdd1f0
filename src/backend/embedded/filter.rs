//! MLflow's language of filters and orders, which runs, experiments, traces, models and datasets share.
//!
//! A filter is comparisons joined by AND: ``tags.`my key` LIKE '%x%' AND status IN ('OK', 'ERROR')``. MLflow
//! reads it with a general SQL tokenizer, and what that tokenizer takes for a name, a keyword or an operation
//! decides which error a client sees; [`tokens`] and [`grouping`] follow it. What the identifiers mean is left
//! to the noun that is searched:
//!
//! ```ignore
//! for clause in filter::parse(text, Rules::QUOTED)? {
//!     let (entity, key) = clause.identifier.split();          // ("tags", "`my key`")
//!     let key = unquote_key(key);                             // "my key"
//!     let comparator = clause.one_of(&[Equal, Like], |asked, allowed| format!(
//!         "Invalid comparator '{asked}' not one of '{allowed}"))?;
//!     let value = clause.text_value(|raw| format!("Expected a quoted string value. Got value {raw}"))?;
//!     query.push(" AND EXISTS (SELECT 1 FROM tags g WHERE g.key = ").bind(key).push(" AND ");
//!     query.compare("g.value", comparator, &value)?;
//!     query.push(")");
//! }
//! ```
//!
//! Every error is a 400 that says what MLflow says, and then at which character. Time is linear in the length
//! of the filter; what MLflow's tokenizer refuses as too long or too deep is refused here as well.
//!
//! [`sql`] turns a comparison into SQL for both databases, [`order`] an order, and [`page`] remembers where
//! a page ended.

pub mod grouping;
pub mod order;
pub mod page;
pub mod sql;
pub mod tokens;
pub mod value;

use self::grouping::{Node, Shape};
pub use self::order::{OrderBy, parse_order_by};
pub use self::sql::{Bind, Query};
pub use self::value::{Number, Value};
use super::problem::Problem;
use super::python;

/// Comparisons in one filter; a database refuses expressions that nest deeper than it likes.
const MAX_CLAUSES: usize = 400;
/// As much of a filter as an error repeats.
const MAX_ECHO: usize = 1000;

/// In what the nouns' filters differ before identifiers are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether the list of invalid clauses quotes each of them.
    quotes: bool,
    /// Whether `timestamp > 5` is a comparison although `timestamp` names a type.
    bare_timestamp: bool,
    /// Whether AND, IN and IS NULL are known.
    joined: bool,
}

impl Rules {
    /// Runs and logged models.
    pub const QUOTED: Self = Self { quotes: true, bare_timestamp: false, joined: true };
    /// Experiments, registered models, model versions and datasets.
    pub const PLAIN: Self = Self { quotes: false, bare_timestamp: false, joined: true };
    /// Traces.
    pub const TRACES: Self = Self { quotes: true, bare_timestamp: true, joined: true };
    /// The filters of trace metrics: one comparison each.
    pub const METRICS: Self = Self { quotes: false, bare_timestamp: false, joined: false };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    ILike,
    RLike,
    In,
    NotIn,
    IsNull,
    IsNotNull,
}

impl Comparator {
    pub const NUMERIC: &'static [Self] =
        &[Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Equal, Self::Greater, Self::GreaterOrEqual];

    /// As it is written, in upper case.
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
            Self::ILike => "ILIKE",
            Self::RLike => "RLIKE",
            Self::In => "IN",
            Self::NotIn => "NOT IN",
            Self::IsNull => "IS NULL",
            Self::IsNotNull => "IS NOT NULL",
        }
    }

    fn parse(upper: &str) -> Option<Self> {
        const ALL: [Comparator; 13] = [
            Comparator::Equal,
            Comparator::NotEqual,
            Comparator::Less,
            Comparator::LessOrEqual,
            Comparator::Greater,
            Comparator::GreaterOrEqual,
            Comparator::Like,
            Comparator::ILike,
            Comparator::RLike,
            Comparator::In,
            Comparator::NotIn,
            Comparator::IsNull,
            Comparator::IsNotNull,
        ];
        ALL.into_iter().find(|comparator| comparator.text() == upper)
    }
}

/// A piece of the filter: its text as written, what the tokenizer took it for, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    pub shape: Shape,
    /// The number of its first character, from 1.
    pub position: usize,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause<'a> {
    pub identifier: Piece<'a>,
    /// As written, but with NOT IN, IS NULL and IS NOT NULL in upper case with single spaces.
    pub comparator_text: String,
    pub comparator_position: usize,
    /// Nothing for IS NULL and IS NOT NULL.
    pub value: Option<Piece<'a>>,
}

impl Piece<'_> {
    /// The error with this piece's position.
    pub fn refuse(&self, message: impl AsRef<str>) -> Problem {
        refuse(message.as_ref(), self.position)
    }

    /// What is before the first dot, and what is behind it; without a dot nothing is before it.
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.text.split_once('.') {
            Some((entity, key)) => (Some(entity), key),
            None => (None, self.text),
        }
    }
}

impl Clause<'_> {
    /// The comparator if it is a known one.
    pub fn comparator(&self) -> Option<Comparator> {
        Comparator::parse(&self.comparator_text.to_uppercase())
    }

    /// The comparator if it is one of these; else the error that `message` makes of what was asked for and
    /// of the allowed ones, written as a Python set.
    pub fn one_of(
        &self,
        allowed: &[Comparator],
        message: impl FnOnce(&str, &str) -> String,
    ) -> Result<Comparator, Problem> {
        match self.comparator() {
            Some(comparator) if allowed.contains(&comparator) => Ok(comparator),
            _ => Err(self.refuse_comparator(allowed, message)),
        }
    }

    /// The error of [`one_of`](Self::one_of).
    pub fn refuse_comparator(
        &self,
        allowed: &[Comparator],
        message: impl FnOnce(&str, &str) -> String,
    ) -> Problem {
        let names: Vec<&str> = allowed.iter().map(|comparator| comparator.text()).collect();
        let asked = self.comparator_text.to_uppercase();
        refuse(&message(&asked, &python_set(&names)), self.comparator_position)
    }

    /// Whether this is IS NULL or IS NOT NULL.
    pub fn asks_for_null(&self) -> bool {
        self.value.is_none()
    }
}

/// An error at a character of the filter.
pub fn refuse(message: &str, position: usize) -> Problem {
    let message = abbreviate(message);
    Problem::invalid(format!("{message} (at character {position})"))
}

/// A key as it is meant: without the quotes and backticks around it.
pub fn unquote_key(key: &str) -> &str {
    let key = within(key, '\'').or_else(|| within(key, '"')).unwrap_or(key);
    within(key, '`').unwrap_or(key)
}

/// The text between two of these, if it begins and ends with them.
pub fn within(text: &str, quote: char) -> Option<&str> {
    text.strip_prefix(quote)?.strip_suffix(quote)
}

/// Texts as Python prints a set of them. The order there is arbitrary; here it is the given one.
pub fn python_set(names: &[&str]) -> String {
    format!("{{{}}}", names.iter().map(|name| python::repr(name)).collect::<Vec<_>>().join(", "))
}

fn abbreviate(message: &str) -> std::borrow::Cow<'_, str> {
    match message.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", &message[..end]).into(),
        None => message.into(),
    }
}

/// Reads a filter. An empty one has no clauses.
pub fn parse(text: &str, rules: Rules) -> Result<Vec<Clause<'_>>, Problem> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(position) = text.find('\0') {
        return Err(refuse("A filter cannot hold the character U+0000", characters_before(text, position)));
    }
    let mut nodes = grouping::group(text)
        .map_err(|at| refuse(&format!("Error on parsing filter '{text}'"), characters_before(text, at)))?;
    if nodes.is_empty() {
        return Err(refuse(&format!("Invalid filter '{text}'. Could not be parsed."), 1));
    }
    if let Some(next) = grouping::second_statement(&nodes, text) {
        let message = format!(
            "Search filter contained multiple expression {}. Provide AND-ed expression list.",
            python::repr(text)
        );
        return Err(refuse(&message, characters_before(text, next)));
    }
    if rules.joined {
        nodes = grouping::join_keywords(nodes, text, rules.bare_timestamp);
    }
    let counted = Positions::new(text);
    refuse_invalid(&nodes, text, rules, &counted)?;
    let comparisons: Vec<&Node> =
        nodes.iter().filter(|node| matches!(node.shape, Shape::Comparison)).collect();
    if let Some(extra) = comparisons.get(MAX_CLAUSES) {
        let message = format!(
            "The filter has {} comparisons; at most {MAX_CLAUSES} are taken at once",
            comparisons.len()
        );
        return Err(refuse(&message, counted.of(extra.start)));
    }
    comparisons.into_iter().map(|node| clause(node, text, rules, &counted)).collect()
}

/// Whatever is neither a comparison nor AND.
fn refuse_invalid(nodes: &[Node], text: &str, rules: Rules, counted: &Positions) -> Result<(), Problem> {
    let valid = |node: &&Node| {
        matches!(node.shape, Shape::Comparison)
            || (rules.joined && node.shape == Shape::Keyword && node.is_word(text, "AND"))
    };
    let invalid: Vec<&Node> = nodes.iter().filter(|node| !valid(node)).collect();
    let Some(first) = invalid.first() else { return Ok(()) };
    let listed: Vec<String> = invalid
        .iter()
        .take(MAX_ECHO)
        .map(|node| match rules.quotes {
            true => format!("'{}'", node.text(text)),
            false => node.text(text).to_owned(),
        })
        .collect();
    let message = format!("Invalid clause(s) in filter string: {}", listed.join(", "));
    Err(refuse(&message, counted.of(first.start)))
}

fn clause<'a>(node: &Node, text: &'a str, rules: Rules, counted: &Positions) -> Result<Clause<'a>, Problem> {
    let piece = |node: &Node| Piece {
        text: &text[node.start..node.end],
        shape: node.shape,
        position: counted.of(node.start),
    };
    let Some(parts) = &node.parts else {
        return Err(refuse("Invalid comparison clause", counted.of(node.start)));
    };
    let identifier = piece(&parts.left);
    let timestamp = rules.bare_timestamp && grouping::is_bare_timestamp(&parts.left, text);
    if identifier.shape != Shape::Identifier && !timestamp {
        let message = format!("Invalid comparison clause. Expected 'Identifier' found '{}'", identifier.text);
        return Err(identifier.refuse(message));
    }
    Ok(Clause {
        identifier,
        comparator_text: parts.comparator.clone(),
        comparator_position: counted.of(parts.comparator_start),
        value: parts.right.as_ref().map(piece),
    })
}

/// The number of a character, from 1, given its first byte.
pub fn characters_before(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(byte, |before| before.chars().count()) + 1
}

/// The same for many places of one text without counting from its beginning each time.
struct Positions<'a> {
    text: &'a str,
    /// Up to where was counted last, in bytes and in characters.
    last: std::cell::Cell<(usize, usize)>,
}

impl<'a> Positions<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, last: std::cell::Cell::new((0, 0)) }
    }

    fn of(&self, byte: usize) -> usize {
        let (from, before) = self.last.get();
        let (from, before) = if from <= byte { (from, before) } else { (0, 0) };
        let count = before + self.text[from..byte].chars().count();
        self.last.set((byte, count));
        count + 1
    }
}

#[cfg(test)]
mod tests;
