//! Words that belong together: `tags.a` is one identifier, `(…)` one list, `x = 1` one comparison.
//!
//! The steps and their order are those of MLflow's tokenizer, so that what it cannot place is called by the
//! same name in the error: `a = 'b' c` is an alias, `a = 'b', c = 'd'` a list.

use super::tokens::{self, Kind, Token};

/// Beyond this many words, and beyond this depth of parentheses, MLflow's tokenizer gives up.
const MAX_TOKENS: usize = 10_000;
const MAX_DEPTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Name,
    Identifier,
    Builtin,
    Keyword,
    Order,
    Integer,
    Float,
    Hexadecimal,
    /// A text in single quotes.
    Single,
    Symbol,
    Placeholder,
    Parenthesis,
    Function,
    Operation,
    Comparison,
    List,
    Punctuation,
    Comparator,
    Operator,
    Comment,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub shape: Shape,
    pub start: usize,
    pub end: usize,
    /// Of a comparison.
    pub parts: Option<Box<Parts>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub left: Node,
    pub comparator: String,
    pub comparator_start: usize,
    pub right: Option<Node>,
}

impl Node {
    fn new(shape: Shape, start: usize, end: usize) -> Self {
        Self { shape, start, end, parts: None }
    }

    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }

    pub fn is_word(&self, text: &str, word: &str) -> bool {
        self.text(text).eq_ignore_ascii_case(word)
    }

    /// What can stand beside a comparator or an operator.
    fn is_operand(&self) -> bool {
        use Shape::*;
        matches!(
            self.shape,
            Name | Identifier
                | Integer
                | Float
                | Single
                | Symbol
                | Placeholder
                | Parenthesis
                | Function
                | Operation
        )
    }
}

/// The words of a filter, grouped; or the byte at which they are too many or too deep.
pub fn group(text: &str) -> Result<Vec<Node>, usize> {
    let words = tokens::tokens(text);
    if let Some(extra) = words.get(MAX_TOKENS) {
        return Err(extra.start);
    }
    let nodes = parentheses(&words, text)?;
    let nodes = functions(nodes);
    let nodes = members(nodes, text);
    let nodes = nodes.into_iter().map(identifier).collect();
    let nodes = ordered(nodes);
    let nodes = infix(nodes, Shape::Operator, Shape::Operation, Node::is_operand, Node::is_operand);
    let nodes = comparisons(nodes, text);
    Ok(lists(aliases(renamed(nodes, text)), text))
}

fn shape_of(kind: Kind) -> Shape {
    match kind {
        Kind::Comment => Shape::Comment,
        Kind::Name => Shape::Name,
        Kind::Placeholder => Shape::Placeholder,
        Kind::Builtin => Shape::Builtin,
        Kind::Keyword => Shape::Keyword,
        Kind::Order => Shape::Order,
        Kind::Integer => Shape::Integer,
        Kind::Float => Shape::Float,
        Kind::Hexadecimal => Shape::Hexadecimal,
        Kind::Single => Shape::Single,
        Kind::Symbol => Shape::Symbol,
        Kind::Punctuation => Shape::Punctuation,
        Kind::Comparator => Shape::Comparator,
        Kind::Operator | Kind::Wildcard => Shape::Operator,
        Kind::Error => Shape::Error,
    }
}

fn is(node: &Node, text: &str, punctuation: &str) -> bool {
    node.shape == Shape::Punctuation && node.text(text) == punctuation
}

