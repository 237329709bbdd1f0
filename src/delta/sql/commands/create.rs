//! CREATE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Words;
use crate::sql::{Command, FunctionText, SqlError, syntax};

/// Column name, SQL type, nullable, comment.
pub(in crate::sql) type Column = (String, String, bool, Option<String>);

impl Words<'_> {
    pub(super) fn create(&mut self) -> Result<Command, SqlError> {
        let or_replace = self.reader.words("OR REPLACE");
        let external = self.reader.words("EXTERNAL");
        let kind =
            self.reader.one_of(&["CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION"])?;
        if external && !matches!(kind, "TABLE" | "VOLUME") {
            return Err(SqlError::Statement(format!("there is no EXTERNAL {kind}")));
        }
        if or_replace && !matches!(kind, "VIEW" | "FUNCTION") {
            return Err(SqlError::Statement(format!(
                "CREATE OR REPLACE {kind} is not done here: drop it first"
            )));
        }
        let if_not_exists = self.if_not_exists();
        if or_replace && if_not_exists {
            return Err(SqlError::Statement("OR REPLACE and IF NOT EXISTS exclude one another".to_owned()));
        }
        let name = self.reader.name()?;
        match kind {
            "CATALOG" => Ok(Command::CreateCatalog { name, if_not_exists, comment: self.comment()? }),
            "SCHEMA" | "DATABASE" => {
                Ok(Command::CreateSchema { name, if_not_exists, comment: self.comment()? })
            }
            "VOLUME" => {
                let (location, comment) = self.options()?;
                if external && location.is_none() {
                    return Err(self.reader.unexpected("LOCATION"));
                }
                Ok(Command::CreateVolume { name, if_not_exists, location, comment })
            }
            "TABLE" => {
                let columns = self.columns()?;
                let (location, comment) = self.options()?;
                if self.reader.any(&["AS", "SELECT", "LIKE", "CLONE"]) {
                    return Err(SqlError::Statement(
                        "CREATE TABLE … AS is not done here: create it with its columns, then INSERT INTO"
                            .to_owned(),
                    ));
                }
                if external && location.is_none() {
                    return Err(self.reader.unexpected("LOCATION"));
                }
                Ok(Command::CreateTable { name, if_not_exists, columns, location, comment })
            }
            "VIEW" => {
                if self.reader.peek() == &Token::LParen {
                    return Err(SqlError::Statement(
                        "names of columns after a view's name are not done here: give them in the query, with AS"
                            .to_owned(),
                    ));
                }
                let comment = self.comment()?;
                self.reader.expect("AS")?;
                let definition = self.rest_as_query()?;
                Ok(Command::CreateView { name, or_replace, if_not_exists, definition, comment })
            }
            _ => {
                if if_not_exists {
                    return Err(SqlError::Statement(
                        "CREATE FUNCTION IF NOT EXISTS is not done here".to_owned(),
                    ));
                }
                Ok(Command::CreateFunction { name, or_replace, function: self.function()? })
            }
        }
    }

    fn comment(&mut self) -> Result<Option<String>, SqlError> {
        if self.reader.words("COMMENT") { self.reader.text().map(Some) } else { Ok(None) }
    }

    /// USING DELTA, LOCATION and COMMENT, in any order.
    fn options(&mut self) -> Result<(Option<String>, Option<String>), SqlError> {
        let (mut location, mut comment) = (None, None);
        loop {
            if self.reader.words("USING") {
                if !self.reader.words("DELTA") {
                    return Err(SqlError::Statement(
                        "tables are of the format DELTA here, no other".to_owned(),
                    ));
                }
            } else if location.is_none() && self.reader.words("LOCATION") {
                location = Some(self.reader.text()?);
            } else if comment.is_none() && self.reader.words("COMMENT") {
                comment = Some(self.reader.text()?);
            } else {
                return Ok((location, comment));
            }
        }
    }

    fn columns(&mut self) -> Result<Vec<Column>, SqlError> {
        if !self.reader.symbol(&Token::LParen) {
            return Ok(Vec::new());
        }
        let columns = self.listed_columns()?;
        self.reader.expect_symbol(&Token::RParen)?;
        Ok(columns)
    }

    /// Columns between commas, in parentheses or not.
    pub(super) fn added_columns(&mut self) -> Result<Vec<Column>, SqlError> {
        if self.reader.peek() == &Token::LParen { self.columns() } else { self.listed_columns() }
    }

    fn listed_columns(&mut self) -> Result<Vec<Column>, SqlError> {
        let mut columns = Vec::new();
        loop {
            let name = self.reader.identifier()?.to_lowercase();
            let sql_type = self.type_text()?;
            let (mut nullable, mut comment) = (true, None);
            loop {
                if self.reader.words("NOT NULL") {
                    nullable = false;
                } else if comment.is_none() && self.reader.words("COMMENT") {
                    comment = Some(self.reader.text()?);
                } else {
                    break;
                }
            }
            columns.push((name, sql_type, nullable, comment));
            if !self.reader.symbol(&Token::Comma) {
                return Ok(columns);
            }
        }
    }

    /// A type, in the spelling that columns are described with.
    fn type_text(&mut self) -> Result<String, SqlError> {
        self.type_within(0)
    }

    fn type_within(&mut self, depth: usize) -> Result<String, SqlError> {
        if depth > 16 {
            return Err(SqlError::Statement("a type is nested more than 16 deep".to_owned()));
        }
        let word = self.reader.identifier()?.to_uppercase();
        if matches!(word.as_str(), "ARRAY" | "MAP" | "STRUCT") {
            self.reader.expect_symbol(&Token::Lt)?;
            let mut inside = Vec::new();
            loop {
                let mut part = String::new();
                if word == "STRUCT" {
                    part = format!("{}: ", self.reader.identifier()?.to_lowercase());
                    self.reader.symbol(&Token::Colon);
                }
                part.push_str(&self.type_within(depth + 1)?);
                inside.push(part);
                if !self.reader.symbol(&Token::Comma) {
                    break;
                }
            }
            self.reader.close_type()?;
            let wanted = match word.as_str() {
                "ARRAY" => inside.len() == 1,
                "MAP" => inside.len() == 2,
                _ => true,
            };
            if !wanted {
                return Err(SqlError::Statement(format!("{word} does not take {} types", inside.len())));
            }
            return Ok(format!("{word}<{}>", inside.join(", ")));
        }
        if !word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(SqlError::Statement("a type is expected".to_owned()));
        }
        if !self.reader.symbol(&Token::LParen) {
            return Ok(word);
        }
        let mut numbers = Vec::new();
        loop {
            match self.reader.next() {
                Token::Number(number, _) => numbers.push(number.clone()),
                _ => return Err(SqlError::Statement(format!("{word} takes numbers in its brackets"))),
            }
            if !self.reader.symbol(&Token::Comma) {
                self.reader.expect_symbol(&Token::RParen)?;
                return Ok(format!("{word}({})", numbers.join(",")));
            }
        }
    }

    fn function(&mut self) -> Result<FunctionText, SqlError> {
        self.reader.expect_symbol(&Token::LParen)?;
        let mut parameters = Vec::new();
        if !self.reader.symbol(&Token::RParen) {
            loop {
                let name = self.reader.identifier()?.to_lowercase();
                if parameters.iter().any(|(known, _)| *known == name) {
                    return Err(SqlError::Statement(format!("two parameters are named `{name}`")));
                }
                parameters.push((name, self.type_text()?));
                if !self.reader.symbol(&Token::Comma) {
                    self.reader.expect_symbol(&Token::RParen)?;
                    break;
                }
            }
        }
        self.reader.expect("RETURNS")?;
        if self.reader.any(&["TABLE"]) {
            return Err(SqlError::Statement("a function that returns a table is not done here".to_owned()));
        }
        let returns = self.type_text()?;
        let mut comment = None;
        loop {
            if comment.is_none() && self.reader.words("COMMENT") {
                comment = Some(self.reader.text()?);
            } else if self.reader.words("LANGUAGE") {
                if !self.reader.words("SQL") {
                    return Err(SqlError::Statement(
                        "functions are written in SQL here, in no other language".to_owned(),
                    ));
                }
            } else if !(self.reader.words("DETERMINISTIC") || self.reader.words("CONTAINS SQL")) {
                break;
            }
        }
        self.reader.expect("RETURN")?;
        let body = self.rest()?;
        syntax::here::expression(&body)?;
        Ok(FunctionText { parameters, returns, body, comment })
    }
}
