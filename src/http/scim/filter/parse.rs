//! Reads filters and paths. Whatever does not read one way is refused, naming the place.

use serde_json::Value;

use super::super::{Kind, refuse};
use super::{Filter, Operator, Path, Place};
use crate::http::error::Refusal;
use crate::http::scim::schema::{Attribute, Shape};

/// Bytes of a filter, and how deep it nests.
const LONGEST: usize = 4096;
const DEEPEST: usize = 30;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Word(String),
    Value(Value),
}

/// Reads a `filter` parameter.
pub(in super::super) fn filter(kind: Kind, text: &str) -> Result<Filter, Refusal> {
    let mut reader = Reader::new(kind, text, "invalidFilter")?;
    let filter = reader.either(0)?;
    reader.end()?;
    Ok(filter)
}

/// Reads the path of a PATCH operation.
pub(in super::super) fn path(kind: Kind, text: &str) -> Result<Path, Refusal> {
    let mut reader = Reader::new(kind, text, "invalidPath")?;
    let name = reader.word()?;
    let place = reader.place(&name)?;
    if reader.next_is(&Token::OpenBracket) {
        if place.sub.is_some() || !matches!(place.attribute.shape, Shape::Many(_)) {
            return Err(reader.fail(&format!("`{name}` is not a list")));
        }
        reader.at += 1;
        reader.within = Some(place.attribute);
        let filter = reader.either(0)?;
        reader.take(&Token::CloseBracket)?;
        let sub = match reader.tokens.get(reader.at) {
            Some(Token::Word(word)) if word.starts_with('.') => {
                let found = place.attribute.sub(&word[1..]);
                let sub = found.ok_or_else(|| reader.fail(&format!("`{name}` has no `{}`", &word[1..])))?;
                reader.at += 1;
                Some(sub)
            }
            _ => None,
        };
        reader.end()?;
        return Ok(Path { attribute: place.attribute, filter: Some(filter), sub });
    }
    reader.end()?;
    Ok(Path { attribute: place.attribute, filter: None, sub: place.sub })
}

struct Reader {
    kind: Kind,
    problem: &'static str,
    tokens: Vec<Token>,
    at: usize,
    /// The list whose elements are asked about, inside brackets.
    within: Option<&'static Attribute>,
}

impl Reader {
    fn new(kind: Kind, text: &str, problem: &'static str) -> Result<Self, Refusal> {
        if text.len() > LONGEST {
            return Err(refuse(problem, format!("is longer than {LONGEST} bytes")));
        }
        let tokens = tokens(text).map_err(|what| refuse(problem, what))?;
        Ok(Self { kind, problem, tokens, at: 0, within: None })
    }

    fn fail(&self, what: &str) -> Refusal {
        refuse(self.problem, what.to_owned())
    }

    fn next_is(&self, token: &Token) -> bool {
        self.tokens.get(self.at) == Some(token)
    }

    fn take(&mut self, token: &Token) -> Result<(), Refusal> {
        if !self.next_is(token) {
            return Err(self.fail("a bracket does not close"));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.fail("goes on where it should end")) }
    }

    /// Takes the word if it is next, in any case.
    fn takes_word(&mut self, wanted: &str) -> bool {
        let is =
            matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(is);
        is
    }

    fn word(&mut self) -> Result<String, Refusal> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => Err(self.fail("an attribute is missing")),
        }
    }

    fn either(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut filter = self.both(depth)?;
        while self.takes_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.both(depth)?));
        }
        Ok(filter)
    }

    fn both(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut filter = self.one(depth)?;
        while self.takes_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one(depth)?));
        }
        Ok(filter)
    }

    fn one(&mut self, depth: usize) -> Result<Filter, Refusal> {
        if depth > DEEPEST {
            return Err(self.fail("nests too deep"));
        }
        let negated = self.takes_word("not");
        if self.next_is(&Token::Open) {
            self.at += 1;
            let inner = self.either(depth + 1)?;
            self.take(&Token::Close)?;
            return Ok(if negated { Filter::Not(Box::new(inner)) } else { inner });
        }
        if negated {
            return Err(self.fail("`not` is followed by parentheses"));
        }
        let name = self.word()?;
        let place = self.place(&name)?;
        if self.next_is(&Token::OpenBracket) {
            if self.within.is_some() || place.sub.is_some() || place.attribute.subs().is_empty() {
                return Err(self.fail(&format!("`{name}` is not a list")));
            }
            self.at += 1;
            self.within = Some(place.attribute);
            let inner = self.either(depth + 1)?;
            self.within = None;
            self.take(&Token::CloseBracket)?;
            return Ok(Filter::Element(place.attribute, Box::new(inner)));
        }
        self.comparison(&name, place)
    }

    fn comparison(&mut self, name: &str, place: Place) -> Result<Filter, Refusal> {
        let word = self.word().map_err(|_| self.fail(&format!("after `{name}` an operator is missing")))?;
        let operator = match word.to_ascii_lowercase().as_str() {
            "pr" => return Ok(Filter::Present(place)),
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "co" => Operator::Contains,
            "sw" => Operator::Starts,
            "ew" => Operator::Ends,
            "gt" => Operator::Greater,
            "ge" => Operator::GreaterOrEqual,
            "lt" => Operator::Less,
            "le" => Operator::LessOrEqual,
            _ => return Err(self.fail(&format!("`{word}` is not an operator"))),
        };
        let Some(Token::Value(value)) = self.tokens.get(self.at).cloned() else {
            return Err(
                self.fail(&format!("after `{word}` a value is missing: text stands in double quotes"))
            );
        };
        self.at += 1;
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if !equality && !value.is_string() {
            return Err(self.fail(&format!("`{word}` compares text")));
        }
        Ok(Filter::Compare(place, operator, value))
    }

    fn place(&self, name: &str) -> Result<Place, Refusal> {
        let unknown =
            || self.fail(&format!("`{name}` is not an attribute of a {}", self.kind.resource_type()));
        if let Some(attribute) = self.within {
            return Ok(Place { attribute, sub: Some(attribute.sub(name).ok_or_else(unknown)?) });
        }
        let (attribute, sub) = self.kind.resolve(name).ok_or_else(unknown)?;
        Ok(Place { attribute, sub })
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let single = match first {
            ' ' => {
                rest = &rest[1..];
                continue;
            }
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '[' => Some(Token::OpenBracket),
            ']' => Some(Token::CloseBracket),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push(token);
            rest = &rest[1..];
            continue;
        }
        let length = if first == '"' { quoted(rest)? } else { bare(rest) };
        let (piece, after) = rest.split_at(length);
        tokens.push(match piece {
            _ if first == '"' || first == '-' || first.is_ascii_digit() => {
                let value = serde_json::from_str(piece);
                Token::Value(value.map_err(|_| format!("`{piece}` is not a value"))?)
            }
            "true" | "false" | "null" => Token::Value(serde_json::from_str(piece).unwrap_or(Value::Null)),
            _ if piece.chars().all(|c| c.is_ascii_alphanumeric() || "_-$:.".contains(c)) => {
                Token::Word(piece.to_owned())
            }
            _ => return Err(format!("`{piece}` cannot be read")),
        });
        rest = after;
    }
    Ok(tokens)
}

/// How long the string in double quotes is, with its quotes.
fn quoted(text: &str) -> Result<usize, String> {
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(place + 1),
            _ => {}
        }
    }
    Err("a string does not end".to_owned())
}

fn bare(text: &str) -> usize {
    text.find([' ', '(', ')', '[', ']', '"']).unwrap_or(text.len()).max(1)
}
