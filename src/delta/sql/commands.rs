//! Statements that do something besides reading. They are read word by word: nothing is taken that is not here, and
//! nothing that follows is left unread.

mod alter;
mod create;
mod grant;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::reader::Reader;
use super::syntax::short;
use super::{Command, Name, SqlError, syntax};

pub(super) const SECURABLES: &[&str] = &[
    "CATALOG",
    "SCHEMA",
    "DATABASE",
    "TABLE",
    "VIEW",
    "VOLUME",
    "FUNCTION",
    "METASTORE",
    "EXTERNAL LOCATION",
];

pub(super) fn read(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Command, SqlError> {
    let mut statement = Words { text, reader: Reader::new(&tokens) };
    let command = statement.command()?;
    statement.reader.end()?;
    Ok(command)
}

/// A statement while it is read.
pub(super) struct Words<'a> {
    pub text: &'a str,
    pub reader: Reader<'a>,
}

impl Words<'_> {
    fn command(&mut self) -> Result<Command, SqlError> {
        let reader = &mut self.reader;
        if reader.words("CREATE") {
            return self.create();
        }
        if reader.words("ALTER") {
            return self.alter();
        }
        if reader.words("DROP") {
            return self.drop();
        }
        if reader.words("GRANT") {
            return self.grant();
        }
        if reader.words("REVOKE") {
            return self.revoke();
        }
        if reader.words("SHOW") {
            return self.show();
        }
        if reader.words("DESCRIBE") || reader.words("DESC") {
            return self.describe();
        }
        if reader.words("INSERT INTO") {
            return self.insert();
        }
        Err(match self.reader.peek() {
            Token::EOF | Token::SemiColon => SqlError::Statement("there is no statement".to_owned()),
            word => SqlError::Statement(format!(
                "`{}` is not done here. What is: SELECT, EXPLAIN, SHOW, DESCRIBE, CREATE, ALTER, DROP, GRANT, REVOKE, \
                 INSERT INTO",
                short(&word.to_string())
            )),
        })
    }

    fn drop(&mut self) -> Result<Command, SqlError> {
        let kind =
            self.reader.one_of(&["CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION"])?;
        let if_exists = self.reader.words("IF EXISTS");
        let name = self.reader.name()?;
        let cascade = self.reader.words("CASCADE");
        if !cascade {
            self.reader.words("RESTRICT");
        }
        Ok(Command::Drop { kind: one_word(kind), name, if_exists, cascade })
    }

    fn show(&mut self) -> Result<Command, SqlError> {
        if self.reader.any(&["GRANTS", "GRANT"]) {
            self.reader.next();
            return self.show_grants();
        }
        let what = self.reader.one_of(&["CATALOGS", "SCHEMAS", "DATABASES", "TABLES", "VOLUMES"])?;
        if what == "CATALOGS" {
            return Ok(Command::ShowCatalogs { like: self.like()? });
        }
        let within = if self.reader.words("IN") || self.reader.words("FROM") {
            Some(self.reader.name()?)
        } else {
            None
        };
        let like = self.like()?;
        Ok(match what {
            "TABLES" => Command::ShowTables { schema: within, like },
            "VOLUMES" => Command::ShowVolumes { schema: within, like },
            _ => Command::ShowSchemas { catalog: within, like },
        })
    }

    fn like(&mut self) -> Result<Option<String>, SqlError> {
        let said = self.reader.words("LIKE");
        if said || matches!(self.reader.peek(), Token::SingleQuotedString(_)) {
            return self.reader.text().map(Some);
        }
        Ok(None)
    }

    fn describe(&mut self) -> Result<Command, SqlError> {
        let kind = ["CATALOG", "SCHEMA", "DATABASE", "TABLE", "VOLUME", "FUNCTION"]
            .into_iter()
            // A table may have the name of a kind.
            .find(|kind| self.reader.word_is(0, kind) && !self.reader.ends_after(1));
        if kind.is_some() {
            self.reader.next();
        }
        let extended = (self.reader.word_is(0, "EXTENDED") && !self.reader.ends_after(1))
            && self.reader.words("EXTENDED");
        let name = self.reader.name()?;
        Ok(Command::Describe { kind: one_word(kind.unwrap_or("TABLE")), name, extended })
    }

    fn insert(&mut self) -> Result<Command, SqlError> {
        self.reader.words("TABLE");
        let table = self.reader.name()?;
        let mut columns = Vec::new();
        // `(SELECT …)` is a query in brackets.
        if self.reader.peek() == &Token::LParen && !self.reader.query_in_brackets() {
            columns = self.reader.list()?;
        }
        let query = self.rest_as_query()?;
        Ok(Command::Insert { table, columns, query })
    }

    /// What is left, which has to be a query.
    pub fn rest_as_query(&mut self) -> Result<String, SqlError> {
        let query = self.rest()?;
        if syntax::here::query(&query)?.explain {
            return Err(SqlError::Statement("EXPLAIN is no query".to_owned()));
        }
        Ok(query)
    }

    /// The text of what is left, without the semicolon at its end.
    pub fn rest(&mut self) -> Result<String, SqlError> {
        let rest = self.reader.rest();
        let written = rest.iter().rposition(|token| !matches!(token.token, Token::SemiColon | Token::EOF));
        let (Some(first), Some(last)) = (rest.first(), written.and_then(|at| rest.get(at))) else {
            return Err(self.reader.unexpected("more"));
        };
        let begin = offset(self.text, first.span.start);
        let end = offset(self.text, last.span.end);
        let Some(text) = self.text.get(begin..end).filter(|text| !text.trim().is_empty()) else {
            return Err(self.reader.unexpected("more"));
        };
        self.reader.skip_to(self.reader.position() + rest.len());
        Ok(text.to_owned())
    }

    pub fn if_not_exists(&mut self) -> bool {
        self.reader.words("IF NOT EXISTS")
    }
}

/// Where in the text a place is that is counted in lines and letters from 1.
fn offset(text: &str, at: datafusion::sql::sqlparser::tokenizer::Location) -> usize {
    let (mut line, mut column) = (1u64, 1u64);
    for (offset, letter) in text.char_indices() {
        if (line, column) >= (at.line, at.column) {
            return offset;
        }
        if letter == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    text.len()
}

/// DATABASE is another word for SCHEMA.
pub(super) fn one_word(kind: &str) -> String {
    match kind {
        "DATABASE" => "SCHEMA".to_owned(),
        kind => kind.to_owned(),
    }
}

/// A function's full name and the columns it takes.
pub(super) type Applied = (Name, Vec<String>);