/// Pairs of parentheses become one node; one without its partner stays as it is.
fn parentheses(words: &[Token], text: &str) -> Result<Vec<Node>, usize> {
    let mut nodes: Vec<Node> = Vec::with_capacity(words.len());
    let mut open = Vec::new();
    for word in words {
        let node = Node::new(shape_of(word.kind), word.start, word.end);
        if is(&node, text, "(") {
            open.push(nodes.len());
            if open.len() > MAX_DEPTH {
                return Err(word.start);
            }
        } else if is(&node, text, ")")
            && let Some(first) = open.pop()
        {
            let start = nodes[first].start;
            nodes.truncate(first);
            nodes.push(Node::new(Shape::Parenthesis, start, word.end));
            continue;
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// `name(…)`.
fn functions(nodes: Vec<Node>) -> Vec<Node> {
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match grouped.last_mut() {
            Some(name) if name.shape == Shape::Name && node.shape == Shape::Parenthesis => {
                name.shape = Shape::Function;
                name.end = node.end;
            }
            _ => grouped.push(node),
        }
    }
    grouped
}

/// `a.b.c`; what cannot follow a dot stays outside.
fn members(nodes: Vec<Node>, text: &str) -> Vec<Node> {
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let before = grouped.last_mut().filter(|last| {
            is(&node, text, ".") && matches!(last.shape, Shape::Name | Shape::Symbol | Shape::Identifier)
        });
        let Some(before) = before else {
            grouped.push(node);
            continue;
        };
        before.shape = Shape::Identifier;
        before.end = node.end;
        let member = nodes.next_if(|next| {
            matches!(next.shape, Shape::Name | Shape::Symbol | Shape::Single | Shape::Function)
                || (next.shape == Shape::Operator && next.text(text) == "*")
        });
        if let Some(member) = member {
            before.end = member.end;
        }
    }
    grouped
}

fn identifier(node: Node) -> Node {
    match node.shape {
        Shape::Name | Shape::Symbol => Node { shape: Shape::Identifier, ..node },
        _ => node,
    }
}

/// `name DESC`.
fn ordered(nodes: Vec<Node>) -> Vec<Node> {
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match grouped.last_mut() {
            Some(last)
                if node.shape == Shape::Order
                    && matches!(last.shape, Shape::Identifier | Shape::Integer | Shape::Float) =>
            {
                last.shape = Shape::Identifier;
                last.end = node.end;
            }
            _ => grouped.push(node),
        }
    }
    grouped
}

/// `left middle right` becomes one node, from the left.
fn infix(
    nodes: Vec<Node>,
    middle: Shape,
    made: Shape,
    left: impl Fn(&Node) -> bool,
    right: impl Fn(&Node) -> bool,
) -> Vec<Node> {
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let fits =
            node.shape == middle && grouped.last().is_some_and(&left) && nodes.peek().is_some_and(&right);
        match (fits, grouped.last_mut()) {
            (true, Some(last)) => {
                let end = nodes.next().map_or(node.end, |next| next.end);
                *last = Node::new(made, last.start, end);
            }
            _ => grouped.push(node),
        }
    }
    grouped
}

fn comparisons(nodes: Vec<Node>, text: &str) -> Vec<Node> {
    let null = |node: &Node| node.shape == Shape::Keyword && node.is_word(text, "NULL");
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let left = grouped
            .last()
            .is_some_and(|last| last.is_operand() || null(last) || last.shape == Shape::Comparison);
        if node.shape == Shape::Comparator
            && left
            && let Some(right) = nodes.next_if(|next| next.is_operand() || null(next))
            && let Some(left) = grouped.pop()
        {
            grouped.push(compared(left, node.text(text).to_owned(), node.start, Some(right)));
        } else {
            grouped.push(node);
        }
    }
    grouped
}

fn compared(left: Node, comparator: String, comparator_start: usize, right: Option<Node>) -> Node {
    let end = right.as_ref().map_or(left.end, |right| right.end);
    Node {
        shape: Shape::Comparison,
        start: left.start,
        end,
        parts: Some(Box::new(Parts { left, comparator, comparator_start, right })),
    }
}

/// `x AS y`.
fn renamed(nodes: Vec<Node>, text: &str) -> Vec<Node> {
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let fits = node.shape == Shape::Keyword
            && node.is_word(text, "AS")
            && grouped.last().is_some_and(|last| !matches!(last.shape, Shape::Keyword | Shape::Order))
            && nodes.peek().is_some();
        match (fits, grouped.last_mut()) {
            (true, Some(last)) => {
                let end = nodes.next().map_or(node.end, |next| next.end);
                *last = Node::new(Shape::Identifier, last.start, end);
            }
            _ => grouped.push(node),
        }
    }
    grouped
}

