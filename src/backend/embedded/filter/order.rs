//! Orders: what a clause of `order_by` names, and the SQL of several of them.

use super::super::problem::Problem;
use super::grouping::{self, Node, Shape};
use super::page::Token;
use super::refuse;
use super::sql::{Bind, Query};
use crate::database::Dialect;

/// One clause of an `order_by`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// What to order by, perhaps with backticks; see [`unquote_key`](super::unquote_key).
    pub identifier: String,
    pub ascending: bool,
}

impl OrderBy {
    /// What is before the first dot, and what is behind it; without a dot nothing is before it.
    pub fn split(&self) -> (Option<&str>, &str) {
        match self.identifier.split_once('.') {
            Some((entity, key)) => (Some(entity), key),
            None => (None, &self.identifier),
        }
    }
}

/// Reads one clause: an identifier, then perhaps ASC or DESC.
pub fn parse_order_by(clause: &str) -> Result<OrderBy, Problem> {
    let unreadable = || refuse(&format!("Invalid order_by clause '{clause}'. Could not be parsed."), 1);
    if clause.contains('\0') {
        return Err(unreadable());
    }
    let nodes = grouping::group(clause).map_err(|_| unreadable())?;
    let timestamp = |node: &Node| grouping::is_bare_timestamp(node, clause);
    // Spaces around the clause are words of their own to MLflow, and one word is what it wants.
    let whole = |node: &Node| node.start == 0 && node.end == clause.len();
    let text = match nodes.as_slice() {
        [one] if whole(one) && one.shape == Shape::Identifier => clause.to_owned(),
        [one] if whole(one) && timestamp(one) => "timestamp".to_owned(),
        [one, order]
            if one.start == 0
                && timestamp(one)
                && order.shape == Shape::Order
                && order.end == clause.len() =>
        {
            format!("timestamp {}", order.text(clause))
        }
        _ => return Err(unreadable()),
    };
    let words = shell_words(&text.replace('`', "\"")).ok_or_else(unreadable)?;
    match words.as_slice() {
        [] => Err(unreadable()),
        [_] => Ok(OrderBy { identifier: text.trim().to_owned(), ascending: true }),
        [identifier, direction] => {
            let ascending = match direction.to_lowercase().as_str() {
                "asc" => true,
                "desc" => false,
                _ => {
                    return Err(refuse(&format!("Invalid ordering key in order_by clause '{clause}'."), 1));
                }
            };
            Ok(OrderBy { identifier: identifier.trim().to_owned(), ascending })
        }
        _ => Err(unreadable()),
    }
}

/// Words as a shell would cut them: quotes hold them together and go. Nothing if a quote is not closed.
fn shell_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            space if space.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(characters.next()?),
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == quote => break,
                        '\\' if quote == '"' => {
                            let next = characters.next()?;
                            if !matches!(next, '"' | '\\') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        other => word.push(other),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// What kind of values an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Integer,
    Float,
    Text,
}

/// One key of an order: an expression of ours, which is selected too so that the next page can begin behind
/// the last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub expression: String,
    pub kind: KeyKind,
    pub ascending: bool,
    /// Whether it may be NULL. Those come last, whatever the direction.
    pub nullable: bool,
}

impl Key {
    pub fn new(expression: impl Into<String>, kind: KeyKind, ascending: bool) -> Self {
        Self { expression: expression.into(), kind, ascending, nullable: false }
    }

    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Texts are ordered by their bytes in both databases.
    fn ordered(&self, dialect: Dialect) -> String {
        match (dialect, self.kind) {
            (Dialect::Postgres, KeyKind::Text) => format!("{} COLLATE \"C\"", self.expression),
            _ => self.expression.clone(),
        }
    }
}

/// The keys of an order, the last of which makes it total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(pub Vec<Key>);

impl Order {
    /// `, key AS key_0, …`: for the end of the list of columns.
    pub fn columns(&self) -> String {
        let columns = self.0.iter().enumerate();
        columns.map(|(index, key)| format!(", {} AS key_{index}", key.expression)).collect()
    }

    /// ` ORDER BY …`.
    pub fn clause(&self, dialect: Dialect) -> String {
        let mut terms = Vec::new();
        for key in &self.0 {
            if key.nullable {
                terms.push(format!("CASE WHEN {} IS NULL THEN 1 ELSE 0 END", key.expression));
            }
            let direction = if key.ascending { "" } else { " DESC" };
            terms.push(format!("{}{direction}", key.ordered(dialect)));
        }
        format!(" ORDER BY {}", terms.join(", "))
    }

    /// ` AND …`: what comes behind the row that the token remembers.
    pub fn after(&self, query: &mut Query, token: &Token) {
        let keys: Vec<(&Key, &Option<Bind>)> = self.0.iter().zip(&token.keys).collect();
        if let Some((first, Some(value))) = keys.first()
            && !first.nullable
        {
            // Says nothing new, but in a form that an index can begin at.
            let operator = if first.ascending { " >= " } else { " <= " };
            let expression = first.ordered(query.dialect);
            query.push(" AND ").push(&expression).push(operator).bind(value.clone());
        }
        query.push(" AND ");
        for (index, (key, value)) in keys.iter().enumerate() {
            let expression = key.ordered(query.dialect);
            query.push("((");
            match value {
                Some(value) => {
                    let operator = if key.ascending { " > " } else { " < " };
                    query.push(&expression).push(operator).bind(value.clone());
                    if key.nullable {
                        query.push(" OR ").push(&key.expression).push(" IS NULL");
                    }
                }
                // The last ones already.
                None => {
                    query.push("1 = 0");
                }
            }
            query.push(")");
            if index + 1 < keys.len() {
                query.push(" OR (");
                match value {
                    Some(value) => query.push(&expression).push(" = ").bind(value.clone()),
                    None => query.push(&key.expression).push(" IS NULL"),
                };
                query.push(" AND ");
            }
        }
        query.push(")").push(&"))".repeat(keys.len().saturating_sub(1)));
    }
}

/// The clauses as an error names all of them.
pub fn printed(clauses: &[String]) -> String {
    super::super::python::repr_list(clauses.iter().map(String::as_str))
}
