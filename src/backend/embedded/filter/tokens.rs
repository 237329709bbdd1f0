//! The words of a filter, as MLflow's tokenizer cuts and names them. It is one for SQL in general, so that
//! `key` is a keyword, `text` a type and `a-b` an operation.

use std::collections::HashSet;
use std::sync::LazyLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Comment,
    Name,
    Placeholder,
    /// The name of a type.
    Builtin,
    Keyword,
    /// ASC or DESC, with NULLS FIRST or LAST.
    Order,
    Integer,
    Float,
    Hexadecimal,
    /// A text in single quotes.
    Single,
    /// A text in double quotes, which SQL takes for a name.
    Symbol,
    Punctuation,
    Comparator,
    Operator,
    Wildcard,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

static KEYWORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("keywords.txt").split_ascii_whitespace().collect());
static BUILTINS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("builtins.txt").split_ascii_whitespace().collect());

/// The words of a text, without the spaces between them.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = token(text, at, first);
        found.push(Token { kind, start: at, end: at + length });
        at += length;
    }
    found
}

/// The word that begins here: what it is, and how many bytes it has.
fn token(text: &str, at: usize, first: char) -> (Kind, usize) {
    let rest = &text[at..];
    let before = text[..at].chars().next_back();
    let single = first.len_utf8();
    if rest.starts_with("--") || rest.starts_with("# ") {
        return (Kind::Comment, rest.find(['\r', '\n']).map_or(rest.len(), |end| end + 1));
    }
    if rest.starts_with("/*")
        && let Some(end) = rest[2..].find("*/")
    {
        return (Kind::Comment, end + 4);
    }
    match first {
        '*' => return (Kind::Wildcard, 1),
        '`' | '´' => {
            return quoted(rest, first, false).map_or((Kind::Error, single), |end| (Kind::Name, end));
        }
        '\'' => return quoted(rest, first, true).map_or((Kind::Error, 1), |end| (Kind::Single, end)),
        '"' => return quoted(rest, first, true).map_or((Kind::Error, 1), |end| (Kind::Symbol, end)),
        '?' => return (Kind::Placeholder, 1),
        '$' | ':' if !before.is_some_and(is_word) && word_length(&rest[1..]) > 0 => {
            return (Kind::Placeholder, 1 + word_length(&rest[1..]));
        }
        // A command of some database's shell.
        '\\' if word_length(&rest[1..]) > 0 => return (Kind::Error, 1 + word_length(&rest[1..])),
        ':' => return (Kind::Punctuation, if rest.starts_with("::") { 2 } else { 1 }),
        '%' if rest.starts_with("%s") => return (Kind::Placeholder, 2),
        '#' | '@' if rest[1..].starts_with(is_letter) && word_length(&rest[1..]) > 1 => {
            return (Kind::Name, 1 + word_length(&rest[1..]));
        }
        '\\' => return (Kind::Error, single + word_length(&rest[1..])),
        '[' if !before.is_some_and(|c| is_word(c) || c == ']' || c == ')') => {
            let inside = rest[1..].find(['[', ']']).filter(|end| *end > 0);
            if let Some(end) = inside.filter(|end| rest[1 + end..].starts_with(']')) {
                return (Kind::Name, end + 2);
            }
        }
        _ => {}
    }
    if let Some(found) = number(rest) {
        return found;
    }
    if is_word(first) {
        return word(rest, before);
    }
    match first {
        ';' | '(' | ')' | '[' | ']' | ',' | '.' => (Kind::Punctuation, 1),
        '<' | '>' | '=' | '~' | '!' => (Kind::Comparator, run(rest, "<>=~!")),
        '-' => (Kind::Operator, 1),
        '+' | '/' | '@' | '#' | '%' | '^' | '&' | '|' => (Kind::Operator, run(rest, "+/@#%^&|-")),
        _ => (Kind::Error, single),
    }
}

fn run(rest: &str, of: &str) -> usize {
    rest.find(|character| !of.contains(character)).unwrap_or(rest.len())
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// A letter as names begin with.
fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic() || matches!(character, 'À'..='Ü' | 'à'..='ü' | 'ı' | 'ſ' | '\u{212a}')
}

fn word_length(rest: &str) -> usize {
    rest.find(|character| !is_word(character)).unwrap_or(rest.len())
}

/// A quoted text from its first to its last quote. A doubled quote stands for itself, and so does one behind
/// a backslash, unless the text would never end: then the last such one ends it.
fn quoted(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let width = quote.len_utf8();
    let mut at = width;
    let mut last_resort = None;
    while let Some(next) = rest[at..].chars().next() {
        let behind = at + next.len_utf8();
        if next == quote {
            if !rest[behind..].starts_with(quote) {
                return Some(behind);
            }
            last_resort = Some(behind);
            at = behind + width;
        } else if backslash && next == '\\' && rest[behind..].starts_with(quote) {
            last_resort = Some(behind + width);
            at = behind + width;
        } else {
            at = behind;
        }
    }
    last_resort
}

