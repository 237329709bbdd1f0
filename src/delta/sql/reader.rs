//! Reads words one after the other.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::short;
use super::{Name, SqlError};

/// Where a reading is among the tokens of a statement; spaces are not among them.
pub(super) struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(tokens: &'a [TokenWithSpan]) -> Self {
        Self { tokens, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn skip_to(&mut self, position: usize) {
        self.at = position;
    }

    pub fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    pub fn peek(&self) -> &'a Token {
        self.tokens.get(self.at).map_or(&Token::EOF, |token| &token.token)
    }

    pub fn next(&mut self) -> &'a Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Whether the token `ahead` of here is this word, unquoted.
    pub fn word_is(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead).map(|token| &token.token),
            Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    pub fn any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.word_is(0, word))
    }

    /// Takes all the words, or none.
    pub fn words(&mut self, words: &str) -> bool {
        let found = words.split(' ').enumerate().all(|(ahead, word)| self.word_is(ahead, word));
        if found {
            self.at += words.split(' ').count();
        }
        found
    }

    pub fn expect(&mut self, words: &str) -> Result<(), SqlError> {
        if self.words(words) { Ok(()) } else { Err(self.unexpected(words)) }
    }

    pub fn symbol(&mut self, symbol: &Token) -> bool {
        let found = self.peek() == symbol;
        if found {
            self.at += 1;
        }
        found
    }

    pub fn expect_symbol(&mut self, symbol: &Token) -> Result<(), SqlError> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.unexpected(&symbol.to_string())) }
    }

    /// One of these words, in upper case.
    pub fn one_of(&mut self, words: &[&'static str]) -> Result<&'static str, SqlError> {
        match words.iter().find(|word| self.word_is(0, word)) {
            Some(word) => {
                self.at += 1;
                Ok(word)
            }
            None => Err(self.unexpected(&words.join(", "))),
        }
    }

    /// An identifier as it is written.
    pub fn identifier(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::Word(word) if matches!(word.quote_style, None | Some('`')) => {
                self.at += 1;
                Ok(word.value.clone())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// A name of one to three parts, in lower case.
    pub fn name(&mut self) -> Result<Name, SqlError> {
        let mut parts = vec![part(&self.identifier()?)?];
        while self.symbol(&Token::Period) {
            parts.push(part(&self.identifier()?)?);
        }
        if parts.len() > 3 {
            return Err(SqlError::Statement(format!("the name `{}` has too many parts", short(&parts.join(".")))));
        }
        Ok(parts)
    }

    pub fn text(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => Err(self.unexpected("a text in quotes")),
        }
    }

    /// Names in brackets, with commas.
    pub fn list(&mut self) -> Result<Vec<String>, SqlError> {
        self.expect_symbol(&Token::LParen)?;
        let mut names = Vec::new();
        if self.symbol(&Token::RParen) {
            return Ok(names);
        }
        loop {
            names.push(self.identifier()?.to_lowercase());
            if !self.symbol(&Token::Comma) {
                self.expect_symbol(&Token::RParen)?;
                return Ok(names);
            }
        }
    }

    pub fn end(&mut self) -> Result<(), SqlError> {
        while self.symbol(&Token::SemiColon) {}
        match self.peek() {
            Token::EOF => Ok(()),
            token => Err(SqlError::Statement(format!(
                "[PARSE_SYNTAX_ERROR] `{}` is not expected here; one statement is run at a time",
                short(&token.to_string())
            ))),
        }
    }

    pub fn unexpected(&self, wanted: &str) -> SqlError {
        SqlError::Statement(match self.peek() {
            Token::EOF => format!("[PARSE_SYNTAX_ERROR] the statement ends where {wanted} is expected"),
            token => format!("[PARSE_SYNTAX_ERROR] `{}` found where {wanted} is expected", short(&token.to_string())),
        })
    }
}

/// A part of a name of the catalog, in lower case. What could be a path, or be read as two parts, is no name.
pub(super) fn part(written: &str) -> Result<String, SqlError> {
    let bad = |letter: char| letter.is_control() || letter.is_whitespace() || "./\\:\"'`;".contains(letter);
    if written.is_empty() || written.len() > 255 || written.contains(bad) {
        return Err(SqlError::Statement(format!(
            "`{}` is no name of a table, view, schema or catalog; files and paths are not read by SQL here",
            short(written)
        )));
    }
    Ok(written.to_lowercase())
}
