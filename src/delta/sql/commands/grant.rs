//! GRANT, REVOKE and SHOW GRANTS.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{SECURABLES, Words, one_word};
use crate::sql::{Command, Name, SqlError};

impl Words<'_> {
    pub(super) fn grant(&mut self) -> Result<Command, SqlError> {
        let privileges = self.privileges()?;
        self.reader.expect("ON")?;
        let (kind, name) = self.securable()?;
        self.reader.expect("TO")?;
        let principal = self.principal()?;
        Ok(Command::Grant { privileges, kind, name, principal })
    }

    pub(super) fn revoke(&mut self) -> Result<Command, SqlError> {
        let privileges = self.privileges()?;
        self.reader.expect("ON")?;
        let (kind, name) = self.securable()?;
        self.reader.expect("FROM")?;
        let principal = self.principal()?;
        Ok(Command::Revoke { privileges, kind, name, principal })
    }

    pub(super) fn show_grants(&mut self) -> Result<Command, SqlError> {
        let principal = match self.reader.word_is(0, "ON") {
            true => None,
            false => Some(self.principal()?),
        };
        self.reader.expect("ON")?;
        let (kind, name) = self.securable()?;
        Ok(Command::ShowGrants { principal, kind, name })
    }

    /// Privileges in upper case, each of one or more words.
    fn privileges(&mut self) -> Result<Vec<String>, SqlError> {
        let mut privileges = Vec::new();
        loop {
            let mut words = Vec::new();
            while !self.reader.word_is(0, "ON") && self.reader.peek() != &Token::Comma {
                match self.reader.peek() {
                    Token::Word(word) if word.quote_style.is_none() && words.len() < 4 => {
                        words.push(word.value.to_uppercase());
                        self.reader.next();
                    }
                    _ => return Err(self.reader.unexpected("a privilege")),
                }
            }
            if words.is_empty() {
                return Err(self.reader.unexpected("a privilege"));
            }
            privileges.push(words.join(" "));
            if !self.reader.symbol(&Token::Comma) {
                return Ok(privileges);
            }
        }
    }

    /// What a privilege is on. Without a kind it is a table; a metastore has no name.
    fn securable(&mut self) -> Result<(String, Name), SqlError> {
        let kind = SECURABLES.iter().find(|kind| {
            let words = kind.split(' ').count();
            kind.split(' ').enumerate().all(|(ahead, word)| self.reader.word_is(ahead, word))
                && (**kind == "METASTORE" || self.reader.name_follows(words))
        });
        let Some(kind) = kind else { return Ok(("TABLE".to_owned(), self.reader.name()?)) };
        self.reader.words(kind);
        if *kind == "METASTORE" {
            return Ok((one_word(kind), Vec::new()));
        }
        Ok((one_word(kind), self.reader.name()?))
    }
}