fn digits(rest: &str) -> usize {
    rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())
}

fn number(rest: &str) -> Option<(Kind, usize)> {
    let sign = usize::from(rest.starts_with('-'));
    let unsigned = &rest[sign..];
    if let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let length = hexadecimal.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hexadecimal.len());
        if length > 0 {
            return Some((Kind::Hexadecimal, sign + 2 + length));
        }
    }
    let whole = digits(unsigned);
    let fraction = unsigned[whole..].strip_prefix('.').map(digits);
    // With an exponent.
    let mantissa = whole + fraction.filter(|length| *length > 0).map_or(0, |length| length + 1);
    if whole > 0
        && let Some(exponent) = unsigned[mantissa..].strip_prefix(['e', 'E'])
    {
        let minus = usize::from(exponent.starts_with('-'));
        let length = digits(&exponent[minus..]);
        if length > 0 {
            return Some((Kind::Float, sign + mantissa + 1 + minus + length));
        }
    }
    // A number may not run into a name: then it gives up its last digit.
    let free = |end: usize| !unsigned[end..].starts_with(|c: char| c == '_' || is_letter(c));
    if let Some(decimals) = fraction.filter(|decimals| whole + decimals > 0) {
        let end = whole + 1 + decimals;
        if free(end) {
            return Some((Kind::Float, sign + end));
        }
        let least = if whole > 0 { 0 } else { 1 };
        if decimals > least {
            return Some((Kind::Float, sign + end - 1));
        }
    }
    match whole {
        0 => None,
        _ if free(whole) => Some((Kind::Integer, sign + whole)),
        1 => None,
        _ => Some((Kind::Integer, sign + whole - 1)),
    }
}

fn word(rest: &str, before: Option<char>) -> (Kind, usize) {
    let plain = word_length(rest);
    let behind = &rest[plain..];
    let upper = rest[..plain].to_uppercase();
    // Never names, whatever follows.
    if matches!(upper.as_str(), "CASE" | "IN" | "VALUES" | "USING" | "FROM" | "AS") {
        return (Kind::Keyword, plain);
    }
    if rest.starts_with(is_letter) {
        let dot = behind.trim_start().strip_prefix('.');
        let member = dot.is_some_and(|next| !next.starts_with(|c: char| c.is_ascii_digit()));
        if member || before == Some('.') || behind.starts_with('(') {
            return (Kind::Name, plain);
        }
    }
    if let Some(found) = phrase(rest, &upper, plain) {
        return found;
    }
    let length = rest.find(|c: char| !is_word(c) && c != '$' && c != '#').unwrap_or(rest.len());
    let upper = rest[..length].to_uppercase();
    let kind = match upper.as_str() {
        known if BUILTINS.contains(known) => Kind::Builtin,
        "DIV" => Kind::Operator,
        known if KEYWORDS.contains(known) => Kind::Keyword,
        _ => Kind::Name,
    };
    (kind, length)
}

/// Words that belong together.
fn phrase(rest: &str, upper: &str, length: usize) -> Option<(Kind, usize)> {
    // The length up to the end of `next` if that follows behind some space.
    let follows = |from: usize, next: &str| {
        let trimmed = rest[from..].trim_start();
        let start = rest.len() - trimmed.len();
        let word = &trimmed[..word_length(trimmed)];
        (start > from && word.eq_ignore_ascii_case(next)).then_some(start + word.len())
    };
    match upper {
        "LIKE" | "ILIKE" | "RLIKE" | "REGEXP" => Some((Kind::Comparator, length)),
        "NOT" => ["LIKE", "ILIKE", "RLIKE", "REGEXP"]
            .iter()
            .find_map(|next| follows(length, next))
            .map(|end| (Kind::Comparator, end))
            .or_else(|| follows(length, "NULL").map(|end| (Kind::Keyword, end))),
        "ASC" | "DESC" => {
            let nulls = follows(length, "NULLS")
                .and_then(|end| follows(end, "FIRST").or_else(|| follows(end, "LAST")));
            Some((Kind::Order, nulls.unwrap_or(length)))
        }
        "NULLS" => follows(length, "FIRST").or_else(|| follows(length, "LAST")).map(|end| (Kind::Order, end)),
        "GROUP" | "ORDER" => follows(length, "BY").map(|end| (Kind::Keyword, end)),
        "UNION" => follows(length, "ALL").map(|end| (Kind::Keyword, end)),
        _ => None,
    }
}
