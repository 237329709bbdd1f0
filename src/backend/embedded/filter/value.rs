//! The value of a comparison, in the form that its column wants.

use super::super::problem::Problem;
use super::grouping::Shape;
use super::{Clause, Piece, within};

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(Number),
    Texts(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl Piece<'_> {
    /// Whether this stands where a text may: quoted, or a bare word that should have been quoted.
    pub fn is_text(&self) -> bool {
        matches!(self.shape, Shape::Single | Shape::Identifier)
    }

    pub fn is_number(&self) -> bool {
        matches!(self.shape, Shape::Integer | Shape::Float)
    }

    pub fn is_list(&self) -> bool {
        self.shape == Shape::Parenthesis
    }

    /// The text within the quotes; nothing in it is escaped.
    pub fn quoted(&self) -> Result<String, Problem> {
        within(self.text, '\'').or_else(|| within(self.text, '"')).map(str::to_owned).ok_or_else(|| {
            self.refuse(format!(
                "Parameter value is either not quoted or unidentified quote types used for string value {}. \
                 Use either single or double quotes.",
                self.text
            ))
        })
    }

    pub fn number(&self) -> Result<Number, Problem> {
        let read = match self.shape {
            Shape::Integer => self.text.parse().ok().map(Number::Integer),
            Shape::Float => self.text.parse().ok().filter(|f: &f64| f.is_finite()).map(Number::Float),
            _ => None,
        };
        read.ok_or_else(|| self.refuse(format!("The number {} is out of range", self.text)))
    }

    /// The texts of `('a', "b")`, read as Python reads literals.
    pub fn list(&self) -> Result<Vec<String>, Problem> {
        let inside = self.text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let items = inside.ok_or(ListError::IllFormed).and_then(literals);
        items.map_err(|error| {
            self.refuse(match error {
                ListError::Empty => {
                    "While parsing a list in the query, expected a non-empty list of string values, but got \
                     empty list"
                        .to_owned()
                }
                ListError::NotText => format!(
                    "While parsing a list in the query, expected string value, punctuation, or whitespace, \
                     but got different type in list: {}",
                    self.text
                ),
                ListError::IllFormed => {
                    "While parsing a list in the query, expected a non-empty list of string values, but got \
                     ill-formed list."
                        .to_owned()
                }
            })
        })
    }
}

impl Clause<'_> {
    /// The quoted text; if there is something else in its place, the error that `message` makes of it.
    pub fn text_value(&self, message: impl FnOnce(&str) -> String) -> Result<String, Problem> {
        match &self.value {
            Some(piece) if piece.is_text() => piece.quoted(),
            Some(piece) => Err(piece.refuse(message(piece.text))),
            None => Err(self.identifier.refuse(message("NULL"))),
        }
    }

    /// The number; if there is something else in its place, the error that `message` makes of it.
    pub fn number_value(&self, message: impl FnOnce(&str) -> String) -> Result<Number, Problem> {
        match &self.value {
            Some(piece) if piece.is_number() => piece.number(),
            Some(piece) => Err(piece.refuse(message(piece.text))),
            None => Err(self.identifier.refuse(message("NULL"))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListError {
    Empty,
    NotText,
    IllFormed,
}

/// Python texts between commas; those without a comma between them are one.
fn literals(inside: &str) -> Result<Vec<String>, ListError> {
    let mut items: Vec<String> = Vec::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let mut item = String::new();
        let mut found = false;
        while let Some(quote) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            rest = literal(&rest[1..], quote, &mut item)?.trim_start();
            found = true;
        }
        if !found {
            let numeric = rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
            let named = ["None", "True", "False"].iter().any(|name| rest.starts_with(name));
            return Err(if numeric || named || rest.starts_with(['(', '[', '{']) {
                ListError::NotText
            } else {
                ListError::IllFormed
            });
        }
        items.push(item);
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',').ok_or(ListError::IllFormed)?.trim_start();
    }
    if items.is_empty() { Err(ListError::Empty) } else { Ok(items) }
}

/// One text up to its closing quote; answers what is behind it.
fn literal<'a>(mut rest: &'a str, quote: char, item: &mut String) -> Result<&'a str, ListError> {
    loop {
        let next = rest.chars().next().ok_or(ListError::IllFormed)?;
        rest = &rest[next.len_utf8()..];
        match next {
            end if end == quote => return Ok(rest),
            '\n' => return Err(ListError::IllFormed),
            '\\' => rest = escape(rest, item)?,
            other => item.push(other),
        }
    }
}

fn escape<'a>(rest: &'a str, item: &mut String) -> Result<&'a str, ListError> {
    let next = rest.chars().next().ok_or(ListError::IllFormed)?;
    let behind = &rest[next.len_utf8()..];
    let hexadecimal = |digits: usize| {
        let code = behind.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = code.and_then(|text| u32::from_str_radix(text, 16).ok()).and_then(char::from_u32);
        // Our databases hold no U+0000.
        code.filter(|code| *code != '\0').map(|code| (code, &behind[digits..])).ok_or(ListError::IllFormed)
    };
    let (character, behind) = match next {
        '\\' | '\'' | '"' => (next, behind),
        '\n' => return Ok(behind),
        'a' => ('\u{7}', behind),
        'b' => ('\u{8}', behind),
        'f' => ('\u{c}', behind),
        'n' => ('\n', behind),
        'r' => ('\r', behind),
        't' => ('\t', behind),
        'v' => ('\u{b}', behind),
        'x' => hexadecimal(2)?,
        'u' => hexadecimal(4)?,
        'U' => hexadecimal(8)?,
        'N' => return Err(ListError::IllFormed),
        '0'..='7' => {
            let length = rest.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let code = u32::from_str_radix(&rest[..length], 8).ok().and_then(char::from_u32);
            let code = code.filter(|code| *code != '\0').ok_or(ListError::IllFormed)?;
            (code, &rest[length..])
        }
        other => {
            item.push('\\');
            (other, behind)
        }
    };
    item.push(character);
    Ok(behind)
}