/// `x y`.
fn aliases(nodes: Vec<Node>) -> Vec<Node> {
    use Shape::*;
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut made = false;
    for node in nodes {
        let named = |last: &Node| {
            matches!(
                last.shape,
                Parenthesis | Function | Identifier | Operation | Comparison | Integer | Float | Hexadecimal
            )
        };
        match grouped.last_mut() {
            Some(last) if !made && node.shape == Identifier && named(last) => {
                *last = Node::new(Identifier, last.start, node.end);
                made = true;
            }
            _ => {
                grouped.push(node);
                made = false;
            }
        }
    }
    grouped
}

/// `x, y`.
fn lists(nodes: Vec<Node>, text: &str) -> Vec<Node> {
    let element = |node: &Node| {
        !matches!(
            node.shape,
            Shape::Punctuation
                | Shape::Parenthesis
                | Shape::Comparator
                | Shape::Operator
                | Shape::Error
                | Shape::Builtin
        )
    };
    let mut grouped: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter().peekable();
    while let Some(node) = nodes.next() {
        let fits =
            is(&node, text, ",") && grouped.last().is_some_and(element) && nodes.peek().is_some_and(element);
        match (fits, grouped.last_mut()) {
            (true, Some(last)) => {
                let end = nodes.next().map_or(node.end, |next| next.end);
                *last = Node::new(Shape::List, last.start, end);
            }
            _ => grouped.push(node),
        }
    }
    grouped
}

/// Where a second statement begins, behind a semicolon.
pub fn second_statement(nodes: &[Node], text: &str) -> Option<usize> {
    let semicolon = nodes.iter().position(|node| is(node, text, ";"))?;
    nodes[semicolon + 1..].iter().find(|node| node.shape != Shape::Comment).map(|node| node.start)
}

pub fn is_bare_timestamp(node: &Node, text: &str) -> bool {
    node.shape == Shape::Builtin && node.text(text) == "timestamp"
}

/// IN, NOT IN, IS NULL and IS NOT NULL are keywords, not comparators: their comparisons are joined last, three
/// or four words at a time.
pub fn join_keywords(nodes: Vec<Node>, text: &str, bare_timestamp: bool) -> Vec<Node> {
    let keyword = |node: &Node, word: &str| node.shape == Shape::Keyword && node.is_word(text, word);
    let mut joined: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter();
    while let Some(first) = nodes.next() {
        if nodes.len() < 2 {
            joined.push(first);
            joined.extend(nodes);
            break;
        }
        if bare_timestamp && is_bare_timestamp(&first, text) {
            let (Some(second), Some(third)) = (nodes.next(), nodes.next()) else { break };
            let numeric = matches!(second.text(text), ">" | ">=" | "!=" | "=" | "<" | "<=");
            if second.shape == Shape::Comparator && numeric && third.shape == Shape::Integer {
                let comparator = second.text(text).to_owned();
                joined.push(compared(first, comparator, second.start, Some(third)));
            } else {
                joined.extend([first.clone(), second, third, first]);
            }
            continue;
        }
        if first.shape != Shape::Identifier {
            joined.push(first);
            continue;
        }
        let (Some(second), Some(third)) = (nodes.next(), nodes.next()) else { break };
        if keyword(&second, "IN") && third.shape == Shape::Parenthesis {
            let comparator = second.text(text).to_owned();
            joined.push(compared(first, comparator, second.start, Some(third)));
            continue;
        }
        let null = ["NULL", "NOT NULL"].into_iter().find(|word| keyword(&third, word));
        if let Some(null) = null.filter(|_| keyword(&second, "IS")) {
            let node = compared(first, format!("IS {null}"), second.start, None);
            joined.push(Node { end: third.end, ..node });
            continue;
        }
        let Some(fourth) = nodes.next() else {
            joined.extend([first, second, third]);
            break;
        };
        if keyword(&second, "NOT") && keyword(&third, "IN") && fourth.shape == Shape::Parenthesis {
            joined.push(compared(first, "NOT IN".to_owned(), second.start, Some(fourth)));
            continue;
        }
        joined.extend([first, second, third, fourth]);
    }
    joined
}
